//! Which queue is served by which worker next.
//!
//! A queue with something to hand out goes to its least recently used worker with free credit. If none is
//! free, the queue takes a *ticket* and waits at each of its workers; a worker that becomes free serves the
//! oldest ticket. So queues take turns, and nothing here looks at more than one queue's workers or one
//! worker's turn.
//!
//! Contents that are not in RAM are loaded when a worker is free for them; meanwhile the worker may take
//! another queue's message.

use std::sync::Arc;

use crate::model::{AckMode, DeliveryId, Finish, Op, Seq, StoredMessage, WorkerId};

use super::lane::{InFlight, Next};
use super::lease::Lease;
use super::queue::QueueIndex;
use super::timer::Timer;
use super::window::Entry;
use super::{Effect, Effects, Engine};

/// The pause before a load that gave less than it must is asked for again, in milliseconds: the store
/// and the engine disagree, and the queue stands rather than skip a message.
const LOAD_AGAIN_MS: u64 = 1_000;

impl Engine {
    /// Serves a queue if it has something to hand out and a worker is free; else it waits for its turn.
    pub(super) fn offer(&mut self, at: QueueIndex, out: &mut Effects) {
        if self.stopping {
            return;
        }
        match self.queue(at).next(self.now) {
            Next::Wait => self.unticket(at),
            Next::Load if self.queue(at).window.is_loading() => self.unticket(at),
            next @ (Next::Deliver(_) | Next::Load) => match self.free_worker(at) {
                Some(worker) => self.serve(at, worker, next, out),
                None => self.ticket(at),
            },
        }
    }

    /// Serves the queues that wait for a worker, the longest waiting first, as far as its credit goes.
    pub(super) fn drain(&mut self, id: WorkerId, out: &mut Effects) {
        let mut loads: usize = 0;
        while let Some(worker) = self.workers.get(&id)
            && worker.free_credit() > loads
            && let Some((_, &at)) = worker.waiting.first_key_value()
        {
            let next = self.queue(at).next(self.now);
            self.serve(at, id, next, out);
            if next == Next::Load {
                loads = loads.saturating_add(1);
            }
        }
    }

    fn serve(&mut self, at: QueueIndex, worker: WorkerId, next: Next, out: &mut Effects) {
        let turn = self.queue(at).ticket;
        self.unticket(at);
        match next {
            Next::Deliver(seq) => self.deliver(at, seq, worker, out),
            Next::Load => {
                self.queue_mut(at).kept_turn = turn;
                self.load(at, out);
            }
            Next::Wait => {}
        }
    }

    /// The least recently used worker of a queue with free credit.
    fn free_worker(&self, at: QueueIndex) -> Option<WorkerId> {
        self.queue(at)
            .workers
            .iter()
            .filter_map(|&id| Some((id, self.workers.get(&id)?)))
            .filter(|(_, worker)| worker.free_credit() > 0)
            .min_by_key(|&(id, worker)| (worker.last_used, id))
            .map(|(id, _)| id)
    }

    pub(super) fn ticket(&mut self, at: QueueIndex) {
        if self.queue(at).ticket.is_some() {
            return;
        }
        self.next_ticket = self.next_ticket.saturating_add(1);
        let Self { queues, workers, .. } = self;
        let queue = queues.get_mut(at.0).expect(super::KNOWN_QUEUE);
        let ticket = queue.kept_turn.take().unwrap_or(self.next_ticket);
        queue.ticket = Some(ticket);
        for id in &queue.workers {
            if let Some(worker) = workers.get_mut(id) {
                worker.waiting.insert(ticket, at);
            }
        }
    }

    pub(super) fn unticket(&mut self, at: QueueIndex) {
        let Self { queues, workers, .. } = self;
        let queue = queues.get_mut(at.0).expect(super::KNOWN_QUEUE);
        let Some(ticket) = queue.ticket.take() else { return };
        for id in &queue.workers {
            if let Some(worker) = workers.get_mut(id) {
                worker.waiting.remove(&ticket);
            }
        }
    }

    /// Hands the head to a worker. Its cancelled predecessors can no longer be restored then.
    fn deliver(&mut self, at: QueueIndex, seq: Seq, id: WorkerId, out: &mut Effects) {
        while let Some(passed) = self.queue(at).first_passed() {
            self.retire(at, passed, Finish::Cancelled, out);
        }
        self.next_delivery = self.next_delivery.saturating_add(1);
        let number = self.next_delivery;
        let queue = self.queues.get_mut(at.0).expect(super::KNOWN_QUEUE);
        let entry = queue.window.get(seq).expect("what is before the window's end is in RAM");
        let content = Arc::clone(&entry.content);
        let attempt = queue.records.get(&seq).map_or(0, |record| record.attempts).saturating_add(1);
        let settings = &queue.record.settings;
        let latest = content.header.max_execution_ms().map(|ms| self.now.plus_ms(ms.max(1)));
        let deadline = self.now.plus_ms(settings.lease_ms.max(1));
        let deadline = latest.map_or(deadline, |latest| deadline.min(latest));
        let at_most_once = settings.ack == AckMode::OnDelivery;
        queue.kept_turn = None;
        queue.lane.take(InFlight { delivery: number, seq });
        out.effects.push(Effect::Deliver {
            worker: id,
            delivery: DeliveryId { generation: self.generation, number },
            queue: queue.record.name.clone(),
            seq,
            attempt,
            deadline,
            content: Arc::clone(&content),
        });
        self.timers.set(deadline, Timer::LeaseOver(number));
        let worker = self.workers.get_mut(&id).expect("a worker that is served is connected");
        worker.leases.insert(number);
        worker.last_used = number;
        self.leases.insert(
            number,
            Lease {
                number,
                queue: at,
                seq,
                worker: id,
                attempt,
                since: self.now,
                deadline,
                latest,
                content,
                finished: at_most_once,
            },
        );
        if at_most_once {
            self.retire(at, seq, Finish::Done, out);
        }
        self.touch(at);
        self.workers_changed = true;
        self.prefetch(at, out);
    }

    /// A message leaves its queue. Returns whether an operator had made it ready again.
    pub(super) fn retire(
        &mut self,
        at: QueueIndex,
        seq: Seq,
        how: Finish,
        out: &mut Effects,
    ) -> bool {
        let Self { queues, budget, .. } = self;
        let queue = queues.get_mut(at.0).expect(super::KNOWN_QUEUE);
        let entry = queue.window.remove(seq, budget);
        self.finish(at, seq, entry, how, out)
    }

    /// As `retire`, for a message that may not be in the window but was read just now.
    pub(super) fn retire_entry(
        &mut self,
        at: QueueIndex,
        entry: Entry,
        how: Finish,
        out: &mut Effects,
    ) {
        let Self { queues, budget, .. } = self;
        let queue = queues.get_mut(at.0).expect(super::KNOWN_QUEUE);
        queue.window.remove(entry.seq, budget);
        self.finish(at, entry.seq, Some(entry), how, out);
    }

    fn finish(
        &mut self,
        at: QueueIndex,
        seq: Seq,
        entry: Option<Entry>,
        how: Finish,
        out: &mut Effects,
    ) -> bool {
        let queue = self.queue_mut(at);
        let record = queue.finish(seq, entry.as_ref());
        queue.window.cover_until(queue.floor);
        out.ops.push(Op::Finish { queue: queue.record.id, seq, how });
        match how {
            Finish::Done => queue.counters.done = queue.counters.done.saturating_add(1),
            Finish::Cancelled => {}
            Finish::DeadLettered => {
                queue.counters.dead_lettered = queue.counters.dead_lettered.saturating_add(1);
            }
        }
        record.is_some_and(|record| record.retried)
    }

    /// Reads more before the window runs dry, if there is room for it.
    pub(super) fn prefetch(&mut self, at: QueueIndex, out: &mut Effects) {
        let bounds = self.bounds;
        let queue = self.queue(at);
        let window = &queue.window;
        let half_empty = window.len().saturating_mul(2) <= bounds.messages
            && window.cost().saturating_mul(2) <= bounds.bytes;
        let wanted = window.end() < queue.next_seq && half_empty && queue.is_warm();
        if wanted && self.budget.room() >= bounds.bytes / 2 {
            self.load(at, out);
        }
    }

    fn load(&mut self, at: QueueIndex, out: &mut Effects) {
        let bounds = self.bounds;
        let Self { queues, budget, .. } = self;
        let queue = queues.get_mut(at.0).expect(super::KNOWN_QUEUE);
        if queue.window.is_loading() {
            return;
        }
        let from = queue.window.end();
        let (max_messages, max_bytes) = queue.window.begin_load(queue.next_seq, bounds, budget);
        out.effects.push(Effect::Load { queue: queue.record.id, from, max_messages, max_bytes });
    }

    /// The store's answer to a load. What the engine knows is newer than what was read: finished messages
    /// are left out, and where a newer revision was saved meanwhile the answer is cut off and asked for
    /// again. A place that should be there but isn't stops the queue there.
    pub(super) fn handle_loaded(
        &mut self,
        at: QueueIndex,
        from: Seq,
        messages: Vec<StoredMessage>,
        out: &mut Effects,
    ) {
        self.shed_loaded(at, from, &messages, out);
        let Self { queues, budget, .. } = self;
        let queue = queues.get_mut(at.0).expect(super::KNOWN_QUEUE);
        let Some(next_seq) = queue.window.end_load(from, budget) else {
            self.offer(at, out);
            return self.drain_workers_of(at, out);
        };
        let mut again = false;
        let mut found_unreadable = Vec::new();
        if queue.is_warm() {
            for message in messages {
                let expected = queue.first_unfinished(queue.window.end());
                let revision = message.record.as_ref().map(|record| record.revision);
                if message.seq < expected {
                    queue.window.cover_until(message.seq.next());
                    continue;
                }
                if message.seq > expected || message.seq >= queue.next_seq {
                    break;
                }
                // Of what can't be read the record may be missing too; the engine has it.
                let is_outdated = revision.unwrap_or_default() != queue.revision_of(message.seq);
                if is_outdated && message.unreadable.is_none() {
                    again = true;
                    break;
                }
                queue.window.cover_until(expected);
                let StoredMessage { seq, accepted_at, content, unreadable, .. } = message;
                let entry = Entry { seq, accepted_at, content, unreadable: unreadable.is_some() };
                queue.window.push(entry, budget);
                found_unreadable.extend(unreadable.map(|error| (seq, error)));
            }
            let covered = queue.first_unfinished(queue.window.end());
            queue.window.cover_until(covered.min(queue.next_seq));
            let lacking = queue.window.end() == from && from < next_seq;
            if lacking && !again {
                self.timers.set(self.now.plus_ms(LOAD_AGAIN_MS), Timer::LoadAgain(at));
                self.unticket(at);
                return self.drain_workers_of(at, out);
            }
        }
        self.touch(at);
        for (seq, error) in found_unreadable {
            self.block_unreadable(at, seq, error, out);
        }
        self.offer(at, out);
        self.drain_workers_of(at, out);
        if self.queue(at).window.len() > 0 {
            self.prefetch(at, out);
        }
    }

    /// Lets workers that stayed free for a load go on with other queues.
    fn drain_workers_of(&mut self, at: QueueIndex, out: &mut Effects) {
        for id in self.queue(at).workers.clone() {
            self.drain(id, out);
        }
    }

    /// Drops a queue's contents if nobody is served from them soon.
    pub(super) fn cool(&mut self, at: QueueIndex) {
        let Self { queues, budget, .. } = self;
        let queue = queues.get_mut(at.0).expect(super::KNOWN_QUEUE);
        if queue.is_warm() {
            return;
        }
        let leased = queue.lane.in_flight().map(|in_flight| in_flight.seq);
        let keep = leased.filter(|&seq| queue.is_unfinished(seq));
        queue.window.drop_contents(queue.floor, keep, budget);
    }
}
