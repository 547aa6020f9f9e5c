//! What is bounded: connections, what waits for a peer, what is taken in.

use super::raw::{Raw, message};
use super::*;

#[tokio::test]
async fn connections_are_bounded_and_come_free_again() {
    let broker = Broker::start(with_limits(|limits| limits.connections = 2)).await;
    let first = Raw::dealer(broker.port(), b"").await;
    let mut second = Raw::dealer(broker.port(), b"").await;
    Raw::connect(broker.port()).await.until_closed().await;
    broker.refused(Refusal::Connections, 1).await;
    assert_eq!(second.ask(&[b"MUB1", b"PING"]).await[1], "PONG");
    drop(first);
    tokio::time::timeout(LONG, async {
        while broker.clients().open > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("its place is free");
    broker.stop().await;
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let broker = Broker::start(with_limits(|limits| limits.connections_per_address = 1)).await;
    let _first = Raw::dealer(broker.port(), b"").await;
    Raw::connect(broker.port()).await.until_closed().await;
    broker.refused(Refusal::AddressConnections, 1).await;
    let mut worker = Raw::dealer(broker.worker_port(), b"").await;
    assert_eq!(worker.ask(&[b"MUB1", b"FLY"]).await[1], "REJECTED", "each door by itself");
    broker.stop().await;
}

/// Asks for `times` answers of 100 KiB and reads none of them.
async fn flood(port: u16, times: u32) -> Raw {
    let mut raw = Raw::dealer(port, b"").await;
    let header = format!(r#"{{"queue":"q","timeout_ms":{times}}}"#);
    raw.send(&message(&[b"MUB1", b"CALL", header.as_bytes(), &[0; 100 * 1024]])).await;
    raw
}

#[tokio::test]
async fn a_reader_who_stops_is_cut_off_while_others_are_served() {
    let broker = Broker::start(with_limits(|limits| {
        limits.client_unsent_bytes = 8 * 1024 * 1024;
    }))
    .await;
    let mut stopped = flood(broker.port(), 1000).await;
    let mut other = Raw::dealer(broker.port(), b"").await;
    let served = async {
        loop {
            assert_eq!(other.ask(&[b"MUB1", b"PING"]).await[1], "PONG");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = served => {}
        () = broker.refused(Refusal::Unsent, 1) => {}
    }
    assert!(stopped.until_closed().await < 100 * 1024 * 1000, "not all of it was sent");
    assert_eq!(other.ask(&[b"MUB1", b"PING"]).await[1], "PONG");
    broker.stop().await;
}

#[tokio::test]
async fn a_reader_who_takes_no_bytes_for_long_is_cut_off() {
    let mut broker =
        Broker::start(with_limits(|limits| limits.stall = Duration::from_millis(200))).await;
    // More than the system's socket buffers take, less than what may wait.
    let _stopped = flood(broker.port(), 300).await;
    broker.refused(Refusal::Stalled, 1).await;
    assert!(matches!(broker.next_told().await, Inbound::ClientGone { .. }));
    broker.stop().await;
}

#[tokio::test]
async fn while_the_loop_takes_nothing_peers_are_held_back() {
    let (sender, mut inbound) = mpsc::channel(1);
    let net = bind(options(), sender).await.unwrap();
    let port = net.client_endpoint().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut raw = Raw::dealer(port, b"").await;
    let send = message(&[b"MUB1", b"SEND", br#"{"queue":"q"}"#, &[0; 64 * 1024]]);
    let flood = async {
        for sent in 0..2000_u32 {
            match tokio::time::timeout(Duration::from_millis(500), raw.send(&send)).await {
                Ok(()) => {}
                Err(_) => return sent,
            }
        }
        panic!("128 MiB were taken in with nobody to take them");
    };
    assert!(flood.await > 0);
    assert!(net.counters().clients.bytes_in < 8 * 1024 * 1024, "{:?}", net.counters().clients);
    for _ in 0..3 {
        let event = tokio::time::timeout(LONG, inbound.recv()).await.unwrap();
        assert!(matches!(event, Some(Inbound::Client { .. })), "{event:?}");
    }
    net.shutdown().await;
}

#[tokio::test]
async fn large_messages_under_way_share_their_room() {
    let broker = Broker::start(with_limits(|limits| {
        limits.message_bytes = 1024 * 1024;
        limits.incoming_bytes = 1024 * 1024;
        limits.message = Duration::from_secs(1);
    }))
    .await;
    let payload = vec![0; 900 * 1024];
    let send = message(&[b"MUB1", b"SEND", br#"{"queue":"q"}"#, &payload]);
    let mut slow = Raw::dealer(broker.port(), b"").await;
    slow.send(&send[..100_000]).await;
    let mut other = Raw::dealer(broker.port(), b"").await;
    // Held back until the slow one's time is over, then served.
    let asked: [&[u8]; 4] = [b"MUB1", b"SEND", br#"{"queue":"q"}"#, &payload];
    let (answer, ()) = tokio::join!(other.ask(&asked), broker.refused(Refusal::MessageTimeout, 1));
    assert_eq!(answer[1], "ACCEPTED");
    broker.stop().await;
}

#[tokio::test]
async fn a_message_takes_its_own_room_not_that_of_the_one_before() {
    const KIB: usize = 1024;
    let broker = Broker::start(with_limits(|limits| {
        limits.message_bytes = 256 * KIB;
        limits.incoming_bytes = 256 * KIB;
    }))
    .await;
    let send = |kib: usize| message(&[b"MUB1", b"SEND", br#"{"queue":"q"}"#, &vec![0; kib * KIB]]);
    let heard = async |bytes: usize| {
        tokio::time::timeout(LONG, async {
            while broker.clients().bytes_in < bytes as u64 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it is read");
    };
    let (mut other, mut peer) =
        (Raw::dealer(broker.port(), b"").await, Raw::dealer(broker.port(), b"").await);
    let (of_other, first, second) = (send(100), send(100), send(200));
    let half = 50 * KIB;
    other.send(&of_other[..half]).await;
    heard(half).await;
    let (begun, rest) = first.split_at(first.len() - 10);
    peer.send(begun).await;
    heard(half + begun.len()).await;
    // The end of one with the beginning of the next, for which there is no room yet: it waits, as if it were the first.
    peer.send(&[rest, &second[..100]].concat()).await;
    assert_eq!(peer.receive().await[1], "ACCEPTED");
    other.send(&of_other[half..]).await;
    assert_eq!(other.receive().await[1], "ACCEPTED");
    peer.send(&second[100..]).await;
    assert_eq!(peer.receive().await[1], "ACCEPTED");
    assert_eq!(broker.clients().refused_for(Refusal::IncomingBytes), 0);
    broker.stop().await;
}
