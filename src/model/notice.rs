//! What happened, for those who watch: the admin API's stream, logs, later alerts.

use serde::{Deserialize, Serialize};

use super::ids::{MessageId, QueueName, Seq, TopicName};
use super::journal::JournalEntry;
use super::message::WorkError;
use super::topic::OnError;

/// One event. Told after the commit that made it true.
///
/// Adjacently tagged, tag first: an internally tagged enum buffers its fields, which serde_json's exact
/// numbers don't survive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "kebab-case")]
pub enum Notice {
    /// Something was written into the journal: a repair, a pause, a blocked queue.
    Journal {
        /// The entry.
        entry: JournalEntry,
    },
    /// An attempt failed and will be tried again.
    AttemptFailed {
        /// The queue.
        queue: QueueName,
        /// The message's place.
        seq: Seq,
        /// Its id.
        id: MessageId,
        /// Which attempt.
        attempt: u32,
        /// Why.
        error: WorkError,
        /// The pause before the next, in milliseconds.
        retry_in_ms: u64,
    },
    /// The first delivery after a retry by an operator succeeded: the head advanced.
    Recovered {
        /// The queue.
        queue: QueueName,
        /// The message's place.
        seq: Seq,
        /// Its id.
        id: MessageId,
    },
    /// A worker said READY.
    WorkerReady {
        /// Its name.
        name: String,
        /// What it serves.
        queues: Vec<QueueName>,
    },
    /// A worker went away.
    WorkerGone {
        /// Its name.
        name: String,
        /// Why: `bye`, `disconnected`, `silent`.
        reason: String,
        /// Leases that it lost.
        lost: usize,
    },
    /// A worker raised an alert.
    WorkerAlert {
        /// Its name.
        name: String,
        /// Its word for it.
        alert: String,
        /// Its text.
        message: String,
    },
    /// A late answer to a lease that was over.
    Stale {
        /// The worker's name.
        name: String,
    },
    /// Filters of subscriptions couldn't tell whether an event passes. Once for an event.
    FilterFailed {
        /// The topic.
        topic: TopicName,
        /// The event's id.
        id: MessageId,
        /// How many subscriptions.
        failed: u64,
        /// The queue of the first of them.
        queue: QueueName,
        /// Why its filter failed.
        error: String,
        /// What happens to the event there.
        on_error: OnError,
    },
    /// The store can't be written; publishing is refused.
    StoreDown {
        /// Why.
        reason: String,
    },
    /// The store was recovered; publishing goes on.
    StoreUp,
    /// The store's disk has too little room left: publishing is refused, deliveries, acks and repairs go on.
    StoreFull {
        /// How much is left, and at how much publishing goes on.
        reason: String,
    },
    /// The store's disk has room again; publishing goes on.
    StoreHasRoom,
}
