//! What peers that keep to the protocol get.

use zeromq::{DealerSocket, ReqSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::raw::{Raw, greeting, message, ready};
use super::*;
use crate::model::{DeliveryId, Generation, QueueName, RejectCode, WorkerInfo};
use crate::wire::{BrokerMessage, WorkerMessage};

fn zmq(frames: Vec<bytes::Bytes>) -> ZmqMessage {
    ZmqMessage::try_from(frames).unwrap()
}

#[tokio::test]
async fn the_crates_req_and_dealer_are_served_over_tcp() {
    let broker = Broker::start(options()).await;
    let mut req = ReqSocket::new();
    req.connect(broker.net.client_endpoint()).await.unwrap();
    for _ in 0..3 {
        req.send(zmq(ClientRequest::Ping.encode())).await.unwrap();
        let reply = ClientReply::decode(req.recv().await.unwrap().into_vec());
        assert_eq!(reply, Ok(ClientReply::Pong));
    }
    let mut dealer = DealerSocket::new();
    dealer.connect(broker.net.client_endpoint()).await.unwrap();
    for _ in 0..100 {
        dealer.send(zmq(ClientRequest::Ping.encode())).await.unwrap();
    }
    for _ in 0..100 {
        let reply = ClientReply::decode(dealer.recv().await.unwrap().into_vec());
        assert_eq!(reply, Ok(ClientReply::Pong));
    }
    broker.stop().await;
}

#[tokio::test]
async fn ipc_endpoints_serve_too() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = |name| format!("ipc://{}", dir.path().join(name).display());
    let broker = Broker::start(NetOptions::new(endpoint("clients"), endpoint("workers"))).await;
    let mut req = ReqSocket::new();
    req.connect(broker.net.client_endpoint()).await.unwrap();
    req.send(zmq(ClientRequest::Ping.encode())).await.unwrap();
    assert_eq!(ClientReply::decode(req.recv().await.unwrap().into_vec()), Ok(ClientReply::Pong));
    drop(req);
    broker.stop().await;
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "all sockets are removed: {left:?}");
}

#[tokio::test]
async fn an_answer_has_a_delimiter_exactly_when_the_request_had_one() {
    let broker = Broker::start(options()).await;
    let mut raw = Raw::dealer(broker.port(), b"").await;
    assert_eq!(raw.ask(&[b"MUB1", b"PING"]).await[0], "MUB1");
    let answer = raw.ask(&[b"", b"MUB1", b"PING"]).await;
    assert_eq!((&answer[0][..], &answer[1][..]), (&b""[..], &b"MUB1"[..]));
    let answer = raw.ask(&[b"", b"", b"MUB1"]).await;
    assert_eq!((&answer[0][..], &answer[2][..]), (&b""[..], &b"REJECTED"[..]));
    broker.stop().await;
}

#[tokio::test]
async fn payloads_of_any_size_and_content_come_back_as_they_were() {
    let broker = Broker::start(options()).await;
    let mut raw = Raw::dealer(broker.port(), b"").await;
    let bytes: Vec<u8> = (0..crate::model::limits::MAX_PAYLOAD_BYTES).map(|n| n as u8).collect();
    for len in [0, 1, 255, 256, 16 * 1024, 65_535, 65_536, 300_000, bytes.len()] {
        let header = br#"{"queue":"q","timeout_ms":1}"#;
        let answer = raw.ask(&[b"MUB1", b"CALL", header, &bytes[..len]]).await;
        assert_eq!((&answer[1][..], &answer[3][..]), (&b"REPLY"[..], &bytes[..len]));
    }
    broker.stop().await;
}

#[tokio::test]
async fn two_peers_with_the_same_identity_each_get_their_own_answers() {
    let broker = Broker::start(options()).await;
    let mut first = Raw::dealer(broker.port(), b"same").await;
    let mut second = Raw::dealer(broker.port(), b"same").await;
    for id in ["1", "2", "3"] {
        let send = |who: &str| format!(r#"{{"queue":"q","id":"{who}{id}"}}"#);
        let (a, b) = (send("a"), send("b"));
        first.send(&message(&[b"MUB1", b"SEND", a.as_bytes(), b""])).await;
        second.send(&message(&[b"MUB1", b"SEND", b.as_bytes(), b""])).await;
        let answer = String::from_utf8(first.receive().await[2].to_vec()).unwrap();
        assert!(answer.contains(&format!("a{id}")), "{answer}");
        let answer = String::from_utf8(second.receive().await[2].to_vec()).unwrap();
        assert!(answer.contains(&format!("b{id}")), "{answer}");
    }
    drop(first);
    assert_eq!(second.ask(&[b"MUB1", b"PING"]).await[1], "PONG", "not taken away with the first");
    broker.stop().await;
}

#[tokio::test]
async fn a_worker_is_heard_answered_and_missed_after_its_last_message() {
    let mut broker = Broker::start(options()).await;
    let mut worker = DealerSocket::new();
    worker.connect(broker.net.worker_endpoint()).await.unwrap();
    let ready = WorkerMessage::Ready {
        queues: vec![QueueName::new("q").unwrap()],
        credit: 1,
        info: WorkerInfo::default(),
    };
    worker.send(zmq(ready.encode())).await.unwrap();
    let Inbound::Worker { peer, message } = broker.next_told().await else { panic!("READY") };
    assert_eq!(message, ready);
    let delivery = DeliveryId { generation: Generation(1), number: 2 };
    let stale = BrokerMessage::Stale { delivery };
    broker.net.sender().send(Outbound::Worker { peer, message: stale.clone() });
    assert_eq!(BrokerMessage::decode(worker.recv().await.unwrap().into_vec()), Ok(stale));

    let mut raw = Raw::dealer(broker.worker_port(), b"").await;
    let ack = WorkerMessage::Ack { delivery, reply: bytes::Bytes::new() };
    let frames = ack.encode();
    let frames: Vec<&[u8]> = frames.iter().map(|frame| &frame[..]).collect();
    for _ in 0..500 {
        raw.send(&self::message(&frames)).await;
    }
    drop(raw);
    let mut acks = 0;
    loop {
        match broker.next_told().await {
            Inbound::Worker { message, .. } if message == ack => acks += 1,
            Inbound::WorkerGone { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(acks, 500, "all that it said comes before it is missed");
    drop(worker);
    assert_eq!(broker.next_told().await, Inbound::WorkerGone { peer });
    broker.stop().await;
}

#[tokio::test]
async fn a_worker_that_sends_a_delimiter_gets_one() {
    let mut broker = Broker::start(options()).await;
    let mut raw = Raw::dealer(broker.worker_port(), b"").await;
    raw.send(&message(&[b"", b"MUB1", b"HEARTBEAT", b"{}"])).await;
    let Inbound::Worker { peer, .. } = broker.next_told().await else { panic!("a heartbeat") };
    let beat = Outbound::Worker { peer, message: BrokerMessage::Heartbeat };
    broker.net.sender().send(beat);
    assert_eq!(raw.receive().await, ["", "MUB1", "HEARTBEAT", "{}"]);
    broker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_is_rejected_and_counted() {
    let broker = Broker::start(options()).await;
    let mut client = Raw::dealer(broker.port(), b"").await;
    let header = vec![b' '; 10 * 1024 * 1024];
    for (frames, code) in [
        (&[&b"MUB1"[..], b"FLY", b"{}"][..], RejectCode::Unsupported),
        (&[b"MUB1", b"SEND", b"{", b""], RejectCode::Malformed),
        (&[b"MUB1", b"SEND", &header, b""], RejectCode::TooLarge),
        (&[b"nonsense"], RejectCode::Malformed),
        (&[b""], RejectCode::Malformed),
    ] {
        client.send(&message(frames)).await;
        let mut answer = client.receive().await;
        if answer[0].is_empty() {
            answer.remove(0);
        }
        match ClientReply::decode(answer) {
            Ok(ClientReply::Rejected(rejection)) => assert_eq!(rejection.code, code),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(broker.clients().undecodable, 5);
    let mut worker = Raw::dealer(broker.worker_port(), b"").await;
    assert_eq!(worker.ask(&[b"MUB1", b"READY", b"{}"]).await[1], "REJECTED");
    assert_eq!(broker.net.counters().workers.undecodable, 1);
    broker.stop().await;
}

#[tokio::test]
async fn pings_are_answered_between_messages_and_keep_idle_peers() {
    let broker = Broker::start(options()).await;
    let mut raw = Raw::dealer(broker.port(), b"").await;
    raw.send(b"\x04\x0a\x04PING\0\0ctx").await;
    assert_eq!(raw.frame().await, (4, b"\x04PONGctx".to_vec()));
    // While answers flow PINGs are answered too, but never between two frames of an answer. (A PING that
    // comes while several PONGs wait to leave needs none of its own.)
    let header = br#"{"queue":"q","timeout_ms":300}"#;
    raw.send(&message(&[b"MUB1", b"CALL", header, &[0; 100_000]])).await;
    let (mut pongs, mut answers, mut within) = (0, 0, false);
    while answers < 300 || pongs < 5 {
        match raw.frame().await {
            (4, body) => {
                assert!(!within, "a PONG inside a message");
                assert_eq!(body, b"\x04PONGctx");
                pongs += 1;
            }
            (flags, body) => {
                within = flags & 1 != 0;
                if !within {
                    assert_eq!(body, [0; 100_000], "nothing was put into it");
                    answers += 1;
                    raw.send(b"\x04\x0a\x04PING\0\0ctx").await;
                }
            }
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_handshake_may_come_byte_by_byte_and_with_the_first_request() {
    let broker = Broker::start(options()).await;
    let mut raw = Raw::connect(broker.port()).await;
    let all = [greeting(b"NULL"), ready(b"REQ", b""), message(&[b"", b"MUB1", b"PING"])].concat();
    for byte in &all[..70] {
        raw.send(&[*byte]).await;
    }
    raw.send(&all[70..]).await;
    let mut theirs = [0; 64];
    tokio::io::AsyncReadExt::read_exact(&mut raw.stream, &mut theirs).await.unwrap();
    assert_eq!(raw.frame().await.0, 4);
    assert_eq!(raw.receive().await, ["", "MUB1", "PONG", "{}"]);
    broker.stop().await;
}

#[tokio::test]
async fn what_was_given_before_the_stop_still_leaves() {
    let mut broker = Broker::start(options()).await;
    let mut raw = Raw::dealer(broker.worker_port(), b"").await;
    raw.send(&message(&[b"MUB1", b"HEARTBEAT"])).await;
    let Inbound::Worker { peer, .. } = broker.next_told().await else { panic!("a heartbeat") };
    let sender = broker.net.sender();
    for _ in 0..1000 {
        let message = BrokerMessage::Bye { reason: "stopping".to_owned() };
        sender.send(Outbound::Worker { peer, message });
    }
    let stopped = tokio::spawn(broker.stop());
    for _ in 0..1000 {
        assert_eq!(raw.receive().await[1], "BYE");
    }
    assert_eq!(raw.until_closed().await, 0);
    stopped.await.unwrap();
    sender.send(Outbound::Worker { peer, message: BrokerMessage::Heartbeat });
}
