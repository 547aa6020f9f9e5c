//! Publishing and subscribing.

use std::time::Duration;

use super::{Client, ClientError, unexpected};
use crate::model::{Content, Published, QueueName, Subscription, SubscriptionChange, TopicName};
use crate::wire::{ClientReply, ClientRequest};

impl Client {
    /// `PUBLISH`: returns when the event is durable in the queue of every subscription that takes it. If
    /// `mandatory`, it is refused as `unroutable` when there is none.
    pub async fn publish(
        &self,
        topic: &TopicName,
        content: Content,
        mandatory: bool,
    ) -> Result<Published, ClientError> {
        let size = content.size_bytes();
        let request = ClientRequest::Publish { topic: topic.clone(), content, mandatory };
        match self.ask(request, size, Duration::ZERO).await? {
            ClientReply::Published(published) => Ok(published),
            other => Err(unexpected(other)),
        }
    }

    /// `SUBSCRIBE`: the queue gets the topic's events from now on, until it is unsubscribed.
    pub async fn subscribe(
        &self,
        topic: &TopicName,
        subscription: Subscription,
    ) -> Result<SubscriptionChange, ClientError> {
        let request = ClientRequest::Subscribe { topic: topic.clone(), subscription };
        match self.ask(request, 0, Duration::ZERO).await? {
            ClientReply::Subscribed(change) => Ok(change),
            other => Err(unexpected(other)),
        }
    }

    /// `UNSUBSCRIBE`: what waits in the queue stays there.
    pub async fn unsubscribe(
        &self,
        topic: &TopicName,
        queue: &QueueName,
    ) -> Result<SubscriptionChange, ClientError> {
        let request = ClientRequest::Unsubscribe { topic: topic.clone(), queue: queue.clone() };
        match self.ask(request, 0, Duration::ZERO).await? {
            ClientReply::Unsubscribed(change) => Ok(change),
            other => Err(unexpected(other)),
        }
    }
}
