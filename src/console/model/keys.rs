//! Screen 2 by order key: which keys stand, and how much waits behind each.

use super::PAGE;
use super::lists::{Cursor, Motion, take_over};
use crate::admin::dto::{KeyPage, KeyView, Seq};
use crate::console::filter::Filter;

/// Keys kept: a convoy with more that stand has one cause, and that is seen on the first of them.
const MAX_KEYS: usize = 1_000;

/// The order keys of a queue that stand, by the places of the messages that hold them.
#[derive(Debug, Default)]
pub struct KeyList {
    /// What was read.
    pub rows: Vec<KeyView>,
    /// What is read anew; takes the rows' place when it is as long, or at its end.
    fresh: Option<Vec<KeyView>>,
    next: Option<Seq>,
    /// Messages at the queue's end whose keys nobody knows yet.
    pub unseen: u64,
    /// A first page has come.
    pub loaded: bool,
    /// Why they can't be read.
    pub trouble: Option<String>,
    /// Where the cursor is.
    pub cursor: Cursor,
    /// The message that holds the key under the cursor, once it was moved.
    at: Option<Seq>,
}

impl KeyList {
    /// There are more than were read.
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// All messages that wait behind the keys that were read.
    pub fn behind(&self) -> u64 {
        self.rows.iter().map(|row| row.behind).sum()
    }

    /// What to ask for next: from which place on. `outdated`: all of it anew, once what is being read is there; that is
    /// noted then. One at a time.
    pub fn wanted(&mut self, outdated: &mut bool) -> Option<Option<Seq>> {
        if self.fresh.is_none() && std::mem::take(outdated) {
            self.fresh = Some(Vec::new());
            self.trouble = None;
            return Some(None);
        }
        let near_end = self.cursor.at + PAGE / 4 >= self.rows.len();
        let wants = self.fresh.is_some() || (near_end && self.rows.len() < MAX_KEYS);
        self.next.filter(|_| wants && self.trouble.is_none()).map(Some)
    }

    /// Takes the page that was read from `from` on.
    pub fn take(&mut self, from: Option<Seq>, page: KeyPage) {
        self.trouble = None;
        self.unseen = page.unseen;
        // A page that ends where it began would be asked for again for ever.
        self.next = page.next.filter(|next| from.is_none_or(|from| *next > from));
        let rows = self.fresh.as_mut().unwrap_or(&mut self.rows);
        let last = rows.last().map(|row| row.seq);
        rows.extend(page.keys.into_iter().filter(|row| last.is_none_or(|last| row.seq > last)));
        rows.truncate(MAX_KEYS);
        take_over(&mut self.rows, &mut self.fresh, self.next.is_none());
        self.loaded = true;
    }

    /// They can't be read.
    pub fn fail(&mut self, why: String) {
        self.fresh = None;
        self.trouble = Some(why);
    }

    /// The rows that the filter lets through.
    pub fn shown(&self, filter: &Filter) -> Vec<&KeyView> {
        let passes = |row: &&KeyView| {
            let error = row.error.as_ref();
            filter.lets_through([
                row.key.as_deref().unwrap_or(""),
                row.state.as_str(),
                error.map_or("", |error| error.code.as_str()),
                error.map_or("", |error| error.message.as_str()),
            ])
        };
        self.rows.iter().filter(passes).collect()
    }

    /// The row under the cursor.
    pub fn selected(&self, filter: &Filter) -> Option<&KeyView> {
        self.shown(filter).get(self.cursor.at).copied()
    }

    /// Moves the cursor.
    pub fn go(&mut self, motion: Motion, filter: &Filter, height: usize) {
        let len = self.shown(filter).len();
        self.cursor.go(motion, len, height);
        self.at = self.selected(filter).map(|row| row.seq);
    }

    /// Keeps the cursor with its key, or with the next one.
    pub fn settle(&mut self, filter: &Filter, height: usize) {
        let (len, at) = {
            let shown = self.shown(filter);
            let at = self.at.map(|seq| shown.partition_point(|row| row.seq < seq));
            (shown.len(), at)
        };
        self.cursor.keep(at, len, height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::fixtures::standing;

    fn page(seqs: std::ops::Range<u64>, next: Option<u64>) -> KeyPage {
        KeyPage { keys: seqs.map(standing).collect(), unseen: 0, next: next.map(Seq) }
    }

    #[test]
    fn keys_are_read_on_demand_and_anew_without_a_gap() {
        let mut list = KeyList::default();
        assert_eq!(list.wanted(&mut true), Some(None));
        list.take(None, page(1..101, Some(101)));
        assert_eq!(list.wanted(&mut false), None, "the cursor is far from the end");
        list.go(Motion::Last, &Filter::default(), 10);
        assert_eq!(list.wanted(&mut false), Some(Some(Seq(101))));
        list.take(Some(Seq(101)), page(101..151, None));
        assert_eq!((list.rows.len(), list.has_more()), (150, false));
        list.go(Motion::Rows(20), &Filter::default(), 10);
        let held = list.selected(&Filter::default()).unwrap().seq;
        assert_eq!(list.wanted(&mut true), Some(None));
        list.take(None, page(50..120, Some(120)));
        assert_eq!(list.rows.len(), 150, "still those from before");
        assert_eq!(list.wanted(&mut false), Some(Some(Seq(120))));
        list.take(Some(Seq(120)), page(120..151, None));
        list.settle(&Filter::default(), 10);
        assert_eq!((list.rows.len(), list.selected(&Filter::default()).unwrap().seq), (101, held));
    }

    #[test]
    fn a_failure_is_not_asked_for_again_by_itself() {
        let mut list = KeyList::default();
        list.take(None, page(1..3, Some(3)));
        list.fail("gone".to_owned());
        assert_eq!(list.wanted(&mut false), None);
        assert_eq!(list.wanted(&mut true), Some(None));
    }
}
