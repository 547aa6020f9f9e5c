//! What a worker does with a message.

use std::time::Duration;

use bytes::Bytes;

use crate::model::{NackAction, WorkError};
use crate::wire::Delivery;

/// Does the work of one message. Called for up to `credit` messages at once.
pub trait Handler: Send + Sync + 'static {
    /// Does the message within `limit`; the result is the reply to a caller, empty if there is nothing
    /// to say.
    ///
    /// Keeping the limit is the handler's duty: the runtime extends the lease only a little beyond it, so
    /// that a handler which doesn't keep it loses its lease instead of holding the queue. When the future
    /// is dropped, whatever it started must end.
    fn handle(
        &self,
        delivery: Delivery,
        limit: Duration,
    ) -> impl Future<Output = Result<Bytes, Failure>> + Send;
}

/// Why a message could not be done, and what is asked of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub error: WorkError,
    /// What to do with the message.
    pub action: NackAction,
    /// The pause before the next attempt, in milliseconds; the queue's policy if absent.
    pub delay_ms: Option<u64>,
}

impl Failure {
    /// A failure after which the queue's policy decides.
    pub fn new(error: WorkError) -> Self {
        Self { error, action: NackAction::Retry, delay_ms: None }
    }
}
