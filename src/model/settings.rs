//! A queue's settings, as `[queues."name"]` in the configuration has them (design.md 7).

mod dedup;
mod retry;
mod template;

use serde::{Deserialize, Serialize};

use super::ids::QueueName;
use super::limits;
use super::schema_text::SchemaText;
use super::timing::MAX_TIMING_MS;

pub use dedup::Dedup;
pub use retry::{Backoff, Retry};
pub use template::{QueueTemplate, SharedSettings};

/// How a queue behaves. Defaults are the configuration's.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Where its messages wait.
    pub mailbox: Mailbox,
    /// Of a `mixed` queue, how many messages wait in RAM at most; at least 1.
    pub memory_messages: u64,
    /// Where the others of a `mixed` queue wait.
    pub spill: Spill,
    /// What may overtake what.
    pub ordering: Ordering,
    /// Whether the header's `priority` counts; only where there is no order.
    pub priority: bool,
    /// What happens when attempts are used up.
    pub on_failure: OnFailure,
    /// Attempts and back-off.
    pub retry: Retry,
    /// How long a worker may hold a message without a sign of progress, in milliseconds.
    pub lease_ms: u64,
    /// When a message counts as done.
    pub ack: AckMode,
    /// Whether its workers share its messages.
    pub consumers: Consumers,
    /// How long a message is of use once it may be delivered, in milliseconds; 0: for ever. A message's own, if shorter.
    pub ttl_ms: u64,
    /// Messages that may wait; 0: no bound.
    pub max_messages: u64,
    /// Bytes that may wait; 0: no bound, of a `memory` queue [`limits::DEFAULT_MEMORY_BYTES`].
    pub max_bytes: u64,
    /// What happens to a message that would go beyond.
    pub overflow: Overflow,
    /// Which ids are remembered for de-duplication.
    pub dedup: Dedup,
    /// Whether a message goes to another worker too if its worker doesn't answer.
    pub resend: Resend,
    /// Where dead letters go: a queue's name, in which `{queue}` stands for this one's.
    pub dead_letter: String,
    /// Of no use for so long the queue goes, in milliseconds; 0: it stays.
    pub delete_on_idle_ms: u64,
    /// What its payloads must look like, as a JSON Schema's text; empty: anything. In views a word that stands for it.
    #[cfg_attr(test, schema(value_type = String))]
    pub schema: SchemaText,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            mailbox: Mailbox::File,
            memory_messages: 1_000,
            spill: Spill::File,
            ordering: Ordering::Queue,
            priority: false,
            on_failure: OnFailure::Block,
            retry: Retry::default(),
            lease_ms: 30_000,
            ack: AckMode::AfterWork,
            consumers: Consumers::Shared,
            ttl_ms: 0,
            max_messages: 0,
            max_bytes: 0,
            overflow: Overflow::Reject,
            dedup: Dedup::default(),
            resend: Resend::default(),
            dead_letter: "{queue}.dead".to_owned(),
            delete_on_idle_ms: 0,
            schema: SchemaText::default(),
        }
    }
}

/// The shortest lease, in milliseconds: longer than a worker's way to say that it goes on.
const MIN_LEASE_MS: u64 = 100;
/// The shortest idle time after which a queue goes, in milliseconds: longer than from a message's acceptance to the next.
const MIN_IDLE_MS: u64 = 1_000;
/// Ids remembered for one queue, at most: some 100 bytes of RAM each.
const MAX_DEDUP: u32 = 10_000_000;
/// Messages of a `mixed` queue in RAM, at most: each costs some 300 bytes beside its content, and all of them
/// are written in one commit when the queue moves to a durable mailbox.
const MAX_MEMORY_MESSAGES: u64 = 1_000_000;

impl QueueSettings {
    /// Header and payload bytes that may wait, if that is bounded.
    pub const fn byte_bound(&self) -> Option<u64> {
        match (self.max_bytes, self.mailbox) {
            (0, Mailbox::Memory) => Some(limits::DEFAULT_MEMORY_BYTES),
            (0, Mailbox::File | Mailbox::Mixed | Mailbox::Redis) => None,
            (bytes, _) => Some(bytes),
        }
    }

    /// These settings as they are shown: with a word for the schema.
    pub fn shown(&self) -> Self {
        Self { schema: self.schema.summary(), ..self.clone() }
    }

    /// Messages that may wait, if that is bounded.
    pub const fn message_bound(&self) -> Option<u64> {
        match self.max_messages {
            0 => None,
            messages => Some(messages),
        }
    }

    /// The dead-letter queue of the queue with these settings and this name, or why there can be none.
    pub fn dead_letter_of(&self, name: &QueueName) -> Result<QueueName, String> {
        let target = self.dead_letter.replace("{queue}", name.as_str());
        let target = QueueName::new(&target).map_err(|error| format!("dead_letter: {error}"))?;
        if target == *name {
            return Err(format!("dead_letter is {target}, the queue itself; name another"));
        }
        Ok(target)
    }

    /// Whether a Redis keeps payloads of this queue.
    pub const fn needs_redis(&self) -> bool {
        match self.mailbox {
            Mailbox::Redis => true,
            Mailbox::Mixed => matches!(self.spill, Spill::Redis),
            Mailbox::Memory | Mailbox::File => false,
        }
    }

    fn check_resend(&self) -> Result<(), String> {
        let keep_ms = self.resend.keep_ms;
        if keep_ms == 0 {
            return Ok(());
        }
        if keep_ms < MIN_LEASE_MS {
            return Err(format!("resend.keep_ms is {keep_ms}; at least {MIN_LEASE_MS}, or 0"));
        }
        if keep_ms >= self.lease_ms {
            return Err(format!(
                "resend.keep_ms ({keep_ms}) must be below lease_ms ({}): then another worker gets the message anyway",
                self.lease_ms
            ));
        }
        if self.consumers == Consumers::Exclusive {
            return Err("resend gives a message to another worker too, and consumers = \"exclusive\" means one at a \
                        time; leave one out"
                .to_owned());
        }
        if self.ack == AckMode::OnDelivery {
            return Err("resend may send a message twice, and ack = \"on-delivery\" means at most once; leave one out"
                .to_owned());
        }
        Ok(())
    }

    fn check_idle(&self) -> Result<(), String> {
        let idle_ms = self.delete_on_idle_ms;
        if idle_ms == 0 {
            return Ok(());
        }
        if !(MIN_IDLE_MS..=MAX_TIMING_MS).contains(&idle_ms) {
            return Err(format!(
                "delete_on_idle_ms is {idle_ms}; from {MIN_IDLE_MS} to {MAX_TIMING_MS}, or 0"
            ));
        }
        if self.needs_redis() {
            return Err("delete_on_idle_ms deletes a queue that nobody uses, and others may add to a stream in Redis at \
                        any time; leave one out"
                .to_owned());
        }
        Ok(())
    }

    /// An error, for people, if the values don't go together or are out of range.
    pub fn check(&self) -> Result<(), String> {
        let retry = &self.retry;
        if retry.attempts == 0 {
            return Err("retry.attempts must be at least 1: the first delivery counts".to_owned());
        }
        if !(0.0..=1.0).contains(&retry.jitter) {
            return Err(format!("retry.jitter is {}; it must be from 0 to 1", retry.jitter));
        }
        if retry.max_ms < retry.initial_ms {
            return Err(format!(
                "retry.max_ms ({}) is below retry.initial_ms ({})",
                retry.max_ms, retry.initial_ms
            ));
        }
        QueueName::new(&self.dead_letter.replace("{queue}", "x"))
            .map_err(|error| format!("dead_letter: {error}"))?;
        if self.priority && self.ordering != Ordering::None {
            return Err(format!(
                "priority = true lets messages overtake others, and ordering = {:?} lets none; set ordering = \
                 \"none\", or leave priority out",
                self.ordering.as_str()
            ));
        }
        if self.lease_ms < MIN_LEASE_MS {
            return Err(format!("lease_ms is {}; at least {MIN_LEASE_MS}", self.lease_ms));
        }
        self.check_resend()?;
        if self.ttl_ms > MAX_TIMING_MS {
            return Err(format!(
                "ttl_ms is {}; at most {MAX_TIMING_MS}, which are ten years",
                self.ttl_ms
            ));
        }
        self.check_idle()?;
        self.schema.check()?;
        if self.dedup.last() > MAX_DEDUP {
            return Err(format!("dedup.last is {}; at most {MAX_DEDUP}", self.dedup.last()));
        }
        if !(1..=MAX_MEMORY_MESSAGES).contains(&self.memory_messages) {
            return Err(format!(
                "memory_messages is {}; it must be from 1 to {MAX_MEMORY_MESSAGES}",
                self.memory_messages
            ));
        }
        Ok(())
    }
}

/// Where messages wait (design.md 2).
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mailbox {
    /// RAM: gone with the process.
    Memory,
    /// sled: durable before ACCEPTED.
    #[default]
    File,
    /// RAM while little waits, the rest where `spill` says.
    Mixed,
    /// A Redis stream; what is known of the messages is in sled.
    Redis,
}

impl Mailbox {
    /// The word used in the configuration, in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file",
            Self::Mixed => "mixed",
            Self::Redis => "redis",
        }
    }
}

/// Where the messages of a `mixed` queue wait that don't wait in RAM.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spill {
    /// As in a `file` queue.
    #[default]
    File,
    /// As in a `redis` queue.
    Redis,
}

/// What may overtake what (design.md rules 1 to 3).
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordering {
    /// Strictly first in, first out, one in flight.
    #[default]
    Queue,
    /// The same for each order key by itself; messages without a key have no order.
    Key,
    /// Competing consumers: nothing waits for anything.
    None,
}

impl Ordering {
    /// The word used in the configuration, in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Key => "key",
            Self::None => "none",
        }
    }
}

/// What happens when attempts are used up.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The queue stops until an operator decides.
    #[default]
    Block,
    /// The message goes to the dead-letter queue, and its queue goes on.
    DeadLetter,
    /// The message is at its end, with an entry in the journal, and its queue goes on.
    Drop,
}

impl OnFailure {
    /// The word used in the configuration and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DeadLetter => "dead-letter",
            Self::Drop => "drop",
        }
    }
}

/// What happens to a message beyond `max_messages` or `max_bytes`.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// REJECTED `full`.
    #[default]
    Reject,
    /// It is accepted, and the oldest go to the dead-letter queue.
    DeadLetterOldest,
}

impl Overflow {
    /// The word used in the configuration and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::DeadLetterOldest => "dead-letter-oldest",
        }
    }
}

/// The re-send plug-in.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resend {
    /// How long a worker is waited for before another one gets the message too, in milliseconds; 0: it isn't.
    pub keep_ms: u64,
}

/// When a message counts as done.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AckMode {
    /// On the worker's ACK: at least once.
    #[default]
    AfterWork,
    /// When it is handed out: at most once.
    OnDelivery,
}

/// Whether a queue's workers share its messages.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consumers {
    /// All of them are given some.
    #[default]
    Shared,
    /// One at a time is given all; the others stand by, and one takes over when it goes.
    Exclusive,
}
