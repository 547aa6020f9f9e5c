//! The re-send plug-in: a message that its worker has had for `resend.keep_ms` without an answer is sent to another one too.
//!
//! Unlike a lease that is over this is no failure: the first worker goes on, and whoever answers first ends it. So one
//! that is lost on its way, or slow, costs little time; the price is that two may do the same work.

use std::sync::Arc;

use crate::model::{DeliveryId, Numbered, Seq, Timestamp, WorkerId};

use super::lease::Lease;
use super::queues::QueueIndex;
use super::tally::Counted;
use super::timer::Timer;
use super::window::Entry;
use super::{Effect, Effects, Engine};

/// Workers that may have the same message at a time: if so many don't answer, more won't help.
const MAX_COPIES: usize = 4;
/// When to look again for a free worker, in milliseconds.
const LOOK_AGAIN_MS: u64 = 1_000;

/// The leases of messages that more than one worker has, the oldest first.
pub(super) type Copies = Numbered<(QueueIndex, Seq), Vec<u64>>;

impl Engine {
    /// Gives a worker a lease on a message, and sends it. Returns the lease's number.
    pub(super) fn grant(
        &mut self,
        at: QueueIndex,
        entry: &Entry,
        attempt: u32,
        worker_id: WorkerId,
        out: &mut Effects,
    ) -> u64 {
        let &Entry { seq, accepted_at, ref content, .. } = entry;
        self.next_delivery = self.next_delivery.saturating_add(1);
        let (now, number) = (self.now, self.next_delivery);
        let record = &self.queue(at).record;
        let settings = &record.settings;
        let ending_ms = self.workers.get(&worker_id).and_then(|worker| worker.info.ending_ms);
        let latest = content.header.max_execution_ms();
        let latest = latest.map(|ms| now.plus_ms(ms.saturating_add(ending_ms.unwrap_or(0)).max(1)));
        let deadline = now.plus_ms(settings.lease_ms.max(1));
        let deadline = latest.map_or(deadline, |latest| deadline.min(latest));
        let keep_ms = Some(settings.resend.keep_ms).filter(|&ms| ms > 0);
        // What a door has is done.
        let keep_ms = keep_ms.filter(|_| !self.is_at_most_once(worker_id));
        out.effects.push(Effect::Deliver {
            worker: worker_id,
            delivery: DeliveryId { generation: self.generation, number },
            queue: record.name.clone(),
            seq,
            attempt,
            deadline,
            content: Arc::clone(content),
        });
        self.timers.set(deadline, Timer::LeaseOver(number));
        let worker = self.workers.get_mut(&worker_id).expect("a worker that is served is there");
        worker.leases.insert(number);
        worker.last_used = number;
        let lease = Lease {
            number,
            queue: at,
            seq,
            worker: worker_id,
            attempt,
            parts: 0,
            since: now,
            deadline,
            latest,
            accepted_at,
            content: Arc::clone(content),
            finished: false,
            resend_at: None,
            others: Vec::new(),
        };
        self.leases.insert(number, lease);
        if let Some(ms) = keep_ms {
            self.resend_after(number, ms);
        }
        self.touch(at);
        self.count_delivery(at, attempt);
        self.workers_changed = true;
        number
    }

    /// The worker is waited for so long from now.
    fn resend_after(&mut self, number: u64, ms: u64) {
        let at = self.now.plus_ms(ms);
        let Some(lease) = self.leases.get_mut(&number) else { return };
        let before = lease.resend_at.replace(at);
        self.forget_resend(before, number);
        self.timers.set(at, Timer::Resend(number));
    }

    fn forget_resend(&mut self, at: Option<Timestamp>, number: u64) {
        if let Some(at) = at {
            self.timers.cancel(at, Timer::Resend(number));
        }
    }

    /// A worker says that it goes on: that is an answer for as long again.
    pub(super) fn put_off_resend(&mut self, number: u64) {
        let Some(lease) = self.leases.get(&number) else { return };
        let keep_ms = self.queue(lease.queue).record.settings.resend.keep_ms;
        if lease.resend_at.is_some() && keep_ms > 0 {
            self.resend_after(number, keep_ms);
        }
    }

    /// A worker has been waited for long enough: another one gets the message too.
    pub(super) fn resend(&mut self, number: u64, out: &mut Effects) {
        let Some(lease) = self.leases.get_mut(&number) else { return };
        lease.resend_at = None;
        // Done on delivery: it may be worked on once at most.
        let is_finished = lease.finished;
        let (at, seq, attempt, entry) = (lease.queue, lease.seq, lease.attempt, lease.entry());
        let record = &self.queue(at).record;
        if self.stopping || record.settings.resend.keep_ms == 0 || is_finished {
            return;
        }
        let known = self.copies.get(&(at, seq)).cloned().unwrap_or_else(|| vec![number]);
        if known.len() >= MAX_COPIES {
            return;
        }
        let stays = record.paused.is_some() || self.queue(at).holds().contains_key(&seq);
        let expiry = self.expiry_of(at, entry.accepted_at, &entry.content.header);
        let is_retried = self.queue(at).records().get(&seq).is_some_and(|record| record.retried);
        if expiry.is_some_and(|expiry| expiry <= self.now) && !is_retried {
            return;
        }
        let Some(worker) = self.worker_for_copy(at, &known).filter(|_| !stays) else {
            return self.resend_after(number, LOOK_AGAIN_MS);
        };
        let copy = self.grant(at, &entry, attempt.saturating_add(1), worker, out);
        self.copies.insert((at, seq), known.into_iter().chain([copy]).collect());
        self.count(at, Counted::Resent);
    }

    /// The least recently used worker with free credit that doesn't have the message; if there is no other one at all,
    /// one that has it: perhaps it was lost on its way.
    fn worker_for_copy(&self, at: QueueIndex, known: &[u64]) -> Option<WorkerId> {
        let has_it = |id: &WorkerId| {
            let worker = self.workers.get(id);
            worker.is_some_and(|it| known.iter().any(|number| it.leases.contains(number)))
        };
        let workers = &self.queue(at).workers;
        let is_alone = workers.iter().all(has_it);
        workers
            .iter()
            .filter(|id| is_alone || !has_it(id))
            .filter_map(|&id| Some((id, self.workers.get(&id)?)))
            .filter(|(_, worker)| worker.free_credit() > 0 && !worker.info.at_most_once)
            .min_by_key(|&(id, worker)| (worker.last_used, id))
            .map(|(id, _)| id)
    }

    /// A lease has ended: which other ones on the same message go on. One of them stands for the message now.
    pub(super) fn leave_copies(&mut self, lease: &mut Lease) {
        self.forget_resend(lease.resend_at.take(), lease.number);
        if self.copies.is_empty() {
            return;
        }
        let place = (lease.queue, lease.seq);
        let Some(mut numbers) = self.copies.remove(&place) else { return };
        numbers.retain(|&number| number != lease.number);
        let in_flight = &mut self.queue_mut(lease.queue).in_flight;
        if let Some(&first) = numbers.first()
            && !in_flight.has(lease.seq)
        {
            in_flight.take(lease.seq, first);
        }
        lease.others.clone_from(&numbers);
        let waits = |number| self.leases.get(number).is_some_and(|it| it.resend_at.is_some());
        let keep_ms = self.queue(lease.queue).record.settings.resend.keep_ms;
        if let Some(&last) = numbers.last()
            && keep_ms > 0
            && !numbers.iter().any(waits)
        {
            self.resend_after(last, keep_ms);
        }
        if numbers.len() > 1 {
            self.copies.insert(place, numbers);
        }
    }

    /// A message is done: the other workers that have it are late, whatever they answer.
    pub(super) fn end_copies(&mut self, lease: &Lease, out: &mut Effects) {
        for &number in &lease.others {
            let Some(other) = self.end_lease(number) else { continue };
            if let Some(worker) = self.workers.get_mut(&other.worker) {
                worker.leases.remove(&number);
                worker.overdue.insert(number);
            }
            self.tell_whether_available(other.worker, out);
            self.let_go(other.worker, out);
        }
    }
}
