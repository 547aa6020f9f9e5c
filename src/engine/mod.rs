//! The broker's meaning as a pure state machine: no clock, no I/O, no async, no randomness of its own.

mod effect;
mod event;
mod options;
mod view;

pub use effect::{Effect, Effects, HoldAnswer};
pub use event::{CallSpec, Event};
pub use options::EngineOptions;
pub use view::{Counts, MessageOverlay};

use crate::model::{
    Generation, QueueId, QueueName, QueueView, Recovered, Seq, Timestamp, WorkerView,
};

/// The broker's state machine.
#[derive(Debug)]
pub struct Engine {
    generation: Generation,
}

impl Engine {
    /// An engine over what a store recovered. Emits nothing.
    pub fn new(_options: EngineOptions, recovered: Recovered, _now: Timestamp) -> Self {
        Self { generation: recovered.generation }
    }

    /// Takes one event and appends what it decided to `out`.
    pub fn handle(&mut self, _now: Timestamp, _event: Event, _out: &mut Effects) {}

    /// When [`Event::Tick`] is due, if anything waits for time.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// All queues, by name.
    pub fn queue_views(&self) -> Vec<QueueView> {
        Vec::new()
    }

    /// One queue.
    pub fn queue_view(&self, _name: &QueueName) -> Option<QueueView> {
        None
    }

    /// All workers, by connection.
    pub fn worker_views(&self) -> Vec<WorkerView> {
        Vec::new()
    }

    /// How many there are of what.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }

    /// What the engine knows of an unfinished message; `None` if it is finished or never was.
    pub fn message_overlay(&self, _queue: &QueueName, _seq: Seq) -> Option<MessageOverlay> {
        None
    }

    /// A queue's id.
    pub fn queue_id(&self, _name: &QueueName) -> Option<QueueId> {
        None
    }

    /// A queue's name.
    pub fn queue_name(&self, _id: QueueId) -> Option<&QueueName> {
        None
    }

    /// This run's number.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Queues whose view changed since the last call, each once.
    pub fn take_changed_queues(&mut self) -> Vec<QueueName> {
        Vec::new()
    }

    /// Whether anything about a worker changed since the last call.
    pub fn take_workers_changed(&mut self) -> bool {
        false
    }
}
