//! What monitoring is told: counts and measures, without what only people read.

use super::ids::QueueName;
use super::span::SpanTotals;
use super::state::{QueueState, WorkerState};
use super::time::Timestamp;
use super::view::{DoorView, Overview, StoreHealth};

/// What became of messages, counted since the broker started. Of all queues these never go back, also when one is
/// deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accepted, duplicates not among them; dead letters and replies are, in the queues that they went to.
    pub accepted: u64,
    /// Handed to a worker, and not for the first time.
    pub redelivered: u64,
    /// Done: acknowledged, or handed out where that is enough.
    pub done: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Duplicates that were answered.
    pub duplicates: u64,
    /// Moved to a dead-letter queue.
    pub dead_lettered: u64,
    /// Ended by `on_failure = "drop"`.
    pub dropped: u64,
    /// Sent to another worker too, for want of an answer.
    pub resent: u64,
}

/// A queue in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueFigures {
    /// Its name.
    pub name: QueueName,
    /// What it does.
    pub state: QueueState,
    /// Whether an operator has paused it, blocked or not.
    pub is_paused: bool,
    /// Messages that may be delivered when it is their turn.
    pub ready: u64,
    /// In workers' hands.
    pub leased: u64,
    /// In back-off.
    pub waiting: u64,
    /// Known not to be due yet.
    pub scheduled: u64,
    /// Failed for good.
    pub blocked: u64,
    /// Header and payload bytes of these.
    pub bytes: u64,
    /// When the oldest of them was accepted.
    pub oldest_at: Option<Timestamp>,
    /// Workers that serve it.
    pub workers: u64,
    /// What became of its messages.
    pub totals: Totals,
}

/// The broker in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The broker at a glance.
    pub overview: Overview,
    /// What became of messages, over all queues.
    pub totals: Totals,
    /// Messages handed to workers, once for each attempt and copy, since the store was opened.
    pub delivered: u64,
    /// Workers by state; all states.
    pub workers: Vec<(WorkerState, u64)>,
    /// The broker's sockets.
    pub doors: Vec<DoorView>,
    /// What became of spans; nothing, if nothing is traced.
    pub spans: SpanTotals,
    /// What its store's threads have measured.
    pub store: StoreMeasures,
}

/// What the store's threads have measured since the broker started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMeasures {
    /// From when the store's thread takes a batch until it is durable, in nanoseconds.
    pub commit_nanos: HistogramView,
    /// Making what was written durable (fsync), in nanoseconds.
    pub sync_nanos: HistogramView,
    /// Operations in a batch: a message accepted, acknowledged or changed is one.
    pub batch_ops: HistogramView,
    /// Bytes of a batch, as the pipeline counts them.
    pub batch_bytes: HistogramView,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramView {
    /// Upper bounds, inclusive, ascending.
    pub bounds: &'static [u64],
    /// Values up to each bound and above the one before; one more for those above all.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

/// The store's disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFigures {
    /// What the store takes of it, in bytes.
    pub store_bytes: u64,
    /// Free, as an ordinary user may use it, in bytes.
    pub free_bytes: u64,
    /// In all, in bytes.
    pub total_bytes: u64,
}

/// Whether the broker's loop turns, and what it would say to who publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// Whether the store can be written.
    pub store: StoreHealth,
    /// It is about to end.
    pub stopping: bool,
}
