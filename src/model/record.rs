//! What the store keeps: the operations of a commit, and what comes back when it is opened.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ids::{
    DeliveryId, Generation, IdempotencyKey, MessageId, QueueId, QueueName, Revision, Seq, TopicName,
};
use super::journal::{Actor, JournalEntry};
use super::message::{Content, WorkError};
use super::process::{ProcessKey, ProcessRecord};
use super::repair::RepairOutcome;
use super::settings::QueueSettings;
use super::state::MessageState;
use super::stream::{StreamEntry, StreamId};
use super::time::Timestamp;
use super::topic::SubscriptionRecord;

/// What one commit holds, in order. All of it is durable, or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// In the order in which the engine decided them.
    pub ops: Vec<Op>,
}

/// One durable change. Most are an `Append` or a `Finish`, and thousands go from hand to hand: what is large and rare is
/// boxed.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A queue is new or its settings or pause changed.
    PutQueue(Box<QueueRecord>),
    /// A queue goes, with all that is left in it. Neither its number is used again, nor are places below `next`:
    /// queues that are made later begin there or behind.
    RemoveQueue {
        /// The queue.
        queue: QueueId,
        /// The place that its next message would have got.
        next: Seq,
    },
    /// A message at the end of its queue. Sequences of one queue come without gaps, from `QueueRecord::first` on.
    Append {
        /// Its queue; put before.
        queue: QueueId,
        /// Its place.
        seq: Seq,
        /// When it was accepted.
        at: Timestamp,
        /// The content, revision 0.
        content: Arc<Content>,
        /// Set when it came by its queue's stream, where its payload is.
        entry: Option<Box<StreamEntry>>,
    },
    /// An entry of a queue's stream is no new message: it goes, and is never brought in again.
    PassEntry {
        /// The queue.
        queue: QueueId,
        /// Which; all before have been appended or passed.
        entry: StreamId,
    },
    /// A message's record is new or changed. A message without one is ready, at attempt 0, revision 0.
    PutRecord {
        /// The queue.
        queue: QueueId,
        /// The message's place.
        seq: Seq,
        /// The whole record.
        record: Box<MessageRecord>,
    },
    /// A further content of a message; earlier ones stay.
    PutRevision {
        /// The queue.
        queue: QueueId,
        /// The message's place.
        seq: Seq,
        /// Who and when.
        revision: Box<RevisionRecord>,
        /// The content as of this revision.
        content: Arc<Content>,
    },
    /// A message is at its end; content, record and revisions may go. Out of order is allowed.
    Finish {
        /// The queue.
        queue: QueueId,
        /// The message's place.
        seq: Seq,
        /// How it ended.
        how: Finish,
    },
    /// What a layer of the mailbox keeps of a queue beside its messages, in the place of what was there.
    PutNote {
        /// The queue; put before.
        queue: QueueId,
        /// Bytes of the layer's own form; short: it is written in each commit that changes it.
        note: Bytes,
    },
    /// A subscription made at run time is new, or takes the place of the one of its topic and queue.
    PutSubscription(Box<SubscriptionRecord>),
    /// A subscription made at run time goes, if it is there.
    RemoveSubscription {
        /// Its topic.
        topic: TopicName,
        /// Its queue.
        queue: QueueName,
    },
    /// A part of a process is new, or takes the place of the one of its number.
    PutProcess(Box<ProcessRecord>),
    /// A process is over: all of its parts go, if there are any.
    RemoveProcess(ProcessKey),
    /// A line of the journal.
    Journal(Box<JournalEntry>),
    /// A repair's outcome under its key; at most `limits::MAX_REPAIR_KEYS` are kept, oldest out first.
    PutRepair(Box<RepairOutcome>),
}

/// How a message left its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// Acknowledged.
    Done,
    /// Cancelled by an operator, and past the point of undoing.
    Cancelled,
    /// Moved to the queue's dead-letter queue.
    DeadLettered,
    /// Moved to another queue by an operator.
    Moved,
    /// Its attempts were used up in a queue with `on_failure = "drop"`.
    Dropped,
}

/// A queue as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Never reused.
    pub id: QueueId,
    /// Unique.
    pub name: QueueName,
    /// How it behaves. Shared by all queues of a template.
    pub settings: Arc<QueueSettings>,
    /// Set while an operator has stopped it. Boxed: most queues never are.
    pub paused: Option<Box<PauseRecord>>,
    /// Set while it accepts nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Box<PauseRecord>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The place of its first message: behind all places of queues that were removed before.
    #[serde(default = "first_place", skip_serializing_if = "is_first_place")]
    pub first: Seq,
    /// Keys of `settings` that an operator has set: the configuration doesn't change them.
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    pub overrides: Box<[String]>,
    /// A message with a `ttl_ms` of its own was accepted: its head is looked at though nobody works on it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_ttl: bool,
    /// Of a window by time, when which places were reached. Boxed: most queues have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_marks: Option<Box<DedupMarks>>,
}

impl QueueRecord {
    /// Whether an operator has set this key.
    pub fn is_overridden(&self, key: &str) -> bool {
        self.overrides.iter().any(|known| known == key)
    }
}

/// When a queue reached which place, ascending: messages from that place on were accepted then or later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DedupMarks(pub Vec<(Timestamp, Seq)>);

/// Who paused or drains a queue, since when, why.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseRecord {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Why; may be empty.
    pub reason: String,
}

/// What is known of a message beyond its content, once it is not plainly ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// Ready, waiting, blocked or cancelled. Leases are not stored: after a restart a leased message
    /// is ready again.
    pub state: MessageState,
    /// Deliveries so far, over all rounds.
    pub attempts: u32,
    /// Attempts since it was accepted or last retried by an operator, lost workers not counted; what the
    /// policy counts.
    pub round: u32,
    /// Workers lost in a row while they had it; any other end and an operator's retry start at 0 again.
    #[serde(default)]
    pub lost_in_a_row: u32,
    /// An operator has made it ready again and it has not blocked since.
    #[serde(default)]
    pub retried: bool,
    /// What a cancelled message was before: where a restore puts it back to.
    #[serde(default)]
    pub cancelled_from: Option<MessageState>,
    /// Its order key, in a queue that is ordered by key; not known of one that never failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its priority, in a queue that has priorities.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u8,
    /// When a waiting message is ready again.
    pub due: Option<Timestamp>,
    /// Until when one that failed was of use, by the settings of that time: when to look at it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The newest revision.
    pub revision: Revision,
    /// Who saved it.
    pub revised_by: Option<Actor>,
    /// It took the edit before it back: there is no last edit that could be undone.
    #[serde(default)]
    pub undone: bool,
    /// Why it failed last.
    pub last_error: Option<WorkError>,
    /// Attempts that ended in failure: the first, then the newest up to `MAX_ATTEMPTS_KEPT` in all.
    pub failures: VecDeque<Attempt>,
}

impl Default for MessageRecord {
    /// What a message without a record is: ready, at attempt 0, revision 0.
    fn default() -> Self {
        Self {
            state: MessageState::Ready,
            attempts: 0,
            round: 0,
            lost_in_a_row: 0,
            retried: false,
            cancelled_from: None,
            key: None,
            priority: 0,
            due: None,
            expires: None,
            revision: Revision(0),
            revised_by: None,
            undone: false,
            last_error: None,
            failures: VecDeque::new(),
        }
    }
}

fn first_place() -> Seq {
    Seq(1)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_first_place(seq: &Seq) -> bool {
    *seq == first_place()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// One delivery and how it ended.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The lease.
    pub delivery: DeliveryId,
    /// The worker's name.
    pub worker: String,
    /// When it was handed out.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How.
    pub end: AttemptEnd,
    /// The error, as the worker or the broker put it.
    pub error: WorkError,
    /// Which revision was tried.
    pub revision: Revision,
}

/// How an attempt ended when it did not succeed.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptEnd {
    /// The worker said NACK.
    Nack,
    /// The lease was over.
    LeaseOver,
    /// The worker went away or silent.
    WorkerLost,
}

/// An edit of a message's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRecord {
    /// From 1; 0 is what was accepted.
    pub revision: Revision,
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Why; may be empty.
    pub reason: String,
}

/// A message as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// Its place.
    pub seq: Seq,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The content of the newest revision.
    pub content: Arc<Content>,
    /// Its record, if it has one.
    pub record: Option<Box<MessageRecord>>,
    /// Why its content can't be read, if so: `content` is then [`Content::placeholder`], which is shown
    /// and never delivered. The message blocks with this error.
    pub unreadable: Option<Box<WorkError>>,
}

/// What a store holds when it is opened. Its size doesn't grow with the backlog, only with the number
/// of queues, of messages with a record, and of ids in de-duplication windows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    /// This run's number: one more than any before.
    pub generation: Generation,
    /// Every queue.
    pub queues: Vec<QueueBacklog>,
    /// What queues that were removed have used.
    pub removed: RemovedQueues,
    /// Subscriptions made at run time, in no order.
    pub subscriptions: Vec<SubscriptionRecord>,
    /// Parts of processes: those of one process together, ascending.
    pub processes: Vec<ProcessRecord>,
    /// The newest journal entry's number; 0: none.
    pub last_journal: u64,
    /// The repairs' outcomes kept, oldest first.
    pub repairs: VecDeque<(IdempotencyKey, RepairOutcome)>,
}

/// What queues that were removed have used, and nothing else ever will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovedQueues {
    /// The highest of their numbers; 0: there was none.
    pub last: QueueId,
    /// New queues begin here: all their places are before.
    pub next: Seq,
}

impl Default for RemovedQueues {
    fn default() -> Self {
        Self { last: QueueId(0), next: first_place() }
    }
}

impl RemovedQueues {
    /// A queue was removed.
    pub fn note(&mut self, queue: QueueId, next: Seq) {
        *self = Self { last: self.last.max(queue), next: self.next.max(next) };
    }
}

/// A queue and what waits in it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueBacklog {
    /// The queue.
    pub record: QueueRecord,
    /// All before this are finished; `next_seq` if the queue is empty.
    pub floor: Seq,
    /// The place that the next message gets.
    pub next_seq: Seq,
    /// Finished places at or after the floor, ascending.
    pub finished: Vec<Seq>,
    /// Header and payload bytes of what is not finished, as of the newest revisions.
    pub bytes: u64,
    /// When the oldest unfinished message was accepted.
    pub oldest_at: Option<Timestamp>,
    /// Records of unfinished messages, ascending by place.
    pub records: Vec<(Seq, MessageRecord)>,
    /// The newest accepted ids, oldest first, as many as the queue's de-duplication window holds.
    pub window: Vec<(MessageId, Seq)>,
    /// The newest entry of its stream that was appended or passed; zero if it has none.
    pub newest_entry: StreamId,
    /// The last note put; empty if there is none.
    pub note: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes from hand to hand by the thousand a batch: at 248 and 328 bytes, a tenth of what dispatching costs was moving them.
    #[test]
    fn what_goes_from_hand_to_hand_is_small() {
        assert!(size_of::<Op>() <= 48, "{} bytes", size_of::<Op>());
        assert!(size_of::<StoredMessage>() <= 48, "{} bytes", size_of::<StoredMessage>());
    }
}
