//! What workers and the broker say to each other.

use std::sync::Arc;

use bytes::Bytes;

use super::client::Welcome;
use crate::model::{
    Content, DeliveryId, Hidden, NackAction, QueueName, Seq, WorkError, WorkerInfo,
};

/// From a worker to the broker.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerMessage {
    /// `HELLO`: before READY, where the broker asks for a token.
    Hello {
        /// The token.
        token: Option<Hidden>,
        /// The worker's name.
        client: String,
        /// Its version.
        version: String,
    },
    /// `READY`
    Ready {
        /// What it serves, at least one.
        queues: Vec<QueueName>,
        /// How many messages it takes at once, from 1 to `limits::MAX_CREDIT`.
        credit: u32,
        /// What it says of itself.
        info: WorkerInfo,
    },
    /// `ACK`
    Ack {
        /// The lease.
        delivery: DeliveryId,
        /// The reply to a caller; may be empty.
        reply: Bytes,
    },
    /// `NACK`
    Nack {
        /// The lease.
        delivery: DeliveryId,
        /// Why.
        error: WorkError,
        /// What to do.
        action: NackAction,
        /// The pause before the next attempt, in milliseconds.
        delay_ms: Option<u64>,
    },
    /// `PARTIAL`: a part of the reply, before its end.
    Partial {
        /// The lease.
        delivery: DeliveryId,
        /// The part.
        payload: Bytes,
    },
    /// `PROGRESS`
    Progress {
        /// The lease.
        delivery: DeliveryId,
        /// How much longer from now, in milliseconds.
        extend_ms: Option<u64>,
        /// For the operator.
        note: String,
    },
    /// `ALERT`
    Alert {
        /// Its word.
        kind: String,
        /// Its text.
        message: String,
        /// The lease that it is about.
        delivery: Option<DeliveryId>,
    },
    /// `HEARTBEAT`
    Heartbeat,
    /// `BYE`: send nothing more. What the worker holds, or what is on its way to it, it still answers; the
    /// broker says BYE when that is done.
    Bye,
}

/// From the broker to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum BrokerMessage {
    /// `WELCOME`
    Welcome(Welcome),
    /// `DELIVER`
    Deliver(Delivery),
    /// `STALE`
    Stale {
        /// The lease that is over.
        delivery: DeliveryId,
    },
    /// `HEARTBEAT`
    Heartbeat,
    /// `BYE`
    Bye {
        /// Why.
        reason: String,
    },
    /// `PAUSE`: you are given nothing until RESUME; what you hold you may still answer.
    Pause {
        /// Why.
        reason: String,
    },
    /// `RESUME`: you are given messages again.
    Resume {
        /// Why.
        reason: String,
    },
    /// `DRAIN`: end what you hold, say BYE, and end.
    Drain {
        /// Why.
        reason: String,
    },
    /// `RESTART`: end what you hold, say BYE, and begin anew.
    Restart {
        /// Why.
        reason: String,
    },
    /// `REJECTED`: the worker's frames could not be understood or done.
    Rejected(crate::model::Rejection),
}

/// A message in a worker's hands.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The lease.
    pub delivery: DeliveryId,
    /// The queue.
    pub queue: QueueName,
    /// The message's place.
    pub seq: Seq,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How long the lease lasts from now, in milliseconds.
    pub deadline_ms: u64,
    /// The message. Shared: a broker may hand the same one out again.
    pub content: Arc<Content>,
}
