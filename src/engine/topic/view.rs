//! Topics as operators see them.

use std::ops::Bound;

use crate::model::{SubscriptionView, TopicDetail, TopicName, TopicPage, TopicView};

use super::{Subscribed, Topic};
use crate::engine::Engine;

impl Engine {
    /// Topics by name, those after `after`, at most `max`.
    pub fn topic_page(&self, after: Option<&TopicName>, max: usize) -> TopicPage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.topics.by_name.range((from, Bound::Unbounded));
        let topics: Vec<_> = range.take(max).map(|(name, topic)| topic.view(name)).collect();
        let last = topics.last().filter(|_| topics.len() == max).map(|topic| topic.name.clone());
        TopicPage { topics, next_after: last, unknown: self.topics.unknown }
    }

    /// A topic with its subscriptions from the place `from` on, at most `max`; `None` if nobody knows it.
    pub fn topic_detail(&self, name: &TopicName, from: u64, max: usize) -> Option<TopicDetail> {
        let topic = self.topics.by_name.get(name)?;
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        let rows = topic.subscribed.values().skip(skipped).take(max);
        let subscriptions: Vec<_> = rows.map(Subscribed::view).collect();
        let next = from.saturating_add(subscriptions.len() as u64);
        let next = Some(next).filter(|&next| next < topic.subscribed.len() as u64);
        Some(TopicDetail { topic: topic.view(name), subscriptions, next })
    }
}

impl Topic {
    fn view(&self, name: &TopicName) -> TopicView {
        TopicView {
            name: name.clone(),
            configured: self.is_configured,
            settings: self.settings.clone(),
            subscriptions: self.subscribed.len() as u64,
            published: self.published,
            unmatched: self.unmatched,
            filter_errors: self
                .subscribed
                .values()
                .map(|it| it.errors)
                .fold(0, u64::saturating_add),
        }
    }
}

impl Subscribed {
    fn view(&self) -> SubscriptionView {
        let text = match (&self.filter, &self.record) {
            (Some(Ok(filter)), _) => Some(filter.text().to_owned()),
            (Some(Err(_)), Some(record)) => record.filter.clone(),
            (Some(Err(_)), None) | (None, _) => None,
        };
        SubscriptionView {
            queue: self.queue.clone(),
            filter: text,
            on_error: self.on_error,
            configured: self.record.is_none(),
            by: self.record.as_ref().map(|record| record.by.clone()),
            at: self.record.as_ref().map(|record| record.at),
            matched: self.matched,
            filter_errors: self.errors,
            last_error: self.last_error.clone(),
        }
    }
}
