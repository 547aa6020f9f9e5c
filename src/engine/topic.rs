//! Topics: an event becomes a message for each queue whose subscription takes it, all in one commit.
//!
//! A subscription is known by its topic and queue; a topic has at most one for a queue. Those of the
//! configuration come first, in its order, then those made at run time, in theirs: where only the first that
//! matches gets an event, that is the order. What the configuration names is the configuration's: it can't be
//! subscribed or unsubscribed at run time, and one that was made at run time before sleeps until the
//! configuration doesn't name it any more.

mod publish;
mod subscribe;
mod view;

use std::collections::BTreeMap;

use crate::model::{
    ConfiguredTopic, Filter, OnError, QueueName, Subscription, SubscriptionRecord, TopicName,
    TopicSettings,
};

/// All topics that the configuration or a subscription names.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: BTreeMap<TopicName, Topic>,
    /// Subscriptions made at run time, and the bytes of their filters.
    run_time: usize,
    filter_bytes: usize,
    last_number: u64,
    /// Events published to topics that nobody knows.
    unknown: u64,
}

#[derive(Debug, Default)]
struct Topic {
    is_configured: bool,
    settings: TopicSettings,
    subscribed: BTreeMap<Place, Subscribed>,
    by_queue: BTreeMap<QueueName, Place>,
    /// Made at run time, for queues that the configuration names too.
    sleeping: BTreeMap<QueueName, SubscriptionRecord>,
    published: u64,
    unmatched: u64,
}

/// A subscription's place among those of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Configured(usize),
    RunTime(u64),
}

#[derive(Debug)]
struct Subscribed {
    queue: QueueName,
    /// One that was taken by an earlier version may not compile any more: then it fails on every event.
    filter: Option<Result<Filter, String>>,
    on_error: OnError,
    /// Set if it was made at run time.
    record: Option<Box<SubscriptionRecord>>,
    matched: u64,
    errors: u64,
    last_error: Option<String>,
}

impl Topics {
    pub(super) fn new(configured: Vec<ConfiguredTopic>, mut kept: Vec<SubscriptionRecord>) -> Self {
        let mut topics = Self::default();
        for ConfiguredTopic { name, settings, subscriptions } in configured {
            let topic = topics.by_name.entry(name).or_default();
            topic.is_configured = true;
            topic.settings = settings;
            for (at, subscription) in subscriptions.into_iter().enumerate() {
                topic.put(Place::Configured(at), Subscribed::configured(subscription));
            }
        }
        kept.sort_by_key(|record| record.number);
        for record in kept {
            topics.put(record);
        }
        topics
    }

    /// Takes a subscription made at run time in, in the place of the one before.
    fn put(&mut self, record: SubscriptionRecord) {
        self.remove(&record.topic, &record.queue);
        self.last_number = self.last_number.max(record.number);
        self.run_time = self.run_time.saturating_add(1);
        self.filter_bytes = self.filter_bytes.saturating_add(filter_bytes(&record));
        let topic = self.by_name.entry(record.topic.clone()).or_default();
        if topic.has_configured(&record.queue) {
            topic.sleeping.insert(record.queue.clone(), record);
        } else {
            topic.put(Place::RunTime(record.number), Subscribed::at_run_time(record));
        }
    }

    /// Takes a subscription made at run time out, and the topic if nothing is left of it.
    fn remove(&mut self, name: &TopicName, queue: &QueueName) -> Option<SubscriptionRecord> {
        let topic = self.by_name.get_mut(name)?;
        let removed = match topic.by_queue.get(queue) {
            Some(&Place::Configured(_)) | None => topic.sleeping.remove(queue),
            Some(&place @ Place::RunTime(_)) => {
                topic.by_queue.remove(queue);
                topic.subscribed.remove(&place)?.record.map(|record| *record)
            }
        }?;
        self.run_time = self.run_time.saturating_sub(1);
        self.filter_bytes = self.filter_bytes.saturating_sub(filter_bytes(&removed));
        if !topic.is_configured && topic.subscribed.is_empty() {
            self.by_name.remove(name);
        }
        Some(removed)
    }

    /// A topic whose events a queue gets, by a subscription or as what is left over.
    pub(super) fn that_names(&self, queue: &QueueName) -> Option<&TopicName> {
        let names = |(_, topic): &(&TopicName, &Topic)| {
            topic.by_queue.contains_key(queue)
                || topic.sleeping.contains_key(queue)
                || topic.settings.otherwise.as_ref() == Some(queue)
        };
        self.by_name.iter().find(names).map(|(name, _)| name)
    }

    fn record(&self, name: &TopicName, queue: &QueueName) -> Option<&SubscriptionRecord> {
        let topic = self.by_name.get(name)?;
        let subscribed = topic.by_queue.get(queue).and_then(|place| topic.subscribed.get(place));
        subscribed.and_then(|subscribed| subscribed.record.as_deref())
    }

    fn has_configured(&self, name: &TopicName, queue: &QueueName) -> bool {
        self.by_name.get(name).is_some_and(|topic| topic.has_configured(queue))
    }
}

impl Topic {
    fn put(&mut self, place: Place, subscribed: Subscribed) {
        self.by_queue.insert(subscribed.queue.clone(), place);
        self.subscribed.insert(place, subscribed);
    }

    fn has_configured(&self, queue: &QueueName) -> bool {
        matches!(self.by_queue.get(queue), Some(Place::Configured(_)))
    }
}

impl Subscribed {
    fn configured(Subscription { queue, filter, on_error }: Subscription) -> Self {
        Self::new(queue, filter.map(Ok), on_error, None)
    }

    fn at_run_time(record: SubscriptionRecord) -> Self {
        let compiled = |text: &String| Filter::new(text).map_err(|error| error.to_string());
        let filter = record.filter.as_ref().map(compiled);
        Self::new(record.queue.clone(), filter, record.on_error, Some(Box::new(record)))
    }

    fn new(
        queue: QueueName,
        filter: Option<Result<Filter, String>>,
        on_error: OnError,
        record: Option<Box<SubscriptionRecord>>,
    ) -> Self {
        Self { queue, filter, on_error, record, matched: 0, errors: 0, last_error: None }
    }
}

fn filter_bytes(record: &SubscriptionRecord) -> usize {
    record.filter.as_ref().map_or(0, String::len)
}

/// Whether a subscription's filter can fail, and an event then becomes a dead letter.
fn may_dead_letter(has_filter: bool, on_error: OnError) -> bool {
    has_filter && on_error == OnError::DeadLetter
}
