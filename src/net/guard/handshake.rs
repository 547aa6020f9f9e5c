//! The handshake, with the peer outside and with the crate inside.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::End;
use super::counters::Refusal;
use super::greeting::{
    COMMAND, GREETING_BYTES, LONG, MAX_READY_BYTES, Role, check_greeting, check_ready, greeting,
    ready,
};
use crate::net::PeerId;

/// Before another try when many connect at once and the private listener's backlog is full.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// Shakes hands with a peer. The caller sets the time limit.
pub(super) async fn outside(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    role: Role,
) -> Result<(), End> {
    // Sent at once: libzmq waits for the first bytes before it tells its version.
    writer.write_all(&greeting()).await?;
    let mut theirs = [0; GREETING_BYTES];
    // Its beginning is looked at first, so that another protocol is told apart without waiting for 64
    // bytes that never come.
    reader.read_exact(&mut theirs[..1]).await?;
    if theirs[0] != 0xff {
        return Err(End::Refused(Refusal::Greeting));
    }
    reader.read_exact(&mut theirs[1..]).await?;
    check_greeting(&theirs)?;
    writer.write_all(&ready(role.name, b"")).await?;
    check_ready(&read_command(reader).await?, role)?;
    Ok(())
}

async fn read_command(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, End> {
    let flags = reader.read_u8().await?;
    let len = match flags {
        COMMAND => u64::from(reader.read_u8().await?),
        flags if flags == COMMAND | LONG => reader.read_u64().await?,
        _ => return Err(End::Refused(Refusal::Ready)),
    };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > MAX_READY_BYTES {
        return Err(End::Refused(Refusal::Ready));
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).await?;
    Ok(body)
}

/// Connects to the crate's private ROUTER as a DEALER whose identity is the one that the guard minted.
pub(super) async fn inside(path: &Path, id: PeerId) -> io::Result<UnixStream> {
    let mut stream = loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                tokio::time::sleep(BACKLOG_PAUSE).await;
            }
            other => break other?,
        }
    };
    stream.write_all(&greeting()).await?;
    stream.write_all(&ready("DEALER", &id.0.to_be_bytes())).await?;
    let mut theirs = [0; GREETING_BYTES + 2];
    stream.read_exact(&mut theirs).await?;
    let mut body = vec![0; usize::from(theirs[GREETING_BYTES + 1])];
    stream.read_exact(&mut body).await?;
    Ok(stream)
}
