//! A batch worked out against the streams: what goes into them, and what the local store gets instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::entry::By;
use super::keeper::{Kept, Outgoing};
use super::leftover::Leftover;
use super::mark::Mark;
use super::streams::Streams;
use super::stub::{Reference, Stub, needs_escape};
use crate::mailbox::{Mailbox, MailboxError};
use crate::model::{Batch, Content, Generation, Op, QueueId, Revision, Seq, StreamEntry, StreamId};

/// Is there anything in this batch that can't pass as it is?
pub(super) fn touches(batch: &Batch, streams: &Streams) -> bool {
    let state = streams.state();
    batch.ops.iter().any(|op| match op {
        Op::PutQueue(record) => {
            record.settings.needs_redis() || state.queues.contains_key(&record.id)
        }
        Op::Append { queue, content, .. } | Op::PutRevision { queue, content, .. } => {
            state.queues.contains_key(queue) || needs_escape(&content.payload)
        }
        Op::Finish { queue, .. } | Op::PassEntry { queue, .. } | Op::RemoveQueue { queue, .. } => {
            state.queues.contains_key(queue)
        }
        Op::PutRecord { .. }
        | Op::PutNote { .. }
        | Op::PutSubscription(_)
        | Op::RemoveSubscription { .. }
        | Op::PutProcess(_)
        | Op::RemoveProcess(_)
        | Op::Journal(_)
        | Op::PutRepair(_) => false,
    })
}

/// A queue with a stream that the batch is about.
#[derive(Debug)]
struct Touched {
    key: String,
    is_fed: bool,
    mark: Mark,
    taken: StreamId,
    /// Entries of messages that the batch finishes.
    removals: Vec<StreamId>,
    /// The queue goes, and with it what it has in the stream.
    is_removed: bool,
}

/// What is done, in two steps around the local commit.
#[derive(Debug)]
pub(super) struct Plan {
    /// For the local store.
    pub(super) batch: Batch,
    queues: BTreeMap<QueueId, Touched>,
}

impl Plan {
    /// Adds payloads to their streams, and works out the rest. Only the local store can make it fail.
    pub(super) fn of(
        batch: &Batch,
        streams: &Streams,
        local: &dyn Mailbox,
    ) -> Result<Self, MailboxError> {
        for op in &batch.ops {
            if let Op::PutQueue(record) = op {
                let is_fed = record.settings.needs_redis();
                streams.put(record.id, &record.name, None, is_fed);
            }
        }
        let (generation, queues) = touched(batch, streams);
        let mut kept = add(batch, streams, generation, &queues).into_iter();
        let plan = Self { batch: Batch::default(), queues };
        let mut building =
            Building { plan, local, generation, here: BTreeMap::new(), revised: BTreeSet::new() };
        for op in &batch.ops {
            building.take(op, &mut kept)?;
        }
        Ok(building.finish(streams))
    }

    /// Entries of messages that it finishes: to be removed once that is durable.
    pub(super) fn removals(&self) -> impl Iterator<Item = (QueueId, StreamId)> + '_ {
        let of = |(&queue, touched): (&QueueId, &Touched)| {
            touched.removals.iter().map(move |&id| (queue, id)).collect::<Vec<_>>()
        };
        self.queues.iter().flat_map(of)
    }

    /// Queues that it removes: what they have in Redis is to be removed once that is durable.
    pub(super) fn gone(&self) -> impl Iterator<Item = QueueId> + '_ {
        self.queues.iter().filter(|(_, touched)| touched.is_removed).map(|(&queue, _)| queue)
    }

    /// The local store has it.
    pub(super) fn apply(self, streams: &Streams) {
        let mut state = streams.state();
        for (queue, touched) in self.queues {
            let Some(stream) = state.queues.get_mut(&queue) else { continue };
            let Touched { mark, taken, removals, is_removed, .. } = touched;
            // Meanwhile the poller may have removed some.
            let mut all = std::mem::take(&mut stream.mark.removals);
            all.extend(removals);
            stream.mark = Mark { removals: all, ..mark };
            if is_removed {
                stream.leftover = Some(Leftover::Unsynced);
                stream.is_fed = false;
            }
            stream.taken = stream.taken.max(taken);
            stream.told = stream.told.filter(|&told| told > stream.taken);
        }
        drop(state);
        streams.tell();
    }
}

/// What is known of the queues of a batch.
fn touched(batch: &Batch, streams: &Streams) -> (Generation, BTreeMap<QueueId, Touched>) {
    let state = streams.state();
    let of = |op: &Op| match op {
        Op::PutQueue(record) => Some(record.id),
        Op::Append { queue, .. }
        | Op::PutRecord { queue, .. }
        | Op::PutRevision { queue, .. }
        | Op::PassEntry { queue, .. }
        | Op::Finish { queue, .. }
        | Op::PutNote { queue, .. }
        | Op::RemoveQueue { queue, .. } => Some(*queue),
        Op::PutSubscription(_)
        | Op::RemoveSubscription { .. }
        | Op::PutProcess(_)
        | Op::RemoveProcess(_)
        | Op::Journal(_)
        | Op::PutRepair(_) => None,
    };
    let ids: BTreeSet<QueueId> = batch.ops.iter().filter_map(of).collect();
    let known = ids.into_iter().filter_map(|id| {
        let stream = state.queues.get(&id)?;
        let touched = Touched {
            key: stream.key.clone(),
            is_fed: stream.is_fed,
            mark: stream.mark.clone(),
            taken: stream.taken,
            removals: Vec::new(),
            is_removed: false,
        };
        Some((id, touched))
    });
    (state.generation, known.collect())
}

/// Adds what belongs into streams; one outcome for each such message, in order.
fn add(
    batch: &Batch,
    streams: &Streams,
    generation: Generation,
    queues: &BTreeMap<QueueId, Touched>,
) -> Vec<Kept> {
    let outgoing: Vec<Outgoing<'_>> = batch
        .ops
        .iter()
        .filter_map(|op| match op {
            Op::Append { queue, seq, content, entry: None, .. } => {
                let touched = queues.get(queue).filter(|touched| touched.is_fed)?;
                let by = By { key: touched.mark.key, generation, seq: *seq };
                Some(Outgoing { queue: *queue, key: &touched.key, by, content })
            }
            Op::Append { .. }
            | Op::PutQueue(_)
            | Op::RemoveQueue { .. }
            | Op::PutRecord { .. }
            | Op::PutRevision { .. }
            | Op::PassEntry { .. }
            | Op::Finish { .. }
            | Op::PutNote { .. }
            | Op::PutSubscription(_)
            | Op::RemoveSubscription { .. }
            | Op::PutProcess(_)
            | Op::RemoveProcess(_)
            | Op::Journal(_)
            | Op::PutRepair(_) => None,
        })
        .collect();
    streams.add(&outgoing)
}

struct Building<'a> {
    plan: Plan,
    local: &'a dyn Mailbox,
    generation: Generation,
    /// Messages of this batch that refer to an entry.
    here: BTreeMap<(QueueId, Seq), Reference>,
    /// Messages that this batch edits.
    revised: BTreeSet<(QueueId, Seq)>,
}

impl Building<'_> {
    fn take(&mut self, op: &Op, kept: &mut impl Iterator<Item = Kept>) -> Result<(), MailboxError> {
        let op = match op {
            Op::Append { queue, seq, at, content, entry } => {
                let stub = match entry {
                    Some(entry) => self.taken_in(*queue, *seq, content, entry),
                    None => self.own(*queue, *seq, content, kept),
                };
                let content = stored(content, &stub);
                Op::Append { queue: *queue, seq: *seq, at: *at, content, entry: None }
            }
            Op::PutRevision { queue, seq, revision, content } => {
                self.revise(*queue, *seq)?;
                let content = stored(content, &Stub::Here(content.payload.clone()));
                Op::PutRevision { queue: *queue, seq: *seq, revision: revision.clone(), content }
            }
            Op::Finish { queue, seq, .. } => {
                self.finish_message(*queue, *seq)?;
                op.clone()
            }
            Op::PassEntry { queue, entry } => {
                if let Some(touched) = self.plan.queues.get_mut(queue) {
                    touched.taken = touched.taken.max(*entry);
                    touched.removals.push(*entry);
                }
                op.clone()
            }
            Op::RemoveQueue { queue, .. } => {
                if let Some(touched) = self.plan.queues.get_mut(queue) {
                    touched.is_removed = true;
                }
                op.clone()
            }
            Op::PutQueue(_)
            | Op::PutRecord { .. }
            | Op::PutNote { .. }
            | Op::PutSubscription(_)
            | Op::RemoveSubscription { .. }
            | Op::PutProcess(_)
            | Op::RemoveProcess(_)
            | Op::Journal(_)
            | Op::PutRepair(_) => op.clone(),
        };
        self.plan.batch.ops.push(op);
        Ok(())
    }

    /// A message that others have added.
    fn taken_in(
        &mut self,
        queue: QueueId,
        seq: Seq,
        content: &Content,
        entry: &StreamEntry,
    ) -> Stub {
        let here = Stub::Here(content.payload.clone());
        let Some(touched) = self.plan.queues.get_mut(&queue) else { return here };
        touched.taken = touched.taken.max(entry.id);
        let reference = Reference { id: entry.id, len: content.payload.len() as u64 };
        self.refer(queue, seq, reference)
    }

    /// A message of the broker's own.
    fn own(
        &mut self,
        queue: QueueId,
        seq: Seq,
        content: &Content,
        kept: &mut impl Iterator<Item = Kept>,
    ) -> Stub {
        let here = Stub::Here(content.payload.clone());
        let Some(touched) = self.plan.queues.get_mut(&queue) else { return here };
        if !touched.is_fed {
            return here;
        }
        match kept.next().expect("each payload that goes out has an outcome") {
            Kept::There(id) => {
                touched.mark.refer_to_own(id, self.generation);
                self.refer(queue, seq, Reference { id, len: content.payload.len() as u64 })
            }
            Kept::Here => here,
            Kept::InDoubt => {
                touched.mark.doubt(self.generation, seq);
                here
            }
        }
    }

    fn refer(&mut self, queue: QueueId, seq: Seq, reference: Reference) -> Stub {
        self.here.insert((queue, seq), reference);
        self.count(queue, reference.beyond());
        Stub::There(reference)
    }

    fn count(&mut self, queue: QueueId, beyond: i64) {
        if let Some(touched) = self.plan.queues.get_mut(&queue) {
            touched.mark.beyond = touched.mark.beyond.saturating_add(beyond);
        }
    }

    /// From now on its newest content is here.
    fn revise(&mut self, queue: QueueId, seq: Seq) -> Result<(), MailboxError> {
        if let Some(reference) = self.reference(queue, seq)?
            && !self.is_revised(queue, seq)?
        {
            self.count(queue, -reference.beyond());
        }
        self.revised.insert((queue, seq));
        Ok(())
    }

    fn finish_message(&mut self, queue: QueueId, seq: Seq) -> Result<(), MailboxError> {
        let Some(reference) = self.reference(queue, seq)? else { return Ok(()) };
        if !self.is_revised(queue, seq)? {
            self.count(queue, -reference.beyond());
        }
        if let Some(touched) = self.plan.queues.get_mut(&queue) {
            touched.removals.push(reference.id);
        }
        Ok(())
    }

    /// The entry that a message refers to.
    fn reference(&self, queue: QueueId, seq: Seq) -> Result<Option<Reference>, MailboxError> {
        if !self.plan.queues.contains_key(&queue) {
            return Ok(None);
        }
        if let Some(reference) = self.here.get(&(queue, seq)) {
            return Ok(Some(*reference));
        }
        let stored = match self.local.content(queue, seq, Revision(0)) {
            // What it referred to is not known any more: its entry stays.
            Err(MailboxError::Unreadable { .. }) => None,
            stored => stored?,
        };
        Ok(stored.and_then(|content| match Stub::from_bytes(&content.payload) {
            Stub::Here(_) => None,
            Stub::There(reference) => Some(reference),
        }))
    }

    fn is_revised(&self, queue: QueueId, seq: Seq) -> Result<bool, MailboxError> {
        Ok(self.revised.contains(&(queue, seq)) || !self.local.revisions(queue, seq)?.is_empty())
    }

    /// The notes that go into the same commit.
    fn finish(self, streams: &Streams) -> Plan {
        let mut plan = self.plan;
        let state = streams.state();
        for (&queue, touched) in &mut plan.queues {
            let Some(stream) = state.queues.get(&queue).filter(|_| !touched.is_removed) else {
                continue;
            };
            touched.mark.see(stream.seen(touched.taken));
            let removals = stream.mark.removals.iter().chain(&touched.removals).copied().collect();
            let mark = Mark { removals, ..touched.mark.clone() };
            let note = Bytes::from(mark.to_bytes());
            plan.batch.ops.push(Op::PutNote { queue, note });
        }
        drop(state);
        plan
    }
}

/// The content as the local store gets it.
fn stored(content: &Arc<Content>, stub: &Stub) -> Arc<Content> {
    match stub {
        Stub::Here(payload) if !needs_escape(payload) => Arc::clone(content),
        Stub::Here(_) | Stub::There(_) => {
            Arc::new(Content { header: content.header.clone(), payload: stub.to_bytes() })
        }
    }
}
