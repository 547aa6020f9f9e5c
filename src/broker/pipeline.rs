//! The commit pipeline: what was decided, gathered into batches, and told only once it is durable.

use std::collections::VecDeque;

use super::commands::Answer;
use super::committer::{MAX_IN_FLIGHT, OVERLAP_BYTES};
use super::event_loop::KEPT_RELEASES;
use super::traces::Begun;
use crate::engine::{Effect, Effects};
use crate::model::{Batch, Op};

/// A batch that has so many operations takes no more: it bounds how long one commit holds the answers of
/// all whose messages are in it. Some 8,000 messages are a few flushes' worth on a fast disk.
const MAX_BATCH_OPS: usize = 16_384;
/// A batch of so many bytes takes no more: at a slow disk's 100 MB/s it is written within 80 ms. One
/// SENDMANY of `limits::MAX_WIRE_MESSAGE_BYTES` may go beyond, since it must be one commit.
const MAX_BATCH_BYTES: u64 = 8 * 1024 * 1024;
/// Answers and deliveries that may wait for commits: what changes nothing (a refusal, a late answer of a
/// worker) has no operation, and a commit may take long.
const MAX_RELEASES: usize = 65_536;
/// Places that a list of the next batch has from the beginning, at most: half a megabyte.
const MAX_FORESEEN: usize = 2_048;
/// Emptied lists of releases that are kept for the next batches: as many as there may be in flight.
const KEPT_LISTS: usize = MAX_IN_FLIGHT;
/// What an operation counts beside its content: keys, times, names.
const OP_BYTES: u64 = 128;

/// Something that is told or done after what it rests upon is durable.
pub(super) enum Release {
    /// The engine's.
    Effect(Effect),
    /// An operator's question, answered from the engine's state as it was when it was asked. Dropped
    /// unanswered if that state never became durable.
    Answer(Answer),
    /// Spans that end with it.
    Spans(Box<Begun>),
}

/// Gathers one batch while those before are being made durable (group commit).
///
/// The order in which releases go in is the order in which they come out.
#[derive(Default)]
pub(super) struct Pipeline {
    gathered: Batch,
    bytes: u64,
    /// Released once `gathered` is durable.
    waiting: Vec<Release>,
    /// For each batch that the store has, oldest first: what is released once it is durable.
    in_flight: VecDeque<Vec<Release>>,
    /// Lists whose releases are out: a batch after the other, their memory is not asked for anew.
    spare: Vec<Vec<Release>>,
    /// Payloads that wait for a batch in flight without being in one: parts of replies,
    /// what was published to no queue.
    held_bytes: u64,
}

impl Pipeline {
    /// Takes what the engine decided and leaves `decided` empty. What can be told at once, because it
    /// rests upon nothing that isn't durable, is put into `out`.
    pub(super) fn take(&mut self, decided: &mut Effects, out: &mut Vec<Release>) {
        for op in decided.ops.drain(..) {
            self.bytes = self.bytes.saturating_add(size(&op));
            self.gathered.ops.push(op);
        }
        for effect in decided.effects.drain(..) {
            self.release(Release::Effect(effect), out);
        }
    }

    /// Lets `release` out with the newest batch, or at once into `out` if everything is durable.
    pub(super) fn release(&mut self, release: Release, out: &mut Vec<Release>) {
        let bytes = payload_bytes(&release);
        if !self.gathered.ops.is_empty() {
            self.bytes = self.bytes.saturating_add(bytes);
            self.waiting.push(release);
        } else if let Some(newest) = self.in_flight.back_mut() {
            self.held_bytes = self.held_bytes.saturating_add(bytes);
            newest.push(release);
        } else {
            out.push(release);
        }
    }

    /// Whether inputs must wait until the gathered batch is on its way.
    pub(super) fn is_full(&self) -> bool {
        let in_flight: usize = self.in_flight.iter().map(Vec::len).sum();
        self.gathered.ops.len() >= MAX_BATCH_OPS
            || self.bytes.saturating_add(self.held_bytes) >= MAX_BATCH_BYTES
            || self.waiting.len().saturating_add(in_flight) >= MAX_RELEASES
    }

    /// Whether everything decided is durable.
    pub(super) fn is_idle(&self) -> bool {
        self.gathered.ops.is_empty() && self.in_flight.is_empty()
    }

    /// Whether the store has a batch that it hasn't answered for.
    pub(super) fn is_committing(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The gathered batch and its bytes, if there is one and the store should have it now. While it has
    /// one already, it gets another only if that is worth appending meanwhile; a small one rather gathers
    /// what else comes during the flush.
    pub(super) fn next_batch(&mut self) -> Option<(Batch, u64)> {
        if self.gathered.ops.is_empty() || self.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        if self.is_committing() && self.bytes < OVERLAP_BYTES {
            return None;
        }
        let waiting = self.spare.pop().unwrap_or_default();
        self.in_flight.push_back(std::mem::replace(&mut self.waiting, waiting));
        // The next batch is like this one: its list doesn't grow step by step.
        let ops = Vec::with_capacity(self.gathered.ops.len().min(MAX_FORESEEN));
        let batch = std::mem::replace(&mut self.gathered, Batch { ops });
        Some((batch, std::mem::take(&mut self.bytes)))
    }

    /// The oldest `batches` that the store had are durable: what may be told now is put into `out`, in order.
    pub(super) fn committed(&mut self, batches: usize, out: &mut Vec<Release>) {
        let batches = batches.min(self.in_flight.len());
        if batches == self.in_flight.len() {
            self.held_bytes = 0;
        }
        for mut list in self.in_flight.drain(..batches) {
            if out.is_empty() {
                std::mem::swap(out, &mut list);
            } else {
                out.append(&mut list);
            }
            if self.spare.len() < KEPT_LISTS && list.capacity() <= KEPT_RELEASES {
                self.spare.push(list);
            }
        }
    }

    /// The store is broken: nothing of this will ever be told.
    pub(super) fn abandon(&mut self) {
        *self = Self::default();
    }
}

fn payload_bytes(release: &Release) -> u64 {
    match release {
        Release::Effect(Effect::CallEnded { reply, .. }) => reply.payload.len() as u64,
        Release::Effect(Effect::CallPart { part, .. }) => part.payload.len() as u64,
        Release::Effect(Effect::Live { content, .. }) => content.size_bytes(),
        Release::Effect(Effect::Gathered { reply, .. }) => {
            reply.payloads.iter().map(|payload| payload.len() as u64).sum()
        }
        Release::Effect(_) | Release::Answer(_) | Release::Spans(_) => 0,
    }
}

fn size(op: &Op) -> u64 {
    let content = match op {
        Op::Append { content, .. } | Op::PutRevision { content, .. } => content.size_bytes(),
        Op::PutRecord { record, .. } => record
            .failures
            .iter()
            .map(|attempt| (attempt.error.message.len() + attempt.error.detail.len()) as u64)
            .sum(),
        Op::PutProcess(record) => record.body.len() as u64,
        Op::PutQueue(_)
        | Op::RemoveQueue { .. }
        | Op::PassEntry { .. }
        | Op::PutNote { .. }
        | Op::Finish { .. }
        | Op::PutSubscription(_)
        | Op::RemoveSubscription { .. }
        | Op::RemoveProcess(_)
        | Op::Journal(_)
        | Op::PutRepair(_) => 0,
    };
    content.saturating_add(OP_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CallReply, CallStatus, Finish, MessageId, Origin, QueueId, Seq};

    fn op() -> Op {
        Op::Finish { queue: QueueId(1), seq: Seq(1), how: Finish::Done }
    }

    fn done(origin: u64) -> Effect {
        Effect::Done { origin: Origin(origin) }
    }

    fn next_len(pipeline: &mut Pipeline) -> Option<usize> {
        pipeline.next_batch().map(|(batch, _)| batch.ops.len())
    }

    fn committed(pipeline: &mut Pipeline, batches: usize) -> Vec<u64> {
        let mut out = Vec::new();
        pipeline.committed(batches, &mut out);
        origins(&out)
    }

    fn origins(releases: &[Release]) -> Vec<u64> {
        let origin = |release: &Release| match release {
            Release::Effect(Effect::Done { origin }) => origin.0,
            _ => panic!("only Done was put in"),
        };
        releases.iter().map(origin).collect()
    }

    fn take(pipeline: &mut Pipeline, ops: Vec<Op>, origin: u64) -> Vec<u64> {
        let mut out = Vec::new();
        pipeline.take(&mut Effects { ops, effects: vec![done(origin)] }, &mut out);
        origins(&out)
    }

    #[test]
    fn what_rests_on_nothing_uncommitted_goes_out_at_once() {
        let mut pipeline = Pipeline::default();
        assert_eq!(take(&mut pipeline, vec![], 1), [1]);
        assert!(pipeline.is_idle());
    }

    #[test]
    fn nothing_is_told_before_the_batch_that_it_rests_on() {
        let mut pipeline = Pipeline::default();
        assert!(take(&mut pipeline, vec![op()], 1).is_empty());
        assert_eq!(next_len(&mut pipeline), Some(1));
        // While the first is flushed, the second gathers; a release without operations keeps its place.
        assert!(take(&mut pipeline, vec![], 2).is_empty());
        assert!(take(&mut pipeline, vec![op()], 3).is_empty());
        assert!(take(&mut pipeline, vec![], 4).is_empty());
        assert!(take(&mut pipeline, vec![op()], 5).is_empty());
        assert_eq!(next_len(&mut pipeline), None, "a small batch waits for the flush");
        assert_eq!(committed(&mut pipeline, 1), [1, 2]);
        assert_eq!(next_len(&mut pipeline), Some(2));
        assert_eq!(committed(&mut pipeline, 1), [3, 4, 5]);
        assert!(pipeline.is_idle());
    }

    #[test]
    fn a_full_batch_makes_inputs_wait_until_it_is_on_its_way() {
        let mut pipeline = Pipeline::default();
        take(&mut pipeline, vec![op()], 1);
        pipeline.next_batch();
        take(&mut pipeline, (0..MAX_BATCH_OPS).map(|_| op()).collect(), 2);
        assert!(pipeline.is_full());
        assert_eq!(next_len(&mut pipeline), Some(MAX_BATCH_OPS));
        assert!(!pipeline.is_full());
    }

    #[test]
    fn what_is_told_without_an_operation_is_bounded_too() {
        let mut pipeline = Pipeline::default();
        take(&mut pipeline, vec![op()], 1);
        pipeline.next_batch();
        let mut told: u64 = 1;
        while !pipeline.is_full() {
            assert!(told < 1_000_000, "refusals pile up during one commit");
            assert!(take(&mut pipeline, vec![], told).is_empty());
            told += 1;
        }
        assert_eq!(committed(&mut pipeline, 1).len() as u64, told);
        assert!(!pipeline.is_full());
    }

    #[test]
    fn replies_count_by_their_bytes() {
        let mut pipeline = Pipeline::default();
        let payload = bytes::Bytes::from(vec![0; MAX_BATCH_BYTES as usize]);
        let id = MessageId::new("m").unwrap();
        let reply = CallReply { id, status: CallStatus::Ok, error: None, payload };
        let effects = vec![Effect::CallEnded { origin: Origin(1), reply: Box::new(reply) }];
        pipeline.take(&mut Effects { ops: vec![op()], effects }, &mut Vec::new());
        assert!(pipeline.is_full());
    }

    #[test]
    fn large_batches_are_in_flight_together_and_released_in_order() {
        let mut pipeline = Pipeline::default();
        let large = || (0..=OVERLAP_BYTES / OP_BYTES).map(|_| op()).collect();
        assert!(take(&mut pipeline, large(), 1).is_empty());
        assert!(next_len(&mut pipeline).is_some());
        assert!(take(&mut pipeline, large(), 2).is_empty());
        assert!(next_len(&mut pipeline).is_some(), "appended while the first is synced");
        assert!(take(&mut pipeline, vec![], 3).is_empty(), "rests upon the second");
        assert!(take(&mut pipeline, large(), 4).is_empty());
        assert_eq!(next_len(&mut pipeline), None, "the store has as many as it may");
        assert_eq!(committed(&mut pipeline, 1), [1]);
        assert!(next_len(&mut pipeline).is_some());
        assert_eq!(committed(&mut pipeline, 2), [2, 3, 4], "one sync covered both");
        assert!(pipeline.is_idle());
    }

    #[test]
    fn an_abandoned_batch_is_never_told() {
        let mut pipeline = Pipeline::default();
        take(&mut pipeline, vec![op()], 1);
        pipeline.next_batch();
        take(&mut pipeline, vec![op()], 2);
        pipeline.abandon();
        assert!(pipeline.is_idle());
        assert!(committed(&mut pipeline, 1).is_empty());
    }
}
