//! The handshake's bytes (ZMTP 3.1, RFC 37): greeting and READY, made and checked. Pure.

use super::counters::Refusal;
use crate::net::frames::{MAX_HEADER_BYTES, put_header};

/// A greeting's length, fixed by ZMTP.
pub(super) const GREETING_BYTES: usize = 64;
/// READY's length at most: a socket type, an identity of up to 255 bytes and room for what libzmq's users
/// add (`ZMQ_METADATA`).
pub(super) const MAX_READY_BYTES: usize = 4096;
/// An identity's length at most, by ZMTP.
const MAX_IDENTITY_BYTES: usize = 255;
/// Flag bits of a frame.
pub(in crate::net) const MORE: u8 = 0b001;
/// The length has eight bytes.
pub(in crate::net) const LONG: u8 = 0b010;
/// A command, not a part of a message.
pub(in crate::net) const COMMAND: u8 = 0b100;

/// What our end of a connection is, and whom it may meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct Role {
    /// Our socket type.
    pub(in crate::net) name: &'static str,
    /// The peers' socket types.
    pub(in crate::net) meets: &'static [&'static str],
}

/// How a connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// Not at all.
    Null,
    /// By a name and a password (RFC 24).
    Plain,
    /// By keys (RFC 26).
    Curve,
}

impl Mechanism {
    /// Its name as a greeting has it.
    fn name(self) -> [u8; 20] {
        let name: &[u8] = match self {
            Self::Null => b"NULL",
            Self::Plain => b"PLAIN",
            Self::Curve => b"CURVE",
        };
        let mut bytes = [0; 20];
        bytes[..name.len()].copy_from_slice(name);
        bytes
    }
}

/// Our greeting. Version 3.1, because PING is answered.
pub(super) fn greeting(mechanism: Mechanism) -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[11] = 1;
    bytes[12..32].copy_from_slice(&mechanism.name());
    // As server, where there are two sides.
    bytes[32] = u8::from(mechanism != Mechanism::Null);
    bytes
}

/// Checks a peer's greeting: signature, a version from 3 on, a mechanism that is known.
pub(super) fn check_greeting(bytes: &[u8; GREETING_BYTES]) -> Result<Mechanism, Refusal> {
    if bytes[0] != 0xff || bytes[9] != 0x7f || bytes[10] < 3 {
        return Err(Refusal::Greeting);
    }
    let known = [Mechanism::Null, Mechanism::Plain, Mechanism::Curve];
    let found = known.into_iter().find(|known| bytes[12..32] == known.name());
    found.ok_or(Refusal::Mechanism)
}

/// A command's frame.
pub(in crate::net) fn command(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(MAX_HEADER_BYTES + body.len());
    put_header(&mut frame, COMMAND, body.len());
    frame.extend_from_slice(body);
    frame
}

/// What we say of ourselves: this socket type.
pub(super) fn properties(socket_type: &str) -> Vec<u8> {
    let mut properties = Vec::new();
    push_property(&mut properties, "Socket-Type", socket_type.as_bytes());
    properties
}

/// A READY frame of this socket type.
pub(super) fn ready(socket_type: &str) -> Vec<u8> {
    command(&[b"\x05READY".to_vec(), properties(socket_type)].concat())
}

fn push_property(body: &mut Vec<u8>, name: &str, value: &[u8]) {
    body.push(u8::try_from(name.len()).expect("our own property names are short"));
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(&u32::try_from(value.len()).expect("short values").to_be_bytes());
    body.extend_from_slice(value);
}

/// Checks the body of a peer's READY: a socket type that goes together with ours, well-formed
/// properties. Its identity is checked for length and otherwise ignored: the guard gives its own.
pub(super) fn check_ready(body: &[u8], role: Role) -> Result<(), Refusal> {
    check_properties(body.strip_prefix(b"\x05READY").ok_or(Refusal::Ready)?, role)
}

/// The same of the properties alone.
pub(super) fn check_properties(mut rest: &[u8], role: Role) -> Result<(), Refusal> {
    let mut socket_type = None;
    while let Some((&name_len, after)) = rest.split_first() {
        let (name, after) = split(after, usize::from(name_len))?;
        let (len, after) = after.split_first_chunk::<4>().ok_or(Refusal::Ready)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| Refusal::Ready)?;
        let (value, after) = split(after, len)?;
        // Property names are not case-sensitive (RFC 37).
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            socket_type = Some(value);
        } else if name.eq_ignore_ascii_case(b"Identity") && len > MAX_IDENTITY_BYTES {
            return Err(Refusal::Ready);
        }
        rest = after;
    }
    match socket_type {
        Some(found) if role.meets.iter().any(|known| known.as_bytes() == found) => Ok(()),
        Some(_) => Err(Refusal::SocketType),
        None => Err(Refusal::Ready),
    }
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), Refusal> {
    bytes.split_at_checked(at).ok_or(Refusal::Ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Role = Role { name: "ROUTER", meets: &["REQ", "DEALER", "ROUTER"] };

    fn check_ready(body: &[u8]) -> Result<(), Refusal> {
        super::check_ready(body, ROUTER)
    }

    #[test]
    fn our_own_greeting_and_ready_pass_our_own_checks() {
        for mechanism in [Mechanism::Null, Mechanism::Plain, Mechanism::Curve] {
            assert_eq!(check_greeting(&greeting(mechanism)), Ok(mechanism));
        }
        assert_eq!(check_ready(&ready("DEALER")[2..]), Ok(()));
    }

    #[test]
    fn other_protocols_versions_and_mechanisms_are_told_apart() {
        let mut old = greeting(Mechanism::Null);
        old[10] = 1;
        assert_eq!(check_greeting(&old), Err(Refusal::Greeting));
        let mut http = greeting(Mechanism::Null);
        http[..4].copy_from_slice(b"GET ");
        assert_eq!(check_greeting(&http), Err(Refusal::Greeting));
        for mechanism in [&b"GSSAPI"[..], b"NULLX"] {
            let mut other = greeting(Mechanism::Null);
            other[12..12 + mechanism.len()].copy_from_slice(mechanism);
            assert_eq!(check_greeting(&other), Err(Refusal::Mechanism));
        }
    }

    #[test]
    fn a_ready_that_cannot_be_read_is_refused() {
        let mut whole = ready("REQ");
        push_property(&mut whole, "Identity", b"identity");
        let first = b"\x05READY".len() + 1 + "Socket-Type".len() + 4 + "REQ".len();
        for len in 0..whole.len() - 2 {
            // Cut after a whole property it is a shorter READY.
            let valid = len == first;
            assert_eq!(check_ready(&whole[2..2 + len]).is_ok(), valid, "cut at {len}");
        }
        assert_eq!(check_ready(&ready("SUB")[2..]), Err(Refusal::SocketType));
        let mut long = b"\x05READY".to_vec();
        push_property(&mut long, "socket-type", b"DEALER");
        assert_eq!(check_ready(&long), Ok(()));
        push_property(&mut long, "identity", &[1; 256]);
        assert_eq!(check_ready(&long), Err(Refusal::Ready));
    }
}
