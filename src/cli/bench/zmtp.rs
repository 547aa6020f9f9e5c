//! A DEALER that puts many messages into one write: a load that costs less than what it measures.
//!
//! ZMTP 3.0 (RFC 23), mechanism NULL, tcp only. It trusts the broker that it measures; it is no client
//! for anything else (see `client`).

use std::io::{Error, ErrorKind, Result};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
const GREETING_BYTES: usize = 64;
/// READY with `Socket-Type: DEALER`, as a short command frame.
const READY: &[u8] = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER";
/// What is read at once: some hundred answers.
const READ_BYTES: usize = 64 * 1024;

/// A connection to one of the broker's doors.
pub(super) struct Dealer {
    stream: TcpStream,
    out: Vec<u8>,
    input: BytesMut,
    frames: Vec<Bytes>,
}

impl Dealer {
    /// Connects to `tcp://HOST:PORT` and shakes hands.
    pub(super) async fn connect(address: &str) -> Result<Self> {
        let target = address.strip_prefix("tcp://").ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("bench speaks tcp only, not {address}"))
        })?;
        let mut stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let mut greeting = [0; GREETING_BYTES];
        (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
        greeting[12..16].copy_from_slice(b"NULL");
        stream.write_all(&greeting).await?;
        stream.write_all(READY).await?;
        stream.read_exact(&mut greeting).await?;
        let (out, input) = (Vec::new(), BytesMut::with_capacity(READ_BYTES));
        Ok(Self { stream, out, input, frames: Vec::new() })
    }

    /// Puts a message behind those that wait for [`Dealer::flush`].
    pub(super) fn put(&mut self, frames: &[&[u8]]) {
        for (at, frame) in frames.iter().enumerate() {
            let more = if at + 1 < frames.len() { MORE } else { 0 };
            // Up to 255 bytes a frame's length is one byte.
            match u8::try_from(frame.len()) {
                Ok(length) => self.out.extend_from_slice(&[more, length]),
                Err(_) => {
                    self.out.push(more | LONG);
                    self.out.extend_from_slice(&(frame.len() as u64).to_be_bytes());
                }
            }
            self.out.extend_from_slice(frame);
        }
    }

    /// Writes all that was put.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// Waits until more has come. Dropping the future loses nothing.
    pub(super) async fn more(&mut self) -> Result<()> {
        self.input.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the broker closed the connection"));
        }
        Ok(())
    }

    /// The next message that has come whole. Commands (the broker's READY) are passed over.
    pub(super) fn next(&mut self) -> Option<Vec<Bytes>> {
        while let Some((flags, body)) = self.next_frame() {
            if flags & COMMAND != 0 {
                continue;
            }
            self.frames.push(body);
            if flags & MORE == 0 {
                return Some(std::mem::take(&mut self.frames));
            }
        }
        None
    }

    fn next_frame(&mut self) -> Option<(u8, Bytes)> {
        let flags = *self.input.first()?;
        let (head, length) = if flags & LONG == 0 {
            (2, usize::from(*self.input.get(1)?))
        } else {
            let bytes = self.input.get(1..9)?.try_into().expect("eight bytes were taken");
            (9, usize::try_from(u64::from_be_bytes(bytes)).ok()?)
        };
        if self.input.len() < head + length {
            return None;
        }
        self.input.advance(head);
        Some((flags, self.input.split_to(length).freeze()))
    }
}
