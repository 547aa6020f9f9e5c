//! What most queues have nothing of. With 100,000 queues it matters whether an empty map takes 24 bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use crate::model::{HoldView, MessageRecord, MessageState, Seq, StreamId, Timestamp, Timing};

use super::places::Places;

/// Cancelled messages past restoring whose places are remembered, so that STATUS tells them from done ones
/// while their ids are in the de-duplication window: bounded, since after a restart they are forgotten too.
const MAX_CANCELLED_REMEMBERED: usize = 1024;

/// What is uncommon of a queue: one pointer, until there is something.
#[derive(Debug, Default)]
pub(super) struct Uncommon(Option<Box<Parts>>);

/// See [`Uncommon`].
#[derive(Debug)]
pub(super) struct Parts {
    /// Finished places after the floor.
    pub(super) finished: Places,
    pub(super) records: BTreeMap<Seq, MessageRecord>,
    /// Of `records`, how many are cancelled.
    pub(super) cancelled: u64,
    /// Of `records`, how many are blocked.
    pub(super) blocked: u64,
    /// Places of cancelled and dropped messages before the floor, the newest.
    pub(super) past_restoring: BTreeSet<Seq>,
    pub(super) holds: BTreeMap<Seq, HoldView>,
    /// Where the read of what is to be dead-lettered began, while it is under way.
    pub(super) shedding: Option<Seq>,
    /// Of an exclusive queue: another worker than the active one may still have messages of it.
    pub(super) handing_over: bool,
    /// The newest entry of its stream that was appended or passed.
    pub(super) newest_entry: StreamId,
    /// Since the broker started.
    pub(super) failed: u64,
    pub(super) redelivered: u64,
    pub(super) duplicates: u64,
    pub(super) dead_lettered: u64,
    pub(super) dropped: u64,
    pub(super) resent: u64,
    /// When the queue is looked at for what is due or has expired, as it stands among the timers.
    pub(super) alarm: Option<Timestamp>,
    /// What was last seen of a head whose content needn't be in RAM.
    pub(super) peeked: Option<Peeked>,
    /// Where the read of what may have expired began, while it is under way.
    pub(super) peeking: Option<Seq>,
    /// When those set aside may have expired; some may have gone since.
    pub(super) expiring: BTreeSet<(Timestamp, Seq)>,
}

/// What is known of a message's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peeked {
    pub(super) seq: Seq,
    pub(super) accepted_at: Timestamp,
    /// Absent: its content can't be read, and it never expires.
    pub(super) timing: Option<Timing>,
}

const NOTHING: &Parts = &Parts {
    finished: Places::EMPTY,
    records: BTreeMap::new(),
    cancelled: 0,
    blocked: 0,
    past_restoring: BTreeSet::new(),
    holds: BTreeMap::new(),
    handing_over: false,
    shedding: None,
    newest_entry: StreamId::ZERO,
    failed: 0,
    redelivered: 0,
    duplicates: 0,
    dead_lettered: 0,
    dropped: 0,
    resent: 0,
    alarm: None,
    peeked: None,
    peeking: None,
    expiring: BTreeSet::new(),
};

impl Uncommon {
    /// What the store has of it.
    pub(super) fn recovered(
        finished: Vec<Seq>,
        records: Vec<(Seq, MessageRecord)>,
        newest_entry: StreamId,
    ) -> Self {
        let mut uncommon = Self::default();
        if !finished.is_empty() {
            uncommon.change().finished = finished.into_iter().collect();
        }
        if newest_entry > StreamId::ZERO {
            uncommon.change().newest_entry = newest_entry;
        }
        for (seq, record) in records {
            uncommon.put_record(seq, record);
        }
        uncommon
    }

    /// Keeps a record; returns the one before.
    pub(super) fn put_record(&mut self, seq: Seq, record: MessageRecord) -> Option<MessageRecord> {
        let parts = self.change();
        let state = record.state;
        let before = parts.records.insert(seq, record);
        parts.uncount(before.as_ref());
        if let Some(counter) = parts.counter(state) {
            *counter = counter.saturating_add(1);
        }
        before
    }

    /// A message is at its end: its record goes.
    pub(super) fn remove_record(&mut self, seq: Seq) -> Option<MessageRecord> {
        let parts = self.there()?;
        let record = parts.records.remove(&seq)?;
        parts.uncount(Some(&record));
        if record.state == MessageState::Cancelled {
            parts.remember_out(seq);
        }
        Some(record)
    }

    /// Nobody edits a message any more; whether somebody did.
    pub(super) fn end_hold(&mut self, seq: Seq) -> bool {
        self.there().is_some_and(|parts| parts.holds.remove(&seq).is_some())
    }

    /// To put something in. What may only be taken out is looked for first.
    pub(super) fn change(&mut self) -> &mut Parts {
        self.0.get_or_insert_default()
    }

    /// To change what is there; `None` if there is nothing.
    pub(super) fn there(&mut self) -> Option<&mut Parts> {
        self.0.as_deref_mut()
    }
}

impl Parts {
    /// A message ended without being done, so that nothing of it can be put back.
    pub(super) fn remember_out(&mut self, seq: Seq) {
        self.past_restoring.insert(seq);
        if self.past_restoring.len() > MAX_CANCELLED_REMEMBERED {
            self.past_restoring.pop_first();
        }
    }

    /// A record goes, or another comes in its place.
    fn uncount(&mut self, record: Option<&MessageRecord>) {
        if let Some(counter) = record.and_then(|record| self.counter(record.state)) {
            *counter = counter.saturating_sub(1);
        }
    }

    fn counter(&mut self, state: MessageState) -> Option<&mut u64> {
        match state {
            MessageState::Cancelled => Some(&mut self.cancelled),
            MessageState::Blocked => Some(&mut self.blocked),
            MessageState::Scheduled
            | MessageState::Ready
            | MessageState::Leased
            | MessageState::Waiting
            | MessageState::Done => None,
        }
    }

    /// Time has gone back.
    pub(super) fn shift_back(&mut self, shifted: impl Fn(Timestamp) -> Timestamp) {
        self.holds.values_mut().for_each(|hold| hold.until = shifted(hold.until));
        self.alarm = self.alarm.map(&shifted);
        let dues = self.records.values_mut().filter_map(|record| record.due.as_mut());
        dues.for_each(|due| *due = shifted(*due));
    }
}

impl Deref for Uncommon {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        self.0.as_deref().unwrap_or(NOTHING)
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            finished: Places::EMPTY,
            records: BTreeMap::new(),
            past_restoring: BTreeSet::new(),
            holds: BTreeMap::new(),
            expiring: BTreeSet::new(),
            ..*NOTHING
        }
    }
}
