//! What is counted of messages, and shown as numbers only.

use crate::model::{MessageState, QueueFigures, QueueId, Totals, WorkerState};

use super::Engine;
use super::queue::Queue;
use super::queues::QueueIndex;

/// Something that is counted for its queue and for all together: what a queue has counted goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Accepted,
    Redelivered,
    Done,
    Failed,
    Duplicate,
    DeadLettered,
    Dropped,
    Resent,
}

impl Engine {
    pub(super) fn count(&mut self, at: QueueIndex, what: Counted) {
        let Self { queues, totals, .. } = self;
        let queue = queues.at_mut(at);
        let (of_queue, of_all) = match what {
            Counted::Accepted => (&mut queue.accepted, &mut totals.accepted),
            Counted::Redelivered => {
                (&mut queue.uncommon.change().redelivered, &mut totals.redelivered)
            }
            Counted::Done => (&mut queue.done, &mut totals.done),
            Counted::Failed => (&mut queue.uncommon.change().failed, &mut totals.failed),
            Counted::Duplicate => (&mut queue.uncommon.change().duplicates, &mut totals.duplicates),
            Counted::DeadLettered => {
                (&mut queue.uncommon.change().dead_lettered, &mut totals.dead_lettered)
            }
            Counted::Dropped => (&mut queue.uncommon.change().dropped, &mut totals.dropped),
            Counted::Resent => (&mut queue.uncommon.change().resent, &mut totals.resent),
        };
        add_one(of_queue);
        add_one(of_all);
    }

    /// Goes on from what `before` has counted: who looks at counters sees one broker, however often its store was opened.
    /// What wasn't durable then, and happens again, counts twice.
    pub fn count_on(&mut self, before: &Self) {
        self.totals = sum(self.totals, before.totals);
        for (counter, counted) in [
            (&mut self.delivered, before.delivered),
            (&mut self.stale_answers, before.stale_answers),
            (&mut self.late_replies, before.late_replies),
        ] {
            *counter = counter.saturating_add(counted);
        }
        for counted in before.queues.iter() {
            let Some(at) = self.queues.by_id(counted.record.id) else { continue };
            let queue = self.queues.at_mut(at);
            queue.set_totals(sum(queue.totals(), counted.totals()));
        }
    }

    /// What became of the messages of all queues since the broker started, also of queues that have gone.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// A message is handed to a worker. By queue only what is handed out again is counted: a number more would take
    /// each queue to the allocator's next size.
    pub(super) fn count_delivery(&mut self, at: QueueIndex, attempt: u32) {
        add_one(&mut self.delivered);
        if attempt > 1 {
            self.count(at, Counted::Redelivered);
        }
    }

    /// Deliveries of all queues since the broker started.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Workers by state; all states.
    pub fn worker_states(&self) -> Vec<(WorkerState, u64)> {
        let states = [
            WorkerState::Idle,
            WorkerState::Busy,
            WorkerState::Stuck,
            WorkerState::Silent,
            WorkerState::Draining,
        ];
        let in_state =
            |state| self.workers.values().filter(|worker| worker.state() == state).count() as u64;
        states.map(|state| (state, in_state(state))).to_vec()
    }

    /// Queues in numbers, as [`Engine::queue_views`] lists them.
    pub fn queue_figures(&self, after: QueueId, max: usize) -> (Vec<QueueFigures>, QueueId) {
        let mut last = after;
        let page = self.queues.after(after).take(max).map(|queue| {
            last = queue.record.id;
            self.figures(queue)
        });
        (page.collect(), last)
    }

    fn figures(&self, queue: &Queue) -> QueueFigures {
        let is_waiting = |&&seq: &&_| queue.state_of(seq, self.now) == MessageState::Waiting;
        let waiting = queue.records().keys().filter(is_waiting).count() as u64;
        let (leased, scheduled) = (queue.leased(), queue.scheduled(self.now));
        let parts = &queue.uncommon;
        let aside = [leased, waiting, scheduled, parts.blocked];
        QueueFigures {
            name: queue.record.name.clone(),
            state: queue.state(self.stopping),
            is_paused: queue.record.paused.is_some(),
            ready: aside.into_iter().fold(queue.depth(), u64::saturating_sub),
            leased,
            waiting,
            scheduled,
            blocked: parts.blocked,
            bytes: queue.bytes,
            oldest_at: queue.oldest_at(),
            workers: queue.workers.len() as u64,
            totals: queue.totals(),
        }
    }
}

impl Queue {
    fn totals(&self) -> Totals {
        let parts = &self.uncommon;
        Totals {
            accepted: self.accepted,
            redelivered: parts.redelivered,
            done: self.done,
            failed: parts.failed,
            duplicates: parts.duplicates,
            dead_lettered: parts.dead_lettered,
            dropped: parts.dropped,
            resent: parts.resent,
        }
    }

    fn set_totals(&mut self, totals: Totals) {
        let Totals { accepted, done, .. } = totals;
        (self.accepted, self.done) = (accepted, done);
        if totals == (Totals { accepted, done, ..Totals::default() }) {
            // Most queues have no place for what is uncommon.
            return;
        }
        let parts = self.uncommon.change();
        parts.redelivered = totals.redelivered;
        parts.failed = totals.failed;
        parts.duplicates = totals.duplicates;
        parts.dead_lettered = totals.dead_lettered;
        parts.dropped = totals.dropped;
        parts.resent = totals.resent;
    }
}

fn sum(a: Totals, b: Totals) -> Totals {
    Totals {
        accepted: a.accepted.saturating_add(b.accepted),
        redelivered: a.redelivered.saturating_add(b.redelivered),
        done: a.done.saturating_add(b.done),
        failed: a.failed.saturating_add(b.failed),
        duplicates: a.duplicates.saturating_add(b.duplicates),
        dead_lettered: a.dead_lettered.saturating_add(b.dead_lettered),
        dropped: a.dropped.saturating_add(b.dropped),
        resent: a.resent.saturating_add(b.resent),
    }
}

pub(super) fn add_one(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
