//! The Rust client: send, call, ask.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use mubroker::model::QueueName;
//! # use mubroker::client::{Client, NewMessage};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("tcp://127.0.0.1:5555").await?;
//! let orders = QueueName::new("orders")?;
//! let accepted = client.send(&orders, NewMessage::new(r#"{"total": 1.10}"#).build()?).await?;
//! println!("durable at place {}", accepted.seq);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is one connection that is made again when it is lost. What had no answer then is sent again, in the order of
//! the first time and with the same ids: what had been accepted is answered with `duplicate`, so nothing is there twice, as far
//! as the queue's de-duplication window reaches (with `dedup = "off"` a lost answer may mean two messages). How long that may
//! take is [`ClientOptions::answer_limit`]; after it the request is given up, and [`ClientError::outcome_unknown`] says
//! whether it may have been done.
//!
//! Many messages without a wait for each, all durable at the end:
//!
//! ```no_run
//! # use mubroker::model::QueueName;
//! # use mubroker::client::{Client, ClientOptions, NewMessage};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = ClientOptions { window: 500, ..ClientOptions::default() };
//! let client = Client::connect_with("tcp://127.0.0.1:5555", options).await?;
//! let numbers = QueueName::new("numbers")?;
//! let mut confirms = Vec::new();
//! for n in 0..10_000 {
//!     // Waits while 500 have no answer.
//!     confirms.push(client.submit(&numbers, NewMessage::new(n.to_string()).build()?).await?);
//! }
//! for confirm in confirms {
//!     confirm.accepted().await?;
//! }
//! # Ok(())
//! # }
//! ```

mod connection;
mod error;
mod gather;
mod message;
mod pending;
mod sagas;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::model::limits::{MAX_SENDMANY_MESSAGES, MAX_WIRE_MESSAGE_BYTES};
use crate::model::{
    Accepted, CallPart, CallReply, Content, Hidden, MessageId, QueueName, StatusReport,
};
use crate::wire::{ClientReply, ClientRequest, SendRequest, Welcome};

pub use error::ClientError;
pub use message::NewMessage;

use connection::{Asked, Link};
use pending::Waiter;

/// How long connecting may take, the handshake included.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How long an answer may take: a commit on a slow disk behind a full batch.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Requests under way at once; one more waits for an answer.
const WINDOW: usize = 1024;
/// Bytes under way at once, in KiB: the socket would queue 100,000 messages of any size.
const WINDOW_KIB: usize = 64 * 1024;
/// The first pause before connecting again, so that a broker's restart is hardly noticed.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// The longest: what waits is sent soon after the broker is back, well within `ANSWER_LIMIT`.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// A connection through which nothing is heard for so long, though it is asked, leads nowhere any more.
const SILENCE: Duration = Duration::from_secs(15);

/// Parts of a reply that wait for their caller; then the connection waits.
const PARTS: usize = 64;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long connecting may take, the handshake included; the first time it fails then.
    pub connect_limit: Duration,
    /// How long an answer may take, new connections included; a call's own time comes on top.
    pub answer_limit: Duration,
    /// Requests under way at once, at least 1.
    pub window: usize,
    /// The first pause before connecting again; doubles up to `max_pause`, half of it at random.
    pub min_pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
    /// How long nothing may be heard of the broker, asked for a sign of life, while an answer is awaited: then the connection is
    /// made anew.
    pub silence: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_limit: CONNECT_LIMIT,
            answer_limit: ANSWER_LIMIT,
            window: WINDOW,
            min_pause: MIN_PAUSE,
            max_pause: MAX_PAUSE,
            silence: SILENCE,
        }
    }
}

/// One connection to a broker, made again when it is lost. Clones share it; it ends with the last of them, once what is
/// under way is answered.
///
/// All methods may be called at once from many tasks. Dropping a future gives up the answer, not the
/// request, which only isn't sent again after a lost connection. See [`ClientError::outcome_unknown`] for what an error means for a message.
#[derive(Debug, Clone)]
pub struct Client {
    asked: mpsc::Sender<Asked>,
    link: Link,
    window: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    answer_limit: Duration,
}

impl Client {
    /// Connects to a broker's clients' door, e.g. `tcp://127.0.0.1:5555`, with the default options. Fails if no broker answers
    /// there now.
    pub async fn connect(endpoint: &str) -> Result<Self, ClientError> {
        Self::connect_with(endpoint, ClientOptions::default()).await
    }

    /// Connects with these options.
    pub async fn connect_with(endpoint: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let window = options.window.clamp(1, Semaphore::MAX_PERMITS);
        let (asked, link) = connection::open(endpoint, &options).await?;
        Ok(Self {
            asked,
            link,
            window: Arc::new(Semaphore::new(window)),
            kib: Arc::new(Semaphore::new(WINDOW_KIB)),
            answer_limit: options.answer_limit,
        })
    }

    /// `HELLO`: who this is; the answer has the broker's bounds.
    pub async fn hello(&self, name: &str, token: Option<&str>) -> Result<Welcome, ClientError> {
        let request = ClientRequest::Hello {
            token: token.map(|token| Hidden(token.to_owned())),
            client: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        match self.ask(request, 0, Duration::ZERO).await? {
            ClientReply::Welcome(welcome) => Ok(welcome),
            other => Err(unexpected(other)),
        }
    }

    /// `SEND`: returns when the message is durable.
    pub async fn send(&self, queue: &QueueName, content: Content) -> Result<Accepted, ClientError> {
        self.submit(queue, content).await?.accepted().await
    }

    /// `SEND` without waiting for the answer: returns when there is room in the window. Keep the
    /// [`Confirm`]s: a message without its confirm may not be durable.
    pub async fn submit(
        &self,
        queue: &QueueName,
        content: Content,
    ) -> Result<Confirm, ClientError> {
        let size = content.size_bytes();
        let send = SendRequest { queue: queue.clone(), content };
        let answer = self.start(ClientRequest::Send(send), size).await?;
        Ok(Confirm { answer, link: self.link.clone(), limit: self.answer_limit })
    }

    /// `SENDMANY`: all or none, up to `limits::MAX_SENDMANY_MESSAGES`; answers in the same order.
    pub async fn send_many(&self, sends: Vec<SendRequest>) -> Result<Vec<Accepted>, ClientError> {
        if sends.is_empty() {
            return Ok(Vec::new());
        }
        if sends.len() > MAX_SENDMANY_MESSAGES {
            let what = format!("{} messages; at most {MAX_SENDMANY_MESSAGES}", sends.len());
            return Err(ClientError::TooLarge { what });
        }
        let size = sends.iter().map(|send| send.content.size_bytes()).sum();
        match self.ask(ClientRequest::SendMany(sends), size, Duration::ZERO).await? {
            ClientReply::AcceptedMany(accepted) => Ok(accepted),
            other => Err(unexpected(other)),
        }
    }

    /// `CALL`: sends, and waits up to `wait` for what the worker replies. The message stays in its queue
    /// when the wait is over.
    pub async fn call(
        &self,
        queue: &QueueName,
        content: Content,
        wait: Duration,
    ) -> Result<CallReply, ClientError> {
        let (request, size) = call(queue, content, wait, false);
        match self.ask(request, size, wait).await? {
            ClientReply::Reply(reply) => Ok(reply),
            other => Err(unexpected(other)),
        }
    }

    /// `CALL`, with the parts of the reply that the worker sends before its end, as they come. If the connection is lost
    /// after the first of them it is [`ClientError::Lost`], since no part tells which came before; `Client::reply_of` has the
    /// reply. While `on_part` runs, or the
    /// future isn't polled, what else comes on this connection waits.
    pub async fn call_in_parts(
        &self,
        queue: &QueueName,
        content: Content,
        wait: Duration,
        mut on_part: impl FnMut(CallPart),
    ) -> Result<CallReply, ClientError> {
        let (request, size) = call(queue, content, wait, true);
        let (to_caller, mut parts) = mpsc::channel(PARTS);
        let answer = self.start_with(request, size, Some(to_caller)).await?;
        let limit = self.answer_limit.saturating_add(wait);
        let mut answer = std::pin::pin!(wait_for(answer, limit, &self.link));
        let answer = loop {
            tokio::select! {
                biased;
                Some(part) = parts.recv() => on_part(part),
                answer = &mut answer => break answer?,
            }
        };
        while let Ok(part) = parts.try_recv() {
            on_part(part);
        }
        match answer {
            ClientReply::Reply(reply) => Ok(reply),
            other => Err(unexpected(other)),
        }
    }

    /// The reply to a message that was called, if that is at its end and its reply is kept; else where the message is. For
    /// a caller that lost its connection: unlike a repeated CALL it never sends anything.
    pub async fn reply_of(
        &self,
        id: &MessageId,
        queue: Option<&QueueName>,
    ) -> Result<(StatusReport, Option<CallReply>), ClientError> {
        let request = ClientRequest::Status { id: id.clone(), queue: queue.cloned(), reply: true };
        match self.ask(request, 0, Duration::ZERO).await? {
            ClientReply::Status(report) => Ok((report, None)),
            ClientReply::StatusReply { report, reply } => Ok((report, Some(reply))),
            other => Err(unexpected(other)),
        }
    }

    /// `STATUS`: where a message is; in `queue`, or in any.
    pub async fn status(
        &self,
        id: &MessageId,
        queue: Option<&QueueName>,
    ) -> Result<StatusReport, ClientError> {
        let request = ClientRequest::Status { id: id.clone(), queue: queue.cloned(), reply: false };
        match self.ask(request, 0, Duration::ZERO).await? {
            ClientReply::Status(report) => Ok(report),
            other => Err(unexpected(other)),
        }
    }

    /// `PING`
    pub async fn ping(&self) -> Result<(), ClientError> {
        match self.ask(ClientRequest::Ping, 0, Duration::ZERO).await? {
            ClientReply::Pong => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    async fn ask(
        &self,
        request: ClientRequest,
        size: u64,
        extra: Duration,
    ) -> Result<ClientReply, ClientError> {
        let answer = self.start(request, size).await?;
        wait_for(answer, self.answer_limit.saturating_add(extra), &self.link).await
    }

    async fn start(&self, request: ClientRequest, size: u64) -> Result<Answer, ClientError> {
        self.start_with(request, size, None).await
    }

    /// Hands a request over when the window has room for it.
    async fn start_with(
        &self,
        request: ClientRequest,
        size: u64,
        parts: Option<mpsc::Sender<CallPart>>,
    ) -> Result<Answer, ClientError> {
        let frames = request.encode();
        // What the broker counts: beyond, it closes the connection.
        let size = size.max(frames.iter().map(|frame| frame.len() as u64).sum());
        if size > MAX_WIRE_MESSAGE_BYTES as u64 {
            let what = format!("{size} bytes; at most {MAX_WIRE_MESSAGE_BYTES}");
            return Err(ClientError::TooLarge { what });
        }
        let room = timeout(self.answer_limit, self.room(size)).await;
        let room = room.map_err(|_| self.link.no_room())?;
        let (to_caller, answer) = oneshot::channel();
        let asked = Asked { request, frames, waiter: Waiter { to_caller, parts, room } };
        self.asked.send(asked).await.map_err(|_| self.link.ended())?;
        Ok(answer)
    }

    async fn room(&self, size: u64) -> Room {
        let kib = u32::try_from(size.div_ceil(1024)).expect("a wire message has fewer KiB");
        let window = Arc::clone(&self.window).acquire_owned().await;
        let kib = Arc::clone(&self.kib).acquire_many_owned(kib).await;
        Room {
            _window: window.expect("the window is never closed"),
            _kib: kib.expect("the window is never closed"),
        }
    }
}

/// A message under way.
#[derive(Debug)]
#[must_use = "a message without its confirm may not be durable"]
pub struct Confirm {
    answer: Answer,
    link: Link,
    limit: Duration,
}

impl Confirm {
    /// Waits until the message is durable or refused; the time limit starts here.
    pub async fn accepted(self) -> Result<Accepted, ClientError> {
        match wait_for(self.answer, self.limit, &self.link).await? {
            ClientReply::Accepted(accepted) => Ok(accepted),
            other => Err(unexpected(other)),
        }
    }
}

/// What a request takes of the window until it is answered, whether anybody still waits or not.
#[derive(Debug)]
pub(crate) struct Room {
    _window: OwnedSemaphorePermit,
    _kib: OwnedSemaphorePermit,
}

type Answer = oneshot::Receiver<Result<ClientReply, ClientError>>;

async fn wait_for(
    answer: Answer,
    limit: Duration,
    link: &Link,
) -> Result<ClientReply, ClientError> {
    match timeout(limit, answer).await {
        Err(_) => Err(link.unanswered()),
        Ok(Err(_)) => Err(link.ended()),
        Ok(Ok(Ok(ClientReply::Rejected(rejection)))) => {
            Err(ClientError::Rejected(Box::new(rejection)))
        }
        Ok(Ok(answer)) => answer,
    }
}

fn call(queue: &QueueName, content: Content, wait: Duration, parts: bool) -> (ClientRequest, u64) {
    let size = content.size_bytes();
    let send = SendRequest { queue: queue.clone(), content };
    let timeout_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    (ClientRequest::Call { send, timeout_ms, parts }, size)
}

fn unexpected(reply: ClientReply) -> ClientError {
    ClientError::Protocol { what: format!("an answer of another kind: {reply:?}") }
}

#[cfg(test)]
mod tests;
