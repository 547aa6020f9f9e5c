//! A queue's settings, as `[queues."name"]` in the configuration has them (design.md 7).

use serde::{Deserialize, Serialize};

/// How a queue behaves. Defaults are the configuration's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Where its messages wait.
    pub mailbox: Mailbox,
    /// What may overtake what.
    pub ordering: Ordering,
    /// What happens when attempts are used up.
    pub on_failure: OnFailure,
    /// Attempts and back-off.
    pub retry: Retry,
    /// How long a worker may hold a message without a sign of progress, in milliseconds.
    pub lease_ms: u64,
    /// When a message counts as done.
    pub ack: AckMode,
    /// Messages that may wait; 0: no bound.
    pub max_messages: u64,
    /// Bytes that may wait; 0: no bound.
    pub max_bytes: u64,
    /// What happens to a message that would go beyond.
    pub overflow: Overflow,
    /// Which ids are remembered for de-duplication.
    pub dedup: Dedup,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            mailbox: Mailbox::File,
            ordering: Ordering::Queue,
            on_failure: OnFailure::Block,
            retry: Retry::default(),
            lease_ms: 30_000,
            ack: AckMode::AfterWork,
            max_messages: 0,
            max_bytes: 0,
            overflow: Overflow::Reject,
            dedup: Dedup::default(),
        }
    }
}

/// Where messages wait. The other mailboxes of design.md 2 come with their stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mailbox {
    /// RAM: gone with the process.
    Memory,
    /// sled: durable before ACCEPTED.
    #[default]
    File,
}

/// What may overtake what (design.md rules 1 to 3). `key` and `none` come in a later version; a
/// configuration that asks for them is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordering {
    /// Strictly first in, first out, one in flight.
    #[default]
    Queue,
}

/// What happens when attempts are used up. `dead-letter` and `drop` come in a later version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The queue stops until an operator decides.
    #[default]
    Block,
}

/// What happens to a message beyond `max_messages` or `max_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// REJECTED `full`.
    #[default]
    Reject,
}

/// When a message counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AckMode {
    /// On the worker's ACK: at least once.
    #[default]
    AfterWork,
    /// When it is handed out: at most once.
    OnDelivery,
}

/// Attempts and the back-off between them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Deliveries in all before `on_failure`; at least 1.
    pub attempts: u32,
    /// How the pause grows.
    pub backoff: Backoff,
    /// The first pause, in milliseconds.
    pub initial_ms: u64,
    /// The longest pause, in milliseconds.
    pub max_ms: u64,
    /// Each pause is changed by up to this share at random, 0 to 1.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff: Backoff::Exponential,
            initial_ms: 1_000,
            max_ms: 60_000,
            jitter: 0.1,
        }
    }
}

/// How the pause between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backoff {
    /// Always `initial_ms`.
    Fixed,
    /// Doubles up to `max_ms`.
    #[default]
    Exponential,
}

/// Settings for queues made on the fly: `[queues."folder.*"]`.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueTemplate {
    /// What a new queue's name must start with: the pattern without its final `*`.
    pub prefix: String,
    /// What it gets.
    pub settings: QueueSettings,
}

/// The de-duplication window: `{ by = "count", last = 10000 }` or `"off"`. A window by time comes in a
/// later version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "DedupForm", into = "DedupForm")]
pub enum Dedup {
    /// Every message is new.
    Off,
    /// The last so many accepted messages of the queue, at least 1.
    Count {
        /// How many ids are remembered.
        last: u32,
    },
}

impl Default for Dedup {
    fn default() -> Self {
        Self::Count { last: 10_000 }
    }
}

impl Dedup {
    /// How many ids are remembered; 0 when off.
    pub const fn last(self) -> u32 {
        match self {
            Self::Off => 0,
            Self::Count { last } => last,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum DedupForm {
    Word(String),
    Window { by: String, last: u32 },
}

impl TryFrom<DedupForm> for Dedup {
    type Error = String;
    fn try_from(form: DedupForm) -> Result<Self, String> {
        match form {
            DedupForm::Word(word) if word == "off" => Ok(Self::Off),
            DedupForm::Window { by, last } if by == "count" && last > 0 => Ok(Self::Count { last }),
            DedupForm::Word(_) | DedupForm::Window { .. } => {
                Err(r#"dedup is { by = "count", last = N } with N of at least 1, or "off""#
                    .to_owned())
            }
        }
    }
}

impl From<Dedup> for DedupForm {
    fn from(dedup: Dedup) -> Self {
        match dedup {
            Dedup::Off => Self::Word("off".to_owned()),
            Dedup::Count { last } => Self::Window { by: "count".to_owned(), last },
        }
    }
}
