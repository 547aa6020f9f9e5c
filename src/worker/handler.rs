//! What a worker does with a message.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::model::limits::MAX_REASON_BYTES;
use crate::model::{DeliveryId, NackAction, WorkError};
use crate::wire::Delivery;

/// Does the work of one message. Called for up to `credit` messages at once.
///
/// ```
/// use bytes::Bytes;
/// use mubroker::model::{NackAction, WorkError};
/// use mubroker::wire::Delivery;
/// use mubroker::worker::{Failure, Handler, Work};
///
/// struct Capitals;
///
/// impl Handler for Capitals {
///     async fn handle(&self, delivery: Delivery, work: Work) -> Result<Bytes, Failure> {
///         let Ok(text) = std::str::from_utf8(&delivery.content.payload) else {
///             let error = WorkError { code: "not-text".to_owned(), ..WorkError::default() };
///             return Err(Failure { action: NackAction::Block, ..Failure::new(error) });
///         };
///         for line in text.lines() {
///             work.partial(Bytes::from(line.to_uppercase())).await;
///         }
///         Ok(Bytes::new())
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Does the message within `work.limit()`; the result is the reply to a caller, empty if there is nothing
    /// to say.
    ///
    /// Keeping the limit is the handler's duty: the runtime extends the lease only a little beyond it, so
    /// that a handler which doesn't keep it loses its lease instead of holding the queue. When the future
    /// is dropped, whatever it started must end.
    fn handle(
        &self,
        delivery: Delivery,
        work: Work,
    ) -> impl Future<Output = Result<Bytes, Failure>> + Send;

    /// Nothing new comes: ends what is kept between messages.
    fn close(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// What a handler may say while it works, and how long it may.
#[derive(Debug)]
pub struct Work {
    limit: Duration,
    grace: Duration,
    said: Option<(DeliveryId, mpsc::Sender<Said>)>,
}

/// What a handler said.
#[derive(Debug)]
pub(super) enum Said {
    Partial(DeliveryId, Bytes),
    Progress(DeliveryId, String),
}

impl Work {
    /// Work that nobody listens to: to try a handler without a broker.
    pub fn unheard(limit: Duration) -> Self {
        Self { limit, grace: Duration::ZERO, said: None }
    }

    pub(super) fn new(
        limit: Duration,
        grace: Duration,
        delivery: DeliveryId,
        said: mpsc::Sender<Said>,
    ) -> Self {
        Self { limit, grace, said: Some((delivery, said)) }
    }

    /// How long the message may take. When it is over, the worker is unhealthy and has told so.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// How long after that work is still let end by itself before it is ended.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Sends a part of the reply. Callers that asked for parts get it at once; nobody keeps it. Waits while many
    /// parts are on their way. Lost while the broker is away.
    pub async fn partial(&self, part: Bytes) {
        self.say(|delivery| Said::Partial(delivery, part)).await;
    }

    /// Tells operators how far the work is. Leases are extended without it.
    pub async fn progress(&self, note: &str) {
        let note = &note[..note.floor_char_boundary(MAX_REASON_BYTES)];
        self.say(|delivery| Said::Progress(delivery, note.to_owned())).await;
    }

    async fn say(&self, said: impl FnOnce(DeliveryId) -> Said) {
        if let Some((delivery, sender)) = &self.said {
            // The worker has ended: nobody is told any more.
            let _ended = sender.send(said(*delivery)).await;
        }
    }
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

    /// The same, of an error that one line says.
    pub fn of(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(WorkError::new(code, message))
    }
}
