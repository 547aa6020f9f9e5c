//! The editor of a payload: the message's own bytes, and nothing but what the operator types is changed.

use tui_textarea::CursorMove;

use super::json::{self, JsonFault, TokenKind};
use crate::admin::dto::MAX_PAYLOAD_BYTES;

mod bracket;
mod standin;
mod state;
mod view;

pub use view::EditorStyles;

/// Texts up to this length are checked after each edit (well under a millisecond); longer ones when
/// [`Editor::recheck`] is called.
pub const CHECKED_WHILE_TYPING_BYTES: usize = 256 * 1024;
/// What the tab key types: one level of [`json::format`].
const TAB: &str = "  ";

/// Why a payload can't be edited as text; the hex view shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// Not UTF-8.
    #[error(
        "the payload is not UTF-8 (byte {at}); it can be saved to a file and replaced from one"
    )]
    NotUtf8 {
        /// The offset of the first byte that isn't, from 0.
        at: usize,
    },
    /// Longer than a payload may be.
    #[error("the payload is {len} bytes long; at most {MAX_PAYLOAD_BYTES} can be edited")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// More than 131,068 kinds of characters without a width.
    #[error("the payload has more kinds of invisible characters than the editor can tell apart")]
    TooStrange,
}

/// Why an input did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditRefusal {
    /// The text would be longer than a payload may be.
    #[error("the text would be {len} bytes long; at most {MAX_PAYLOAD_BYTES} are allowed")]
    TooLong {
        /// What its length would be, in bytes.
        len: usize,
    },
    /// See [`NotText::TooStrange`].
    #[error("the text has more kinds of invisible characters than the editor can tell apart")]
    TooStrange,
    /// Only JSON is formatted; the cursor is at the fault now.
    #[error("not formatted, because this is no JSON: {0}")]
    NotJson(#[source] JsonFault),
}

/// What the keys do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what its name says; those that aren't are documented")]
pub enum EditorInput {
    Char(char),
    /// With the line end that the lines around it have.
    Newline,
    Tab,
    /// `\r\n`, `\r` and `\n` of a terminal's paste become the line end that the lines around it have.
    Paste(String),
    Backspace,
    Delete,
    /// The word before the cursor.
    DeleteWord,
    DeleteToLineEnd,
    Left,
    Right,
    Up,
    Down,
    WordLeft,
    WordRight,
    LineStart,
    LineEnd,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Undo,
    Redo,
    /// [`json::format`], as one step of the undo history.
    Format,
    /// The query of [`Editor::find`] again, going round the end.
    FindNext,
    FindPrevious,
}

/// A text being edited. Lines end at `\n`; a carriage return, a byte order mark, NUL and every other character
/// stay as they are and are shown by [`clean`](super::clean)'s forms. Unedited, [`Editor::bytes`] gives back
/// what [`Editor::from_bytes`] was given, byte for byte.
#[derive(Debug)]
pub struct Editor {
    state: state::State,
    original: String,
    /// What `state` holds.
    text: String,
    checked: Option<Result<(), JsonFault>>,
    query: String,
    viewport: std::cell::Cell<view::Viewport>,
}

impl Editor {
    /// An editor at the start of `bytes`, which must be UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotText> {
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(NotText::TooLong { len: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| NotText::NotUtf8 { at: error.valid_up_to() })?;
        let mut editor = Self {
            state: state::State::new(text).ok_or(NotText::TooStrange)?,
            original: text.to_owned(),
            text: text.to_owned(),
            checked: None,
            query: String::new(),
            viewport: std::cell::Cell::default(),
        };
        editor.recheck();
        Ok(editor)
    }

    /// An editor of `original` in which `draft` has been typed: dirty unless they are the same.
    pub fn with_draft(original: &[u8], draft: &[u8]) -> Result<Self, NotText> {
        let original = std::str::from_utf8(original)
            .map_err(|error| NotText::NotUtf8 { at: error.valid_up_to() })?;
        Ok(Self { original: original.to_owned(), ..Self::from_bytes(draft)? })
    }

    /// The text as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.text.clone().into_bytes()
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the text is another than the original; undoing everything makes it clean again.
    pub fn is_dirty(&self) -> bool {
        self.text != self.original
    }

    /// Line and column in characters, from 1, as in [`JsonFault`].
    pub fn cursor(&self) -> (usize, usize) {
        let (row, col) = self.state.cursor();
        (row + 1, col + 1)
    }

    /// The number of lines; a text that ends with a newline has an empty one behind it.
    pub fn line_count(&self) -> usize {
        self.state.rows()
    }

    /// Puts the cursor at a line and column from 1, or as near as there is text. Beyond 65,535 it costs what
    /// could be redone.
    pub fn jump_to(&mut self, line: usize, column: usize) {
        self.state.go(line.saturating_sub(1), column.saturating_sub(1));
    }

    /// Puts the cursor at the fault, if one is known.
    pub fn jump_to_fault(&mut self) -> bool {
        let Some((line, column)) = self.fault().map(|fault| (fault.line, fault.column)) else {
            return false;
        };
        self.jump_to(line, column);
        true
    }

    /// Puts the cursor at the value of a JSON pointer; false if there is none.
    pub fn jump_to_value(&mut self, pointer: &str) -> bool {
        let Some(offset) = json::place_of(&self.text, pointer) else { return false };
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        self.jump_to(line, before[line_start..].chars().count() + 1);
        true
    }

    /// What is wrong with the JSON, as of the last check. `None` also while [`Editor::is_checked`] is false.
    pub fn fault(&self) -> Option<&JsonFault> {
        self.checked.as_ref()?.as_ref().err()
    }

    /// Whether [`Editor::fault`] is about the text as it is now. Always true up to
    /// [`CHECKED_WHILE_TYPING_BYTES`].
    pub fn is_checked(&self) -> bool {
        self.checked.is_some()
    }

    /// Checks the JSON now, whatever the length: before a review, or when typing has paused.
    pub fn recheck(&mut self) -> Option<&JsonFault> {
        if self.checked.is_none() {
            self.checked = Some(json::check(self.text.as_bytes()));
        }
        self.fault()
    }

    /// Does what a key asks for. `Ok(true)` if the text or the cursor changed.
    pub fn input(&mut self, input: EditorInput) -> Result<bool, EditRefusal> {
        let cursor = self.cursor();
        let edited = self.apply(input)?;
        Ok(edited || self.cursor() != cursor)
    }

    /// [`EditorInput::Paste`].
    pub fn paste(&mut self, text: &str) -> Result<(), EditRefusal> {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = match self.state.line_end() {
            "\n" => text,
            other => text.replace('\n', other),
        };
        self.insert(&text).map(|_| ())
    }

    /// Starts over from `original`: it is the text, as one step that can be undone, and what
    /// [`Editor::is_dirty`] compares with. `Ok(true)` if the text changed; refused, nothing has.
    pub fn replace(&mut self, original: &str) -> Result<bool, EditRefusal> {
        if original.len() > MAX_PAYLOAD_BYTES {
            return Err(EditRefusal::TooLong { len: original.len() });
        }
        if original != self.text && !self.state.replace_all(original) {
            return Err(EditRefusal::TooStrange);
        }
        original.clone_into(&mut self.original);
        self.state.go(0, 0);
        Ok(self.refresh())
    }

    /// Puts `text` in the place of the whole text, as one step that can be undone; the original stays what it was. `Ok(true)` if the
    /// text changed; refused, nothing has.
    pub fn set(&mut self, text: &str) -> Result<bool, EditRefusal> {
        if text.len() > MAX_PAYLOAD_BYTES {
            return Err(EditRefusal::TooLong { len: text.len() });
        }
        let (row, col) = self.state.cursor();
        if text != self.text && !self.state.replace_all(text) {
            return Err(EditRefusal::TooStrange);
        }
        self.state.go(row, col);
        Ok(self.refresh())
    }

    /// Puts the cursor at the next place of `query` after it, going round the end. A query without an ASCII
    /// capital finds capitals too; all places on the screen are marked until it is empty again.
    pub fn find(&mut self, query: &str) -> bool {
        query.clone_into(&mut self.query);
        self.state.find(query, true)
    }

    fn apply(&mut self, input: EditorInput) -> Result<bool, EditRefusal> {
        match input {
            EditorInput::Char('\n' | '\r') | EditorInput::Newline => {
                return self.insert(self.state.line_end());
            }
            EditorInput::Char(c) => return self.insert(c.encode_utf8(&mut [0; 4])),
            EditorInput::Tab => return self.insert(TAB),
            EditorInput::Paste(text) => return self.paste(&text).map(|()| true),
            EditorInput::Format => return self.format(),
            EditorInput::Backspace => self.state.backspace(),
            EditorInput::Delete => self.state.delete(),
            EditorInput::DeleteWord => self.state.delete_word(),
            EditorInput::DeleteToLineEnd => self.state.delete_to_row_end(),
            EditorInput::Undo => {
                self.state.undo();
            }
            EditorInput::Redo => {
                self.state.redo();
            }
            moving => {
                self.go(&moving);
                return Ok(false);
            }
        }
        Ok(self.refresh())
    }

    fn go(&mut self, input: &EditorInput) {
        let (row, col) = self.state.cursor();
        let page = self.viewport.get().height.saturating_sub(1).max(1);
        match input {
            EditorInput::Left => self.state.step_cursor(CursorMove::Back),
            EditorInput::Right => self.state.step_cursor(CursorMove::Forward),
            EditorInput::Up => self.state.step_cursor(CursorMove::Up),
            EditorInput::Down => self.state.step_cursor(CursorMove::Down),
            EditorInput::WordLeft => self.state.step_cursor(CursorMove::WordBack),
            EditorInput::WordRight => self.state.step_cursor(CursorMove::WordForward),
            EditorInput::LineStart => self.state.step_cursor(CursorMove::Head),
            EditorInput::LineEnd => self.state.go(row, usize::MAX),
            EditorInput::PageUp => self.state.go(row.saturating_sub(page), col),
            EditorInput::PageDown => self.state.go(row.saturating_add(page), col),
            EditorInput::Top => self.state.go(0, 0),
            EditorInput::Bottom => self.state.go(usize::MAX, usize::MAX),
            EditorInput::FindNext | EditorInput::FindPrevious => {
                let forward = matches!(input, EditorInput::FindNext);
                let query = self.query.clone();
                self.state.find(&query, forward);
            }
            EditorInput::Char(_)
            | EditorInput::Newline
            | EditorInput::Tab
            | EditorInput::Paste(_)
            | EditorInput::Backspace
            | EditorInput::Delete
            | EditorInput::DeleteWord
            | EditorInput::DeleteToLineEnd
            | EditorInput::Undo
            | EditorInput::Redo
            | EditorInput::Format => {}
        }
    }

    fn insert(&mut self, text: &str) -> Result<bool, EditRefusal> {
        let len = self.text.len() + text.len();
        if len > MAX_PAYLOAD_BYTES {
            return Err(EditRefusal::TooLong { len });
        }
        if !self.state.insert(text) {
            return Err(EditRefusal::TooStrange);
        }
        Ok(self.refresh())
    }

    fn format(&mut self) -> Result<bool, EditRefusal> {
        let formatted = match json::format(&self.text) {
            Ok(formatted) => formatted,
            Err(fault) => {
                self.jump_to(fault.line, fault.column);
                return Err(EditRefusal::NotJson(fault));
            }
        };
        if formatted == self.text {
            return Ok(false);
        }
        if formatted.len() > MAX_PAYLOAD_BYTES {
            return Err(EditRefusal::TooLong { len: formatted.len() });
        }
        let at = same_token(&self.text, &formatted, self.offset());
        if !self.state.replace_all(&formatted) {
            return Err(EditRefusal::TooStrange);
        }
        let before = &formatted[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.state.go(before.matches('\n').count(), before[line_start..].chars().count());
        Ok(self.refresh())
    }

    /// The cursor's place in bytes.
    fn offset(&self) -> usize {
        let (row, col) = self.state.cursor();
        let above: usize = self.text.split('\n').take(row).map(|line| line.len() + 1).sum();
        let line = &self.text[above..];
        above + line.char_indices().nth(col).map_or(line.len(), |(at, _)| at)
    }

    /// After an edit: whether the text is another now.
    fn refresh(&mut self) -> bool {
        let text = self.state.text();
        if text == self.text {
            return false;
        }
        self.text = text;
        self.checked = None;
        if self.text.len() <= CHECKED_WHILE_TYPING_BYTES {
            self.recheck();
        }
        true
    }
}

/// The place in `new` that `offset` is in `old`, where both have the same tokens.
fn same_token(old: &str, new: &str, offset: usize) -> usize {
    let tokens = json::tokens(old);
    let Some(index) = tokens.partition_point(|token| token.range.start <= offset).checked_sub(1)
    else {
        return 0;
    };
    let into = offset - tokens[index].range.start;
    json::tokens(new)
        .get(index)
        .map_or(new.len(), |token| token.range.start + into.min(token.range.len()))
}

// What a kind of token looks like is the console's theme; which kinds there are is the JSON module's.
impl EditorStyles {
    fn token(&self, kind: TokenKind) -> ratatui::style::Style {
        match kind {
            TokenKind::Open | TokenKind::Close | TokenKind::Comma | TokenKind::Colon => {
                self.punctuation
            }
            TokenKind::Key => self.key,
            TokenKind::String => self.string,
            TokenKind::Number => self.number,
            TokenKind::Literal => self.literal,
            TokenKind::Bad => self.bad,
        }
    }
}

#[cfg(test)]
mod tests;
