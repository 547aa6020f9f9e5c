//! The Majordomo protocols, for what already exists: MDP 0.1 and 0.2 (ZeroMQ RFC 7 and 18), MMI (RFC 8) and Titanic
//! (RFC 9), as what clients and workers of MUB1 do too.
//!
//! A service is a queue. A client's request is a CALL, a worker's reply an ACK with a payload, its partial replies are
//! PARTIALs, and DISCONNECT is the end of a connection. The version is told by the tag of each message. Where MUB1
//! would answer with an error, Majordomo has no word for it: the client hears nothing, and may ask again.
//!
//! A body of several frames is one payload here ([`body`]), so that peers of both protocols understand each other.

mod body;
mod client;
mod worker;

use bytes::Bytes;

pub use client::{Asked, Asks};
pub use worker::Says;

use super::frames::malformed;
use crate::model::{QueueName, Rejection};

/// The version of the protocol that a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MDP 0.1: one reply to each request.
    V1,
    /// MDP 0.2: partial replies, then a final one.
    V2,
}

/// Whether frames begin as a client's of Majordomo do.
pub fn is_clients(frames: &[Bytes]) -> bool {
    frames.first().is_some_and(|tag| tag.starts_with(b"MDPC"))
}

/// Whether frames begin as a worker's of Majordomo do.
pub fn is_workers(frames: &[Bytes]) -> bool {
    frames.first().is_some_and(|tag| tag.starts_with(b"MDPW"))
}

/// The queue that a service is.
fn service(name: &[u8]) -> Result<QueueName, Rejection> {
    let name = std::str::from_utf8(name).map_err(|e| malformed(format!("the service: {e}")))?;
    QueueName::new(name).map_err(|e| malformed(format!("the service: {e}")))
}

fn missing(what: &str) -> impl Fn() -> Rejection {
    move || malformed(format!("the {what} is missing"))
}

#[cfg(test)]
mod tests;
