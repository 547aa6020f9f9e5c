//! Callers that wait.

use super::rig::{Rig, delivered, queue};
use crate::engine::{CallSpec, Effect, Event};
use crate::model::{
    CallReply, CallStatus, Content, Dedup, Header, MailboxKind, MessageId, NackAction, Origin,
    QueueSettings, RejectCode, RepairAction, Seq, WorkError, WorkerId, limits,
};

fn ends(effects: &[Effect]) -> Vec<(u64, CallStatus, String)> {
    let mut ends = Vec::new();
    for effect in effects {
        if let Effect::CallEnded { origin, reply } = effect {
            let CallReply { status, error, payload, .. } = CallReply::clone(reply);
            let text = error.map_or_else(
                || String::from_utf8_lossy(&payload).into_owned(),
                |WorkError { code, .. }| code,
            );
            ends.push((origin.0, status, text));
        }
    }
    ends
}

fn end(origin: u64, status: CallStatus, text: &str) -> Vec<(u64, CallStatus, String)> {
    vec![(origin, status, text.to_owned())]
}

#[test]
fn a_caller_gets_the_workers_reply() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    assert_eq!(ends(&rig.ack(&a)), end(7, CallStatus::Ok, "reply"));
    assert!(ends(&rig.pass(5_000)).is_empty());
}

#[test]
fn a_duplicate_call_waits_for_the_same_message() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    assert!(rig.call(8, "a", 1_000).is_empty());
    let told = ends(&rig.ack(&a));
    assert_eq!(told.len(), 2);
}

#[test]
fn a_call_that_takes_too_long_times_out_and_its_reply_is_counted() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    assert_eq!(ends(&rig.pass(1_000)), end(7, CallStatus::Timeout, "timeout"));
    assert_eq!(rig.view("q").depth, 1, "the message stays");
    assert!(ends(&rig.ack(&a)).is_empty());
    assert_eq!(rig.engine.counts().late_replies, 1);
}

#[test]
fn a_caller_that_went_away_is_forgotten() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    rig.run(Event::OriginGone { origin: Origin(7) });
    assert!(ends(&rig.ack(&a)).is_empty());
    assert_eq!(rig.engine.counts().late_replies, 1);
}

#[test]
fn a_call_ends_when_its_message_blocks() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    assert_eq!(ends(&rig.nack(&a)), end(7, CallStatus::Blocked, "exit-1"));
    assert_eq!(ends(&rig.call(8, "a", 1_000)), end(8, CallStatus::Blocked, "exit-1"));
}

#[test]
fn a_call_fails_when_its_message_is_cancelled() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.call(7, "a", 1_000);
    let told = ends(&rig.repair("k", 1, 0, RepairAction::Cancel));
    assert_eq!(told, end(7, CallStatus::Failed, "cancelled"));
}

#[test]
fn callers_are_told_when_the_broker_stops() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.call(7, "a", 1_000);
    match rig.run(Event::Shutdown).as_slice() {
        [Effect::Rejected { origin: Origin(7), rejection }] => {
            assert_eq!(rejection.code, RejectCode::Draining);
        }
        other => panic!("{other:?}"),
    }
}

/// As `Rig::send`, with a header of these fields.
fn send_with(rig: &mut Rig, id: &str, fields: &[(&str, &str)]) -> Vec<Effect> {
    let fields = fields.iter().map(|&(name, value)| (name.to_owned(), value.into()));
    let content = Content { header: header(id, fields), payload: id.to_owned().into() };
    let messages = vec![(queue("q"), content)];
    rig.run(Event::Send { origin: Origin(1), messages, call: None })
}

fn header(id: &str, fields: impl Iterator<Item = (String, serde_json::Value)>) -> Header {
    let id = ("id".to_owned(), id.into());
    Header::from_map(std::iter::once(id).chain(fields).collect(), || unreachable!()).unwrap()
}

/// The headers and payloads of what waits in a queue.
fn waiting(rig: &Rig, name: &str) -> Vec<(serde_json::Map<String, serde_json::Value>, String)> {
    let Some(kept) = rig.store.queue_named(name) else { return Vec::new() };
    let contents = kept.messages.values().map(|message| message.newest());
    let text = |content: &Content| String::from_utf8_lossy(&content.payload).into_owned();
    contents.map(|content| (content.header.to_map(), text(content))).collect()
}

fn rig_with_replies() -> Rig {
    let mut rig = Rig::new(QueueSettings::default());
    rig.put_queue("replies", QueueSettings::default());
    rig.ready(1, &["q"], 1);
    rig
}

#[test]
fn the_reply_to_a_message_with_reply_to_is_queued_there_in_the_same_commit() {
    let mut rig = rig_with_replies();
    let a = delivered(&send_with(&mut rig, "a", &[("reply_to", "replies"), ("key", "k")]));
    assert!(waiting(&rig, "replies").is_empty());
    let mut out = crate::engine::Effects::default();
    let reply = bytes::Bytes::from_static(b"reply");
    let ack = Event::Ack { worker: WorkerId(1), delivery: a.delivery, reply };
    rig.engine.handle(rig.now, ack, &mut out);
    let kinds: Vec<_> = out.ops.iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 2, "the end and the reply: {:?}", out.ops);
    rig.store.commit(out.ops);
    let [(header, payload)] = waiting(&rig, "replies").try_into().unwrap();
    assert_eq!(payload, "reply");
    let text = |name: &str| header[name].as_str().unwrap();
    assert_eq!((text("id"), text("status"), text("key")), ("q-1-reply", "ok", "k"));
    assert_eq!((text("correlation_id"), text("causation_id")), ("a", "a"));
}

#[test]
fn a_failure_is_replied_with_its_error_and_the_requests_correlation_id() {
    let mut rig = rig_with_replies();
    let fields = [("reply_to", "replies"), ("correlation_id", "c-7")];
    let a = delivered(&send_with(&mut rig, "a", &fields));
    rig.nack(&a);
    assert!(waiting(&rig, "replies").is_empty(), "blocked is no end");
    rig.repair("k", 1, 0, RepairAction::Cancel);
    let b = delivered(&send_with(&mut rig, "b", &fields));
    rig.nack_with(&b, NackAction::DeadLetter, None);
    let replies = waiting(&rig, "replies");
    let told = |(header, payload): &(serde_json::Map<String, serde_json::Value>, String)| {
        let error = header["error"]["code"].as_str().unwrap().to_owned();
        let text = |name: &str| header[name].as_str().unwrap().to_owned();
        (text("id"), text("status"), error, text("correlation_id"), payload.clone())
    };
    let expected = |id: &str, code: &str| {
        let [id, status, code, correlation] = [id, "failed", code, "c-7"].map(str::to_owned);
        (id, status, code, correlation, String::new())
    };
    let expected = [expected("q-1-cancelled-4", "cancelled"), expected("q-2-failure", "rejected")];
    assert_eq!(replies.iter().map(told).collect::<Vec<_>>(), expected);
    rig.ready(1, &["q.dead"], 1);
    assert_eq!(rig.view("q.dead").leased, 1);
    assert_eq!(waiting(&rig, "replies").len(), 2);
}

#[test]
fn each_time_that_a_message_is_cancelled_is_replied_under_an_id_of_its_own() {
    let mut rig = rig_with_replies();
    rig.pause(true);
    send_with(&mut rig, "a", &[("reply_to", "replies")]);
    for round in 0..3 {
        rig.repair(&format!("cancel-{round}"), 1, 0, RepairAction::Cancel);
        rig.repair(&format!("cancel-{round}"), 1, 0, RepairAction::Cancel);
        rig.repair(&format!("restore-{round}"), 1, 0, RepairAction::Restore);
    }
    let dead = rig.repair("dead", 1, 0, RepairAction::DeadLetter);
    assert!(!dead.iter().any(|effect| matches!(effect, Effect::Refused { .. })), "{dead:?}");
    let replies = waiting(&rig, "replies");
    let ids: std::collections::BTreeSet<_> =
        replies.iter().map(|(header, _)| header["id"].to_string()).collect();
    assert_eq!((replies.len(), ids.len()), (4, 4), "{ids:?}");
}

#[test]
fn a_reply_queue_that_is_not_there_or_is_full_is_refused_with_the_field() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.put_queue("full", QueueSettings { max_messages: 1, ..QueueSettings::default() });
    rig.send("full", "x");
    let refused = |rig: &mut Rig, target: &str| {
        let effects = send_with(rig, "a", &[("reply_to", target)]);
        match effects.as_slice() {
            [Effect::Rejected { rejection, .. }] => {
                assert!(rejection.reason.starts_with("header field `reply_to`: "), "{rejection:?}");
                rejection.code
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&mut rig, "nowhere"), RejectCode::NoSuchQueue);
    assert_eq!(refused(&mut rig, "no queue"), RejectCode::Malformed);
    assert_eq!(refused(&mut rig, "full"), RejectCode::Full);
    assert_eq!(rig.view("q").depth, 0);
}

/// As `Rig::call`, with a `reply_to`.
fn call_with_reply_to(rig: &mut Rig, id: &str) -> Vec<Effect> {
    let fields = [("reply_to".to_owned(), "replies".into())];
    let content = Content { header: header(id, fields.into_iter()), payload: Default::default() };
    let messages = vec![(queue("q"), content)];
    let call = Some(CallSpec { timeout_ms: 1_000, parts: false });
    rig.run(Event::Send { origin: Origin(7), messages, call })
}

#[test]
fn a_caller_that_waits_gets_its_reply_and_a_late_one_is_queued() {
    let mut rig = rig_with_replies();
    let a = delivered(&call_with_reply_to(&mut rig, "a"));
    assert_eq!(ends(&rig.ack(&a)), end(7, CallStatus::Ok, "reply"));
    assert!(waiting(&rig, "replies").is_empty());
    let b = delivered(&call_with_reply_to(&mut rig, "b"));
    rig.pass(1_000);
    rig.ack(&b);
    assert_eq!(waiting(&rig, "replies").len(), 1);
    assert_eq!(rig.engine.counts().late_replies, 1);
    call_with_reply_to(&mut rig, "c");
    rig.restart();
    let c = delivered(&rig.ready(1, &["q"], 1));
    rig.ack(&c);
    assert_eq!(waiting(&rig, "replies").len(), 2, "its caller is not known after a restart");
}

#[test]
fn a_reply_is_kept_for_a_caller_that_comes_back_even_after_a_restart() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    rig.run(Event::OriginGone { origin: Origin(7) });
    rig.ack(&a);
    assert_eq!(ends(&rig.call(8, "a", 1_000)), end(8, CallStatus::Ok, "reply"));
    rig.restart();
    assert_eq!(ends(&rig.call(9, "a", 1_000)), end(9, CallStatus::Ok, "reply"));
    let status = Event::Status { origin: Origin(3), id: a_id(), queue: Some(queue("q")) };
    match rig.run(status.clone()).as_slice() {
        [Effect::Status { reply: Some(reply), .. }] => assert_eq!(reply.payload, "reply"),
        other => panic!("{other:?}"),
    }
    rig.pass(limits::KEPT_REPLY_MS);
    assert_eq!(ends(&rig.call(9, "a", 1_000)), end(9, CallStatus::Failed, "already-done"));
    assert!(rig.store.processes.is_empty(), "{:?}", rig.store.processes);
    let told = rig.run(status);
    assert!(matches!(told.as_slice(), [Effect::Status { reply: None, .. }]), "{told:?}");
}

fn a_id() -> MessageId {
    MessageId::new("a").unwrap()
}

#[test]
fn what_was_called_before_a_restart_and_done_after_it_is_kept_too() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.call(7, "a", 60_000);
    rig.pass(1_000);
    rig.restart();
    let a = delivered(&rig.ready(1, &["q"], 1));
    rig.ack(&a);
    assert_eq!(ends(&rig.call(8, "a", 1_000)), end(8, CallStatus::Ok, "reply"));
}

#[test]
fn what_nobody_called_for_is_not_kept() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    rig.pass(1_000);
    let a = delivered(&rig.send("q", "a"));
    rig.ack(&a);
    assert!(rig.store.processes.is_empty());
}

#[test]
fn a_reply_that_nobody_wants_any_more_is_forgotten_also_if_it_is_still_to_come() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let forget = |rig: &mut Rig, seq| {
        let effects =
            rig.run(Event::ForgetReply { origin: Origin(9), queue: queue("q"), seq: Seq(seq) });
        assert!(matches!(effects.as_slice(), [Effect::Done { origin: Origin(9) }]), "{effects:?}");
    };
    let a = delivered(&rig.call(7, "a", 1_000));
    rig.ack(&a);
    assert_eq!(rig.store.processes.len(), 1);
    forget(&mut rig, 1);
    forget(&mut rig, 1);
    assert!(rig.store.processes.is_empty());
    let b = delivered(&rig.call(7, "b", 1_000));
    forget(&mut rig, 2);
    assert_eq!(ends(&rig.ack(&b)), end(7, CallStatus::Ok, "reply"), "who waits is told");
    assert!(rig.store.processes.is_empty());
    let c = delivered(&rig.call(7, "c", 1_000));
    rig.ack(&c);
    assert_eq!(rig.store.processes.len(), 1, "others' are kept");
}

#[test]
fn kept_replies_have_a_bound_and_the_oldest_go() {
    let settings = QueueSettings { dedup: Dedup::Count { last: 100 }, ..QueueSettings::default() };
    let mut rig = Rig::new(settings);
    rig.ready(1, &["q"], 1);
    let large = bytes::Bytes::from(vec![b'x'; limits::MAX_KEPT_REPLY_BYTES]);
    let count = limits::MAX_KEPT_REPLIES_BYTES / limits::MAX_KEPT_REPLY_BYTES as u64;
    for n in 0..=count {
        let one = delivered(&rig.call(7, &n.to_string(), 1_000));
        let (worker, delivery) = (WorkerId(1), one.delivery);
        rig.run(Event::Ack { worker, delivery, reply: large.clone() });
    }
    assert_eq!(rig.store.processes.len() as u64, count);
    assert_eq!(ends(&rig.call(7, "0", 1_000)), end(7, CallStatus::Failed, "already-done"));
    assert_eq!(ends(&rig.call(7, "1", 1_000))[0].1, CallStatus::Ok);
}

#[test]
fn a_memory_queues_replies_are_kept_in_ram_only() {
    let settings = QueueSettings { mailbox: MailboxKind::Memory, ..QueueSettings::default() };
    let mut rig = Rig::new(settings);
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    rig.ack(&a);
    assert!(rig.store.processes.is_empty());
    assert_eq!(ends(&rig.call(8, "a", 1_000)), end(8, CallStatus::Ok, "reply"));
}

#[test]
fn parts_go_to_callers_that_wait_with_their_numbers() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    let partial = |rig: &mut Rig, delivery| {
        let payload = bytes::Bytes::from_static(b"part");
        rig.run(Event::Partial { worker: WorkerId(1), delivery, payload })
    };
    for number in 1..=2 {
        match partial(&mut rig, a.delivery).as_slice() {
            [Effect::CallPart { origin: Origin(7), part }] => {
                assert_eq!((part.attempt, part.part, &part.payload[..]), (1, number, &b"part"[..]));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ends(&rig.ack(&a)), end(7, CallStatus::Ok, "reply"));
    let late = partial(&mut rig, a.delivery);
    assert!(late.iter().any(|effect| matches!(effect, Effect::Stale { .. })), "{late:?}");
    let b = delivered(&rig.send("q", "b"));
    assert!(partial(&mut rig, b.delivery).is_empty(), "nobody wants it");
    for _ in 1..limits::MAX_REPLY_PARTS {
        partial(&mut rig, b.delivery);
    }
    let told = partial(&mut rig, b.delivery);
    assert!(matches!(told.as_slice(), [Effect::WorkerRejected { .. }]), "{told:?}");
}
