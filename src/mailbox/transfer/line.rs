//! The lines of an export.

use serde::{Deserialize, Serialize};

use crate::model::{
    Generation, JournalEntry, MessageId, MessageRecord, Payload, ProcessKey, QueueId, QueueName,
    QueueRecord, RepairOutcome, RevisionRecord, Seq, SubscriptionRecord, Timestamp, WorkError,
};

/// The newest version of the form.
pub(super) const VERSION: u32 = 1;

/// One line of an export: an object with one field, which names it. In this order: `export`, then each
/// `queue` with its messages in the order of their places, then `removed`, `subscription`, `process`,
/// `journal`, `repair`, and `end`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The first.
    Export(Start),
    /// A queue; its messages follow.
    Queue(Box<QueueLine>),
    /// A message that waits.
    Message(Box<MessageLine>),
    /// A message that is finished and whose id the de-duplication window remembers.
    Finished(FinishedLine),
    /// A message that waits and can't be read. It is not brought in again.
    Unreadable(UnreadableLine),
    /// What queues that were removed have used; absent if none was.
    Removed(RemovedLine),
    /// A subscription that was made at run time.
    Subscription(SubscriptionRecord),
    /// A part of a process, by key and number.
    Process(ProcessLine),
    /// A journal entry, oldest first.
    Journal(JournalEntry),
    /// A repair's outcome under its key, oldest first.
    Repair(RepairOutcome),
    /// The last: an export without it was cut off.
    End(Counts),
}

/// What an export is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Of the form of these lines.
    pub version: u32,
    /// The store's run that wrote it: deliveries of later runs must not have the same names.
    pub generation: Generation,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueLine {
    /// Name, settings, pause.
    pub record: QueueRecord,
    /// The place that its next message gets.
    pub next: Seq,
    /// What the Redis mailbox keeps of its stream, in its own form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Payload>,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageLine {
    /// Its queue.
    pub queue: QueueName,
    /// Its place.
    pub seq: Seq,
    /// When it was accepted.
    pub at: Timestamp,
    /// The header's JSON, byte for byte.
    pub header: String,
    /// The payload, byte for byte; of one that is in Redis, what refers to it there.
    pub payload: Payload,
    /// State, attempts, last error; absent while it is plainly ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<MessageRecord>,
    /// Its edits, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionLine>,
}

/// An edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionLine {
    /// Who, when, why.
    pub record: RevisionRecord,
    /// As of this revision.
    pub header: String,
    /// As of this revision.
    pub payload: Payload,
}

/// A finished message's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishedLine {
    /// Its queue.
    pub queue: QueueName,
    /// Its place.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
}

/// A message that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnreadableLine {
    /// Its queue.
    pub queue: QueueName,
    /// Its place.
    pub seq: Seq,
    /// Its id, as far as that is known.
    pub id: MessageId,
    /// Why.
    pub error: WorkError,
}

/// What queues that were removed have used: nothing else has it ever again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovedLine {
    /// The highest of their numbers.
    pub last: QueueId,
    /// Queues that are made begin here.
    pub next: Seq,
}

/// A part of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessLine {
    /// Whose.
    pub process: ProcessKey,
    /// Which part of it.
    pub part: u16,
    /// Bytes of the process' own form.
    pub body: Payload,
}

/// How many lines of each kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Queues.
    pub queues: u64,
    /// Messages that wait.
    pub messages: u64,
    /// Finished messages whose ids are remembered.
    pub finished: u64,
    /// Messages that can't be read.
    pub unreadable: u64,
    /// Subscriptions made at run time. Not said of none: earlier versions don't know them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub subscriptions: u64,
    /// Parts of processes. Not said of none: earlier versions don't know them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub processes: u64,
    /// Journal entries.
    pub journal: u64,
    /// Repairs' outcomes.
    pub repairs: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Counts {
    pub(super) fn count(&mut self, line: &Line) {
        match line {
            Line::Export(_) | Line::Removed(_) | Line::End(_) => {}
            Line::Queue(_) => self.queues += 1,
            Line::Message(_) => self.messages += 1,
            Line::Finished(_) => self.finished += 1,
            Line::Unreadable(_) => self.unreadable += 1,
            Line::Subscription(_) => self.subscriptions += 1,
            Line::Process(_) => self.processes += 1,
            Line::Journal(_) => self.journal += 1,
            Line::Repair(_) => self.repairs += 1,
        }
    }
}
