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

use crate::model::{AckMode, Finish, Op, Seq, WorkerId};

use super::lane::{Next, Ticket};
use super::queues::QueueIndex;
use super::tally::Counted;
use super::window::Entry;
use super::{Effects, Engine};

impl Engine {
    /// Serves a queue as far as it has something to hand out and workers are free; then it waits for its turn.
    pub(super) fn offer(&mut self, at: QueueIndex, out: &mut Effects) {
        if self.stopping {
            return;
        }
        let now = self.now;
        self.end_hand_over(at);
        let queue = self.queue_mut(at);
        // What is due goes now, whether its alarm was heard or not: `watch` sets the next one.
        queue.wake(now);
        queue.wake_later(now);
        self.expire(at, out);
        self.offer_to_workers(at, out);
        self.watch(at);
    }

    fn offer_to_workers(&mut self, at: QueueIndex, out: &mut Effects) {
        loop {
            match self.queue(at).next(self.now) {
                Next::Wait => {
                    self.unticket(at);
                    return;
                }
                Next::Load if self.queue(at).is_loading() => {
                    self.unticket(at);
                    return;
                }
                next @ (Next::Deliver(_) | Next::Load) => match self.free_worker(at) {
                    Some(worker) => self.serve(at, worker, next, out),
                    None => {
                        self.ticket(at);
                        // What may go before that is in RAM by the time that a worker is free.
                        if self.queue(at).wants_reading() {
                            self.prefetch(at, out);
                        }
                        return;
                    }
                },
            }
        }
    }

    /// Serves the queues that wait for a worker, the longest waiting first, as far as its credit goes.
    pub(super) fn drain(&mut self, id: WorkerId, out: &mut Effects) {
        let mut loads: usize = 0;
        while self.workers.get(&id).is_some_and(|worker| worker.free_credit() > loads)
            && let Some(at) = self.longest_waiting(id)
        {
            let next = self.queue(at).next(self.now);
            self.serve(at, id, next, out);
            if next == Next::Load {
                loads = loads.saturating_add(1);
            }
            // What is in order has nothing more to hand out now.
            match self.queue(at).next(self.now) {
                Next::Deliver(_) => self.wait_again(at),
                Next::Load if !self.queue(at).is_loading() => self.wait_again(at),
                Next::Load | Next::Wait => {
                    self.unticket(at);
                }
            }
        }
    }

    /// Of the queues that wait for a worker, the one with the lowest ticket.
    fn longest_waiting(&mut self, id: WorkerId) -> Option<QueueIndex> {
        let Self { queues, workers, .. } = self;
        let line = &mut workers.get_mut(&id)?.waiting;
        loop {
            let (ticket, at) = line.first()?;
            match queues.at_mut(at).ticket {
                Ticket::Waiting(now) if now == ticket || line.is_alone() => return Some(at),
                Ticket::Waiting(now) => line.put(at, now),
                Ticket::None | Ticket::Kept(_) => line.remove(at),
            }
        }
    }

    /// A queue that a worker was given a message of waits on, behind the others: each worker sees so when it comes to it.
    fn wait_again(&mut self, at: QueueIndex) {
        let Ticket::Waiting(_) = self.queue(at).ticket else { return self.ticket(at) };
        self.next_ticket = self.next_ticket.saturating_add(1);
        self.queue_mut(at).ticket = Ticket::Waiting(self.next_ticket);
    }

    fn serve(&mut self, at: QueueIndex, worker: WorkerId, next: Next, out: &mut Effects) {
        match next {
            Next::Deliver(seq) if self.expire_head_in_ram(at, seq, out) => {}
            Next::Deliver(seq) if self.withdraw_given_up(at, seq, out) => {}
            Next::Deliver(seq) => self.deliver(at, seq, worker, out),
            Next::Load => {
                let ticket = self.unticket(at);
                self.queue_mut(at).ticket = ticket.map_or(Ticket::None, Ticket::Kept);
                self.load(at, out);
            }
            Next::Wait => {}
        }
    }

    /// The least recently used worker of a queue with free credit.
    fn free_worker(&self, at: QueueIndex) -> Option<WorkerId> {
        let queue = self.queue(at);
        // It waits in the line of each of them, and who becomes free looks there.
        if let Ticket::Waiting(_) = queue.ticket
            && !queue.is_exclusive()
        {
            return None;
        }
        queue
            .eligible()
            .iter()
            .filter_map(|&id| Some((id, self.workers.get(&id)?)))
            .filter(|(_, worker)| worker.free_credit() > 0)
            .min_by_key(|&(id, worker)| (worker.last_used, id))
            .map(|(id, _)| id)
    }

    pub(super) fn ticket(&mut self, at: QueueIndex) {
        let kept = match self.queue(at).ticket {
            Ticket::Waiting(_) => return,
            Ticket::Kept(ticket) => Some(ticket),
            Ticket::None => None,
        };
        self.next_ticket = self.next_ticket.saturating_add(1);
        let ticket = kept.unwrap_or(self.next_ticket);
        let Self { queues, workers, .. } = self;
        let queue = queues.at_mut(at);
        queue.ticket = Ticket::Waiting(ticket);
        for id in queue.eligible() {
            if let Some(worker) = workers.get_mut(id) {
                worker.waiting.put(at, ticket);
            }
        }
    }

    /// The queue waits no more; the ticket that it had.
    pub(super) fn unticket(&mut self, at: QueueIndex) -> Option<u64> {
        let Self { queues, workers, .. } = self;
        let queue = queues.at_mut(at);
        let Ticket::Waiting(ticket) = queue.ticket else { return None };
        queue.ticket = Ticket::None;
        for id in &queue.workers {
            if let Some(worker) = workers.get_mut(id) {
                worker.waiting.remove(at);
            }
        }
        Some(ticket)
    }

    /// Hands the head to a worker. Its cancelled predecessors can no longer be restored then.
    fn deliver(&mut self, at: QueueIndex, seq: Seq, id: WorkerId, out: &mut Effects) {
        while let Some(passed) = self.queue(at).first_passed(seq) {
            self.retire(at, passed, Finish::Cancelled, out);
        }
        let queue = self.queue(at);
        let entry = queue.window.get(seq).expect("what may be handed out is in RAM");
        let entry = Entry { content: Arc::clone(&entry.content), ..*entry };
        let attempt =
            queue.records().get(&seq).map_or(0, |record| record.attempts).saturating_add(1);
        let at_most_once =
            self.is_at_most_once(id) || queue.record.settings.ack == AckMode::OnDelivery;
        let number = self.grant(at, &entry, attempt, id, out);
        let (queue, budget) = self.queue_and_budget(at);
        if let Ticket::Kept(_) = queue.ticket {
            queue.ticket = Ticket::None;
        }
        queue.hand_out(seq, number, budget);
        if at_most_once {
            if let Some(lease) = self.leases.get_mut(&number) {
                lease.finished = true;
            }
            self.retire_entry(at, entry, Finish::Done, out);
        }
        self.prefetch(at, out);
    }

    /// A message leaves its queue, of which only the window may know the content.
    fn retire(&mut self, at: QueueIndex, seq: Seq, how: Finish, out: &mut Effects) {
        let (queue, budget) = self.queue_and_budget(at);
        let entry = queue.window.remove(seq, budget);
        self.finish(at, seq, entry, how, out);
    }

    /// A message leaves its queue. Returns whether an operator had made it ready again.
    pub(super) fn retire_entry(
        &mut self,
        at: QueueIndex,
        entry: Entry,
        how: Finish,
        out: &mut Effects,
    ) -> bool {
        let (queue, budget) = self.queue_and_budget(at);
        queue.window.remove(entry.seq, budget);
        self.finish(at, entry.seq, Some(entry), how, out)
    }

    fn finish(
        &mut self,
        at: QueueIndex,
        seq: Seq,
        entry: Option<Entry>,
        how: Finish,
        out: &mut Effects,
    ) -> bool {
        let now = self.now;
        let blocked = self.queue(at).uncommon.blocked;
        let queue = self.queue_mut(at);
        let record = queue.finish(seq, entry.as_ref(), now);
        queue.window.cover_until(queue.floor);
        out.ops.push(Op::Finish { queue: queue.record.id, seq, how });
        match how {
            Finish::Done => self.count(at, Counted::Done),
            Finish::Cancelled | Finish::Moved => {}
            Finish::Dropped => {
                queue.uncommon.change().remember_out(seq);
                self.count(at, Counted::Dropped);
            }
            Finish::DeadLettered => self.count(at, Counted::DeadLettered),
        }
        self.tell_unblocked(at, blocked, out);
        record.is_some_and(|record| record.retried)
    }
}
