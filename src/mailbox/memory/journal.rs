//! The journal's bound.

use std::collections::{BTreeMap, VecDeque};

use super::Held;
use crate::model::limits::MAX_HISTORY;
use crate::model::{JournalEntry, QueueId, QueueName, Seq};

impl Held {
    /// Leaves the newest entries, and the newest ones of each message that waits.
    pub(super) fn trim_journal(&mut self, newest: u64) {
        let end = self.last_journal.saturating_sub(newest);
        if self.journal.front().is_none_or(|oldest| oldest.number > end) {
            return;
        }
        let ids: BTreeMap<&QueueName, QueueId> =
            self.queues.iter().map(|(&id, queue)| (&queue.record.name, id)).collect();
        let message_of = |entry: &JournalEntry| {
            let (queue, seq) = (*ids.get(&entry.queue)?, entry.seq?);
            self.kept(queue, seq).map(|_| (queue, seq))
        };
        let mut histories: BTreeMap<(QueueId, Seq), usize> = BTreeMap::new();
        let mut left = VecDeque::new();
        for entry in self.journal.iter().rev() {
            let stays = entry.number > end
                || message_of(entry).is_some_and(|message| {
                    let count = histories.entry(message).or_default();
                    *count += 1;
                    *count <= MAX_HISTORY
                });
            if stays {
                left.push_front(entry.clone());
            }
        }
        self.journal = left;
    }
}
