//! What a producer or caller is told.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ids::{MessageId, QueueName, Seq};
use super::message::WorkError;
use super::state::MessageState;

/// A message is durable.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The message's id.
    pub id: MessageId,
    /// Its queue.
    pub queue: QueueName,
    /// Its place there; a duplicate's is the first one's.
    pub seq: Seq,
    /// The same id had been accepted inside the de-duplication window; nothing was added.
    pub duplicate: bool,
}

/// Why something was not done (`REJECTED`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The message's id where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<MessageId>,
    /// For programs.
    pub code: RejectCode,
    /// For people: what, where, what to do.
    pub reason: String,
    /// When trying again may help, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

impl Rejection {
    /// A rejection that trying again won't change.
    pub fn new(code: RejectCode, reason: impl Into<String>) -> Self {
        Self { id: None, code, reason: reason.into(), retry_after_ms: None }
    }

    /// The same, with a hint when to try again.
    #[must_use]
    pub fn retry_after(self, ms: u64) -> Self {
        Self { retry_after_ms: Some(ms), ..self }
    }

    /// The same, about this message.
    #[must_use]
    pub fn of(self, id: MessageId) -> Self {
        Self { id: Some(id), ..self }
    }
}

/// The codes of protocol.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "protocol.md defines each; the names are the wire's")]
pub enum RejectCode {
    Malformed,
    Unsupported,
    Unauthorized,
    Forbidden,
    NoSuchQueue,
    TooLarge,
    Schema,
    Full,
    Busy,
    Expired,
    Draining,
    Unroutable,
    StoreUnavailable,
    Internal,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallStatus {
    /// The worker acknowledged; its reply's payload follows.
    Ok,
    /// An operator cancelled the message, or it ended without success.
    Failed,
    /// No end within `timeout_ms`; the message stays in its queue.
    Timeout,
    /// The message blocked its queue; it stays there for an operator.
    Blocked,
}

/// The answer to CALL (`REPLY`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallReply {
    /// The message's id.
    pub id: MessageId,
    /// How it ended.
    pub status: CallStatus,
    /// Why, unless ok.
    pub error: Option<WorkError>,
    /// The worker's reply; empty unless ok.
    pub payload: Bytes,
}

/// A part of the answer to CALL, before its end (`REPLY` with `status: part`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPart {
    /// The message's id.
    pub id: MessageId,
    /// Of which attempt, from 1: a further one begins its parts anew.
    pub attempt: u32,
    /// Which part of that attempt, from 1.
    pub part: u32,
    /// The worker's part.
    pub payload: Bytes,
}

/// The answer to STATUS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The message's id.
    pub id: MessageId,
    /// Where it is on its way.
    pub state: MessageState,
    /// Its queue.
    pub queue: QueueName,
    /// Its place there.
    pub seq: Seq,
    /// Deliveries so far.
    pub attempt: u32,
    /// The last failure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<WorkError>,
}
