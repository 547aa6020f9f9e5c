//! The same change of many messages: what is asked for, and what is told of it. The work is done beside the keys, in
//! [`task`]; each of its words carries the number of its run, so that a late one finds nobody.

mod program;
mod repair;
pub(super) mod task;

use bytes::Bytes;

use crate::admin::dto::{
    BulkItem, BulkVerb, ErrorGroupId, IdempotencyKey, MessageFilter, MessageId, QueueName, Revision,
};

/// What is done to each.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A repair that is the same for all: the broker goes on with it by itself.
    Repair {
        /// What.
        verb: BulkVerb,
        /// Where they go, for a move.
        to: Option<QueueName>,
    },
    /// A new payload for each, by a jq expression: each is saved by itself, from here.
    Edit {
        /// The expression.
        jq: String,
        /// Save and retry.
        retry: bool,
    },
}

/// A change of many, as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Names the run.
    pub run: u64,
    /// The messages' queue.
    pub queue: QueueName,
    /// Each message's repair has a key made of it, so that nothing is done twice.
    pub key: IdempotencyKey,
    /// What.
    pub change: Change,
    /// How many a second at most.
    pub rate: Option<u32>,
    /// Why; for the journal.
    pub reason: String,
}

/// Which messages.
#[derive(Debug, Clone, PartialEq)]
pub enum Which {
    /// These, as they were seen.
    These(Vec<Row>),
    /// Those that the filter takes now: looked up once.
    Those(MessageFilter),
}

/// A message as it was when it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place and revision.
    pub item: BulkItem,
    /// Its id.
    pub id: MessageId,
}

/// A message of a frozen list, and what a dry run found of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Which.
    pub row: Row,
    /// What would come of it.
    pub found: Found,
}

/// What a dry run found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// It would be done.
    Possible,
    /// It would be saved with this.
    Edited {
        /// The payload now.
        old: Bytes,
        /// The payload then.
        new: Bytes,
    },
    /// The expression changes nothing in it: it is left alone.
    Same,
    /// It would not be done.
    Refused(String),
}

impl Found {
    /// Something would be done to it.
    pub const fn counts(&self) -> bool {
        match self {
            Self::Possible | Self::Edited { .. } => true,
            Self::Same | Self::Refused(_) => false,
        }
    }
}

/// The list as it was when it was chosen: no message joins it later.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Frozen {
    /// In the order in which they are done.
    pub items: Vec<Item>,
    /// There are more than one run takes.
    pub is_cut: bool,
}

/// A group of errors with one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub id: ErrorGroupId,
    /// What its errors have in common.
    pub pattern: String,
    /// Messages that failed so last.
    pub count: u64,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Messages that were tried.
    pub tried: u64,
    /// Of these, not done.
    pub failed: u64,
    /// Messages in all, once they are known.
    pub of: Option<u64>,
    /// What it waits for.
    pub note: Option<String>,
}

/// What came of one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Which.
    pub row: Row,
    /// Its revision now and what to say; or why not.
    pub result: Result<(Revision, String), String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// All were tried.
    Done,
    /// Somebody stopped it.
    Stopped(String),
    /// It could not begin, or not go on.
    Failed(String),
    /// The broker doesn't know it any more. The same again does nothing twice.
    Lost(String),
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Of those that were tried, in order.
    pub outcomes: Vec<Outcome>,
    /// How.
    pub how: How,
}

/// Something to be done beside the keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// The groups of a queue's errors; answered by [`Told::Groups`].
    Groups {
        /// Names the run.
        run: u64,
        /// The queue.
        queue: QueueName,
    },
    /// Which messages, and what would come of each; answered by [`Told::Frozen`].
    Look(Order, Which),
    /// What was agreed to; answered by [`Told::Ended`].
    Do(Order, Vec<Item>),
    /// Nothing more is begun.
    Stop(u64),
}

/// What is told of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The most frequent first.
    Groups(Result<Vec<Group>, String>),
    /// How far it is.
    Progress(Progress),
    /// What a dry run found, or why there was none.
    Frozen(Result<Frozen, String>),
    /// It is over.
    Ended(Ending),
}
