//! What an operator may do to a message (design.md rule 6).

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{IdError, IdempotencyKey, MessageId, QueueName, Revision, Seq};
use super::journal::Actor;
use super::message::Content;
use super::state::MessageState;

/// One repair. Sent twice with the same key, it acts once and is answered the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Repair {
    /// Names this repair.
    pub key: IdempotencyKey,
    /// Who.
    pub actor: Actor,
    /// The message's queue.
    pub queue: QueueName,
    /// The message's place.
    pub seq: Seq,
    /// The revision that the operator saw; another one now: refused.
    pub expect_revision: Revision,
    /// The content as of `expect_revision`, as the mailbox has it; `None` if it is not there. Whoever
    /// submits the repair reads it first, since the engine keeps contents only at a queue's head. A
    /// revision never changes, so it can't be out of date.
    pub seen: Option<Arc<Content>>,
    /// What to do.
    pub action: RepairAction,
    /// Why.
    pub reason: String,
}

/// What to do to the message.
#[derive(Debug, Clone, PartialEq)]
pub enum RepairAction {
    /// Save a new revision; the message stays where it is.
    Save(Edit),
    /// Make a blocked or waiting message ready; attempts start at 0 again.
    Retry,
    /// Both, in one commit.
    SaveAndRetry(Edit),
    /// Take the message out; the reason must not be empty.
    Cancel,
    /// Put a cancelled message back in its place, while its successor has not been delivered.
    Restore,
    /// Take the message out, to its queue's dead-letter queue.
    DeadLetter,
    /// Take the message out, to the end of another queue, with its id. Without a queue: a dead letter goes back to
    /// where it came from (*redrive*).
    Move(Option<QueueName>),
    /// Make the content of the revision before the current one the newest again, while the message is
    /// not leased. Revisions are append-only, so this adds one: whoever submits the repair reads the
    /// content of revision `expect_revision - 1` and sends it along, header included.
    UndoSave(Edit),
}

/// A new content.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// The new payload, byte for byte.
    pub payload: Bytes,
    /// The new header, whole; `None`: unchanged. Its `id` must be the message's.
    pub header: Option<Map<String, Value>>,
}

/// A repair was done. Kept under its key.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairOutcome {
    /// The repair.
    pub key: IdempotencyKey,
    /// The message's queue.
    pub queue: QueueName,
    /// Its place.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// Its revision now.
    pub revision: Revision,
    /// Its state right after the repair; of one that left its queue, its state in the other one.
    pub state: MessageState,
    /// Where it is now, if it left its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<MovedTo>,
    /// The journal's entry of it.
    pub journal: u64,
    /// The same key had been done before; nothing was done now.
    #[serde(default)]
    pub repeated: bool,
}

/// Where a message is that left its queue.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedTo {
    /// The queue.
    pub queue: QueueName,
    /// Its place there.
    pub seq: Seq,
}

/// What came of looking at some of a dead-letter queue's messages, in their order, to bring them back.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivePage {
    /// Those that the filter takes: where each went, or why it stays.
    pub messages: Vec<Redriven>,
    /// How many were looked at.
    pub seen: u64,
    /// The newest place when the redrive began: what comes behind it is not looked at.
    pub until: Seq,
    /// Where to go on; absent if all have been looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
}

/// What came of one message.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    /// Its place in the dead-letter queue.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// Where it is now; absent if it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<MovedTo>,
    /// Why it stays; empty if it went, or would go.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What is there of a message that was not repaired as one of many.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkNow {
    /// Its state.
    pub state: MessageState,
    /// Its newest revision.
    pub revision: Revision,
}

/// Why a repair was not done; nothing has changed.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", content = "data", rename_all = "snake_case")]
pub enum RepairRefusal {
    /// No such queue.
    #[error("there is no queue {queue}")]
    NoSuchQueue {
        /// The name asked for.
        queue: QueueName,
    },
    /// No such message, or it is done and gone.
    #[error("there is no message {seq} in {queue}: it is done, or was never there")]
    NoSuchMessage {
        /// The queue.
        queue: QueueName,
        /// The place asked for.
        seq: Seq,
    },
    /// Somebody saved another revision meanwhile.
    #[error("the message changed meanwhile: revision {current} is there, {expected} was seen")]
    Changed {
        /// What the operator saw.
        expected: Revision,
        /// What is there.
        current: Revision,
        /// Who saved it.
        by: Option<Actor>,
    },
    /// The message's state doesn't allow it.
    #[error("the message is {state}: {reason}")]
    State {
        /// Its state.
        state: MessageState,
        /// Why that is in the way, and what to do.
        reason: String,
    },
    /// Another operator edits it.
    #[error("{by} holds this message for editing until {until}", by = by.name)]
    Held {
        /// Who.
        by: Actor,
        /// Until when.
        until: super::time::Timestamp,
    },
    /// The request itself is wrong.
    #[error("{reason}")]
    Invalid {
        /// What, and what to do.
        reason: String,
    },
    /// The new payload is not as the queue's schema says, and there is no reason for that.
    #[error(
        "the payload is not as the queue's schema says: {}: {message}; with a reason it is saved all the same",
        if path.is_empty() { "the whole" } else { path }
    )]
    Schema {
        /// Where in the payload, as a JSON pointer; empty: the payload as a whole.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// The key was used for another repair.
    #[error("this idempotency key was used for another repair")]
    KeyReused,
    /// The store can't be written now.
    #[error("the store can't be written now: {reason}")]
    StoreUnavailable {
        /// Why.
        reason: String,
    },
}

/// The key of one message's repair in a bulk: `KEY/SEQ`. One of at most `limits::MAX_BULK_KEY_BYTES` always has room for it.
pub fn bulk_key(key: &IdempotencyKey, seq: Seq) -> Result<IdempotencyKey, IdError> {
    IdempotencyKey::new(&format!("{key}/{seq}"))
}
