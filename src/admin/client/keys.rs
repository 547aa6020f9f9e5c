//! Order keys that stand.

use super::{AdminClient, AdminError, queue_path, with_query};
use crate::admin::dto::{KeyPage, QueueName, Seq};

impl AdminClient {
    /// `GET /v1/queues/{queue}/keys`: order keys that stand, from the message at `from` on; `limit` at most
    /// `limits::MAX_PAGE`, the broker's default if absent.
    pub async fn keys(
        &self,
        queue: &QueueName,
        from: Option<Seq>,
        limit: Option<usize>,
    ) -> Result<KeyPage, AdminError> {
        let from = from.map(|seq| seq.to_string());
        let limit = limit.map(|limit| limit.to_string());
        let path = format!("{}/keys", queue_path(queue));
        self.get(with_query(path, &[("from", from), ("limit", limit)])).await
    }
}
