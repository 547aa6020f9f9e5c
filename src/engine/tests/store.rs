//! A store in RAM that checks what it is given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    Content, Finish, Generation, IdempotencyKey, JournalEntry, MessageId, MessageRecord, Op,
    ProcessKey, ProcessParts, ProcessRecord, QueueBacklog, QueueId, QueueName, QueueRecord,
    Recovered, RemovedQueues, RepairOutcome, Revision, Seq, StoredMessage, StreamId,
    SubscriptionRecord, Timestamp, TopicName, WorkError, process_records,
};

/// A store that is always durable. Panics on operations that break `Op`'s contract.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeStore {
    generation: u64,
    queues: BTreeMap<QueueId, Kept>,
    removed: RemovedQueues,
    pub(crate) subscriptions: BTreeMap<(TopicName, QueueName), SubscriptionRecord>,
    pub(crate) processes: BTreeMap<ProcessKey, ProcessParts>,
    /// The whole journal.
    pub(crate) journal: Vec<JournalEntry>,
    /// Every repair ever committed, in order.
    pub(crate) repairs: VecDeque<(IdempotencyKey, RepairOutcome)>,
    /// Places whose accepted content can't be read any more.
    pub(crate) lost: BTreeSet<(QueueId, Seq)>,
}

/// A queue in the store.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) record: QueueRecord,
    /// Ids in the order of acceptance: the place is the index and 1.
    pub(crate) accepted: Vec<MessageId>,
    /// Unfinished messages.
    pub(crate) messages: BTreeMap<Seq, KeptMessage>,
    /// How finished ones ended, in order.
    pub(crate) finished: Vec<(Seq, Finish)>,
    /// The newest entry of its stream that was appended or passed.
    pub(crate) newest_entry: StreamId,
}

/// A message in the store.
#[derive(Debug, Clone)]
pub(crate) struct KeptMessage {
    pub(crate) at: Timestamp,
    /// By revision.
    pub(crate) contents: Vec<Arc<Content>>,
    pub(crate) record: Option<MessageRecord>,
}

impl KeptMessage {
    pub(crate) fn newest(&self) -> &Arc<Content> {
        self.contents.last().expect("a message has a content")
    }
}

impl FakeStore {
    /// Makes operations durable.
    pub(crate) fn commit(&mut self, ops: Vec<Op>) {
        for op in ops {
            self.apply(op);
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::PutQueue(record) => match self.queues.get_mut(&record.id) {
                Some(kept) => kept.record = *record,
                None => {
                    let (accepted, messages, finished, newest_entry) = Default::default();
                    let id = record.id;
                    assert!(id > self.removed.last, "a number is used once");
                    assert!(record.first >= self.removed.next, "its places too");
                    assert!(self.queue_named(record.name.as_str()).is_none(), "names are unique");
                    let record = *record;
                    self.queues
                        .insert(id, Kept { record, accepted, messages, finished, newest_entry });
                }
            },
            Op::RemoveQueue { queue, next } => {
                let kept = self.queues.remove(&queue).expect("it was there");
                let used = kept.record.first.0 + kept.accepted.len() as u64;
                assert_eq!(next.0, used, "all its places are behind");
                self.removed.note(queue, next);
            }
            Op::Append { queue, seq, at, content, entry } => {
                let kept = self.kept(queue);
                if let Some(entry) = entry {
                    assert!(kept.newest_entry < entry.id, "entries are taken in their order");
                    kept.newest_entry = entry.id;
                }
                kept.accepted.push(content.id().clone());
                let last = kept.record.first.0 + kept.accepted.len() as u64 - 1;
                assert_eq!(seq.0, last, "places come without gaps");
                kept.messages
                    .insert(seq, KeptMessage { at, contents: vec![content], record: None });
            }
            Op::PutRecord { queue, seq, record } => {
                let message = self.message(queue, seq);
                assert_eq!(record.revision.0 as usize + 1, message.contents.len());
                message.record = Some(*record);
            }
            Op::PutRevision { queue, seq, revision, content } => {
                let message = self.message(queue, seq);
                assert_eq!(revision.revision.0 as usize, message.contents.len());
                assert_eq!(content.id(), message.newest().id());
                message.contents.push(content);
            }
            Op::Finish { queue, seq, how } => {
                let kept = self.kept(queue);
                assert!(kept.messages.remove(&seq).is_some(), "{seq} is finished once");
                kept.finished.push((seq, how));
            }
            Op::PutNote { .. } => panic!("the engine puts no notes"),
            Op::PassEntry { queue, entry } => {
                let kept = self.kept(queue);
                assert!(kept.newest_entry < entry, "entries are taken in their order");
                kept.newest_entry = entry;
            }
            Op::Journal(entry) => {
                assert_eq!(entry.number, self.journal.len() as u64 + 1, "no gaps in the journal");
                self.journal.push(*entry);
            }
            Op::PutSubscription(record) => {
                let key = (record.topic.clone(), record.queue.clone());
                self.subscriptions.insert(key, *record);
            }
            Op::RemoveSubscription { topic, queue } => {
                assert!(self.subscriptions.remove(&(topic, queue)).is_some(), "it was there");
            }
            Op::PutProcess(record) => {
                let ProcessRecord { key, part, body } = *record;
                let parts = self.processes.entry(key).or_default();
                parts.insert(part, body);
                assert!(parts.contains_key(&0), "a process begins with its part 0");
            }
            Op::RemoveProcess(key) => {
                assert!(self.processes.remove(&key).is_some(), "it was there");
            }
            Op::PutRepair(outcome) => {
                let twice = self.repairs.iter().any(|(key, _)| *key == outcome.key);
                assert!(!twice, "a repair acts once");
                self.repairs.push_back((outcome.key.clone(), *outcome));
            }
        }
    }

    /// What opening the store gives.
    pub(crate) fn recover(&mut self) -> Recovered {
        self.generation += 1;
        Recovered {
            generation: Generation(self.generation),
            queues: self.queues.values().map(Kept::backlog).collect(),
            removed: self.removed,
            subscriptions: self.subscriptions.values().cloned().collect(),
            processes: process_records(&self.processes),
            last_journal: self.journal.len() as u64,
            repairs: self.repairs.clone(),
        }
    }

    /// What waited in a queue was in RAM only, and is gone.
    pub(crate) fn lose(&mut self, name: &str) {
        let kept = self.queues.values_mut().find(|kept| kept.record.name.as_str() == name);
        let kept = kept.expect("the queue is there");
        for seq in std::mem::take(&mut kept.messages).into_keys() {
            kept.finished.push((seq, Finish::Done));
        }
    }

    /// As `Mailbox::read`.
    pub(crate) fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Vec<StoredMessage> {
        let mut bytes = 0;
        // It may have been removed since.
        let messages = self.queues.get(&queue).into_iter();
        messages
            .flat_map(|kept| kept.messages.range(from..))
            .take(max_messages)
            .enumerate()
            .take_while(|(n, (_, message))| {
                bytes += message.newest().size_bytes() as usize;
                *n == 0 || bytes <= max_bytes
            })
            .map(|(_, (&seq, message))| {
                let lost = self.lost.contains(&(queue, seq)) && message.contents.len() == 1;
                let content = if lost {
                    Arc::new(Content::placeholder(message.newest().id()))
                } else {
                    Arc::clone(message.newest())
                };
                StoredMessage {
                    seq,
                    accepted_at: message.at,
                    content,
                    record: message.record.clone().map(Box::new),
                    unreadable: lost
                        .then(|| Box::new(WorkError::new("damaged", "the bytes are gone"))),
                }
            })
            .collect()
    }

    /// As `Mailbox::find`, without de-duplication windows.
    pub(crate) fn find(&self, queue: Option<QueueId>, id: &MessageId) -> Option<(QueueId, Seq)> {
        let queues = self.queues.iter().filter(|(of, _)| queue.is_none_or(|queue| queue == **of));
        queues
            .flat_map(|(&of, kept)| kept.messages.iter().map(move |(&seq, m)| (of, seq, m)))
            .filter(|(_, _, message)| message.newest().id() == id)
            .map(|(of, seq, _)| (of, seq))
            .next_back()
    }

    /// As `Mailbox::content`.
    pub(crate) fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Option<Arc<Content>> {
        let message = self.queues.get(&queue)?.messages.get(&seq)?;
        message.contents.get(revision.0 as usize).map(Arc::clone)
    }

    /// A queue by its name.
    pub(crate) fn queue_named(&self, name: &str) -> Option<&Kept> {
        self.queues.values().find(|kept| kept.record.name.as_str() == name)
    }

    fn kept(&mut self, queue: QueueId) -> &mut Kept {
        self.queues.get_mut(&queue).expect("the queue was put before")
    }

    fn message(&mut self, queue: QueueId, seq: Seq) -> &mut KeptMessage {
        self.kept(queue).messages.get_mut(&seq).expect("the message is unfinished")
    }
}

impl Kept {
    fn backlog(&self) -> QueueBacklog {
        let first = self.record.first.0;
        let next_seq = Seq(first + self.accepted.len() as u64);
        let floor = self.messages.keys().next().copied().unwrap_or(next_seq);
        let after = (floor.0..next_seq.0).map(Seq);
        let window = self.record.settings.dedup.last() as usize;
        let ids = self.accepted.iter().cloned().zip((first..).map(Seq));
        QueueBacklog {
            record: self.record.clone(),
            floor,
            next_seq,
            finished: after.filter(|seq| !self.messages.contains_key(seq)).collect(),
            bytes: self.messages.values().map(|message| message.newest().size_bytes()).sum(),
            oldest_at: self.messages.values().next().map(|message| message.at),
            records: self
                .messages
                .iter()
                .filter_map(|(&seq, message)| Some((seq, message.record.clone()?)))
                .collect(),
            window: ids.skip(self.accepted.len().saturating_sub(window)).collect(),
            newest_entry: self.newest_entry,
            note: Bytes::new(),
        }
    }
}
