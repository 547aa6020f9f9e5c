//! CURVE (ZeroMQ RFC 26): the server's end of it, for the guard.

mod cipher;
#[cfg(test)]
pub(super) mod client;
mod handshake;
mod stream;

pub(super) use handshake::{Shaken, ready, shake};
pub(super) use stream::{BoxLimits, room, split};
