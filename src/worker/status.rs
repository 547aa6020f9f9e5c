//! What a worker does now, as its events tell it: for health checks and for people.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::options::WorkerEvent;
use crate::model::{DeliveryId, MessageId, QueueName, Seq};

/// Shared between who tells it (`apply`) and who shows it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Status(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    since: Instant,
    is_connected: bool,
    is_paused: bool,
    is_stopping: bool,
    work: BTreeMap<DeliveryId, Current>,
    counts: Counts,
}

/// A message that is being worked on.
#[derive(Debug, Clone)]
pub struct Current {
    /// The queue.
    pub queue: QueueName,
    /// The message's place.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// Which attempt.
    pub attempt: u32,
    /// Since when.
    pub since: Instant,
    /// How long it may take.
    pub limit: Duration,
    /// What its handler said last.
    pub note: String,
}

impl Current {
    /// How long it may still take; zero once it is over its limit.
    pub fn left(&self, now: Instant) -> Duration {
        self.limit.saturating_sub(now.duration_since(self.since))
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages done.
    pub done: u64,
    /// Messages that failed.
    pub failed: u64,
    /// Of those, or done all the same: over their limit.
    pub overruns: u64,
    /// Answers that came too late.
    pub stale: u64,
    /// Connections lost, or not made.
    pub away: u64,
    /// All work together.
    pub busy: Duration,
}

/// One look at it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When.
    pub at: Instant,
    /// How long it has run.
    pub up: Duration,
    /// READY was said and the connection holds.
    pub is_connected: bool,
    /// The broker has said that it gives nothing for now.
    pub is_paused: bool,
    /// A stop was asked for.
    pub is_stopping: bool,
    /// Each message that is being worked on, the oldest delivery first.
    pub work: Vec<(DeliveryId, Current)>,
    /// What has happened so far.
    pub counts: Counts,
}

impl Snapshot {
    /// No message is over its maximum execution time.
    pub fn is_healthy(&self) -> bool {
        self.work.iter().all(|(_, current)| !current.left(self.at).is_zero())
    }

    /// It takes messages.
    pub fn is_ready(&self) -> bool {
        self.is_connected && !self.is_paused && !self.is_stopping
    }
}

impl Default for Status {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            since: Instant::now(),
            is_connected: false,
            is_paused: false,
            is_stopping: false,
            work: BTreeMap::new(),
            counts: Counts::default(),
        })))
    }
}

impl Status {
    /// Takes in what has happened.
    pub fn apply(&self, event: &WorkerEvent) {
        let mut state = self.state();
        let State { counts, work, .. } = &mut *state;
        match event {
            WorkerEvent::Ready => {
                state.is_connected = true;
                state.is_paused = false;
                // It was told to begin anew.
                state.is_stopping = false;
            }
            WorkerEvent::Away { .. } => {
                counts.away += 1;
                state.is_connected = false;
            }
            WorkerEvent::Started { delivery, queue, seq, id, attempt, limit } => {
                let current = Current {
                    queue: queue.clone(),
                    seq: *seq,
                    id: id.clone(),
                    attempt: *attempt,
                    since: Instant::now(),
                    limit: *limit,
                    note: String::new(),
                };
                work.insert(*delivery, current);
            }
            WorkerEvent::Progress { delivery, note } => {
                if let Some(current) = work.get_mut(delivery) {
                    current.note.clone_from(note);
                }
            }
            WorkerEvent::Overrun(_) => counts.overruns += 1,
            WorkerEvent::Finished { delivery, took, error, .. } => {
                work.remove(delivery);
                counts.busy += *took;
                match error {
                    None => counts.done += 1,
                    Some(_) => counts.failed += 1,
                }
            }
            WorkerEvent::Stale { .. } => counts.stale += 1,
            WorkerEvent::Rejected(_) => {}
            WorkerEvent::Paused { .. } => state.is_paused = true,
            WorkerEvent::Resumed { .. } => state.is_paused = false,
            WorkerEvent::Stopping { .. } => state.is_stopping = true,
        }
    }

    /// How it is now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let at = Instant::now();
        Snapshot {
            at,
            up: at.duration_since(state.since),
            is_connected: state.is_connected,
            is_paused: state.is_paused,
            is_stopping: state.is_stopping,
            work: state.work.iter().map(|(id, current)| (*id, current.clone())).collect(),
            counts: state.counts,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }
}
