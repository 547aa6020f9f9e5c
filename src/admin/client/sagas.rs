//! Sagas.

use super::{AdminClient, AdminError, decode, percent_encode, with_query};
use crate::admin::dto::{MessageId, SagaActRequest, SagaDetail, SagaPage, SagaState};

impl AdminClient {
    /// `GET /v1/sagas`: a page of them, the oldest first, in one state or all; those after `after`.
    pub async fn sagas(
        &self,
        after: Option<u64>,
        state: Option<SagaState>,
    ) -> Result<SagaPage, AdminError> {
        let after = after.map(|after| after.to_string());
        let state = state.map(|state| state.as_str().to_owned());
        self.get(with_query("/v1/sagas".to_owned(), &[("after", after), ("state", state)])).await
    }

    /// `GET /v1/sagas/{id}`
    pub async fn saga(&self, id: &MessageId) -> Result<SagaDetail, AdminError> {
        self.get(saga_path(id)).await
    }

    /// `POST /v1/sagas/{id}/act`
    pub async fn saga_act(
        &self,
        id: &MessageId,
        request: &SagaActRequest,
    ) -> Result<SagaDetail, AdminError> {
        decode(&self.post(format!("{}/act", saga_path(id)), request).await?)
    }
}

fn saga_path(id: &MessageId) -> String {
    format!("/v1/sagas/{}", percent_encode(id.as_str()))
}
