//! A DEALER connection to the broker's workers' door.
//!
//! The crate's DEALER doesn't reconnect and tells of an end only through its monitor; here both are one
//! stream of messages that ends.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::Stream;
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketEvent, SocketOptions, SocketRecv,
    SocketSend, ZmqError, ZmqMessage,
};

use crate::wire::{BrokerMessage, WorkerMessage};

/// The connection is over; why, for people.
#[derive(Debug)]
pub(super) struct Gone(pub(super) String);

/// One connection. Dropped, it still writes what was sent, as long as the runtime lives.
pub(super) struct Connection {
    sender: DealerSendHalf,
    receiver: DealerRecvHalf,
    monitor: Box<dyn Stream<Item = SocketEvent> + Send + Unpin>,
}

impl Connection {
    /// Connects and shakes hands, within `limit`.
    pub(super) async fn open(endpoint: &str, limit: Duration) -> Result<Self, ZmqError> {
        let mut options = SocketOptions::default();
        options.connect_timeout(limit);
        let mut socket = DealerSocket::with_options(options);
        let monitor = Box::new(socket.monitor());
        socket.connect(endpoint).await?;
        let (sender, receiver) = socket.split();
        Ok(Self { sender, receiver, monitor })
    }

    /// Hands a message to the connection. What is under way is bounded by the worker's credit, so that
    /// this doesn't wait.
    pub(super) async fn send(&mut self, message: &WorkerMessage) -> Result<(), Gone> {
        let mut frames = message.encode().into_iter();
        let magic = frames.next().expect("an envelope starts with its magic");
        let mut message = ZmqMessage::from(magic);
        frames.for_each(|frame| message.push_back(frame));
        self.sender.send(message).await.map_err(|error| Gone(error.to_string()))
    }

    /// The next message; cancellation-safe. `None` stands for one that can't be read: it was logged, and
    /// it still shows that the broker lives.
    pub(super) async fn recv(&mut self) -> Result<Option<BrokerMessage>, Gone> {
        loop {
            tokio::select! {
                biased;
                message = self.receiver.recv() => {
                    let message = message.map_err(|error| Gone(error.to_string()))?;
                    return match BrokerMessage::decode(message.into_vec()) {
                        Ok(message) => Ok(Some(message)),
                        Err(rejection) => {
                            tracing::warn!(reason = %rejection.reason, "a broker's message can't be read");
                            Ok(None)
                        }
                    };
                }
                event = self.monitor.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => {
                        return Err(Gone("the broker closed the connection".to_owned()));
                    }
                    Some(_) => {}
                },
            }
        }
    }
}
