//! Plain ZeroMQ sockets behind a guard: PULL, PUSH, XPUB, XSUB, ROUTER, DEALER, for the doors beside clients' and
//! workers' and for proxies.
//!
//! What waits for a peer has a bound in messages and bytes, and all of a socket's peers together have one. What happens at the bound is the pattern's: a
//! subscriber loses the message, and the loss is counted; a message that goes to any of several peers goes to the next one,
//! or waits. What comes in waits for room with its taker, and TCP holds the peer back.

mod links;
mod prefixes;
mod socket;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::PeerId;
use super::guard::Role;
pub(super) use links::Links;
pub(super) use socket::{Common, Opened, Taker, open};

/// What a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Takes from PUSH.
    Pull,
    /// Gives to PULL, each message to one.
    Push,
    /// Tells SUB what they have subscribed to.
    XPub,
    /// Hears PUB; subscribes to everything.
    XSub,
    /// Takes from and answers REQ, DEALER.
    Router,
    /// Gives to REP, DEALER, each message to one, and takes their answers.
    Dealer,
}

impl Pattern {
    /// The socket's type.
    pub(super) fn as_str(self) -> &'static str {
        self.role().name
    }

    fn role(self) -> Role {
        let (name, meets): (_, &[_]) = match self {
            Self::Pull => ("PULL", &["PUSH"]),
            Self::Push => ("PUSH", &["PULL"]),
            Self::XPub => ("XPUB", &["SUB", "XSUB"]),
            Self::XSub => ("XSUB", &["PUB", "XPUB"]),
            Self::Router => ("ROUTER", &["REQ", "DEALER", "ROUTER"]),
            Self::Dealer => ("DEALER", &["REP", "DEALER", "ROUTER"]),
        };
        Role { name, meets }
    }
}

/// A message that came in.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) from: PeerId,
    pub(super) frames: Vec<Bytes>,
    /// Its share of the bytes that may wait, until it is taken.
    pub(super) _room: OwnedSemaphorePermit,
}
