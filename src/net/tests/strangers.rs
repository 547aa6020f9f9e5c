//! Peers that need a token and have shown none.

use std::sync::Arc;

use super::raw::{Raw, greeting, message};
use super::*;
use crate::auth::{Access, CurveSecret, Failures, Grants, Secret, Token};

/// Doors that need a token, and one.
fn guarded(change: impl FnOnce(&mut NetLimits)) -> (NetOptions, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let secret = Secret::new().unwrap();
    let hash = secret.hash();
    let token = Token { name: "a".to_owned(), hash, curve_key: None, grants: Grants::all() };
    let access = Arc::new(Access::open(vec![token], folder.path().join("revoked")).unwrap());
    let failures = Arc::<Failures>::default();
    let mut options = with_limits(change);
    let auth = DoorAuth { access, failures, curve: None, is_needed: true, is_curve_only: false };
    options.client_auth = Some(auth.clone());
    options.worker_auth = Some(auth);
    (options, secret.reveal().to_owned(), folder)
}

fn hello(token: &str) -> Vec<u8> {
    message(&[b"MUB1", b"HELLO", format!(r#"{{"token":"{token}"}}"#).as_bytes()])
}

fn send(bytes: usize) -> Vec<u8> {
    message(&[b"MUB1", b"SEND", br#"{"queue":"q"}"#, &vec![0; bytes]])
}

#[tokio::test]
async fn a_stranger_says_little_and_hears_why() {
    let (options, _, _folder) = guarded(|_| {});
    let broker = Broker::start(options).await;
    let mut stranger = Raw::dealer(broker.port(), b"").await;
    stranger.send(&send(1000)).await;
    assert!(String::from_utf8_lossy(&stranger.receive().await[2]).contains("unauthorized"));
    // The header alone: nothing of it is waited for.
    stranger.send(&send(17 * 1024)[..100]).await;
    let said = stranger.receive().await;
    let reason = String::from_utf8_lossy(&said[2]);
    assert_eq!(said[1], "REJECTED");
    assert!(reason.contains("unauthorized") && reason.contains("16384 bytes"), "{reason}");
    stranger.until_closed().await;
    broker.refused(Refusal::MessageBytes, 1).await;
    let counted = broker.clients();
    assert_eq!((counted.undecodable, counted.forbidden), (0, 2), "what may not be said was read");

    let mut delimited = Raw::dealer(broker.port(), b"").await;
    let mut frames = message(&[b"", b"MUB1"]);
    // The delimiter, then what is too large.
    frames.truncate(2);
    frames.extend(&send(17 * 1024)[..100]);
    delimited.send(&frames).await;
    assert_eq!(delimited.receive().await[0], "", "as it asked");
    let mut worker = Raw::dealer(broker.worker_port(), b"").await;
    worker.send(&send(17 * 1024)[..100]).await;
    assert_eq!(worker.receive().await[1], "REJECTED");
    worker.until_closed().await;
    broker.stop().await;
}

#[tokio::test]
async fn after_hello_messages_are_as_large_as_ever_also_in_one_breath() {
    let (options, token, _folder) = guarded(|_| {});
    let broker = Broker::start(options).await;
    let mut peer = Raw::dealer(broker.port(), b"").await;
    let both = [hello(&token), send(1000), send(300 * 1024), send(1)].concat();
    peer.send(&both).await;
    assert_eq!(peer.receive().await[1], "WELCOME");
    for _ in 0..3 {
        assert_eq!(peer.receive().await[1], "ACCEPTED");
    }
    broker.stop().await;
}

#[tokio::test]
async fn strangers_take_none_of_the_room_for_large_messages() {
    let (options, token, _folder) = guarded(|limits| {
        limits.message_bytes = 200 * 1024;
        limits.incoming_bytes = 200 * 1024;
    });
    let broker = Broker::start(options).await;
    let mut strangers = Vec::new();
    for _ in 0..8 {
        let mut stranger = Raw::dealer(broker.port(), b"").await;
        stranger.send(&send(199 * 1024)[..100]).await;
        strangers.push(stranger);
    }
    let mut peer = Raw::dealer(broker.port(), b"").await;
    peer.send(&[hello(&token), send(199 * 1024)].concat()).await;
    assert_eq!(peer.receive().await[1], "WELCOME");
    assert_eq!(peer.receive().await[1], "ACCEPTED");
    broker.stop().await;
}

#[tokio::test]
async fn where_curve_alone_is_spoken_nothing_is_heard_in_clear() {
    let (mut options, token, _folder) = guarded(|_| {});
    let curve = Some(Arc::new(CurveSecret::new().unwrap()));
    let auth = options.client_auth.take().unwrap();
    options.client_auth = Some(DoorAuth { curve, is_curve_only: true, ..auth });
    let broker = Broker::start(options).await;
    for (times, mechanism) in [(1, &b"NULL"[..]), (2, b"PLAIN")] {
        let mut peer = Raw::connect(broker.port()).await;
        peer.send(&greeting(mechanism)).await;
        peer.until_closed().await;
        broker.refused(Refusal::Mechanism, times).await;
    }
    let mut worker = Raw::dealer(broker.worker_port(), b"").await;
    worker.send(&hello(&token)).await;
    assert_eq!(worker.receive().await[1], "WELCOME", "each door by itself");
    broker.stop().await;
}

#[tokio::test]
async fn a_hello_too_many_is_answered_before_the_end() {
    let (options, token, _folder) = guarded(|_| {});
    let broker = Broker::start(options).await;
    for port in [broker.port(), broker.worker_port()] {
        let wrong = hello(&format!("mub_{}", "A".repeat(43)));
        let mut said = Vec::new();
        // The tenth is the last that is only refused; failures at both doors count together.
        let mut peer = Raw::dealer(port, b"").await;
        while said.len() < 11 {
            peer.send(&wrong).await;
            let frames = peer.receive().await;
            let reason = String::from_utf8_lossy(&frames[2]).into_owned();
            assert_eq!(frames[1], "REJECTED");
            said.push(reason);
            if said.last().is_some_and(|reason| reason.contains("busy")) {
                break;
            }
        }
        let last = said.last().unwrap();
        assert!(last.contains("retry_after_ms") && last.contains("didn't count"), "{said:?}");
        peer.until_closed().await;
        let mut right = Raw::dealer(port, b"").await;
        right.send(&hello(&token)).await;
        assert_eq!(right.receive().await[1], "WELCOME", "what is right always passes");
    }
    broker.refused(Refusal::Token, 1).await;
    broker.stop().await;
}
