//! De-duplication by time. The window remembers ids by their places, and in the queue's record there are marks: when which
//! place was reached. They are written with the message that makes one, so that the window survives a restart as it is.

use super::queue::Queue;
use super::timer::shifted_back;
use crate::model::{DedupMarks, MessageId, Seq, Timestamp};

/// Marks in one window, about: an id is remembered up to so much of it longer.
const MARKS: u64 = 16;
/// Between two marks at least, in milliseconds: each writes the queue's record.
const MIN_STEP_MS: u64 = 500;

impl Queue {
    /// The place of the message with this id that was accepted within the window.
    pub(super) fn duplicate_of(&self, id: &MessageId, now: Timestamp) -> Option<Seq> {
        self.dedup.find(id).filter(|&seq| !self.is_outdated(seq, now))
    }

    fn is_outdated(&self, seq: Seq, now: Timestamp) -> bool {
        let Some(window_ms) = self.record.settings.dedup.window_ms() else { return false };
        let Some(DedupMarks(marks)) = self.record.dedup_marks.as_deref() else { return false };
        match (marks.iter().rev().find(|&&(_, place)| place <= seq), marks.first()) {
            // It came within a step of its mark, or there would be another.
            (Some((at, _)), _) => now.since_ms(*at) >= window_ms.saturating_add(step_ms(window_ms)),
            (None, Some((at, _))) => now.since_ms(*at) >= window_ms,
            (None, None) => false,
        }
    }

    /// A message was accepted at `seq`. Returns whether the queue's record has changed.
    pub(super) fn mark_time(&mut self, seq: Seq, now: Timestamp) -> bool {
        let Some(window_ms) = self.record.settings.dedup.window_ms() else {
            return self.record.dedup_marks.take().is_some();
        };
        let marks = &mut self.record.dedup_marks.get_or_insert_default().0;
        if marks.last().is_some_and(|(at, _)| now.since_ms(*at) < step_ms(window_ms)) {
            return false;
        }
        let passed = marks.iter().filter(|(at, _)| now.since_ms(*at) >= window_ms).count();
        // All before the last of them is outdated by it.
        marks.drain(..passed.saturating_sub(1));
        marks.push((now, seq));
        true
    }

    /// After a restart the clock may show less than it did: nothing was accepted later than now.
    pub(super) fn clip_marks(&mut self, now: Timestamp) {
        for (at, _) in self.record.dedup_marks.iter_mut().flat_map(|marks| &mut marks.0) {
            *at = (*at).min(now);
        }
    }

    /// The window has another length: what was accepted before counts as accepted now, so that nothing is forgotten early.
    pub(super) fn begin_window(&mut self, now: Timestamp) {
        let begins = self.record.settings.dedup.window_ms().is_some();
        self.record.dedup_marks = begins.then(|| Box::new(DedupMarks(vec![(now, Seq(1))])));
    }

    /// The clock stepped back.
    pub(super) fn shift_marks_back(&mut self, ms: u64) {
        for (at, _) in self.record.dedup_marks.iter_mut().flat_map(|marks| &mut marks.0) {
            *at = shifted_back(*at, ms);
        }
    }
}

/// Between two marks, in milliseconds.
fn step_ms(window_ms: u64) -> u64 {
    window_ms.checked_div(MARKS).unwrap_or(0).max(MIN_STEP_MS)
}
