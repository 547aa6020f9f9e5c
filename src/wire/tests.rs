//! What holds for all verbs of both sides.

#![expect(
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic, and matches for the one answer that it wants"
)]

mod strategies;

use bytes::Bytes;
use proptest::prelude::*;

use self::strategies::*;
use super::*;
use crate::model::limits::{
    MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, MAX_QUEUE_NAME_BYTES, MAX_SENDMANY_MESSAGES,
};
use crate::model::{
    Accepted, DeliveryId, Generation, MessageId, QueueName, RejectCode, Rejection, Seq,
};

fn made() -> MessageId {
    MessageId::new("made").unwrap()
}

fn frames(parts: &[&[u8]]) -> Vec<Bytes> {
    parts.iter().map(|part| Bytes::copy_from_slice(part)).collect()
}

fn request(parts: &[&[u8]]) -> Result<ClientRequest, Rejection> {
    ClientRequest::decode(frames(parts), made)
}

fn refusal(parts: &[&[u8]]) -> (RejectCode, String) {
    let rejection = request(parts).unwrap_err();
    (rejection.code, rejection.reason)
}

fn send(json: &str) -> Result<SendRequest, Rejection> {
    match request(&[MAGIC, b"SEND", json.as_bytes(), b"p"])? {
        ClientRequest::Send(send) => Ok(send),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_client_request_reads_back_as_it_was_written(request in client_request()) {
        prop_assert_eq!(ClientRequest::decode(request.encode(), made), Ok(request));
    }

    #[test]
    fn a_client_reply_reads_back_as_it_was_written(reply in client_reply()) {
        prop_assert_eq!(ClientReply::decode(reply.encode()), Ok(reply));
    }

    #[test]
    fn a_worker_message_reads_back_as_it_was_written(message in worker_message()) {
        prop_assert_eq!(WorkerMessage::decode(message.encode()), Ok(message));
    }

    #[test]
    fn a_broker_message_reads_back_as_it_was_written(message in broker_message()) {
        prop_assert_eq!(BrokerMessage::decode(message.encode()), Ok(message));
    }

    #[test]
    fn decoding_never_panics_and_what_it_reads_can_be_sent_on(frames in random_frames()) {
        if let Ok(request) = ClientRequest::decode(frames.clone(), made) {
            prop_assert_eq!(ClientRequest::decode(request.encode(), made), Ok(request));
        }
        if let Ok(message) = WorkerMessage::decode(frames.clone()) {
            prop_assert_eq!(WorkerMessage::decode(message.encode()), Ok(message));
        }
        let _ = ClientReply::decode(frames.clone());
        let _ = BrokerMessage::decode(frames);
    }
}

#[test]
fn a_worker_gets_the_producers_header_after_the_deliverys_fields() {
    let send = send(r#"{"type":"t", "queue":"q", "price":1.10, "n":12345678901234567890123}"#)
        .expect("a valid SEND");
    let delivery = Delivery {
        delivery: DeliveryId { generation: Generation(1), number: 2 },
        queue: send.queue,
        seq: Seq(3),
        attempt: 4,
        deadline_ms: 5,
        content: send.content.into(),
    };
    let frames = BrokerMessage::Deliver(delivery).encode();
    assert_eq!(
        std::str::from_utf8(&frames[2]).unwrap(),
        r#"{"delivery":"1.2","queue":"q","seq":3,"attempt":4,"deadline_ms":5,"type":"t","price":1.10,"n":12345678901234567890123,"id":"made"}"#
    );
}

#[test]
fn the_longest_header_that_is_accepted_can_be_delivered() {
    let queue = QueueName::new(&"q".repeat(MAX_QUEUE_NAME_BYTES)).unwrap();
    let filler = "x".repeat(MAX_HEADER_BYTES - r#"{"x":"","id":"made"}"#.len());
    let json = format!(r#"{{"queue":"{queue}","x":"{filler}"}}"#);
    let send = send(&json).expect("just short enough");
    assert_eq!(send.content.header.json().len(), MAX_HEADER_BYTES);
    let delivery = BrokerMessage::Deliver(Delivery {
        delivery: DeliveryId { generation: Generation(u64::MAX), number: u64::MAX },
        queue,
        seq: Seq(u64::MAX),
        attempt: u32::MAX,
        deadline_ms: u64::MAX,
        content: send.content.into(),
    });
    assert_eq!(BrokerMessage::decode(delivery.encode()), Ok(delivery));
    let longer = format!(r#"{{"queue":"q","x":"x{filler}"}}"#);
    assert_eq!(self::send(&longer).unwrap_err().code, RejectCode::TooLarge);
}

#[test]
fn the_answer_to_the_largest_sendmany_reads_back() {
    let one = Accepted {
        id: MessageId::new(&"i".repeat(256)).unwrap(),
        queue: QueueName::new("q").unwrap(),
        seq: Seq(1),
        duplicate: false,
    };
    let reply = ClientReply::AcceptedMany(vec![one; MAX_SENDMANY_MESSAGES]);
    assert_eq!(ClientReply::decode(reply.encode()), Ok(reply));
}

#[test]
fn refusals_of_envelopes_say_what_is_needed() {
    use RejectCode::{Malformed, Unsupported};
    for (parts, code, text) in [
        (&[][..], Malformed, "the message has no frames; MUB1 and a verb are needed"),
        (&[MAGIC], Malformed, "there is no frame after MUB1; a verb is needed"),
        (
            &[b"hello\x1b"],
            Malformed,
            r#"the first frame is "hello\u{1b}"; MUB1 is needed, then a verb"#,
        ),
        (
            &[b"MDPC02", b"\x01", b"q", b"x"],
            Unsupported,
            "this is Majordomo at the other door: its workers connect to the workers' address, its clients to the clients'",
        ),
        (
            &[MAGIC, b"FLY"],
            Unsupported,
            r#"the verb "FLY" is not known here; known: HELLO, SEND, SENDMANY, CALL, PUBLISH, GATHER, SUBSCRIBE, UNSUBSCRIBE, START, STATUS, PING"#,
        ),
        (
            &[MAGIC, b"GATHER"],
            Malformed,
            "GATHER needs 4 frames: MUB1, GATHER, header, payload; 2 came",
        ),
        (
            &[MAGIC, b"ACK", b"{}"],
            Unsupported,
            "this is a worker's verb; workers connect to the workers' address",
        ),
        (
            &[MAGIC, b"SEND", b"{}"],
            Malformed,
            "SEND needs 4 frames: MUB1, SEND, header, payload; 3 came",
        ),
        (&[MAGIC, b"STATUS"], Malformed, "STATUS needs 3 frames: MUB1, STATUS, header; 2 came"),
        (
            &[MAGIC, b"SENDMANY", b"{}"],
            Malformed,
            "SENDMANY needs MUB1, SENDMANY and then header, payload for each message, at least one; 3 frames came",
        ),
    ] {
        assert_eq!(refusal(parts), (code, text.to_owned()));
    }
}

#[test]
fn refusals_of_headers_name_field_line_and_column() {
    for (json, text) in [
        ("{\n oops}", "header is not JSON: key must be a string at line 2 column 2"),
        ("{}", "header field `queue`: is missing"),
        (r#"{"queue":5}"#, "header field `queue`: a string is needed"),
        (
            r#"{"queue":"a b"}"#,
            "header field `queue`: queue has ' ' at byte 1; allowed: letters, digits, '.', '_', '-', ':'",
        ),
        (
            r#"{"queue":"q","seq":1}"#,
            "header field `seq`: is the protocol's own; give it another name, or put it into `headers`",
        ),
    ] {
        let rejection = send(json).unwrap_err();
        assert_eq!((rejection.code, &*rejection.reason), (RejectCode::Malformed, text));
    }
    let rejection = send(r#"{"id":"m7","queue":"q","ttl_ms":0}"#).unwrap_err();
    assert_eq!(rejection.code, RejectCode::Malformed);
    assert_eq!(rejection.id, Some(MessageId::new("m7").unwrap()), "the client learns which one");
}

#[test]
fn a_sendmany_says_which_message_is_wrong() {
    let ok: &[u8] = br#"{"queue":"q"}"#;
    assert_eq!(
        refusal(&[MAGIC, b"SENDMANY", ok, b"1", br#"{"id":1}"#, b"2"]).1,
        "message 2 of 2: header field `id`: is a number; a string is needed"
    );
    let mut parts = vec![MAGIC, b"SENDMANY"];
    parts.extend(std::iter::repeat_n([ok, b""], MAX_SENDMANY_MESSAGES + 1).flatten());
    assert_eq!(refusal(&parts).0, RejectCode::TooLarge);
}

#[test]
fn calls_wait_within_their_bounds() {
    for (field, wait) in [
        ("", Some(30_000)),
        (r#","timeout_ms":1"#, Some(1)),
        (r#","timeout_ms":0"#, None),
        (r#","timeout_ms":86400001"#, None),
        (r#","timeout_ms":"1""#, None),
    ] {
        let json = format!(r#"{{"queue":"q"{field}}}"#);
        match request(&[MAGIC, b"CALL", json.as_bytes(), b""]) {
            Ok(ClientRequest::Call { timeout_ms, .. }) => assert_eq!(Some(timeout_ms), wait),
            other => assert!(wait.is_none(), "{field}: {other:?}"),
        }
    }
}

#[test]
fn too_long_payloads_are_refused() {
    let payload = vec![0; MAX_PAYLOAD_BYTES + 1];
    assert_eq!(refusal(&[MAGIC, b"SEND", br#"{"queue":"q"}"#, &payload]).0, RejectCode::TooLarge);
}

#[test]
fn ready_has_queues_and_a_bounded_credit() {
    let ready = |json: &str| WorkerMessage::decode(frames(&[MAGIC, b"READY", json.as_bytes()]));
    let error = |json: &str| ready(json).unwrap_err().reason;
    match ready(r#"{"queues":["a","b"],"worker":{"name":"w","pid":7,"x":1}}"#) {
        Ok(WorkerMessage::Ready { queues, credit: 1, info }) => {
            assert_eq!((queues.len(), &*info.name, info.pid), (2, "w", Some(7)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(error("{}"), "header field `queues`: from 1 to 1024 names are needed");
    assert!(error(r#"{"queues":["a/b"]}"#).starts_with("header field `queues`: queue has '/'"));
    for credit in ["0", "1025", "-1", "\"1\""] {
        let error = error(&format!(r#"{{"queues":["a"],"credit":{credit}}}"#));
        assert!(error.starts_with("header field `credit`: "), "{error}");
    }
}

#[test]
fn verbs_without_fields_take_a_missing_or_an_empty_header() {
    for rest in [&[][..], &[&b""[..]], &[&b"{}"[..]]] {
        let parts = [&[MAGIC, b"PING"][..], rest].concat();
        assert_eq!(request(&parts), Ok(ClientRequest::Ping));
        let parts = [&[MAGIC, b"HEARTBEAT"][..], rest].concat();
        assert_eq!(WorkerMessage::decode(frames(&parts)), Ok(WorkerMessage::Heartbeat));
    }
    assert_eq!(
        WorkerMessage::decode(frames(&[MAGIC, b"ACK", br#"{"delivery":"1.2"}"#])),
        Ok(WorkerMessage::Ack {
            delivery: DeliveryId { generation: Generation(1), number: 2 },
            reply: Bytes::new()
        })
    );
}
