//! One plain socket: its listener, its guard, its connections.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::frames::Assembler;
use super::{Links, Parcel, Pattern, encode};
use crate::net::PeerId;
use crate::net::endpoint::Listener;
use crate::net::guard::{
    End, Guard, GuardCounters, Inside, MAX_PONGS, Mint, Peer, Peers, Phase, Refusal, Role, Room,
    Target, write,
};
use crate::net::options::{NetError, NetLimits};

/// A subscription as a message (ZMTP 3.0): 1 and a prefix; 0 cancels it.
const SUBSCRIBE: u8 = 1;
const CANCEL: u8 = 0;
/// To everything: the empty prefix.
const SUBSCRIBE_ALL: &[u8] = &[SUBSCRIBE];
/// Messages, and bytes of them, that are written at once.
const WRITE_MESSAGES: usize = 64;
const WRITE_BYTES: usize = 64 * 1024;
/// The unit of room for what waits to be taken.
const ROOM_UNIT_BYTES: usize = 1024;

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
    async fn take(&mut self, from: PeerId, frames: Vec<Bytes>) -> Result<(), End> {
        self.gate.wait_for(|open| *open).await.map_err(|_| End::Closed)?;
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
    let listener = Listener::bind(door, endpoint).await?;
    let bound = listener.address().map_err(|source| NetError::Bind {
        door: door.to_owned(),
        endpoint: endpoint.to_owned(),
        source,
    })?;
    let peers = Arc::new(Peers::new(&limits, limits.client_unsent_bytes));
    let waiting = usize::try_from(limits.unsent_messages).unwrap_or(usize::MAX);
    let links = Arc::new(Links::new(Arc::clone(&peers), waiting.saturating_add(1)));
    let counters = Arc::<GuardCounters>::default();
    let Common { mint, phase, alive } = common.clone();
    let inside = PlainSocket { pattern, links: Arc::clone(&links), taker };
    let guard = Guard {
        limits,
        counters: Arc::clone(&counters),
        peers: Arc::clone(&peers),
        mint,
        inside,
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
    links: Arc<Links>,
    /// Absent where peers have nothing to say.
    taker: Option<Taker>,
}

impl Inside for PlainSocket {
    type Link = mpsc::Receiver<Bytes>;

    fn role(&self) -> Role {
        self.pattern.role()
    }

    async fn open(&self, peer: &Peer) -> io::Result<Self::Link> {
        Ok(self.links.join(peer.id))
    }

    async fn relay(
        guard: &Guard<Self>,
        peer: &Peer,
        (reader, writer): (
            &mut (impl AsyncRead + Unpin + Send),
            &mut (impl AsyncWrite + Unpin + Send),
        ),
        waiting: &mut Self::Link,
        room: Room,
    ) -> End {
        let (pong_sender, pongs) = mpsc::channel(MAX_PONGS);
        let inward = guard.inward(room, pong_sender);
        let taker = guard.inside.taker.clone();
        let mut hearing = Hearing {
            socket: &guard.inside,
            peer: peer.id,
            taker,
            assembler: Assembler::default(),
        };
        tokio::select! {
            end = inward.run(reader, &mut hearing) => end,
            end = outward(guard, peer, writer, waiting, pongs) => match end {
                Ok(()) => End::Closed,
                Err(end) => end,
            },
        }
    }

    async fn leave(guard: &Guard<Self>, id: PeerId, mut waiting: Self::Link) {
        guard.inside.links.leave(id, &mut waiting);
        guard.peers.remove(id);
    }
}

/// From one peer to the taker.
struct Hearing<'a> {
    socket: &'a PlainSocket,
    peer: PeerId,
    taker: Option<Taker>,
    assembler: Assembler,
}

impl Target for Hearing<'_> {
    async fn pass(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        while let Some(message) = self.assembler.next_message(&mut bytes) {
            self.message(message).await?;
        }
        Ok(())
    }

    fn subscribe(&mut self, prefix: &[u8], wanted: bool) -> Result<(), Refusal> {
        match self.socket.pattern {
            Pattern::XPub => self.socket.links.subscribe(self.peer, prefix, wanted),
            Pattern::Pull | Pattern::Push | Pattern::XSub | Pattern::Router | Pattern::Dealer => {
                Err(Refusal::Command)
            }
        }
    }
}

impl Hearing<'_> {
    async fn message(&mut self, frames: Vec<Bytes>) -> Result<(), End> {
        if let Some(taker) = &mut self.taker {
            return taker.take(self.peer, frames).await;
        }
        match (self.socket.pattern, frames.as_slice()) {
            (Pattern::XPub, [only]) => match only.split_first() {
                Some((&SUBSCRIBE, prefix)) => Ok(self.subscribe(prefix, true)?),
                Some((&CANCEL, prefix)) => Ok(self.subscribe(prefix, false)?),
                Some(_) | None => Err(End::Refused(Refusal::Subscriptions)),
            },
            _ => Err(End::Refused(Refusal::Command)),
        }
    }
}

/// What waits for a peer, to it. A slow one is slow: what waits for it has a bound.
async fn outward(
    guard: &Guard<PlainSocket>,
    peer: &Peer,
    writer: &mut (impl AsyncWrite + Unpin),
    waiting: &mut mpsc::Receiver<Bytes>,
    mut pongs: mpsc::Receiver<Vec<u8>>,
) -> Result<(), End> {
    let counters = &guard.counters;
    if guard.inside.pattern == Pattern::XSub {
        let wire = encode(&[Bytes::from_static(SUBSCRIBE_ALL)]);
        write(writer, &wire, None, counters).await?;
    }
    let mut messages = Vec::with_capacity(WRITE_MESSAGES);
    loop {
        tokio::select! {
            biased;
            Some(pong) = pongs.recv() => write(writer, &pong, None, counters).await?,
            taken = waiting.recv_many(&mut messages, WRITE_MESSAGES) => {
                if taken == 0 {
                    return Ok(());
                }
                write_together(writer, &messages, counters).await?;
                let bytes = messages.drain(..).map(|wire| wire.len() as u64).sum();
                guard.peers.discharge(peer, bytes, taken as u64);
                guard.inside.links.has_room();
            }
        }
    }
}

/// Small ones in one system call.
async fn write_together(
    writer: &mut (impl AsyncWrite + Unpin),
    messages: &[Bytes],
    counters: &GuardCounters,
) -> Result<(), End> {
    let mut together = BytesMut::new();
    for wire in messages {
        if together.len() + wire.len() > WRITE_BYTES {
            write(writer, &together, None, counters).await?;
            together.clear();
        }
        if wire.len() >= WRITE_BYTES || messages.len() == 1 {
            write(writer, wire, None, counters).await?;
        } else {
            together.extend_from_slice(wire);
        }
    }
    write(writer, &together, None, counters).await
}
