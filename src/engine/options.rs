//! What the engine is told when it is made.

use crate::model::{
    ConfiguredGather, ConfiguredTopic, QueueName, QueueSettings, QueueTemplate, SagaDefinition,
    limits,
};

/// The engine's options. Queues with settings of their own come by [`super::Event::PutQueue`].
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Settings for queues made on the fly; the longest matching prefix wins.
    pub templates: Vec<QueueTemplate>,
    /// What the configuration says of queues that it names: what a setting goes back to.
    pub configured: Vec<(QueueName, QueueSettings)>,
    /// The topics that the configuration names, with their subscriptions.
    pub topics: Vec<ConfiguredTopic>,
    /// Somebody may listen to what is published: [`super::Effect::Live`] tells it.
    pub live: bool,
    /// The sagas that may begin.
    pub sagas: Vec<SagaDefinition>,
    /// The gathers that the configuration names.
    pub gathers: Vec<ConfiguredGather>,
    /// A Redis is configured: queues may keep payloads there.
    pub redis: bool,
    /// Queues in all; beyond, making one is refused as `full`.
    pub max_queues: usize,
    /// Messages whose contents are kept in RAM at the head of one queue, at least 1. Half of it should last for a read of the rest.
    pub window_messages: usize,
    /// Bytes of header and payload kept in RAM at the head of one queue; one message is always kept.
    pub window_bytes: usize,
    /// The same over all queues. Beyond, a queue gets its contents one message at a time, when a worker
    /// is free for it: RAM is bounded by this plus one message for each free or used worker credit.
    pub total_window_bytes: usize,
    /// Silence after which a worker gets nothing more until it is heard again, and loses what it holds, in milliseconds. As long as
    /// `heartbeat_timeout_ms` or longer: there is no such time.
    pub suspect_ms: u64,
    /// Silence after which a worker is gone, in milliseconds.
    pub heartbeat_timeout_ms: u64,
    /// Seeds the jitter of back-offs and the fingerprints of de-duplication.
    pub seed: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            templates: Vec::new(),
            configured: Vec::new(),
            topics: Vec::new(),
            live: false,
            sagas: Vec::new(),
            gathers: Vec::new(),
            redis: false,
            max_queues: limits::MAX_QUEUES,
            window_messages: 4096,
            window_bytes: 4 * 1024 * 1024,
            total_window_bytes: 64 * 1024 * 1024,
            suspect_ms: limits::SUSPECT_MS,
            heartbeat_timeout_ms: limits::HEARTBEAT_MS.saturating_mul(limits::HEARTBEAT_MISSES),
            seed: 0,
        }
    }
}
