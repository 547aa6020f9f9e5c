//! The guard: a small ZMTP front that owns a public listener, checks what comes, and relays to what is
//! inside: the zeromq crate's private ROUTER, whose traps it takes away, or a plain socket (`net/plain/`).
//! It knows who is there.
//!
//! What a peer meets, and what it sees:
//! - A handshake by ZMTP 3 with the mechanism NULL within 3 s, from a socket type that goes with ours. Otherwise the
//!   connection is closed.
//! - Frames with flags that ZMTP defines, messages within `NetLimits`. A frame that declares more is
//!   refused by its header, before any of its bytes are read or memory is taken for it: closed.
//! - PING is answered with PONG; its TTL is kept. Other commands: closed.
//! - A peer that takes no bytes for 10 s while some wait for it, or for which too much waits: closed. (A plain
//!   socket's peer may be slow.)
//! - Too many connections, in all, from its address, or for the process's descriptors: closed before the handshake.
//!
//! Each of these is counted by its reason ([`Refusal`]) and logged at debug level.
//!
//! # Identities
//! The identity that a peer gives in READY is *replaced* by one that the guard mints: eight bytes, the
//! first never 0 (such are reserved for ROUTER's own), never used twice. So none can be guessed into
//! another's place, stolen, or given twice, and the crate's handling of doubled identities is never met:
//! two peers with the same identity both work, and each gets its own answers. [`PeerId`] is that identity.
//!
//! # When a connection ends
//! The guard closes its writing side towards the crate and reads on until the crate has closed too. By
//! then the receiving task has handed on every message of this peer, as it takes the stream's end only
//! after all messages before it and hands each on before it takes the next. Only then comes `ClientGone`
//! or `WorkerGone`: after it no message of this peer arrives. (Only if the broker takes nothing in for
//! [`LINGER`] could one still follow; a loop must let messages of unknown peers pass without harm, and a
//! worker that comes back to life so is ended by its silence.) A peer's identity is never used again.

mod counters;
mod frames;
mod greeting;
mod handshake;
mod inside;
mod peers;
mod relay;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

pub use counters::{GuardCounters, GuardSnapshot, Refusal};
pub(super) use frames::wire_bytes;
pub(super) use greeting::{LONG, MORE, Role};
pub(super) use inside::Router;
pub(super) use peers::{Peer, Peers};
pub(super) use relay::{Inward, MAX_PONGS, Room, Target, write};

use self::frames::FrameLimits;
use self::peers::{Slot, Slots};
use super::PeerId;
use super::endpoint::{Listener, Stream};
use super::options::NetLimits;

/// How long the crate may take to read what a peer that is gone had sent.
const LINGER: Duration = Duration::from_secs(30);
/// How long a peer may take to close its side when the broker stops. Closing before it has would throw
/// away what is still on its way to it.
const CLOSE: Duration = Duration::from_millis(200);
/// After the system refused to accept (most often: no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the log says that connections are refused.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// The first identity; its first byte is not 0.
const FIRST_PEER: u64 = 1 << 56;

/// How far the broker has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It runs.
    Open,
    /// Nothing new is accepted or read; what is out leaves.
    Draining,
    /// Connections end.
    Closed,
}

/// Waits for a phase, or until the one who sets it is gone. Cancel safe.
pub(super) async fn reached(phase: &mut watch::Receiver<Phase>, at_least: Phase) {
    // An error says that the sender was dropped: as good as closed.
    let _ = phase.wait_for(|now| *now >= at_least).await;
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// By the guard.
    Refused(Refusal),
    /// By the peer, the crate or the system.
    Closed,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// Mints identities for both doors.
#[derive(Debug, Clone)]
pub(super) struct Mint(Arc<AtomicU64>);

impl Mint {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(FIRST_PEER)))
    }

    pub(super) fn next(&self) -> PeerId {
        PeerId(self.0.fetch_add(1, Relaxed))
    }
}

/// What is behind a guard.
pub(super) trait Inside: Sized + Send + Sync + 'static {
    /// What stands for one peer.
    type Link: Send;

    /// What the guard says that it is.
    fn role(&self) -> Role;

    /// A peer has shaken hands.
    fn open(&self, peer: &Peer) -> impl Future<Output = io::Result<Self::Link>> + Send;

    /// Relays both ways until one ends. Dropped when the peer is cut off or the broker stops.
    fn relay(
        guard: &Guard<Self>,
        peer: &Peer,
        outside: (&mut (impl AsyncRead + Unpin + Send), &mut (impl AsyncWrite + Unpin + Send)),
        link: &mut Self::Link,
        room: Room,
    ) -> impl Future<Output = End> + Send;

    /// The peer is gone; takes it from the guard's peers.
    fn leave(guard: &Guard<Self>, id: PeerId, link: Self::Link) -> impl Future<Output = ()> + Send;
}

/// One public listener's guard.
pub(super) struct Guard<I> {
    pub(super) limits: NetLimits,
    pub(super) counters: Arc<GuardCounters>,
    pub(super) peers: Arc<Peers>,
    pub(super) mint: Mint,
    pub(super) inside: I,
    pub(super) phase: watch::Receiver<Phase>,
    /// Held by every task of a connection: when all are dropped, all have ended.
    pub(super) alive: mpsc::Sender<()>,
}

impl<I: Inside> Guard<I> {
    /// Accepts until the broker stops.
    pub(super) async fn run(self, listener: Listener) {
        let slots = Slots::new(&self.limits);
        let room = Room::new(self.limits.incoming_bytes, self.limits.message_bytes);
        let guard = Arc::new(self);
        let mut phase = guard.phase.clone();
        let mut warned: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = reached(&mut phase, Phase::Draining) => return,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match slots.take(stream.address()) {
                Err(refusal) => {
                    guard.refused(&stream.address(), refusal);
                    if warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
                        warned = Some(Instant::now());
                        tracing::warn!(
                            reason = refusal.as_str(),
                            "connections are refused; more are allowed by listen.connections, \
                             listen.connections_per_address, and open files (ulimit -n, LimitNOFILE)"
                        );
                    }
                }
                Ok(slot) => drop(tokio::spawn(guard.clone().serve(stream, slot, room.clone()))),
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: Stream, _slot: Slot, room: Room) {
        let _alive = self.alive.clone();
        let address = stream.address();
        let end = match stream {
            Stream::Tcp(stream, _) => {
                let (reader, writer) = stream.into_split();
                self.connection(reader, writer, room).await
            }
            Stream::Ipc(stream) => {
                let (reader, writer) = stream.into_split();
                self.connection(reader, writer, room).await
            }
        };
        match end {
            End::Refused(refusal) => self.refused(&address, refusal),
            End::Closed => tracing::debug!(?address, "a connection ended"),
        }
    }

    fn refused(&self, address: &Option<std::net::IpAddr>, refusal: Refusal) {
        self.counters.refuse(refusal);
        tracing::debug!(?address, reason = refusal.as_str(), "a connection was refused");
    }

    async fn connection(
        &self,
        mut reader: impl AsyncRead + Unpin + Send,
        mut writer: impl AsyncWrite + Unpin + Send,
        room: Room,
    ) -> End {
        let id = self.mint.next();
        let mut phase = self.phase.clone();
        let shake = async {
            handshake::outside(&mut reader, &mut writer, self.inside.role()).await?;
            // Before those inside know it: its first message must find it here.
            let peer = self.peers.add(id);
            match self.inside.open(&peer).await {
                Ok(link) => Ok((peer, link)),
                Err(error) => {
                    tracing::warn!(%error, "cannot take a peer in");
                    Err(End::Closed)
                }
            }
        };
        let shaken = tokio::select! {
            shaken = timeout(self.limits.handshake, shake) => shaken,
            () = reached(&mut phase, Phase::Draining) => Ok(Err(End::Closed)),
        };
        let (peer, mut link) = match shaken {
            Ok(Ok(pair)) => pair,
            Ok(Err(end)) => {
                self.peers.remove(id);
                return end;
            }
            Err(_) => {
                self.peers.remove(id);
                return End::Refused(Refusal::HandshakeTimeout);
            }
        };
        self.counters.connected();
        let end = tokio::select! {
            end = I::relay(self, &peer, (&mut reader, &mut writer), &mut link, room) => Some(end),
            () = peer.cut.notified() => Some(End::Refused(Refusal::Unsent)),
            () = reached(&mut phase, Phase::Closed) => None,
        };
        match end {
            Some(_) => drop((reader, writer)),
            None => drop(timeout(CLOSE, close(reader, writer)).await),
        }
        I::leave(self, id, link).await;
        self.counters.disconnected();
        end.unwrap_or(End::Closed)
    }

    /// The way in, whatever is inside.
    pub(super) fn inward(&self, room: Room, pongs: mpsc::Sender<Vec<u8>>) -> Inward<'_> {
        Inward {
            limits: FrameLimits {
                frames: self.limits.frames,
                bytes: self.limits.message_bytes as u64,
            },
            message_time: self.limits.message,
            room,
            counters: &self.counters,
            pongs,
            phase: self.phase.clone(),
        }
    }
}

/// Ends a connection so that what was written reaches the peer.
async fn close(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) {
    if writer.shutdown().await.is_ok() {
        discard(&mut reader).await;
    }
}

async fn discard(reader: &mut (impl AsyncRead + Unpin)) {
    // Small: it is a part of each connection's task from its beginning.
    let mut sink = [0; 256];
    while matches!(reader.read(&mut sink).await, Ok(read) if read > 0) {}
}
