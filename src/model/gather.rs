//! Scatter-gather: one message to several queues, and their replies as one answer (design.md rule 11).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filter::{Filter, FilterError};
use super::ids::{GatherName, MessageId, QueueName, Seq, TopicName};
use super::limits::{DEFAULT_GATHER_TIMEOUT_MS, MAX_GATHER_RECIPIENTS};
use super::message::{Content, WorkError};
use super::time::Timestamp;
use super::topic::Subscription;

/// A gather, as `[gathers."name"]` in the configuration has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredGather {
    /// Its name.
    pub name: GatherName,
    /// How it goes.
    pub settings: GatherSettings,
}

/// How a gather goes.
#[derive(Debug, Clone, PartialEq)]
pub struct GatherSettings {
    /// Who is asked.
    pub recipients: Recipients,
    /// When it is over.
    pub complete: Completion,
    /// How long it lasts at most, in milliseconds.
    pub timeout_ms: u64,
    /// What becomes of the parts.
    pub aggregate: Aggregate,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Recipients {
    /// These queues, each if its filter takes the message.
    Fixed(Vec<Subscription>),
    /// The queues of the subscriptions to a topic that take the message.
    Topic(TopicName),
}

/// When a gather is over before its time.
#[derive(Debug, Clone, PartialEq)]
pub enum Completion {
    /// When all have replied.
    All,
    /// When so many have, at least 1.
    Count(u32),
    /// When this condition over the parts so far holds.
    When(Filter),
}

/// Why something is not a [`Completion`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompletionError {
    /// A number that can't be reached.
    #[error("{found} replies; from 1 to {MAX_GATHER_RECIPIENTS} can be waited for")]
    Count {
        /// The number.
        found: i128,
    },
    /// Neither a word, nor a number, nor a condition.
    #[error("\"all\", a number of replies, or a condition over `parts` is needed")]
    Kind,
    /// A condition that doesn't compile.
    #[error(transparent)]
    Condition(#[from] FilterError),
}

impl Completion {
    /// A number of replies.
    pub fn count(found: i128) -> Result<Self, CompletionError> {
        let count = u32::try_from(found).ok();
        let count = count.filter(|count| (1..=MAX_GATHER_RECIPIENTS as u32).contains(count));
        count.map(Self::Count).ok_or(CompletionError::Count { found })
    }

    /// `all`, or a condition.
    pub fn text(text: &str) -> Result<Self, CompletionError> {
        match text {
            "all" => Ok(Self::All),
            condition => Ok(Self::When(Filter::over_parts(condition)?)),
        }
    }

    /// As it stands in JSON.
    pub fn of_json(value: &Value) -> Result<Self, CompletionError> {
        match value {
            Value::String(text) => Self::text(text),
            Value::Number(number) => {
                let whole = number.as_i64().map(i128::from);
                Self::count(whole.ok_or(CompletionError::Kind)?)
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(CompletionError::Kind)
            }
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::All => "all".into(),
            Self::Count(count) => (*count).into(),
            Self::When(condition) => condition.text().into(),
        }
    }
}

/// What becomes of a gather's parts.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// A list, in the order of the recipients.
    #[default]
    List,
    /// One JSON object with the fields of all; of a field that several have, the last recipient's stays.
    Object,
}

/// GATHER. What it says beside the name goes before what the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct GatherRequest {
    /// A gather of the configuration.
    pub gather: Option<GatherName>,
    /// The message; an id has been made if the sender gave none.
    pub content: Content,
    /// Who is asked.
    pub recipients: Option<Vec<QueueName>>,
    /// When it is over.
    pub complete: Option<Completion>,
    /// How long it lasts at most, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// What becomes of the parts.
    pub aggregate: Option<Aggregate>,
}

impl GatherRequest {
    /// A gather that the configuration names.
    pub fn named(gather: GatherName, content: Content) -> Self {
        let (recipients, complete, timeout_ms, aggregate) = Default::default();
        Self { gather: Some(gather), content, recipients, complete, timeout_ms, aggregate }
    }

    /// Where it goes, for people: the gather's name, or its queues' with commas between.
    pub fn destination(&self) -> String {
        let queues = self.recipients.iter().flatten().map(QueueName::as_str);
        let name = self.gather.as_ref().map(|gather| gather.as_str().to_owned());
        name.unwrap_or_else(|| queues.collect::<Vec<_>>().join(","))
    }

    /// A gather over these queues, complete when all have replied.
    pub fn over(recipients: Vec<QueueName>, content: Content) -> Self {
        let (gather, complete, timeout_ms, aggregate) = Default::default();
        Self { gather, content, recipients: Some(recipients), complete, timeout_ms, aggregate }
    }

    /// What goes for it, given the configuration's word.
    pub fn settings(&self, configured: Option<&GatherSettings>) -> Option<GatherSettings> {
        let fixed = |queues: &Vec<QueueName>| {
            let subscription = |queue: &QueueName| Subscription {
                queue: queue.clone(),
                filter: None,
                on_error: Default::default(),
            };
            Recipients::Fixed(queues.iter().map(subscription).collect())
        };
        let recipients = self.recipients.as_ref().map(fixed);
        let or = configured.cloned();
        Some(GatherSettings {
            recipients: recipients.or_else(|| or.as_ref().map(|or| or.recipients.clone()))?,
            complete: self
                .complete
                .clone()
                .or_else(|| or.as_ref().map(|or| or.complete.clone()))
                .unwrap_or(Completion::All),
            timeout_ms: self
                .timeout_ms
                .or(or.as_ref().map(|or| or.timeout_ms))
                .unwrap_or(DEFAULT_GATHER_TIMEOUT_MS),
            aggregate: self.aggregate.or(or.map(|or| or.aggregate)).unwrap_or_default(),
        })
    }
}

/// A gather with `reply_to` is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatherAccepted {
    /// The message's id.
    pub id: MessageId,
    /// How many are asked.
    pub recipients: u64,
    /// It was accepted before; nobody is asked again.
    pub duplicate: bool,
}

/// How a gather ended (design.md rule 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatherStatus {
    /// All have replied.
    Complete,
    /// As many as it takes, or those that it takes.
    Quorum,
    /// Its time was over, or no reply could come any more.
    Partial,
}

impl GatherStatus {
    /// The word used in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Quorum => "quorum",
            Self::Partial => "partial",
        }
    }
}

/// The answer to GATHER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatherReply {
    /// The message's id.
    pub id: MessageId,
    /// How it ended.
    pub status: GatherStatus,
    /// Who has replied, in the order of the recipients.
    pub parts: Vec<QueueName>,
    /// Who has not, and why.
    pub missing: Vec<MissingPart>,
    /// Why the condition could not be told, the last time that it couldn't.
    pub condition_error: Option<String>,
    /// A list: as `parts`. An object: one.
    pub payloads: Vec<Bytes>,
}

/// A recipient without a part in the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingPart {
    /// Who.
    pub queue: QueueName,
    /// Its message's place.
    pub seq: Seq,
    /// For programs: `no-reply`, `blocked`, or how its message ended.
    pub code: String,
    /// For people.
    pub message: String,
}

/// How far a gather is, as operators see it.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatherState {
    /// Replies are waited for.
    Running,
    /// All have replied.
    Complete,
    /// As many as it takes, or those that it takes.
    Quorum,
    /// Its time was over, or no reply could come any more.
    Partial,
}

impl GatherState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Running, Self::Complete, Self::Quorum, Self::Partial];

    /// The word used in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => GatherStatus::Complete.as_str(),
            Self::Quorum => GatherStatus::Quorum.as_str(),
            Self::Partial => GatherStatus::Partial.as_str(),
        }
    }
}

impl From<Option<GatherStatus>> for GatherState {
    fn from(ended: Option<GatherStatus>) -> Self {
        match ended {
            None => Self::Running,
            Some(GatherStatus::Complete) => Self::Complete,
            Some(GatherStatus::Quorum) => Self::Quorum,
            Some(GatherStatus::Partial) => Self::Partial,
        }
    }
}

/// What has become of a gather's recipient.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipientState {
    /// There is none yet; at the gather's end, there was none.
    NoReply,
    /// Its message is blocked; once that is repaired it may reply.
    Blocked,
    /// Its reply is there.
    Replied,
    /// Its message has ended without a reply.
    Failed,
}

impl RecipientState {
    /// The word used in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoReply => "no-reply",
            Self::Blocked => "blocked",
            Self::Replied => "replied",
            Self::Failed => "failed",
        }
    }
}

/// A gather as operators see it. After its end it can be seen as long as its answer is kept.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatherView {
    /// The message's id.
    pub id: MessageId,
    /// Which one of the configuration, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gather: Option<GatherName>,
    /// How far it is.
    pub state: GatherState,
    /// When it is over: `"all"`, a number of replies, or a condition.
    pub complete: Value,
    /// What becomes of the replies.
    pub aggregate: Aggregate,
    /// When it began; absent of one that an earlier version began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// Its deadline; at its end, until when its answer is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Callers that wait for it.
    pub callers: u64,
    /// The queue that gets its answer, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<QueueName>,
    /// Why its condition could not be told, the last time that it couldn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_error: Option<String>,
    /// Who is asked.
    pub recipients: Vec<RecipientView>,
}

/// A gather's recipient as operators see it.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipientView {
    /// Who.
    pub queue: QueueName,
    /// Its message's place.
    pub seq: Seq,
    /// What has become of it.
    pub state: RecipientState,
    /// Why it is blocked, or has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WorkError>,
    /// Its reply's length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A gather with the replies so far.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatherDetail {
    /// The gather.
    pub gather: GatherView,
    /// The replies, in the recipients' order.
    pub replies: Vec<ReplyView>,
}

/// A recipient's reply.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyView {
    /// Whose.
    pub queue: QueueName,
    /// What its worker acknowledged with.
    pub payload: super::view::Payload,
}

/// A page of gathers, the oldest first.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GatherPage {
    /// The gathers.
    pub gathers: Vec<GatherView>,
    /// What to ask for with `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
