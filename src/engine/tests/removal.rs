//! Queues made on the fly: how many, and how they go.

use serde_json::json;

use super::rig::{Delivered, Rig, content, delivered, deliveries, operator, queue};
use crate::engine::{CallSpec, Effect, EngineOptions, Event};
use crate::model::{
    Dedup, Finish, JournalKind, NackAction, OnError, OnFailure, Origin, QueueId, QueueSettings,
    QueueTemplate, RejectCode, RepairAction, RepairRefusal, Seq, Subscription, TopicName,
};

const IDLE_MS: u64 = 60_000;

fn template(prefix: &str, max_queues: u64) -> QueueTemplate {
    let delete_on_idle_ms = if prefix.is_empty() { 0 } else { IDLE_MS };
    let settings = QueueSettings { delete_on_idle_ms, ..QueueSettings::default() };
    QueueTemplate { prefix: prefix.to_owned(), settings: settings.into(), max_queues }
}

/// With queues on the fly; those of `t.` go when they are idle.
fn rig() -> Rig {
    let templates = vec![template("", 0), template("t.", 3)];
    let options = EngineOptions { templates, ..EngineOptions::default() };
    Rig::with_options(options, QueueSettings::default())
}

fn delete(rig: &mut Rig, name: &str, purge: bool, reason: &str) -> Vec<Effect> {
    let (actor, reason) = (operator("ann"), reason.to_owned());
    let event = Event::DeleteQueue { origin: Origin(9), actor, queue: queue(name), purge, reason };
    rig.run(event)
}

#[track_caller]
fn refused(effects: &[Effect]) -> String {
    match effects {
        [Effect::Refused { refusal: RepairRefusal::Invalid { reason }, .. }] => reason.clone(),
        other => panic!("one refusal expected: {other:?}"),
    }
}

fn is_there(rig: &Rig, name: &str) -> bool {
    rig.engine.queue_view(&queue(name)).is_some()
}

fn rejected(effects: &[Effect]) -> (RejectCode, String) {
    match effects {
        [Effect::Rejected { rejection, .. }] => (rejection.code, rejection.reason.clone()),
        other => panic!("one rejection expected: {other:?}"),
    }
}

fn work(rig: &mut Rig, worker: u64, name: &str) -> Delivered {
    delivered(&rig.ready(worker, &[name], 1))
}

#[test]
fn an_empty_queue_is_deleted_and_the_journal_says_by_whom() {
    let mut rig = rig();
    rig.send("a", "m1");
    let m1 = work(&mut rig, 1, "a");
    rig.ack(&m1);
    let done = delete(&mut rig, "a", false, "not needed");
    assert!(matches!(done.last(), Some(Effect::Done { .. })), "{done:?}");
    assert!(!is_there(&rig, "a"));
    let line = rig.store.journal.last().unwrap();
    assert_eq!((line.kind, line.actor.name.as_str()), (JournalKind::QueueDeleted, "ann"));
    assert_eq!(line.reason, "not needed");
    let again = delete(&mut rig, "a", false, "");
    assert!(matches!(
        &again[..],
        [Effect::Refused { refusal: RepairRefusal::NoSuchQueue { .. }, .. }]
    ));
    rig.restart();
    assert!(!is_there(&rig, "a"), "it doesn't come back");
    assert!(rig.store.queue_named("a").is_none());
}

#[test]
fn a_queue_with_messages_is_deleted_only_if_that_is_asked_for_and_why() {
    let mut rig = rig();
    rig.send_many(&[("a", "m1"), ("a", "m2")]);
    let why = refused(&delete(&mut rig, "a", false, "x"));
    assert!(why.contains("a has 2 messages") && why.contains("--purge"), "{why}");
    assert!(refused(&delete(&mut rig, "a", true, " ")).contains("needs a reason"));
    delete(&mut rig, "a", true, "a test");
    assert!(!is_there(&rig, "a"));
    assert_eq!(rig.store.journal.last().unwrap().reason, "with 2 messages: a test");
}

#[test]
fn what_somebody_uses_or_waits_for_is_not_deleted() {
    let mut rig = rig();
    let event = |name: &str, spec| Event::Send {
        origin: Origin(7),
        messages: vec![(queue(name), content("c", "c"))],
        call: spec,
    };
    rig.run(event("called", Some(CallSpec { timeout_ms: 1_000, parts: false })));
    assert!(refused(&delete(&mut rig, "called", true, "x")).contains("a caller waits"));

    rig.send("worked", "m");
    let m = work(&mut rig, 1, "worked");
    assert!(refused(&delete(&mut rig, "worked", true, "x")).contains("a worker has message"));
    rig.ack(&m);

    let topic = TopicName::new("t").unwrap();
    let subscription =
        Subscription { queue: queue("subscribed"), filter: None, on_error: OnError::Skip };
    let (origin, actor) = (Origin(1), operator("ann"));
    rig.run(Event::Subscribe { origin, actor, topic, subscription });
    assert!(refused(&delete(&mut rig, "subscribed", true, "x")).contains("topic t"));

    rig.send("failing", "m");
    let m = work(&mut rig, 2, "failing");
    rig.nack_with(&m, NackAction::DeadLetter, None);
    let why = refused(&delete(&mut rig, "failing", false, "x"));
    assert!(why.contains("1 dead letters of it are in failing.dead"), "{why}");
    delete(&mut rig, "failing.dead", true, "not needed");
    delete(&mut rig, "failing", false, "");
    assert!(!is_there(&rig, "failing") && !is_there(&rig, "failing.dead"));

    rig.send("q", "m");
    rig.hold("bob", 1, 60_000);
    let held = delete(&mut rig, "q", true, "x");
    let held = matches!(
        &held[..],
        [Effect::Refused { refusal: RepairRefusal::Held { by, .. }, .. }] if by.name == "bob"
    );
    assert!(held, "bob edits a message of it");
}

#[test]
fn a_queue_that_the_configuration_names_stays() {
    let configured = vec![(queue("q"), QueueSettings::default())];
    let options = EngineOptions { configured, ..EngineOptions::default() };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    assert!(refused(&delete(&mut rig, "q", false, "")).contains("[queues.\"q\"]"));
}

#[test]
fn a_queue_of_the_same_name_is_another_one() {
    let mut rig = rig();
    rig.send_many(&[("a", "m1"), ("a", "m2"), ("a", "m3")]);
    let m1 = work(&mut rig, 1, "a");
    let lease_ms = QueueSettings::default().lease_ms;
    // The lease is over; the worker still has the message, which blocks.
    rig.run(Event::WorkerHeard { worker: crate::model::WorkerId(1) });
    for _ in 0..lease_ms / 2_000 + 1 {
        rig.run(Event::WorkerHeard { worker: crate::model::WorkerId(1) });
        rig.pass(2_000);
    }
    assert_eq!(rig.view("a").blocked, 1);
    delete(&mut rig, "a", true, "broken");
    rig.restart();
    rig.send("a", "n1");
    let [one] = &rig.engine.queue_views(QueueId(1), 9).0[..] else { panic!("a alone") };
    assert_eq!((one.name.as_str(), one.depth, one.blocked), ("a", 1, 0));
    let n1 = work(&mut rig, 2, "a");
    assert_eq!((n1.seq, n1.payload.as_str()), (4, "n1"), "places of the former are not used again");
    let late = rig.ack(&Delivered { worker: 2, ..m1 });
    assert!(late.iter().any(|effect| matches!(effect, Effect::Stale { .. })), "{late:?}");
    assert_eq!(rig.view("a").depth, 1);
    rig.ack(&n1);
    assert_eq!(rig.store.queue_named("a").unwrap().finished, [(Seq(4), Finish::Done)]);
}

#[test]
fn what_was_set_for_a_deleted_queue_does_nothing_to_one_in_its_place() {
    let mut rig = rig();
    rig.send_with("a", "late", json!({ "delay_ms": 5_000 }));
    rig.send_with("a", "short", json!({ "ttl_ms": 5_000 }));
    rig.hold("ann", 1, 4_000);
    let retry = crate::model::Retry { attempts: 3, ..Default::default() };
    rig.put_queue("b", QueueSettings { retry, ..QueueSettings::default() });
    rig.send("b", "m");
    let m = work(&mut rig, 1, "b");
    rig.nack(&m);
    rig.gone(1);
    for name in ["a", "b"] {
        delete(&mut rig, name, true, "x");
    }
    // In their places.
    rig.send_many(&[("c", "c1"), ("d", "d1")]);
    for _ in 0..100 {
        rig.pass(1_000);
    }
    assert_eq!((rig.view("c").depth, rig.view("d").depth), (1, 1));
    let got = deliveries(&rig.ready(2, &["c", "d"], 9));
    assert_eq!(got.len(), 2);
    let changed = rig.engine.take_changed_queues();
    assert!(changed.contains(&queue("c")) && !changed.contains(&queue("a")), "{changed:?}");
}

#[test]
fn workers_of_a_deleted_queue_serve_it_once_it_is_made_again() {
    let mut rig = rig();
    rig.send("a", "m1");
    let m1 = work(&mut rig, 1, "a");
    rig.ack(&m1);
    delete(&mut rig, "a", false, "");
    assert_eq!(rig.engine.worker_views()[0].queues, [queue("a")]);
    let m2 = delivered(&rig.send("a", "m1"));
    assert_eq!((m2.seq, m2.worker), (2, 1), "and the ids that it knew went with it");
}

#[test]
fn a_queue_of_a_template_goes_once_it_has_been_idle() {
    let mut rig = rig();
    rig.send_many(&[("t.a", "m"), ("other", "m")]);
    for name in ["t.a", "other"] {
        let m = work(&mut rig, 1, name);
        rig.ack(&m);
    }
    rig.gone(1);
    rig.pass(IDLE_MS - 1);
    assert!(is_there(&rig, "t.a"));
    rig.pass(1);
    assert!(!is_there(&rig, "t.a") && is_there(&rig, "other"), "only where that is set");
    let line = rig.store.journal.last().unwrap();
    assert_eq!((line.kind, line.actor.name.as_str()), (JournalKind::QueueDeleted, "broker"));
    assert_eq!(line.reason, "idle for 60000 ms");
}

#[test]
fn a_queue_in_use_does_not_go_however_long_nothing_happens() {
    type Use = fn(&mut Rig);
    let uses: [(&str, Use); 9] = [
        ("a message waits", |rig| drop(rig.send("t.a", "m"))),
        ("a message waits for its time", |rig| {
            rig.send_with("t.a", "m", json!({ "delay_ms": 100 * IDLE_MS }));
        }),
        ("a worker serves it", |rig| {
            let m = delivered(&rig.ready(1, &["t.a"], 1));
            rig.ack(&m);
        }),
        ("it is paused", |rig| {
            let (origin, actor, name) = (Origin(9), operator("ann"), queue("t.a"));
            let reason = String::new();
            rig.run(Event::SetPaused { origin, actor, queue: name, paused: true, reason });
        }),
        ("it is drained", |rig| {
            let (origin, actor, reason) = (Origin(9), operator("ann"), String::new());
            rig.run(Event::Drain { origin, actor, queue: queue("t.a"), reason });
        }),
        ("it is subscribed", |rig| {
            let (origin, actor) = (Origin(1), operator("ann"));
            let topic = TopicName::new("t").unwrap();
            let subscription =
                Subscription { queue: queue("t.a"), filter: None, on_error: OnError::Skip };
            rig.run(Event::Subscribe { origin, actor, topic, subscription });
        }),
        ("an operator has set something", |rig| {
            let (origin, actor, name) = (Origin(9), operator("ann"), queue("t.a"));
            let changes = vec![crate::model::SettingChange {
                key: "lease_ms".into(),
                value: Some(json!(500)),
            }];
            let reason = String::new();
            rig.run(Event::SetQueue { origin, actor, queue: name, changes, reason });
        }),
        ("it has dead letters", |rig| {
            rig.send("t.a", "bad");
            let first = delivered(&rig.ready(3, &["t.a"], 1));
            rig.ack(&first);
            rig.gone(3);
        }),
        ("a cancelled message can be restored", |rig| drop(rig.send("t.a", "n"))),
    ];
    for (why, put_to_use) in uses {
        let mut rig = rig();
        rig.send("t.a", "first");
        if why == "a worker serves it" || why == "it has dead letters" {
            put_to_use(&mut rig);
        } else {
            let m = work(&mut rig, 2, "t.a");
            rig.ack(&m);
            rig.gone(2);
            put_to_use(&mut rig);
        }
        if why == "it has dead letters" {
            let m = work(&mut rig, 4, "t.a");
            rig.nack_with(&m, NackAction::DeadLetter, None);
            rig.gone(4);
        }
        for _ in 0..7 {
            for _ in 0..IDLE_MS / 2_000 {
                rig.run(Event::WorkerHeard { worker: crate::model::WorkerId(1) });
                rig.pass(2_000);
            }
        }
        assert!(is_there(&rig, "t.a"), "{why}");
    }
}

#[test]
fn a_queue_is_used_again_and_its_time_begins_anew() {
    let mut rig = rig();
    for n in 0..5 {
        rig.send("t.a", &n.to_string());
        let m = work(&mut rig, 1, "t.a");
        rig.ack(&m);
        rig.gone(1);
        rig.pass(IDLE_MS - 1_000);
        assert!(is_there(&rig, "t.a"), "{n}");
    }
    rig.restart();
    rig.pass(IDLE_MS - 1_000);
    assert!(is_there(&rig, "t.a"), "with a start too: who uses it may not be back yet");
    rig.pass(1_000);
    assert!(!is_there(&rig, "t.a"));
}

#[test]
fn a_repeated_message_is_known_as_long_as_its_window_says_though_the_queue_is_idle() {
    let dedup = Dedup::Time { window_ms: 3 * IDLE_MS, last: 100 };
    let settings = QueueSettings { dedup, delete_on_idle_ms: IDLE_MS, ..QueueSettings::default() };
    let templates =
        vec![QueueTemplate { prefix: "t.".into(), settings: settings.into(), max_queues: 0 }];
    let options = EngineOptions { templates, ..EngineOptions::default() };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    rig.send("t.a", "m");
    let m = work(&mut rig, 1, "t.a");
    rig.ack(&m);
    rig.gone(1);
    rig.pass(3 * IDLE_MS - 1);
    assert!(is_there(&rig, "t.a"));
    rig.pass(1);
    assert!(!is_there(&rig, "t.a"));
}

#[test]
fn many_idle_queues_go_a_few_at_a_time() {
    let settings = QueueSettings { delete_on_idle_ms: IDLE_MS, ..QueueSettings::default() };
    let templates =
        vec![QueueTemplate { prefix: "t.".into(), settings: settings.into(), max_queues: 0 }];
    let options = EngineOptions { templates, ..EngineOptions::default() };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    for n in 0..200 {
        rig.send(&format!("t.{n}"), "m");
        let m = work(&mut rig, 1, &format!("t.{n}"));
        rig.ack(&m);
        rig.gone(1);
    }
    rig.pass(IDLE_MS);
    let left = rig.engine.counts().queues;
    assert!((100..200).contains(&left), "{left}");
    for _ in 0..10 {
        rig.pass(100);
    }
    assert_eq!(rig.engine.counts().queues, 1);
}

#[test]
fn a_reply_whose_queue_has_gone_meanwhile_makes_it_again() {
    let mut rig = rig();
    rig.send_with("work", "r", json!({ "reply_to": "t.replies" }));
    assert!(is_there(&rig, "t.replies"), "made with the request");
    rig.pass(IDLE_MS);
    assert!(!is_there(&rig, "t.replies"));
    // Meanwhile the template makes no more.
    rig.send_many(&[("t.1", "m"), ("t.2", "m"), ("t.3", "m")]);
    let r = work(&mut rig, 1, "work");
    rig.ack(&r);
    assert_eq!(rig.view("t.replies").depth, 1);
    assert_eq!(rig.engine.counts().late_replies, 0);
}

#[test]
fn a_template_makes_as_many_queues_as_it_may_and_says_what_to_do_then() {
    let mut rig = rig();
    rig.send_many(&[("t.1", "m"), ("t.2", "m")]);
    let both = rejected(&rig.send_many(&[("t.3", "m"), ("t.4", "m")]));
    assert_eq!(both.0, RejectCode::Full, "all or none");
    assert!(!is_there(&rig, "t.3"));
    rig.send("t.3", "m");
    let (code, reason) = rejected(&rig.send("t.4", "m"));
    assert_eq!(code, RejectCode::Full);
    for part in ["no queue t.4", "[queues.\"t.*\"]", "no more than 3", "queue delete", "max_queues"]
    {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let (code, reason) = rejected(&rig.send_with("q", "r", json!({ "reply_to": "t.5" })));
    assert_eq!(code, RejectCode::Full);
    assert!(reason.starts_with("header field `reply_to`"), "{reason}");
    rig.send("t.1", "m2");
    rig.send("elsewhere", "m");
    rig.restart();
    assert_eq!(rejected(&rig.send("t.4", "m")).0, RejectCode::Full, "after a start too");
    delete(&mut rig, "t.2", true, "room");
    rig.send("t.4", "m");
    assert_eq!(rig.view("t.4").depth, 1);
}

#[test]
fn dead_letters_need_no_room_in_a_template() {
    let settings = QueueSettings { on_failure: OnFailure::DeadLetter, ..QueueSettings::default() };
    let templates =
        vec![QueueTemplate { prefix: "t.".into(), settings: settings.into(), max_queues: 1 }];
    let options = EngineOptions { templates, ..EngineOptions::default() };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    rig.send("t.a", "m");
    let m = work(&mut rig, 1, "t.a");
    rig.nack(&m);
    assert_eq!((rig.view("t.a").blocked, rig.view("t.a.dead").depth), (0, 1));
}

#[test]
fn a_list_made_of_pages_has_what_was_there_all_the_time_once() {
    let mut rig = rig();
    for n in 0..9 {
        rig.send(&format!("l{n}"), "m");
    }
    let mut names = Vec::new();
    let mut after = QueueId(0);
    loop {
        let (page, last) = rig.engine.queue_views(after, 3);
        if page.is_empty() {
            break;
        }
        names.extend(page.into_iter().map(|view| view.name.to_string()));
        after = last;
        if names.len() == 3 {
            delete(&mut rig, "l0", true, "x");
            delete(&mut rig, "l4", true, "x");
            rig.send("new", "m");
        }
    }
    assert_eq!(names, ["q", "l0", "l1", "l2", "l3", "l5", "l6", "l7", "l8", "new"]);
}

#[test]
fn what_a_deleted_queue_had_in_ram_is_free_again() {
    let options = EngineOptions {
        templates: vec![template("", 0)],
        total_window_bytes: 4_000,
        window_bytes: 4_000,
        ..EngineOptions::default()
    };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    for round in 0..50 {
        rig.ready(1, &["a"], 1);
        rig.send_many(&[("a", "m1"), ("a", "m2"), ("a", "m3")]);
        rig.gone(1);
        rig.repair("none", 1, 0, RepairAction::Retry);
        let done = delete(&mut rig, "a", true, "x");
        assert!(matches!(done.last(), Some(Effect::Done { .. })), "{round}: {done:?}");
    }
    assert_eq!(rig.engine.budget.room(), 4_000);
}
