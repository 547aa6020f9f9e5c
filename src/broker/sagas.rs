//! Sagas as operators see and change them.

use super::commands::Request;
use super::handle::BrokerHandle;
use super::operator_error::OperatorError;
use crate::model::limits::MAX_PAGE;
use crate::model::{Actor, MessageId, SagaDetail, SagaOrder, SagaPage, SagaState};

impl BrokerHandle {
    /// Sagas, the oldest first, in one state or all: those after `after`, at most `limit`, and at most
    /// `limits::MAX_PAGE`.
    pub async fn sagas(
        &self,
        after: u64,
        limit: usize,
        state: Option<SagaState>,
    ) -> Result<SagaPage, OperatorError> {
        let limit = limit.clamp(1, MAX_PAGE);
        self.ask(move |view| view.engine.saga_page(after, limit, state)).await
    }

    /// One saga with its steps, its input and what its steps have brought.
    pub async fn saga(&self, id: &MessageId) -> Result<SagaDetail, OperatorError> {
        let wanted = id.clone();
        let found = self.ask(move |view| view.engine.saga_detail(&wanted)).await?;
        found.ok_or_else(|| OperatorError::NoSuchSaga { id: id.clone() })
    }

    /// Lets a parked saga try again or go on, or aborts one.
    pub async fn saga_act(
        &self,
        actor: Actor,
        id: MessageId,
        order: SagaOrder,
        reason: String,
    ) -> Result<(), OperatorError> {
        self.act(Request::SagaAct { actor, id, order, reason }).await.map(drop)
    }
}
