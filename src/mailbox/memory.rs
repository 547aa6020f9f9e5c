//! `memory`: RAM, gone with the process. Also the model that other stores are held against.

#[cfg(test)]
mod gaps;
mod journal;
mod part;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(super) use self::part::{Load, Part};
use super::check::{Places, check};
use super::{JournalFilter, Mailbox, MailboxError};
use crate::model::limits::{JOURNAL_ENTRIES, MAX_REPAIR_KEYS};
use crate::model::{
    Batch, Content, Finish, Generation, JournalEntry, MessageId, MessageRecord, Op, ProcessKey,
    ProcessParts, QueueBacklog, QueueId, QueueName, QueueRecord, Recovered, RemovedQueues,
    RepairOutcome, Revision, RevisionRecord, Seq, StoredMessage, StreamId, SubscriptionRecord,
    Timestamp, TopicName, process_records,
};

use bytes::Bytes;

/// Messages for which a read makes room at once: what the engine asks for, in most cases.
const READ_AT_ONCE: usize = 4096;

/// A mailbox in RAM. `sync` does nothing; nothing survives the value being dropped. How much waits is
/// bounded by its queues' `max_messages` and `max_bytes`, which the engine keeps.
#[derive(Debug)]
pub struct MemoryMailbox {
    held: RwLock<Held>,
    /// So many entries of the journal stay whatever they are about.
    newest_journal: u64,
}

impl Default for MemoryMailbox {
    fn default() -> Self {
        Self { held: RwLock::default(), newest_journal: JOURNAL_ENTRIES }
    }
}

#[derive(Debug, Default)]
struct Held {
    generation: u64,
    queues: BTreeMap<QueueId, Queue>,
    removed: RemovedQueues,
    /// Queues that have moved to a durable store which has not been synced since, the oldest first.
    leaving: Vec<(QueueId, Queue)>,
    subscriptions: BTreeMap<(TopicName, QueueName), SubscriptionRecord>,
    processes: BTreeMap<ProcessKey, ProcessParts>,
    journal: VecDeque<JournalEntry>,
    last_journal: u64,
    repairs: VecDeque<RepairOutcome>,
}

#[derive(Debug)]
struct Queue {
    record: QueueRecord,
    next: Seq,
    /// The place after the highest that came.
    end: Seq,
    messages: BTreeMap<Seq, Kept>,
    /// Header and payload bytes of `messages` as accepted.
    bytes: u64,
    /// The newest accepted ids, ascending by place; as many places as the de-duplication window has.
    window: VecDeque<(MessageId, Seq)>,
    note: Bytes,
}

#[derive(Debug)]
struct Kept {
    at: Timestamp,
    content: Arc<Content>,
    record: Option<Box<MessageRecord>>,
    revisions: BTreeMap<Revision, (RevisionRecord, Arc<Content>)>,
}

impl Kept {
    fn newest(&self) -> &Arc<Content> {
        let newest = match &self.record {
            Some(record) => self.revisions.get(&record.revision),
            None => self.revisions.last_key_value().map(|(_, kept)| kept),
        };
        newest.map_or(&self.content, |(_, content)| content)
    }
}

impl Queue {
    fn new(record: QueueRecord) -> Self {
        Self {
            next: record.first,
            end: record.first,
            record,
            messages: BTreeMap::new(),
            bytes: 0,
            window: VecDeque::new(),
            note: Bytes::new(),
        }
    }

    fn trim_window(&mut self) {
        let start = self.end.0.saturating_sub(u64::from(self.record.settings.dedup.last()));
        while self.window.front().is_some_and(|&(_, seq)| seq.0 < start) {
            self.window.pop_front();
        }
    }

    fn append(&mut self, seq: Seq, kept: Kept) {
        self.end = self.end.max(seq.next());
        self.next = self.next.max(self.end);
        let after = self.window.iter().rposition(|&(_, before)| before < seq);
        let at = after.map_or(0, |after| after + 1);
        self.window.insert(at, (kept.content.id().clone(), seq));
        self.trim_window();
        self.bytes += kept.content.size_bytes();
        self.messages.insert(seq, kept);
    }

    fn finish(&mut self, seq: Seq) {
        if let Some(kept) = self.messages.remove(&seq) {
            self.bytes -= kept.content.size_bytes();
        }
    }

    fn floor(&self) -> Seq {
        self.messages.first_key_value().map_or(self.next, |(&seq, _)| seq)
    }

    fn backlog(&self) -> QueueBacklog {
        let floor = self.floor();
        let finished = (floor.0..self.next.0).map(Seq);
        QueueBacklog {
            record: self.record.clone(),
            floor,
            next_seq: self.next,
            finished: finished.filter(|seq| !self.messages.contains_key(seq)).collect(),
            bytes: self.messages.values().map(|kept| kept.newest().size_bytes()).sum(),
            oldest_at: self.messages.values().next().map(|kept| kept.at),
            records: self
                .messages
                .iter()
                .filter_map(|(&seq, kept)| Some((seq, kept.record.as_deref()?.clone())))
                .collect(),
            window: self.window.iter().cloned().collect(),
            newest_entry: StreamId::ZERO,
            note: self.note.clone(),
        }
    }

    fn find(&self, id: &MessageId) -> Option<Seq> {
        let waiting = self
            .messages
            .iter()
            .rev()
            .find(|(_, kept)| kept.content.id() == id)
            .map(|(&seq, _)| seq);
        let remembered =
            self.window.iter().rev().find(|(known, _)| known == id).map(|&(_, seq)| seq);
        waiting.max(remembered)
    }
}

impl Held {
    fn kept(&self, queue: QueueId, seq: Seq) -> Option<&Kept> {
        self.queues.get(&queue)?.messages.get(&seq)
    }

    fn kept_mut(&mut self, queue: QueueId, seq: Seq) -> &mut Kept {
        self.queues
            .get_mut(&queue)
            .and_then(|queue| queue.messages.get_mut(&seq))
            .expect("the batch was checked: the message is there")
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::PutQueue(record) => {
                self.queues
                    .entry(record.id)
                    .and_modify(|queue| {
                        queue.record = QueueRecord::clone(record);
                        queue.trim_window();
                    })
                    .or_insert_with(|| Queue::new(QueueRecord::clone(record)));
            }
            Op::RemoveQueue { queue, next } => {
                self.queues.remove(queue);
                self.removed.note(*queue, *next);
            }
            Op::Append { queue, seq, at, content, entry: _ } => {
                let queue = self.queues.get_mut(queue).expect("the batch was checked");
                let kept = Kept {
                    at: *at,
                    content: Arc::clone(content),
                    record: None,
                    revisions: BTreeMap::new(),
                };
                queue.append(*seq, kept);
            }
            Op::PutRecord { queue, seq, record } => {
                self.kept_mut(*queue, *seq).record = Some(record.clone());
            }
            Op::PutRevision { queue, seq, revision, content } => {
                self.kept_mut(*queue, *seq).revisions.insert(
                    revision.revision,
                    (RevisionRecord::clone(revision), Arc::clone(content)),
                );
            }
            Op::Finish {
                queue,
                seq,
                how:
                    Finish::Done
                    | Finish::Cancelled
                    | Finish::DeadLettered
                    | Finish::Moved
                    | Finish::Dropped,
            } => {
                let queue = self.queues.get_mut(queue).expect("the batch was checked");
                queue.finish(*seq);
            }
            Op::PutNote { queue, note } => {
                self.queues.get_mut(queue).expect("the batch was checked").note = note.clone();
            }
            Op::PutSubscription(record) => {
                let key = (record.topic.clone(), record.queue.clone());
                self.subscriptions.insert(key, SubscriptionRecord::clone(record));
            }
            Op::RemoveSubscription { topic, queue } => {
                self.subscriptions.remove(&(topic.clone(), queue.clone()));
            }
            Op::PutProcess(record) => {
                let parts = self.processes.entry(record.key.clone()).or_default();
                parts.insert(record.part, record.body.clone());
            }
            Op::RemoveProcess(key) => {
                self.processes.remove(key);
            }
            // Streams are Redis'.
            Op::PassEntry { .. } => {}
            Op::Journal(entry) => {
                self.last_journal = entry.number;
                self.journal.push_back(JournalEntry::clone(entry));
            }
            Op::PutRepair(outcome) => {
                self.repairs.push_back(RepairOutcome::clone(outcome));
                if self.repairs.len() > MAX_REPAIR_KEYS {
                    self.repairs.pop_front();
                }
            }
        }
    }
}

impl Places for Held {
    fn next_seq(&self, queue: QueueId) -> Option<Seq> {
        self.queues.get(&queue).map(|queue| queue.next)
    }

    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool {
        self.kept(queue, seq).is_some()
    }

    fn last_journal(&self) -> u64 {
        self.last_journal
    }
}

impl MemoryMailbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one whose journal keeps the `newest` entries, and those of messages that wait.
    pub fn keeping_journal(newest: u64) -> Self {
        Self { newest_journal: newest.max(1), ..Self::default() }
    }

    /// A panic while the lock was held can't leave half a batch: it is checked before and applying it
    /// doesn't fail.
    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_mut(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox for MemoryMailbox {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        let mut held = self.held_mut();
        held.generation += 1;
        Ok(Recovered {
            generation: Generation(held.generation),
            queues: held.queues.values().map(Queue::backlog).collect(),
            removed: held.removed,
            subscriptions: held.subscriptions.values().cloned().collect(),
            processes: process_records(&held.processes),
            last_journal: held.last_journal,
            repairs: held.repairs.iter().map(|done| (done.key.clone(), done.clone())).collect(),
        })
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        let mut held = self.held_mut();
        check(batch, &*held)?;
        batch.ops.iter().for_each(|op| held.apply(op));
        Ok(())
    }

    fn sync(&self) -> Result<(), MailboxError> {
        Ok(())
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        let held = self.held();
        let Some(queue) = held.queues.get(&queue) else { return Ok(Vec::new()) };
        let mut messages =
            Vec::with_capacity(max_messages.min(queue.messages.len()).min(READ_AT_ONCE));
        let mut bytes = 0;
        for (&seq, kept) in queue.messages.range(from..).take(max_messages) {
            let content = kept.newest();
            bytes += content.size_bytes();
            if bytes > max_bytes as u64 && !messages.is_empty() {
                break;
            }
            messages.push(StoredMessage {
                seq,
                accepted_at: kept.at,
                content: Arc::clone(content),
                record: kept.record.clone(),
                unreadable: None,
            });
        }
        Ok(messages)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        let held = self.held();
        let content = held.kept(queue, seq).and_then(|kept| match revision {
            Revision(0) => Some(&kept.content),
            later => kept.revisions.get(&later).map(|(_, content)| content),
        });
        Ok(content.map(|content| Content::clone(content)))
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        let held = self.held();
        let kept = held.kept(queue, seq).into_iter().flat_map(|kept| kept.revisions.values());
        Ok(kept.map(|(record, content)| (record.clone(), content.payload.len() as u64)).collect())
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        let held = self.held();
        let mut wanted = held.queues.iter().filter(|(known, _)| queue.is_none_or(|q| q == **known));
        Ok(wanted.find_map(|(&queue, held)| Some((queue, held.find(id)?))))
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        let held = self.held();
        let older = held.journal.iter().rev().skip_while(|entry| entry.number >= before);
        Ok(older.filter(|entry| of.matches(entry)).take(max).cloned().collect())
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        self.held_mut().trim_journal(self.newest_journal);
        Ok(false)
    }
}
