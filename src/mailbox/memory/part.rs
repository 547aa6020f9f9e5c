//! A mailbox in RAM as a part of [`super::super::RoutedMailbox`]: its queues' places have gaps, which are in the
//! durable store.

use std::sync::Arc;

use super::{Held, MemoryMailbox, Queue};
use crate::model::{
    MessageId, MessageRecord, Op, QueueId, QueueRecord, RevisionRecord, Seq, Timestamp,
};

/// What waits of one queue here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::mailbox) struct Load {
    pub(in crate::mailbox) messages: u64,
    /// Header and payload bytes as accepted.
    pub(in crate::mailbox) bytes: u64,
    pub(in crate::mailbox) first: Option<Seq>,
}

/// What is known here of a queue, when the durable store has been opened again.
#[derive(Debug)]
pub(in crate::mailbox) struct Part {
    /// Its next place, as of the last batch that came.
    pub(in crate::mailbox) next: Seq,
    pub(in crate::mailbox) places: Vec<Seq>,
    /// As of the newest revisions.
    pub(in crate::mailbox) bytes: u64,
    pub(in crate::mailbox) oldest_at: Option<Timestamp>,
    pub(in crate::mailbox) records: Vec<(Seq, MessageRecord)>,
    pub(in crate::mailbox) window: Vec<(MessageId, Seq)>,
}

impl MemoryMailbox {
    /// Puts checked operations in.
    pub(in crate::mailbox) fn apply(&self, ops: &[Op]) {
        if ops.is_empty() {
            return;
        }
        let mut held = self.held_mut();
        ops.iter().for_each(|op| held.apply(op));
    }

    /// What waits of a queue here.
    pub(in crate::mailbox) fn load(&self, queue: QueueId) -> Load {
        let held = self.held();
        held.queues.get(&queue).map_or_else(Load::default, |queue| Load {
            messages: queue.messages.len() as u64,
            bytes: queue.bytes,
            first: queue.messages.first_key_value().map(|(&seq, _)| seq),
        })
    }

    /// Does this message wait here?
    pub(in crate::mailbox) fn has(&self, queue: QueueId, seq: Seq) -> bool {
        self.held().kept(queue, seq).is_some()
    }

    /// The first place from `from` on that waits here.
    pub(in crate::mailbox) fn first_from(&self, queue: QueueId, from: Seq) -> Option<Seq> {
        let held = self.held();
        held.queues.get(&queue)?.messages.range(from..).next().map(|(&seq, _)| seq)
    }

    /// The operations that put all that waits of a queue here into another store.
    pub(in crate::mailbox) fn as_ops(&self, queue: QueueId) -> Vec<Op> {
        let held = self.held();
        let messages = held.queues.get(&queue).into_iter().flat_map(|queue| &queue.messages);
        let mut ops = Vec::new();
        for (&seq, kept) in messages {
            let content = Arc::clone(&kept.content);
            ops.push(Op::Append { queue, seq, at: kept.at, content, entry: None });
            let revisions = kept.revisions.values().cloned();
            ops.extend(revisions.map(|(revision, content): (RevisionRecord, _)| Op::PutRevision {
                queue,
                seq,
                revision: Box::new(revision),
                content,
            }));
            let record = kept.record.clone();
            ops.extend(record.map(|record| Op::PutRecord { queue, seq, record }));
        }
        ops
    }

    /// Puts a queue here whose next message gets place `next`.
    pub(in crate::mailbox) fn adopt(&self, record: QueueRecord, next: Seq) {
        let mut held = self.held_mut();
        let id = record.id;
        held.apply(&Op::PutQueue(Box::new(record)));
        held.raise(id, next);
    }

    /// The queue's next message gets this place, wherever it will wait.
    pub(in crate::mailbox) fn raise(&self, queue: QueueId, next: Seq) {
        self.held_mut().raise(queue, next);
    }

    /// Keeps a queue that has moved to the durable store out of sight, until that is synced: the store may
    /// still lose it.
    pub(in crate::mailbox) fn set_aside(&self, queue: QueueId) {
        let mut held = self.held_mut();
        if let Some(moved) = held.queues.remove(&queue) {
            held.leaving.push((queue, moved));
        }
    }

    /// How many queues have been set aside and not let go.
    pub(in crate::mailbox) fn leaving(&self) -> usize {
        self.held().leaving.len()
    }

    /// Lets go of so many that were set aside, the oldest first.
    pub(in crate::mailbox) fn let_go(&self, leaving: usize) {
        if leaving > 0 {
            drop(self.held_mut().leaving.drain(..leaving));
        }
    }

    /// The durable store was opened again and may have lost its newest batches. Queues that it doesn't `keep`
    /// in RAM are forgotten; those whose move it has lost are back. Of all, the messages which `stays` says stay.
    pub(in crate::mailbox) fn resume(
        &self,
        keeps: impl Fn(QueueId) -> bool,
        stays: impl Fn(QueueId, Seq) -> bool,
    ) {
        let mut held = self.held_mut();
        let held = &mut *held;
        held.queues.retain(|&id, _| keeps(id));
        for (id, moved) in held.leaving.drain(..).filter(|&(id, _)| keeps(id)) {
            match held.queues.get_mut(&id) {
                Some(queue) => queue.take_back(moved),
                None => drop(held.queues.insert(id, moved)),
            }
        }
        for (&id, queue) in &mut held.queues {
            queue.messages.retain(|&seq, _| stays(id, seq));
            queue.bytes = queue.messages.values().map(|kept| kept.content.size_bytes()).sum();
        }
    }

    /// What is known of a queue, if it is here.
    pub(in crate::mailbox) fn part(&self, queue: QueueId) -> Option<Part> {
        let held = self.held();
        let queue = held.queues.get(&queue)?;
        let records = queue.messages.iter();
        Some(Part {
            next: queue.next,
            places: queue.messages.keys().copied().collect(),
            bytes: queue.messages.values().map(|kept| kept.newest().size_bytes()).sum(),
            oldest_at: queue.messages.values().next().map(|kept| kept.at),
            records: records
                .filter_map(|(&seq, kept)| Some((seq, kept.record.as_deref()?.clone())))
                .collect(),
            window: queue.window.iter().cloned().collect(),
        })
    }
}

impl Held {
    fn raise(&mut self, queue: QueueId, next: Seq) {
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.next = queue.next.max(next);
        }
    }
}

impl Queue {
    fn take_back(&mut self, before: Self) {
        self.next = self.next.max(before.next);
        self.end = self.end.max(before.end);
        let mut messages = before.messages;
        messages.append(&mut self.messages);
        self.messages = messages;
        self.window.extend(before.window);
        self.window.make_contiguous().sort_by_key(|&(_, seq)| seq);
        self.trim_window();
    }
}
