//! Topics and subscriptions.

use bytes::Bytes;
use hyper::Method;

use super::{AdminClient, AdminError, decode, percent_encode, with_query};
use crate::admin::dto::{
    QueueName, SubscriptionChange, SubscriptionRequest, TopicDetail, TopicName, TopicPage,
};

impl AdminClient {
    /// `GET /v1/topics`: a page of them by name, those after `after`.
    pub async fn topics(&self, after: Option<&TopicName>) -> Result<TopicPage, AdminError> {
        let after = after.map(TopicName::to_string);
        self.get(with_query("/v1/topics".to_owned(), &[("after", after)])).await
    }

    /// `GET /v1/topics/{topic}`: with its subscriptions from the place `from` on, a page of them.
    pub async fn topic(&self, topic: &TopicName, from: u64) -> Result<TopicDetail, AdminError> {
        self.get(with_query(topic_path(topic), &[("from", Some(from.to_string()))])).await
    }

    /// `PUT /v1/topics/{topic}/subscriptions/{queue}`
    pub async fn subscribe(
        &self,
        topic: &TopicName,
        queue: &QueueName,
        request: &SubscriptionRequest,
    ) -> Result<SubscriptionChange, AdminError> {
        let body = serde_json::to_vec(request)
            .map_err(|e| AdminError::Request { what: format!("the subscription: {e}") })?;
        let path = subscription_path(topic, queue);
        decode(&self.answer(Method::PUT, path, Bytes::from(body)).await?)
    }

    /// `DELETE /v1/topics/{topic}/subscriptions/{queue}`
    pub async fn unsubscribe(
        &self,
        topic: &TopicName,
        queue: &QueueName,
    ) -> Result<SubscriptionChange, AdminError> {
        let path = subscription_path(topic, queue);
        decode(&self.answer(Method::DELETE, path, Bytes::new()).await?)
    }
}

fn topic_path(topic: &TopicName) -> String {
    format!("/v1/topics/{}", percent_encode(topic.as_str()))
}

fn subscription_path(topic: &TopicName, queue: &QueueName) -> String {
    format!("{}/subscriptions/{}", topic_path(topic), percent_encode(queue.as_str()))
}
