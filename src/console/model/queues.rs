//! Screen 2: a queue's messages.

use std::collections::BTreeMap;

use super::keys::KeyList;
use super::lists::{Cursor, Motion};
use crate::admin::dto::{MessagePage, MessageSummary, QueueName, Seq};
use crate::console::filter::Filter;

/// Rows asked for at once.
pub const PAGE: usize = 100;
/// Rows of one queue kept in memory around the cursor; what is further away is read again.
const MAX_ROWS: usize = 1_000;

/// Screen 2: a window of the queue's unfinished messages.
#[derive(Debug)]
pub struct QueueScreen {
    /// Which queue.
    pub name: QueueName,
    /// The rows that were read, by place.
    pub rows: BTreeMap<Seq, MessageSummary>,
    /// Where the next page begins; absent at the end.
    pub next: Option<Seq>,
    /// Rows before the first one here were read and dropped, or skipped by going to the end.
    pub earlier: bool,
    /// A first page has come.
    pub loaded: bool,
    /// The queue has changed since its rows were read.
    pub outdated: bool,
    /// The cursor goes to the last row when the page from here on comes.
    pub to_end: Option<Seq>,
    /// What is shown of them.
    pub filter: Filter,
    /// Where the cursor is.
    pub cursor: Cursor,
    /// The message under the cursor, once it was moved.
    pub at: Option<Seq>,
    /// Why the rows can't be read.
    pub trouble: Option<String>,
    /// `Enter` came before the rows: the message under the cursor is opened when they come.
    pub open_when_read: bool,
    /// Its order keys are shown instead.
    pub by_key: bool,
    /// Its order keys that stand.
    pub keys: KeyList,
}

impl QueueScreen {
    /// Nothing read yet.
    pub fn new(name: QueueName) -> Self {
        Self {
            name,
            rows: BTreeMap::new(),
            next: None,
            earlier: false,
            loaded: false,
            outdated: true,
            to_end: None,
            filter: Filter::default(),
            cursor: Cursor::default(),
            at: None,
            trouble: None,
            open_when_read: false,
            by_key: false,
            keys: KeyList::default(),
        }
    }

    /// The rows that the filter lets through.
    pub fn shown(&self) -> Vec<&MessageSummary> {
        self.rows
            .values()
            .filter(|row| {
                let error = row.error.as_ref();
                self.filter.lets_through([
                    row.id.as_str(),
                    row.state.as_str(),
                    row.kind.as_deref().unwrap_or(""),
                    row.key.as_deref().unwrap_or(""),
                    row.preview.as_str(),
                    error.map_or("", |e| e.code.as_str()),
                    error.map_or("", |e| e.message.as_str()),
                ])
            })
            .collect()
    }

    /// The row under the cursor.
    pub fn selected(&self) -> Option<&MessageSummary> {
        self.shown().get(self.cursor.at).copied()
    }

    /// Moves the cursor.
    pub fn go(&mut self, motion: Motion, height: usize) {
        let len = self.shown().len();
        self.cursor.go(motion, len, height);
        self.at = self.selected().map(|row| row.seq);
    }

    /// Begins again at the head.
    pub fn restart(&mut self) {
        self.rows.clear();
        self.next = None;
        self.earlier = false;
        self.outdated = true;
        self.cursor = Cursor::default();
        self.at = None;
    }

    /// Takes a page that was read from `from` on: what it doesn't have any more is finished.
    pub fn merge(&mut self, from: Option<Seq>, page: MessagePage) {
        let first = from.unwrap_or_default();
        // A page that ends where it began would be asked for again for ever.
        let end = page.next.filter(|next| *next > first);
        let nothing_earlier = match (self.rows.first_key_value(), page.messages.first()) {
            (Some((oldest, _)), Some(row)) => first < *oldest && row.seq >= *oldest,
            (Some((oldest, _)), None) => first < *oldest,
            (None, _) => false,
        };
        self.rows.retain(|seq, _| *seq < first || end.is_some_and(|end| *seq >= end));
        if from.is_none() || nothing_earlier {
            self.earlier = false;
        }
        self.rows.extend(page.messages.into_iter().map(|row| (row.seq, row)));
        // Where the list ends is known best by the page that reaches furthest.
        let last = self.rows.last_key_value().map(|(seq, _)| *seq);
        if end.is_none() || end > last {
            self.next = end;
        }
        self.loaded = true;
        self.trouble = None;
        if self.to_end.is_some() && self.to_end == from {
            self.to_end = None;
            self.cursor.at = usize::MAX;
            self.at = self.shown().last().map(|row| row.seq);
        }
        self.trim();
    }

    /// Drops what was finished.
    pub fn finished_before(&mut self, head: Seq) {
        self.rows = self.rows.split_off(&head);
    }

    fn trim(&mut self) {
        let here = self.at.unwrap_or_default();
        while self.rows.len() > MAX_ROWS {
            let before = self.rows.range(..here).count();
            if before > self.rows.len() / 2 {
                self.rows.pop_first();
                self.earlier = true;
            } else {
                self.next = self.rows.pop_last().map(|(seq, _)| seq);
            }
        }
    }

    /// Which page the cursor needs and nobody has read yet.
    pub fn wanted(&self) -> Option<Option<Seq>> {
        let near = PAGE / 4;
        if self.trouble.is_some() {
            return None;
        }
        if self.outdated {
            // What is on the screen is read again.
            let top = self.shown().get(self.cursor.top).map(|row| row.seq);
            return Some(if self.cursor.top == 0 && !self.earlier { None } else { top });
        }
        let first = self.rows.first_key_value().map(|(seq, _)| *seq);
        if self.earlier && self.cursor.at < near {
            return Some(first.map(|seq| Seq(seq.0.saturating_sub(PAGE as u64))));
        }
        let len = self.shown().len();
        if self.cursor.at + near >= len { self.next.map(Some) } else { None }
    }

    /// Keeps the cursor with its message.
    pub fn settle(&mut self, height: usize) {
        if self.by_key {
            return self.keys.settle(&self.filter, height);
        }
        let (len, at) = {
            let shown = self.shown();
            let at = self.at.map(|seq| shown.partition_point(|row| row.seq < seq));
            (shown.len(), at)
        };
        self.cursor.keep(at, len, height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::fixtures;

    fn page(seqs: std::ops::Range<u64>, next: Option<u64>) -> MessagePage {
        let messages = seqs.map(fixtures::summary).collect();
        MessagePage { messages, next: next.map(Seq) }
    }

    #[test]
    fn a_page_replaces_its_range_and_leaves_the_rest() {
        let mut screen = QueueScreen::new(QueueName::new("q").unwrap());
        screen.merge(None, page(1..11, Some(11)));
        screen.merge(Some(Seq(11)), page(11..21, None));
        screen.merge(None, page(3..11, Some(11)));
        assert_eq!(screen.rows.len(), 18);
        assert_eq!(screen.next, None);
    }

    #[test]
    fn rows_in_memory_are_bounded_and_read_again_on_both_sides() {
        let mut screen = QueueScreen::new(QueueName::new("q").unwrap());
        screen.outdated = false;
        let mut from = 1;
        while from < 5_000 {
            let start = (from > 1).then_some(Seq(from));
            screen.merge(start, page(from..from + 100, Some(from + 100)));
            screen.go(Motion::Last, 20);
            from += 100;
            assert!(screen.rows.len() <= MAX_ROWS);
        }
        assert_eq!(screen.selected().map(|row| row.seq), Some(Seq(5_000)));
        assert!(screen.earlier);
        screen.go(Motion::First, 20);
        let first = screen.selected().unwrap().seq;
        assert_eq!(screen.wanted(), Some(Some(Seq(first.0 - 100))));
    }
}
