//! What the engine decides in a run: checked at once, synced later or never, told only then.

use super::oracle::{Cause, Oracle};
use super::sim::{CHECK_EACH, Fault, Sim, is_dead};
use crate::engine::{Effect, Effects, Engine, Event};
use crate::model::{MessageState, Op, Seq};

impl Sim {
    pub(super) fn handle(&mut self, event: Event, cause: Cause) {
        self.tally.steps += 1;
        let mut out = Effects::default();
        let is_new = matches!(event, Event::Send { .. } | Event::Publish { .. });
        self.engine.handle(self.now, event, &mut out);
        for op in &out.ops {
            if let Op::Append { queue, content, .. } = op
                && is_new
            {
                let line = &self.ahead.lines[queue];
                let known = Oracle::duplicate_of(line, content.id().as_str(), line.messages.len());
                assert!(is_dead(&line.name) || known.is_none(), "{} took it twice", line.name);
            }
            self.ahead.apply(op);
        }
        self.check_ops(&out, cause);
        self.note_effects(&out);
        if self.fault == Some(Fault::TellsBeforeCommit) {
            let effects = std::mem::take(&mut out.effects);
            effects.into_iter().for_each(|effect| self.tell(effect));
        }
        self.pending.push_back(out);
        if self.tally.steps.is_multiple_of(CHECK_EACH) {
            self.check();
        }
    }

    pub(super) fn check_ops(&mut self, out: &Effects, cause: Cause) {
        for op in &out.ops {
            match op {
                Op::Finish { queue, seq, how } => {
                    let name = &self.ahead.lines[queue].name;
                    let is_handed_out = out.effects.iter().any(|effect| match effect {
                        Effect::Deliver { queue, seq: of, .. } => queue == name && of == seq,
                        _ => false,
                    });
                    let end = (*queue, *seq, *how);
                    let what = self.ahead.check_end(end, &out.ops, cause, is_handed_out, self.now);
                    self.tally.saw(what);
                    self.holds.remove(&(*queue, *seq));
                }
                Op::PutRecord { record, .. } => {
                    if let Some(failure) = record.failures.back() {
                        self.leases.remove(&failure.delivery);
                    }
                }
                _ => {}
            }
        }
    }

    /// What the engine has decided to tell counts at once for what it decides next.
    pub(super) fn note_effects(&mut self, out: &Effects) {
        for effect in &out.effects {
            match effect {
                Effect::DropWorker { worker, .. } => self.forget_worker(worker.0),
                Effect::Stale { .. } => self.tally.saw("stale"),
                _ => {}
            }
        }
        for effect in &out.effects {
            let Effect::Deliver { worker, delivery, queue, seq, content, .. } = effect else {
                continue;
            };
            // It went to one that wasn't heard either, and was lost in the same moment.
            let has_lost = |op: &Op| match op {
                Op::PutRecord { record, .. } => {
                    record.failures.iter().any(|failure| failure.delivery == *delivery)
                }
                _ => false,
            };
            if out.ops.iter().any(has_lost) {
                continue;
            }
            // What went to one that went away in the same moment is lost already, and may have had another end since.
            let Some(conn) = self.workers.get(&worker.0) else { continue };
            let id = self.ahead.named(queue.as_str()).expect("put").0;
            let is_held = self.holds.get(&(id, *seq)).is_some_and(|&until| until > self.now);
            self.ahead.check_delivery(queue, *seq, content, is_held, self.now);
            let others = self.leases.values().filter(|lease| (lease.1, lease.2) == (id, *seq));
            if others.count() > 0 {
                let settings = &self.ahead.lines[&id].settings;
                assert!(settings.resend.keep_ms > 0, "{queue} {seq} is in two hands");
                self.tally.saw("re-sent");
            }
            let has = self.leases.values().filter(|lease| lease.0 == worker.0).count();
            assert!(has < conn.credit, "{worker:?} has {has} already");
            let before = self.leases.insert(*delivery, (worker.0, id, *seq));
            assert_eq!(before, None, "a delivery is unique");
        }
    }

    /// The oldest batches are synced together; then what they tell is told.
    pub(super) fn commit(&mut self, batches: usize) {
        let count = batches.min(self.pending.len());
        let synced: Vec<Effects> = self.pending.drain(..count).collect();
        let mut told = Vec::new();
        for effects in synced {
            self.sync(effects.ops);
            told.extend(effects.effects);
        }
        told.into_iter().for_each(|effect| self.tell(effect));
    }

    pub(super) fn sync(&mut self, ops: Vec<Op>) {
        let is_third = |op: &Op| matches!(op, Op::Append { seq: Seq(3), .. });
        let is_lost = self.fault == Some(Fault::LosesABatch) && ops.iter().any(is_third);
        if is_lost {
            return;
        }
        ops.iter().for_each(|op| self.durable.apply(op));
        self.store.commit(ops);
    }

    pub(super) fn crash(&mut self, synced: usize) {
        self.tally.saw("crash");
        let count = synced.min(self.pending.len());
        for effects in self.pending.drain(..count).collect::<Vec<_>>() {
            self.sync(effects.ops);
        }
        self.pending.clear();
        self.reads.clear();
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            self.forget_worker(id);
        }
        self.leases.clear();
        self.holds.clear();
        self.calls.clear();
        self.ahead = self.durable.clone();
        self.engine = Engine::new(self.options.clone(), self.store.recover(), self.now);
        self.check();
        self.handle(Event::Tick, Cause::default());
    }

    /// What is told must be so in the store.
    pub(super) fn tell(&mut self, effect: Effect) {
        match effect {
            Effect::Accepted { accepted, .. } => {
                for one in accepted {
                    let line = self.durable.named(one.queue.as_str()).map(|(_, line)| line);
                    let kept = line.and_then(|line| line.message(one.seq.0));
                    let is_kept = kept.is_some_and(|it| *it.content.id() == one.id);
                    assert!(is_kept, "durable first: {one:?}");
                    if one.duplicate {
                        self.tally.saw("duplicate");
                    }
                }
            }
            Effect::Published { published, .. } => {
                assert_eq!(published.queues, 2, "both get it, or had it");
                self.tally.saw("published");
            }
            Effect::Deliver { worker, delivery, queue, seq, .. } => {
                let line = self.durable.named(queue.as_str()).map(|(_, line)| line);
                assert!(line.and_then(|line| line.message(seq.0)).is_some(), "durable first");
                match self.workers.get_mut(&worker.0) {
                    Some(conn) => conn.hands.push(delivery),
                    None => self.unanswered.push_back(delivery),
                }
            }
            Effect::CallEnded { origin, .. } => {
                assert!(self.calls.remove(&origin.0), "a call ends once");
                self.tally.saw("call");
            }
            Effect::Rejected { origin, .. } => {
                self.calls.remove(&origin.0);
            }
            Effect::Load { queue, from, max_messages, max_bytes } => {
                let messages = self.store.read(queue, from, max_messages, max_bytes);
                self.reads.push(Event::Loaded { queue, from, messages });
            }
            _ => {}
        }
    }

    /// What the engine shows is what it decided.
    pub(super) fn check(&mut self) {
        for line in self.ahead.lines.values() {
            let view = self.engine.queue_view(&line.name).expect("it is there");
            assert_eq!(view.depth, line.depth(), "{}", line.name);
            let is_blocked = |seq: &&u64| {
                line.message(**seq).is_some_and(|it| it.state == MessageState::Blocked)
            };
            assert_eq!(view.blocked, line.open.iter().filter(is_blocked).count() as u64);
        }
    }
}
