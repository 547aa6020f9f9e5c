//! What the engine did, compared with what the model says.

use std::collections::VecDeque;

use super::model::ModelLease;
use super::rig::queue;
use super::world::{Answer, Cause, HEARTBEAT_MS, QUEUES, World, index};
use crate::engine::{Effect, Effects, Event};
use crate::model::{
    AckMode, Attempt, AttemptEnd, CallStatus, DeliveryId, Finish, MessageRecord, MessageState,
    NackAction, Op,
};

impl World {
    pub(super) fn run(&mut self, event: Event, mut cause: Cause) -> Vec<Effect> {
        self.model.set_time(self.clock);
        self.model.drop_holds();
        let mut out = Effects::default();
        self.engine.handle(self.clock, event, &mut out);
        let mut deliveries: VecDeque<&Effect> =
            out.effects.iter().filter(|effect| matches!(effect, Effect::Deliver { .. })).collect();
        for effect in &out.effects {
            if let Effect::DropWorker { worker, .. } = effect {
                let worker = self.workers.get(&worker.0).expect("connected");
                let is_silent = worker.heard_at.plus_ms(HEARTBEAT_MS) <= self.model.now;
                assert!(is_silent || worker.is_leaving, "it was heard, and didn't say BYE");
            }
        }
        if let Some((delivery, answer)) = cause.answered {
            self.apply_answer(delivery, answer);
        }
        for op in &out.ops {
            self.apply(op, &mut cause, &mut deliveries);
        }
        for effect in deliveries {
            self.deliver(effect);
        }
        for effect in &out.effects {
            if let Effect::DropWorker { worker, .. } = effect {
                self.forget_worker(worker.0);
            }
        }
        (0..QUEUES.len()).for_each(|at| self.end_lease_without_a_record(at));
        for (&id, worker) in &self.workers {
            let mut leases = self.model.queues.iter().filter_map(|queue| queue.lease.as_ref());
            let holds = leases.any(|lease| lease.worker == id);
            assert!(holds || !worker.is_leaving, "BYE is said back once nothing is held");
        }
        let told = out.effects.clone();
        self.pending.push_back((out, self.model.clone()));
        self.check();
        told
    }

    fn apply_answer(&mut self, delivery: DeliveryId, answer: Answer) {
        let at = self.lease(delivery).expect("a valid answer");
        let now = self.model.now;
        let queue = &mut self.model.queues[at];
        let seq = queue.lease.as_ref().expect("leased").seq;
        match answer {
            Answer::Nack(action, delay_ms) => queue.fail(now, AttemptEnd::Nack, action, delay_ms),
            Answer::Ack => {
                if queue.settings.ack == AckMode::AfterWork {
                    queue.finish(seq, Finish::Done);
                }
                queue.lease = None;
            }
        }
    }

    fn apply(&mut self, op: &Op, cause: &mut Cause, deliveries: &mut VecDeque<&Effect>) {
        let now = self.model.now;
        match op {
            Op::Append { queue, .. } if self.is_for_the_dead(*queue) => {}
            Op::Append { queue, seq, content, .. } => {
                let at = self.index_of(*queue);
                let message = self.model.queues[at].message(seq.0);
                assert_eq!(message.id, content.id().as_str());
            }
            Op::PutRecord { queue, seq, record } => {
                let at = self.index_of(*queue);
                let attempts = self.model.queues[at].message(seq.0).attempts;
                match record.failures.back().filter(|_| record.attempts > attempts) {
                    Some(failure) => self.observe_failure(at, seq.0, record, failure, deliveries),
                    None => {
                        let repaired = cause.repair.take() == Some((at, seq.0));
                        let nacked = cause.answered.is_some();
                        assert!(repaired || nacked, "nothing changes by itself: {op:?}");
                    }
                }
                self.model.queues[at].check_record(seq.0, record);
            }
            Op::PutRevision { queue, seq, content, .. } => {
                let at = self.index_of(*queue);
                let payload = String::from_utf8_lossy(&content.payload);
                assert_eq!(self.model.queues[at].message(seq.0).payload(), payload);
            }
            Op::Finish { queue, seq, how: Finish::DeadLettered | Finish::Moved } => {
                let at = self.index_of(*queue);
                let over = self.model.queues[at].message(seq.0).over;
                assert!(over, "only by a worker's or an operator's wish");
            }
            Op::Finish { how: Finish::Dropped, .. } => panic!("no queue of a run drops: {op:?}"),
            Op::Finish { queue, seq, how: Finish::Cancelled } => {
                let at = self.index_of(*queue);
                self.model.queues[at].finish(seq.0, Finish::Cancelled);
            }
            Op::Finish { queue, seq, how: Finish::Done } => {
                let at = self.index_of(*queue);
                let queue = &mut self.model.queues[at];
                let once = queue.settings.ack == AckMode::OnDelivery;
                let acked = queue.message(seq.0).state == MessageState::Done;
                assert!(once || acked, "done only by an ack: {seq} at {now}");
            }
            Op::PutQueue(_)
            | Op::RemoveQueue { .. }
            | Op::PassEntry { .. }
            | Op::PutNote { .. }
            | Op::PutSubscription(_)
            | Op::RemoveSubscription { .. }
            | Op::PutProcess(_)
            | Op::RemoveProcess(_)
            | Op::Journal(_)
            | Op::PutRepair(_) => {}
        }
    }

    /// The engine says that an attempt failed by itself: was that so?
    fn observe_failure(
        &mut self,
        at: usize,
        seq: u64,
        record: &MessageRecord,
        failure: &Attempt,
        deliveries: &mut VecDeque<&Effect>,
    ) {
        while self.lease(failure.delivery).is_none() {
            let effect = deliveries.pop_front().expect("what fails was delivered");
            self.deliver(effect);
        }
        let now = self.model.now;
        let lease = self.model.queues[at].lease.clone().expect("leased");
        assert_eq!((lease.seq, lease.attempt), (seq, record.attempts));
        let worker = self.workers.get(&lease.worker);
        let silent = worker.is_none_or(|worker| worker.heard_at.plus_ms(HEARTBEAT_MS) <= now);
        match failure.end {
            AttemptEnd::WorkerLost => assert!(silent, "the worker is there"),
            AttemptEnd::LeaseOver => assert!(!silent && lease.deadline <= now),
            AttemptEnd::Nack => panic!("nobody said so"),
        }
        self.model.queues[at].fail(now, failure.end, NackAction::Retry, None);
    }

    fn deliver(&mut self, effect: &Effect) {
        let Effect::Deliver { worker, delivery, queue, seq, attempt, deadline, content } = effect
        else {
            panic!("{effect:?}")
        };
        assert!(self.deliveries.insert(*delivery), "a delivery is unique for ever");
        let (now, at) = (self.model.now, index(queue));
        self.end_lease_without_a_record(at);
        let connection = self.workers.get_mut(&worker.0).expect("a connected worker");
        assert!(connection.queues.contains(&at), "it serves the queue");
        connection.unanswered.insert(*delivery);
        assert!(connection.unanswered.len() <= connection.credit, "not more than it takes");
        let lease = ModelLease {
            delivery: *delivery,
            worker: worker.0,
            seq: seq.0,
            attempt: *attempt,
            deadline: *deadline,
        };
        let payload = String::from_utf8_lossy(&content.payload);
        self.model.queues[at].deliver(lease, now, &payload);
    }

    /// On-delivery leases leave no record when they end, but they must have a reason.
    fn end_lease_without_a_record(&mut self, at: usize) {
        let once = self.model.queues[at].settings.ack == AckMode::OnDelivery;
        if once && self.may_end(at) {
            self.model.queues[at].lease = None;
        }
    }

    fn may_end(&self, at: usize) -> bool {
        let now = self.model.now;
        self.model.queues[at].lease.as_ref().is_some_and(|lease| {
            let worker = self.workers.get(&lease.worker);
            let lost = worker.is_none_or(|worker| worker.heard_at.plus_ms(HEARTBEAT_MS) <= now);
            lost || lease.deadline <= now
        })
    }

    /// What is told after a commit must be so in the store.
    pub(super) fn tell(&mut self, effect: Effect) {
        match effect {
            Effect::Accepted { accepted, .. } => {
                for one in accepted {
                    let kept = self.store.queue_named(one.queue.as_str()).expect("there");
                    assert_eq!(kept.accepted[one.seq.0 as usize - 1], one.id, "durable first");
                }
            }
            Effect::Repaired { outcome, .. } => {
                assert!(self.store.repairs.iter().any(|(key, _)| *key == outcome.key));
            }
            Effect::CallEnded { origin, reply } => {
                assert!(self.calls.remove(&origin.0), "a call ends once");
                if reply.status == CallStatus::Ok {
                    assert_eq!(&reply.payload[..], b"reply");
                }
            }
            Effect::Deliver { worker, delivery, .. } => {
                if let Some(connection) = self.workers.get_mut(&worker.0) {
                    connection.hands.push(delivery);
                }
            }
            Effect::Load { queue, from, max_messages, max_bytes } => {
                let twice = self.loads.iter().any(|load| match load {
                    Event::Loaded { queue: other, .. } => *other == queue,
                    _ => false,
                });
                assert!(!twice, "one load at a time for a queue");
                let messages = self.store.read(queue, from, max_messages, max_bytes);
                self.loads.push(Event::Loaded { queue, from, messages });
            }
            _ => {}
        }
    }

    /// Engine and model agree.
    fn check(&mut self) {
        let now = self.model.now;
        for (at, name) in QUEUES.iter().enumerate() {
            let model = &self.model.queues[at];
            let view = self.engine.queue_view(&queue(name)).expect("there");
            assert_eq!(view.depth, model.depth(), "{name}");
            assert_eq!(view.bytes, model.bytes(), "{name}");
            assert_eq!(view.leased, model.count(MessageState::Leased, now), "{name}");
            assert_eq!(view.waiting, model.count(MessageState::Waiting, now), "{name}");
            assert_eq!(view.blocked, model.count(MessageState::Blocked, now), "{name}");
            assert_eq!(view.paused.is_some(), model.paused);
            let serving = self.workers.values().filter(|worker| worker.queues.contains(&at));
            assert_eq!(view.workers, serving.count() as u64);
            assert_eq!(view.head.as_ref().map(|head| head.seq.0), model.head());
            if let Some(lease) = &model.lease {
                let known = self.workers.get(&lease.worker).expect("whoever has it is there");
                assert!(known.heard_at.plus_ms(HEARTBEAT_MS) > now, "silence ends leases");
                assert!(lease.deadline > now, "a lease ends at its deadline");
            }
            if let Some(head) = view.head {
                assert_eq!(head.state, model.state(head.seq.0, now));
            }
        }
        self.check_liveness();
    }

    /// What can go goes, once no load is under way.
    fn check_liveness(&self) {
        let loading = self.loads.len()
            + self
                .pending
                .iter()
                .flat_map(|(effects, _)| &effects.effects)
                .filter(|effect| matches!(effect, Effect::Load { .. }))
                .count();
        if loading > 0 {
            return;
        }
        for (at, name) in QUEUES.iter().enumerate() {
            let free = self.workers.values().any(|worker| {
                worker.queues.contains(&at) && worker.unanswered.len() < worker.credit
            });
            let stuck = free && self.model.queues[at].deliverable(self.model.now).is_some();
            assert!(!stuck, "{name} stands although a worker is free");
        }
    }
}
