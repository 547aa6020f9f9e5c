//! Frames to commands and back: MUB1 (protocol.md), and Majordomo in its terms (`majordomo`). Pure; knows no sockets.
//!
//! Both directions of both sides are here, so that broker, client and worker speak from one table. The
//! frames are those after ROUTER's identity and the empty delimiter, which belong to the sockets (`net`).
//! Decoding never panics; what can't be read comes back as the [`crate::model::Rejection`] that the peer
//! is told.

#![deny(clippy::indexing_slicing, clippy::wildcard_enum_match_arm, clippy::arithmetic_side_effects)]

mod client;
mod client_codec;
mod frames;
mod gather_codec;
pub mod majordomo;
mod reply_codec;
mod saga_codec;
mod topic_codec;
mod worker;
mod worker_codec;

#[cfg(test)]
mod tests;

pub use client::{ClientReply, ClientRequest, Limits, SendRequest, Welcome};
pub use worker::{BrokerMessage, Delivery, WorkerMessage};

/// The first frame of every envelope.
pub const MAGIC: &[u8] = b"MUB1";
