//! The journal's bound: entries go oldest first, but not those of a message that still waits.
//!
//! Each entry is looked at once in a run, when it is not among the newest any more: it goes, or it stays until its
//! message is finished. Which stay is kept in RAM, so that nothing is looked for then. A crash costs looking at them
//! again.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::mailbox::{Durable, MailboxError};
use crate::model::limits::{JOURNAL_ENTRIES, MAX_HISTORY};
use crate::model::{Batch, JournalEntry, Op, QueueId, QueueName, Seq};

/// Entries looked at, and entries removed, in one step of upkeep: about a millisecond. Also how many more than the
/// newest there may be before they are looked at.
pub(super) const STEP: usize = 32;

/// What of the journal is not needed.
#[derive(Debug)]
pub(super) struct JournalBound {
    /// So many stay whatever they are about.
    newest: u64,
    /// All before have been looked at.
    from: u64,
    queues: HashMap<QueueName, QueueId>,
    /// Entries that were looked at and stay, by message: only messages with a record have any, and those are in RAM.
    kept: BTreeSet<(QueueId, Seq, u64)>,
    /// Entries that go, and are still there.
    unneeded: VecDeque<u64>,
}

impl Default for JournalBound {
    fn default() -> Self {
        Self::new(JOURNAL_ENTRIES)
    }
}

impl JournalBound {
    /// At least one stays: its number is the journal's.
    pub(super) fn new(newest: u64) -> Self {
        let (queues, kept, unneeded) = Default::default();
        Self { newest: newest.max(1), from: 1, queues, kept, unneeded }
    }

    /// A queue that is there when the store is opened.
    pub(super) fn know(&mut self, name: &QueueName, id: QueueId) {
        self.queues.insert(name.clone(), id);
    }

    /// A batch was appended.
    pub(super) fn take(&mut self, batch: &Batch) {
        let mut removed = BTreeSet::new();
        for op in &batch.ops {
            match op {
                Op::RemoveQueue { queue, .. } => {
                    removed.insert(*queue);
                    let entries = (*queue, Seq(0), 0)..=(*queue, Seq(u64::MAX), u64::MAX);
                    let numbers: Vec<_> = self.kept.range(entries).copied().collect();
                    for entry in numbers {
                        self.kept.remove(&entry);
                        self.unneeded.push_back(entry.2);
                    }
                }
                Op::PutQueue(record) => self.know(&record.name, record.id),
                Op::Finish { queue, seq, how: _ } => self.release(*queue, *seq),
                Op::Append { .. }
                | Op::PassEntry { .. }
                | Op::PutRecord { .. }
                | Op::PutRevision { .. }
                | Op::PutNote { .. }
                | Op::PutSubscription(_)
                | Op::RemoveSubscription { .. }
                | Op::PutProcess(_)
                | Op::RemoveProcess(_)
                | Op::Journal(_)
                | Op::PutRepair(_) => {}
            }
        }
        if !removed.is_empty() {
            self.queues.retain(|_, id| !removed.contains(id));
        }
    }

    /// One step of upkeep; `true` if there is more to do. `waits` says whether a message is unfinished.
    pub(super) fn step(
        &mut self,
        durable: &dyn Durable,
        waits: impl Fn(QueueId, Seq) -> bool,
    ) -> Result<bool, MailboxError> {
        let end = durable.last_journal().saturating_sub(self.newest);
        if self.unneeded.len() < STEP && self.is_due(end) {
            self.look(end, durable, waits)?;
        }
        let numbers: Vec<u64> = self.unneeded.iter().take(STEP).copied().collect();
        if !numbers.is_empty() {
            if !durable.remove_journal(&numbers)? {
                return Ok(false);
            }
            self.unneeded.drain(..numbers.len());
        }
        Ok(!self.unneeded.is_empty() || self.is_due(end))
    }

    fn is_due(&self, end: u64) -> bool {
        end >= self.from.saturating_add(STEP as u64)
    }

    /// Looks at some entries up to number `end`.
    fn look(
        &mut self,
        end: u64,
        durable: &dyn Durable,
        waits: impl Fn(QueueId, Seq) -> bool,
    ) -> Result<(), MailboxError> {
        let page = durable.journal_from(self.from, STEP)?;
        // Fewer than were asked for are the last ones.
        let last = page.get(STEP - 1).map_or(u64::MAX, |entry| entry.number);
        for entry in page.iter().take_while(|entry| entry.number <= end) {
            match self.message_of(entry).filter(|&(queue, seq)| waits(queue, seq)) {
                Some((queue, seq)) => self.keep(queue, seq, entry.number),
                None => self.unneeded.push_back(entry.number),
            }
        }
        self.from = last.min(end) + 1;
        Ok(())
    }

    fn message_of(&self, entry: &JournalEntry) -> Option<(QueueId, Seq)> {
        Some((*self.queues.get(&entry.queue)?, entry.seq?))
    }

    fn keep(&mut self, queue: QueueId, seq: Seq, number: u64) {
        self.kept.insert((queue, seq, number));
        let numbers = self.numbers_of(queue, seq);
        if numbers.len() > MAX_HISTORY {
            self.kept.remove(&(queue, seq, numbers[0]));
            self.unneeded.push_back(numbers[0]);
        }
    }

    fn release(&mut self, queue: QueueId, seq: Seq) {
        if self.kept.is_empty() {
            return;
        }
        for number in self.numbers_of(queue, seq) {
            self.kept.remove(&(queue, seq, number));
            self.unneeded.push_back(number);
        }
    }

    fn numbers_of(&self, queue: QueueId, seq: Seq) -> Vec<u64> {
        let entries = self.kept.range((queue, seq, 0)..=(queue, seq, u64::MAX));
        entries.map(|&(_, _, number)| number).collect()
    }
}
