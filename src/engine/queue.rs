//! One queue: its places, what is known of its messages, its window.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{
    HoldView, MessageRecord, MessageState, QueueBacklog, QueueRecord, QueueState, Revision, Seq,
    StreamId, Timestamp, WorkerId,
};

use super::convoy::Convoy;
use super::dedup::DedupWindow;
use super::lane::{InFlight, Next, Ticket};
use super::uncommon::Uncommon;
use super::window::{Entry, Window};

/// A queue.
///
/// ```text
/// place     1 … floor … cursor … next_seq
///           finished│ cancelled │ head, then what waits
/// ```
/// `uncommon.records` has an entry for each unfinished message that is not plainly ready: in order that is the head
/// once it has failed, and those that operators edited or cancelled. So its size is bounded by what
/// people do, not by the backlog; where messages may overtake, by `convoy::MAX_ASIDE` too.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) record: QueueRecord,
    /// All before are finished.
    pub(super) floor: Seq,
    /// The first place that is neither finished nor cancelled: the head, or `next_seq`.
    pub(super) cursor: Seq,
    /// The place that the next message gets.
    pub(super) next_seq: Seq,
    pub(super) uncommon: Uncommon,
    pub(super) window: Window,
    pub(super) dedup: DedupWindow,
    pub(super) in_flight: InFlight,
    /// What may go next; absent if the queue is in order.
    pub(super) convoy: Option<Box<Convoy>>,
    /// Its turn among the queues that wait for a free worker.
    pub(super) ticket: Ticket,
    /// The last read of what comes next brought nothing, since its payload is in a Redis that is away.
    pub(super) waits_for_redis: bool,
    /// Connected workers that serve it.
    pub(super) workers: Vec<WorkerId>,
    /// Header and payload bytes of what is not finished.
    pub(super) bytes: u64,
    /// When the oldest unfinished message was accepted, as far as it is known; else zero.
    oldest_at: Timestamp,
    /// Messages since the engine was made.
    pub(super) accepted: u64,
    pub(super) done: u64,
    /// Its view changed since it was last asked for.
    pub(super) changed: bool,
    /// Its template's limit counts it.
    pub(super) is_counted: bool,
    /// When anything of it last changed, or the engine was made.
    pub(super) used_at: Timestamp,
}

impl Queue {
    /// A queue without messages.
    pub(super) fn empty(record: QueueRecord, seed: u64, now: Timestamp) -> Self {
        let first = record.first;
        Self::recovered(
            QueueBacklog {
                record,
                floor: first,
                next_seq: first,
                finished: Vec::new(),
                bytes: 0,
                oldest_at: None,
                records: Vec::new(),
                window: Vec::new(),
                newest_entry: StreamId::ZERO,
                note: Bytes::new(),
            },
            seed,
            now,
        )
    }

    /// A queue as the store has it. Leases are not stored, so a message that was leased is ready again.
    pub(super) fn recovered(backlog: QueueBacklog, seed: u64, now: Timestamp) -> Self {
        let mut dedup = DedupWindow::new(backlog.record.settings.dedup.last(), seed);
        for (id, seq) in &backlog.window {
            dedup.insert(id, *seq);
        }
        let uncommon = Uncommon::recovered(backlog.finished, backlog.records, backlog.newest_entry);
        let mut queue = Self {
            floor: backlog.floor,
            cursor: backlog.floor,
            next_seq: backlog.next_seq,
            uncommon,
            window: Window::new(backlog.floor),
            dedup,
            in_flight: InFlight::default(),
            convoy: None,
            ticket: Ticket::None,
            waits_for_redis: false,
            workers: Vec::new(),
            bytes: backlog.bytes,
            oldest_at: backlog.oldest_at.unwrap_or_default(),
            accepted: 0,
            done: 0,
            changed: false,
            is_counted: false,
            used_at: now,
            record: backlog.record,
        };
        queue.settle();
        queue.begin_order(now);
        queue.clip_marks(now);
        queue
    }

    /// Begins to look at the messages from the floor on, by the order that the settings name. Nothing is in flight.
    pub(super) fn begin_order(&mut self, now: Timestamp) {
        self.convoy = Convoy::of(&self.record.settings);
        if let Some(convoy) = self.convoy.as_deref_mut() {
            for (&seq, record) in &self.uncommon.records {
                match (record.state, record.due) {
                    (MessageState::Cancelled, _) => convoy.note_cancelled(seq, 0),
                    (MessageState::Waiting, Some(due)) => convoy.wait_until(due, seq),
                    (
                        MessageState::Scheduled
                        | MessageState::Waiting
                        | MessageState::Ready
                        | MessageState::Leased
                        | MessageState::Blocked
                        | MessageState::Done,
                        _,
                    ) => {}
                }
            }
            self.list_urgent(now);
        }
        self.note_all_expiring();
    }

    /// By place, what is known of unfinished messages that are not plainly ready.
    pub(super) fn records(&self) -> &BTreeMap<Seq, MessageRecord> {
        &self.uncommon.records
    }

    /// Messages that operators edit.
    pub(super) fn holds(&self) -> &BTreeMap<Seq, HoldView> {
        &self.uncommon.holds
    }

    /// Messages not at their end, cancelled ones not counted.
    pub(super) fn depth(&self) -> u64 {
        self.unfinished().saturating_sub(self.uncommon.cancelled)
    }

    /// Whether anything is not finished, cancelled messages that can be restored included.
    pub(super) fn has_unfinished(&self) -> bool {
        self.unfinished() > 0
    }

    fn unfinished(&self) -> u64 {
        self.next_seq.0.saturating_sub(self.floor.0).saturating_sub(self.uncommon.finished.len())
    }

    /// Messages that a worker has or an operator edits.
    pub(super) fn staying(&self) -> u64 {
        let held = self.holds().keys().filter(|&&seq| !self.in_flight.has(seq)).count() as u64;
        held.saturating_add(self.leased())
    }

    /// Messages that a worker has; what was done on delivery is not counted.
    pub(super) fn leased(&self) -> u64 {
        self.in_flight.places().filter(|&seq| self.is_unfinished(seq)).count() as u64
    }

    /// Stretches of finished places behind a message that is not.
    pub(super) fn finished_ahead(&self) -> usize {
        self.uncommon.finished.ranges()
    }

    /// Whether the place holds a message that is not finished; a cancelled one that can be restored isn't.
    pub(super) fn is_unfinished(&self, seq: Seq) -> bool {
        seq >= self.floor && seq < self.next_seq && !self.uncommon.finished.contains(seq)
    }

    /// Whether the place held a message that was cancelled and is past restoring, as far as is remembered.
    pub(super) fn was_cancelled(&self, seq: Seq) -> bool {
        self.uncommon.past_restoring.contains(&seq)
    }

    /// Messages behind a place that are not at their end.
    pub(super) fn behind(&self, seq: Seq) -> u64 {
        let from = seq.next().max(self.floor);
        let finished = self.uncommon.finished.count_from(from);
        let cancelled = self
            .records()
            .range(from..)
            .filter(|(_, record)| record.state == MessageState::Cancelled)
            .count() as u64;
        self.next_seq.0.saturating_sub(from.0).saturating_sub(finished).saturating_sub(cancelled)
    }

    /// The state of an unfinished message at `now`.
    pub(super) fn state_of(&self, seq: Seq, now: Timestamp) -> MessageState {
        if self.in_flight.has(seq) {
            return MessageState::Leased;
        }
        let Some(record) = self.records().get(&seq) else {
            return self.ready_or_scheduled(seq, now);
        };
        match record.state {
            MessageState::Ready => self.ready_or_scheduled(seq, now),
            MessageState::Waiting if self.holds().contains_key(&seq) => MessageState::Waiting,
            MessageState::Waiting if record.due.is_none_or(|due| due <= now) => MessageState::Ready,
            MessageState::Leased => MessageState::Ready,
            state @ (MessageState::Scheduled
            | MessageState::Waiting
            | MessageState::Blocked
            | MessageState::Done
            | MessageState::Cancelled) => state,
        }
    }

    /// The newest revision of an unfinished message.
    pub(super) fn revision_of(&self, seq: Seq) -> Revision {
        self.records().get(&seq).map_or(Revision(0), |record| record.revision)
    }

    /// The head: the first message that is not at its end. What an on-delivery worker still has is at its
    /// end already.
    pub(super) fn head(&self) -> Option<Seq> {
        (self.cursor < self.next_seq).then_some(self.cursor)
    }

    /// The message that an operator is shown first: the first blocked one where messages may overtake, else the head.
    pub(super) fn shown_head(&self) -> Option<Seq> {
        let first_blocked = || {
            let mut records = self.records().iter();
            records.find(|(_, record)| record.state == MessageState::Blocked).map(|(&seq, _)| seq)
        };
        let blocked =
            if self.convoy.is_some() && self.uncommon.blocked > 0 { first_blocked() } else { None };
        blocked.or_else(|| self.head())
    }

    /// Whether nothing goes before an operator has repaired something: the head failed for good, or too many are set
    /// aside.
    pub(super) fn is_blocked(&self) -> bool {
        if self.convoy.is_some() {
            return self.is_stuck();
        }
        self.records().get(&self.cursor).is_some_and(|record| record.state == MessageState::Blocked)
    }

    /// What the queue does.
    pub(super) fn state(&self, stopping: bool) -> QueueState {
        if self.is_blocked() {
            QueueState::Blocked
        } else if self.record.paused.is_some() {
            QueueState::Paused
        } else if stopping || self.record.draining.is_some() {
            QueueState::Draining
        } else {
            QueueState::Running
        }
    }

    /// What to do next.
    pub(super) fn next(&self, now: Timestamp) -> Next {
        if let Some(convoy) = &self.convoy {
            return self.next_of(convoy);
        }
        let Some(head) = self.head() else { return Next::Wait };
        let held_back = !self.in_flight.is_empty()
            || self.record.paused.is_some()
            || self.holds().contains_key(&head)
            || self.state_of(head, now) != MessageState::Ready;
        if held_back {
            Next::Wait
        } else if head < self.window.end() {
            Next::Deliver(head)
        } else {
            Next::Load
        }
    }

    /// Whether a read for it is under way.
    pub(super) fn is_loading(&self) -> bool {
        self.window.is_loading() || self.convoy.as_deref().is_some_and(Convoy::is_reading)
    }

    /// Whether contents are of use in RAM: somebody may be served from them soon.
    pub(super) fn is_warm(&self) -> bool {
        !self.workers.is_empty() && self.record.paused.is_none() && !self.is_blocked()
    }

    /// When the oldest unfinished message was accepted; while the head is not in RAM, the last known.
    pub(super) fn oldest_at(&self) -> Option<Timestamp> {
        if self.depth() == 0 {
            return None;
        }
        let known = Some(self.oldest_at).filter(|&at| at > Timestamp(0));
        self.window.get(self.cursor).map(|entry| entry.accepted_at).or(known)
    }

    /// Gives out the next place to a message accepted at `at`.
    pub(super) fn append(&mut self, at: Timestamp, size_bytes: u64) -> Seq {
        let seq = self.next_seq;
        if self.depth() == 0 {
            self.oldest_at = at;
        }
        self.next_seq = seq.next();
        self.bytes = self.bytes.saturating_add(size_bytes);
        seq
    }

    /// A message is at its end. `entry` is what is known of it. Returns its record.
    pub(super) fn finish(
        &mut self,
        seq: Seq,
        entry: Option<&Entry>,
        now: Timestamp,
    ) -> Option<MessageRecord> {
        let record = self.uncommon.remove_record(seq);
        self.uncommon.end_hold(seq);
        self.await_no_more(seq, record.as_ref(), entry);
        if seq == self.floor {
            self.floor = seq.next();
        } else {
            self.uncommon.change().finished.insert(seq);
        }
        let size = entry.map_or_else(|| self.cancelled_bytes(seq), |it| it.content.size_bytes());
        self.bytes = self.bytes.saturating_sub(size);
        if let Some(entry) = entry.filter(|_| self.convoy.is_none() || seq == self.cursor) {
            self.oldest_at = entry.accepted_at;
        }
        self.leave_convoy(seq, entry.map(|entry| &entry.content.header), now);
        self.settle();
        if self.unfinished() == 0 {
            self.bytes = 0;
        }
        record
    }

    /// The times that a message which is at its end was listed for.
    fn await_no_more(&mut self, seq: Seq, record: Option<&MessageRecord>, entry: Option<&Entry>) {
        if !self.uncommon.expiring.is_empty()
            && let Some(expires) = record.and_then(|record| record.expires)
        {
            self.uncommon.change().expiring.remove(&(expires, seq));
        }
        let Some(convoy) = self.convoy.as_deref_mut() else { return };
        let delay = entry.and_then(|it| it.content.header.timing().due(it.accepted_at));
        for due in record.and_then(|record| record.due).into_iter().chain(delay) {
            convoy.due.remove(&(due, seq));
        }
    }

    /// An operator takes a message out, or lets it go at once: it doesn't wait for its time any more.
    pub(super) fn forget_time(&mut self, seq: Seq) {
        if let Some(convoy) = self.convoy.as_deref_mut() {
            convoy.due.retain(|&(_, place)| place != seq);
        }
    }

    /// A cancelled message whose turn to be restored ends when the one at `seq` is delivered.
    pub(super) fn first_passed(&self, seq: Seq) -> Option<Seq> {
        if self.convoy.is_some() {
            return self.passed_by(seq);
        }
        (self.floor < self.cursor).then_some(self.floor)
    }

    /// Keeps a record; the head may be another one then.
    pub(super) fn put_record(&mut self, seq: Seq, record: MessageRecord) {
        let is_cancelled = record.state == MessageState::Cancelled;
        let before = self.uncommon.put_record(seq, record);
        self.note_expiring(seq);
        if !is_cancelled && before.is_some_and(|it| it.state == MessageState::Cancelled) {
            self.cursor = self.cursor.min(seq);
        }
        self.settle();
    }

    /// Moves floor and cursor over what is finished or cancelled.
    fn settle(&mut self) {
        if self.uncommon.finished.len() > 0
            && let Some(end) = self.uncommon.change().finished.take_range(self.floor)
        {
            self.floor = end;
        }
        self.cursor = self.uncommon.finished.first_absent(self.cursor.max(self.floor));
        while self.cursor < self.next_seq && self.is_cancelled(self.cursor) {
            self.cursor = self.uncommon.finished.first_absent(self.cursor.next());
        }
    }

    fn is_cancelled(&self, seq: Seq) -> bool {
        self.records().get(&seq).is_some_and(|record| record.state == MessageState::Cancelled)
    }

    /// The first place from `seq` on whose message is not finished, cancelled ones included.
    pub(super) fn first_unfinished(&self, seq: Seq) -> Seq {
        self.uncommon.finished.first_absent(seq.max(self.floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_without_messages_is_small() {
        // One of jemalloc's sizes: with 100,000 queues each step to the next is 6 MB.
        assert!(size_of::<Queue>() <= 320, "{} bytes", size_of::<Queue>());
    }
}
