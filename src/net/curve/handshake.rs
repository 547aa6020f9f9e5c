//! The server's side of CURVE's handshake (ZeroMQ RFC 26). Each connection has a key of its own, made for it and
//! forgotten with it: what was heard elsewhere, or before, opens nothing here.

use crypto_box::{PublicKey, SalsaBox};
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::cipher::{NUMBER_BYTES, TAG_BYTES, between, numbered, open, random, seal};
use crate::auth::{CurvePublic, CurveSecret};
use crate::net::guard::{End, Refusal, command, read_command};

const HELLO: &[u8] = b"\x05HELLO";
const WELCOME: &[u8] = b"\x07WELCOME";
const INITIATE: &[u8] = b"\x08INITIATE";
const READY: &[u8] = b"\x05READY";
/// Version 1.0 of CURVE.
const VERSION: [u8; 2] = [1, 0];
const KEY_BYTES: usize = 32;
/// HELLO is filled up, so that it is longer than the answer to it.
const PADDING_BYTES: usize = 72;
/// What HELLO's box holds: nothing yet.
const ZEROES: [u8; 64] = [0; 64];
const HELLO_BYTES: usize =
    HELLO.len() + 2 + PADDING_BYTES + KEY_BYTES + NUMBER_BYTES + ZEROES.len() + TAG_BYTES;
const COOKIE_BYTES: usize = 96;
const NONCE_BYTES: usize = 16;
const VOUCH_BYTES: usize = 2 * KEY_BYTES + TAG_BYTES;
/// The properties in INITIATE at most, in bytes: as in READY without CURVE.
const MAX_METADATA_BYTES: usize = 4096;
const MAX_INITIATE_BYTES: usize = INITIATE.len()
    + COOKIE_BYTES
    + NUMBER_BYTES
    + TAG_BYTES
    + KEY_BYTES
    + NONCE_BYTES
    + VOUCH_BYTES
    + MAX_METADATA_BYTES;

/// What came of a handshake.
pub(in crate::net) struct Shaken {
    /// The client's own key; that it has the secret half is proven.
    pub(in crate::net) client: CurvePublic,
    /// Its properties, as READY has them.
    pub(in crate::net) metadata: Vec<u8>,
    /// For all that follows.
    pub(super) key: SalsaBox,
    /// The last number of the client's.
    pub(super) heard: u64,
    /// The last number of ours.
    pub(super) said: u64,
}

/// After the greetings: HELLO, WELCOME, INITIATE. [`ready`] is to follow once what came along is found to be right. The
/// caller sets the time limit.
pub(in crate::net) async fn shake(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    server: &CurveSecret,
) -> Result<Shaken, End> {
    let mut hello = read_command(reader, HELLO_BYTES).await?;
    let (transient, mut heard) = check_hello(&mut hello, server)?;
    let ours = CurveSecret::new().map_err(|_| End::Closed)?;
    let mut cookie = [0; COOKIE_BYTES];
    fill(&mut cookie)?;
    writer.write_all(&command(&welcome(&transient, server, &ours, &cookie)?)).await?;
    let mut initiate = read_command(reader, MAX_INITIATE_BYTES).await?;
    let key = between(&transient, ours.key());
    let (client, metadata) =
        check_initiate(&mut initiate, &key, (&transient, server, &ours), &cookie, &mut heard)?;
    Ok(Shaken { client, metadata, key, heard, said: 0 })
}

/// The last word of the handshake: our own properties.
pub(in crate::net) async fn ready(
    writer: &mut (impl AsyncWrite + Unpin),
    shaken: &mut Shaken,
    metadata: &[u8],
) -> Result<(), End> {
    shaken.said += 1;
    let nonce = numbered(b"CurveZMQREADY---", shaken.said);
    let mut body = READY.to_vec();
    body.extend_from_slice(&nonce[16..]);
    body.extend(seal(&shaken.key, &nonce, metadata));
    writer.write_all(&command(&body)).await?;
    Ok(())
}

fn fill(bytes: &mut [u8]) -> Result<(), End> {
    SystemRandom::new().fill(bytes).map_err(|_| End::Closed)
}

/// Takes so many bytes from the beginning.
fn take<'a>(rest: &mut &'a mut [u8], bytes: usize) -> Result<&'a mut [u8], Refusal> {
    let (taken, left) =
        std::mem::take(rest).split_at_mut_checked(bytes).ok_or(Refusal::Encryption)?;
    *rest = left;
    Ok(taken)
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}

fn key(bytes: &[u8]) -> [u8; KEY_BYTES] {
    bytes.try_into().expect("a key's bytes")
}

/// The client's transient key, and its first number. Who doesn't know our key can't make such a box.
fn check_hello(hello: &mut [u8], server: &CurveSecret) -> Result<(PublicKey, u64), Refusal> {
    let mut rest = hello;
    if rest.len() != HELLO_BYTES || take(&mut rest, HELLO.len())? != HELLO {
        return Err(Refusal::Encryption);
    }
    if take(&mut rest, 2)? != VERSION {
        return Err(Refusal::Encryption);
    }
    take(&mut rest, PADDING_BYTES)?;
    let transient = PublicKey::from(key(take(&mut rest, KEY_BYTES)?));
    let number = number(take(&mut rest, NUMBER_BYTES)?);
    let nonce = numbered(b"CurveZMQHELLO---", number);
    let zeroes = open(&between(&transient, server.key()), &nonce, rest)?;
    if *zeroes != ZEROES {
        return Err(Refusal::Encryption);
    }
    Ok((transient, number))
}

fn welcome(
    transient: &PublicKey,
    server: &CurveSecret,
    ours: &CurveSecret,
    cookie: &[u8; COOKIE_BYTES],
) -> Result<Vec<u8>, End> {
    let mut fresh = [0; NONCE_BYTES];
    fill(&mut fresh)?;
    let mut plain = ours.public().0.to_vec();
    plain.extend_from_slice(cookie);
    let mut body = WELCOME.to_vec();
    body.extend_from_slice(&fresh);
    let nonce = random(b"WELCOME-", &fresh);
    body.extend(seal(&between(transient, server.key()), &nonce, &plain));
    Ok(body)
}

/// The client's key and properties. The cookie says that it got our WELCOME; the vouch, made with its own key, that the
/// transient one is its own, for us.
fn check_initiate(
    initiate: &mut [u8],
    session: &SalsaBox,
    (transient, server, ours): (&PublicKey, &CurveSecret, &CurveSecret),
    cookie: &[u8; COOKIE_BYTES],
    heard: &mut u64,
) -> Result<(CurvePublic, Vec<u8>), Refusal> {
    let mut rest = initiate;
    if take(&mut rest, INITIATE.len())? != INITIATE {
        return Err(Refusal::Encryption);
    }
    let shown = take(&mut rest, COOKIE_BYTES)?;
    if !bool::from(shown[..].ct_eq(&cookie[..])) {
        return Err(Refusal::Encryption);
    }
    let number = number(take(&mut rest, NUMBER_BYTES)?);
    if number <= *heard {
        return Err(Refusal::Encryption);
    }
    *heard = number;
    let mut inside = open(session, &numbered(b"CurveZMQINITIATE", number), rest)?;
    let client = CurvePublic(key(take(&mut inside, KEY_BYTES)?));
    let fresh: [u8; NONCE_BYTES] =
        (&*take(&mut inside, NONCE_BYTES)?).try_into().expect("a nonce's bytes");
    let vouch = take(&mut inside, VOUCH_BYTES)?;
    let vouched = between(&client.key(), ours.key());
    let vouched = open(&vouched, &random(b"VOUCH---", &fresh), vouch)?;
    let (first, second) = vouched.split_at(KEY_BYTES);
    let is_transient = first.ct_eq(transient.as_bytes());
    let is_for_us = second.ct_eq(&server.public().0);
    if !bool::from(is_transient & is_for_us) {
        return Err(Refusal::Encryption);
    }
    Ok((client, inside.to_vec()))
}

/// Without the keys.
impl std::fmt::Debug for Shaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shaken").field("client", &self.client).finish_non_exhaustive()
    }
}
