//! Bytes from a peer to what is inside and back, checked and counted on the way.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::counters::{GuardCounters, Refusal};
use super::frames::{Command, FrameLimits, Scanned, Scanner, pong};
use super::peers::{Peer, Peers};
use super::{End, Phase, reached};

/// A read buffer's size for a peer that says little, and for one that says much. Thousands of idle peers
/// must not hold 64 KiB each.
const MIN_READ_BYTES: usize = 4 * 1024;
const MAX_READ_BYTES: usize = 64 * 1024;
/// Messages up to this size need no room from the common store: one fits the read buffers anyway.
const SMALL_MESSAGE_BYTES: u64 = MAX_READ_BYTES as u64;
/// PONGs that wait for a message's end; further PINGs of an impatient peer need no answer of their own.
pub(in crate::net) const MAX_PONGS: usize = 4;
/// The unit of room for large messages: a semaphore counts to 2^61, but acquires at most 2^32 at once.
const ROOM_UNIT_BYTES: usize = 1024;

/// Reads with a buffer that grows under load and shrinks after it.
struct ReadBuffer {
    bytes: BytesMut,
    size: usize,
}

impl ReadBuffer {
    fn new() -> Self {
        Self { bytes: BytesMut::new(), size: MIN_READ_BYTES }
    }

    /// Appends what comes; 0 at the end of the stream. Cancel safe.
    async fn fill(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> std::io::Result<usize> {
        if self.bytes.is_empty() && self.bytes.capacity() > self.size {
            self.bytes = BytesMut::new();
        }
        self.bytes.reserve(self.size);
        let room = self.bytes.capacity() - self.bytes.len();
        let read = reader.read_buf(&mut self.bytes).await?;
        if read == room {
            self.size = (self.size * 2).min(MAX_READ_BYTES);
        } else if read < self.size / 4 {
            self.size = (self.size / 2).max(MIN_READ_BYTES);
        }
        Ok(read)
    }
}

/// Room for large messages that are under way, shared by all peers of a door.
#[derive(Debug, Clone)]
pub(in crate::net) struct Room(Arc<Semaphore>);

/// What one message holds of it.
struct Held {
    room: Room,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// `bytes` for all peers; at least one largest message fits.
    pub(super) fn new(bytes: usize, message_bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.max(message_bytes).div_ceil(ROOM_UNIT_BYTES))))
    }
}

impl Held {
    /// Takes room for a message of which `bytes` are declared so far. Who holds nothing waits; who holds
    /// a part already must not, or two could wait for each other.
    async fn grow(&mut self, bytes: u64) -> Result<(), End> {
        if bytes <= SMALL_MESSAGE_BYTES {
            self.permit = None;
            return Ok(());
        }
        let units = bytes.div_ceil(ROOM_UNIT_BYTES as u64);
        let units = u32::try_from(units).map_err(|_| End::Refused(Refusal::MessageBytes))?;
        let semaphore = self.room.0.clone();
        match &mut self.permit {
            None => self.permit = semaphore.acquire_many_owned(units).await.ok(),
            Some(permit) => {
                let held = u32::try_from(permit.num_permits()).unwrap_or(u32::MAX);
                if units > held {
                    let more = semaphore
                        .try_acquire_many_owned(units - held)
                        .map_err(|_| End::Refused(Refusal::IncomingBytes))?;
                    permit.merge(more);
                }
            }
        }
        Ok(())
    }
}

/// Where what a peer sends goes.
pub(in crate::net) trait Target {
    /// Takes bytes of messages that may pass: frames' headers are whole, bodies come in parts. While this waits, the
    /// peer's own TCP stack holds it back.
    fn pass(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), End>> + Send;

    /// The peer subscribes to a prefix, or does so no more, by a command.
    fn subscribe(&mut self, prefix: &[u8], wanted: bool) -> Result<(), Refusal>;
}

/// The crate's ROUTER.
pub(super) struct Crate<'a, W>(pub(super) &'a mut W);

impl<W: AsyncWrite + Unpin + Send> Target for Crate<'_, W> {
    async fn pass(&mut self, bytes: &[u8]) -> Result<(), End> {
        Ok(self.0.write_all(bytes).await?)
    }

    fn subscribe(&mut self, _: &[u8], _: bool) -> Result<(), Refusal> {
        Err(Refusal::Command)
    }
}

/// From the peer inward.
pub(in crate::net) struct Inward<'a> {
    pub(in crate::net) limits: FrameLimits,
    pub(in crate::net) message_time: Duration,
    pub(in crate::net) room: Room,
    pub(in crate::net) counters: &'a GuardCounters,
    pub(in crate::net) pongs: mpsc::Sender<Vec<u8>>,
    pub(in crate::net) phase: watch::Receiver<Phase>,
}

impl Inward<'_> {
    /// Runs until the peer closes or is refused.
    pub(in crate::net) async fn run(
        mut self,
        reader: &mut (impl AsyncRead + Unpin),
        target: &mut impl Target,
    ) -> End {
        match self.relay(reader, target).await {
            Ok(()) => End::Closed,
            Err(end) => end,
        }
    }

    async fn relay(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        target: &mut impl Target,
    ) -> Result<(), End> {
        let mut scanner = Scanner::new(self.limits);
        let mut buffer = ReadBuffer::new();
        let mut held = Held { room: self.room.clone(), permit: None };
        let mut message_due: Option<Instant> = None;
        let mut silent_due: Option<Instant> = None;
        loop {
            let read = tokio::select! {
                read = fill_by(&mut buffer, reader, message_due, silent_due) => read?,
                // Nothing new is read while the broker stops; what is out may still leave.
                () = reached(&mut self.phase, Phase::Draining) => std::future::pending().await,
            };
            if read == 0 {
                return Ok(());
            }
            self.counters.received(read);
            silent_due = None;
            loop {
                let Scanned { pass, messages, command, .. } = scanner.scan(&buffer.bytes)?;
                held.grow(scanner.open_bytes()).await?;
                target.pass(&buffer.bytes[..pass]).await?;
                buffer.bytes.advance(pass);
                if messages > 0 {
                    message_due = None;
                }
                let Some((header, body)) = command else { break };
                match Command::read(&buffer.bytes[header..header + body])? {
                    Command::Ping { ttl, context } => {
                        // A full queue means that PONGs are on their way already.
                        let _ = self.pongs.try_send(pong(context));
                        let ttl = (ttl > 0).then(|| Duration::from_millis(u64::from(ttl) * 100));
                        silent_due = ttl.map(|ttl| Instant::now() + ttl).or(silent_due);
                    }
                    Command::Pong => {}
                    Command::Subscribe(prefix) => target.subscribe(prefix, true)?,
                    Command::Cancel(prefix) => target.subscribe(prefix, false)?,
                }
                buffer.bytes.advance(header + body);
            }
            let under_way = !scanner.between_messages() || !buffer.bytes.is_empty();
            message_due = under_way
                .then(|| message_due.unwrap_or_else(|| Instant::now() + self.message_time));
        }
    }
}

async fn fill_by(
    buffer: &mut ReadBuffer,
    reader: &mut (impl AsyncRead + Unpin),
    message_due: Option<Instant>,
    silent_due: Option<Instant>,
) -> Result<usize, End> {
    let message = message_due.map(|due| (due, Refusal::MessageTimeout));
    let silent = silent_due.map(|due| (due, Refusal::HeartbeatTimeout));
    match message.into_iter().chain(silent).min_by_key(|(due, _)| *due) {
        None => Ok(buffer.fill(reader).await?),
        Some((due, refusal)) => match timeout_at(due, buffer.fill(reader)).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(End::Refused(refusal)),
        },
    }
}

/// From the crate to the peer.
pub(super) struct Outward<'a> {
    pub(super) stall: Duration,
    pub(super) counters: &'a GuardCounters,
    pub(super) peers: &'a Peers,
    pub(super) peer: &'a Peer,
    pub(super) pongs: mpsc::Receiver<Vec<u8>>,
}

impl Outward<'_> {
    /// Runs until the crate closes or the peer takes no bytes for too long.
    pub(super) async fn run(
        mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> End {
        match self.relay(reader, writer).await {
            Ok(()) => End::Closed,
            Err(end) => end,
        }
    }

    async fn relay(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), End> {
        // The crate's own frames are bounded by what was handed to it.
        let stall = Some(self.stall);
        let mut scanner = Scanner::new(FrameLimits { frames: usize::MAX, bytes: u64::MAX });
        let mut buffer = ReadBuffer::new();
        loop {
            tokio::select! {
                read = buffer.fill(reader) => if read? == 0 { return Ok(()) },
                // Commands stand between messages only (RFC 37, "traffic").
                Some(pong) = self.pongs.recv(), if scanner.between_messages() => {
                    write(writer, &pong, stall, self.counters).await?;
                    continue;
                }
            }
            let Scanned { pass, messages, boundary, .. } = scanner.scan(&buffer.bytes)?;
            let (before, after) = buffer.bytes[..pass].split_at(boundary);
            write(writer, before, stall, self.counters).await?;
            if messages > 0
                && let Ok(pong) = self.pongs.try_recv()
            {
                write(writer, &pong, stall, self.counters).await?;
            }
            write(writer, after, stall, self.counters).await?;
            self.peers.discharge(self.peer, pass as u64, messages);
            buffer.bytes.advance(pass);
        }
    }
}

/// Writes all of `bytes`; a peer that takes none of them for `stall`, if that is set, is refused.
pub(in crate::net) async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    stall: Option<Duration>,
    counters: &GuardCounters,
) -> Result<(), End> {
    while !bytes.is_empty() {
        let written = match stall {
            Some(stall) => timeout(stall, writer.write(bytes))
                .await
                .map_err(|_| End::Refused(Refusal::Stalled))??,
            None => writer.write(bytes).await?,
        };
        if written == 0 {
            return Err(End::Closed);
        }
        counters.sent(written);
        bytes = &bytes[written..];
    }
    Ok(())
}
