//! Starting sagas.

use std::time::Duration;

use super::{Client, ClientError, unexpected};
use crate::model::{Content, SagaName, SagaStarted};
use crate::wire::{ClientReply, ClientRequest};

impl Client {
    /// `START`: returns when the saga and its first step's message are durable. Its end comes to the input's `reply_to`.
    pub async fn start_saga(
        &self,
        saga: &SagaName,
        input: Content,
    ) -> Result<SagaStarted, ClientError> {
        let size = input.size_bytes();
        let request = ClientRequest::Start { saga: saga.clone(), input };
        match self.ask(request, size, Duration::ZERO).await? {
            ClientReply::Started(started) => Ok(started),
            other => Err(unexpected(other)),
        }
    }
}
