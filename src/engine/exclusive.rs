//! Exclusive queues (`consumers = "exclusive"`): one worker at a time, the others stand by.
//!
//! A queue's workers stand in the order in which they said READY for it, and the first is active. When it says BYE, is
//! gone, or lets a lease run out, the next one takes over: at once, but not while the one before still has messages of the
//! queue that it may answer. A worker that says READY again keeps its place.

use crate::model::{Consumers, Notice, WorkerId};

use super::queue::Queue;
use super::queues::QueueIndex;
use super::{Effect, Effects, Engine};

impl Queue {
    pub(super) fn is_exclusive(&self) -> bool {
        match self.record.settings.consumers {
            Consumers::Exclusive => true,
            Consumers::Shared => false,
        }
    }

    /// Workers that may be given its messages now.
    pub(super) fn eligible(&self) -> &[WorkerId] {
        if !self.is_exclusive() {
            &self.workers
        } else if self.uncommon.handing_over {
            &[]
        } else {
            self.workers.get(..1).unwrap_or_default()
        }
    }

    /// The worker whose turn it is, of a queue that has one at a time.
    pub(super) fn active(&self) -> Option<WorkerId> {
        self.workers.first().copied().filter(|_| self.is_exclusive())
    }
}

impl Engine {
    /// Exclusive queues in which a worker is active.
    pub(super) fn active_in(&self, id: WorkerId) -> Vec<QueueIndex> {
        let queues = self.workers.get(&id).map_or(&[][..], |worker| worker.queues.as_slice());
        queues.iter().copied().filter(|&at| self.queue(at).active() == Some(id)).collect()
    }

    /// The active worker has left its place: the next one has it. Whoever calls offers the queue then.
    pub(super) fn hand_over(&mut self, at: QueueIndex, out: &mut Effects) {
        self.unticket(at);
        self.wait_for_leases(at);
        let queue = self.queue(at);
        let next = queue.active().and_then(|id| self.workers.get(&id));
        if let Some(worker) = next {
            let (queue, name) = (queue.record.name.clone(), worker.info.name.clone());
            out.effects.push(Effect::Notice(Box::new(Notice::TakenOver { queue, name })));
        }
        self.workers_changed = true;
        self.touch(at);
    }

    /// Nobody is given anything while somebody else may still have something.
    pub(super) fn wait_for_leases(&mut self, at: QueueIndex) {
        let queue = self.queue_mut(at);
        if queue.is_exclusive() && !queue.in_flight.is_empty() {
            queue.uncommon.change().handing_over = true;
        } else if let Some(parts) = queue.uncommon.there() {
            parts.handing_over = false;
        }
    }

    /// Ends a hand-over once the active worker is the only one who has messages of the queue.
    pub(super) fn end_hand_over(&mut self, at: QueueIndex) {
        let queue = self.queue(at);
        if !queue.uncommon.handing_over {
            return;
        }
        let active = queue.active();
        let has_other = queue
            .in_flight
            .places()
            .filter_map(|seq| self.leases.get(&queue.in_flight.lease_of(seq)?))
            .any(|lease| Some(lease.worker) != active);
        if !has_other {
            // A ticket that nobody holds would keep the queue from taking another.
            self.unticket(at);
            self.queue_mut(at).uncommon.change().handing_over = false;
        }
    }

    /// A worker said READY again, and was active in these queues: where it still serves, it still is.
    pub(super) fn keep_places(&mut self, id: WorkerId, were: Vec<QueueIndex>, out: &mut Effects) {
        for at in were {
            let workers = &mut self.queue_mut(at).workers;
            if let Some(place) = workers.iter().position(|&other| other == id) {
                workers.remove(place);
                workers.insert(0, id);
                self.unticket(at);
            } else {
                self.hand_over(at, out);
            }
            self.offer(at, out);
        }
    }

    /// An active worker has let a lease run out: it stands at the end, if others stand by.
    pub(super) fn pass_over(&mut self, id: WorkerId, at: QueueIndex, out: &mut Effects) {
        let queue = self.queue_mut(at);
        if queue.active() == Some(id) && queue.workers.len() > 1 {
            // Its tickets are those of who is active.
            self.unticket(at);
            self.queue_mut(at).workers.rotate_left(1);
            self.hand_over(at, out);
        }
    }
}
