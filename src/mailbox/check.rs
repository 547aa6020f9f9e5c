//! Does a batch keep the contract? Asked before anything of it is written.

use std::collections::{BTreeMap, BTreeSet};

use super::MailboxError;
use crate::model::limits::MAX_PROCESS_PART_BYTES;
use crate::model::{Batch, Numbers, Op, QueueId, Seq};

/// What a batch is checked against: the store as of the last commit.
pub(super) trait Places {
    /// The place that the next message of `queue` gets; `None` if there is no such queue.
    fn next_seq(&self, queue: QueueId) -> Option<Seq>;
    /// Is a message at this place, below `next_seq`, unfinished?
    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool;
    /// The newest journal entry's number; 0: none.
    fn last_journal(&self) -> u64;
}

/// What the batch itself has changed so far.
#[derive(Default)]
struct Changed {
    next: BTreeMap<QueueId, Seq>,
    removed: BTreeSet<QueueId>,
    finished: Numbers<(QueueId, Seq)>,
    journal: Option<u64>,
}

/// Refuses a batch whose sequences have gaps, that names unknown queues or messages that are not there.
pub(super) fn check(batch: &Batch, places: &impl Places) -> Result<(), MailboxError> {
    let mut changed = Changed::default();
    for (at, op) in batch.ops.iter().enumerate() {
        changed.take(op, places).map_err(|what| MailboxError::Inconsistent {
            what: format!("operation {at}: {what}"),
        })?;
    }
    Ok(())
}

impl Changed {
    fn take(&mut self, op: &Op, places: &impl Places) -> Result<(), String> {
        match op {
            Op::PutQueue(record) if self.removed.contains(&record.id) => {
                Err(format!("queue {} was removed, and its number is never used again", record.id))
            }
            Op::PutQueue(record) => {
                let next = self.next(record.id, places).unwrap_or(record.first);
                self.next.insert(record.id, next);
                Ok(())
            }
            Op::RemoveQueue { queue, next } => {
                let known = self.need_queue(*queue, places)?;
                if *next < known {
                    return Err(format!("queue {queue} has used places up to {known}, not {next}"));
                }
                self.removed.insert(*queue);
                Ok(())
            }
            Op::Append { queue, seq, .. } => {
                let next = self.need_queue(*queue, places)?;
                if next != *seq {
                    return Err(format!(
                        "message {seq} comes where {next} is next in queue {queue}"
                    ));
                }
                self.next.insert(*queue, next.next());
                Ok(())
            }
            Op::PutRecord { queue, seq, .. } | Op::PutRevision { queue, seq, .. } => {
                self.need_unfinished(*queue, *seq, places)
            }
            Op::Finish { queue, seq, .. } => {
                self.need_unfinished(*queue, *seq, places)?;
                self.finished.insert((*queue, *seq));
                Ok(())
            }
            Op::Journal(entry) => {
                let last = self.journal.unwrap_or_else(|| places.last_journal());
                if entry.number != last + 1 {
                    return Err(format!("journal entry {} comes after {last}", entry.number));
                }
                self.journal = Some(entry.number);
                Ok(())
            }
            Op::PassEntry { queue, .. } | Op::PutNote { queue, .. } => {
                self.need_queue(*queue, places).map(drop)
            }
            Op::PutProcess(record) if record.body.len() > MAX_PROCESS_PART_BYTES => {
                let (bytes, id) = (record.body.len(), &record.key.id);
                Err(format!("part {} of process {id} is too large: {bytes} bytes", record.part))
            }
            Op::PutRepair(_)
            | Op::PutSubscription(_)
            | Op::RemoveSubscription { .. }
            | Op::PutProcess(_)
            | Op::RemoveProcess(_) => Ok(()),
        }
    }

    /// The next place of a queue that is there.
    fn need_queue(&self, queue: QueueId, places: &impl Places) -> Result<Seq, String> {
        self.next(queue, places).ok_or_else(|| format!("there is no queue with id {queue}"))
    }

    fn next(&self, queue: QueueId, places: &impl Places) -> Option<Seq> {
        if self.removed.contains(&queue) {
            return None;
        }
        self.next.get(&queue).copied().or_else(|| places.next_seq(queue))
    }

    fn need_unfinished(
        &self,
        queue: QueueId,
        seq: Seq,
        places: &impl Places,
    ) -> Result<(), String> {
        let known = match places.next_seq(queue) {
            Some(next) if seq < next => places.is_unfinished(queue, seq),
            Some(_) | None => self.next.get(&queue).is_some_and(|&next| Seq(0) < seq && seq < next),
        };
        if known && !self.finished.contains(&(queue, seq)) && !self.removed.contains(&queue) {
            return Ok(());
        }
        Err(format!("there is no unfinished message {seq} in queue {queue}"))
    }
}
