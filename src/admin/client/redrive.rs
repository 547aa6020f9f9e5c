//! Bringing dead letters back.

use super::{AdminClient, AdminError, decode, queue_path};
use crate::admin::dto::{QueueName, RedrivePage, RedriveRequest};

impl AdminClient {
    /// `POST /v1/queues/{queue}/redrive`: one page. The same request again brings nothing back twice.
    pub async fn redrive(
        &self,
        queue: &QueueName,
        request: &RedriveRequest,
    ) -> Result<RedrivePage, AdminError> {
        decode(&self.post(format!("{}/redrive", queue_path(queue)), request).await?)
    }
}
