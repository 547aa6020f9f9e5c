//! Repairs of many messages.

use serde::{Deserialize, Serialize};

use super::{
    Actor, BulkNow, IdempotencyKey, MessageFilter, MessageId, MessageState, MovedTo, QueueName,
    RepairOutcome, RepairRefusal, Revision, Seq, Timestamp,
};

/// `POST /v1/queues/{queue}/bulk`: the same repair of many messages, which goes on by itself. Either `items` says which, each as it was
/// seen, or `filter`: then the broker looks them up first, once. What changes after that is not repaired but told.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// Names this bulk repair, at most 100 bytes: sent twice, it is one. Each message's repair has a key of its own made of it, `KEY/SEQ`.
    pub key: IdempotencyKey,
    /// What to do to each.
    pub action: BulkVerb,
    /// Which messages; at most `limits::MAX_BULK_ITEMS`, in the order in which they are repaired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<BulkItem>>,
    /// Which messages, by what they are; the first `limits::MAX_BULK_ITEMS` of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<MessageFilter>,
    /// With `filter`: nothing is done unless it takes exactly so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<u64>,
    /// The queue that they go to, for `move` only; dead letters go back to their queues if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<QueueName>,
    /// How many a second at most; as fast as the store takes them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(minimum = 1))]
    pub rate: Option<u32>,
    /// Only tell what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Why; needed for `cancel`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A message as it was when it was chosen.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkItem {
    /// Its place.
    pub seq: Seq,
    /// The revision that was seen; another one now: not repaired.
    pub revision: Revision,
}

/// What to do to many messages; as for one, but for edits, of which each has its own payload.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is documented at model::RepairAction")]
pub enum BulkVerb {
    Retry,
    Cancel,
    Restore,
    UndoSave,
    DeadLetter,
    Move,
}

impl BulkVerb {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Restore => "restore",
            Self::UndoSave => "undo-save",
            Self::DeadLetter => "dead-letter",
            Self::Move => "move",
        }
    }
}

/// A repair of many messages: `GET /v1/bulk/{key}`. It is kept until newer ones take its place, or the broker ends.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkView {
    /// Names it.
    pub key: IdempotencyKey,
    /// The messages' queue.
    pub queue: QueueName,
    /// What is done.
    pub action: BulkVerb,
    /// Where they go, for `move`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<QueueName>,
    /// Nothing is changed, only told.
    pub dry_run: bool,
    /// How many a second at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(minimum = 1))]
    pub rate: Option<u32>,
    /// Why.
    pub reason: String,
    /// Who asked for it.
    pub by: Actor,
    /// When.
    pub started_at: Timestamp,
    /// How far it is.
    pub state: BulkState,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Messages that were chosen, or have been so far.
    pub chosen: u64,
    /// Of these, repaired; in a dry run those that would be.
    pub done: u64,
    /// Of these, not repaired: they changed, or their state doesn't allow it.
    pub refused: u64,
    /// More messages pass the filter than one bulk repair takes: those from this place on have not been looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_from: Option<Seq>,
    /// Why it ended before its end, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How far a bulk repair is.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BulkState {
    /// The filter's messages are looked up.
    Choosing,
    /// They are repaired.
    Running,
    /// All have been tried.
    Done,
    /// Somebody stopped it, or its token counts no more.
    Stopped,
    /// It could not go on; `note` says why.
    Failed,
}

impl BulkState {
    /// Whether anything more will come of it.
    pub const fn is_over(self) -> bool {
        match self {
            Self::Choosing | Self::Running => false,
            Self::Done | Self::Stopped | Self::Failed => true,
        }
    }
}

/// What came of one message.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkResult {
    /// Its place.
    pub seq: Seq,
    /// The revision that was seen.
    pub revision: Revision,
    /// What came of it.
    pub outcome: BulkOutcome,
}

/// What came of one message.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum BulkOutcome {
    /// It was repaired.
    Done {
        /// Its id.
        id: MessageId,
        /// Its revision now.
        revision: Revision,
        /// Its state right after; of one that left its queue, its state in the other one.
        state: MessageState,
        /// Where it is now, if it left its queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moved: Option<MovedTo>,
        /// The journal's entry of it.
        journal: u64,
        /// It had been done before under the same key.
        #[serde(default)]
        repeated: bool,
    },
    /// A dry run: it would be repaired.
    Possible,
    /// It was not repaired, or would not be.
    Refused {
        /// Why.
        refusal: RepairRefusal,
        /// What is there now, if the message is still in the queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        now: Option<BulkNow>,
    },
}

impl From<RepairOutcome> for BulkOutcome {
    fn from(outcome: RepairOutcome) -> Self {
        let RepairOutcome { id, revision, state, moved, journal, repeated, .. } = outcome;
        Self::Done { id, revision, state, moved, journal, repeated }
    }
}

/// A page of what came of each message, in the order in which they were repaired: `GET /v1/bulk/{key}/results`
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BulkResultPage {
    /// So far.
    pub results: Vec<BulkResult>,
    /// Where the next page starts (`from`); absent at the end of what there is so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
