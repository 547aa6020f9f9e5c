//! What an operator is shown of messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::InFlightView;
use crate::model::ids::{MessageId, QueueName, Revision, Seq};
use crate::model::journal::{Actor, JournalEntry};
use crate::model::message::WorkError;
use crate::model::record::Attempt;
use crate::model::state::MessageState;
use crate::model::time::Timestamp;

/// A message as a row.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageSummary {
    /// Its place.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// Its state.
    pub state: MessageState,
    /// Deliveries so far.
    pub attempt: u32,
    /// Its newest revision.
    pub revision: Revision,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When a waiting one is tried again, or a scheduled one may be delivered.
    pub due: Option<Timestamp>,
    /// The payload's length in bytes.
    pub payload_bytes: u64,
    /// The header's `type`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The order key.
    pub key: Option<String>,
    /// Why it failed last.
    pub error: Option<WorkError>,
    /// Why it became a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetterView>,
    /// The payload's beginning as text, at most `limits::PREVIEW_BYTES`; lossy.
    pub preview: String,
}

/// Why a message became a dead letter, as its header says; also of one that was brought back since.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// The queue that it was in.
    pub queue: String,
    /// A word: `rejected`, `expired`, `attempts`, `max-length`, …
    pub reason: String,
    /// Why it failed last in that queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A page of a queue's unfinished messages, ascending by place.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessagePage {
    /// The rows.
    pub messages: Vec<MessageSummary>,
    /// Where the next page starts; absent at the end.
    pub next: Option<Seq>,
}

/// A message with all that is known of it.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageView {
    /// Its queue.
    pub queue: QueueName,
    /// The row. Nested, not flattened: serde's flatten and serde_json's exact numbers don't go together.
    pub summary: MessageSummary,
    /// The whole header.
    #[cfg_attr(test, schema(value_type = Object))]
    pub header: Map<String, Value>,
    /// The payload of the newest revision.
    pub payload: Payload,
    /// Attempts that failed: the first and the newest.
    pub attempts: Vec<Attempt>,
    /// Its edits, oldest first, revision 0 not among them.
    pub revisions: Vec<RevisionView>,
    /// Its journal, oldest first: the newest entries, at most `limits::MAX_PAGE`.
    pub history: Vec<JournalEntry>,
    /// There were entries before those of `history`; the oldest may be gone.
    #[serde(default)]
    pub history_cut: bool,
    /// How many unfinished messages wait for it to be done, by its queue's ordering: all behind it; with `key` those of its
    /// key, as far as they have been looked at; with `none` 0.
    pub behind: u64,
    /// Who edits it now.
    pub hold: Option<HoldView>,
    /// Who has it now.
    pub lease: Option<InFlightView>,
    /// What `undo` would do now: absent if nothing can be undone.
    pub undo: Option<String>,
}

/// An edit.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RevisionView {
    /// Its number.
    pub revision: Revision,
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// The payload's length in bytes.
    pub payload_bytes: u64,
}

/// A repair hold: no automatic retry while somebody edits.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// Who.
    pub by: Actor,
    /// Until when, unless renewed.
    pub until: Timestamp,
}

/// Bytes in JSON: as text where they are UTF-8, else base64; never changed.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "encoding", content = "data", rename_all = "kebab-case")]
pub enum Payload {
    /// UTF-8 text.
    Utf8(String),
    /// Base64 (RFC 4648 section 4) of bytes that aren't UTF-8.
    Base64(String),
}

impl Payload {
    /// Wraps bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Utf8(text.to_owned()),
            Err(_) => Self::Base64(BASE64.encode(bytes)),
        }
    }

    /// The bytes; the error says what is wrong with the base64.
    pub fn into_bytes(self) -> Result<Bytes, String> {
        match self {
            Self::Utf8(text) => Ok(Bytes::from(text)),
            Self::Base64(text) => {
                BASE64.decode(text).map(Bytes::from).map_err(|e| format!("payload: {e}"))
            }
        }
    }
}
