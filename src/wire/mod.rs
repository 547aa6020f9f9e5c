//! Frames to commands and back: MUB1 (protocol.md). Pure; knows no sockets.
//!
//! Both directions of both sides are here, so that broker, client and worker speak from one table.

mod client;
mod worker;

pub use client::{ClientReply, ClientRequest, Limits, SendRequest, Welcome};
pub use worker::{BrokerMessage, Delivery, WorkerMessage};

/// The first frame of every envelope.
pub const MAGIC: &[u8] = b"MUB1";
