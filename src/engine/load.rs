//! Contents come from the store into the windows, and leave them.

use crate::model::{Seq, StoredMessage, WorkError};

use super::queue::Queue;
use super::queues::QueueIndex;
use super::timer::Timer;
use super::window::Entry;
use super::{Effect, Effects, Engine};

/// The pause before a load that gave less than it must is asked for again, in milliseconds: the store
/// and the engine disagree, and the queue stands rather than skip a message.
const LOAD_AGAIN_MS: u64 = 1_000;

/// What came of a load.
#[derive(Debug, Default)]
struct Taken {
    unreadable: Vec<(Seq, WorkError)>,
    /// It lacks what it must have.
    is_lacking: bool,
}

impl Taken {
    fn entry(&mut self, message: StoredMessage) -> Entry {
        let StoredMessage { seq, accepted_at, content, unreadable, .. } = message;
        let entry = Entry { seq, accepted_at, content, unreadable: unreadable.is_some() };
        self.unreadable.extend(unreadable.map(|error| (seq, *error)));
        entry
    }
}

impl Engine {
    /// Reads more before the window runs dry, if there is room for it.
    pub(super) fn prefetch(&mut self, at: QueueIndex, out: &mut Effects) {
        let bounds = self.bounds;
        let queue = self.queue(at);
        let window = &queue.window;
        let half_empty = window.len().saturating_mul(2) <= bounds.messages
            && window.cost().saturating_mul(2) <= bounds.bytes;
        let has_more = window.end() < queue.next_seq && half_empty;
        let has_room = window.has_room_for_more(bounds);
        let wanted = (has_more || has_room && queue.wants_reading()) && queue.is_warm();
        if wanted && self.budget.room() >= bounds.bytes / 2 {
            self.load(at, out);
        }
    }

    /// Reads what comes next, unless a read is under way.
    pub(super) fn load(&mut self, at: QueueIndex, out: &mut Effects) {
        let bounds = self.bounds;
        let (queue, budget) = self.queue_and_budget(at);
        if queue.is_loading() {
            return;
        }
        let (from, max_messages, max_bytes) =
            queue.begin_reading(bounds, budget).unwrap_or_else(|| {
                let from = queue.window.end();
                let (messages, bytes) =
                    queue.window.begin_load(from, queue.next_seq, bounds, budget);
                (from, messages, bytes)
            });
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
        self.peek_loaded(at, from, &messages, out);
        let is_beside = self.queue(at).is_reading_from(from);
        let taken = if is_beside {
            self.take_read(at, from, messages)
        } else {
            self.take_loaded(at, from, messages)
        };
        let Some(Taken { unreadable, is_lacking }) = taken else {
            self.offer(at, out);
            return self.drain_workers_of(at, out);
        };
        let waits_for_redis = is_lacking && self.redis_down.is_some();
        if std::mem::replace(&mut self.queue_mut(at).waits_for_redis, waits_for_redis)
            != waits_for_redis
        {
            self.touch(at);
        }
        if is_lacking {
            self.timers.set(self.now.plus_ms(LOAD_AGAIN_MS), Timer::LoadAgain(at));
            self.unticket(at);
            return self.drain_workers_of(at, out);
        }
        self.touch(at);
        for (seq, error) in unreadable {
            self.block_unreadable(at, seq, error, out);
        }
        self.offer(at, out);
        self.drain_workers_of(at, out);
        if self.queue(at).window.len() > 0 {
            self.prefetch(at, out);
        }
    }

    /// Takes in what comes at the window's end; `None` if it is of no use.
    fn take_loaded(
        &mut self,
        at: QueueIndex,
        from: Seq,
        messages: Vec<StoredMessage>,
    ) -> Option<Taken> {
        let (now, bounds) = (self.now, self.bounds);
        let (queue, budget) = self.queue_and_budget(at);
        let next_seq = queue.window.end_load(from, budget)?;
        let mut taken = Taken::default();
        if !queue.is_warm() {
            return Some(taken);
        }
        let mut again = false;
        for message in messages {
            let expected = queue.first_unfinished(queue.window.end());
            if message.seq < expected {
                queue.window.cover_until(message.seq.next());
                continue;
            }
            if message.seq > expected || message.seq >= queue.next_seq {
                break;
            }
            if is_outdated(queue, &message) {
                again = true;
                break;
            }
            queue.window.cover_until(expected);
            let entry = taken.entry(message);
            queue.take_in(entry, now, bounds, budget);
        }
        let covered = queue.first_unfinished(queue.window.end());
        queue.window.cover_until(covered.min(queue.next_seq));
        taken.is_lacking = queue.window.end() == from && from < next_seq && !again;
        Some(taken)
    }

    /// Takes in what was looked at before.
    fn take_read(
        &mut self,
        at: QueueIndex,
        from: Seq,
        messages: Vec<StoredMessage>,
    ) -> Option<Taken> {
        let (now, bounds) = (self.now, self.bounds);
        let (queue, budget) = self.queue_and_budget(at);
        let mut taken = Taken::default();
        let mut entries = Vec::with_capacity(messages.len());
        for message in messages {
            let is_current = !is_outdated(queue, &message);
            entries.push((taken.entry(message), is_current));
        }
        taken.is_lacking = queue.end_reading(from, entries, now, bounds, budget);
        Some(taken)
    }

    /// Lets workers that stayed free for a load go on with other queues.
    fn drain_workers_of(&mut self, at: QueueIndex, out: &mut Effects) {
        for id in self.queue(at).workers.clone() {
            self.drain(id, out);
        }
    }

    /// Drops a queue's contents if nobody is served from them soon.
    pub(super) fn cool(&mut self, at: QueueIndex) {
        let (queue, budget) = self.queue_and_budget(at);
        if queue.is_warm() {
            return;
        }
        if queue.convoy.is_some() {
            return queue.drop_ready(budget);
        }
        // One at most: the queue is in order.
        let leased = queue.in_flight.places().next();
        let keep = leased.filter(|&seq| queue.is_unfinished(seq));
        queue.window.drop_contents(queue.floor, keep, budget);
    }
}

/// Whether a newer revision was saved since it was read. Of what can't be read the record may be missing too; the
/// engine has it.
fn is_outdated(queue: &Queue, message: &StoredMessage) -> bool {
    let revision = message.record.as_ref().map(|record| record.revision);
    revision.unwrap_or_default() != queue.revision_of(message.seq) && message.unreadable.is_none()
}
