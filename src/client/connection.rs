//! The task that owns a client's socket.
//!
//! The crate's DEALER doesn't reconnect, and tells of an end only through its monitor.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::Stream;
use tokio::sync::mpsc;
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketEvent, SocketOptions, SocketRecv,
    SocketSend, ZmqError, ZmqMessage,
};

use super::ClientError;
use super::pending::{Pending, Waiter};
use crate::model::CallPart;
use crate::wire::{ClientReply, ClientRequest};

/// Requests on their way to the socket's task. Small: the window is what bounds.
const CHANNEL: usize = 64;

/// A request, who waits, and the room that it takes until it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: ClientRequest,
    pub(super) waiter: Waiter,
}

/// Connects; the connection ends when the sender and its clones are dropped and all is answered.
pub(super) async fn open(
    endpoint: &str,
    limit: Duration,
) -> Result<mpsc::Sender<Asked>, ClientError> {
    let mut options = SocketOptions::default();
    options.connect_timeout(limit);
    let mut socket = DealerSocket::with_options(options);
    let monitor = socket.monitor();
    socket.connect(endpoint).await.map_err(|source| {
        let endpoint = endpoint.to_owned();
        match source {
            ZmqError::Endpoint(_) => ClientError::Endpoint { endpoint, source },
            source => ClientError::Unreachable { endpoint, source },
        }
    })?;
    let (sender, receiver) = socket.split();
    let (asked, requests) = mpsc::channel(CHANNEL);
    let connection = Connection {
        endpoint: endpoint.to_owned(),
        sender,
        receiver,
        requests,
        pending: Pending::default(),
    };
    tokio::spawn(connection.run(monitor));
    Ok(asked)
}

struct Connection {
    endpoint: String,
    sender: DealerSendHalf,
    receiver: DealerRecvHalf,
    requests: mpsc::Receiver<Asked>,
    pending: Pending,
}

impl Connection {
    async fn run(mut self, monitor: impl Stream<Item = SocketEvent> + Unpin) {
        let reason = self.serve(monitor).await;
        // First, so that no request slips in behind those that are told.
        self.requests.close();
        let endpoint = self.endpoint;
        self.pending
            .fail(|| ClientError::Lost { endpoint: endpoint.clone(), reason: reason.clone() });
        while let Some(asked) = self.requests.recv().await {
            let _gone = asked
                .waiter
                .to_caller
                .send(Err(ClientError::Closed { endpoint: endpoint.clone() }));
        }
    }

    /// Returns why the connection is over.
    async fn serve(&mut self, mut monitor: impl Stream<Item = SocketEvent> + Unpin) -> String {
        let mut open = true;
        while open || !self.pending.is_empty() {
            tokio::select! {
                biased;
                message = self.receiver.recv() => {
                    let reply = match message {
                        Ok(message) => ClientReply::decode(message.into_vec()),
                        Err(error) => return error.to_string(),
                    };
                    let reply = match reply {
                        Ok(reply) => reply,
                        Err(rejection) => return format!("an answer can't be read: {}", rejection.reason),
                    };
                    if let ClientReply::Part(part) = reply {
                        self.part(part).await;
                    } else if let Err(reason) = self.answer(reply) {
                        return reason;
                    }
                }
                event = monitor.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => {
                        return "the broker closed it".to_owned();
                    }
                    Some(_) => {}
                },
                asked = self.requests.recv(), if open => match asked {
                    Some(asked) => {
                        if let Err(error) = self.send(asked).await {
                            return error.to_string();
                        }
                    }
                    None => open = false,
                },
            }
        }
        "the client closed it".to_owned()
    }

    async fn send(&mut self, asked: Asked) -> Result<(), ZmqError> {
        let Asked { request, waiter } = asked;
        let mut frames = request.encode().into_iter();
        let magic = frames.next().expect("an envelope starts with its magic");
        let mut message = ZmqMessage::from(magic);
        frames.for_each(|frame| message.push_back(frame));
        self.pending.add(&request, waiter);
        self.sender.send(message).await
    }

    async fn part(&mut self, part: CallPart) {
        if let Some(parts) = self.pending.parts(&part.id) {
            // Who no longer waits doesn't need to know.
            let _gone = parts.send(part).await;
        }
    }

    fn answer(&mut self, reply: ClientReply) -> Result<(), String> {
        match self.pending.take(&reply) {
            Some(waiter) => {
                // Who no longer waits doesn't need to know; the room is given back all the same.
                let _gone = waiter.to_caller.send(Ok(reply));
                Ok(())
            }
            None => match reply {
                // Whose it is can't be known: better all unknown than one told wrongly.
                ClientReply::Rejected(rejection) => {
                    Err(format!("the broker refused something: {}", rejection.reason))
                }
                reply => {
                    tracing::warn!(?reply, "an answer that nobody waits for");
                    Ok(())
                }
            },
        }
    }
}
