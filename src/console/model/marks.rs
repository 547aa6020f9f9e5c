//! Marked messages of a queue: each as it was when it was marked.

use std::collections::BTreeMap;

use crate::admin::dto::{BulkItem, MAX_BULK_ITEMS, MessageSummary, Seq};
use crate::console::many::Row;

/// The marks of one queue: at most as many as one run takes.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    rows: BTreeMap<Seq, Row>,
    range: Option<Range>,
}

/// From where `V` was pressed to the cursor.
#[derive(Debug, Clone)]
struct Range {
    anchor: Seq,
    /// What the cursor came by: rows that were read go again when a list is long.
    seen: BTreeMap<Seq, Row>,
}

impl Marks {
    /// A message is marked, or in the range.
    pub fn has(&self, seq: Seq) -> bool {
        self.rows.contains_key(&seq)
            || self.range.as_ref().is_some_and(|range| range.seen.contains_key(&seq))
    }

    /// How many are marked, those in the range too.
    pub fn len(&self) -> usize {
        let range = self.range.as_ref().map_or(0, |range| {
            range.seen.keys().filter(|seq| !self.rows.contains_key(seq)).count()
        });
        self.rows.len() + range
    }

    /// Nothing is marked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A range was begun.
    pub const fn has_range(&self) -> bool {
        self.range.is_some()
    }

    /// Marks a message, or takes its mark away. False: there are too many marks.
    pub fn toggle(&mut self, row: &MessageSummary) -> bool {
        if self.rows.remove(&row.seq).is_some() {
            return true;
        }
        if self.rows.len() >= MAX_BULK_ITEMS {
            return false;
        }
        self.rows.insert(row.seq, marked(row));
        true
    }

    /// Begins a range at a message, or marks what is in the one that was begun.
    pub fn range(&mut self, at: &MessageSummary) {
        if self.range.is_some() {
            return self.end_range();
        }
        let seen = BTreeMap::from([(at.seq, marked(at))]);
        self.range = Some(Range { anchor: at.seq, seen });
    }

    /// The cursor is at `at`; `shown` are the rows that can be seen, by place.
    pub fn follow<'a>(&mut self, at: Seq, shown: impl Iterator<Item = &'a MessageSummary>) {
        let Some(range) = &mut self.range else { return };
        let (first, last) = (range.anchor.min(at), range.anchor.max(at));
        range.seen.retain(|seq, _| (first..=last).contains(seq));
        for row in shown.filter(|row| (first..=last).contains(&row.seq)) {
            if range.seen.len() < MAX_BULK_ITEMS {
                range.seen.entry(row.seq).or_insert_with(|| marked(row));
            }
        }
    }

    /// Leaves the range unmarked. False: there is none.
    pub fn drop_range(&mut self) -> bool {
        self.range.take().is_some()
    }

    /// What is in the range that was begun is marked: it follows the cursor no more.
    pub fn end_range(&mut self) {
        if let Some(range) = self.range.take() {
            for (seq, row) in range.seen {
                if self.rows.len() < MAX_BULK_ITEMS {
                    self.rows.entry(seq).or_insert(row);
                }
            }
        }
    }

    /// These are done with.
    pub fn take_off(&mut self, done: impl Iterator<Item = Seq>) {
        for seq in done {
            self.rows.remove(&seq);
        }
    }

    /// All of them, by place.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = self.rows.clone();
        if let Some(range) = &self.range {
            for (seq, row) in &range.seen {
                rows.entry(*seq).or_insert_with(|| row.clone());
            }
        }
        rows.into_values().take(MAX_BULK_ITEMS).collect()
    }
}

fn marked(row: &MessageSummary) -> Row {
    Row { item: BulkItem { seq: row.seq, revision: row.revision }, id: row.id.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::dto::Revision;
    use crate::console::fixtures::summary;

    fn places(marks: &Marks) -> Vec<u64> {
        marks.rows().iter().map(|row| row.item.seq.0).collect()
    }

    #[test]
    fn a_range_is_from_its_anchor_to_the_cursor_even_if_rows_were_dropped_meanwhile() {
        let mut marks = Marks::default();
        let rows: Vec<_> = (1..40).map(summary).collect();
        marks.range(&rows[9]);
        marks.follow(Seq(20), rows[5..25].iter());
        // The first rows are not in memory any more.
        marks.follow(Seq(30), rows[15..].iter());
        assert_eq!(places(&marks), (10..=30).collect::<Vec<_>>());
        marks.follow(Seq(12), rows[5..].iter());
        assert_eq!(places(&marks), [10, 11, 12]);
        marks.follow(Seq(8), rows[5..].iter());
        assert_eq!(places(&marks), [8, 9, 10]);
        marks.range(&rows[7]);
        assert!(!marks.has_range());
        assert_eq!(places(&marks), [8, 9, 10]);
    }

    #[test]
    fn a_mark_keeps_the_revision_that_was_seen() {
        let mut marks = Marks::default();
        let mut row = summary(3);
        marks.toggle(&row);
        row.revision = Revision(4);
        assert_eq!(marks.rows()[0].item.revision, Revision(0));
        marks.toggle(&row);
        assert!(marks.is_empty());
    }

    #[test]
    fn marks_are_bounded() {
        let mut marks = Marks::default();
        let many: Vec<_> = (1..=MAX_BULK_ITEMS as u64 + 5).map(summary).collect();
        marks.range(&many[0]);
        marks.follow(Seq(u64::MAX), many.iter());
        assert_eq!(marks.len(), MAX_BULK_ITEMS);
        marks.range(&many[0]);
        assert!(!marks.toggle(many.last().unwrap()));
        assert_eq!(marks.rows().len(), MAX_BULK_ITEMS);
    }
}
