//! A message and what workers say of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::header::Header;
use super::ids::MessageId;
use super::limits;

/// Header and payload of a message, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The checked header.
    pub header: Header,
    /// The payload: bytes that the broker never parses and writes back.
    pub payload: Bytes,
}

/// A message as it is sent and delivered.
pub type Message = Content;

impl Content {
    /// The message's id.
    pub fn id(&self) -> &MessageId {
        self.header.id()
    }

    /// What stands for a content that can't be read: the message's id, no payload.
    pub fn placeholder(id: &MessageId) -> Self {
        let json = serde_json::json!({ "id": id }).to_string();
        let header = Header::from_json(json.as_bytes()).expect("an id alone is a valid header");
        Self { header, payload: Bytes::new() }
    }

    /// Header and payload in bytes: what bounds and counters count.
    pub fn size_bytes(&self) -> u64 {
        (self.header.json().len() + self.payload.len()) as u64
    }
}

/// Why a worker could not do a message (the `error` of a NACK).
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkError {
    /// A short, stable word, e.g. `exit-1`, `timeout`, `lease-over`, `worker-lost`.
    pub code: String,
    /// One line for the operator.
    pub message: String,
    /// More, e.g. the tail of stderr.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl WorkError {
    /// An error without more to say than one line.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), detail: String::new() }
    }

    /// As much of it as the broker keeps. It fits a header, even if JSON makes six bytes of each: a NACK that is refused
    /// would leave the lease to run out, and its reason unknown.
    #[must_use]
    pub fn clipped(mut self) -> Self {
        limits::clip(&mut self.code, limits::MAX_ERROR_CODE_BYTES);
        limits::clip(&mut self.message, limits::MAX_REASON_BYTES);
        limits::clip(&mut self.detail, limits::MAX_ERROR_BYTES);
        self
    }
}

/// What a NACK asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NackAction {
    /// By the queue's retry policy.
    #[default]
    Retry,
    /// Block at once, whatever attempts are left.
    Block,
    /// Dead-letter at once.
    DeadLetter,
}

/// What a worker says of itself in READY.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerInfo {
    /// Its name; need not be unique.
    pub name: String,
    /// Its process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it answers health checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_url: Option<String>,
    /// How long it lets one message take, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_execution_ms: Option<u64>,
    /// How long beyond a message's `max_execution_ms` it may take to end the work and say so, in milliseconds: only then is
    /// the lease over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending_ms: Option<u64>,
    /// Set by a supervisor that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spawn_id: Option<String>,
    /// What it is given counts as done with that. A door of the broker itself says so; no peer can.
    #[serde(skip)]
    pub at_most_once: bool,
}
