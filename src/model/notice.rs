//! What happened, for those who watch: the admin API's streams, logs, later doors and alerts.

use serde::{Deserialize, Serialize};

use super::answer::RejectCode;
use super::gather::GatherStatus;
use super::ids::{GatherName, MessageId, QueueName, SagaName, Seq, TopicName};
use super::journal::JournalEntry;
use super::message::WorkError;
use super::saga::SagaState;
use super::topic::OnError;

/// What happened. Told after the commit that made it true, as a [`super::BrokerEvent`], which says how it looks in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "details", rename_all = "kebab-case")]
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
    /// No message of the queue is blocked any more.
    Unblocked {
        /// The queue.
        queue: QueueName,
    },
    /// A message left its queue for a dead-letter queue, or an event went there as it was published.
    DeadLettered {
        /// The queue that it left, or that subscribed with a filter that failed; of an event that no subscription
        /// takes, the dead-letter queue.
        queue: QueueName,
        /// Its place there; events have had none.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        seq: Option<Seq>,
        /// The topic of an event.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        topic: Option<TopicName>,
        /// Its id.
        id: MessageId,
        /// Why: `rejected`, `expired`, `attempts`, `max-length`, `filter`, `unroutable`, …
        reason: String,
        /// The dead-letter queue.
        to: QueueName,
        /// Its place in that.
        to_seq: Seq,
    },
    /// Another worker is active in an exclusive queue now: the one before went, or let a lease run out.
    TakenOver {
        /// The queue.
        queue: QueueName,
        /// Its name.
        #[serde(rename = "worker")]
        name: String,
    },
    /// A worker said READY.
    WorkerReady {
        /// Its name.
        #[serde(rename = "worker")]
        name: String,
        /// What it serves.
        queues: Vec<QueueName>,
    },
    /// A worker went away.
    WorkerGone {
        /// Its name.
        #[serde(rename = "worker")]
        name: String,
        /// Why: `bye`, `disconnected`, `silent`.
        reason: String,
        /// Leases that it lost.
        lost: usize,
    },
    /// A worker wasn't heard for too long: it gets nothing until it is heard again, and what it held goes to others.
    WorkerSilent {
        /// Its name.
        #[serde(rename = "worker")]
        name: String,
        /// For how long, in milliseconds.
        silent_ms: u64,
        /// Leases that it lost.
        lost: usize,
    },
    /// A supervised worker's process ended by itself, or was ended since it didn't do its work.
    WorkerExited {
        /// Its name.
        #[serde(rename = "worker")]
        name: String,
        /// How.
        how: String,
        /// When it is started again, in milliseconds; not any more if absent.
        again_in_ms: Option<u64>,
    },
    /// Processes of a supervised worker ended too often: no more are started, and its queues are paused.
    RestartLimit {
        /// Its name in the configuration.
        #[serde(rename = "worker")]
        name: String,
        /// How many have ended.
        restarts: u64,
        /// In how long, in milliseconds.
        within_ms: u64,
        /// How the last one did.
        how: String,
    },
    /// A worker raised an alert.
    WorkerAlert {
        /// Its name.
        #[serde(rename = "worker")]
        name: String,
        /// Its word for it.
        alert: String,
        /// Its text.
        message: String,
    },
    /// A rule of `[alerts]` speaks.
    Alert {
        /// Which.
        rule: String,
        /// What it is about; empty for the broker itself.
        subject: String,
        /// The queue, if it is about one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        queue: Option<QueueName>,
        /// For people.
        message: String,
        /// How often it was not told since it was told last.
        kept_back: u64,
    },
    /// A late answer to a lease that was over.
    Stale {
        /// The worker's name.
        #[serde(rename = "worker")]
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
    /// What came by a door that answers nobody was refused.
    Refused {
        /// `push` or `feed`.
        door: String,
        /// The queue that it was for, where it could be read.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        queue: Option<QueueName>,
        /// Its id; one of the broker's if it has none of its own.
        id: MessageId,
        /// As for a client.
        code: RejectCode,
        /// As for a client.
        reason: String,
        /// The dead-letter queue where it is now; absent if it is lost.
        to: Option<QueueName>,
        /// How many were refused since the last such event, this one included.
        count: u64,
    },
    /// A saga has begun.
    SagaStarted {
        /// Its id.
        id: MessageId,
        /// Which one.
        saga: SagaName,
    },
    /// A step has failed, or an operator has aborted it: what was done is taken back.
    SagaCompensating {
        /// Its id.
        id: MessageId,
        /// Which one.
        saga: SagaName,
        /// Why.
        error: WorkError,
    },
    /// A compensation has failed: the saga waits for an operator.
    SagaParked {
        /// Its id.
        id: MessageId,
        /// Which one.
        saga: SagaName,
        /// The step that can't be taken back.
        step: String,
        /// Why.
        error: WorkError,
    },
    /// A saga is at its end.
    SagaEnded {
        /// Its id.
        id: MessageId,
        /// Which one.
        saga: SagaName,
        /// How.
        state: SagaState,
    },
    /// A gather has asked its recipients.
    GatherStarted {
        /// Its id.
        id: MessageId,
        /// Which one, if the configuration names it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        gather: Option<GatherName>,
        /// How many are asked.
        recipients: u64,
    },
    /// A gather is at its end.
    GatherEnded {
        /// Its id.
        id: MessageId,
        /// Which one, if the configuration names it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        gather: Option<GatherName>,
        /// How.
        status: GatherStatus,
        /// How many have replied.
        replied: u64,
        /// How many have not.
        missing: u64,
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
    /// Told to one who follows only: it was too slow, or came back too late.
    Missed {
        /// How many events it missed before this, those included that it didn't ask for; absent after the broker has
        /// started anew.
        events: Option<u64>,
    },
}

impl Notice {
    /// The event's type: the word in JSON, in filters and in a live topic. A journal entry's is its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Journal { entry } => entry.kind.as_str(),
            Self::AttemptFailed { .. } => "attempt-failed",
            Self::Recovered { .. } => "recovered",
            Self::Unblocked { .. } => "unblocked",
            Self::DeadLettered { .. } => "dead-lettered",
            Self::TakenOver { .. } => "taken-over",
            Self::WorkerReady { .. } => "worker-ready",
            Self::WorkerGone { .. } => "worker-gone",
            Self::WorkerSilent { .. } => "worker-silent",
            Self::WorkerExited { .. } => "worker-exited",
            Self::RestartLimit { .. } => "restart-limit",
            Self::WorkerAlert { .. } => "worker-alert",
            Self::Alert { .. } => "alert",
            Self::Stale { .. } => "stale",
            Self::FilterFailed { .. } => "filter-failed",
            Self::Refused { .. } => "refused",
            Self::SagaStarted { .. } => "saga-started",
            Self::SagaCompensating { .. } => "saga-compensating",
            Self::SagaParked { .. } => "saga-parked",
            Self::SagaEnded { .. } => "saga-ended",
            Self::GatherStarted { .. } => "gather-started",
            Self::GatherEnded { .. } => "gather-ended",
            Self::StoreDown { .. } => "store-down",
            Self::StoreUp => "store-up",
            Self::StoreFull { .. } => "store-full",
            Self::StoreHasRoom => "store-has-room",
            Self::Missed { .. } => "missed",
        }
    }

    /// The queue that it is about, if about one.
    pub const fn queue(&self) -> Option<&QueueName> {
        match self {
            Self::Journal { entry } => Some(&entry.queue),
            Self::AttemptFailed { queue, .. }
            | Self::Recovered { queue, .. }
            | Self::Unblocked { queue }
            | Self::TakenOver { queue, .. }
            | Self::DeadLettered { queue, .. }
            | Self::FilterFailed { queue, .. } => Some(queue),
            Self::Refused { queue, .. } | Self::Alert { queue, .. } => queue.as_ref(),
            Self::WorkerReady { .. }
            | Self::WorkerGone { .. }
            | Self::WorkerSilent { .. }
            | Self::WorkerExited { .. }
            | Self::RestartLimit { .. }
            | Self::WorkerAlert { .. }
            | Self::Stale { .. }
            | Self::SagaStarted { .. }
            | Self::SagaCompensating { .. }
            | Self::SagaParked { .. }
            | Self::SagaEnded { .. }
            | Self::GatherStarted { .. }
            | Self::GatherEnded { .. }
            | Self::StoreDown { .. }
            | Self::StoreUp
            | Self::StoreFull { .. }
            | Self::StoreHasRoom
            | Self::Missed { .. } => None,
        }
    }
}
