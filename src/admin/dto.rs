//! What goes over the admin API. The views are the model's; requests and problems are here.

mod broker;
mod bulk;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use broker::{ConfigView, DiskView, EventRequest, MessageRequest, StoreView, Timed};
pub use bulk::{
    BulkItem, BulkOutcome, BulkRequest, BulkResult, BulkResultPage, BulkState, BulkVerb, BulkView,
};

pub use crate::model::limits::{MAX_BULK_ITEMS, MAX_HOLD_MS, MAX_PAGE, MAX_PAYLOAD_BYTES};
pub use crate::model::{
    Accepted, Actor, Aggregate, Attempt, AttemptEnd, BrokerEvent, BulkNow, DeadLetterView,
    DeliveryId, DoorView, EVENT_TYPES, ErrorGroupId, ErrorGroupPage, ErrorGroupView, EventId,
    Filter, GatherDetail, GatherName, GatherPage, GatherState, GatherView, Generation, HeadView,
    HeaderTest, HoldView, IdempotencyKey, InFlightView, JournalEntry, JournalKind, JournalPage,
    KeyPage, KeyView, MessageFilter, MessageId, MessagePage, MessageState, MessageSummary,
    MessageView, MovedTo, Notice, OnError, Ordering, Overview, PathTest, PauseRecord, Payload,
    PoolAct, PoolProcess, PoolState, PoolView, ProcessState, Published, PurgePage, QueueName,
    QueueSettings, QueueState, QueueView, RecipientState, RecipientView, RedrivePage, Redriven,
    RepairOutcome, RepairRefusal, Revision, RevisionView, SagaAct, SagaDetail, SagaName, SagaPage,
    SagaState, SagaView, SchemaText, Seq, Staying, StepState, StepView, StoreHealth,
    SubscriptionChange, SubscriptionView, Timestamp, TopicDetail, TopicName, TopicPage,
    TopicSettings, TopicView, WorkError, WorkerState, WorkerView,
};

/// `GET /v1/queues/{queue}/schema`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaView {
    /// The schema as it was given, byte for byte; empty if the queue has none.
    pub text: String,
}

/// `POST /v1/queues/{queue}/messages/{seq}/repair`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairRequest {
    /// Names this repair: sent twice, it acts once.
    pub key: IdempotencyKey,
    /// The revision that was seen.
    pub expect_revision: Revision,
    /// What to do.
    pub action: RepairVerb,
    /// The new payload; for `save` and `save-and-retry` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// The new header, whole; unchanged if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<Object>))]
    pub header: Option<Map<String, Value>>,
    /// The queue that the message goes to, for `move` only; a dead letter goes back to its queue if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<QueueName>,
    /// Why; needed for `cancel`, and for a payload that isn't as its queue's schema says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What to do to a message; see `model::RepairAction`.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is documented at model::RepairAction")]
pub enum RepairVerb {
    Save,
    Retry,
    SaveAndRetry,
    Cancel,
    Restore,
    UndoSave,
    DeadLetter,
    Move,
}

/// `POST /v1/queues/{queue}/redrive`: one page of a dead-letter queue is looked at, and what the filter takes goes
/// back to the queues that it came from.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedriveRequest {
    /// Names this redrive: each message goes once under it.
    pub key: String,
    /// From this place on.
    pub from: Option<Seq>,
    /// Up to this place; the newest now if absent.
    pub until: Option<Seq>,
    /// How many messages are looked at.
    pub limit: Option<usize>,
    /// Which, in CEL; all if absent.
    pub filter: Option<String>,
    /// All go to this queue instead.
    pub to: Option<QueueName>,
    /// Only say what would go.
    pub dry_run: bool,
    /// Why.
    pub reason: String,
}

/// `POST /v1/workers/{name}/drain`, `…/restart`: all connected workers of the name.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainRequest {
    /// Why; the workers are told.
    pub reason: String,
}

/// The answer to that.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// How many were told.
    pub told: usize,
}

/// `POST /v1/pools/{name}/scale`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// How many processes.
    pub count: u32,
}

/// `POST …/hold`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// How long from now, in milliseconds; 0 gives the hold back.
    pub for_ms: u64,
}

/// `POST …/pause`, `POST …/drain` and `POST …/resume`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PauseRequest {
    /// Why.
    pub reason: String,
}

/// `POST …/delete`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeleteRequest {
    /// With the messages that wait in it; without this a queue with messages is refused.
    pub purge: bool,
    /// Why; needed with `purge` where there are messages.
    pub reason: String,
}

/// `POST …/purge`: one page of a queue is looked at, and what waits goes.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeRequest {
    /// From this place on.
    pub from: Option<Seq>,
    /// Up to this place; the newest now if absent.
    pub until: Option<Seq>,
    /// How many messages are looked at.
    pub limit: Option<usize>,
    /// Why; needed.
    pub reason: String,
}

/// `POST …/settings` and `POST …/create`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsRequest {
    /// By key as in the configuration, `retry.attempts` for a value in a table; `null`: as configured.
    #[cfg_attr(test, schema(value_type = Object))]
    pub set: serde_json::Map<String, serde_json::Value>,
    /// Why.
    pub reason: String,
}

/// `PUT /v1/topics/{topic}/subscriptions/{queue}`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionRequest {
    /// Which events, in CEL; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What if the filter fails.
    pub on_error: OnError,
}

/// `POST /v1/sagas/{id}/act`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SagaActRequest {
    /// What to do.
    pub act: SagaAct,
    /// The state that it was seen in: in another one nothing is done. Left out: whatever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_state: Option<SagaState>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// `POST /v1/store/backup`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// The folder on the broker's machine, which is made or is empty; an absolute path.
    #[cfg_attr(test, schema(value_type = String))]
    pub to: std::path::PathBuf,
}

/// A configured token, without its hash: `GET /v1/tokens`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// The journal's actor.
    pub name: String,
    /// `viewer`, `operator`, `editor`, `admin`, `producer` or `worker`.
    pub role: String,
    /// Rights of the role that it has not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Queues by name, or by how their names begin (`eu.*`).
    pub queues: Vec<String>,
    /// Whether it counts no more.
    pub revoked: bool,
}

/// The answer to `POST /v1/tokens/{name}/revoke`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// How many tokens count no more.
    pub revoked: usize,
}

/// Where a message is: `GET /v1/messages/{id}`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Located {
    /// Its queue.
    pub queue: QueueName,
    /// Its place.
    pub seq: Seq,
    /// Its state.
    pub state: MessageState,
}

/// What comes over `GET /v1/stream` as server-sent events, one JSON object each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "kebab-case")]
pub enum StreamEvent {
    /// First, and again every second: the broker is alive. Its age is what row 1 of the console shows.
    Overview(Overview),
    /// Queues that changed, coalesced to at most five times a second, or twice where much changes beside many
    /// streams; before `listed`, also all that there are, page by page.
    Queues(Vec<QueueView>),
    /// Every queue has been named since the stream's beginning: others are gone.
    Listed,
    /// All workers, when something about them changed, coalesced likewise.
    Workers(Vec<WorkerView>),
    /// Something happened.
    Notice(BrokerEvent),
    /// The watcher was too slow and missed some notices: read again what is shown.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// Something happened.
#[cfg(test)]
pub(crate) fn told(what: Notice) -> StreamEvent {
    let event_id = EventId { run: 1, number: 1 };
    StreamEvent::Notice(BrokerEvent { event_id, time: Timestamp(0), what })
}

/// An error of the API (RFC 9457 problem details).
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Where its kind is explained: `/v1/problems/` and the code.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// For programs; the kind again, as one of those that `GET /v1/problems` lists.
    pub code: String,
    /// The HTTP status again.
    pub status: u16,
    /// Its kind in a few words.
    pub title: String,
    /// What, where, what to do.
    pub detail: String,
    /// What was asked: the request's path and query.
    #[serde(default)]
    pub instance: String,
    /// A repair's refusal in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RepairRefusal>,
    /// When trying again may help, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// A kind of problem: `GET /v1/problems/{code}`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemKind {
    /// Where it is explained: what problems of this kind have as their `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For programs.
    pub code: String,
    /// In a few words.
    pub title: String,
    /// What to do.
    pub help: String,
}
