//! Scatter-gather.

use std::time::Duration;

use super::{Client, ClientError, unexpected};
use crate::model::limits::MAX_CALL_TIMEOUT_MS;
use crate::model::{GatherAccepted, GatherReply, GatherRequest};
use crate::wire::{ClientReply, ClientRequest};

impl Client {
    /// `GATHER`: asks several queues, and waits for the answer. `wait` is how long it may take beyond what the request
    /// says, or the configuration if that says nothing: at most as long as a gather may last if absent. Asked again with
    /// the same id, over a new connection too, it waits on.
    pub async fn gather(
        &self,
        request: GatherRequest,
        wait: Option<Duration>,
    ) -> Result<GatherReply, ClientError> {
        let limit = request.timeout_ms.unwrap_or(MAX_CALL_TIMEOUT_MS);
        let wait = wait.unwrap_or(Duration::from_millis(limit));
        let size = request.content.size_bytes();
        match self.ask(ClientRequest::Gather(Box::new(request)), size, wait).await? {
            ClientReply::Gathered(reply) => Ok(*reply),
            other => Err(unexpected(other)),
        }
    }

    /// `GATHER` whose message has a `reply_to`: returns when it is durable; the answer comes into that queue.
    pub async fn gather_later(
        &self,
        request: GatherRequest,
    ) -> Result<GatherAccepted, ClientError> {
        let size = request.content.size_bytes();
        match self.ask(ClientRequest::Gather(Box::new(request)), size, Duration::ZERO).await? {
            ClientReply::GatherAccepted(accepted) => Ok(accepted),
            other => Err(unexpected(other)),
        }
    }
}
