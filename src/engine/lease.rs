//! Leases: what workers hold, and how a lease ends.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    Actor, Attempt, AttemptEnd, CallStatus, Content, DeliveryId, Finish, InFlightView, JournalKind,
    MessageId, MessageRecord, MessageState, NackAction, Notice, Op, Seq, Timestamp, WorkError,
    WorkerId, limits,
};

use super::dead_letter::Reason;
use super::journal;
use super::queues::QueueIndex;
use super::reply::Ended;
use super::request::CallEnd;
use super::retry::{self, Failure, Verdict};
use super::tally::Counted;
use super::timer::Timer;
use super::window::Entry;
use super::{Effect, Effects, Engine};

/// A worker's hold on a message. It lasts `lease_ms` of the queue from the delivery or the last PROGRESS,
/// but never longer than the header's `max_execution_ms` from the delivery. (A worker's own
/// `max_execution_ms` is for the worker to keep.)
#[derive(Debug)]
pub(super) struct Lease {
    /// Counts deliveries within the generation.
    pub(super) number: u64,
    pub(super) queue: QueueIndex,
    pub(super) seq: Seq,
    pub(super) worker: WorkerId,
    pub(super) attempt: u32,
    /// Parts of its reply so far.
    pub(super) parts: u32,
    pub(super) since: Timestamp,
    pub(super) deadline: Timestamp,
    /// The deadline that PROGRESS can't move.
    pub(super) latest: Option<Timestamp>,
    pub(super) accepted_at: Timestamp,
    pub(super) content: Arc<Content>,
    /// The message is at its end already (`ack = "on-delivery"`); the lease only keeps the order and the
    /// worker's credit.
    pub(super) finished: bool,
    /// When another worker gets the message too, unless this one answers.
    pub(super) resend_at: Option<Timestamp>,
    /// Once it has ended: other leases on the same message, which go on.
    pub(super) others: Vec<u64>,
}

impl Lease {
    /// The message as the window had it.
    pub(super) fn entry(&self) -> Entry {
        let Self { seq, accepted_at, .. } = *self;
        Entry { seq, accepted_at, content: Arc::clone(&self.content), unreadable: false }
    }
}

impl Engine {
    pub(super) fn handle_ack(
        &mut self,
        id: WorkerId,
        delivery: DeliveryId,
        reply: Bytes,
        out: &mut Effects,
    ) {
        let Some(lease) = self.take_lease(id, delivery, out) else { return };
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.acked = worker.acked.saturating_add(1);
        }
        let Lease { queue: at, seq, accepted_at, .. } = lease;
        self.end_copies(&lease, out);
        let retried = !lease.finished && self.retire_entry(at, lease.entry(), Finish::Done, out);
        self.free_line(&lease);
        if retried {
            out.effects.push(Effect::Notice(Box::new(Notice::Recovered {
                queue: self.queue(at).record.name.clone(),
                seq,
                id: lease.content.id().clone(),
            })));
        }
        let ended = Ended { at, seq, accepted_at, content: &lease.content, cancelled: None };
        self.end_message(ended, CallEnd { status: CallStatus::Ok, error: None, reply }, out);
        self.drain(id, out);
        self.let_go(id, out);
        self.offer(at, out);
    }

    pub(super) fn handle_nack(
        &mut self,
        id: WorkerId,
        delivery: DeliveryId,
        error: WorkError,
        action: NackAction,
        delay_ms: Option<u64>,
        out: &mut Effects,
    ) {
        let Some(lease) = self.take_lease(id, delivery, out) else { return };
        let (at, number) = (lease.queue, lease.number);
        // It has no credit until the failure is written down: what it would get next may lead to a reply in this very
        // queue, which would hand the message out again. Then the queue that has waited longest is served.
        let name = self.workers.get_mut(&id).map_or_else(String::new, |worker| {
            worker.nacked = worker.nacked.saturating_add(1);
            worker.leases.insert(number);
            worker.info.name.clone()
        });
        let failure = Failure { end: AttemptEnd::Nack, action, delay_ms };
        self.fail(lease, &name, failure, error.clipped(), out);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.leases.remove(&number);
        }
        self.drain(id, out);
        self.let_go(id, out);
        self.offer(at, out);
    }

    /// Ends the lease that a worker answers, and frees its credit. A late answer frees the credit of the
    /// lease that was over, is counted and told to the worker; it changes nothing else (design.md rule 7).
    fn take_lease(
        &mut self,
        id: WorkerId,
        delivery: DeliveryId,
        out: &mut Effects,
    ) -> Option<Lease> {
        self.heard(id);
        self.workers_changed = true;
        let number = delivery.number;
        let ours = delivery.generation == self.generation
            && self.leases.get(&number).is_some_and(|lease| lease.worker == id);
        if ours {
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.leases.remove(&number);
            }
            return self.end_lease(number);
        }
        if delivery.generation == self.generation
            && let Some(worker) = self.workers.get_mut(&id)
        {
            worker.overdue.remove(&number);
        }
        self.stale(id, delivery, out);
        self.tell_whether_available(id, out);
        self.drain(id, out);
        None
    }

    pub(super) fn stale(&mut self, id: WorkerId, delivery: DeliveryId, out: &mut Effects) {
        self.stale_answers = self.stale_answers.saturating_add(1);
        let name =
            self.workers.get(&id).map_or_else(String::new, |worker| worker.info.name.clone());
        out.effects.push(Effect::Stale { worker: id, delivery });
        out.effects.push(Effect::Notice(Box::new(Notice::Stale { name })));
    }

    /// Takes a lease away; whose it was keeps track of that.
    pub(super) fn end_lease(&mut self, number: u64) -> Option<Lease> {
        let mut lease = self.leases.remove(&number)?;
        self.timers.cancel(lease.deadline, Timer::LeaseOver(number));
        let in_flight = &mut self.queue_mut(lease.queue).in_flight;
        if in_flight.lease_of(lease.seq) == Some(number) {
            in_flight.free(lease.seq);
        }
        self.leave_copies(&mut lease);
        self.touch(lease.queue);
        Some(lease)
    }

    /// The timer of a lease fired. If the worker is silent too, it is lost; else it is stuck on this message.
    pub(super) fn lease_over(&mut self, number: u64, out: &mut Effects) {
        let Some(id) = self.leases.get(&number).map(|lease| lease.worker) else { return };
        let silent_since = self.workers.get(&id).map(|worker| worker.heard_at);
        if silent_since.is_some_and(|at| at.plus_ms(self.suspect_ms) <= self.now) {
            return self.check_silence(id, out);
        }
        let Some(lease) = self.end_lease(number) else { return };
        let name = self.workers.get_mut(&id).map_or_else(String::new, |worker| {
            worker.leases.remove(&number);
            worker.overdue.insert(number);
            worker.info.name.clone()
        });
        let held_ms = self.now.since_ms(lease.since);
        let error = WorkError::new(
            "lease-over",
            format!("worker {name} had the message for {held_ms} ms without an answer"),
        );
        let failure =
            Failure { end: AttemptEnd::LeaseOver, action: NackAction::Retry, delay_ms: None };
        let entry = journal::Entry {
            message: Some((lease.seq, lease.content.id().clone())),
            reason: format!("{}; it gets nothing more until it answers", error.message),
            ..journal::Entry::new(JournalKind::WorkerFenced, Actor::broker())
        };
        self.write_journal(lease.queue, entry, out);
        self.pass_over(id, lease.queue, out);
        self.fail(lease, &name, failure, error, out);
        self.tell_whether_available(id, out);
        self.let_go(id, out);
    }

    /// An attempt failed: by the policy, the message is tried again or blocks its queue.
    pub(super) fn fail(
        &mut self,
        lease: Lease,
        worker: &str,
        failure: Failure,
        error: WorkError,
        out: &mut Effects,
    ) {
        let Lease { queue: at, seq, .. } = lease;
        self.workers_changed = true;
        self.count(at, Counted::Failed);
        match failure.end {
            AttemptEnd::WorkerLost | AttemptEnd::LeaseOver => self.processes.hear_lost((at, seq)),
            AttemptEnd::Nack => {}
        }
        if !lease.others.is_empty() {
            // It was sent to others too, and they go on: the last of them decides.
            return self.offer(at, out);
        }
        if lease.finished {
            self.free_line(&lease);
            let Lease { accepted_at, content, .. } = &lease;
            let ended = Ended { at, seq, accepted_at: *accepted_at, content, cancelled: None };
            self.end_message(ended, CallEnd::without_reply(CallStatus::Failed, error), out);
            return self.offer(at, out);
        }
        let queue = self.queues.at_mut(at);
        let mut record = queue.records().get(&seq).cloned().unwrap_or_default();
        queue.note_order(&mut record, &lease.content.header);
        let attempt = Attempt {
            number: lease.attempt,
            delivery: DeliveryId { generation: self.generation, number: lease.number },
            worker: worker.to_owned(),
            started_at: lease.since,
            ended_at: self.now,
            end: failure.end,
            error: error.clone(),
            revision: record.revision,
        };
        retry::count_failure(&mut record, attempt);
        record.expires = self.expiry_of(at, lease.accepted_at, &lease.content.header);
        let queue = self.queues.at_mut(at);
        let attempts = lease.content.header.max_attempts();
        let settings = &queue.record.settings;
        let retry_in_ms = match retry::decide(settings, attempts, &record, failure, &mut self.rng) {
            Verdict::Block(why) => return self.give_up(lease, record, why, out),
            Verdict::DeadLetter(reason) => return self.bury(lease, record, reason, out),
            Verdict::Drop => return self.discard(lease, &record, out),
            Verdict::Again => {
                record.state = MessageState::Ready;
                record.due = None;
                queue.take_back(lease.entry(), self.bounds, &mut self.budget);
                0
            }
            Verdict::After(ms) => {
                let due = self.now.plus_ms(ms);
                record.state = MessageState::Waiting;
                record.due = Some(due);
                self.timers.set(due, Timer::Due(at));
                ms
            }
        };
        out.effects.push(Effect::Notice(Box::new(Notice::AttemptFailed {
            queue: queue.record.name.clone(),
            seq,
            id: lease.content.id().clone(),
            attempt: lease.attempt,
            error,
            retry_in_ms,
        })));
        self.put_record(at, seq, record, out);
        self.free_line(&lease);
        self.offer(at, out);
    }

    /// An attempt was the last one: the message blocks.
    fn give_up(
        &mut self,
        lease: Lease,
        record: MessageRecord,
        why: Option<String>,
        out: &mut Effects,
    ) {
        let id = lease.content.id().clone();
        self.block(lease.queue, (lease.seq, id), record, why, out);
        self.free_line(&lease);
        self.offer(lease.queue, out);
    }

    /// An attempt was the last one: the message goes to the dead-letter queue, or blocks if that can't take it.
    fn bury(&mut self, lease: Lease, record: MessageRecord, reason: Reason, out: &mut Effects) {
        match self.dead_letter(lease.queue, lease.entry(), Some(&record), reason, out) {
            Err(why) => {
                let why = format!("it can't be dead-lettered: {why}");
                self.give_up(lease, record, Some(why), out);
            }
            Ok(_) => {
                self.free_line(&lease);
                self.offer(lease.queue, out);
            }
        }
    }

    /// An attempt was the last one: the message is at its end, as the queue's settings say.
    fn discard(&mut self, lease: Lease, record: &MessageRecord, out: &mut Effects) {
        let Lease { queue: at, seq, .. } = lease;
        let error = record.last_error.clone().unwrap_or_default();
        let mut reason = format!("attempt {}: {}: {}", record.attempts, error.code, error.message);
        limits::clip(&mut reason, limits::MAX_REASON_BYTES);
        self.retire_entry(at, lease.entry(), Finish::Dropped, out);
        let entry = journal::Entry {
            message: Some((seq, lease.content.id().clone())),
            revision: Some(record.revision),
            reason,
            ..journal::Entry::new(JournalKind::Dropped, Actor::broker())
        };
        self.write_journal(at, entry, out);
        let Lease { accepted_at, content, .. } = &lease;
        let ended = Ended { at, seq, accepted_at: *accepted_at, content, cancelled: None };
        self.end_message(ended, CallEnd::without_reply(CallStatus::Failed, error), out);
        self.free_line(&lease);
        self.offer(at, out);
    }

    /// What comes of a lease is decided: where messages may overtake, others of its order key may go.
    fn free_line(&mut self, lease: &Lease) {
        let now = self.now;
        self.queue_mut(lease.queue).free_line(lease.seq, &lease.content.header, now);
    }

    /// A message failed for good: its queue, or its order key, stops, its callers are told.
    pub(super) fn block(
        &mut self,
        at: QueueIndex,
        (seq, id): (Seq, MessageId),
        mut record: MessageRecord,
        why: Option<String>,
        out: &mut Effects,
    ) {
        record.state = MessageState::Blocked;
        record.due = None;
        record.retried = false;
        let mut error = record.last_error.clone().unwrap_or_default();
        if let Some(why) = why {
            error.message = format!("{why}; the last error: {}", error.message);
            limits::clip(&mut error.message, limits::MAX_REASON_BYTES);
            record.last_error = Some(error.clone());
        }
        let mut reason = format!("{}: {}", error.code, error.message);
        limits::clip(&mut reason, limits::MAX_REASON_BYTES);
        let revision = record.revision;
        self.put_record(at, seq, record, out);
        self.write_journal(
            at,
            journal::Entry {
                message: Some((seq, id)),
                revision: Some(revision),
                reason,
                ..journal::Entry::new(JournalKind::Blocked, Actor::broker())
            },
            out,
        );
        self.end_calls(at, seq, CallEnd::without_reply(CallStatus::Blocked, error), out);
        self.cool(at);
    }

    /// Keeps a message's record, in RAM and in the store.
    pub(super) fn put_record(
        &mut self,
        at: QueueIndex,
        seq: Seq,
        record: MessageRecord,
        out: &mut Effects,
    ) {
        let now = self.now;
        let blocked = self.queue(at).uncommon.blocked;
        let (queue, budget) = self.queue_and_budget(at);
        out.ops.push(Op::PutRecord {
            queue: queue.record.id,
            seq,
            record: Box::new(record.clone()),
        });
        queue.put_record(seq, record);
        queue.settle_record(seq, now, budget);
        self.tell_unblocked(at, blocked, out);
        self.touch(at);
    }

    /// Tells it if none of the messages that were blocked is so any more.
    pub(super) fn tell_unblocked(&self, at: QueueIndex, blocked: u64, out: &mut Effects) {
        let queue = self.queue(at);
        if blocked > 0 && queue.uncommon.blocked == 0 {
            let queue = queue.record.name.clone();
            out.effects.push(Effect::Notice(Box::new(Notice::Unblocked { queue })));
        }
    }

    /// A lease as it is shown.
    pub(super) fn lease_view(&self, lease: &Lease) -> InFlightView {
        let worker = self.workers.get(&lease.worker);
        InFlightView {
            delivery: DeliveryId { generation: self.generation, number: lease.number },
            queue: self.queue(lease.queue).record.name.clone(),
            seq: lease.seq,
            id: lease.content.id().clone(),
            attempt: lease.attempt,
            worker: worker.map_or_else(String::new, |worker| worker.info.name.clone()),
            since: lease.since,
            deadline: lease.deadline,
        }
    }
}
