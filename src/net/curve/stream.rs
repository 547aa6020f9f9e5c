//! A connection after CURVE's handshake, as if it weren't encrypted: frames come out of their boxes as ZMTP's frames, and go
//! into boxes of their own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, BytesMut};
use crypto_box::SalsaBox;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::cipher::{NUMBER_BYTES, TAG_BYTES, numbered, open, seal};
use super::handshake::Shaken;
use crate::net::frames::{header, put_header};
use crate::net::guard::{COMMAND, LONG, MORE, Refusal, Refused};
use crate::net::incoming::{Came, Incoming};
use crate::net::room::{ROOM_UNIT_BYTES, units};

const MESSAGE: &[u8] = b"\x07MESSAGE";
/// Before the box.
const HEAD_BYTES: usize = MESSAGE.len() + NUMBER_BYTES;
/// What a frame is longer by in its box: its flags too.
pub(in crate::net) const BOX_BYTES: usize = HEAD_BYTES + TAG_BYTES + 1;
/// Flags inside: another frame follows; a command.
const BOX_MORE: u8 = 0b01;
const BOX_COMMAND: u8 = 0b10;
/// Read at once.
const READ_BYTES: usize = 8 * 1024;
/// Frames up to this size need no room from the common store.
const SMALL_FRAME_BYTES: usize = 64 * 1024;

/// Bounds of what isn't out of its box yet.
#[derive(Debug, Clone)]
pub(in crate::net) struct BoxLimits {
    /// A frame, without its box.
    pub(in crate::net) frame_bytes: usize,
    /// How long a frame may take to come, once it has begun.
    pub(in crate::net) frame: Duration,
    /// For large frames of all peers together.
    pub(in crate::net) room: Arc<Semaphore>,
    /// A frame's bytes until the peer has shown a token, and whether it has; absent where none is needed.
    pub(in crate::net) stranger: Option<(usize, Arc<AtomicBool>)>,
}

impl BoxLimits {
    fn frame_bytes_now(&self) -> usize {
        match &self.stranger {
            Some((bytes, has_shown_one)) if !has_shown_one.load(Relaxed) => *bytes,
            _ => self.frame_bytes,
        }
    }
}

/// Room for so many bytes of large frames, with their boxes.
pub(in crate::net) fn room(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes.div_ceil(ROOM_UNIT_BYTES) + 1))
}

/// Both directions.
pub(in crate::net) fn split<R, W>(
    shaken: Shaken,
    (reader, writer): (R, W),
    limits: BoxLimits,
) -> (Opened<R>, Sealed<W>) {
    let Shaken { key, heard, said, .. } = shaken;
    let key = Arc::new(key);
    let opened = Opened {
        inner: reader,
        key: Arc::clone(&key),
        heard,
        limits,
        boxed: BytesMut::new(),
        plain: BytesMut::new(),
        message_bytes: 0,
        held: None,
        missing: 0,
        due: None,
    };
    let sealed =
        Sealed { inner: writer, key, said, frame: BytesMut::new(), out: BytesMut::new(), ahead: 0 };
    (opened, sealed)
}

/// What a peer says, out of its boxes.
pub(in crate::net) struct Opened<R> {
    inner: R,
    key: Arc<SalsaBox>,
    heard: u64,
    limits: BoxLimits,
    boxed: BytesMut,
    plain: BytesMut,
    /// Bytes of the message that is under way, in frames that are out of their boxes.
    message_bytes: usize,
    held: Option<OwnedSemaphorePermit>,
    /// Units of room that the large frame that has begun waits for: nothing is read meanwhile.
    missing: u32,
    /// When the frame that has begun must be there.
    due: Option<Instant>,
}

fn refused(refusal: Refusal) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Refused(refusal))
}

impl<R: AsyncRead + Unpin + Send> Opened<R> {
    /// Opens the first frame, if it is whole.
    fn next_frame(&mut self) -> Result<bool, Refusal> {
        let Some((flags, head, body)) = header(&self.boxed) else { return Ok(false) };
        // MESSAGE is sent as a frame by some, as a command by others.
        if flags & !(LONG | COMMAND) != 0 {
            return Err(Refusal::Flags);
        }
        let body = usize::try_from(body).unwrap_or(usize::MAX);
        if body > self.limits.frame_bytes_now().saturating_add(BOX_BYTES) {
            return Err(Refusal::MessageBytes);
        }
        if self.boxed.len() < head + body {
            self.take_room(head + body)?;
            return Ok(false);
        }
        let mut frame = self.boxed.split_to(head + body);
        if self.boxed.is_empty() || frame.len() > SMALL_FRAME_BYTES {
            // What is left would keep all that the frame took.
            self.boxed = BytesMut::from(&self.boxed[..]);
        }
        let frame = &mut frame[head..];
        if frame.len() < BOX_BYTES || !frame.starts_with(MESSAGE) {
            return Err(Refusal::Encryption);
        }
        let (about, sealed) = frame.split_at_mut(HEAD_BYTES);
        let number = about.last_chunk::<NUMBER_BYTES>().expect("the head ends with it");
        let number = u64::from_be_bytes(*number);
        // Each number once, and rising: what was heard is not heard again.
        if number <= self.heard {
            return Err(Refusal::Encryption);
        }
        let text = open(&self.key, &numbered(b"CurveZMQMESSAGEC", number), sealed)?;
        self.heard = number;
        let (flags, text) = text.split_first().expect("a box has flags at least");
        let more = if flags & BOX_MORE != 0 { MORE } else { 0 };
        let command = if flags & BOX_COMMAND != 0 { COMMAND } else { 0 };
        self.plain.reserve(9 + text.len());
        put_header(&mut self.plain, more | command, text.len());
        self.plain.put_slice(text);
        if command == 0 {
            self.message_bytes =
                if more == 0 { 0 } else { self.message_bytes.saturating_add(text.len()) };
        }
        self.due = None;
        Ok(true)
    }

    /// A large frame waits for its end with room of its own. Who finds none waits, unless the frames before have room that
    /// others may wait for.
    fn take_room(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes <= SMALL_FRAME_BYTES || self.held.is_some() || self.missing > 0 {
            return Ok(());
        }
        let units = units(bytes);
        if let Ok(held) = Arc::clone(&self.limits.room).try_acquire_many_owned(units) {
            self.held = Some(held);
        } else if self.message_bytes > SMALL_FRAME_BYTES {
            return Err(Refusal::IncomingBytes);
        } else {
            self.missing = units;
        }
        Ok(())
    }

    /// Reads more of what is in boxes; 0 at the end. A frame that has begun must be there in time. Cancel safe.
    async fn read(&mut self) -> io::Result<usize> {
        let Self { inner, boxed, limits, due, .. } = self;
        let has_begun = !boxed.is_empty();
        let reading = std::future::poll_fn(|cx| {
            // Here, so that an idle peer holds none of it.
            let mut part = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut part);
            ready!(Pin::new(&mut *inner).poll_read(cx, &mut read))?;
            boxed.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        });
        if !has_begun {
            *due = None;
            return reading.await;
        }
        let due = *due.get_or_insert_with(|| Instant::now() + limits.frame);
        timeout_at(due, reading).await.unwrap_or_else(|_| Err(refused(Refusal::MessageTimeout)))
    }
}

impl<R: AsyncRead + Incoming + Unpin> Incoming for Opened<R> {
    async fn fill(&mut self, into: &mut BytesMut) -> io::Result<Came> {
        loop {
            if !self.plain.is_empty() {
                let taken = self.plain.len().min(into.capacity() - into.len());
                into.extend_from_slice(&self.plain[..taken]);
                self.plain.advance(taken);
                if self.plain.is_empty() {
                    self.plain = BytesMut::new();
                    self.held = None;
                }
                return Ok(Came::Bytes(taken));
            }
            if self.next_frame().map_err(refused)? {
                continue;
            }
            if self.missing > 0 {
                return Ok(Came::NoRoom(self.missing));
            }
            if self.read().await? == 0 {
                let is_whole = self.boxed.is_empty();
                let cut = || Err(io::ErrorKind::UnexpectedEof.into());
                return if is_whole { Ok(Came::Bytes(0)) } else { cut() };
            }
        }
    }

    fn hold(&mut self, room: OwnedSemaphorePermit) {
        self.held = Some(room);
        self.missing = 0;
        // The time that the others took isn't the peer's.
        self.due = None;
    }

    async fn discard(&mut self) {
        self.inner.discard().await;
    }

    async fn left(&self) {
        self.inner.left().await;
    }
}

/// What a peer is told, into boxes.
pub(in crate::net) struct Sealed<W> {
    inner: W,
    key: Arc<SalsaBox>,
    said: u64,
    /// A frame that isn't whole yet.
    frame: BytesMut,
    /// Boxes that the peer hasn't taken.
    out: BytesMut,
    /// Bytes that were taken from the caller before he was told so: he is told as the peer takes what became of them.
    ahead: usize,
}

impl<W> Sealed<W> {
    /// Puts each frame that is whole into its box.
    fn seal(&mut self) {
        while let Some((flags, head, body)) = header(&self.frame) {
            let body = usize::try_from(body).unwrap_or(usize::MAX);
            if self.frame.len() - head < body {
                return;
            }
            let frame = self.frame.split_to(head + body);
            let more = if flags & MORE != 0 { BOX_MORE } else { 0 };
            let command = if flags & COMMAND != 0 { BOX_COMMAND } else { 0 };
            self.said += 1;
            let nonce = numbered(b"CurveZMQMESSAGES", self.said);
            let mut plain = Vec::with_capacity(1 + body);
            plain.push(more | command);
            plain.extend_from_slice(&frame[head..]);
            let sealed = seal(&self.key, &nonce, &plain);
            self.out.reserve(9 + HEAD_BYTES + sealed.len());
            put_header(&mut self.out, 0, HEAD_BYTES + sealed.len());
            self.out.put_slice(MESSAGE);
            self.out.put_u64(self.said);
            self.out.put_slice(&sealed);
        }
        if self.frame.is_empty() {
            // Or it would keep what the largest took.
            self.frame = BytesMut::new();
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Sealed<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.ahead == 0 {
            this.frame.extend_from_slice(bytes);
            this.ahead = bytes.len();
            this.seal();
        }
        while !this.out.is_empty() {
            let written = ready!(Pin::new(&mut this.inner).poll_write(cx, &this.out))?;
            if written == 0 {
                return Poll::Ready(Ok(0));
            }
            this.out.advance(written);
            // The last byte is told when all is out: nobody asks after that.
            let told = written.min(this.ahead.saturating_sub(1));
            if !this.out.is_empty() && told > 0 {
                this.ahead -= told;
                return Poll::Ready(Ok(told));
            }
        }
        this.out = BytesMut::new();
        Poll::Ready(Ok(std::mem::take(&mut this.ahead)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, DuplexStream};

    use super::super::cipher::between;
    use super::*;
    use crate::auth::{CurvePublic, CurveSecret};

    const FRAME: usize = 200 * 1024;

    fn key() -> SalsaBox {
        let secret: CurveSecret =
            "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs".parse().expect("a key");
        between(&secret.public().key(), secret.key())
    }

    /// A peer's frame in its box.
    fn boxed(number: u64, flags: u8, text: &[u8]) -> BytesMut {
        let plain = [&[flags], text].concat();
        let sealed = seal(&key(), &numbered(b"CurveZMQMESSAGEC", number), &plain);
        let mut out = BytesMut::new();
        put_header(&mut out, 0, HEAD_BYTES + sealed.len());
        out.put_slice(MESSAGE);
        out.put_u64(number);
        out.put_slice(&sealed);
        out
    }

    impl Incoming for DuplexStream {
        async fn fill(&mut self, _: &mut BytesMut) -> io::Result<Came> {
            unreachable!("the boxes read it themselves")
        }
        async fn discard(&mut self) {}
        async fn left(&self) {}
    }

    /// A frame with a header of 9 bytes, if there is room.
    async fn frame(opened: &mut Opened<DuplexStream>, body: usize) -> io::Result<Vec<u8>> {
        let mut text = BytesMut::with_capacity(9 + body);
        while text.len() < 9 + body {
            match opened.fill(&mut text).await? {
                Came::Bytes(read) => assert_ne!(read, 0, "it has ended"),
                Came::NoRoom(_) => panic!("there is no room"),
            }
        }
        Ok(text[9..].to_vec())
    }

    fn opened(
        inner: DuplexStream,
        room: &Arc<Semaphore>,
        stranger: Option<(usize, Arc<AtomicBool>)>,
    ) -> Opened<DuplexStream> {
        let client = CurvePublic([0; 32]);
        let shaken = Shaken { client, metadata: Vec::new(), key: key(), heard: 0, said: 0 };
        let (room, frame) = (Arc::clone(room), Duration::from_secs(20));
        let limits = BoxLimits { frame_bytes: FRAME, frame, room, stranger };
        split(shaken, (inner, tokio::io::sink()), limits).0
    }

    #[tokio::test]
    async fn a_large_frame_waits_for_room_and_then_comes() {
        let room = room(FRAME);
        let others = Arc::clone(&room).acquire_many_owned(100).await.expect("open");
        let (mut peer, inner) = tokio::io::duplex(1024 * 1024);
        let mut opened = opened(inner, &room, None);
        peer.write_all(&boxed(1, 0, &[7; FRAME])).await.expect("written");
        let mut text = BytesMut::with_capacity(9 + FRAME);
        for _ in 0..2 {
            let came = opened.fill(&mut text).await.expect("it goes on");
            assert_eq!(came, Came::NoRoom(units(FRAME + 9 + BOX_BYTES)));
        }
        drop(others);
        let units = units(FRAME + 9 + BOX_BYTES);
        opened.hold(Arc::clone(&room).acquire_many_owned(units).await.expect("there is room now"));
        assert_eq!(frame(&mut opened, FRAME).await.expect("it comes"), [7; FRAME]);
        assert_eq!(room.available_permits(), FRAME / ROOM_UNIT_BYTES + 1, "it was given back");
    }

    #[tokio::test]
    async fn who_has_room_for_a_part_does_not_wait_for_more() {
        let room = room(FRAME);
        let (mut peer, inner) = tokio::io::duplex(1024 * 1024);
        let mut opened = opened(inner, &room, None);
        peer.write_all(&boxed(1, BOX_MORE, &[7; FRAME / 2])).await.expect("written");
        frame(&mut opened, FRAME / 2).await.expect("there is room");
        let _others = Arc::clone(&room).acquire_many_owned(100).await.expect("open");
        peer.write_all(&boxed(2, 0, &[7; FRAME])).await.expect("written");
        let error = frame(&mut opened, FRAME).await.expect_err("cut off");
        assert_eq!(error.to_string(), Refusal::IncomingBytes.as_str());
    }

    #[tokio::test]
    async fn before_a_token_frames_are_small() {
        let (room, has_shown_one) = (room(FRAME), Arc::new(AtomicBool::new(false)));
        for shows in [true, false] {
            let (mut peer, inner) = tokio::io::duplex(1024 * 1024);
            let stranger = Some((1000, Arc::clone(&has_shown_one)));
            let mut opened = opened(inner, &room, stranger);
            has_shown_one.store(false, Relaxed);
            peer.write_all(&boxed(1, 0, &[7; 1000])).await.expect("written");
            frame(&mut opened, 1000).await.expect("as large as may be");
            has_shown_one.store(shows, Relaxed);
            peer.write_all(&boxed(2, 0, &[7; 1001])).await.expect("written");
            let read = frame(&mut opened, 1001).await;
            match shows {
                true => drop(read.expect("a token was shown")),
                false => assert_eq!(read.expect_err("refused").to_string(), "message-bytes"),
            }
        }
    }
}
