//! Making queues, emptying them, and bringing dead letters back.

use super::{AdminClient, AdminError, decode, queue_path};
use crate::admin::dto::{
    PurgePage, PurgeRequest, QueueName, RedrivePage, RedriveRequest, SchemaView, SettingsRequest,
};

impl AdminClient {
    /// `POST /v1/queues/{queue}/create`
    pub async fn create_queue(
        &self,
        queue: &QueueName,
        request: &SettingsRequest,
    ) -> Result<(), AdminError> {
        self.post(format!("{}/create", queue_path(queue)), request).await.map(drop)
    }

    /// `GET /v1/queues/{queue}/schema`
    pub async fn schema(&self, queue: &QueueName) -> Result<SchemaView, AdminError> {
        self.get(format!("{}/schema", queue_path(queue))).await
    }

    /// `POST /v1/queues/{queue}/redrive`: one page. The same request again brings nothing back twice.
    pub async fn redrive(
        &self,
        queue: &QueueName,
        request: &RedriveRequest,
    ) -> Result<RedrivePage, AdminError> {
        decode(&self.post(format!("{}/redrive", queue_path(queue)), request).await?)
    }

    /// `POST /v1/queues/{queue}/purge`: one page.
    pub async fn purge(
        &self,
        queue: &QueueName,
        request: &PurgeRequest,
    ) -> Result<PurgePage, AdminError> {
        decode(&self.post(format!("{}/purge", queue_path(queue)), request).await?)
    }
}
