//! What a worker holds: running work, deliveries that wait for a free place, and when the broker must
//! hear of progress.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::options::Overrun;
use crate::model::{DeliveryId, MessageId, QueueName, Seq};
use crate::wire::Delivery;

/// A lease is extended when a third of it is over: two more chances before it ends.
const PROGRESS_PART: u32 = 3;
/// How long beyond its limit and its grace a handler may take to end what it started: SIGTERM, SIGKILL and a look.
pub(super) const ENDING: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Lease {
    length: Duration,
    next_progress: Instant,
}

impl Lease {
    fn new(delivery: &Delivery, now: Instant) -> Self {
        let length = Duration::from_millis(delivery.deadline_ms.max(1));
        Self { length, next_progress: now + length / PROGRESS_PART }
    }
}

#[derive(Debug)]
struct Running {
    queue: QueueName,
    seq: Seq,
    id: MessageId,
    since: Instant,
    limit: Duration,
    /// Whether its limit is still to come.
    in_time: bool,
    /// Until when the lease is extended.
    extend_until: Instant,
    /// Absent once the lease is over or its connection lost: the work goes on, the broker doesn't wait.
    lease: Option<Lease>,
}

/// All of a worker's deliveries. At most `places` run, at most `places` wait.
#[derive(Debug)]
pub(super) struct Leases {
    places: usize,
    grace: Duration,
    running: HashMap<DeliveryId, Running>,
    waiting: VecDeque<(Delivery, Lease)>,
}

impl Leases {
    /// `grace`: how long beyond its limit work is let end by itself.
    pub(super) fn new(places: usize, grace: Duration) -> Self {
        Self { places, grace, running: HashMap::new(), waiting: VecDeque::new() }
    }

    /// Nothing runs and nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// How many are being worked on.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Takes a delivery; false if the broker sends more than was asked for.
    pub(super) fn receive(&mut self, delivery: Delivery, now: Instant) -> bool {
        let fits = self.waiting.len() < self.places;
        if fits {
            let lease = Lease::new(&delivery, now);
            self.waiting.push_back((delivery, lease));
        }
        fits
    }

    /// The next delivery to work on, if there is a place for it. One of a message that is still being
    /// worked on, for a lease that was lost, waits for that work's end: no message runs twice at once.
    pub(super) fn start(
        &mut self,
        now: Instant,
        limit: impl Fn(&Delivery) -> Duration,
    ) -> Option<(Delivery, Duration)> {
        if self.running.len() >= self.places {
            return None;
        }
        let running = &self.running;
        let same = |d: &Delivery| running.values().any(|r| r.queue == d.queue && r.seq == d.seq);
        let at = self.waiting.iter().position(|(delivery, _)| !same(delivery))?;
        let (delivery, lease) = self.waiting.remove(at)?;
        let limit = limit(&delivery);
        self.running.insert(
            delivery.delivery,
            Running {
                queue: delivery.queue.clone(),
                seq: delivery.seq,
                id: delivery.content.id().clone(),
                since: now,
                limit,
                in_time: true,
                extend_until: now + limit + self.grace + ENDING,
                lease: Some(lease),
            },
        );
        Some((delivery, limit))
    }

    /// How long the lease is to last from now, if the broker waits for this work.
    pub(super) fn length(&self, delivery: DeliveryId) -> Option<Duration> {
        Some(self.running.get(&delivery)?.lease.as_ref()?.length)
    }

    /// The work is over; gives its queue, place and how long it took.
    pub(super) fn finish(
        &mut self,
        delivery: DeliveryId,
        now: Instant,
    ) -> Option<(QueueName, Seq, Duration)> {
        let running = self.running.remove(&delivery)?;
        Some((running.queue, running.seq, now.duration_since(running.since)))
    }

    /// The broker says that the lease is over.
    pub(super) fn stale(&mut self, delivery: DeliveryId) {
        if let Some(running) = self.running.get_mut(&delivery) {
            running.lease = None;
        }
        self.waiting.retain(|(waiting, _)| waiting.delivery != delivery);
    }

    /// The connection is over, and with it all leases. What runs goes on; what waits is given to somebody
    /// else.
    pub(super) fn lose_all(&mut self) {
        self.waiting.clear();
        self.running.values_mut().for_each(|running| running.lease = None);
    }

    /// Nothing waits any more; gives what still runs, of which each ends with `finish`.
    pub(super) fn end_all(&mut self) -> Vec<DeliveryId> {
        self.waiting.clear();
        self.running.keys().copied().collect()
    }

    /// When `overruns` or `due` is to be asked next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.next_overrun().into_iter().chain(self.next_progress()).min()
    }

    /// When work reaches its limit next.
    pub(super) fn next_overrun(&self) -> Option<Instant> {
        self.running.values().filter(|r| r.in_time).map(|r| r.since + r.limit).min()
    }

    /// What has reached its limit since it was asked last.
    pub(super) fn overruns(&mut self, now: Instant) -> Vec<Overrun> {
        let over = |r: &&mut Running| r.in_time && r.since + r.limit <= now;
        let running = self.running.iter_mut().map(|(id, running)| (*id, running));
        running
            .filter_map(|(id, running)| Some((id, Some(running).filter(over)?)))
            .map(|(delivery, running)| {
                running.in_time = false;
                let Running { queue, seq, id, limit, .. } = running;
                let (queue, id) = (queue.clone(), id.clone());
                Overrun { delivery, queue, seq: *seq, id, limit: *limit }
            })
            .collect()
    }

    /// When the broker must hear of progress next.
    fn next_progress(&self) -> Option<Instant> {
        let running = self.running.values().filter_map(|r| r.lease.as_ref());
        running.chain(self.waiting.iter().map(|(_, lease)| lease)).map(|l| l.next_progress).min()
    }

    /// The leases to be extended now, each with how long from now. What runs beyond its limit isn't.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(DeliveryId, Duration)> {
        for running in self.running.values_mut() {
            if running.extend_until <= now {
                running.lease = None;
            }
        }
        let running =
            self.running.iter_mut().filter_map(|(id, r)| r.lease.as_mut().map(|l| (*id, l)));
        let waiting = self.waiting.iter_mut().map(|(delivery, lease)| (delivery.delivery, lease));
        let mut due = Vec::new();
        for (id, lease) in running.chain(waiting).filter(|(_, l)| l.next_progress <= now) {
            lease.next_progress = now + lease.length / PROGRESS_PART;
            due.push((id, lease.length));
        }
        due
    }
}
