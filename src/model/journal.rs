//! Who did what, when, why.

use serde::{Deserialize, Serialize};

use super::ids::{IdempotencyKey, MessageId, QueueName, Revision, Seq};
use super::time::Timestamp;

/// Who acts: a person on the admin API, or the broker itself.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The user's name by the socket's peer credentials, or `broker`.
    pub name: String,
    /// Through what: `console`, `cli`, `api` or `broker`.
    pub via: String,
}

impl Actor {
    /// The broker itself.
    pub fn broker() -> Self {
        Self { name: "broker".to_owned(), via: "broker".to_owned() }
    }
}

/// One line of the journal; append-only, in the same commit as what it tells of.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// From 1, each one more than the one before. Entries that are not needed any more go, so that a list has gaps.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub kind: JournalKind,
    /// On which queue.
    pub queue: QueueName,
    /// On which message's place.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seq: Option<Seq>,
    /// On which message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// Where the message went.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<QueueName>,
    /// The content's revision after it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision: Option<Revision>,
    /// The operator's reason, or the error that blocked.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    /// The repair's idempotency key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<IdempotencyKey>,
}

/// What happened.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalKind {
    /// A queue was made.
    QueueCreated,
    /// A queue was deleted, with what was in it.
    QueueDeleted,
    /// An operator took out of a queue what waited in it.
    QueuePurged,
    /// An operator changed settings.
    SettingsChanged,
    /// An operator stopped delivery.
    Paused,
    /// An operator closed it to new messages.
    Draining,
    /// An operator let it go on.
    Resumed,
    /// A message failed for good.
    Blocked,
    /// A message failed for good and was dropped, as its queue's `on_failure` says.
    Dropped,
    /// A new revision was saved.
    Saved,
    /// A message was made ready again.
    Retried,
    /// A new revision was saved and made ready again.
    SavedAndRetried,
    /// A message was taken out.
    Cancelled,
    /// An operator sent a message to the dead-letter queue.
    SentToDeadLetters,
    /// An operator sent a message to another queue, or back to where it was dead-lettered.
    Moved,
    /// A cancelled message was put back in its place.
    Restored,
    /// The last saved revision was taken back.
    RevisionUndone,
    /// An operator let a parked saga try its compensation again.
    SagaRetried,
    /// An operator said that a saga's step needs no compensation.
    SagaSkipped,
    /// An operator aborted a saga.
    SagaAborted,
    /// The queue gets events of a topic from now on, or others.
    Subscribed,
    /// The queue doesn't get a topic's events any more.
    Unsubscribed,
    /// A worker held a message for longer than its lease, and is given nothing more until it answers.
    WorkerFenced,
    /// A saga's compensation failed, and an operator is needed. The event of it has the step and the error by themselves.
    SagaParked,
}

impl JournalKind {
    /// The word used in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueCreated => "queue-created",
            Self::QueueDeleted => "queue-deleted",
            Self::QueuePurged => "queue-purged",
            Self::SettingsChanged => "settings-changed",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Resumed => "resumed",
            Self::Blocked => "blocked",
            Self::Dropped => "dropped",
            Self::Saved => "saved",
            Self::Retried => "retried",
            Self::SavedAndRetried => "saved-and-retried",
            Self::Cancelled => "cancelled",
            Self::SentToDeadLetters => "sent-to-dead-letters",
            Self::Moved => "moved",
            Self::Restored => "restored",
            Self::RevisionUndone => "revision-undone",
            Self::SagaRetried => "saga-retried",
            Self::SagaSkipped => "saga-skipped",
            Self::SagaAborted => "saga-aborted",
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
            Self::WorkerFenced => "worker-fenced",
            Self::SagaParked => "saga-parked",
        }
    }
}
