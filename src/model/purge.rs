//! What came of emptying a queue.

use serde::{Deserialize, Serialize};

use super::ids::{MessageId, Seq};

/// What came of taking some messages out of their queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purged {
    /// How many are gone.
    pub removed: u64,
    /// Those that stay, by place.
    pub stay: Vec<Staying>,
}

/// A message that stays in a queue that is purged.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staying {
    /// Its place.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// Why: a worker has it, or somebody else edits it.
    pub reason: String,
}

/// What came of looking at some of a queue's messages, in their order, to take them out.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgePage {
    /// How many are gone.
    pub removed: u64,
    /// Those that stay, by place. Cancelled ones are not among them: they go with the next delivery.
    pub stay: Vec<Staying>,
    /// The newest place when the purge began: what comes behind it stays.
    pub until: Seq,
    /// Where to go on; absent if all have been looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
}
