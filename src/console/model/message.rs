//! Screen 3: one message with its tabs, cut into lines when it comes, so that drawing is quick.

use std::ops::Range;

use bytes::Bytes;

use super::{MessageRef, Motion};
use crate::admin::dto::{MessageState, MessageView};
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
    /// `e` was pressed before it was read.
    pub edit_when_read: bool,
    /// The message can't be read: why. A message that is done is gone.
    pub gone: Option<String>,
    /// The payload's own bytes.
    pub payload: Bytes,
    /// What is shown of the payload: cleaned, with newlines.
    pub text: String,
    /// The text is indented for reading only.
    pub indented: bool,
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
            edit_when_read: false,
            gone: None,
            payload: Bytes::new(),
            text: String::new(),
            indented: false,
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
            self.wrapped_at = 0;
        }
        self.other_lines = other_lines(&view);
        self.view = Some(view);
        self.gone = None;
    }

    fn read_payload(&mut self) {
        self.indented = false;
        self.cut = self.payload.len() > SHOWN_BYTES;
        let shown = &self.payload[..self.payload.len().min(SHOWN_BYTES)];
        self.text = match std::str::from_utf8(shown) {
            Ok(text) => match json::format(text) {
                Ok(indented) if !self.cut => {
                    self.indented = indented != text;
                    clean::clean_lines(&indented).into_owned()
                }
                Ok(_) | Err(_) => clean::clean_lines(text).into_owned(),
            },
            // A character that the cut went through does not make it binary.
            Err(fault) if self.cut && fault.error_len().is_none() => {
                let text = std::str::from_utf8(&shown[..fault.valid_up_to()]).unwrap_or_default();
                clean::clean_lines(text).into_owned()
            }
            Err(_) => hex::dump(shown).join("\n"),
        };
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
        self.scroll = motion.scrolled(self.scroll, self.height);
        self.clamp();
    }

    fn clamp(&mut self) {
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

/// An upper bound for the lines of any other tab, so that scrolling ends.
fn other_lines(view: &MessageView) -> usize {
    let error = view.summary.error.as_ref();
    let error = error.map_or(0, |e| e.detail.lines().count() + e.detail.len() / 40 + 8);
    let header = view.header.len() * 4 + 4;
    let attempts: usize =
        view.attempts.iter().map(|a| 3 + a.error.detail.lines().count().min(3)).sum();
    error.max(header).max(attempts).max(view.history.len() + view.revisions.len() + 3)
}

/// Cuts cleaned `text` into lines of at most `width` columns, as byte ranges; nothing is left out but
/// the line ends.
pub fn wrap(text: &str, width: usize) -> Vec<Range<usize>> {
    cut(text, width, |_, end| (end, end))
}

/// The same at the ends of words, where there are any; the space at which a line is cut is left out.
pub fn wrap_words(text: &str, width: usize) -> Vec<Range<usize>> {
    cut(text, width, |line, end| {
        if line[end..].starts_with(' ') {
            return (end, end + 1);
        }
        match line[..end].rfind(' ') {
            // An indent is no word.
            Some(space) if !line[..space].trim_start().is_empty() => (space, space + 1),
            Some(_) | None => (end, end),
        }
    })
}

/// `at` is given the rest of a line and how much of it fits: it says where that ends, and where the next
/// begins.
fn cut(text: &str, width: usize, at: impl Fn(&str, usize) -> (usize, usize)) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        let mut from = 0;
        loop {
            let rest = &line[from..];
            let fits = fitting(rest, width);
            if fits == rest.len() {
                ranges.push(start + from..start + line.len());
                break;
            }
            let (end, next) = at(rest, fits);
            ranges.push(start + from..start + from + end);
            from += next;
        }
        start += line.len() + 1;
    }
    ranges
}

/// How many bytes of `line` fit into `width` columns; at least one grapheme.
fn fitting(line: &str, width: usize) -> usize {
    use unicode_segmentation::UnicodeSegmentation as _;
    // Most of a payload is ASCII, where a byte is a column. What follows it may belong to its last letter.
    let ascii = line.bytes().take(width + 1).take_while(u8::is_ascii).count();
    if ascii == line.len().min(width + 1) {
        return line.len().min(width.max(1));
    }
    let mut columns = 0;
    for (at, grapheme) in line.grapheme_indices(true) {
        let wide = clean::width(grapheme);
        if columns + wide > width && at > 0 {
            return at;
        }
        columns += wide;
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_loses_nothing_and_keeps_to_the_width() {
        let text = "abcdefgh\n\nżółw 🐢🐢🐢 x\nlast";
        for width in 1..12 {
            let lines: Vec<&str> = wrap(text, width).into_iter().map(|r| &text[r]).collect();
            assert_eq!(lines.concat(), text.replace('\n', ""));
            assert!(lines.iter().all(|line| clean::width(line) <= width.max(2)), "{lines:?}");
        }
    }

    #[test]
    fn words_stay_whole_where_they_fit() {
        let words = |text, width| {
            wrap_words(text, width).into_iter().map(|r| text[r].to_owned()).collect::<Vec<String>>()
        };
        let text = "the carrier's service refuses whatever has none";
        assert_eq!(words(text, 20), ["the carrier's", "service refuses", "whatever has none"]);
        assert_eq!(words(text, 21), ["the carrier's service", "refuses whatever has", "none"]);
        assert_eq!(words("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(words("      File \"x.py\"", 10), ["      File", "\"x.py\""]);
        assert_eq!(words("        x = 1", 6), ["      ", " x = 1"]);
        assert_eq!(words("a\n\nżółw ż 🐢🐢🐢", 4), ["a", "", "żółw", "ż", "🐢🐢", "🐢"]);
    }
}
