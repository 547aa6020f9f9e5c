//! As the model of stores with gaps.

use std::collections::BTreeMap;

use super::MemoryMailbox;
use crate::mailbox::{Durable, Elsewhere, MailboxError};
use crate::model::{Batch, JournalEntry, QueueId, Seq};

impl Durable for MemoryMailbox {
    fn append_with_gaps(
        &self,
        batch: &Batch,
        elsewhere: &BTreeMap<QueueId, Elsewhere>,
    ) -> Result<(), MailboxError> {
        let mut held = self.held_mut();
        batch.ops.iter().for_each(|op| held.apply(op));
        for (queue, next) in elsewhere.iter().filter_map(|(queue, at)| Some((queue, at.next?))) {
            let queue = held.queues.get_mut(queue).expect("the queue was put before");
            queue.next = next.max(queue.end);
        }
        Ok(())
    }

    fn first_unfinished(&self, queue: QueueId, from: Seq) -> Option<Seq> {
        let held = self.held();
        held.queues.get(&queue)?.messages.range(from..).next().map(|(&seq, _)| seq)
    }

    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool {
        self.held().kept(queue, seq).is_some()
    }

    fn waiting(&self, queue: QueueId) -> u64 {
        self.held().queues.get(&queue).map_or(0, |queue| queue.messages.len() as u64)
    }

    fn last_journal(&self) -> u64 {
        self.held().last_journal
    }

    fn journal_from(&self, from: u64, max: usize) -> Result<Vec<JournalEntry>, MailboxError> {
        let held = self.held();
        let entries = held.journal.iter().skip_while(|entry| entry.number < from);
        Ok(entries.take(max).cloned().collect())
    }

    fn remove_journal(&self, numbers: &[u64]) -> Result<bool, MailboxError> {
        self.held_mut().journal.retain(|entry| !numbers.contains(&entry.number));
        Ok(true)
    }

    fn check_sound(&self) -> Result<(), MailboxError> {
        Ok(())
    }
}
