//! What peers that don't keep to the protocol get: a closed connection, counted by its reason.

use super::raw::{Raw, greeting, message, ready};
use super::*;

/// Sends these bytes and nothing more; the reason must be this one, and others are served after.
async fn refused_for(options: NetOptions, bytes: &[u8], reason: Refusal) {
    let broker = Broker::start(options).await;
    let mut raw = Raw::connect(broker.port()).await;
    raw.send(bytes).await;
    raw.until_closed().await;
    broker.refused(reason, 1).await;
    let mut other = Raw::dealer(broker.port(), b"").await;
    assert_eq!(other.ask(&[b"MUB1", b"PING"]).await[1], "PONG");
    broker.stop().await;
}

fn impatient() -> NetOptions {
    // Long enough for an honest peer on a busy machine.
    with_limits(|limits| {
        limits.handshake = Duration::from_millis(400);
        limits.message = Duration::from_millis(400);
    })
}

fn shaken(rest: &[u8]) -> Vec<u8> {
    [&greeting(b"NULL"), &ready(b"DEALER", b""), rest].concat()
}

#[tokio::test]
async fn other_protocols() {
    refused_for(options(), b"GET / HTTP/1.1\r\n\r\n", Refusal::Greeting).await;
    let mut old = greeting(b"NULL");
    old[10] = 1;
    refused_for(options(), &old, Refusal::Greeting).await;
}

#[tokio::test]
async fn random_bytes() {
    let broker = Broker::start(impatient()).await;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..60 {
        let mut raw = Raw::connect(broker.port()).await;
        let mut bytes = match round % 3 {
            0 => vec![0xff],
            1 => greeting(b"NULL"),
            _ => shaken(&[]),
        };
        bytes.extend((0..random.usize(1..300)).map(|_| random.u8(..)));
        raw.send(&bytes).await;
        // A message that looks whole is answered; its sender then waits for more.
        tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await.unwrap();
        raw.until_closed().await;
    }
    let mut other = Raw::dealer(broker.port(), b"").await;
    assert_eq!(other.ask(&[b"MUB1", b"PING"]).await[1], "PONG");
    broker.stop().await;
}

#[tokio::test]
async fn half_a_handshake() {
    for part in [0, 10, 64, 66, 80] {
        let bytes = &shaken(&[])[..part];
        refused_for(impatient(), bytes, Refusal::HandshakeTimeout).await;
    }
}

#[tokio::test]
async fn another_mechanism() {
    refused_for(options(), &greeting(b"PLAIN"), Refusal::Mechanism).await;
    refused_for(options(), &greeting(b"CURVE"), Refusal::Mechanism).await;
}

#[tokio::test]
async fn sockets_that_do_not_go_together_with_router() {
    for socket_type in [&b"SUB"[..], b"PUSH", b"REP", b"", b"dealer"] {
        let bytes = [greeting(b"NULL"), ready(socket_type, b"")].concat();
        refused_for(options(), &bytes, Refusal::SocketType).await;
    }
}

#[tokio::test]
async fn a_ready_that_is_none_or_too_long() {
    let after_greeting = |rest: &[u8]| [&greeting(b"NULL"), rest].concat();
    refused_for(options(), &after_greeting(b"\x04\x05\x04PING"), Refusal::Ready).await;
    refused_for(options(), &after_greeting(b"\x00\x05hello"), Refusal::Ready).await;
    let huge = [&[6][..], &(1_u64 << 62).to_be_bytes()].concat();
    refused_for(options(), &after_greeting(&huge), Refusal::Ready).await;
}

#[tokio::test]
async fn a_frame_that_declares_2_to_the_62_bytes() {
    let huge = [&[2][..], &(1_u64 << 62).to_be_bytes()].concat();
    refused_for(options(), &shaken(&huge), Refusal::MessageBytes).await;
    let second = [&message(&[b"MUB1"])[1..], &huge].concat();
    refused_for(options(), &shaken(&[&[1], &second[..]].concat()), Refusal::MessageBytes).await;
}

#[tokio::test]
async fn too_many_frames() {
    let frames = vec![&b"x"[..]; crate::model::limits::MAX_FRAMES + 1];
    refused_for(options(), &shaken(&message(&frames)), Refusal::MessageFrames).await;
}

#[tokio::test]
async fn undefined_flags_and_commands() {
    refused_for(options(), &shaken(&[0x08, 0]), Refusal::Flags).await;
    refused_for(options(), &shaken(&[0x05, 0]), Refusal::Flags).await;
    refused_for(options(), &shaken(b"\x04\x05\x04JUMP"), Refusal::Command).await;
    refused_for(options(), &shaken(&[6, 0, 0, 0, 0, 0, 1, 0, 0]), Refusal::Command).await;
}

#[tokio::test]
async fn a_message_that_never_ends() {
    refused_for(impatient(), &shaken(b"\x01\x04MUB1"), Refusal::MessageTimeout).await;
    refused_for(impatient(), &shaken(b"\x01"), Refusal::MessageTimeout).await;
}

#[tokio::test]
async fn silence_longer_than_its_own_heartbeat_allows() {
    refused_for(options(), &shaken(b"\x04\x07\x04PING\0\x01"), Refusal::HeartbeatTimeout).await;
}

#[tokio::test]
async fn a_peer_that_ends_in_the_middle_of_a_message_leaves_nothing() {
    let mut broker = Broker::start(options()).await;
    let mut raw = Raw::dealer(broker.port(), b"").await;
    let whole = message(&[b"MUB1", b"SEND", br#"{"queue":"q"}"#, &[0; 100_000]]);
    raw.send(&whole[..50_000]).await;
    drop(raw);
    assert!(matches!(broker.next_told().await, Inbound::ClientGone { .. }));
    assert_eq!(broker.clients().refused.iter().map(|(_, count)| count).sum::<u64>(), 0);
    broker.stop().await;
}
