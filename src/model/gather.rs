//! Scatter-gather: one message to several queues, and their replies as one answer (design.md rule 11).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filter::{Filter, FilterError};
use super::ids::{GatherName, MessageId, QueueName, Seq, TopicName};
use super::limits::{DEFAULT_GATHER_TIMEOUT_MS, MAX_GATHER_RECIPIENTS};
use super::message::Content;
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
