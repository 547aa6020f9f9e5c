//! A connection to the broker's workers' door.

use std::time::Duration;

use zeromq::ZmqError;

use crate::dealer::{Dealer, Gone};
use crate::wire::{BrokerMessage, WorkerMessage};

/// One connection. What is under way on it is bounded by the worker's credit.
pub(super) struct Connection(Dealer);

impl Connection {
    /// Connects and shakes hands, within `limit`.
    pub(super) async fn open(endpoint: &str, limit: Duration) -> Result<Self, ZmqError> {
        Dealer::open(endpoint, limit).await.map(Self)
    }

    /// Hands a message to the connection.
    pub(super) async fn send(&mut self, message: &WorkerMessage) -> Result<(), Gone> {
        self.0.send(message.encode()).await
    }

    /// The next message; cancellation-safe. `None` stands for one that can't be read: it was logged, and
    /// it still shows that the broker lives.
    pub(super) async fn recv(&mut self) -> Result<Option<BrokerMessage>, Gone> {
        match BrokerMessage::decode(self.0.recv().await?) {
            Ok(message) => Ok(Some(message)),
            Err(rejection) => {
                tracing::warn!(reason = %rejection.reason, "a broker's message can't be read");
                Ok(None)
            }
        }
    }
}
