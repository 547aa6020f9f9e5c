//! Messages that other programs put into a queue's Redis stream, and whether that Redis can be reached.
//!
//! The stream's reader tells of entries in their order, each time with the entry after which it began to
//! look. What has been taken in already is left out, and what comes after a gap is not taken at all: the
//! reader begins again after the newest entry that was committed. So it may tell twice and lose nothing.

use crate::model::{Arrival, Op, QueueId, QueueSettings, RejectCode, Rejection, StreamId, limits};

use super::queue::Queue;
use super::queues::QueueIndex;
use super::send::Added;
use super::{Effects, Engine};

impl Engine {
    /// Takes in what it may, in order; the rest is told again later.
    pub(super) fn handle_arrived(
        &mut self,
        queue: QueueId,
        after: StreamId,
        arrivals: Vec<Arrival>,
        out: &mut Effects,
    ) {
        let Some(at) = self.queues.by_id(queue) else { return };
        if self.stopping || after > self.queue(at).uncommon.newest_entry {
            return;
        }
        for arrival in arrivals {
            let id = arrival.entry.id;
            if id <= self.queue(at).uncommon.newest_entry {
                continue;
            }
            if !self.has_room(at, &arrival) {
                break;
            }
            self.queue_mut(at).uncommon.change().newest_entry = id;
            let accepted = self.accept(at, arrival.content, Some(Box::new(arrival.entry)), out);
            if accepted.duplicate {
                out.ops.push(Op::PassEntry { queue, entry: id });
            }
            self.shed(at, out);
        }
        self.offer(at, out);
    }

    /// Redis can be reached, or can't for this reason. Queues whose messages wait there accept nothing
    /// meanwhile.
    pub(super) fn handle_redis_reach(&mut self, down: Option<String>) {
        self.redis_down = down;
        for at in self.queues.indexes() {
            let queue = self.queue(at);
            if queue.record.settings.needs_redis() || queue.waits_for_redis {
                self.touch(at);
            }
        }
    }

    /// Why a queue with these settings accepts nothing while Redis is away.
    pub(super) fn refuse_unreachable(&self, settings: &QueueSettings) -> Result<(), Rejection> {
        match self.unreachable(settings) {
            None => Ok(()),
            Some(reason) => {
                let text = format!("the queue waits in Redis, which can't be reached: {reason}");
                let rejection = Rejection::new(RejectCode::StoreUnavailable, text);
                Err(rejection.retry_after(limits::REDIS_RETRY_MS))
            }
        }
    }

    /// Why Redis can't be reached, if such a queue needs it.
    pub(super) fn unreachable(&self, settings: &QueueSettings) -> Option<&str> {
        self.redis_down.as_deref().filter(|_| settings.needs_redis())
    }

    /// Why a queue accepts nothing, or, if its mailbox is another one by now, can't hand out what is still in Redis.
    pub(super) fn waits_for_redis(&self, queue: &Queue) -> Option<&str> {
        let waits = self.redis_down.as_deref().filter(|_| queue.waits_for_redis);
        self.unreachable(&queue.record.settings).or(waits)
    }

    /// A queue that is full, or drained, leaves what others send to it in its stream. Nothing is refused: nobody would hear it.
    fn has_room(&self, at: QueueIndex, arrival: &Arrival) -> bool {
        let queue = self.queue(at);
        let (name, settings) = (&queue.record.name, &queue.record.settings);
        let known = queue.duplicate_of(arrival.content.id(), self.now).is_some();
        let is_closed = queue.record.draining.is_some() && !known;
        !is_closed
            && (queue.depth() == 0
                || match Added::default().count(Some(queue), settings, &arrival.content, known) {
                    Ok(None) => true,
                    Ok(Some(beyond)) => self.admit_beyond(name, settings, &beyond).is_ok(),
                    Err(_) => false,
                })
    }
}
