//! One message to several queues, their replies as one answer (design.md rule 11).

use bytes::Bytes;

use super::rig::{Delivered, Rig, content, deliveries, queue};
use crate::engine::{Effect, EngineOptions, Event};
use crate::model::{
    AckMode, Aggregate, Completion, ConfiguredGather, Content, Filter, GatherName, GatherReply,
    GatherRequest, GatherSettings, GatherStatus, Header, NackAction, OnError, Origin,
    QueueSettings, QueueTemplate, Recipients, RejectCode, Rejection, RepairAction, Subscription,
    TopicName, WorkerId, limits,
};

/// Queues are made on the fly; gather `g` asks `a`, `b` and `c`.
pub(super) fn rig(complete: Completion, aggregate: Aggregate) -> Rig {
    with_recipients(
        Recipients::Fixed(["a", "b", "c"].map(|name| recipient(name, "")).into()),
        complete,
        aggregate,
    )
}

fn with_recipients(recipients: Recipients, complete: Completion, aggregate: Aggregate) -> Rig {
    let settings = GatherSettings { recipients, complete, timeout_ms: 1_000, aggregate };
    let gathers = vec![ConfiguredGather { name: name(), settings }];
    let templates =
        vec![QueueTemplate { prefix: String::new(), settings: Default::default(), max_queues: 0 }];
    let options = EngineOptions { gathers, templates, ..EngineOptions::default() };
    Rig::with_options(options, QueueSettings::default())
}

pub(super) fn name() -> GatherName {
    GatherName::new("g").unwrap()
}

fn recipient(name: &str, filter: &str) -> Subscription {
    let filter = (!filter.is_empty()).then(|| Filter::new(filter).unwrap());
    Subscription { queue: queue(name), filter, on_error: OnError::Reject }
}

fn message(id: &str, fields: serde_json::Value) -> Content {
    let serde_json::Value::Object(mut map) = fields else { panic!("an object") };
    map.insert("id".to_owned(), id.into());
    let header = Header::from_map(map, || unreachable!()).unwrap();
    Content { header, payload: Bytes::from_static(b"{\"n\": 7}") }
}

fn ask(rig: &mut Rig, origin: u64, request: GatherRequest) -> Vec<Effect> {
    rig.run(Event::Gather { origin: Origin(origin), request: Box::new(request) })
}

pub(super) fn gather(rig: &mut Rig, id: &str) -> Vec<Effect> {
    ask(rig, 7, GatherRequest::named(name(), content(id, "{}")))
}

/// A worker for each queue; what each got.
pub(super) fn take(rig: &mut Rig) -> Vec<Delivered> {
    let names = ["a", "b", "c"];
    let mut got = Vec::new();
    for (worker, name) in (1..).zip(names) {
        got.extend(deliveries(&rig.ready(worker, &[name], 1)));
    }
    got
}

pub(super) fn reply(rig: &mut Rig, of: &Delivered, text: &str) -> Vec<Effect> {
    let (worker, delivery) = (WorkerId(of.worker), of.delivery);
    rig.run(Event::Ack { worker, delivery, reply: Bytes::copy_from_slice(text.as_bytes()) })
}

fn answers(effects: &[Effect]) -> Vec<(u64, GatherReply)> {
    let answer = |effect: &Effect| match effect {
        Effect::Gathered { origin, reply } => Some((origin.0, GatherReply::clone(reply))),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

#[track_caller]
pub(super) fn answer(effects: &[Effect]) -> GatherReply {
    match answers(effects).as_slice() {
        [(7, reply)] => reply.clone(),
        other => panic!("{other:?} in {effects:?}"),
    }
}

pub(super) fn missing(reply: &GatherReply) -> Vec<(&str, &str)> {
    reply.missing.iter().map(|one| (one.queue.as_str(), one.code.as_str())).collect()
}

fn names(reply: &GatherReply) -> Vec<&str> {
    reply.parts.iter().map(|queue| queue.as_str()).collect()
}

#[track_caller]
fn refusal(effects: &[Effect]) -> Rejection {
    match effects {
        [Effect::Rejected { rejection, .. }] => rejection.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_replies_are_one_complete_answer_in_the_order_of_the_recipients() {
    let mut rig = rig(Completion::All, Aggregate::List);
    assert!(answers(&gather(&mut rig, "m")).is_empty());
    let got = take(&mut rig);
    assert!(got.iter().all(|one| one.payload == "{}"), "{got:?}");
    assert!(answers(&reply(&mut rig, &got[2], "C")).is_empty());
    assert!(answers(&reply(&mut rig, &got[0], "A")).is_empty());
    let all = answer(&reply(&mut rig, &got[1], "B"));
    assert_eq!((all.status, names(&all)), (GatherStatus::Complete, vec!["a", "b", "c"]));
    assert_eq!(all.payloads, ["A", "B", "C"]);
    assert!(all.missing.is_empty());
}

#[test]
fn enough_replies_are_a_quorum_and_a_late_one_is_counted() {
    let mut rig = rig(Completion::Count(2), Aggregate::List);
    gather(&mut rig, "m");
    let got = take(&mut rig);
    reply(&mut rig, &got[0], "A");
    let enough = answer(&reply(&mut rig, &got[2], "C"));
    assert_eq!((enough.status, names(&enough)), (GatherStatus::Quorum, vec!["a", "c"]));
    assert_eq!(missing(&enough), [("b", "no-reply")]);
    assert!(answers(&reply(&mut rig, &got[1], "B")).is_empty());
    assert_eq!(rig.engine.counts().late_parts, 1);
    assert_eq!(rig.engine.counts().gathers, 0);
}

#[test]
fn at_its_deadline_the_answer_is_partial_and_says_who_is_missing_and_why() {
    let mut rig = rig(Completion::All, Aggregate::List);
    gather(&mut rig, "m");
    let got = take(&mut rig);
    reply(&mut rig, &got[0], "A");
    rig.nack(&got[1]);
    assert!(answers(&rig.pass(999)).is_empty());
    let part = answer(&rig.pass(1));
    assert_eq!((part.status, names(&part)), (GatherStatus::Partial, vec!["a"]));
    assert_eq!(missing(&part), [("b", "blocked"), ("c", "no-reply")]);
}

#[test]
fn a_recipient_that_failed_is_missing_and_nothing_more_is_waited_for() {
    let mut rig = rig(Completion::All, Aggregate::List);
    gather(&mut rig, "m");
    let got = take(&mut rig);
    rig.nack_with(&got[1], NackAction::DeadLetter, None);
    reply(&mut rig, &got[0], "A");
    let part = answer(&reply(&mut rig, &got[2], "C"));
    assert_eq!(part.status, GatherStatus::Partial);
    assert_eq!(missing(&part), [("b", "rejected")]);
}

#[test]
fn a_blocked_recipient_that_is_repaired_in_time_counts() {
    let mut rig = rig(Completion::All, Aggregate::List);
    rig.ready(1, &["q"], 1);
    let request = GatherRequest::over(vec![queue("q")], content("m", "{}"));
    let got = super::rig::delivered(&ask(&mut rig, 7, request));
    assert!(answers(&rig.nack(&got)).is_empty());
    let again = super::rig::delivered(&rig.repair("k", 1, 0, RepairAction::Retry));
    let all = answer(&reply(&mut rig, &again, "late, but here"));
    assert_eq!(
        (all.status, all.payloads[0].clone()),
        (GatherStatus::Complete, "late, but here".into())
    );
}

#[test]
fn a_condition_over_the_parts_ends_it() {
    let condition = Completion::text("parts.exists(p, p.body.price < 100)").unwrap();
    let mut rig = rig(condition, Aggregate::List);
    gather(&mut rig, "m");
    let got = take(&mut rig);
    assert!(answers(&reply(&mut rig, &got[0], "{\"price\": 120}")).is_empty());
    let enough = answer(&reply(&mut rig, &got[1], "{\"price\": 99.5}"));
    assert_eq!((enough.status, names(&enough)), (GatherStatus::Quorum, vec!["a", "b"]));
    assert_eq!(enough.condition_error, None);
}

#[test]
fn a_condition_that_fails_is_told_with_the_partial_answer() {
    let condition = Completion::text("parts.exists(p, p.body.price < 100)").unwrap();
    let mut rig = rig(condition, Aggregate::List);
    gather(&mut rig, "m");
    let got = take(&mut rig);
    reply(&mut rig, &got[0], "no JSON");
    let part = answer(&rig.pass(1_000));
    assert_eq!(part.status, GatherStatus::Partial);
    assert!(part.condition_error.is_some(), "{part:?}");
}

#[test]
fn objects_are_merged_digit_by_digit_and_what_is_none_is_missing() {
    let mut rig = rig(Completion::All, Aggregate::Object);
    gather(&mut rig, "m");
    let got = take(&mut rig);
    reply(&mut rig, &got[1], "{\"x\": 2, \"b\": 12345678901234567890123}");
    reply(&mut rig, &got[0], "{\"a\": 1.10, \"x\": 1}");
    let all = answer(&reply(&mut rig, &got[2], "[1]"));
    assert_eq!(all.payloads, ["{\"a\":1.10,\"x\":2,\"b\":12345678901234567890123}"]);
    assert_eq!((all.status, names(&all)), (GatherStatus::Partial, vec!["a", "b"]));
    assert_eq!(missing(&all), [("c", "not-an-object")]);
}

#[test]
fn a_reply_that_cannot_be_merged_does_not_count_for_a_quorum() {
    let mut rig = rig(Completion::Count(2), Aggregate::Object);
    gather(&mut rig, "m");
    let got = take(&mut rig);
    reply(&mut rig, &got[0], "no JSON");
    reply(&mut rig, &got[1], "{\"b\": 2}");
    let enough = answer(&reply(&mut rig, &got[2], "{\"c\": 3}"));
    assert_eq!((enough.status, names(&enough)), (GatherStatus::Quorum, vec!["b", "c"]));
    assert_eq!(missing(&enough), [("a", "not-an-object")]);
}

#[test]
fn a_gather_goes_on_after_a_restart_and_its_caller_asks_again() {
    let mut rig = rig(Completion::All, Aggregate::List);
    gather(&mut rig, "m");
    let got = take(&mut rig);
    reply(&mut rig, &got[0], "A");
    rig.nack_with(&got[1], NackAction::DeadLetter, None);
    rig.restart();
    assert!(answers(&gather(&mut rig, "m")).is_empty(), "it waits on");
    assert_eq!(rig.engine.counts().gathers, 1);
    let again = deliveries(&rig.ready(3, &["c"], 1));
    assert_eq!(again.len(), 1, "nobody is asked twice");
    let part = answer(&reply(&mut rig, &again[0], "C"));
    assert_eq!(
        (part.status, part.payloads.clone()),
        (GatherStatus::Partial, vec!["A".into(), "C".into()])
    );
    assert_eq!(missing(&part), [("b", "rejected")]);
    rig.restart();
    assert_eq!(answer(&gather(&mut rig, "m")), part, "and it is kept");
    rig.pass(limits::KEPT_REPLY_MS);
    assert!(rig.store.processes.is_empty());
}

#[test]
fn a_deadline_that_passes_while_the_broker_is_away_ends_it_at_the_start() {
    let mut rig = rig(Completion::All, Aggregate::List);
    let request =
        GatherRequest::named(name(), message("m", serde_json::json!({"reply_to": "answers"})));
    ask(&mut rig, 7, request);
    rig.now = rig.now.plus_ms(60_000);
    rig.restart();
    rig.pass(0);
    let kept = &rig.store.queue_named("answers").expect("the answer").messages;
    let header = kept.values().next().unwrap().newest().header.to_map();
    assert_eq!(header["status"], "partial");
    assert_eq!(header["missing"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_reply_that_a_crash_has_lost_is_missing_and_not_waited_for() {
    let mut rig = rig(Completion::All, Aggregate::List);
    let at_most_once = QueueSettings { ack: AckMode::OnDelivery, ..QueueSettings::default() };
    rig.put_queue("once", at_most_once);
    ask(&mut rig, 7, GatherRequest::over(vec![queue("once")], content("m", "{}")));
    assert_eq!(deliveries(&rig.ready(1, &["once"], 1)).len(), 1);
    rig.restart();
    assert_eq!(rig.engine.next_timeout(), Some(rig.now), "nothing else may happen for long");
    rig.pass(0);
    let request = GatherRequest::over(vec![queue("once")], content("m", "{}"));
    let part = answer(&ask(&mut rig, 7, request));
    assert_eq!(part.status, GatherStatus::Partial);
    assert_eq!(missing(&part), [("once", "already-done")]);
}

#[test]
fn with_reply_to_it_is_accepted_and_the_answer_comes_into_that_queue() {
    let mut rig = rig(Completion::Count(2), Aggregate::List);
    let fields = serde_json::json!({"reply_to": "answers", "correlation_id": "c"});
    let request = GatherRequest::named(name(), message("m", fields));
    match ask(&mut rig, 7, request.clone()).as_slice() {
        [.., Effect::GatherAccepted { accepted, .. }]
        | [Effect::GatherAccepted { accepted, .. }, ..] => {
            assert_eq!((accepted.recipients, accepted.duplicate), (3, false));
        }
        other => panic!("{other:?}"),
    }
    let got = take(&mut rig);
    reply(&mut rig, &got[0], "{\"n\": 1.10}");
    assert!(answers(&reply(&mut rig, &got[1], "plain")).is_empty());
    let kept: Vec<_> = rig.store.queue_named("answers").unwrap().messages.values().collect();
    assert_eq!(kept.len(), 1, "no reply of a recipient comes there");
    let newest = kept[0].newest();
    let header = newest.header.to_map();
    assert_eq!(
        (header["status"].as_str(), header["correlation_id"].as_str()),
        (Some("quorum"), Some("c"))
    );
    let payload = String::from_utf8(newest.payload.to_vec()).unwrap();
    assert!(
        payload
            .starts_with("[{\"queue\":\"a\",\"json\":{\"n\": 1.10}},{\"queue\":\"b\",\"payload\":"),
        "{payload}"
    );
    let again = ask(&mut rig, 8, request);
    assert!(
        matches!(again.as_slice(), [Effect::GatherAccepted { accepted, .. }] if accepted.duplicate),
        "{again:?}"
    );
}

#[test]
fn filters_choose_who_is_asked() {
    let recipients = vec![
        recipient("a", ""),
        recipient("b", "header.headers.country == 'FR'"),
        recipient("c", "body.n > 100"),
    ];
    let mut rig = with_recipients(Recipients::Fixed(recipients), Completion::All, Aggregate::List);
    let french = message("m", serde_json::json!({"headers": {"country": "FR"}}));
    ask(&mut rig, 7, GatherRequest::named(name(), french));
    let got = take(&mut rig);
    assert_eq!(got.iter().map(|one| one.queue.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let nameless = refusal(&ask(
        &mut rig,
        7,
        GatherRequest::named(name(), message("n", serde_json::json!({}))),
    ));
    assert_eq!(nameless.code, RejectCode::Unroutable);
    assert!(nameless.reason.contains("recipient b"), "{nameless:?}");
}

#[test]
fn a_topics_subscribers_may_be_asked() {
    let topic = TopicName::new("t").unwrap();
    let mut rig =
        with_recipients(Recipients::Topic(topic.clone()), Completion::All, Aggregate::List);
    let nobody = refusal(&gather(&mut rig, "m"));
    assert_eq!(nobody.code, RejectCode::Unroutable);
    for (name, filter) in [("a", ""), ("b", "body.n == 8"), ("c", "body.n == 7")] {
        let (actor, subscription) = (super::rig::operator("ann"), recipient(name, filter));
        rig.run(Event::Subscribe { origin: Origin(1), actor, topic: topic.clone(), subscription });
    }
    ask(&mut rig, 7, GatherRequest::named(name(), message("m", serde_json::json!({}))));
    let got = take(&mut rig);
    assert_eq!(got.iter().map(|one| one.queue.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn what_cannot_be_gathered_is_refused_with_what_and_where() {
    let mut rig = rig(Completion::All, Aggregate::List);
    let unknown = GatherName::new("unknown").unwrap();
    let refused = refusal(&ask(&mut rig, 7, GatherRequest::named(unknown, content("m", ""))));
    assert!(refused.reason.contains("no gather unknown"), "{refused:?}");
    let mut nobody = GatherRequest::named(name(), content("m", ""));
    nobody.gather = None;
    assert_eq!(refusal(&ask(&mut rig, 7, nobody)).code, RejectCode::Malformed);
    let mut many = GatherRequest::over(vec![queue("a"), queue("b")], content("m", ""));
    many.complete = Some(Completion::Count(3));
    let refused = refusal(&ask(&mut rig, 7, many));
    assert!(refused.reason.contains("3 replies, and 2 recipients"), "{refused:?}");
    let mut strict = Rig::new(QueueSettings::default());
    let request = GatherRequest::over(vec![queue("q"), queue("nowhere")], content("m", ""));
    let refused = refusal(&ask(&mut strict, 7, request));
    assert_eq!(refused.code, RejectCode::NoSuchQueue);
    assert_eq!(strict.view("q").depth, 0, "all or none");
    assert!(strict.store.processes.is_empty() && rig.store.processes.is_empty());
}

#[test]
fn callers_who_ask_for_the_same_wait_together_and_who_goes_is_forgotten() {
    let mut rig = rig(Completion::Count(1), Aggregate::List);
    gather(&mut rig, "m");
    let request = GatherRequest::named(name(), content("m", "{}"));
    ask(&mut rig, 8, request.clone());
    ask(&mut rig, 9, request);
    rig.run(Event::OriginGone { origin: Origin(8) });
    let got = take(&mut rig);
    let told = answers(&reply(&mut rig, &got[0], "A"));
    assert_eq!(told.iter().map(|(origin, _)| *origin).collect::<Vec<_>>(), [7, 9]);
}

#[test]
fn callers_are_told_that_the_broker_stops() {
    let mut rig = rig(Completion::All, Aggregate::List);
    gather(&mut rig, "m");
    assert_eq!(refusal(&rig.run(Event::Shutdown)).code, RejectCode::Draining);
}

#[test]
fn parts_have_a_bound_together() {
    let mut rig = rig(Completion::All, Aggregate::List);
    gather(&mut rig, "m");
    let got = take(&mut rig);
    reply(&mut rig, &got[0], &"x".repeat(limits::MAX_GATHER_BYTES));
    reply(&mut rig, &got[1], "B");
    let part = answer(&reply(&mut rig, &got[2], ""));
    assert_eq!((part.status, names(&part)), (GatherStatus::Partial, vec!["a", "c"]));
    assert_eq!(missing(&part), [("b", "too-large")]);
}
