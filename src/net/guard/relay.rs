//! Bytes from a peer to what is inside and back, checked and counted on the way.

use std::io::IoSlice;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::counters::{GuardCounters, Refusal};
use super::frames::{Command, FrameLimits, Scanned, Scanner, pong};
use super::peers::{Outbox, Peer};
use super::room::{Held, Room};
use super::{End, Guard, Inside, Phase, reached};
use crate::net::admission::MAX_STRANGER_MESSAGE_BYTES;
use crate::net::frames::{Assembler, Wire};
use crate::net::incoming::{Came, Incoming};

/// A read buffer's size for a peer that says little, and for one that says much. Thousands of idle peers
/// must not hold 64 KiB each.
const MIN_READ_BYTES: usize = 4 * 1024;
pub(super) const MAX_READ_BYTES: usize = 64 * 1024;
/// PONGs that wait for a message's end; further PINGs of an impatient peer need no answer of their own.
pub(super) const MAX_PONGS: usize = 4;
/// Messages, and bytes of them, that are written at once.
const WRITE_MESSAGES: usize = 64;
const WRITE_BYTES: usize = 64 * 1024;
/// The list of what is written at once is made anew if it has become longer: thousands of idle peers keep theirs.
const KEPT_MESSAGES: usize = 4;

/// Reads with a buffer that grows under load and shrinks after it.
struct ReadBuffer {
    bytes: BytesMut,
    size: usize,
}

impl ReadBuffer {
    fn new() -> Self {
        Self { bytes: BytesMut::new(), size: MIN_READ_BYTES }
    }

    /// Appends what comes. Cancel safe.
    async fn fill(&mut self, reader: &mut impl Incoming) -> std::io::Result<Came> {
        if self.bytes.is_empty() && self.bytes.capacity() > self.size {
            self.bytes = BytesMut::new();
        }
        self.bytes.reserve(self.size);
        let room = self.bytes.capacity() - self.bytes.len();
        let came = reader.fill(&mut self.bytes).await?;
        let Came::Bytes(read) = came else { return Ok(came) };
        if read == room {
            self.size = (self.size * 2).min(MAX_READ_BYTES);
        } else if read < self.size / 4 {
            self.size = (self.size / 2).max(MIN_READ_BYTES);
        }
        Ok(came)
    }
}

/// When a peer must have gone on.
#[derive(Default)]
struct Clocks {
    /// The message that is under way must be there.
    message: Option<Instant>,
    /// It said that it won't be silent for so long.
    silent: Option<Instant>,
}

impl Clocks {
    /// The time that others took isn't the peer's.
    fn stood_still(&mut self, since: Instant) {
        for due in [&mut self.message, &mut self.silent].into_iter().flatten() {
            *due += since.elapsed();
        }
    }

    /// What comes first, and what the peer is refused for then.
    fn next(&self) -> Option<(Instant, Refusal)> {
        let message = self.message.map(|due| (due, Refusal::MessageTimeout));
        let silent = self.silent.map(|due| (due, Refusal::HeartbeatTimeout));
        message.into_iter().chain(silent).min_by_key(|(due, _)| *due)
    }
}

/// From the peer inward.
pub(super) struct Inward<'a, I> {
    pub(super) guard: &'a Guard<I>,
    pub(super) peer: &'a Peer,
    pub(super) room: Room,
    pub(super) pongs: mpsc::Sender<Vec<u8>>,
}

impl<I: Inside> Inward<'_, I> {
    /// Runs until the peer closes or is refused.
    pub(super) async fn run(self, reader: &mut impl Incoming) -> End {
        match self.relay(reader).await {
            Ok(()) => End::Closed,
            Err(end) => end,
        }
    }

    async fn relay(&self, reader: &mut impl Incoming) -> Result<(), End> {
        let limits = &self.guard.limits;
        let bytes = limits.message_bytes as u64;
        let mut scanner = Scanner::new(FrameLimits { frames: limits.frames, bytes });
        let mut assembler = Assembler::default();
        let mut buffer = ReadBuffer::new();
        let mut held = Held::of(&self.room);
        let mut clocks = Clocks::default();
        loop {
            let read = self.read(&mut buffer, reader, &mut clocks).await;
            if read.as_ref().is_err_and(End::is_too_large) && self.is_stranger() {
                return Err(self.tell_stranger(&assembler, &buffer.bytes));
            }
            let read = read?;
            if read == 0 {
                return Ok(());
            }
            self.guard.counters.received(read);
            clocks.silent = None;
            loop {
                let is_stranger = self.is_stranger();
                let scanned = match is_stranger {
                    true => self.scan_strangers(&mut scanner, &buffer.bytes, &assembler),
                    false => Ok(scanner.scan(&buffer.bytes)?),
                };
                let Scanned { pass, messages, command } = scanned?;
                if messages == 0 {
                    self.grow(&mut held, scanner.open_bytes(), reader, &mut clocks).await?;
                }
                let mut passed = &buffer.bytes[..pass];
                while let Some(frames) = assembler.next_message(&mut passed) {
                    self.guard.inside.hear(self.peer, frames).await?;
                }
                buffer.bytes.advance(pass);
                if messages > 0 {
                    clocks.message = None;
                    // What one held until it was heard is not the next one's.
                    held.release();
                    self.grow(&mut held, scanner.open_bytes(), reader, &mut clocks).await?;
                }
                let Some((header, body)) = command else {
                    // It may have shown a token: then what follows has other bounds.
                    if is_stranger && messages > 0 {
                        continue;
                    }
                    break;
                };
                let command = Command::read(&buffer.bytes[header..header + body])?;
                if let Some(due) = self.obey(command)? {
                    clocks.silent = Some(due);
                }
                buffer.bytes.advance(header + body);
            }
            let under_way = !scanner.between_messages() || !buffer.bytes.is_empty();
            clocks.message = under_way
                .then(|| clocks.message.unwrap_or_else(|| Instant::now() + limits.message));
        }
    }

    /// What comes in time: so many bytes; 0 when the peer has closed.
    async fn read(
        &self,
        buffer: &mut ReadBuffer,
        reader: &mut impl Incoming,
        clocks: &mut Clocks,
    ) -> Result<usize, End> {
        let mut phase = self.guard.phase.clone();
        loop {
            let came = tokio::select! {
                came = fill_by(buffer, reader, clocks) => came?,
                // Nothing new is read while the broker stops; what is out may still leave.
                () = reached(&mut phase, Phase::Draining) => std::future::pending().await,
            };
            match came {
                Came::Bytes(read) => return Ok(read),
                Came::NoRoom(units) => {
                    let room = self.room.boxes.clone().acquire_many_owned(units);
                    let permit = self.wait_for(room, reader, clocks).await?;
                    reader.hold(permit.map_err(|_| End::Closed)?);
                }
            }
        }
    }

    /// Takes room for a message of which `bytes` are declared so far.
    async fn grow(
        &self,
        held: &mut Held,
        bytes: u64,
        reader: &impl Incoming,
        clocks: &mut Clocks,
    ) -> Result<(), End> {
        if !held.has_enough(bytes)? {
            self.wait_for(held.wait(bytes), reader, clocks).await?;
        }
        Ok(())
    }

    /// Waits for room, with the peer's clocks stopped. One that leaves meanwhile keeps its place for as long as a message may
    /// take: all of what it wants to say may have come.
    async fn wait_for<T>(
        &self,
        room: impl Future<Output = T>,
        reader: &impl Incoming,
        clocks: &mut Clocks,
    ) -> Result<T, End> {
        let since = Instant::now();
        let left = async {
            reader.left().await;
            sleep(self.guard.limits.message).await;
        };
        tokio::select! {
            biased;
            room = room => {
                clocks.stood_still(since);
                Ok(room)
            }
            () = left => Err(End::Closed),
        }
    }

    /// Whether nothing is known of who it is, where something must be.
    fn is_stranger(&self) -> bool {
        self.guard.needs_token() && !self.peer.session.has_shown_one()
    }

    /// One message at a time, none of which takes room from the common store.
    fn scan_strangers(
        &self,
        scanner: &mut Scanner,
        input: &[u8],
        assembler: &Assembler,
    ) -> Result<Scanned, End> {
        scanner.scan_one(input, MAX_STRANGER_MESSAGE_BYTES as u64).map_err(
            |refusal| match refusal {
                Refusal::MessageBytes => self.tell_stranger(assembler, input),
                other => End::Refused(other),
            },
        )
    }

    /// Its message is too large; `input` has what follows on what was assembled.
    fn tell_stranger(&self, assembler: &Assembler, input: &[u8]) -> End {
        self.guard.inside.tell_stranger(self.peer, assembler.is_delimited(input));
        End::Told(Refusal::MessageBytes)
    }

    /// Does what a command asks for; when the peer will have been silent for too long, if it says so.
    fn obey(&self, command: Command<'_>) -> Result<Option<Instant>, End> {
        match command {
            Command::Ping { ttl, context } => {
                // A full queue means that PONGs are on their way already.
                let _ = self.pongs.try_send(pong(context));
                let ttl = Duration::from_millis(u64::from(ttl) * 100);
                return Ok((!ttl.is_zero()).then(|| Instant::now() + ttl));
            }
            Command::Pong => {}
            Command::Subscribe(prefix) => self.guard.inside.subscribe(self.peer, prefix, true)?,
            Command::Cancel(prefix) => self.guard.inside.subscribe(self.peer, prefix, false)?,
        }
        Ok(None)
    }
}

async fn fill_by(
    buffer: &mut ReadBuffer,
    reader: &mut impl Incoming,
    clocks: &Clocks,
) -> Result<Came, End> {
    match clocks.next() {
        None => Ok(buffer.fill(reader).await?),
        Some((due, refusal)) => match timeout_at(due, buffer.fill(reader)).await {
            Ok(came) => Ok(came?),
            Err(_) => Err(End::Refused(refusal)),
        },
    }
}

/// What waits for the peer, to it.
pub(super) struct Outward<'a, I> {
    pub(super) guard: &'a Guard<I>,
    pub(super) peer: &'a Peer,
    pub(super) pongs: mpsc::Receiver<Vec<u8>>,
}

impl<I: Inside> Outward<'_, I> {
    /// Runs until the peer closes or takes no bytes for too long.
    pub(super) async fn run(
        mut self,
        outbox: &mut Outbox,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> End {
        match self.relay(outbox, writer).await {
            Ok(()) => End::Closed,
            Err(end) => end,
        }
    }

    async fn relay(
        &mut self,
        outbox: &mut Outbox,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), End> {
        let stall = self.guard.inside.stall(&self.guard.limits);
        let counters = &self.guard.counters;
        let mut messages = Vec::new();
        loop {
            tokio::select! {
                // Commands stand between messages only (RFC 37, "traffic").
                biased;
                Some(pong) = self.pongs.recv() => write(writer, &pong, stall, counters).await?,
                taken = outbox.recv_many(&mut messages, WRITE_MESSAGES) => {
                    if taken == 0 {
                        return Ok(());
                    }
                    write_together(writer, &messages, stall, counters).await?;
                    self.guard.peers.discharge(self.peer, &messages);
                    messages.clear();
                    if messages.capacity() > KEPT_MESSAGES {
                        messages = Vec::new();
                    }
                    self.guard.inside.taken();
                }
            }
        }
    }
}

/// In one system call: where the stream takes several pieces, from where they are, else small ones side by side.
async fn write_together(
    writer: &mut (impl AsyncWrite + Unpin),
    messages: &[Wire],
    stall: Option<Duration>,
    counters: &GuardCounters,
) -> Result<(), End> {
    if let [Wire::Whole(only)] = messages {
        return write(writer, only, stall, counters).await;
    }
    let parts = || messages.iter().flat_map(Wire::parts);
    if writer.is_write_vectored() {
        let mut slices: Vec<IoSlice<'_>> = parts().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let written = taken(writer.write_vectored(left), stall).await?;
            counters.sent(written);
            IoSlice::advance_slices(&mut left, written);
        }
        return Ok(());
    }
    let all: usize = parts().map(Bytes::len).sum();
    let mut together = BytesMut::with_capacity(all.min(WRITE_BYTES));
    for part in parts() {
        if together.len() + part.len() > WRITE_BYTES {
            write(writer, &together, stall, counters).await?;
            together.clear();
        }
        if part.len() >= WRITE_BYTES {
            write(writer, part, stall, counters).await?;
        } else {
            together.extend_from_slice(part);
        }
    }
    write(writer, &together, stall, counters).await
}

/// Writes all of `bytes`; a peer that takes none of them for `stall`, if that is set, is refused.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    stall: Option<Duration>,
    counters: &GuardCounters,
) -> Result<(), End> {
    while !bytes.is_empty() {
        let written = taken(writer.write(bytes), stall).await?;
        counters.sent(written);
        bytes = &bytes[written..];
    }
    Ok(())
}

/// How many bytes a write has taken, one at least.
async fn taken(
    write: impl Future<Output = std::io::Result<usize>>,
    stall: Option<Duration>,
) -> Result<usize, End> {
    let written = match stall {
        Some(stall) => {
            timeout(stall, write).await.map_err(|_| End::Refused(Refusal::Stalled))??
        }
        None => write.await?,
    };
    if written == 0 { Err(End::Closed) } else { Ok(written) }
}
