//! Lists of messages and of their errors, and repairs of many.

use super::{AdminClient, AdminError, decode, percent_encode, queue_path, with_query};
use crate::admin::dto::{
    BulkRequest, BulkResultPage, BulkView, ErrorGroupPage, IdempotencyKey, MessageFilter,
    MessagePage, QueueName, Seq,
};

/// Which of a queue's messages are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MessageQuery {
    /// From this place on; from the head if absent.
    pub from: Option<Seq>,
    /// How many, at most `limits::MAX_PAGE`; the broker's default if absent.
    pub limit: Option<usize>,
    /// Those only.
    pub filter: MessageFilter,
}

impl AdminClient {
    /// `GET /v1/queues/{queue}/messages`: unfinished messages, ascending by place. A page may have fewer than `limit`, and there
    /// are more: it looks at so many only.
    pub async fn messages(
        &self,
        queue: &QueueName,
        query: &MessageQuery,
    ) -> Result<MessagePage, AdminError> {
        let MessageFilter { state, header, path, filter, group, older_ms, newer_ms } =
            &query.filter;
        let asked = [
            ("from", query.from.map(|seq| seq.to_string())),
            ("limit", query.limit.map(|limit| limit.to_string())),
            ("state", state.map(|state| state.to_string())),
            ("header", header.as_ref().map(ToString::to_string)),
            ("path", path.as_ref().map(ToString::to_string)),
            ("filter", filter.as_ref().map(ToString::to_string)),
            ("group", group.map(|group| group.to_string())),
            ("older_ms", older_ms.map(|ms| ms.to_string())),
            ("newer_ms", newer_ms.map(|ms| ms.to_string())),
        ];
        self.get(with_query(format!("{}/messages", queue_path(queue)), &asked)).await
    }

    /// `GET /v1/queues/{queue}/errors`: the errors that its messages failed last with, in groups. A long queue has several pages, and
    /// a group may be on each.
    pub async fn error_groups(
        &self,
        queue: &QueueName,
        from: Option<Seq>,
    ) -> Result<ErrorGroupPage, AdminError> {
        let asked = [("from", from.map(|seq| seq.to_string()))];
        self.get(with_query(format!("{}/errors", queue_path(queue)), &asked)).await
    }

    /// `POST /v1/queues/{queue}/bulk`: begins the same repair of many messages. Sent again under the same key, it is the same one.
    pub async fn begin_bulk(
        &self,
        queue: &QueueName,
        request: &BulkRequest,
    ) -> Result<BulkView, AdminError> {
        decode(&self.post(format!("{}/bulk", queue_path(queue)), request).await?)
    }

    /// `GET /v1/bulk`: the newest first.
    pub async fn bulks(&self) -> Result<Vec<BulkView>, AdminError> {
        self.get("/v1/bulk".to_owned()).await
    }

    /// `GET /v1/bulk/{key}`
    pub async fn bulk(&self, key: &IdempotencyKey) -> Result<BulkView, AdminError> {
        self.get(bulk_path(key)).await
    }

    /// `GET /v1/bulk/{key}/results`, from the message with this number on.
    pub async fn bulk_results(
        &self,
        key: &IdempotencyKey,
        from: u64,
        limit: usize,
    ) -> Result<BulkResultPage, AdminError> {
        let asked = [("from", Some(from.to_string())), ("limit", Some(limit.to_string()))];
        self.get(with_query(format!("{}/results", bulk_path(key)), &asked)).await
    }

    /// `POST /v1/bulk/{key}/stop`
    pub async fn stop_bulk(&self, key: &IdempotencyKey) -> Result<BulkView, AdminError> {
        decode(&self.post(format!("{}/stop", bulk_path(key)), &serde_json::json!({})).await?)
    }
}

fn bulk_path(key: &IdempotencyKey) -> String {
    format!("/v1/bulk/{}", percent_encode(key.as_str()))
}
