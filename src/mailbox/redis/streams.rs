//! What the store's threads and the poller share: connections, queues, and whether Redis is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Client;

use super::RedisOptions;
use super::leftover::Leftover;
use super::link::{self, Fault, Link, RedisConfigError};
use super::mark::Mark;
use crate::mailbox::MailboxError;
use crate::model::{Generation, QueueId, QueueName, Seq, StreamId};

/// The Redis streams of one broker. It outlives the local store when that is opened again.
pub struct Streams {
    pub(super) options: RedisOptions,
    /// `None`: no address is configured.
    pub(super) client: Option<Client>,
    state: Mutex<State>,
    /// Something of `state` changed that the poller may wait for.
    changed: Condvar,
    /// The append thread's connection.
    pub(super) keeper: Mutex<Option<Link>>,
    /// The readers' connection.
    pub(super) reader: Mutex<Option<Link>>,
}

/// Whether Redis may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    Up,
    /// It may not, until the poller has found it to be there.
    Down(String),
}

/// What is known.
#[derive(Debug)]
pub(super) struct State {
    pub(super) reach: Reach,
    /// This run of the local store.
    pub(super) generation: Generation,
    pub(super) queues: BTreeMap<QueueId, Stream>,
}

/// A queue that has, or had, payloads in Redis.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: String,
    /// As of the last commit. Its removals are those that are not done yet.
    pub(super) mark: Mark,
    /// The poller looks for what others add: the queue's settings name Redis.
    pub(super) is_fed: bool,
    /// The newest entry of others that was committed.
    pub(super) taken: StreamId,
    /// How far the poller has looked.
    pub(super) position: StreamId,
    /// The newest entry that the poller has told of and that is not committed.
    pub(super) told: Option<StreamId>,
    /// Places of this run whose `XADD` had no answer, until later ones are found: what is found of them goes.
    pub(super) doubtful: BTreeSet<Seq>,
    /// Durably finished, or of nobody: to be removed.
    pub(super) removable: Vec<StreamId>,
    /// The queue is gone, and this is in its stream.
    pub(super) leftover: Option<Leftover>,
}

impl Stream {
    fn new(key: String, mark: Mark, is_fed: bool) -> Self {
        let seen = mark.seen;
        let removable = mark.removals.clone();
        Self {
            key,
            mark,
            is_fed,
            taken: seen,
            position: seen,
            told: None,
            doubtful: BTreeSet::new(),
            removable,
            leftover: None,
        }
    }

    /// Up to where everything is the broker's own or committed, once others' entries up to `taken` are.
    pub(super) fn seen(&self, taken: StreamId) -> StreamId {
        match self.told {
            Some(told) if told > taken => taken,
            Some(_) | None => taken.max(self.position),
        }
    }
}

impl Stream {
    /// Its queue is gone for good: what it has in the stream goes.
    fn leave(&mut self) {
        let seen = self.seen(self.taken);
        self.leftover = Some(Leftover::There { seen });
        // They are among that.
        self.removable.clear();
        self.mark.removals.clear();
    }
}

impl State {
    /// Streams of queues that are gone, once all that they had in Redis is removed.
    pub(super) fn forget_removed(&mut self) {
        self.queues.retain(|_, stream| stream.leftover != Some(Leftover::Nothing));
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Streams {
    /// Reads what the options name; connects to nothing. Redis counts as unreachable until a
    /// [`super::RedisPoller`] has reached it; for ever, without an address.
    pub fn new(options: RedisOptions) -> Result<Self, RedisConfigError> {
        let (client, reason) = if options.url.is_empty() {
            (None, "redis.url is not set")
        } else {
            (Some(link::client(&options)?), "not connected yet")
        };
        let state = State {
            reach: Reach::Down(reason.to_owned()),
            generation: Generation(0),
            queues: BTreeMap::new(),
        };
        Ok(Self {
            options,
            client,
            state: Mutex::new(state),
            changed: Condvar::new(),
            keeper: Mutex::new(None),
            reader: Mutex::new(None),
        })
    }

    /// Is there an address?
    pub fn is_configured(&self) -> bool {
        self.client.is_some()
    }

    /// What is kept is changed in single steps that don't panic.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for [`Streams::tell`], for so long at most.
    pub(super) fn wait(&self, limit: Duration) {
        // What it waits for is looked at by who waits, again and again: waking too early does nothing.
        drop(self.changed.wait_timeout(self.state(), limit));
    }

    /// Wakes the poller.
    pub(super) fn tell(&self) {
        self.changed.notify_all();
    }

    /// Nobody asks Redis any more, until the poller has found it again.
    pub(super) fn set_down(&self, fault: &Fault) {
        let mut state = self.state();
        if state.reach == Reach::Up {
            tracing::warn!(reason = %fault, "Redis can't be reached");
            state.reach = Reach::Down(fault.to_string());
        }
        drop(state);
        self.tell();
    }

    /// An error with the reason, while Redis may not be asked.
    pub(super) fn check_reach(&self) -> Result<(), MailboxError> {
        match &self.state().reach {
            Reach::Up => Ok(()),
            Reach::Down(reason) => Err(MailboxError::Unreachable { reason: reason.clone() }),
        }
    }

    /// Forgets what was known of queues: the local store has been opened anew. What those that were removed have left
    /// stays known, until they turn out to be there.
    pub(super) fn begin(&self, generation: Generation) {
        let mut state = self.state();
        state.generation = generation;
        state.queues.retain(|_, stream| stream.leftover.is_some());
    }

    /// All queues that there are have been put: a removal that wasn't known to be durable is.
    pub(super) fn begun(&self) {
        let mut state = self.state();
        let gone = state.queues.values_mut();
        for stream in gone.filter(|stream| stream.leftover == Some(Leftover::Unsynced)) {
            stream.leave();
        }
    }

    /// A queue is there.
    pub(super) fn put(&self, queue: QueueId, name: &QueueName, mark: Option<Mark>, is_fed: bool) {
        let mut state = self.state();
        if state.queues.get(&queue).is_some_and(|stream| stream.leftover.is_some()) {
            // Its removal was lost with the commit that it was in.
            state.queues.remove(&queue);
        }
        match state.queues.get_mut(&queue) {
            Some(stream) => stream.is_fed = is_fed,
            None if mark.is_none() && !is_fed => {}
            None => {
                let mark = mark.unwrap_or_else(|| Mark::new(fastrand::u64(1..)));
                let key = format!("{}{name}", self.options.prefix);
                state.queues.insert(queue, Stream::new(key, mark, is_fed));
            }
        }
        drop(state);
        self.tell();
    }

    /// Places of this run whose `XADD` had no answer.
    pub(super) fn doubt(&self, places: impl Iterator<Item = (QueueId, Seq)>) {
        let mut state = self.state();
        for (queue, seq) in places {
            if let Some(stream) = state.queues.get_mut(&queue) {
                stream.doubtful.insert(seq);
            }
        }
    }

    /// Removes entries, and all of queues that are gone, once the poller comes by.
    pub(super) fn remove(
        &self,
        finished: impl IntoIterator<Item = (QueueId, StreamId)>,
        gone: impl IntoIterator<Item = QueueId>,
    ) {
        let mut state = self.state();
        for (queue, id) in finished {
            if let Some(stream) = state.queues.get_mut(&queue) {
                stream.removable.push(id);
            }
        }
        for queue in gone {
            if let Some(stream) = state.queues.get_mut(&queue) {
                stream.leave();
            }
        }
        drop(state);
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_opened_again_says_which_removals_it_has() {
        let streams = Streams::new(RedisOptions::default()).unwrap();
        let name = QueueName::new("bills").unwrap();
        streams.begin(Generation(1));
        let ids = [1, 2, 3].map(QueueId);
        for id in ids {
            streams.put(id, &name, None, true);
        }
        for id in &ids[..2] {
            let mut state = streams.state();
            state.queues.get_mut(id).unwrap().leftover = Some(Leftover::Unsynced);
        }
        streams.remove([], [ids[0]]);
        // The second one's removal was in a commit that failed, and yet is there; then it isn't.
        for (is_there, expected) in [(false, Some(true)), (true, None)] {
            streams.begin(Generation(2));
            if is_there {
                streams.put(ids[1], &name, None, false);
            }
            streams.begun();
            let state = streams.state();
            let is_leaving = |id: &QueueId| {
                let stream = state.queues.get(id)?;
                Some(matches!(stream.leftover, Some(Leftover::There { .. })))
            };
            assert_eq!(ids.each_ref().map(is_leaving), [Some(true), expected, None]);
        }
    }
}
