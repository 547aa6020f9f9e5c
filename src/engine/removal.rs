//! Queues go: by an operator's wish, or by themselves once they have been of no use for long enough (`delete_on_idle_ms`).
//!
//! By itself a queue goes only when nothing is lost with it and nobody is about to use it. An operator may have one go
//! with what is in it, but never from under a worker, a caller, a saga or a gather. A queue of the same name that is made
//! later is another one: it has another number, another index, and its places are behind all that the former had, so
//! whatever was said of the former (a lease, a repair, a timer, a reply's id) can't be taken for a word about it.

use crate::model::{
    Actor, JournalKind, Op, Origin, QueueName, RepairRefusal, Timestamp, WorkerId, limits,
};

use super::control::refused;
use super::journal::Entry;
use super::queues::QueueIndex;
use super::repair::invalid;
use super::timer::Timer;
use super::{Effect, Effects, Engine};

/// Idle queues that go in one turn, and the pause before the next ones do, in milliseconds: each is a record and a line of
/// the journal in a commit that others wait for.
const MAX_AT_ONCE: usize = 64;
const NEXT_PAUSE_MS: u64 = 50;
/// The setting that an operator may change without the queue being kept for it.
const DELETE_ON_IDLE: &str = "delete_on_idle_ms";

impl Engine {
    pub(super) fn handle_delete_queue(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        purge: bool,
        reason: String,
        out: &mut Effects,
    ) {
        // What was recovered is heard first: it may be of this queue.
        self.run_processes(out);
        match self.delete_queue(actor, name, purge, reason, out) {
            Ok(()) => out.effects.push(Effect::Done { origin }),
            Err(refusal) => out.effects.push(refused(origin, refusal)),
        }
    }

    fn delete_queue(
        &mut self,
        actor: Actor,
        name: QueueName,
        purge: bool,
        mut reason: String,
        out: &mut Effects,
    ) -> Result<(), RepairRefusal> {
        let Some(at) = self.queues.by_name(&name) else {
            return Err(RepairRefusal::NoSuchQueue { queue: name });
        };
        self.check_use(at).map_err(invalid)?;
        let queue = self.queue(at);
        let (depth, cancelled) = (queue.depth(), queue.uncommon.cancelled);
        if queue.has_unfinished() {
            if !purge {
                return Err(invalid(format!(
                    "{name} has {depth} messages, and {cancelled} cancelled ones that can still be restored; to delete \
                     them with it, ask for that (--purge) and say why (--reason)"
                )));
            }
            if reason.trim().is_empty() {
                return Err(invalid(
                    "to delete messages with their queue needs a reason".to_owned(),
                ));
            }
            self.check_purge(at, &actor)?;
            reason = format!("with {depth} messages: {reason}");
        }
        limits::clip(&mut reason, limits::MAX_REASON_BYTES);
        self.remove_queue(at, actor, reason, out);
        Ok(())
    }

    /// Why a queue can't go, whatever is in it.
    fn check_use(&self, at: QueueIndex) -> Result<(), String> {
        let queue = self.queue(at);
        let name = &queue.record.name;
        if self.configured.contains_key(name) {
            return Err(format!(
                "the configuration names {name} ([queues.\"{name}\"]), and would make it again at the next start: take \
                 it out there first, and restart"
            ));
        }
        if let Some(topic) = self.topics.that_names(name) {
            return Err(format!(
                "{name} gets events of the topic {topic}: unsubscribe it first (mubroker topic unsubscribe {topic} \
                 {name}, or in the configuration)"
            ));
        }
        if let Some(seq) = queue.in_flight.places().min() {
            return Err(format!("a worker has message {seq} of {name}: wait until it is done"));
        }
        if queue.record.settings.needs_redis() {
            return Err(format!(
                "{name} waits in Redis, where others may add to it at any time: move it first (mubroker queue set {name} \
                 mailbox=file)"
            ));
        }
        if let Some((dead, depth)) = self.dead_letters_left(at) {
            return Err(format!(
                "{depth} dead letters of it are in {dead}: bring them back or cancel them first (mubroker queue redrive \
                 {dead})"
            ));
        }
        Ok(())
    }

    /// Its dead-letter queue would be none without it, so it stays while that has messages.
    fn dead_letters_left(&self, at: QueueIndex) -> Option<(QueueName, u64)> {
        let record = &self.queue(at).record;
        let dead = record.settings.dead_letter_of(&record.name).ok()?;
        let queue = self.queue_named(&dead).filter(|queue| queue.has_unfinished())?;
        let depth = queue.depth();
        Some((dead, depth))
    }

    /// Whether somebody waits for a message, or has it open.
    fn check_purge(&self, at: QueueIndex, actor: &Actor) -> Result<(), RepairRefusal> {
        let name = &self.queue(at).record.name;
        for &seq in self.queue(at).holds().keys() {
            self.check_hold(at, seq, actor)?;
        }
        if let Some(seq) = self.calls.first_of(at) {
            return Err(invalid(format!(
                "a caller waits for the reply to message {seq} of {name}"
            )));
        }
        match self.processes.first_of(at) {
            Some(seq) => Err(invalid(format!(
                "a saga or gather waits for message {seq} of {name}: abort the saga (mubroker saga abort), or wait"
            ))),
            None => Ok(()),
        }
    }

    /// Takes a queue out, whatever is in it; workers that serve it wait for one of its name.
    fn remove_queue(&mut self, at: QueueIndex, actor: Actor, reason: String, out: &mut Effects) {
        self.write_journal(
            at,
            Entry { reason, ..Entry::new(JournalKind::QueueDeleted, actor) },
            out,
        );
        self.forget_schema(at, out);
        self.unticket(at);
        self.drop_replies_of(at, out);
        self.calls.forget_queue(at);
        self.sagas.forget_queue(at);
        let (queue, budget) = self.queue_and_budget(at);
        queue.window.discard(budget);
        let (id, next, name) = (queue.record.id, queue.next_seq, queue.record.name.clone());
        let (is_counted, alarm) = (queue.is_counted, queue.uncommon.alarm);
        let workers = std::mem::take(&mut queue.workers);
        let settings = std::sync::Arc::clone(&queue.record.settings);
        if let Some(alarm) = alarm {
            self.timers.cancel(alarm, Timer::Alarm(at));
        }
        if is_counted {
            self.uncount_queue(&name);
        }
        // One that others have too has no place for their names.
        if settings.dead_letter.contains("{queue}")
            && let Ok(target) = settings.dead_letter_of(&name)
        {
            self.dead_letter_queues.remove(&target);
        }
        self.wait_for_queue(at, &name, &workers);
        self.queues.remove(at);
        out.ops.push(Op::RemoveQueue { queue: id, next });
        // Those that were kept free for a read of it go on with other queues.
        for worker in workers {
            self.drain(worker, out);
        }
    }

    fn wait_for_queue(&mut self, at: QueueIndex, name: &QueueName, workers: &[WorkerId]) {
        for &id in workers {
            let Some(worker) = self.workers.get_mut(&id) else { continue };
            worker.queues.retain(|&other| other != at);
            worker.unmade.push(name.clone());
            self.unmade.entry(name.clone()).or_default().insert(id);
            self.workers_changed = true;
        }
    }

    /// How long a queue must have been of no use before it goes; `None`: it stays.
    fn idle_limit_ms(&self, at: QueueIndex) -> Option<u64> {
        let record = &self.queue(at).record;
        let limit = Some(record.settings.delete_on_idle_ms).filter(|&ms| ms > 0)?;
        // A repeated message is known for so long at least.
        Some(limit.max(record.settings.dedup.window_ms().unwrap_or(0)))
    }

    /// Sees to it that a queue is looked at once it may have been idle for long enough.
    pub(super) fn watch_idle(&mut self, at: QueueIndex) {
        if let Some(limit) = self.idle_limit_ms(at) {
            let due = self.queue(at).used_at.plus_ms(limit);
            self.timers.set(due.max(self.now), Timer::Idle(at));
        }
    }

    /// A queue may have been idle for long enough.
    pub(super) fn idle_over(&mut self, at: QueueIndex, out: &mut Effects) {
        let Some(limit) = self.idle_limit_ms(at).filter(|_| !self.stopping) else { return };
        let due = self.queue(at).used_at.plus_ms(limit);
        let again: Option<Timestamp> = if !self.is_idle(at) {
            Some(due.max(self.now.plus_ms(limit)))
        } else if due > self.now {
            Some(due)
        } else if self.removed_in_turn >= MAX_AT_ONCE {
            Some(self.now.plus_ms(NEXT_PAUSE_MS))
        } else {
            None
        };
        if let Some(again) = again {
            return self.timers.set(again, Timer::Idle(at));
        }
        self.removed_in_turn = self.removed_in_turn.saturating_add(1);
        self.remove_queue(at, Actor::broker(), format!("idle for {limit} ms"), out);
    }

    /// Whether nothing is lost with a queue, and nobody uses it or wants it kept.
    fn is_idle(&self, at: QueueIndex) -> bool {
        let queue = self.queue(at);
        let is_read = queue.is_loading()
            || queue.uncommon.peeking.is_some()
            || queue.uncommon.shedding.is_some();
        let is_kept = queue.record.paused.is_some()
            || queue.record.draining.is_some()
            || queue.record.overrides.iter().any(|key| key != DELETE_ON_IDLE);
        !queue.has_unfinished()
            && queue.workers.is_empty()
            && !is_read
            && !is_kept
            && !self.has_kept_replies(at)
            && self.check_use(at).is_ok()
    }
}
