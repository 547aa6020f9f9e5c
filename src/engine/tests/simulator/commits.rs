//! What the engine decides in a run: checked at once, synced later or never, told only then.

use super::oracle::{Cause, Oracle};
use super::setup::{REPLIES, SUBSCRIBED};
use super::sim::{CHECK_EACH, Fault, Sim, is_dead};
use crate::engine::{Effect, Effects, Engine, Event};
use crate::model::{
    AckMode, AttemptEnd, Consumers, DeliveryId, Finish, MessageState, Notice, Op, QueueId,
    QueueName, Seq, WorkerId,
};

impl Sim {
    pub(super) fn handle(&mut self, event: Event, cause: Cause) {
        self.tally.steps += 1;
        let mut out = Effects::default();
        let is_new = matches!(
            event,
            Event::Send { .. } | Event::Publish { .. } | Event::Gather { .. } | Event::Start { .. }
        );
        let told = self.traces.then(|| format!("{event:?}"));
        self.engine.handle(self.now, event, &mut out);
        if let Some(told) = told {
            eprintln!("{} {told}\n  {:?}\n  {:?}", self.now, out.ops, out.effects);
        }
        if is_new {
            self.check_appended(&out.ops);
        }
        let requests = &self.requests;
        self.ahead.apply_all(&out.ops, |oracle, line, id| {
            oracle.check_step(id, |saga, queue, seq| requests.is_interfered(saga, (queue, seq)));
            oracle.check_answer(line, id);
        });
        self.check_ops(&out, cause);
        self.check_answers(&out);
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

    /// What its queue knows isn't taken again.
    fn check_appended(&self, ops: &[Op]) {
        for op in ops {
            if let Op::Append { queue, content, .. } = op
                && let Some(line) = self.ahead.lines.get(queue)
            {
                let (id, count) = (content.id().as_str(), line.messages.len());
                let known = Oracle::duplicate_of(line, id, count, self.now);
                assert!(is_dead(&line.name) || known.is_none(), "{} took {id} twice", line.name);
            }
        }
    }

    fn check_ops(&mut self, out: &Effects, cause: Cause) {
        for op in &out.ops {
            match op {
                Op::Finish { queue, seq, how } => {
                    let name = self.ahead.lines[queue].name.clone();
                    let end = (*queue, *seq, *how);
                    let once = self.is_done_on_delivery(&name, *queue, *seq, out);
                    let what = self.ahead.check_end(end, &out.ops, cause, once, self.now);
                    self.tally.saw(what);
                    if is_dead(&name) && *how == Finish::Moved {
                        self.tally.saw("redriven");
                    }
                    self.check_replied(end, cause, out);
                    self.holds.remove(&(*queue, *seq));
                    if self.ahead.lines[queue].settings.consumers == Consumers::Exclusive {
                        self.leases.retain(|_, lease| (lease.1, lease.2) != (*queue, *seq));
                    }
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

    /// Whether a message is handed out now to be done by that.
    fn is_done_on_delivery(
        &self,
        name: &QueueName,
        queue: QueueId,
        seq: Seq,
        out: &Effects,
    ) -> bool {
        let on_delivery = self.ahead.lines[&queue].settings.ack == AckMode::OnDelivery;
        out.effects.iter().any(|effect| match effect {
            Effect::Deliver { worker, queue, seq: of, .. } => {
                let is_sink = self.workers.get(&worker.0).is_some_and(|conn| conn.is_sink);
                queue == name && *of == seq && (on_delivery || is_sink)
            }
            _ => false,
        })
    }

    /// Who asked for a reply in a queue gets it in the commit of the message's end, unless somebody waited and is told.
    fn check_replied(&mut self, end: (QueueId, Seq, Finish), cause: Cause, out: &Effects) {
        let (queue, seq, how) = end;
        let line = &self.ahead.lines[&queue];
        let message = line.message(seq.0).expect("it was there");
        let what = match how {
            Finish::Done if cause.acked == Some((queue, seq)) => "reply",
            Finish::DeadLettered | Finish::Dropped => "failure",
            Finish::Done | Finish::Cancelled | Finish::Moved => return,
        };
        if !message.content.header.has_reply_to() || is_dead(&line.name) {
            return;
        }
        let id = message.content.id();
        let is_told = out.effects.iter().any(|effect| match effect {
            Effect::CallEnded { reply, .. } => reply.id == *id,
            _ => false,
        });
        let answer = format!("{}-{seq}-{what}", line.name);
        let is_replied = out.ops.iter().any(|op| match op {
            Op::Append { content, .. } => content.id().as_str() == answer,
            _ => false,
        });
        assert!(is_told || is_replied, "{} {seq} {id} has no {what} in {REPLIES}", line.name);
        self.tally.saw("replied");
    }

    /// What the engine has decided to tell counts at once for what it decides next.
    pub(super) fn note_effects(&mut self, out: &Effects) {
        for effect in &out.effects {
            match effect {
                Effect::DropWorker { worker, .. } => self.forget_worker(worker.0),
                Effect::Stale { .. } => self.tally.saw("stale"),
                Effect::Notice(notice) if matches!(**notice, Notice::TakenOver { .. }) => {
                    self.tally.saw("taken over");
                }
                _ => {}
            }
        }
        for effect in &out.effects {
            let Effect::Deliver { worker, delivery, queue, seq, content, .. } = effect else {
                continue;
            };
            // What went to one that went away in the same moment is lost already, and may have had another end since.
            let Some(conn) = self.workers.get(&worker.0) else { continue };
            let id = self.ahead.named(queue.as_str()).expect("put").0;
            // It went to one that wasn't heard either, and was lost in the same moment.
            let is_lost = |op: &Op| match op {
                Op::PutRecord { queue, seq: of, record } => {
                    let newest = record.failures.back();
                    // Of many failures only some are kept.
                    let is_stopped = (*queue, of) == (id, seq)
                        && record.state == MessageState::Blocked
                        && newest.is_some_and(|failure| failure.end == AttemptEnd::WorkerLost);
                    let mut failures = record.failures.iter();
                    is_stopped || failures.any(|failure| failure.delivery == *delivery)
                }
                Op::Finish { queue, seq: of, how: Finish::DeadLettered | Finish::Dropped } => {
                    (*queue, of) == (id, seq)
                }
                _ => false,
            };
            if out.ops.iter().any(is_lost) {
                continue;
            }
            let is_held = self.holds.get(&(id, *seq)).is_some_and(|&until| until > self.now);
            let is_sink = conn.is_sink;
            if is_sink {
                self.tally.saw("sink");
            }
            self.ahead.check_delivery(queue, *seq, content, (is_held, is_sink), self.now);
            self.check_lease(*worker, *delivery, (id, *seq));
            self.given.insert(*delivery, content.id().clone());
        }
    }

    /// Who else may have this message, or its queue's, and how many a worker may have.
    fn check_lease(
        &mut self,
        worker: WorkerId,
        delivery: DeliveryId,
        (queue, seq): (QueueId, Seq),
    ) {
        let line = &self.ahead.lines[&queue];
        let mut others = self.leases.values().filter(|lease| lease.1 == queue);
        if others.clone().any(|lease| lease.2 == seq) {
            assert!(line.settings.resend.keep_ms > 0, "{} {seq} is in two hands", line.name);
            self.tally.saw("re-sent");
        }
        let is_sink = |id: u64| self.workers.get(&id).is_some_and(|conn| conn.is_sink);
        if line.settings.consumers == Consumers::Exclusive {
            let other = others.find(|lease| lease.0 != worker.0 && !is_sink(lease.0));
            assert_eq!(other, None, "{} is {worker:?}'s alone", line.name);
        }
        let has = self.leases.values().filter(|lease| lease.0 == worker.0).count();
        let credit = self.workers[&worker.0].credit;
        assert!(has < credit, "{worker:?} has {has} already");
        let before = self.leases.insert(delivery, (worker.0, queue, seq));
        assert_eq!(before, None, "a delivery is unique");
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
        self.durable.apply_all(&ops, |_, _, _| {});
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
        self.requests.forget_waiting();
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
            Effect::Published { .. } => self.tally.saw("published"),
            Effect::Live { content, .. } => {
                let (_, line) = self.durable.named(SUBSCRIBED[0]).expect("put");
                let mut ids = line.messages.iter().map(|it| it.content.id());
                assert!(ids.any(|id| id == content.id()), "durable first: live {}", content.id());
                self.tally.saw("live");
            }
            Effect::Deliver { worker, delivery, queue, seq, .. } => {
                let line = self.durable.named(queue.as_str()).map(|(_, line)| line);
                assert!(line.and_then(|line| line.message(seq.0)).is_some(), "durable first");
                match self.workers.get_mut(&worker.0) {
                    Some(conn) => conn.hands.push(delivery),
                    None => self.unanswered.push_back(delivery),
                }
            }
            Effect::FindMessage { origin, id, queue } => {
                let place = self.store.find(queue, &id);
                self.reads.push(Event::Found { origin, id, place });
            }
            Effect::Load { queue, from, max_messages, max_bytes } => {
                let messages = self.store.read(queue, from, max_messages, max_bytes);
                self.reads.push(Event::Loaded { queue, from, messages });
            }
            other => self.tell_request(other),
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
