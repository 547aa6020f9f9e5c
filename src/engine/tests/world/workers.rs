//! Workers come, answer in time or late, and go.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::rig::queue;
use super::{Cause, QUEUES, World};
use crate::engine::{Effect, Event};
use crate::model::{DeliveryId, NackAction, Timestamp, WorkError, WorkerId, WorkerInfo};

/// A worker's connection, as the test sees it.
#[derive(Debug, Default)]
pub(in super::super) struct Connection {
    pub(in super::super) queues: BTreeSet<usize>,
    pub(in super::super) credit: usize,
    pub(in super::super) heard_at: Timestamp,
    /// Handed out to it by the engine and not answered.
    pub(in super::super) unanswered: BTreeSet<DeliveryId>,
    /// Of these, what it was told of.
    pub(in super::super) hands: Vec<DeliveryId>,
    /// It said BYE.
    pub(in super::super) is_leaving: bool,
}

/// What a worker answers.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Answer {
    Ack,
    Nack(NackAction, Option<u64>),
}

impl World {
    pub(in super::super) fn ready(&mut self, pick: usize, queues: &BTreeSet<usize>, credit: u32) {
        let known = self.workers.keys().nth(pick).copied();
        let id = known.unwrap_or_else(|| {
            self.next_worker += 1;
            self.next_worker
        });
        let worker = self.workers.entry(id).or_default();
        worker.queues = queues.clone();
        worker.credit = credit as usize;
        worker.heard_at = self.clock.max(self.model.now);
        worker.is_leaving = false;
        let queues = queues.iter().map(|at| queue(QUEUES[*at])).collect();
        let info = WorkerInfo { name: format!("w{id}"), ..WorkerInfo::default() };
        let worker = WorkerId(id);
        self.run(Event::WorkerReady { worker, queues, credit, info }, Cause::default());
    }

    pub(in super::super) fn gone(&mut self, pick: usize) {
        let Some(id) = self.workers.keys().nth(pick).copied() else { return };
        self.forget_worker(id);
        let worker = WorkerId(id);
        self.run(Event::WorkerGone { worker, reason: "disconnected" }, Cause::default());
    }

    pub(in super::super) fn bye(&mut self, pick: usize) {
        let Some(id) = self.workers.keys().nth(pick).copied() else { return };
        self.mark_heard(id);
        let worker = self.workers.get_mut(&id).expect("just seen");
        worker.queues.clear();
        worker.is_leaving = true;
        self.run(Event::WorkerBye { worker: WorkerId(id) }, Cause::default());
    }

    pub(in super::super) fn heard(&mut self) {
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            self.mark_heard(id);
            self.run(Event::WorkerHeard { worker: WorkerId(id) }, Cause::default());
        }
    }

    /// A worker answers something that it has.
    pub(in super::super) fn answer(&mut self, pick: usize, answer: Answer) {
        let all = self
            .workers
            .iter()
            .flat_map(|(&id, worker)| worker.hands.iter().map(move |&delivery| (id, delivery)));
        let Some((id, delivery)) = all.clone().nth(pick % all.count().max(1)) else { return };
        self.mark_heard(id);
        let worker = self.workers.get_mut(&id).expect("just seen");
        worker.hands.retain(|&other| other != delivery);
        worker.unanswered.remove(&delivery);
        self.ghosts.push((id, delivery));
        let valid = self.lease(delivery).is_some();
        let answered = valid.then_some((delivery, answer));
        let told = self.run(event(id, delivery, answer), Cause { answered, ..Cause::default() });
        let stale = told.iter().any(|effect| matches!(effect, Effect::Stale { .. }));
        assert_eq!(stale, !valid, "a late answer is stale, another isn't");
    }

    /// A late answer, by its worker or after it is gone.
    pub(in super::super) fn late_answer(&mut self, pick: usize, answer: Answer) {
        let Some(&(id, delivery)) = self.ghosts.get(pick % self.ghosts.len().max(1)) else {
            return;
        };
        self.mark_heard(id);
        let told = self.run(event(id, delivery, answer), Cause::default());
        assert!(told.iter().any(|effect| matches!(effect, Effect::Stale { .. })));
    }

    pub(in super::super) fn progress(&mut self, pick: usize) {
        let hands = self.workers.iter().find_map(|(&id, worker)| {
            let delivery = *worker.hands.get(pick % worker.hands.len().max(1))?;
            Some((id, delivery))
        });
        let Some((id, delivery)) = hands else { return };
        self.mark_heard(id);
        if let Some(at) = self.lease(delivery) {
            let now = self.model.now;
            let model = &mut self.model.queues[at];
            let lease_ms = model.settings.lease_ms;
            model.lease.as_mut().expect("found").deadline = now.plus_ms(lease_ms);
        }
        let (worker, note) = (WorkerId(id), String::new());
        self.run(Event::Progress { worker, delivery, extend_ms: None, note }, Cause::default());
    }

    pub(super) fn mark_heard(&mut self, id: u64) {
        let now = self.clock.max(self.model.now);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.heard_at = now;
        }
    }

    pub(in super::super) fn forget_worker(&mut self, id: u64) {
        if let Some(worker) = self.workers.remove(&id) {
            self.ghosts.extend(worker.unanswered.into_iter().map(|delivery| (id, delivery)));
        }
    }
}

fn event(id: u64, delivery: DeliveryId, answer: Answer) -> Event {
    let worker = WorkerId(id);
    match answer {
        Answer::Ack => Event::Ack { worker, delivery, reply: Bytes::from_static(b"reply") },
        Answer::Nack(action, delay_ms) => {
            Event::Nack { worker, delivery, error: WorkError::default(), action, delay_ms }
        }
    }
}
