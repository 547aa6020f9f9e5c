//! Whatever may be said on the wire, for property tests.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::*;
use crate::model::limits::MAX_CREDIT;
use crate::model::{
    Accepted, Aggregate, CallPart, CallReply, CallStatus, Completion, Content, DeliveryId, Filter,
    GatherAccepted, GatherName, GatherReply, GatherRequest, GatherStatus, Generation, Header,
    Hidden, MessageId, MessageState, MissingPart, NackAction, OnError, Published, QueueName,
    RejectCode, Rejection, SagaName, Seq, StatusReport, Subscription, SubscriptionChange,
    TopicName, WorkError, WorkerInfo,
};

pub(super) fn text() -> impl Strategy<Value = String> {
    "\\PC{0,20}|[\"\\\\\u{1}\n a-z]{0,9}"
}

pub(super) fn payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from)
}

pub(super) fn queue() -> impl Strategy<Value = QueueName> {
    "[a-zA-Z0-9._:-]{1,128}".prop_map(|name| QueueName::new(&name).unwrap())
}

pub(super) fn id() -> impl Strategy<Value = MessageId> {
    "[^\\p{Cc}]{1,60}".prop_map(|id| MessageId::new(&id).unwrap())
}

pub(super) fn delivery() -> impl Strategy<Value = DeliveryId> {
    any::<(u64, u64)>().prop_map(|(g, number)| DeliveryId { generation: Generation(g), number })
}

pub(super) fn value() -> impl Strategy<Value = String> {
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
pub(super) fn header() -> impl Strategy<Value = Header> {
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

pub(super) fn content() -> impl Strategy<Value = Content> {
    (header(), payload()).prop_map(|(header, payload)| Content { header, payload })
}

pub(super) fn send_request() -> impl Strategy<Value = SendRequest> {
    (queue(), content()).prop_map(|(queue, content)| SendRequest { queue, content })
}

pub(super) fn work_error() -> impl Strategy<Value = WorkError> {
    (text(), text(), text()).prop_map(|(code, message, detail)| WorkError { code, message, detail })
}

pub(super) fn rejection() -> impl Strategy<Value = Rejection> {
    (prop::option::of(id()), text(), prop::option::of(any::<u64>())).prop_map(
        |(id, reason, retry_after_ms)| Rejection {
            id,
            code: RejectCode::StoreUnavailable,
            reason,
            retry_after_ms,
        },
    )
}

pub(super) fn accepted() -> impl Strategy<Value = Accepted> {
    (id(), queue(), any::<u64>(), any::<bool>()).prop_map(|(id, queue, seq, duplicate)| Accepted {
        id,
        queue,
        seq: Seq(seq),
        duplicate,
    })
}

pub(super) fn topic() -> TopicName {
    TopicName::new("order.created").expect("a topic")
}

pub(super) fn client_request() -> impl Strategy<Value = ClientRequest> {
    prop_oneof![
        (prop::option::of(text()), text(), text()).prop_map(|(token, client, version)| {
            ClientRequest::Hello { token: token.map(Hidden), client, version }
        }),
        send_request().prop_map(ClientRequest::Send),
        prop::collection::vec(send_request(), 1..4).prop_map(ClientRequest::SendMany),
        (send_request(), 1..86_400_000_u64, any::<bool>())
            .prop_map(|(send, timeout_ms, parts)| ClientRequest::Call { send, timeout_ms, parts }),
        (content(), any::<bool>()).prop_map(|(content, mandatory)| {
            let mut header = content.header.to_map();
            header.shift_remove("topic");
            header.insert("topic".to_owned(), "order.created".into());
            let header = Header::from_map(header, || content.id().clone()).expect("it was valid");
            let content = Content { header, payload: content.payload };
            ClientRequest::Publish { topic: topic(), content, mandatory }
        }),
        (content(), prop::option::of(queue()), any::<(bool, u32)>()).prop_map(
            |(content, recipient, (is_object, count))| {
                let mut header = content.header.to_map();
                header.shift_remove("gather");
                header.insert("gather".to_owned(), "quotes".into());
                let header =
                    Header::from_map(header, || content.id().clone()).expect("it was valid");
                let content = Content { header, payload: content.payload };
                let complete =
                    Completion::count(i128::from(count % 200).max(1)).expect("in bounds");
                ClientRequest::Gather(Box::new(GatherRequest {
                    recipients: recipient.map(|queue| vec![queue]),
                    complete: is_object.then_some(complete),
                    timeout_ms: (!is_object).then_some(1_000),
                    aggregate: is_object.then_some(Aggregate::Object),
                    ..GatherRequest::named(GatherName::new("quotes").expect("valid"), content)
                }))
            }
        ),
        (queue(), any::<bool>()).prop_map(|(queue, has_filter)| {
            let filter = has_filter.then(|| Filter::new("body.total > 1").expect("a filter"));
            let subscription = Subscription { queue, filter, on_error: OnError::Reject };
            ClientRequest::Subscribe { topic: topic(), subscription }
        }),
        content().prop_map(|input| {
            let mut header = input.header.to_map();
            header.shift_remove("saga");
            let header = Header::from_map(header, || input.id().clone()).expect("it was valid");
            let input = Content { header, payload: input.payload };
            ClientRequest::Start { saga: SagaName::new("trip").expect("a saga"), input }
        }),
        queue().prop_map(|queue| ClientRequest::Unsubscribe { topic: topic(), queue }),
        (id(), prop::option::of(queue()), any::<bool>())
            .prop_map(|(id, queue, reply)| ClientRequest::Status { id, queue, reply }),
        Just(ClientRequest::Ping),
    ]
}

pub(super) fn client_reply() -> impl Strategy<Value = ClientReply> {
    let status = || {
        (id(), queue(), any::<(u64, u32)>(), prop::option::of(work_error())).prop_map(
            |(id, queue, (seq, attempt), error)| StatusReport {
                id,
                state: MessageState::Waiting,
                queue,
                seq: Seq(seq),
                attempt,
                error,
            },
        )
    };
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
        (id(), prop::collection::vec((queue(), payload()), 0..3), text()).prop_map(
            |(id, parts, text)| {
                let (parts, payloads): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                let missing = parts.iter().take(1).map(|queue| MissingPart {
                    queue: queue.clone(),
                    seq: Seq(3),
                    code: "no-reply".to_owned(),
                    message: text.clone(),
                });
                let missing = missing.collect();
                let (status, condition_error) = (GatherStatus::Partial, Some(text.clone()));
                ClientReply::Gathered(Box::new(GatherReply {
                    id,
                    status,
                    parts,
                    missing,
                    condition_error,
                    payloads,
                }))
            }
        ),
        (id(), any::<(u64, bool)>()).prop_map(|(id, (recipients, duplicate))| {
            ClientReply::GatherAccepted(GatherAccepted { id, recipients, duplicate })
        }),
        (id(), any::<(u32, u32)>(), payload()).prop_map(|(id, (attempt, part), payload)| {
            ClientReply::Part(CallPart { id, attempt, part, payload })
        }),
        (status(), prop::option::of(work_error()), payload()).prop_map(
            |(report, error, payload)| {
                let id = report.id.clone();
                let reply = CallReply { id, status: CallStatus::Ok, error, payload };
                ClientReply::StatusReply { report: StatusReport { error: None, ..report }, reply }
            }
        ),
        status().prop_map(ClientReply::Status),
        Just(ClientReply::Pong),
        rejection().prop_map(ClientReply::Rejected),
    ]
}

pub(super) fn worker_message() -> impl Strategy<Value = WorkerMessage> {
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
        (prop::option::of(text()), text(), text()).prop_map(|(token, client, version)| {
            WorkerMessage::Hello { token: token.map(Hidden), client, version }
        }),
        (prop::collection::vec(queue(), 1..4), 1..=MAX_CREDIT, info)
            .prop_map(|(queues, credit, info)| WorkerMessage::Ready { queues, credit, info }),
        (delivery(), payload())
            .prop_map(|(delivery, reply)| WorkerMessage::Ack { delivery, reply }),
        (delivery(), payload())
            .prop_map(|(delivery, payload)| WorkerMessage::Partial { delivery, payload }),
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

pub(super) fn broker_message() -> impl Strategy<Value = BrokerMessage> {
    prop_oneof![
        (delivery(), queue(), any::<(u64, u32, u64)>(), content()).prop_map(
            |(delivery, queue, (seq, attempt, deadline_ms), content)| BrokerMessage::Deliver(
                Delivery {
                    delivery,
                    queue,
                    seq: Seq(seq),
                    attempt,
                    deadline_ms,
                    content: content.into()
                }
            )
        ),
        delivery().prop_map(|delivery| BrokerMessage::Stale { delivery }),
        Just(BrokerMessage::Heartbeat),
        text().prop_map(|reason| BrokerMessage::Bye { reason }),
        text().prop_map(|reason| BrokerMessage::Pause { reason }),
        text().prop_map(|reason| BrokerMessage::Resume { reason }),
        text().prop_map(|reason| BrokerMessage::Drain { reason }),
        text().prop_map(|reason| BrokerMessage::Restart { reason }),
        rejection().prop_map(BrokerMessage::Rejected),
    ]
}

/// Frames near the protocol: real verbs, headers that are nearly right.
pub(super) fn random_frames() -> impl Strategy<Value = Vec<Bytes>> {
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
        "GATHER",
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
        "recipients",
        "complete",
        "parts",
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
