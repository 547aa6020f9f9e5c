//! What the guard has seen and refused.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection was refused or cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Too many connections at once.
    Connections,
    /// Too many connections from one address.
    AddressConnections,
    /// Too many connections to all doors for the descriptors that the process may have.
    Descriptors,
    /// The handshake wasn't complete in time.
    HandshakeTimeout,
    /// The first bytes are not ZMTP 3's.
    Greeting,
    /// A security mechanism that the door doesn't speak.
    Mechanism,
    /// READY is missing, too long or can't be read.
    Ready,
    /// A socket type that doesn't go together with the door's.
    SocketType,
    /// Flags of a frame that ZMTP doesn't define, or not here.
    Flags,
    /// A command that has no place in traffic, or can't be read.
    Command,
    /// A message, or a frame of it, declares more bytes than are allowed.
    MessageBytes,
    /// A message has more frames than are allowed.
    MessageFrames,
    /// A message wasn't complete in time.
    MessageTimeout,
    /// A peer holds a part of a message while all room for large ones is taken.
    IncomingBytes,
    /// Nothing came within the time that the peer itself set in its PING.
    HeartbeatTimeout,
    /// The peer took no bytes for too long.
    Stalled,
    /// More waits for the peer than is allowed.
    Unsent,
    /// Too many or too long subscriptions, or one that can't be read.
    Subscriptions,
    /// CURVE: a box that can't be opened, a word out of its turn, or one that was said before.
    Encryption,
    /// A token or a key that doesn't count, or counts no more.
    Token,
    /// No token in time, where one is needed.
    TokenTimeout,
}

/// All reasons with their names for metrics and logs.
const REASONS: [(Refusal, &str); 21] = [
    (Refusal::Connections, "connections"),
    (Refusal::AddressConnections, "address-connections"),
    (Refusal::Descriptors, "descriptors"),
    (Refusal::HandshakeTimeout, "handshake-timeout"),
    (Refusal::Greeting, "greeting"),
    (Refusal::Mechanism, "mechanism"),
    (Refusal::Ready, "ready"),
    (Refusal::SocketType, "socket-type"),
    (Refusal::Flags, "flags"),
    (Refusal::Command, "command"),
    (Refusal::MessageBytes, "message-bytes"),
    (Refusal::MessageFrames, "message-frames"),
    (Refusal::MessageTimeout, "message-timeout"),
    (Refusal::IncomingBytes, "incoming-bytes"),
    (Refusal::HeartbeatTimeout, "heartbeat-timeout"),
    (Refusal::Stalled, "stalled"),
    (Refusal::Unsent, "unsent"),
    (Refusal::Subscriptions, "subscriptions"),
    (Refusal::Encryption, "encryption"),
    (Refusal::Token, "token"),
    (Refusal::TokenTimeout, "token-timeout"),
];

impl Refusal {
    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        REASONS.iter().find(|(reason, _)| *reason == self).map_or("", |(_, name)| name)
    }
}

/// Counts of one door, since it was opened.
#[derive(Debug, Default)]
pub struct GuardCounters {
    accepted: AtomicU64,
    open: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    undecodable: AtomicU64,
    forbidden: AtomicU64,
    refused: [AtomicU64; REASONS.len()],
}

/// [`GuardCounters`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardSnapshot {
    /// Connections that completed their handshake.
    pub accepted: u64,
    /// Of these, still open.
    pub open: u64,
    /// Bytes from peers, after the handshake.
    pub bytes_in: u64,
    /// Bytes to peers, after the handshake.
    pub bytes_out: u64,
    /// Messages that were answered REJECTED because they couldn't be read.
    pub undecodable: u64,
    /// Messages that were refused because their senders may not say them.
    pub forbidden: u64,
    /// Connections refused or cut off, by reason; all reasons.
    pub refused: Vec<(Refusal, u64)>,
}

impl GuardSnapshot {
    /// How often this was the reason.
    pub fn refused_for(&self, reason: Refusal) -> u64 {
        self.refused.iter().find(|(r, _)| *r == reason).map_or(0, |(_, count)| *count)
    }
}

impl GuardCounters {
    /// All counts now; each is exact, but they are not read at one instant.
    pub fn snapshot(&self) -> GuardSnapshot {
        GuardSnapshot {
            accepted: self.accepted.load(Relaxed),
            open: self.open.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            undecodable: self.undecodable.load(Relaxed),
            forbidden: self.forbidden.load(Relaxed),
            refused: REASONS
                .iter()
                .zip(&self.refused)
                .map(|((reason, _), count)| (*reason, count.load(Relaxed)))
                .collect(),
        }
    }

    pub(in crate::net) fn refuse(&self, refusal: Refusal) {
        let slot = REASONS.iter().zip(&self.refused).find(|((reason, _), _)| *reason == refusal);
        if let Some((_, count)) = slot {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(in crate::net) fn connected(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    pub(in crate::net) fn disconnected(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(in crate::net) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(in crate::net) fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    pub(in crate::net) fn may_not(&self) {
        self.forbidden.fetch_add(1, Relaxed);
    }

    pub(in crate::net) fn could_not_read(&self) {
        self.undecodable.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_by_itself() {
        let counters = GuardCounters::default();
        for (reason, name) in REASONS {
            counters.refuse(reason);
            assert_eq!(counters.snapshot().refused_for(reason), 1, "{name}");
            assert_eq!(reason.as_str(), name);
        }
    }
}
