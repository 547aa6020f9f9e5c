//! The handshake with a peer.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::End;
use super::counters::Refusal;
use super::greeting::{
    COMMAND, GREETING_BYTES, LONG, MAX_READY_BYTES, Role, check_greeting, check_ready, greeting,
    ready,
};

/// Shakes hands with a peer. The caller sets the time limit.
pub(super) async fn shake(
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
    writer.write_all(&ready(role.name)).await?;
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
