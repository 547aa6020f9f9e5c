//! ZeroMQ sockets to channels: frames in, frames out, everything bounded.
//!
//! ```text
//! peer ── TCP/ipc ──▶ guard ── whole messages ──▶ router ── decoded ──▶ Inbound ──▶ the loop
//! peer ◀──────────── guard ◀── a peer's outbox ── sender ◀── Outbound ◀──────────── the loop
//! ```
//! The guard (`guard/`) owns the public listener, speaks ZMTP, and checks every byte; [`bind`] ties clients' and
//! workers' to the loop.

mod admission;
mod curve;
mod doors;
mod endpoint;
mod fitting;
mod frames;
mod guard;
mod incoming;
mod intake;
mod majordomo;
mod options;
mod plain;
mod proxies;
mod room;
mod router;
mod sender;
mod sockets;

#[cfg(test)]
mod tests;

pub use admission::DoorAuth;
pub use doors::{Door, Doors};
pub use guard::{GuardCounters, GuardSnapshot, Refusal};
pub use majordomo::MajordomoForm;
pub use options::{DoorOptions, NetError, NetLimits, NetOptions, Together};
pub use sender::Sender;
pub use sockets::{Net, NetSnapshot, bind};

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Content, MessageId, QueueName, Rejection, TopicName};
use crate::wire::{BrokerMessage, ClientReply, ClientRequest, SendRequest, WorkerMessage};

/// One connection of a peer. Minted by the guard, so that no peer can choose or steal it; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// What comes in from both doors. What could not be decoded was answered and counted before it got here.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// A client asks.
    Client {
        /// Who.
        peer: PeerId,
        /// How its answer must be framed.
        reply_form: ReplyForm,
        /// What.
        request: ClientRequest,
    },
    /// The same, with a message that its queue's schema refuses: it is refused, unless it was accepted before.
    Unfit {
        /// Who.
        peer: PeerId,
        /// How its answer must be framed.
        reply_form: ReplyForm,
        /// What.
        request: ClientRequest,
        /// Why it is refused.
        rejection: Rejection,
    },
    /// A Majordomo client asks whether a worker serves a queue. Answered by [`Outbound::Served`].
    Service {
        /// Who.
        peer: PeerId,
        /// How its answer must be framed.
        form: Arc<MajordomoForm>,
        /// The queue.
        queue: QueueName,
    },
    /// A Majordomo client wants a request and its reply no more. Answered by [`MajordomoForm::closed`].
    Close {
        /// Who.
        peer: PeerId,
        /// How its answer must be framed.
        form: Arc<MajordomoForm>,
        /// Which request.
        id: MessageId,
    },
    /// A worker says something.
    Worker {
        /// Who.
        peer: PeerId,
        /// What.
        message: WorkerMessage,
    },
    /// Something came by a door that answers nobody.
    Pushed {
        /// Which.
        door: Door,
        /// What.
        pushed: Pushed,
    },
    /// A client's connection ended. Comes after its last message.
    ClientGone {
        /// Who.
        peer: PeerId,
    },
    /// A worker's connection ended. As [`Inbound::ClientGone`]; or a Majordomo worker must begin anew, on the same
    /// connection.
    WorkerGone {
        /// Who.
        peer: PeerId,
    },
}

/// What came by a door that answers nobody.
#[derive(Debug, Clone, PartialEq)]
pub enum Pushed {
    /// `SEND`, `SENDMANY`: all or none.
    Send(Vec<SendRequest>),
    /// `PUBLISH`, or what a feed publishes.
    Publish {
        /// The topic.
        topic: TopicName,
        /// The event.
        content: Content,
        /// Refuse it if no subscription takes it.
        mandatory: bool,
    },
    /// It can't be read, or doesn't fit its queue's schema.
    Refused {
        /// What can be kept of it.
        content: Content,
        /// Where it was to go, if that can be read.
        queue: Option<QueueName>,
        /// What is wrong.
        rejection: Rejection,
    },
}

/// How a request came, and its answer must go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyForm {
    /// A DEALER without a delimiter.
    Plain,
    /// A REQ, or a DEALER that sends the delimiter itself: the answer carries one too.
    Delimited,
    /// A client of Majordomo.
    Majordomo(Arc<MajordomoForm>),
}

/// What goes out.
#[derive(Debug, Clone, PartialEq)]
pub enum Outbound {
    /// To a client.
    Client {
        /// Who.
        peer: PeerId,
        /// As the request came.
        reply_form: ReplyForm,
        /// What.
        reply: ClientReply,
    },
    /// To a Majordomo client: whether a worker serves the queue that it asked for.
    Served {
        /// Who.
        peer: PeerId,
        /// As the request came.
        form: Arc<MajordomoForm>,
        /// Whether.
        is_served: bool,
    },
    /// To a client, as it is.
    Frames {
        /// Who.
        peer: PeerId,
        /// With an empty delimiter.
        delimited: bool,
        /// What follows.
        frames: Vec<Bytes>,
    },
    /// To a worker.
    Worker {
        /// Who.
        peer: PeerId,
        /// What.
        message: BrokerMessage,
    },
}
