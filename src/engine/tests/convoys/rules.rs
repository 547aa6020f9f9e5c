//! What must hold: the rules of design.md 4, over a list.

use std::collections::BTreeMap;

use super::super::rig::queue;
use super::{Leased, Model, Sim};
use crate::engine::Effect;
use crate::model::{AckMode, DeliveryId, Finish, MessageState, Ordering, Timestamp};

impl Sim {
    pub(super) fn deliver(
        &mut self,
        before: &Model,
        worker: u64,
        delivery: DeliveryId,
        seq: u64,
        deadline: Timestamp,
    ) {
        assert!(self.seen.insert(delivery), "{delivery:?} is new");
        let at_once = self.settings.ack == AckMode::OnDelivery;
        let was_over = before.messages.get(seq as usize - 1).is_some_and(|message| message.is_over);
        assert!(!was_over, "{seq} was at its end");
        let model = if at_once { before } else { &self.model };
        if model.messages.len() >= seq as usize {
            assert!(self.may_go(model, seq), "{seq} must not go: {model:#?} {:?}", self.leases);
        }
        self.leases.insert(delivery, Leased { seq, worker, deadline });
        let credit = self.workers[&worker];
        assert!(self.used(worker) <= credit, "no more than worker {worker} takes");
    }

    pub(super) fn used(&self, worker: u64) -> usize {
        let leased = self.leases.values().filter(|lease| lease.worker == worker).count();
        leased + self.late.iter().filter(|(other, _)| *other == worker).count()
    }

    pub(super) fn is_ready(&self, model: &Model, seq: u64) -> bool {
        let message = &model.messages[seq as usize - 1];
        let is_due = message.due.is_none_or(|due| due <= self.now);
        let is_ready = match message.state {
            MessageState::Ready => true,
            MessageState::Waiting => is_due,
            _ => false,
        };
        is_ready && !message.is_over
    }

    /// The rules 2 and 3 of design.md 4.
    pub(super) fn may_go(&self, model: &Model, seq: u64) -> bool {
        let is_leased = |other: u64| self.leases.values().any(|lease| lease.seq == other);
        let alone = self.is_ready(model, seq) && !self.holds.contains_key(&seq) && !is_leased(seq);
        let message = &model.messages[seq as usize - 1];
        if !alone || model.is_paused {
            return false;
        }
        let Some(key) = message.key.as_ref().filter(|_| self.settings.ordering == Ordering::Key)
        else {
            return true;
        };
        let of_key = |other: &u64| model.messages[*other as usize - 1].key.as_ref() == Some(key);
        let is_open = |other: &u64| {
            let other = &model.messages[*other as usize - 1];
            !other.is_over && other.state != MessageState::Cancelled
        };
        let is_first = !(1..seq).filter(of_key).any(|other| is_open(&other));
        let is_free = !(1..=model.messages.len() as u64).filter(of_key).any(is_leased);
        is_first && is_free
    }

    pub(super) fn check(&self) {
        let view = self.engine.queue_view(&queue("q")).expect("there");
        let open = self.model.messages.iter().enumerate().filter(|(_, message)| !message.is_over);
        let count =
            |state| open.clone().filter(|(_, message)| message.state == state).count() as u64;
        assert_eq!(view.depth, open.clone().count() as u64 - count(MessageState::Cancelled));
        assert_eq!(view.blocked, count(MessageState::Blocked));
        let kept = self.engine.contents_in_ram();
        // What is read, and what goes before others, may come on top of a full window; one message is always read.
        assert!(kept <= 3 * self.options.window_messages + 4, "{kept} contents in RAM");
        if !self.loads.is_empty() || self.is_loading() {
            return;
        }
        let is_free = self.workers.iter().any(|(&worker, &credit)| self.used(worker) < credit);
        let stands =
            (1..=self.model.messages.len() as u64).find(|&seq| self.may_go(&self.model, seq));
        assert!(
            !is_free || stands.is_none(),
            "{stands:?} stands although a worker is free: {:#?}",
            self.engine
        );
    }

    pub(super) fn is_loading(&self) -> bool {
        let mut effects = self.pending.iter().flat_map(|(effects, _)| &effects.effects);
        effects.any(|effect| matches!(effect, Effect::Load { .. }))
    }

    pub(super) fn check_order(&self) {
        if self.settings.ordering == Ordering::None {
            return;
        }
        let mut last = BTreeMap::new();
        for (seq, how) in &self.model.ended {
            let key = self.model.messages[*seq as usize - 1].key.as_deref();
            if let Some(key) = key.filter(|_| *how == Finish::Done) {
                assert!(
                    last.insert(key, *seq).is_none_or(|before| before < *seq),
                    "{key} in order"
                );
            }
        }
    }
}
