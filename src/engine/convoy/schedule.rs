//! Messages that are not due yet (design.md rule 8).
//!
//! In order, the queue or the order key waits for its first message. One without an order is left for later, and the
//! others go on.

use std::sync::Arc;

use crate::engine::queue::Queue;
use crate::engine::window::Entry;
use crate::model::{Header, MessageState, Seq, Timestamp};

use super::Listed;

/// Messages that are due and listed to be handed out, before more are: each takes some 100 bytes of RAM.
const MAX_DUE_LISTED: usize = 1_024;

impl Queue {
    /// The state of a message that has nothing else to wait for: whether its time has come.
    pub(in crate::engine) fn ready_or_scheduled(&self, seq: Seq, now: Timestamp) -> MessageState {
        match self.due_of(seq) {
            Some(due) if due > now => MessageState::Scheduled,
            Some(_) | None => MessageState::Ready,
        }
    }

    /// When a message may be delivered that has never been, as far as it is known and not at once.
    pub(in crate::engine) fn due_of(&self, seq: Seq) -> Option<Timestamp> {
        if !self.is_fresh(seq) {
            return None;
        }
        if let Some(entry) = self.window.get(seq) {
            return entry.content.header.timing().due(entry.accepted_at);
        }
        let convoy = self.convoy.as_deref()?;
        let listed = convoy.listed.get(&seq).and_then(|listed| listed.due);
        listed.or_else(|| convoy.later.due_of(seq))
    }

    /// Whether nothing has been tried with a message, and no operator wants it to go at once.
    fn is_fresh(&self, seq: Seq) -> bool {
        let record = self.records().get(&seq);
        record.is_none_or(|record| record.attempts == 0 && !record.retried)
    }

    /// Whether a message is in its queue's keeping for later, though its record doesn't say so and it may not be in RAM:
    /// its header is `header`.
    pub(in crate::engine) fn is_left_for_later(&self, seq: Seq, header: &Header) -> bool {
        self.convoy.as_deref().is_some_and(|convoy| {
            convoy.key_of(header).is_none()
                && seq < self.window.end()
                && self.is_fresh(seq)
                && !convoy.listed.contains_key(&seq)
                && header.timing().due(Timestamp(0)).is_some()
        })
    }

    /// Messages known not to be due yet.
    pub(in crate::engine) fn scheduled(&self, now: Timestamp) -> u64 {
        let is_early = |seq| self.state_of(seq, now) == MessageState::Scheduled;
        let Some(convoy) = self.convoy.as_deref() else {
            return u64::from(self.head().is_some_and(is_early));
        };
        let fronts = convoy.due.iter().filter(|(due, seq)| *due > now && is_early(*seq)).count();
        convoy.later.len().saturating_add(fronts as u64)
    }

    /// When the next one that is not due yet is to be looked at.
    pub(in crate::engine) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let next = match self.convoy.as_deref() {
            None => self.due_of(self.head()?),
            Some(convoy) => {
                let front = convoy.due.first().map(|&(due, _)| due);
                front.into_iter().chain(convoy.later.next_due()).min()
            }
        };
        next.filter(|&due| due > now)
    }

    /// What was left for later and is due may go now, as far as others don't wait for workers already.
    pub(in crate::engine) fn wake_later(&mut self, now: Timestamp) {
        while let Some(convoy) = self.convoy.as_deref_mut()
            && convoy.unread.len() < MAX_DUE_LISTED
            && let Some((seq, priority)) = convoy.later.take_due(now)
        {
            convoy.listed.insert(seq, Listed { key: None, priority, due: None });
            self.review(seq, now);
        }
        if let Some(convoy) = self.convoy.as_deref_mut() {
            convoy.later.begin_stretch(now);
        }
    }

    /// Leaves a message without an order key that is not due yet to its time; whether that is so.
    pub(super) fn leave_for_later(&mut self, entry: &Entry, now: Timestamp) -> bool {
        let (seq, header) = (entry.seq, &entry.content.header);
        let Some(due) = header.timing().due(entry.accepted_at).filter(|&due| due > now) else {
            return false;
        };
        let is_cancelled =
            self.records().get(&seq).is_some_and(|it| it.state == MessageState::Cancelled);
        if !self.is_fresh(seq) || is_cancelled {
            return false;
        }
        let Some(convoy) = self.convoy.as_deref_mut() else { return false };
        if convoy.key_of(header).is_some() {
            return false;
        }
        let priority = convoy.priority_of(header);
        if convoy.listed.remove(&seq).is_some() {
            convoy.withdraw(seq, priority);
        }
        convoy.later.insert(seq, due, priority);
        true
    }

    /// A message with an order key was read: when it is due is known from now on.
    pub(super) fn note_due(&mut self, entry: &Entry) {
        let due = entry.content.header.timing().due(entry.accepted_at);
        let listed = self.convoy.as_deref_mut().and_then(|it| it.listed.get_mut(&entry.seq));
        if let Some(listed) = listed.filter(|listed| listed.key.is_some()) {
            listed.due = due;
        }
    }

    /// The first message of a line that waits for its time only.
    pub(super) fn early_front(&self, key: &Arc<str>, now: Timestamp) -> Option<(Timestamp, Seq)> {
        let seq = self.convoy.as_deref()?.front(key)?;
        let is_early = self.state_of(seq, now) == MessageState::Scheduled;
        self.due_of(seq).filter(|_| is_early).map(|due| (due, seq))
    }

    /// An operator has taken a message out or wants it to go: it is not waited for.
    pub(super) fn list_again(&mut self, seq: Seq) {
        let end = self.window.end();
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        let was_later = convoy.later.remove(seq) || (!convoy.is_keyed && seq < end);
        if was_later && !convoy.listed.contains_key(&seq) {
            let priority = self.uncommon.records.get(&seq).map_or(0, |record| record.priority);
            convoy.listed.insert(seq, Listed { key: None, priority, due: None });
        }
    }

    /// A message was read that may be among those left for later. If so it waits in RAM now, or is listed.
    pub(super) fn note_later(&mut self, entry: &Entry, now: Timestamp) {
        let (seq, header) = (entry.seq, &entry.content.header);
        let is_known = self.in_flight.has(seq) || !self.is_unfinished(seq);
        let is_fresh = self.is_fresh(seq) && self.state_of(seq, now) != MessageState::Cancelled;
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        let has_place = is_known
            || convoy.listed.contains_key(&seq)
            || convoy.key_of(header).is_some()
            || !convoy.later.is_reading(seq);
        if has_place {
            return;
        }
        let priority = convoy.priority_of(header);
        if is_fresh {
            let due = header.timing().due(entry.accepted_at).unwrap_or(now);
            return convoy.later.insert(seq, due, priority);
        }
        convoy.listed.insert(seq, Listed { key: None, priority, due: None });
        self.review(seq, now);
    }

    #[cfg(test)]
    pub(in crate::engine) fn later_in_ram(&self) -> usize {
        self.convoy.as_deref().map_or(0, |convoy| convoy.later.in_ram())
    }
}
