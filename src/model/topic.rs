//! Topics and subscriptions: which queues an event goes to.

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::ids::{MessageId, QueueName, TopicName};
use super::journal::Actor;
use super::time::Timestamp;

/// How a topic behaves, as `[topics."name"]` in the configuration has it. Defaults are the configuration's, and
/// those of a topic that is only subscribed to at run time.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicSettings {
    /// Which of the subscriptions that match get an event.
    #[serde(rename = "match")]
    pub matching: Match,
    /// The queue of an event that no subscription takes.
    pub otherwise: Option<QueueName>,
    /// What happens to an event that has no queue at all.
    pub unroutable: Unroutable,
}

/// Which of the subscriptions that match get an event.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// Each of them: publish and subscribe.
    #[default]
    All,
    /// Only the first, in their order: a content-based router.
    First,
}

impl Match {
    /// The word used in the configuration, in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::First => "first",
        }
    }
}

/// What happens to an event that no subscription takes, where there is no `otherwise` queue.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unroutable {
    /// The producer is told that it went to 0 queues, and it is counted.
    #[default]
    Accept,
    /// REJECTED `unroutable`, as if the producer had asked for that.
    Reject,
    /// It goes to the queue `{topic}.dead`, with the reason `unroutable`.
    DeadLetter,
}

impl Unroutable {
    /// The word used in the configuration, in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::DeadLetter => "dead-letter",
        }
    }
}

/// What happens to an event when a filter can't tell whether it passes. It is counted and told in any case.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// It goes to the dead-letter queue of the subscription's queue, with the reason `filter`.
    #[default]
    DeadLetter,
    /// It goes to the subscription's queue, as if it had passed.
    Deliver,
    /// It doesn't, as if it hadn't.
    Skip,
    /// The whole publish is refused.
    Reject,
}

impl OnError {
    /// The word used in the configuration, in JSON and on screens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead-letter",
            Self::Deliver => "deliver",
            Self::Skip => "skip",
            Self::Reject => "reject",
        }
    }
}

/// A topic with what the configuration says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredTopic {
    /// Its name.
    pub name: TopicName,
    /// How it behaves.
    pub settings: TopicSettings,
    /// Its subscriptions, in their order; at most one for each queue.
    pub subscriptions: Vec<Subscription>,
}

/// A queue's wish for the events of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// Where the events go.
    pub queue: QueueName,
    /// Which of them; all if absent.
    pub filter: Option<Filter>,
    /// What if the filter fails.
    pub on_error: OnError,
}

/// A subscription that was made at run time, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRecord {
    /// Rises; the order among those of one topic.
    pub number: u64,
    /// The topic.
    pub topic: TopicName,
    /// Where the events go. With the topic it is the subscription's name: there is one for both.
    pub queue: QueueName,
    /// The filter's text; all events if absent. Not compiled: a later version may refuse what this one took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What if the filter fails.
    #[serde(default)]
    pub on_error: OnError,
    /// Who subscribed.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// What a producer is told of an event that is durable.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its id, in all queues the same.
    pub id: MessageId,
    /// Its topic.
    pub topic: TopicName,
    /// Queues that have it, dead-letter queues included.
    pub queues: u64,
    /// Each of them had it already; nothing was added.
    pub duplicate: bool,
}

/// What `subscribe` or `unsubscribe` did.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionChange {
    /// The topic.
    pub topic: TopicName,
    /// The queue.
    pub queue: QueueName,
    /// Whether anything is different now.
    pub changed: bool,
}

/// A topic as a row.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicView {
    /// Its name.
    pub name: TopicName,
    /// The configuration names it.
    pub configured: bool,
    /// How it behaves.
    pub settings: TopicSettings,
    /// How many subscriptions it has.
    pub subscriptions: u64,
    /// Events accepted since the broker started.
    pub published: u64,
    /// Of these, those that no subscription took.
    pub unmatched: u64,
    /// Filters that failed since the broker started.
    pub filter_errors: u64,
}

/// A page of the topics, by name.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicPage {
    /// The rows.
    pub topics: Vec<TopicView>,
    /// Ask for topics after this name next; absent at the end.
    pub next_after: Option<TopicName>,
    /// Events published since the broker started to topics that nobody knows.
    pub unknown: u64,
}

/// A topic with a page of its subscriptions, in their order.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicDetail {
    /// The row. Nested, not flattened: serde's flatten and serde_json's exact numbers don't go together.
    pub topic: TopicView,
    /// The subscriptions from the place asked for.
    pub subscriptions: Vec<SubscriptionView>,
    /// Where the next page starts; absent at the end.
    pub next: Option<u64>,
}

/// A subscription.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionView {
    /// Where the events go.
    pub queue: QueueName,
    /// Which of them; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What if the filter fails.
    pub on_error: OnError,
    /// The configuration has it; else it was made at run time.
    pub configured: bool,
    /// Who made it at run time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Events that passed since the broker started.
    pub matched: u64,
    /// How often its filter failed since the broker started.
    pub filter_errors: u64,
    /// Why it failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}
