//! The broker of every run: a queue for each way in which one may behave, a topic, gathers and a saga.

use crate::engine::EngineOptions;
use crate::engine::tests::rig::queue;
use crate::model::{
    AckMode, Aggregate, Completion, ConfiguredGather, ConfiguredTopic, Consumers, Dedup, Filter,
    GatherName, GatherSettings, OnError, OnFailure, Ordering, Overflow, QueueSettings, Recipients,
    Resend, Retry, SagaDefinition, SagaName, SagaStep, Subscription, TopicName, TopicSettings,
};

/// How many queues a script may name: those that [`queues`] gives.
pub(super) const QUEUES: u8 = 15;
/// The queues that get every event of the topic.
pub(super) const SUBSCRIBED: [&str; 2] = ["order", "free"];
/// The queue that gets those with the key `k1` while it is subscribed.
pub(super) const FILTERED: &str = "timed";
/// Where `reply_to` points.
pub(super) const REPLIES: &str = "replies";
/// The gathers: name, recipients, how many replies are enough.
pub(super) const GATHERS: [(&str, [&str; 3], usize); 2] =
    [("all", ["free", "again", "alone"], 3), ("two", ["free.drops", "key", "timed"], 2)];
/// How long a gather lasts, in milliseconds.
pub(super) const GATHER_MS: u64 = 40_000;
/// The saga's steps: name, whether it can be taken back.
pub(super) const STEPS: [(&str, bool); 3] = [("a", true), ("b", true), ("c", false)];

pub(super) fn queues() -> Vec<(&'static str, QueueSettings)> {
    let retry = |attempts| Retry { attempts, jitter: 0.0, ..Retry::default() };
    let plain = QueueSettings { dedup: Dedup::Count { last: 16 }, ..QueueSettings::default() };
    let of =
        |ordering, attempts| QueueSettings { ordering, retry: retry(attempts), ..plain.clone() };
    let buries = |ordering| QueueSettings { on_failure: OnFailure::DeadLetter, ..of(ordering, 1) };
    vec![
        ("order", of(Ordering::Queue, 2)),
        ("order.ttl", QueueSettings { ttl_ms: 15_000, ..of(Ordering::Queue, 1) }),
        ("order.once", QueueSettings { ack: AckMode::OnDelivery, ..of(Ordering::Queue, 1) }),
        ("key", of(Ordering::Key, 2)),
        ("key.buries", buries(Ordering::Key)),
        ("free", QueueSettings { priority: true, ..of(Ordering::None, 2) }),
        ("free.drops", QueueSettings { on_failure: OnFailure::Drop, ..of(Ordering::None, 1) }),
        (
            "bounded",
            QueueSettings {
                max_messages: 6,
                overflow: Overflow::DeadLetterOldest,
                ..of(Ordering::Queue, 1)
            },
        ),
        ("again", QueueSettings { resend: Resend { keep_ms: 2_000 }, ..of(Ordering::None, 3) }),
        (
            "timed",
            QueueSettings {
                dedup: Dedup::Time { window_ms: 4_000, last: 32 },
                ..of(Ordering::Queue, 1)
            },
        ),
        (
            "alone",
            QueueSettings {
                consumers: Consumers::Exclusive,
                lease_ms: 5_000,
                ..of(Ordering::None, 2)
            },
        ),
        ("step.a", buries(Ordering::Queue)),
        ("step.b", of(Ordering::None, 2)),
        ("undo", buries(Ordering::None)),
        (REPLIES, of(Ordering::Queue, 2)),
    ]
}

/// The engine's options, but for its windows and its seed.
pub(super) fn options() -> EngineOptions {
    EngineOptions {
        live: true,
        topics: vec![ConfiguredTopic {
            name: topic(),
            settings: TopicSettings::default(),
            subscriptions: SUBSCRIBED.map(|name| subscription(name, None)).into(),
        }],
        gathers: GATHERS.map(|(name, recipients, enough)| gather(name, recipients, enough)).into(),
        sagas: vec![saga()],
        ..EngineOptions::default()
    }
}

pub(super) fn topic() -> TopicName {
    TopicName::new("t").expect("a topic")
}

pub(super) fn trip() -> SagaName {
    SagaName::new("trip").expect("a saga")
}

/// What is subscribed and unsubscribed at run time.
pub(super) fn filtered() -> Subscription {
    subscription(FILTERED, Some("header.key == 'k1'"))
}

fn subscription(name: &str, filter: Option<&str>) -> Subscription {
    let filter = filter.map(|text| Filter::new(text).expect("it compiles"));
    Subscription { queue: queue(name), filter, on_error: OnError::Skip }
}

fn gather(name: &str, recipients: [&str; 3], enough: usize) -> ConfiguredGather {
    let complete = match enough {
        3 => Completion::All,
        fewer => Completion::Count(fewer as u32),
    };
    let recipients = recipients.map(|name| subscription(name, None)).into();
    let settings = GatherSettings {
        recipients: Recipients::Fixed(recipients),
        complete,
        timeout_ms: GATHER_MS,
        aggregate: Aggregate::List,
    };
    ConfiguredGather { name: GatherName::new(name).expect("a gather"), settings }
}

fn saga() -> SagaDefinition {
    let step = |(name, is_undone): (&str, bool), to: &str, attempts| SagaStep {
        name: name.to_owned(),
        queue: queue(to),
        compensate: is_undone.then(|| queue("undo")),
        timeout_ms: 20_000,
        attempts,
        retry_ms: 500,
    };
    let steps =
        vec![step(STEPS[0], "step.a", 2), step(STEPS[1], "step.b", 1), step(STEPS[2], "step.a", 2)];
    SagaDefinition { name: trip(), version: 1, steps }
}
