//! What holds for all verbs of both sides.

#![expect(
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic, and matches for the one answer that it wants"
)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::limits::{
    MAX_CREDIT, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, MAX_QUEUE_NAME_BYTES, MAX_SENDMANY_MESSAGES,
};
use crate::model::{
    Accepted, CallReply, CallStatus, Content, DeliveryId, Filter, Generation, Header, MessageId,
    MessageState, NackAction, OnError, Published, QueueName, RejectCode, Rejection, Seq,
    StatusReport, Subscription, SubscriptionChange, TopicName, WorkError, WorkerInfo,
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

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,20}|[\"\\\\\u{1}\n a-z]{0,9}"
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from)
}

fn queue() -> impl Strategy<Value = QueueName> {
    "[a-zA-Z0-9._:-]{1,128}".prop_map(|name| QueueName::new(&name).unwrap())
}

fn id() -> impl Strategy<Value = MessageId> {
    "[^\\p{Cc}]{1,60}".prop_map(|id| MessageId::new(&id).unwrap())
}

fn delivery() -> impl Strategy<Value = DeliveryId> {
    any::<(u64, u64)>().prop_map(|(g, number)| DeliveryId { generation: Generation(g), number })
}

fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("1.10".to_owned()),
        Just("12345678901234567890123".to_owned()),
        Just("-0.0e+7".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        text().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|v| format!("[ {}]", v.join(" ,"))),
            inner.prop_map(|v| format!("{{\"b c\" :{v}, \"a\": 1 }}")),
        ]
    })
}

/// A header as producers write them: known and unknown fields, any order, white space.
fn header() -> impl Strategy<Value = Header> {
    let fields = prop::collection::vec(("x-[a-z \"é]{0,6}", value()), 0..6);
    (fields, id(), prop::option::of(text()), prop::option::of(1..u32::MAX), any::<bool>()).prop_map(
        |(fields, id, key, attempts, last)| {
            let quoted = |text: &str| serde_json::to_string(text).unwrap();
            let mut members: Vec<String> =
                fields.iter().map(|(name, value)| format!("{} : {value}", quoted(name))).collect();
            members.extend(key.map(|key| format!("\"key\":{}", quoted(&key))));
            members.extend(attempts.map(|n| format!("\"max_attempts\": {n}")));
            let at = if last { members.len() } else { 0 };
            members.insert(at, format!("\"id\":{}", quoted(id.as_str())));
            let json = format!("{{{}}}", members.join(", "));
            Header::from_wire(json.as_bytes(), [], || None).unwrap().0
        },
    )
}

fn content() -> impl Strategy<Value = Content> {
    (header(), payload()).prop_map(|(header, payload)| Content { header, payload })
}

fn send_request() -> impl Strategy<Value = SendRequest> {
    (queue(), content()).prop_map(|(queue, content)| SendRequest { queue, content })
}

fn work_error() -> impl Strategy<Value = WorkError> {
    (text(), text(), text()).prop_map(|(code, message, detail)| WorkError { code, message, detail })
}

fn rejection() -> impl Strategy<Value = Rejection> {
    (prop::option::of(id()), text(), prop::option::of(any::<u64>())).prop_map(
        |(id, reason, retry_after_ms)| Rejection {
            id,
            code: RejectCode::StoreUnavailable,
            reason,
            retry_after_ms,
        },
    )
}

fn accepted() -> impl Strategy<Value = Accepted> {
    (id(), queue(), any::<u64>(), any::<bool>()).prop_map(|(id, queue, seq, duplicate)| Accepted {
        id,
        queue,
        seq: Seq(seq),
        duplicate,
    })
}

fn topic() -> TopicName {
    TopicName::new("order.created").expect("a topic")
}

fn client_request() -> impl Strategy<Value = ClientRequest> {
    prop_oneof![
        (prop::option::of(text()), text(), text())
            .prop_map(|(token, client, version)| ClientRequest::Hello { token, client, version }),
        send_request().prop_map(ClientRequest::Send),
        prop::collection::vec(send_request(), 1..4).prop_map(ClientRequest::SendMany),
        (send_request(), 1..86_400_000_u64)
            .prop_map(|(send, timeout_ms)| ClientRequest::Call { send, timeout_ms }),
        (content(), any::<bool>()).prop_map(|(content, mandatory)| {
            let mut header = content.header.to_map();
            header.shift_remove("topic");
            header.insert("topic".to_owned(), "order.created".into());
            let header = Header::from_map(header, || content.id().clone()).expect("it was valid");
            let content = Content { header, payload: content.payload };
            ClientRequest::Publish { topic: topic(), content, mandatory }
        }),
        (queue(), any::<bool>()).prop_map(|(queue, has_filter)| {
            let filter = has_filter.then(|| Filter::new("body.total > 1").expect("a filter"));
            let subscription = Subscription { queue, filter, on_error: OnError::Reject };
            ClientRequest::Subscribe { topic: topic(), subscription }
        }),
        queue().prop_map(|queue| ClientRequest::Unsubscribe { topic: topic(), queue }),
        (id(), prop::option::of(queue()))
            .prop_map(|(id, queue)| ClientRequest::Status { id, queue }),
        Just(ClientRequest::Ping),
    ]
}

fn client_reply() -> impl Strategy<Value = ClientReply> {
    let status = (id(), queue(), any::<(u64, u32)>(), prop::option::of(work_error())).prop_map(
        |(id, queue, (seq, attempt), error)| StatusReport {
            id,
            state: MessageState::Waiting,
            queue,
            seq: Seq(seq),
            attempt,
            error,
        },
    );
    prop_oneof![
        (text(), text(), prop::collection::vec(text(), 0..3), any::<u64>()).prop_map(
            |(server, version, may, heartbeat_ms)| ClientReply::Welcome(Welcome {
                server,
                version,
                limits: Limits {
                    max_header_bytes: 1,
                    max_payload_bytes: 2,
                    max_message_bytes: 3,
                    max_sendmany: 4,
                    heartbeat_ms,
                },
                may,
            })
        ),
        accepted().prop_map(ClientReply::Accepted),
        prop::collection::vec(accepted(), 0..4).prop_map(ClientReply::AcceptedMany),
        (id(), any::<(u64, bool)>()).prop_map(|(id, (queues, duplicate))| {
            ClientReply::Published(Published { id, topic: topic(), queues, duplicate })
        }),
        (queue(), any::<bool>()).prop_map(|(queue, changed)| {
            ClientReply::Subscribed(SubscriptionChange { topic: topic(), queue, changed })
        }),
        queue().prop_map(|queue| {
            let change = SubscriptionChange { topic: topic(), queue, changed: true };
            ClientReply::Unsubscribed(change)
        }),
        (id(), prop::option::of(work_error()), payload()).prop_map(|(id, error, payload)| {
            ClientReply::Reply(CallReply { id, status: CallStatus::Failed, error, payload })
        }),
        status.prop_map(ClientReply::Status),
        Just(ClientReply::Pong),
        rejection().prop_map(ClientReply::Rejected),
    ]
}

fn worker_message() -> impl Strategy<Value = WorkerMessage> {
    let info = (text(), prop::option::of(any::<u32>()), prop::option::of(any::<u64>())).prop_map(
        |(name, pid, max_execution_ms)| WorkerInfo {
            host: Some(name.clone()),
            name,
            pid,
            max_execution_ms,
            ..WorkerInfo::default()
        },
    );
    prop_oneof![
        (prop::collection::vec(queue(), 1..4), 1..=MAX_CREDIT, info)
            .prop_map(|(queues, credit, info)| WorkerMessage::Ready { queues, credit, info }),
        (delivery(), payload())
            .prop_map(|(delivery, reply)| WorkerMessage::Ack { delivery, reply }),
        (delivery(), work_error(), prop::option::of(any::<u64>())).prop_map(
            |(delivery, error, delay_ms)| WorkerMessage::Nack {
                delivery,
                error,
                action: NackAction::DeadLetter,
                delay_ms,
            }
        ),
        (delivery(), prop::option::of(any::<u64>()), text()).prop_map(
            |(delivery, extend_ms, note)| WorkerMessage::Progress { delivery, extend_ms, note }
        ),
        (text(), text(), prop::option::of(delivery())).prop_map(|(kind, message, delivery)| {
            WorkerMessage::Alert { kind, message, delivery }
        }),
        Just(WorkerMessage::Heartbeat),
        Just(WorkerMessage::Bye),
    ]
}

fn broker_message() -> impl Strategy<Value = BrokerMessage> {
    prop_oneof![
        (delivery(), queue(), any::<(u64, u32, u64)>(), content()).prop_map(
            |(delivery, queue, (seq, attempt, deadline_ms), content)| BrokerMessage::Deliver(
                Delivery { delivery, queue, seq: Seq(seq), attempt, deadline_ms, content }
            )
        ),
        delivery().prop_map(|delivery| BrokerMessage::Stale { delivery }),
        Just(BrokerMessage::Heartbeat),
        text().prop_map(|reason| BrokerMessage::Bye { reason }),
        rejection().prop_map(BrokerMessage::Rejected),
    ]
}

/// Frames near the protocol: real verbs, headers that are nearly right.
fn random_frames() -> impl Strategy<Value = Vec<Bytes>> {
    let verb = prop::sample::select(vec![
        "HELLO",
        "SEND",
        "SENDMANY",
        "CALL",
        "STATUS",
        "PING",
        "PUBLISH",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "SUBSCRIBED",
        "UNSUBSCRIBED",
        "READY",
        "ACK",
        "NACK",
        "PROGRESS",
        "ALERT",
        "HEARTBEAT",
        "BYE",
        "DELIVER",
        "STALE",
        "REJECTED",
        "ACCEPTED",
        "REPLY",
        "WELCOME",
        "PONG",
        "PARTIAL",
        "",
        "MUB1",
    ]);
    let name = prop::sample::select(vec![
        "queue",
        "id",
        "delivery",
        "credit",
        "queues",
        "worker",
        "error",
        "action",
        "timeout_ms",
        "seq",
        "status",
        "accepted",
        "headers",
        "code",
    ]);
    let field = (name, value()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    let object = prop::collection::vec(field, 0..4).prop_map(|f| format!("{{{}}}", f.join(",")));
    let frame = prop_oneof![object.prop_map(Bytes::from), payload()];
    let rest = prop::collection::vec(frame, 0..5);
    let near = (verb, rest).prop_map(|(verb, rest)| {
        [vec![Bytes::from_static(MAGIC), Bytes::from_static(verb.as_bytes())], rest].concat()
    });
    prop_oneof![near, prop::collection::vec(payload(), 0..5)]
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
        content: send.content,
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
        content: send.content,
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
            "the Majordomo protocols are not spoken by this version; begin with MUB1",
        ),
        (
            &[MAGIC, b"FLY"],
            Unsupported,
            r#"the verb "FLY" is not known here; known: HELLO, SEND, SENDMANY, CALL, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, STATUS, PING"#,
        ),
        (&[MAGIC, b"GATHER"], Unsupported, "GATHER is not in this version of the broker"),
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
    let rejection = send(r#"{"id":"m7","queue":"q","ttl_ms":1}"#).unwrap_err();
    assert_eq!(rejection.code, RejectCode::Unsupported);
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
