//! Frames of the RFCs, both ways.

use bytes::Bytes;

use super::{Asked, Asks, Says, Version};
use crate::model::limits::MAX_CALL_TIMEOUT_MS;
use crate::model::{
    Accepted, CallPart, CallReply, CallStatus, Content, DeliveryId, Generation, Header, MessageId,
    MessageState, QueueName, RejectCode, Rejection, Seq, StatusReport,
};
use crate::wire::{BrokerMessage, ClientReply, ClientRequest, Delivery, WorkerMessage};

fn frames(of: &[&[u8]]) -> Vec<Bytes> {
    of.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()
}

fn id() -> MessageId {
    MessageId::new("0190-made").unwrap()
}

fn asked(of: &[&[u8]]) -> (Asked, Asks) {
    Asked::decode(frames(of), id).unwrap()
}

fn ok(payload: &'static [u8]) -> ClientReply {
    let payload = Bytes::from_static(payload);
    ClientReply::Reply(CallReply { id: id(), status: CallStatus::Ok, error: None, payload })
}

fn status(state: MessageState) -> ClientReply {
    let (queue, seq) = (QueueName::new("echo").unwrap(), Seq(1));
    ClientReply::Status(StatusReport { id: id(), state, queue, seq, attempt: 0, error: None })
}

fn rejected(code: RejectCode) -> ClientReply {
    ClientReply::Rejected(Rejection::new(code, "because"))
}

#[test]
fn a_request_is_a_call_and_its_reply_comes_as_its_version_says() {
    for (request, parts, reply) in [
        (&[&b"MDPC01"[..], b"echo", b"x"][..], false, &[&b"MDPC01"[..], b"echo", b"y"][..]),
        (&[b"MDPC02", b"\x01", b"echo", b"x"], true, &[b"MDPC02", b"\x03", b"echo", b"y"]),
    ] {
        let (asked, asks) = asked(request);
        let Asks::Request(ClientRequest::Call { send, timeout_ms, parts: wanted }) = asks else {
            panic!("{asks:?}");
        };
        assert_eq!((send.queue.as_str(), &send.content.payload[..]), ("echo", &b"x"[..]));
        assert_eq!((timeout_ms, wanted), (MAX_CALL_TIMEOUT_MS, parts));
        assert_eq!(asked.encode(&ok(b"y")), Some(frames(reply)));
        assert_eq!(asked.encode(&rejected(RejectCode::Full)), None, "there is no word for it");
    }
}

#[test]
fn a_partial_reply_has_a_command_of_its_own() {
    let (asked, _) = asked(&[b"MDPC02", b"\x01", b"echo", b"x"]);
    let payload = Bytes::from_static(b"some");
    let part = ClientReply::Part(CallPart { id: id(), attempt: 1, part: 1, payload });
    assert_eq!(asked.encode(&part), Some(frames(&[b"MDPC02", b"\x02", b"echo", b"some"])));
}

#[test]
fn what_is_no_request_is_refused_with_what_is_wrong() {
    for (of, what) in [
        (&[&b"MDPC01"[..]][..], "the service is missing"),
        (&[b"MDPC01", b"echo"], "the body is missing"),
        (&[b"MDPC01", b"a b", b"x"], "the service:"),
        (&[b"MDPC01", b"\xff", b"x"], "the service:"),
        (&[b"MDPC02", b"\x03", b"echo", b"x"], "a client's only command"),
        (&[b"MDPC03", b"echo", b"x"], "the tag is neither"),
    ] {
        let refused = Asked::decode(frames(of), id).unwrap_err();
        assert!(refused.reason.starts_with(what), "{refused:?}");
    }
}

#[test]
fn mmi_says_what_is_served_and_what_is_not_there() {
    let (about, asks) = asked(&[b"MDPC01", b"mmi.service", b"echo"]);
    assert_eq!(asks, Asks::Served(QueueName::new("echo").unwrap()));
    assert_eq!(about.served(true), frames(&[b"MDPC01", b"mmi.service", b"200"]));
    assert_eq!(about.served(false), frames(&[b"MDPC01", b"mmi.service", b"404"]));
    assert_eq!(asked(&[b"MDPC01", b"mmi.service", b"a b"]).1, Asks::Code("404"));
    let (about, asks) = asked(&[b"MDPC02", b"\x01", b"mmi.load", b"echo"]);
    assert_eq!(asks, Asks::Code("501"));
    assert_eq!(about.code("501"), frames(&[b"MDPC02", b"\x03", b"mmi.load", b"501"]));
}

#[test]
fn titanic_gives_a_ticket_and_the_reply_for_it() {
    let (about, asks) = asked(&[b"MDPC01", b"titanic.request", b"echo", b"x", b"y"]);
    let Asks::Request(ClientRequest::Send(send)) = asks else { panic!("{asks:?}") };
    assert!(send.content.header.keeps_reply());
    let (queue, seq) = (send.queue, Seq(1));
    let accepted = ClientReply::Accepted(Accepted { id: id(), queue, seq, duplicate: false });
    let answer = |code: &'static [u8]| Some(frames(&[b"MDPC01", b"titanic.request", code]));
    let ticket = frames(&[b"MDPC01", b"titanic.request", b"200", b"0190-made"]);
    assert_eq!(about.encode(&accepted), Some(ticket));
    assert_eq!(about.encode(&rejected(RejectCode::Full)), answer(b"500"));

    let (about, asks) = asked(&[b"MDPC01", b"titanic.reply", b"0190-made"]);
    let wanted = ClientRequest::Status { id: id(), queue: None, reply: true };
    assert_eq!(asks, Asks::Request(wanted));
    let answer = |code: &'static [u8]| Some(frames(&[b"MDPC01", b"titanic.reply", code]));
    assert_eq!(about.encode(&status(MessageState::Leased)), answer(b"300"));
    assert_eq!(about.encode(&status(MessageState::Done)), answer(b"400"));
    assert_eq!(about.encode(&rejected(RejectCode::Unroutable)), answer(b"400"));
    assert_eq!(about.encode(&rejected(RejectCode::StoreUnavailable)), answer(b"500"));
    let (ClientReply::Status(report), ClientReply::Reply(reply)) =
        (status(MessageState::Done), ok(b"z"))
    else {
        unreachable!("they are made so")
    };
    let told = about.encode(&ClientReply::StatusReply { report, reply });
    assert_eq!(told, Some(frames(&[b"MDPC01", b"titanic.reply", b"200", b"z"])));
    let ticket = b"0190f5a2c0de7000800000000000000a";
    let (about, asks) = asked(&[b"MDPC01", b"titanic.close", ticket]);
    assert_eq!(asks, Asks::Close(MessageId::new(std::str::from_utf8(ticket).unwrap()).unwrap()));
    assert_eq!(about.closed(true), frames(&[b"MDPC01", b"titanic.close", b"200"]));
    assert_eq!(about.closed(false), frames(&[b"MDPC01", b"titanic.close", b"500"]));
    assert_eq!(asked(&[b"MDPC01", b"titanic.close", b"another-id"]).1, Asks::Code("200"));
    assert_eq!(asked(&[b"MDPC01", b"titanic.close"]).1, Asks::Code("400"));
    assert_eq!(asked(&[b"MDPC01", b"titanic.reply"]).1, Asks::Code("400"));
}

#[test]
fn a_workers_commands_are_those_of_its_version() {
    let said = |of: &[&[u8]]| Version::decode_worker(frames(of)).unwrap();
    let delivery = DeliveryId { generation: Generation(1), number: 10 };
    let reply = Bytes::from_static(b"y");
    let ack = Says::Message(WorkerMessage::Ack { delivery, reply: reply.clone() });
    assert_eq!(said(&[b"MDPW01", b"\x03", b"1.a", b"", b"y"]), (Version::V1, ack.clone()));
    assert_eq!(said(&[b"MDPW02", b"\x04", b"1.a", b"", b"y"]), (Version::V2, ack));
    let partial = Says::Message(WorkerMessage::Partial { delivery, payload: reply });
    assert_eq!(said(&[b"MDPW02", b"\x03", b"1.a", b"", b"y"]), (Version::V2, partial));
    let heartbeat = Says::Message(WorkerMessage::Heartbeat);
    assert_eq!(said(&[b"MDPW01", b"\x04"]), (Version::V1, heartbeat.clone()));
    assert_eq!(said(&[b"MDPW02", b"\x05"]), (Version::V2, heartbeat));
    assert_eq!(said(&[b"MDPW01", b"\x05"]), (Version::V1, Says::Disconnect));
    assert_eq!(said(&[b"MDPW02", b"\x06"]), (Version::V2, Says::Disconnect));
    let (_, ready) = said(&[b"MDPW01", b"\x01", b"echo"]);
    let Says::Message(WorkerMessage::Ready { queues, credit: 1, .. }) = ready else {
        panic!("{ready:?}");
    };
    assert_eq!(queues, [QueueName::new("echo").unwrap()]);
    for bad in
        [&[&b"MDPW01"[..], b"\x06"][..], &[b"MDPW02", b"\x01"], &[b"MDPW01", b"\x03", b"1.a", b"y"]]
    {
        assert!(Version::decode_worker(frames(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn a_worker_is_told_in_its_version() {
    let content = Content {
        header: Header::from_json(br#"{"id": "m"}"#).unwrap(),
        payload: Bytes::from_static(b"x"),
    };
    let deliver = BrokerMessage::Deliver(Delivery {
        delivery: DeliveryId { generation: Generation(1), number: 10 },
        queue: QueueName::new("echo").unwrap(),
        seq: Seq(1),
        attempt: 1,
        deadline_ms: 1,
        content: content.into(),
    });
    let bye = BrokerMessage::Bye { reason: "because".to_owned() };
    for (version, tag, heartbeat, disconnect) in
        [(Version::V1, b"MDPW01", b"\x04", b"\x05"), (Version::V2, b"MDPW02", b"\x05", b"\x06")]
    {
        let request = frames(&[tag, b"\x02", b"1.a", b"", b"x"]);
        assert_eq!(version.encode(&deliver), Some(request));
        let command = |command: &[u8; 1]| Some(frames(&[tag, command]));
        assert_eq!(version.encode(&BrokerMessage::Heartbeat), command(heartbeat));
        assert_eq!(version.encode(&bye), command(disconnect));
    }
}
