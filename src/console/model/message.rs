//! Screen 3: one message with its tabs, cut into lines when it comes, so that drawing is quick.

use std::ops::Range;

use bytes::Bytes;

use super::{Cursor, MessageRef, Millis, Motion, wrap};
use crate::admin::dto::{MessageState, MessageView};
use crate::console::text::fold::Fold;
use crate::console::text::{clean, hex, json};

/// The tabs of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tab {
    /// The payload.
    #[default]
    Body,
    /// The header.
    Headers,
    /// Why it failed last.
    Error,
    /// The deliveries that failed.
    Attempts,
    /// Its journal.
    History,
}

impl Tab {
    /// In their order.
    pub const ALL: [Self; 5] =
        [Self::Body, Self::Headers, Self::Error, Self::Attempts, Self::History];

    /// Its name.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Body => "Body",
            Self::Headers => "Headers",
            Self::Error => "Error",
            Self::Attempts => "Attempts",
            Self::History => "History",
        }
    }

    /// The one `by` places further, around the end.
    pub fn step(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        let len = Self::ALL.len().cast_signed();
        Self::ALL[(at.cast_signed() + by).rem_euclid(len).cast_unsigned()]
    }
}

/// Where a payload is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditIn {
    /// In the console.
    Console,
    /// In the operator's own editor.
    Outside,
}

/// How the payload is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyForm {
    /// JSON indented for reading; other text as it is.
    #[default]
    Indented,
    /// JSON as a tree whose branches fold.
    Tree,
    /// The text as it is.
    Raw,
    /// The bytes.
    Hex,
}

impl BodyForm {
    const ALL: [Self; 4] = [Self::Indented, Self::Tree, Self::Raw, Self::Hex];

    /// What is said of it beside the tabs.
    pub const fn note(self) -> &'static str {
        match self {
            Self::Indented => "indented for reading only",
            Self::Tree => "tree",
            Self::Raw => "raw",
            Self::Hex => "hex",
        }
    }
}

/// The part of a payload that the Body tab shows, in bytes; the editor opens all of it.
const SHOWN_BYTES: usize = 1024 * 1024;

/// Screen 3.
#[derive(Debug)]
pub struct MessageScreen {
    /// Which message.
    pub message: MessageRef,
    /// As the broker last told.
    pub view: Option<Box<MessageView>>,
    /// It has changed since it was read.
    pub outdated: bool,
    /// Its queue has changed since: what waits behind it, and who holds it, may be others.
    pub stirred: bool,
    /// When these were asked for last.
    pub beside_at: Millis,
    /// It could not be read again: that is tried once more before long.
    pub unread: bool,
    /// `e` was pressed before it was read.
    pub edit_when_read: Option<EditIn>,
    /// The message can't be read: why. A message that is done is gone.
    pub gone: Option<String>,
    /// The payload's own bytes.
    pub payload: Bytes,
    /// What is shown of the payload: cleaned, with newlines.
    pub text: String,
    /// The payload is shown otherwise than as it is, and how.
    pub form_note: Option<BodyForm>,
    /// How the payload is shown.
    pub form: BodyForm,
    /// The tree, in that form.
    pub tree: Fold,
    /// Its cursor.
    pub cursor: Cursor,
    /// What is searched for.
    pub query: String,
    /// Where in the text it was found last.
    found_at: Option<usize>,
    /// The payload is shown in part.
    pub cut: bool,
    /// Which tab.
    pub tab: Tab,
    /// The first line shown.
    pub scroll: usize,
    /// The text's lines, wrapped.
    pub wrapped: Vec<Range<usize>>,
    wrapped_at: usize,
    height: usize,
    /// Lines of the other tabs, as last drawn by `lines_of`.
    pub other_lines: usize,
}

impl MessageScreen {
    /// Nothing read yet.
    pub fn new(message: MessageRef) -> Self {
        Self {
            message,
            view: None,
            outdated: true,
            stirred: false,
            beside_at: Millis(0),
            unread: false,
            edit_when_read: None,
            gone: None,
            payload: Bytes::new(),
            text: String::new(),
            form_note: None,
            form: BodyForm::default(),
            tree: Fold::default(),
            cursor: Cursor::default(),
            query: String::new(),
            found_at: None,
            cut: false,
            tab: Tab::Body,
            scroll: 0,
            wrapped: Vec::new(),
            wrapped_at: 0,
            height: 0,
            other_lines: 0,
        }
    }

    /// Takes what the broker told.
    pub fn show(&mut self, view: Box<MessageView>) {
        let payload = view.payload.clone().into_bytes().unwrap_or_default();
        if self.view.is_none() || payload != self.payload {
            self.payload = payload;
            self.read_payload();
        }
        self.other_lines = other_lines(&view);
        self.view = Some(view);
        self.gone = None;
    }

    fn read_payload(&mut self) {
        self.wrapped_at = 0;
        (self.form_note, self.found_at) = (None, None);
        self.cut = self.payload.len() > SHOWN_BYTES;
        let shown = &self.payload[..self.payload.len().min(SHOWN_BYTES)];
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // A character that the cut went through does not make it binary.
            Err(fault) if self.cut && fault.error_len().is_none() => {
                std::str::from_utf8(&shown[..fault.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        let Some(text) = text.filter(|_| self.form != BodyForm::Hex) else {
            self.form_note = Some(BodyForm::Hex);
            return self.text = hex::dump(shown).join("\n");
        };
        if self.form == BodyForm::Tree
            && let Some(tree) = Fold::new(text)
        {
            self.form_note = Some(BodyForm::Tree);
            self.tree = tree;
            return self.text.clear();
        }
        let indented = json::format(text).ok();
        self.text = match indented.filter(|_| self.form == BodyForm::Indented && !self.cut) {
            Some(indented) => {
                self.form_note = (indented != text).then_some(BodyForm::Indented);
                clean::clean_lines(&indented).into_owned()
            }
            None => {
                self.form_note = (self.form == BodyForm::Raw).then_some(BodyForm::Raw);
                clean::clean_lines(text).into_owned()
            }
        };
    }

    /// The tree is what is shown.
    pub fn shows_tree(&self) -> bool {
        self.tab == Tab::Body && self.form == BodyForm::Tree && self.text.is_empty()
    }

    /// The payload is text, so that it can be shown in another form than hex.
    pub fn is_text(&self) -> bool {
        std::str::from_utf8(&self.payload).is_ok() || self.cut
    }

    /// The payload in the next form. What is no JSON has no tree, what is no text only hex.
    pub fn next_form(&mut self) {
        let is_text = self.is_text();
        let is_json = is_text && !self.cut && json::check(&self.payload).is_ok();
        loop {
            let at = BodyForm::ALL.iter().position(|form| *form == self.form).unwrap_or(0);
            self.form = BodyForm::ALL[(at + 1) % BodyForm::ALL.len()];
            let exists = match self.form {
                BodyForm::Indented | BodyForm::Tree => is_json,
                BodyForm::Raw => is_text,
                BodyForm::Hex => true,
            };
            if exists {
                break;
            }
        }
        (self.tab, self.scroll, self.cursor) = (Tab::Body, 0, Cursor::default());
        self.read_payload();
    }

    /// Folds or unfolds at the tree's cursor, or everywhere.
    pub fn fold(&mut self, all: bool) {
        let at = self.cursor.at;
        self.cursor.at = if all { self.tree.toggle_all(at) } else { self.tree.toggle(at) };
        self.clamp();
    }

    /// Searches the payload from its beginning. False: it isn't there.
    pub fn search(&mut self, query: &str) -> bool {
        self.query = query.to_owned();
        self.found_at = None;
        self.open_body();
        self.search_on(true)
    }

    /// The next place of what is searched for, or the one before; going round the end.
    pub fn search_on(&mut self, forward: bool) -> bool {
        if self.query.is_empty() {
            return false;
        }
        self.open_body();
        if self.shows_tree() {
            let query = self.query.clone();
            let has = |text: &str| !places(text, &query).is_empty();
            let at = self.tree.find(self.cursor.at, forward, has);
            self.cursor.at = at.unwrap_or(self.cursor.at);
            self.clamp();
            return at.is_some();
        }
        let all = places(&self.text, &self.query);
        let (first, last) = (all.first(), all.last());
        let next = match (self.found_at, forward) {
            (None, true) => first,
            (None, false) => last,
            (Some(at), true) => all.iter().find(|place| place.start > at).or(first),
            (Some(at), false) => all.iter().rfind(|place| place.start < at).or(last),
        };
        self.found_at = next.map(|place| place.start);
        if let Some(at) = self.found_at {
            let line = self.wrapped.partition_point(|line| line.end <= at && line.start < at);
            let line = line.min(self.wrapped.len().saturating_sub(1));
            if line < self.scroll || line >= self.scroll + self.height.max(1) {
                self.scroll = line.saturating_sub(self.height / 2);
            }
            self.clamp();
        }
        next.is_some()
    }

    fn open_body(&mut self) {
        if self.tab != Tab::Body {
            self.open(Tab::Body);
        }
    }

    /// Where it was found last, in bytes of the text.
    pub const fn found_at(&self) -> Option<usize> {
        self.found_at
    }

    /// Its last act can be undone, as the broker put it; not once it is gone.
    pub fn can_undo(&self) -> bool {
        self.gone.is_none() && self.view.as_ref().is_some_and(|view| view.undo.is_some())
    }

    /// The message is still in its queue, as far as is known: there is something to be done to it.
    pub fn is_open(&self) -> bool {
        let state = self.view.as_ref().map(|view| view.summary.state);
        self.gone.is_none()
            && match state {
                Some(MessageState::Done | MessageState::Cancelled) => false,
                None
                | Some(
                    MessageState::Scheduled
                    | MessageState::Ready
                    | MessageState::Leased
                    | MessageState::Waiting
                    | MessageState::Blocked,
                ) => true,
            }
    }

    /// Another tab.
    pub fn open(&mut self, tab: Tab) {
        self.tab = tab;
        self.scroll = 0;
    }

    /// Moves what is shown.
    pub fn go(&mut self, motion: Motion) {
        if self.shows_tree() {
            return self.cursor.go(motion, self.tree.len(), self.height);
        }
        self.scroll = motion.scrolled(self.scroll, self.height);
        self.clamp();
    }

    fn clamp(&mut self) {
        self.cursor.settle(self.tree.len(), self.height);
        let lines = match self.tab {
            Tab::Body => self.wrapped.len(),
            Tab::Headers | Tab::Error | Tab::Attempts | Tab::History => self.other_lines,
        };
        self.scroll = self.scroll.min(lines.saturating_sub(self.height.max(1)));
    }

    /// Wraps the text anew if the width has changed.
    pub fn settle(&mut self, width: usize, height: usize) {
        // Title and tabs stand above the lines.
        self.height = height.saturating_sub(2);
        if self.wrapped_at != width && width > 0 {
            self.wrapped = wrap(&self.text, width);
            self.wrapped_at = width;
        }
        self.clamp();
    }
}

/// Where `query` is in `text`, in bytes. Without an ASCII capital it finds capitals too.
pub fn places(text: &str, query: &str) -> Vec<Range<usize>> {
    if query.is_empty() {
        return Vec::new();
    }
    let exact = query.contains(|c: char| c.is_ascii_uppercase());
    let lowered = if exact { None } else { Some(text.to_ascii_lowercase()) };
    let text = lowered.as_deref().unwrap_or(text);
    text.match_indices(query).map(|(at, found)| at..at + found.len()).collect()
}

/// An upper bound for the lines of any other tab, so that scrolling ends.
fn other_lines(view: &MessageView) -> usize {
    let error = view.summary.error.as_ref();
    let error = error.map_or(0, |e| e.detail.lines().count() + e.detail.len() / 40 + 8);
    let header = view.header.len() * 4 + 4;
    let attempts: usize =
        view.attempts.iter().map(|a| 3 + a.error.detail.lines().count().min(3)).sum();
    error.max(header).max(attempts).max(view.history.len() + view.revisions.len() + 3)
}
