//! What an operator is shown: the admin API's DTOs. Times are RFC 3339, durations and sizes carry their
//! unit in the name. Everything textual that comes from a peer is hostile; the one who draws it cleans it.

mod message;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{DeliveryId, Generation, MessageId, QueueName, Seq};
use super::journal::JournalEntry;
use super::message::WorkError;
use super::record::PauseRecord;
use super::settings::QueueSettings;
use super::state::{MessageState, QueueState, WorkerState};
use super::time::Timestamp;

pub use message::{
    DeadLetterView, HoldView, MessagePage, MessageSummary, MessageView, Payload, RevisionView,
};

/// The broker at a glance.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The program's version.
    pub version: String,
    /// The broker's process.
    pub pid: u32,
    /// The store's run.
    pub generation: Generation,
    /// When the broker started.
    pub started_at: Timestamp,
    /// The broker's clock now.
    pub now: Timestamp,
    /// Where its store is.
    pub data_dir: String,
    /// Where clients connect; the bound address, so that port 0 is seen resolved.
    pub clients: String,
    /// Where workers connect.
    pub workers: String,
    /// Whether the store can be written.
    pub store: StoreHealth,
    /// Queues in all.
    pub queue_count: u64,
    /// Queues with something blocked.
    pub blocked_count: u64,
    /// Workers connected.
    pub worker_count: u64,
    /// Late answers of workers to leases that were over, since the store was opened.
    #[serde(default)]
    pub stale_answers: u64,
    /// Replies to calls and gathers whose caller no longer waited, since the store was opened.
    #[serde(default)]
    pub late_replies: u64,
    /// Gathers that run.
    #[serde(default)]
    pub gathers: u64,
    /// Gathers, sagas and kept replies in the store that this version can't read: they stay there, and stand still.
    #[serde(default)]
    pub unreadable_processes: u64,
    /// Replies that came after their gather's end, since the store was opened.
    #[serde(default)]
    pub late_parts: u64,
}

/// Whether the store can be written.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum StoreHealth {
    /// It can.
    Ok,
    /// It can't; publishing is refused until it is recovered.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// It can, but its disk has too little room left: publishing is refused, deliveries, acks and repairs go
    /// on.
    Full {
        /// How much is left, and at how much publishing goes on.
        reason: String,
    },
}

/// A queue.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    /// Its place among all queues, in the order in which they were made; never used again. A list goes on behind it (`after`).
    #[serde(default)]
    pub number: u32,
    /// Its name.
    pub name: QueueName,
    /// What it does.
    pub state: QueueState,
    /// Messages not at their end: ready + scheduled + leased + waiting + blocked.
    pub depth: u64,
    /// Of these, in the hands of workers.
    pub leased: u64,
    /// Of these, in back-off.
    pub waiting: u64,
    /// Of these, known not to be due yet: what nobody has come to is not looked at.
    #[serde(default)]
    pub scheduled: u64,
    /// Of these, failed for good.
    pub blocked: u64,
    /// Header and payload bytes of these, and of cancelled ones that can still be restored.
    pub bytes: u64,
    /// When the oldest of them was accepted.
    pub oldest_at: Option<Timestamp>,
    /// The message to look at first.
    pub head: Option<HeadView>,
    /// Who paused it.
    pub paused: Option<PauseRecord>,
    /// Who drains it: it accepts nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<PauseRecord>,
    /// Workers that serve it.
    pub workers: u64,
    /// Of an exclusive queue, the name of the one that is given its messages; the others stand by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_worker: Option<String>,
    /// Accepted since the broker started, duplicates not counted.
    pub accepted: u64,
    /// Acknowledged since the broker started.
    pub done: u64,
    /// Failed attempts since the broker started.
    pub failed: u64,
    /// Duplicates answered since the broker started.
    pub duplicates: u64,
    /// Moved to its dead-letter queue since the broker started.
    #[serde(default)]
    pub dead_lettered: u64,
    /// Dropped by `on_failure = "drop"` since the broker started.
    #[serde(default)]
    pub dropped: u64,
    /// Sent to another worker too, for want of an answer, since the broker started.
    #[serde(default)]
    pub resent: u64,
    /// How it behaves.
    pub settings: QueueSettings,
    /// Keys of `settings` that an operator has set, whatever the configuration says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    /// Why it accepts nothing for now: the Redis where its messages wait can't be reached. Where `settings` name
    /// another mailbox: why what is still there can't be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

impl QueueView {
    /// Whether an operator has to repair something: the queue stands, or goes on without what is blocked.
    pub fn is_hurt(&self) -> bool {
        self.blocked > 0 || self.state == QueueState::Blocked
    }

    /// Blocked messages beside the head that is shown.
    pub fn more_blocked(&self) -> u64 {
        let shown = self.head.as_ref().is_some_and(|head| head.state == MessageState::Blocked);
        self.blocked.saturating_sub(u64::from(shown))
    }
}

/// A queue's first unfinished message; where messages may overtake one another, the first blocked one if there is
/// one.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadView {
    /// Its place.
    pub seq: Seq,
    /// Its id; absent while it hasn't been read from the mailbox yet.
    pub id: Option<MessageId>,
    /// Its state.
    pub state: MessageState,
    /// Deliveries so far.
    pub attempt: u32,
    /// Why it failed last.
    pub error: Option<WorkError>,
    /// When a waiting one is tried again, or a scheduled one may be delivered.
    pub due: Option<Timestamp>,
}

/// An order key that stands: its first message is blocked or waits for its next attempt.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyView {
    /// The key; absent for a message without one, which holds nobody.
    pub key: Option<String>,
    /// The place of the message that holds it.
    pub seq: Seq,
    /// That message's state: blocked, or waiting.
    pub state: MessageState,
    /// When a waiting one is tried again, or a scheduled one may be delivered.
    pub due: Option<Timestamp>,
    /// Why it failed last.
    pub error: Option<WorkError>,
    /// Messages of the key that wait behind it, as far as they have been looked at.
    pub behind: u64,
}

/// A page of the order keys of a queue that stand, by the places of the messages that hold them.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<KeyView>,
    /// Messages at the queue's end that have not been looked at, so that nobody knows their keys yet: they are
    /// when workers come to them.
    pub unseen: u64,
    /// Where the next page starts; absent at the end.
    pub next: Option<Seq>,
}

/// A worker's connection.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// The connection; never reused while the broker runs.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Its host.
    pub host: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Where it answers health checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_url: Option<String>,
    /// Set by the supervisor that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawn_id: Option<String>,
    /// What it does.
    pub state: WorkerState,
    /// What it serves.
    pub queues: Vec<QueueName>,
    /// Of these, exclusive queues of which another worker is given the messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standby: Vec<QueueName>,
    /// How many messages it takes at once.
    pub credit: u32,
    /// What it has now.
    pub in_flight: Vec<InFlightView>,
    /// When it said READY.
    pub since: Timestamp,
    /// When it was last heard.
    pub heard_at: Timestamp,
    /// Messages acknowledged.
    pub acked: u64,
    /// Messages refused.
    pub nacked: u64,
    /// Its last PROGRESS note or ALERT.
    pub note: Option<String>,
}

/// A message in a worker's hands.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InFlightView {
    /// The lease.
    pub delivery: DeliveryId,
    /// The queue.
    pub queue: QueueName,
    /// The message's place.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// Which attempt.
    pub attempt: u32,
    /// The worker's name.
    pub worker: String,
    /// When it was handed out.
    pub since: Timestamp,
    /// When the lease is over.
    pub deadline: Timestamp,
}

/// A socket of the broker, with its counts since the start.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorView {
    /// Its setting: `clients`, `workers`, `push`, `live`, `feed`, `pull` and a queue.
    pub name: String,
    /// The socket's type: `ROUTER`, `PULL`, `XPUB`, `XSUB`, `PUSH`.
    pub pattern: String,
    /// Where it listens.
    pub endpoint: String,
    /// Peers that are connected.
    pub connections: u64,
    /// Messages that came in; not counted at `clients` and `workers`.
    pub received: u64,
    /// Messages that were handed to a peer's connection; likewise.
    pub sent: u64,
    /// Messages that a peer should have had and has not: it was slow, or went away.
    pub lost: u64,
    /// Messages that were refused; at `clients` and `workers` those that can't be read, or that their senders may not say.
    pub refused: u64,
    /// Bytes from peers.
    pub bytes_in: u64,
    /// Bytes to peers.
    pub bytes_out: u64,
    /// Connections that were refused or cut off.
    pub cut_off: u64,
    /// Connections that completed their handshake.
    #[serde(default)]
    pub accepted: u64,
    /// Of `cut_off`, how many for what reason; all reasons.
    #[serde(default)]
    pub cut_off_for: BTreeMap<String, u64>,
}

/// A page of the journal, newest first.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalPage {
    /// The entries.
    pub entries: Vec<JournalEntry>,
    /// Ask for entries before this number next; absent at the end.
    pub next_before: Option<u64>,
    /// At the end: the journal has lost its oldest entries, as it was told to, so that some of what is asked for may be
    /// gone.
    #[serde(default)]
    pub older_removed: bool,
}
