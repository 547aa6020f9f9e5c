//! Subscribing and unsubscribing at run time. Both may be said twice: the second time changes nothing.

use std::sync::Arc;

use crate::model::{
    Actor, JournalKind, Op, Origin, QueueName, RejectCode, Rejection, Subscription,
    SubscriptionChange, SubscriptionRecord, TopicName, limits,
};

use super::filter_bytes;
use crate::engine::journal::Entry;
use crate::engine::request::draining;
use crate::engine::send::no_such_queue;
use crate::engine::{Effect, Effects, Engine};

impl Engine {
    pub(in crate::engine) fn handle_subscribe(
        &mut self,
        origin: Origin,
        actor: Actor,
        topic: TopicName,
        subscription: Subscription,
        out: &mut Effects,
    ) {
        let Subscription { queue, filter, on_error } = subscription;
        let record = SubscriptionRecord {
            number: self.topics.last_number.saturating_add(1),
            topic,
            queue,
            filter: filter.map(String::from),
            on_error,
            by: actor,
            at: self.now,
        };
        let known = self.topics.record(&record.topic, &record.queue);
        let changed = known.is_none_or(|known| !says_the_same(known, &record));
        let change = SubscriptionChange {
            topic: record.topic.clone(),
            queue: record.queue.clone(),
            changed,
        };
        if changed {
            // One that is replaced keeps its place in the order.
            let number = known.map_or(record.number, |known| known.number);
            if let Err(rejection) =
                self.put_subscription(SubscriptionRecord { number, ..record }, out)
            {
                return out.effects.push(Effect::Rejected { origin, rejection });
            }
        }
        out.effects.push(Effect::Subscribed { origin, change });
    }

    fn put_subscription(
        &mut self,
        record: SubscriptionRecord,
        out: &mut Effects,
    ) -> Result<(), Rejection> {
        self.refuse_subscription(&record)?;
        let at = match self.queues.by_name(&record.queue) {
            Some(at) => at,
            None => {
                let settings = self.template(&record.queue).map(Arc::clone);
                let settings = settings.ok_or_else(|| no_such_queue(&record.queue))?;
                self.make_queue(record.queue.clone(), settings, record.by.clone(), out)
            }
        };
        let filter = record.filter.as_ref().map_or(String::new(), |text| format!(" where {text}"));
        let reason = format!("to {}{filter}", record.topic);
        self.note_subscription(at, JournalKind::Subscribed, record.by.clone(), reason, out);
        out.ops.push(Op::PutSubscription(Box::new(record.clone())));
        let failing = super::may_dead_letter(record.filter.is_some(), record.on_error);
        let queue = record.queue.clone();
        self.topics.put(record);
        if failing {
            self.note_dead_letters_of(&queue);
        }
        Ok(())
    }

    fn refuse_subscription(&self, record: &SubscriptionRecord) -> Result<(), Rejection> {
        let SubscriptionRecord { topic, queue, .. } = record;
        if self.stopping {
            return Err(draining("the broker stops; subscribe when it is back"));
        }
        if self.topics.has_configured(topic, queue) {
            return Err(in_configuration(topic, queue));
        }
        if self.queues.by_name(queue).is_none() {
            self.admit_new([queue])?;
        }
        let known = self.topics.record(topic, queue);
        let of_topic = self.topics.by_name.get(topic).map_or(0, |topic| topic.subscribed.len());
        let full = |what: String| Err(Rejection::new(RejectCode::Full, what));
        if known.is_none() && of_topic >= limits::MAX_TOPIC_SUBSCRIPTIONS {
            return full(format!(
                "{topic} has {of_topic} subscriptions, as many as a topic may have; unsubscribe one that isn't needed \
                 (mubroker topic unsubscribe {topic} QUEUE), or make two topics of it"
            ));
        }
        if known.is_none() && self.topics.run_time >= limits::MAX_SUBSCRIPTIONS {
            return full(format!(
                "there are {} subscriptions that were made at run time, as many as there may be; unsubscribe some that \
                 aren't needed, or write them into the configuration, where they don't count",
                self.topics.run_time
            ));
        }
        let before = known.map_or(0, filter_bytes);
        let bytes = self.topics.filter_bytes.saturating_sub(before);
        if bytes.saturating_add(filter_bytes(record)) > limits::MAX_FILTERS_BYTES {
            let max = limits::MAX_FILTERS_BYTES;
            return full(format!(
                "the filters of all subscriptions that were made at run time have {bytes} bytes, and at most {max} are \
                 allowed; shorten some, or write them into the configuration, where they don't count"
            ));
        }
        Ok(())
    }

    pub(in crate::engine) fn handle_unsubscribe(
        &mut self,
        origin: Origin,
        actor: Actor,
        topic: &TopicName,
        queue: &QueueName,
        out: &mut Effects,
    ) {
        let removed = self.topics.remove(topic, queue).is_some();
        if removed {
            let (topic, queue) = (topic.clone(), queue.clone());
            if let Some(at) = self.queues.by_name(&queue) {
                let reason = format!("from {topic}");
                self.note_subscription(at, JournalKind::Unsubscribed, actor, reason, out);
            }
            out.ops.push(Op::RemoveSubscription { topic, queue });
        } else if self.topics.has_configured(topic, queue) {
            let rejection = in_configuration(topic, queue);
            return out.effects.push(Effect::Rejected { origin, rejection });
        }
        let change =
            SubscriptionChange { topic: topic.clone(), queue: queue.clone(), changed: removed };
        out.effects.push(Effect::Subscribed { origin, change });
    }

    fn note_subscription(
        &mut self,
        at: crate::engine::queues::QueueIndex,
        kind: JournalKind,
        actor: Actor,
        mut reason: String,
        out: &mut Effects,
    ) {
        limits::clip(&mut reason, limits::MAX_REASON_BYTES);
        self.write_journal(at, Entry { reason, ..Entry::new(kind, actor) }, out);
    }
}

fn says_the_same(a: &SubscriptionRecord, b: &SubscriptionRecord) -> bool {
    a.filter == b.filter && a.on_error == b.on_error
}

fn in_configuration(topic: &TopicName, queue: &QueueName) -> Rejection {
    let reason = format!(
        "the configuration subscribes {queue} to {topic}; change it there ([topics.\"{topic}\"])"
    );
    Rejection::new(RejectCode::Forbidden, reason)
}
