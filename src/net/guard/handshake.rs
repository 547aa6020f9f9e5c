//! The handshake with a peer.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::End;
use super::counters::Refusal;
use super::greeting::{
    COMMAND, GREETING_BYTES, LONG, MAX_READY_BYTES, Mechanism, Role, check_greeting,
    check_properties, check_ready, command, greeting, properties, ready,
};
use crate::auth::{CurveSecret, Token};
use crate::net::admission::DoorAuth;
use crate::net::curve;

/// Signature and major version, without the mechanism: libzmq tells its own once it has so much.
const VERSION_BYTES: usize = 11;
/// PLAIN's HELLO: a name and a password of up to 255 bytes each.
const MAX_PLAIN_BYTES: usize = 6 + 2 * 256;

/// Who a peer is, and how it is heard.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What it has shown.
    pub(super) token: Option<Arc<Token>>,
    /// What follows is in boxes.
    pub(super) curve: Option<curve::Shaken>,
}

/// Shakes hands with a peer. The caller sets the time limit.
pub(super) async fn shake(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    role: Role,
    auth: Option<&DoorAuth>,
    address: Option<IpAddr>,
) -> Result<Known, End> {
    let auth = auth.filter(|auth| auth.has_choice());
    // Sent at once: libzmq waits for the first bytes before it tells its version. Where there is a choice, the peer's mechanism
    // becomes ours.
    let first = if auth.is_some() { VERSION_BYTES } else { GREETING_BYTES };
    writer.write_all(&greeting(Mechanism::Null)[..first]).await?;
    let mut theirs = [0; GREETING_BYTES];
    // Its beginning is looked at first, so that another protocol is told apart without waiting for 64
    // bytes that never come.
    reader.read_exact(&mut theirs[..1]).await?;
    if theirs[0] != 0xff {
        return Err(End::Refused(Refusal::Greeting));
    }
    reader.read_exact(&mut theirs[1..]).await?;
    let mechanism = check_greeting(&theirs)?;
    let server = auth.and_then(|auth| auth.curve.as_deref());
    if mechanism != Mechanism::Curve && auth.is_some_and(|auth| auth.is_curve_only) {
        return Err(End::Refused(Refusal::Mechanism));
    }
    match (mechanism, auth, server) {
        (Mechanism::Null, _, _) | (Mechanism::Plain, Some(_), _) | (_, _, Some(_)) => {}
        (Mechanism::Plain, None, _) | (Mechanism::Curve, _, None) => {
            return Err(End::Refused(Refusal::Mechanism));
        }
    }
    writer.write_all(&greeting(mechanism)[first..]).await?;
    match (mechanism, auth, server) {
        (Mechanism::Plain, Some(auth), _) => plain(reader, writer, role, (auth, address)).await,
        (Mechanism::Curve, Some(auth), Some(server)) => {
            curved(reader, writer, role, (auth, server)).await
        }
        _ => {
            writer.write_all(&ready(role.name)).await?;
            check_ready(&read_command(reader, MAX_READY_BYTES).await?, role)?;
            Ok(Known::default())
        }
    }
}

/// PLAIN (RFC 24): HELLO, WELCOME, INITIATE, READY.
async fn plain(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    role: Role,
    (auth, address): (&DoorAuth, Option<IpAddr>),
) -> Result<Known, End> {
    let hello = read_command(reader, MAX_PLAIN_BYTES).await?;
    let (name, password) = name_and_password(&hello).ok_or(Refusal::Ready)?;
    let token = match auth.plain(address, name, password) {
        Ok(token) => token,
        Err(rejection) => {
            let reason = rejection.reason.as_bytes();
            let reason = &reason[..reason.len().min(usize::from(u8::MAX))];
            let mut error = b"\x05ERROR".to_vec();
            error.push(u8::try_from(reason.len()).expect("it was cut"));
            error.extend_from_slice(reason);
            writer.write_all(&command(&error)).await?;
            return Err(End::Refused(Refusal::Token));
        }
    };
    writer.write_all(&command(b"\x07WELCOME")).await?;
    let initiate = read_command(reader, MAX_READY_BYTES).await?;
    let metadata = initiate.strip_prefix(b"\x08INITIATE").ok_or(Refusal::Ready)?;
    check_properties(metadata, role)?;
    writer.write_all(&ready(role.name)).await?;
    Ok(Known { token: Some(token), curve: None })
}

fn name_and_password(hello: &[u8]) -> Option<(&[u8], &[u8])> {
    let short = |bytes: &'_ [u8]| -> Option<(usize, usize)> {
        let (&len, rest) = bytes.split_first()?;
        (rest.len() >= usize::from(len)).then_some((1, 1 + usize::from(len)))
    };
    let rest = hello.strip_prefix(b"\x05HELLO")?;
    let (from, until) = short(rest)?;
    let (name, rest) = (&rest[from..until], &rest[until..]);
    let (from, until) = short(rest)?;
    (until == rest.len()).then_some((name, &rest[from..until]))
}

/// CURVE. A key that is known proves who it is; any other one may still say HELLO.
async fn curved(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    role: Role,
    (auth, server): (&DoorAuth, &CurveSecret),
) -> Result<Known, End> {
    let mut shaken = curve::shake(reader, writer, server).await?;
    check_properties(&shaken.metadata, role)?;
    curve::ready(writer, &mut shaken, &properties(role.name)).await?;
    Ok(Known { token: auth.access.of_key(&shaken.client), curve: Some(shaken) })
}

/// A command's body, of at most so many bytes.
pub(in crate::net) async fn read_command(
    reader: &mut (impl AsyncRead + Unpin),
    max_bytes: usize,
) -> Result<Vec<u8>, End> {
    let flags = reader.read_u8().await?;
    let len = match flags {
        COMMAND => u64::from(reader.read_u8().await?),
        flags if flags == COMMAND | LONG => reader.read_u64().await?,
        _ => return Err(End::Refused(Refusal::Ready)),
    };
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > max_bytes {
        return Err(End::Refused(Refusal::Ready));
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).await?;
    Ok(body)
}
