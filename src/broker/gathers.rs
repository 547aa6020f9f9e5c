//! Gathers as operators see them.

use super::handle::BrokerHandle;
use super::operator_error::OperatorError;
use crate::model::limits::MAX_PAGE;
use crate::model::{
    GatherDetail, GatherName, GatherPage, GatherState, MessageId, Payload, ReplyView,
};

impl BrokerHandle {
    /// Gathers, the oldest first, in one state or all: those after `after`, at most `limit`, and at most
    /// `limits::MAX_PAGE`.
    pub async fn gathers(
        &self,
        after: u64,
        limit: usize,
        state: Option<GatherState>,
    ) -> Result<GatherPage, OperatorError> {
        let limit = limit.clamp(1, MAX_PAGE);
        self.ask(move |view| view.engine.gather_page(after, limit, state)).await
    }

    /// One gather with its recipients and their replies; of several with the same id the newest, or that of this name.
    pub async fn gather(
        &self,
        id: &MessageId,
        name: Option<GatherName>,
    ) -> Result<GatherDetail, OperatorError> {
        let wanted = id.clone();
        let found = self.ask(move |view| view.engine.gather_detail(&wanted, name.as_ref())).await?;
        let (gather, replies) =
            found.ok_or_else(|| OperatorError::NoSuchGather { id: id.clone() })?;
        // Not on the loop: together they may have megabytes.
        let reply = |(queue, bytes): (_, bytes::Bytes)| {
            let payload = Payload::from_bytes(&bytes);
            ReplyView { queue, payload }
        };
        Ok(GatherDetail { gather, replies: replies.into_iter().map(reply).collect() })
    }
}
