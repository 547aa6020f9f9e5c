//! How a worker runs, and what it tells of itself meanwhile.

use std::time::Duration;

use crate::model::limits::{HEARTBEAT_MISSES, HEARTBEAT_MS};
use crate::model::{
    DeliveryId, Hidden, MessageId, QueueName, Rejection, Seq, WorkError, WorkerInfo,
};

/// What a worker serves, where and how.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The broker's workers' door, e.g. `tcp://127.0.0.1:5556`.
    pub endpoint: String,
    /// What it shows in HELLO, where the broker asks for a token.
    pub token: Option<Hidden>,
    /// What it serves, from 1 to `limits::MAX_WORKER_QUEUES`.
    pub queues: Vec<QueueName>,
    /// How many messages it takes at once, from 1 to `limits::MAX_CREDIT`.
    pub credit: u32,
    /// What it says of itself.
    pub info: WorkerInfo,
    /// How long one message may take; a header's `max_execution_ms` lowers it.
    pub max_execution: Duration,
    /// How long a message that has reached its limit is let end by itself, before it is ended.
    pub overrun_grace: Duration,
    /// How long running messages may still take after a stop was asked for.
    pub stop_grace: Duration,
    /// Heartbeats and reconnection.
    pub pace: Pace,
}

impl WorkerOptions {
    /// One message at a time, each for a minute at most; all else can be changed.
    pub fn new(endpoint: &str, queues: Vec<QueueName>) -> Self {
        let info = WorkerInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            pid: Some(std::process::id()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..WorkerInfo::default()
        };
        Self {
            endpoint: endpoint.to_owned(),
            token: None,
            queues,
            credit: 1,
            info,
            max_execution: Duration::from_secs(60),
            overrun_grace: Duration::from_secs(2),
            stop_grace: Duration::from_secs(10),
            pace: Pace::new(fastrand::u64(..)),
        }
    }
}

/// The rhythm of a worker's connection.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Silent intervals after which the broker is taken for gone.
    pub misses: u32,
    /// How long connecting may take.
    pub connect_limit: Duration,
    /// The first pause before connecting again; doubles up to `max_pause`, half of it at random.
    pub min_pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
    /// Spreads the pauses of many workers.
    pub seed: u64,
}

impl Pace {
    /// The protocol's heartbeats; pauses from 100 ms, so that a broker's restart is hardly noticed, to
    /// 5 s, so that a broker that is back is found within a lease.
    pub fn new(seed: u64) -> Self {
        Self {
            heartbeat: Duration::from_millis(HEARTBEAT_MS),
            misses: u32::try_from(HEARTBEAT_MISSES).expect("a small number"),
            connect_limit: Duration::from_secs(5),
            min_pause: Duration::from_millis(100),
            max_pause: Duration::from_secs(5),
            seed,
        }
    }

    /// How long the broker may be silent.
    pub(super) fn silence(&self) -> Duration {
        self.heartbeat * self.misses
    }
}

/// What happens in a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEvent {
    /// Connected; READY was said.
    Ready,
    /// Not connected; the next try comes after a pause.
    Away {
        /// Why.
        reason: String,
        /// The pause.
        pause: Duration,
    },
    /// A message is being worked on.
    Started {
        /// The lease.
        delivery: DeliveryId,
        /// The queue.
        queue: QueueName,
        /// The message's place.
        seq: Seq,
        /// Its id.
        id: MessageId,
        /// Which attempt.
        attempt: u32,
        /// How long it may take.
        limit: Duration,
    },
    /// A handler tells how far it is.
    Progress {
        /// The lease.
        delivery: DeliveryId,
        /// Its words.
        note: String,
    },
    /// A message takes longer than it may. Its end follows as `Finished`.
    Overrun(Overrun),
    /// The work of one message is over.
    Finished {
        /// The lease.
        delivery: DeliveryId,
        /// The queue.
        queue: QueueName,
        /// The message's place.
        seq: Seq,
        /// How long it took.
        took: Duration,
        /// Why it failed; `None`: done.
        error: Option<WorkError>,
    },
    /// The lease was over; what was done for it changes nothing.
    Stale {
        /// The lease.
        delivery: DeliveryId,
    },
    /// The broker gives nothing more until `Resumed`.
    Paused {
        /// Why.
        reason: String,
    },
    /// And gives messages again.
    Resumed {
        /// Why.
        reason: String,
    },
    /// The broker could not understand or do something.
    Rejected(Rejection),
    /// A stop was asked for.
    Stopping {
        /// Messages still being worked on.
        running: usize,
    },
}

/// A message that takes longer than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overrun {
    /// The lease.
    pub delivery: DeliveryId,
    /// The queue.
    pub queue: QueueName,
    /// The message's place.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// How long it might take.
    pub limit: Duration,
}
