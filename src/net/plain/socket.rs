//! One plain socket: its listener, its guard, its connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::{Links, Parcel, Pattern};
use crate::net::PeerId;
use crate::net::endpoint::listen;
use crate::net::frames::Wire;
use crate::net::guard::{
    End, Guard, GuardCounters, Inside, Mint, Outbox, Peer, Peers, Phase, Refusal, Role,
};
use crate::net::options::{NetError, NetLimits};
use crate::net::room::ROOM_UNIT_BYTES;

/// A subscription as a message (ZMTP 3.0): 1 and a prefix; 0 cancels it.
const SUBSCRIBE: u8 = 1;
const CANCEL: u8 = 0;
/// To everything: the empty prefix.
const SUBSCRIBE_ALL: &[u8] = &[SUBSCRIBE];

/// Where what comes in goes.
#[derive(Debug, Clone)]
pub(in crate::net) struct Taker {
    arrived: mpsc::Sender<Parcel>,
    room: Arc<Semaphore>,
    units: usize,
    /// Whether anything is taken now.
    gate: watch::Receiver<bool>,
}

impl Taker {
    /// What comes in waits for its taker in a channel of so many messages, with so many bytes.
    pub(in crate::net) fn new(
        messages: usize,
        bytes: usize,
        gate: watch::Receiver<bool>,
    ) -> (Self, mpsc::Receiver<Parcel>) {
        let (arrived, parcels) = mpsc::channel(messages);
        let units = bytes.div_ceil(ROOM_UNIT_BYTES);
        (Self { arrived, room: Arc::new(Semaphore::new(units)), units, gate }, parcels)
    }

    /// Waits for room.
    async fn take(&self, from: PeerId, frames: Vec<Bytes>) -> Result<(), End> {
        if !*self.gate.borrow() {
            self.gate.clone().wait_for(|open| *open).await.map_err(|_| End::Closed)?;
        }
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        // The largest message takes all the room there is.
        let units = bytes.div_ceil(ROOM_UNIT_BYTES).clamp(1, self.units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(units).await;
        let room = room.map_err(|_| End::Closed)?;
        self.arrived.send(Parcel { from, frames, _room: room }).await.map_err(|_| End::Closed)
    }
}

/// What all sockets of a broker share.
#[derive(Debug, Clone)]
pub(in crate::net) struct Common {
    pub(in crate::net) mint: Mint,
    pub(in crate::net) phase: watch::Receiver<Phase>,
    pub(in crate::net) alive: mpsc::Sender<()>,
}

/// A socket that is open.
#[derive(Debug)]
pub(in crate::net) struct Opened {
    /// Where it listens, with the port that was taken.
    pub(in crate::net) endpoint: String,
    pub(in crate::net) links: Arc<Links>,
    pub(in crate::net) peers: Arc<Peers>,
    pub(in crate::net) counters: Arc<GuardCounters>,
    /// Ends when the broker stops.
    pub(in crate::net) guard: JoinHandle<()>,
}

/// Opens a socket; `door` is its setting's name for errors.
pub(in crate::net) async fn open(
    door: &str,
    endpoint: &str,
    pattern: Pattern,
    limits: NetLimits,
    taker: Option<Taker>,
    common: &Common,
) -> Result<Opened, NetError> {
    let (listener, bound) = listen(door, endpoint).await?;
    let peers = Arc::new(Peers::new(&limits, limits.client_unsent_bytes));
    let links = Arc::new(Links::new(Arc::clone(&peers)));
    let counters = Arc::<GuardCounters>::default();
    let Common { mint, phase, alive } = common.clone();
    let inside =
        PlainSocket { pattern, peers: Arc::clone(&peers), links: Arc::clone(&links), taker };
    let guard = Guard {
        limits,
        counters: Arc::clone(&counters),
        peers: Arc::clone(&peers),
        mint,
        inside,
        // Its patterns have no word for a token.
        auth: None,
        phase,
        alive,
    };
    let guard = tokio::spawn(guard.run(listener));
    Ok(Opened { endpoint: bound, links, peers, counters, guard })
}

/// What is behind its guard.
#[derive(Debug)]
pub(in crate::net) struct PlainSocket {
    pattern: Pattern,
    peers: Arc<Peers>,
    links: Arc<Links>,
    /// Absent where peers have nothing to say.
    taker: Option<Taker>,
}

impl Inside for PlainSocket {
    fn role(&self) -> Role {
        self.pattern.role()
    }

    /// A slow one is slow: what waits for it has a bound.
    fn stall(&self, _: &NetLimits) -> Option<Duration> {
        None
    }

    fn joined(&self, peer: &Peer) {
        self.links.join(peer.id);
        if self.pattern == Pattern::XSub {
            // It is new, so there is room.
            self.peers.offer(peer.id, Wire::of(&[Bytes::from_static(SUBSCRIBE_ALL)]));
        }
    }

    async fn hear(&self, peer: &Peer, frames: Vec<Bytes>) -> Result<(), End> {
        if let Some(taker) = &self.taker {
            return taker.take(peer.id, frames).await;
        }
        match (self.pattern, frames.as_slice()) {
            (Pattern::XPub, [only]) => match only.split_first() {
                Some((&SUBSCRIBE, prefix)) => Ok(self.subscribe(peer, prefix, true)?),
                Some((&CANCEL, prefix)) => Ok(self.subscribe(peer, prefix, false)?),
                Some(_) | None => Err(End::Refused(Refusal::Subscriptions)),
            },
            _ => Err(End::Refused(Refusal::Command)),
        }
    }

    fn subscribe(&self, peer: &Peer, prefix: &[u8], wanted: bool) -> Result<(), Refusal> {
        match self.pattern {
            Pattern::XPub => self.links.subscribe(peer.id, prefix, wanted),
            Pattern::Pull | Pattern::Push | Pattern::XSub | Pattern::Router | Pattern::Dealer => {
                Err(Refusal::Command)
            }
        }
    }

    fn taken(&self) {
        self.links.has_room();
    }

    async fn left(&self, id: PeerId, unsent: Outbox) {
        // What waits for a publisher is our subscription: no message.
        let unsent = (self.pattern != Pattern::XSub).then_some(unsent);
        self.links.leave(id, unsent);
    }
}
