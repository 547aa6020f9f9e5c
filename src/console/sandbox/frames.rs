//! What both ends of a sandbox say: a length (four bytes, the highest first) of what follows, a byte that says what it
//! is, and its bytes.

use std::io::{self, Read, Write};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::admin::dto::MAX_PAYLOAD_BYTES;

/// To the child, first: a jq expression.
pub(super) const JQ: u8 = b'j';
/// To the child, first: a JSON Patch.
pub(super) const PATCH: u8 = b'p';
/// To the child: a payload.
pub(super) const PAYLOAD: u8 = b'm';
/// To the child: a payload; of keys that are there twice the last stays.
pub(super) const FORCED: u8 = b'f';
/// From the child: it is ready (no bytes), or a new payload.
pub(super) const DONE: u8 = b'+';
/// From the child: why not, in words that are harmless to show.
pub(super) const REFUSED: u8 = b'-';

/// What follows a length at most: the largest payload and what it is.
const MAX_BYTES: usize = MAX_PAYLOAD_BYTES + 1;
const LENGTH: usize = size_of::<u32>();

/// A kind and its bytes.
pub(super) type Frame = (u8, Vec<u8>);

fn head(kind: u8, bytes: &[u8]) -> io::Result<[u8; LENGTH + 1]> {
    let length = u32::try_from(bytes.len() + 1).map_err(io::Error::other)?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok([a, b, c, d, kind])
}

/// How many bytes follow.
fn length(bytes: [u8; LENGTH]) -> io::Result<usize> {
    let length = u32::from_be_bytes(bytes) as usize;
    if (1..=MAX_BYTES).contains(&length) { Ok(length) } else { Err(bad("a frame's length")) }
}

fn frame(mut bytes: Vec<u8>) -> Frame {
    let kind = bytes.remove(0);
    (kind, bytes)
}

pub(super) fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not as it should be"))
}

/// Writes one, all of it.
pub(super) fn write(to: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&head(kind, bytes)?)?;
    to.write_all(bytes)?;
    to.flush()
}

/// Reads one; `None` where the other end has closed, also in its middle.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut size = [0; LENGTH];
    if let Err(error) = from.read_exact(&mut size) {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let mut bytes = vec![0; length(size)?];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(frame(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes one, all of it; cut short, the other end can't be used any more.
pub(super) async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    bytes: &[u8],
) -> io::Result<()> {
    to.write_all(&head(kind, bytes)?).await?;
    to.write_all(bytes).await?;
    to.flush().await
}

/// Reads one; cut short, the other end can't be used any more.
pub(super) async fn receive(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut size = [0; LENGTH];
    from.read_exact(&mut size).await?;
    let mut bytes = vec![0; length(size)?];
    from.read_exact(&mut bytes).await?;
    Ok(frame(bytes))
}
