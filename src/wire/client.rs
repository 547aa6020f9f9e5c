//! What clients ask and what they are answered.

use serde::{Deserialize, Serialize};

use crate::model::{
    Accepted, CallPart, CallReply, Content, GatherAccepted, GatherReply, GatherRequest, Hidden,
    MessageId, Published, QueueName, Rejection, SagaName, SagaStarted, StatusReport, Subscription,
    SubscriptionChange, TopicName,
};

/// A client's request.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientRequest {
    /// `HELLO`
    Hello {
        /// A token, where the broker asks for one.
        token: Option<Hidden>,
        /// The client's name.
        client: String,
        /// The client's version.
        version: String,
    },
    /// `SEND`
    Send(SendRequest),
    /// `SENDMANY`: all or none, one answer.
    SendMany(Vec<SendRequest>),
    /// `CALL`
    Call {
        /// The message.
        send: SendRequest,
        /// How long the caller waits, in milliseconds.
        timeout_ms: u64,
        /// Parts of the reply are wanted as they come: several answers. Not for a REQ, which takes one.
        parts: bool,
    },
    /// `PUBLISH`
    Publish {
        /// The topic; in the message's header too.
        topic: TopicName,
        /// The event; an id has been made if the sender gave none.
        content: Content,
        /// Refuse it if no subscription takes it.
        mandatory: bool,
    },
    /// `START`
    Start {
        /// Which saga.
        saga: SagaName,
        /// Its input; its id is the saga's.
        input: Content,
    },
    /// `GATHER`
    Gather(Box<GatherRequest>),
    /// `SUBSCRIBE`
    Subscribe {
        /// The topic.
        topic: TopicName,
        /// Queue, filter, and what if that fails.
        subscription: Subscription,
    },
    /// `UNSUBSCRIBE`
    Unsubscribe {
        /// The topic.
        topic: TopicName,
        /// The queue.
        queue: QueueName,
    },
    /// `STATUS`
    Status {
        /// Which message.
        id: MessageId,
        /// Where to look; all queues if absent.
        queue: Option<QueueName>,
        /// Its reply is wanted too, if that is kept.
        reply: bool,
    },
    /// `PING`
    Ping,
}

/// A message and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct SendRequest {
    /// The queue.
    pub queue: QueueName,
    /// The message; an id has been made if the sender gave none.
    pub content: Content,
}

/// The broker's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientReply {
    /// `WELCOME`
    Welcome(Welcome),
    /// `ACCEPTED` to SEND.
    Accepted(Accepted),
    /// `ACCEPTED` to SENDMANY: header `{"accepted": [{id, queue, seq, duplicate}, …]}` in the same order.
    AcceptedMany(Vec<Accepted>),
    /// `ACCEPTED` to PUBLISH.
    Published(Published),
    /// `ACCEPTED` to START.
    Started(SagaStarted),
    /// `SUBSCRIBED`
    Subscribed(SubscriptionChange),
    /// `UNSUBSCRIBED`
    Unsubscribed(SubscriptionChange),
    /// `REPLY` to CALL.
    Reply(CallReply),
    /// `REPLY` to CALL with `status: part`: more follow.
    Part(CallPart),
    /// `REPLY` to GATHER.
    Gathered(Box<GatherReply>),
    /// `ACCEPTED` to GATHER with `reply_to`.
    GatherAccepted(GatherAccepted),
    /// `STATUS`
    Status(StatusReport),
    /// `STATUS` with the reply that is kept: header field `reply` and payload.
    StatusReply {
        /// Where the message is.
        report: StatusReport,
        /// What was kept.
        reply: CallReply,
    },
    /// `PONG`
    Pong,
    /// `REJECTED`
    Rejected(Rejection),
}

/// What `WELCOME` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// `mubroker`
    pub server: String,
    /// Its version.
    pub version: String,
    /// The bounds that this client meets.
    pub limits: Limits,
    /// What the client may do: verbs.
    pub may: Vec<String>,
}

/// The bounds of `model::limits` that a client meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// A header's JSON in bytes.
    pub max_header_bytes: usize,
    /// A payload in bytes.
    pub max_payload_bytes: usize,
    /// A whole wire message in bytes.
    pub max_message_bytes: usize,
    /// Messages in one SENDMANY.
    pub max_sendmany: usize,
    /// Between two heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
}
