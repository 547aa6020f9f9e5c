//! The commit pipeline: what was decided, gathered into batches, and told only once it is durable.

use super::event_loop::Answer;
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
/// What an operation counts beside its content: keys, times, names.
const OP_BYTES: u64 = 128;

/// Something that is told or done after what it rests upon is durable.
pub(super) enum Release {
    /// The engine's.
    Effect(Effect),
    /// An operator's question, answered from the engine's state as it was when it was asked. Dropped
    /// unanswered if that state never became durable.
    Answer(Answer),
}

/// Gathers one batch while the one before is being made durable (group commit).
///
/// The order in which releases go in is the order in which they come out.
#[derive(Default)]
pub(super) struct Pipeline {
    gathered: Batch,
    bytes: u64,
    /// Released once `gathered` is durable.
    waiting: Vec<Release>,
    /// Released once the batch that the store has is durable; `None`: the store has none.
    in_flight: Option<Vec<Release>>,
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
        if !self.gathered.ops.is_empty() {
            if let Release::Effect(Effect::CallEnded { reply, .. }) = &release {
                self.bytes = self.bytes.saturating_add(reply.payload.len() as u64);
            }
            self.waiting.push(release);
        } else if let Some(in_flight) = &mut self.in_flight {
            in_flight.push(release);
        } else {
            out.push(release);
        }
    }

    /// Whether inputs must wait until the gathered batch is on its way.
    pub(super) fn is_full(&self) -> bool {
        let in_flight = self.in_flight.as_ref().map_or(0, Vec::len);
        self.gathered.ops.len() >= MAX_BATCH_OPS
            || self.bytes >= MAX_BATCH_BYTES
            || self.waiting.len().saturating_add(in_flight) >= MAX_RELEASES
    }

    /// Whether everything decided is durable.
    pub(super) fn is_idle(&self) -> bool {
        self.gathered.ops.is_empty() && self.in_flight.is_none()
    }

    /// The gathered batch, if there is one and the store is free for it.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        if self.in_flight.is_some() || self.gathered.ops.is_empty() {
            return None;
        }
        self.in_flight = Some(std::mem::take(&mut self.waiting));
        self.bytes = 0;
        Some(std::mem::take(&mut self.gathered))
    }

    /// The batch that the store had is durable: what may be told now, in order.
    pub(super) fn committed(&mut self) -> Vec<Release> {
        self.in_flight.take().unwrap_or_default()
    }

    /// The store is broken: nothing of this will ever be told.
    pub(super) fn abandon(&mut self) {
        *self = Self::default();
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
        Op::PutQueue(_) | Op::Finish { .. } | Op::Journal(_) | Op::PutRepair(_) => 0,
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
        assert_eq!(pipeline.next_batch().expect("the store is free").ops.len(), 1);
        // While the first is flushed, the second gathers; a release without operations keeps its place.
        assert!(take(&mut pipeline, vec![], 2).is_empty());
        assert!(take(&mut pipeline, vec![op()], 3).is_empty());
        assert!(take(&mut pipeline, vec![], 4).is_empty());
        assert!(take(&mut pipeline, vec![op()], 5).is_empty());
        assert!(pipeline.next_batch().is_none(), "one batch at a time");
        assert_eq!(origins(&pipeline.committed()), [1, 2]);
        assert_eq!(pipeline.next_batch().expect("gathered meanwhile").ops.len(), 2);
        assert_eq!(origins(&pipeline.committed()), [3, 4, 5]);
        assert!(pipeline.is_idle());
    }

    #[test]
    fn a_full_batch_makes_inputs_wait_until_it_is_on_its_way() {
        let mut pipeline = Pipeline::default();
        take(&mut pipeline, vec![op()], 1);
        pipeline.next_batch();
        take(&mut pipeline, (0..MAX_BATCH_OPS).map(|_| op()).collect(), 2);
        assert!(pipeline.is_full());
        pipeline.committed();
        pipeline.next_batch();
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
        assert_eq!(pipeline.committed().len() as u64, told);
        assert!(!pipeline.is_full());
    }

    #[test]
    fn replies_count_by_their_bytes() {
        let mut pipeline = Pipeline::default();
        let payload = bytes::Bytes::from(vec![0; MAX_BATCH_BYTES as usize]);
        let id = MessageId::new("m").unwrap();
        let reply = CallReply { id, status: CallStatus::Ok, error: None, payload };
        let effects = vec![Effect::CallEnded { origin: Origin(1), reply }];
        pipeline.take(&mut Effects { ops: vec![op()], effects }, &mut Vec::new());
        assert!(pipeline.is_full());
    }

    #[test]
    fn an_abandoned_batch_is_never_told() {
        let mut pipeline = Pipeline::default();
        take(&mut pipeline, vec![op()], 1);
        pipeline.next_batch();
        take(&mut pipeline, vec![op()], 2);
        pipeline.abandon();
        assert!(pipeline.is_idle());
        assert!(pipeline.committed().is_empty());
    }
}
