//! What may happen in a run, one step at a time.

use super::super::rig::{operator, queue};
use super::{Known, Sim};
use crate::engine::{Effect, Event};
use crate::model::{
    Content, Edit, Header, MessageState, NackAction, Origin, Repair, RepairAction, Revision, Seq,
    WorkError, WorkerId, WorkerInfo,
};

impl Sim {
    pub(super) fn send(&mut self) {
        let count = if self.rng.u8(0..10) == 0 { 40 } else { self.rng.usize(1..4) };
        let messages = (0..count).map(|_| {
            self.sent += 1;
            let key = self.rng.usize(0..=self.keys);
            let priority = if self.settings.priority { self.rng.u8(0..3) } else { 0 };
            (queue("q"), message(self.sent, key, priority))
        });
        let messages = messages.collect();
        self.run(Event::Send { origin: Origin(1), messages, call: None });
    }

    pub(super) fn ready(&mut self) {
        let worker = self.rng.u64(1..4);
        let credit = self.rng.usize(1..12);
        self.workers.insert(worker, credit);
        let info = WorkerInfo::default();
        let (queues, credit) = (vec![queue("q")], credit as u32);
        self.run(Event::WorkerReady { worker: WorkerId(worker), queues, credit, info });
    }

    pub(super) fn gone(&mut self) {
        let worker = self.rng.u64(1..4);
        if self.workers.remove(&worker).is_some() {
            self.leases.retain(|_, lease| lease.worker != worker);
            self.late.retain(|(other, _)| *other != worker);
            self.run(Event::WorkerGone { worker: WorkerId(worker), reason: "disconnected" });
        }
    }

    pub(super) fn answer(&mut self) {
        let late: Vec<_> = self.late.iter().copied().collect();
        let nth = self.rng.usize(0..self.leases.len() + late.len() + 1);
        let (worker, delivery) = match self.leases.iter().nth(nth) {
            Some((&delivery, lease)) => (lease.worker, delivery),
            None => match late.get(nth - self.leases.len()) {
                Some(&late) => late,
                None => return,
            },
        };
        let is_late = self.late.remove(&(worker, delivery));
        let lease = self.leases.remove(&delivery);
        let worker = WorkerId(worker);
        let told = if self.rng.u8(0..3) > 0 {
            self.run(Event::Ack { worker, delivery, reply: Default::default() })
        } else {
            let actions = [NackAction::Retry, NackAction::Block, NackAction::DeadLetter];
            let action = actions[self.rng.usize(0..3)];
            let delay_ms = [None, Some(0), Some(700)][self.rng.usize(0..3)];
            let error = WorkError::default();
            self.run(Event::Nack { worker, delivery, error, action, delay_ms })
        };
        let is_stale = told.iter().any(|effect| matches!(effect, Effect::Stale { .. }));
        assert_eq!(is_stale, is_late && lease.is_none());
    }

    pub(super) fn pass(&mut self) {
        self.now = self.now.plus_ms([1, 100, 300, 1_000, 6_000][self.rng.usize(0..5)]);
        let now = self.now;
        for (delivery, lease) in self.leases.extract_if(.., |_, lease| lease.deadline <= now) {
            self.late.insert((lease.worker, delivery));
        }
        self.run(Event::Tick);
    }

    pub(super) fn pause(&mut self) {
        let paused = self.rng.bool();
        self.model.is_paused = paused;
        let (origin, actor, queue) = (Origin(9), operator("ann"), queue("q"));
        self.run(Event::SetPaused { origin, actor, queue, paused, reason: String::new() });
    }

    pub(super) fn pick(&mut self) -> u64 {
        self.rng.u64(1..self.model.messages.len() as u64 + 2)
    }

    pub(super) fn hold(&mut self) {
        let (seq, for_ms) = (self.pick(), [0, 400, 10_000][self.rng.usize(0..3)]);
        let is_open = self.model.messages.get(seq as usize - 1).is_some_and(|it| !it.is_over);
        if !is_open {
            return;
        }
        if for_ms == 0 {
            self.holds.remove(&seq);
        } else {
            self.holds.insert(seq, self.now.plus_ms(for_ms));
        }
        let (origin, actor, queue) = (Origin(9), operator("ann"), queue("q"));
        self.run(Event::Hold { origin, actor, queue, seq: Seq(seq), for_ms });
    }

    pub(super) fn repair(&mut self) {
        let blocked = |message: &Known| !message.is_over && message.state == MessageState::Blocked;
        let first = self.model.messages.iter().position(blocked);
        let seq = match first {
            Some(at) if self.rng.bool() => at as u64 + 1,
            _ => self.pick(),
        };
        let action = match self.rng.u8(0..5) {
            0 => RepairAction::Cancel,
            1 => RepairAction::Restore,
            2 => RepairAction::Save(Edit { payload: "edited".into(), header: None }),
            _ => RepairAction::Retry,
        };
        self.repair_with(seq, action);
    }

    pub(super) fn repair_with(&mut self, seq: u64, action: RepairAction) {
        let Some(message) = self.model.messages.get(seq as usize - 1) else { return };
        let revision = Revision(message.revision);
        let is_done = !message.is_over
            && !self.leases.values().any(|lease| lease.seq == seq)
            && match (&action, message.state) {
                (RepairAction::Restore, state) => state == MessageState::Cancelled,
                (_, MessageState::Cancelled) => false,
                (RepairAction::Retry, MessageState::Waiting) => {
                    self.holds.contains_key(&seq) || !self.is_ready(&self.model, seq)
                }
                (RepairAction::Retry, state) => state == MessageState::Blocked,
                (_, _) => true,
            };
        let id = self.id();
        let Some(seen) = self.store.content(id, Seq(seq), revision) else { return };
        self.repairs += 1;
        if is_done {
            self.holds.remove(&seq);
        }
        self.run(Event::Repair {
            origin: Origin(9),
            repair: Repair {
                key: format!("k{}", self.repairs).parse().expect("a key"),
                actor: operator("ann"),
                queue: queue("q"),
                seq: Seq(seq),
                expect_revision: revision,
                seen: Some(seen),
                action,
                reason: "because".to_owned(),
            },
        });
    }
}

/// A message `m1`, `m2` … with the key `k1` … (0: none) and a priority (0: none).
pub(in super::super) fn message(number: usize, key: usize, priority: u8) -> Content {
    let mut map = serde_json::Map::new();
    map.insert("id".to_owned(), format!("m{number}").into());
    if key > 0 {
        map.insert("key".to_owned(), format!("k{key}").into());
    }
    if priority > 0 {
        map.insert("priority".to_owned(), priority.into());
    }
    let header = Header::from_map(map, || unreachable!("it has an id")).expect("a valid header");
    Content { header, payload: format!("payload {number}").into() }
}
