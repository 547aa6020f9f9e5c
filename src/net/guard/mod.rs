//! The guard: a small ZMTP front that owns a public listener, checks what comes, and hands whole messages to what is
//! inside: the clients' and the workers' ROUTER (`net/router.rs`), or a plain socket (`net/plain/`). It knows who is
//! there, and what waits for each.
//!
//! What a peer meets, and what it sees:
//! - A handshake by ZMTP 3 with the mechanism NULL, PLAIN or CURVE within 3 s, from a socket type that goes with ours.
//!   Otherwise the connection is closed. PLAIN is spoken where there are tokens, CURVE where there is a key.
//! - Where a token is needed, 15 s to show one, and until then messages of 16 KiB at most; where it was revoked, the end.
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
//! The identity that a peer gives in READY is *replaced* by one that the guard mints: never used twice, so none can be
//! guessed into another's place, stolen, or given twice. Two peers with the same identity both work, and each gets its
//! own answers. [`PeerId`] is that identity.
//!
//! # When a connection ends
//! One task hears a connection and then says that it has ended, so `ClientGone` or `WorkerGone` comes after the last of its
//! messages.

mod counters;
mod frames;
mod greeting;
mod handshake;
mod peers;
mod relay;
mod room;

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

pub use counters::{GuardCounters, GuardSnapshot, Refusal};
pub(super) use greeting::{COMMAND, LONG, MORE, Role, command};
pub(super) use handshake::read_command;
pub(super) use peers::{Outbox, Peer, Peers, Sent};

use self::handshake::Known;
use self::peers::{Slot, Slots};
use self::relay::{Inward, MAX_PONGS, Outward};
use self::room::Room;
use super::PeerId;
use super::admission::{DoorAuth, MAX_STRANGER_MESSAGE_BYTES, Session};
use super::curve::{self, BoxLimits};
use super::endpoint::{Listener, Stream};
use super::incoming::Incoming;
use super::options::NetLimits;

/// How long a peer may take to close its side when the broker stops. Closing before it has would throw
/// away what is still on its way to it.
const CLOSE: Duration = Duration::from_millis(200);
/// How often is looked whether a peer has taken what it is told at its end.
const TOLD_LOOK: Duration = Duration::from_millis(2);
/// After the system refused to accept (most often: no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the log says that connections are refused.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// The first identity. Proxies put it into envelopes, where ROUTER keeps those that begin with 0 for itself.
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
    /// The same; what the peer is told of it goes out first.
    Told(Refusal),
    /// By the peer, the broker or the system.
    Closed,
}

impl End {
    /// A message was refused by its size.
    fn is_too_large(&self) -> bool {
        matches!(self, Self::Refused(Refusal::MessageBytes))
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A refusal on its way through an I/O error.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.as_str())]
pub(super) struct Refused(pub(super) Refusal);

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref::<Refused>()) {
            Some(Refused(refusal)) => Self::Refused(*refusal),
            None => Self::Closed,
        }
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
    /// What the guard says that it is.
    fn role(&self) -> Role;

    /// How long a peer may take no bytes while some wait for it; `None`: as long as it likes.
    fn stall(&self, limits: &NetLimits) -> Option<Duration>;

    /// A peer has shaken hands.
    fn joined(&self, peer: &Peer);

    /// A peer says something. While this waits, its own TCP stack holds it back.
    fn hear(&self, peer: &Peer, frames: Vec<Bytes>)
    -> impl Future<Output = Result<(), End>> + Send;

    /// A peer subscribes to a prefix by a command, or does so no more.
    fn subscribe(&self, peer: &Peer, prefix: &[u8], wanted: bool) -> Result<(), Refusal>;

    /// A peer that has shown no token where one is needed has begun a message that is too large for that; `delimited`: with
    /// an empty frame. It may be told why.
    fn tell_stranger(&self, _: &Peer, _delimited: bool) {}

    /// A peer's socket has taken something.
    fn taken(&self);

    /// A peer is gone, and no more is counted for it. `unsent` has what still waited.
    fn left(&self, id: PeerId, unsent: Outbox) -> impl Future<Output = ()> + Send;
}

/// One public listener's guard.
pub(super) struct Guard<I> {
    pub(super) limits: NetLimits,
    pub(super) counters: Arc<GuardCounters>,
    pub(super) peers: Arc<Peers>,
    pub(super) mint: Mint,
    pub(super) inside: I,
    /// Whom it lets in; anybody if absent.
    pub(super) auth: Option<DoorAuth>,
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
                self.connection(reader, writer, room, address).await
            }
            Stream::Ipc(stream) => {
                let (reader, writer) = stream.into_split();
                self.connection(reader, writer, room, address).await
            }
        };
        match end {
            End::Refused(refusal) | End::Told(refusal) => self.refused(&address, refusal),
            End::Closed => tracing::debug!(?address, "a connection ended"),
        }
    }

    fn refused(&self, address: &Option<IpAddr>, refusal: Refusal) {
        self.counters.refuse(refusal);
        tracing::debug!(?address, reason = refusal.as_str(), "a connection was refused");
    }

    async fn connection(
        &self,
        mut reader: impl AsyncRead + Unpin + Incoming,
        mut writer: impl AsyncWrite + Unpin + Send,
        room: Room,
        address: Option<IpAddr>,
    ) -> End {
        let mut phase = self.phase.clone();
        let role = self.inside.role();
        let shake = handshake::shake(&mut reader, &mut writer, role, self.auth.as_ref(), address);
        let shaken = tokio::select! {
            shaken = timeout(self.limits.handshake, shake) => shaken,
            () = reached(&mut phase, Phase::Draining) => return End::Closed,
        };
        let Known { token, curve } = match shaken {
            Ok(Ok(known)) => known,
            Ok(Err(end)) => return end,
            Err(_) => return End::Refused(Refusal::HandshakeTimeout),
        };
        let session = Session::of(address);
        if let Some(token) = token {
            session.shows(token);
        }
        let Some(curve) = curve else {
            return self.stay((reader, writer), session, room).await;
        };
        let limits = BoxLimits {
            frame_bytes: self.limits.message_bytes,
            stranger: self.needs_token().then(|| (MAX_STRANGER_MESSAGE_BYTES, session.shown())),
            frame: self.limits.message,
            room: Arc::clone(&room.boxes),
        };
        let (reader, writer) = curve::split(curve, (reader, writer), limits);
        // Apart, so that a connection without boxes needs no place for them.
        Box::pin(self.stay((reader, writer), session, room)).await
    }

    /// From the handshake to the end.
    async fn stay(
        &self,
        (mut reader, mut writer): (impl Incoming, impl AsyncWrite + Unpin + Send),
        session: Session,
        room: Room,
    ) -> End {
        let mut phase = self.phase.clone();
        let (peer, mut outbox) = self.peers.add(self.mint.next(), session);
        self.inside.joined(&peer);
        self.counters.connected();
        let end = tokio::select! {
            end = self.relay(&peer, (&mut reader, &mut writer), &mut outbox, room) => Some(end),
            () = peer.cut.notified() => Some(End::Refused(Refusal::Unsent)),
            refusal = self.unwelcome(&peer) => Some(End::Refused(refusal)),
            () = reached(&mut phase, Phase::Closed) => None,
        };
        match end {
            Some(End::Refused(_) | End::Closed) => drop((reader, writer)),
            Some(End::Told(_)) | None => drop(timeout(CLOSE, close(reader, writer)).await),
        }
        self.peers.remove(peer.id);
        tokio::select! {
            () = self.inside.left(peer.id, outbox) => {}
            () = reached(&mut phase, Phase::Closed) => {}
        }
        self.counters.disconnected();
        end.unwrap_or(End::Closed)
    }

    /// Waits until the peer may stay no longer: it showed no token in time, or what it showed counts no more.
    async fn unwelcome(&self, peer: &Peer) -> Refusal {
        let Some(auth) = &self.auth else { return std::future::pending().await };
        let mut changes = auth.access.changes();
        // A revocation during the handshake was no change for this receiver.
        if !peer.session.still_counts(&auth.access) {
            return Refusal::Token;
        }
        // Where none is needed, thousands of idle peers have no timer.
        let mut due = auth.is_needed.then(|| Box::pin(sleep(self.limits.token)));
        loop {
            let late = async {
                match &mut due {
                    Some(due) => due.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = late => {
                    due = None;
                    if !peer.session.has_shown_one() {
                        return Refusal::TokenTimeout;
                    }
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    if !peer.session.still_counts(&auth.access) {
                        return Refusal::Token;
                    }
                }
            }
        }
    }

    /// Both ways until one ends.
    async fn relay(
        &self,
        peer: &Peer,
        (reader, writer): (&mut impl Incoming, &mut (impl AsyncWrite + Unpin + Send)),
        outbox: &mut Outbox,
        room: Room,
    ) -> End {
        let (pong_sender, pongs) = mpsc::channel(MAX_PONGS);
        let inward = Inward { guard: self, peer, room, pongs: pong_sender };
        let mut outward = pin!(Outward { guard: self, peer, pongs }.run(outbox, writer));
        let end = tokio::select! {
            end = inward.run(reader) => end,
            end = &mut outward => return end,
        };
        if matches!(end, End::Told(_)) {
            let told = async {
                while peer.has_unsent() {
                    sleep(TOLD_LOOK).await;
                }
            };
            // A peer that takes nothing is not waited for.
            let _ = timeout(CLOSE, async {
                tokio::select! { _ = outward => {}, () = told => {} }
            })
            .await;
        }
        end
    }

    /// Whether a peer may do nothing before it has shown a token.
    fn needs_token(&self) -> bool {
        self.auth.as_ref().is_some_and(|auth| auth.is_needed)
    }
}

/// Ends a connection so that what was written reaches the peer.
async fn close(mut reader: impl Incoming, mut writer: impl AsyncWrite + Unpin) {
    if writer.shutdown().await.is_ok() {
        reader.discard().await;
    }
}
