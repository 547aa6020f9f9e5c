//! Topics as operators see and change them.

use super::commands::Request;
use super::handle::BrokerHandle;
use super::operator_error::OperatorError;
use super::peers::OperatorAnswer;
use crate::model::limits::MAX_PAGE;
use crate::model::{
    Actor, QueueName, Subscription, SubscriptionChange, TopicDetail, TopicName, TopicPage,
};

impl BrokerHandle {
    /// Topics by name, those after `after`: at most `limit`, and at most `limits::MAX_PAGE`.
    pub async fn topics(
        &self,
        after: Option<TopicName>,
        limit: usize,
    ) -> Result<TopicPage, OperatorError> {
        let limit = limit.clamp(1, MAX_PAGE);
        self.ask(move |view| view.engine.topic_page(after.as_ref(), limit)).await
    }

    /// A topic with its subscriptions from the place `from` on, at most `limit` of them, and at most
    /// `limits::MAX_PAGE`.
    pub async fn topic(
        &self,
        topic: &TopicName,
        from: u64,
        limit: usize,
    ) -> Result<TopicDetail, OperatorError> {
        let (name, limit) = (topic.clone(), limit.clamp(1, MAX_PAGE));
        let found = self.ask(move |view| view.engine.topic_detail(&name, from, limit)).await?;
        found.ok_or_else(|| OperatorError::NoSuchTopic { topic: topic.clone() })
    }

    /// Gives a queue a topic's events from now on, after a restart too.
    pub async fn subscribe(
        &self,
        actor: Actor,
        topic: TopicName,
        subscription: Subscription,
    ) -> Result<SubscriptionChange, OperatorError> {
        subscribed(self.act(Request::Subscribe { actor, topic, subscription }).await?)
    }

    /// Takes a subscription back that was made at run time.
    pub async fn unsubscribe(
        &self,
        actor: Actor,
        topic: TopicName,
        queue: QueueName,
    ) -> Result<SubscriptionChange, OperatorError> {
        subscribed(self.act(Request::Unsubscribe { actor, topic, queue }).await?)
    }
}

fn subscribed(answer: OperatorAnswer) -> Result<SubscriptionChange, OperatorError> {
    match answer {
        OperatorAnswer::Subscribed(change) => Ok(change),
        OperatorAnswer::Done
        | OperatorAnswer::Repaired(_)
        | OperatorAnswer::Held(_)
        | OperatorAnswer::Purged(_)
        | OperatorAnswer::Refused(_) => Err(OperatorError::StoreBroke),
    }
}
