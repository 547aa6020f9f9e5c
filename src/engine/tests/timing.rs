//! Rules 5 and 8 of design.md 4 where there is an order, and `on_failure = "drop"`.

use serde_json::{Value, json};

use super::rig::{Rig, START, delivered, deliveries, queue};
use crate::engine::{Effect, Event};
use crate::model::{
    CallStatus, Finish, JournalKind, MessageState, OnFailure, Ordering, Origin, QueueSettings,
    RepairAction, RepairOutcome, Retry, SettingChange, Timestamp,
};

fn retrying(attempts: u32) -> QueueSettings {
    let retry = Retry { attempts, initial_ms: 100, jitter: 0.0, ..Retry::default() };
    QueueSettings { retry, ..QueueSettings::default() }
}

/// Ids and reasons in `q.dead`.
pub(super) fn dead(rig: &Rig) -> Vec<(String, Value)> {
    let kept = rig.store.queue_named("q.dead");
    let messages = kept.into_iter().flat_map(|kept| kept.messages.values());
    messages
        .map(|message| {
            let header = &message.newest().header;
            (header.id().to_string(), header.to_map()["dead_letter"].clone())
        })
        .collect()
}

pub(super) fn dead_ids(rig: &Rig) -> Vec<String> {
    dead(rig).into_iter().map(|(id, _)| id).collect()
}

/// Repaired, whatever came of it.
#[track_caller]
pub(super) fn repaired(effects: &[Effect]) -> RepairOutcome {
    let outcome = effects.iter().find_map(|effect| match effect {
        Effect::Repaired { outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    *outcome.unwrap_or_else(|| panic!("{effects:?}"))
}

#[test]
fn a_delayed_head_holds_its_queue_until_it_is_due() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    assert_eq!(deliveries(&rig.send_with("q", "late", json!({"delay_ms": 500}))), []);
    assert_eq!(deliveries(&rig.send("q", "next")), []);
    let view = rig.view("q");
    let head = view.head.expect("a head");
    assert_eq!((view.scheduled, head.state), (1, MessageState::Scheduled));
    assert_eq!(head.due, Some(START.plus_ms(500)));
    assert_eq!(deliveries(&rig.pass(499)), []);
    let first = delivered(&rig.pass(1));
    assert_eq!(first.payload, "late");
    assert_eq!(delivered(&rig.ack(&first)).payload, "next");
}

#[test]
fn a_time_is_kept_over_a_restart_and_without_a_record() {
    let mut rig = Rig::new(QueueSettings::default());
    let at = START.plus_ms(5_000).to_string();
    rig.send_with("q", "late", json!({"deliver_at": at}));
    rig.restart();
    rig.ready(1, &["q"], 1);
    let kept = rig.store.queue_named("q").expect("there");
    assert!(kept.messages.values().all(|message| message.record.is_none()));
    for _ in 0..4 {
        assert_eq!(deliveries(&rig.pass(1_249)), []);
        rig.run(Event::WorkerHeard { worker: crate::model::WorkerId(1) });
    }
    assert_eq!(delivered(&rig.pass(4)).payload, "late");
}

#[test]
fn an_operator_sends_a_scheduled_message_on_at_once() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    rig.send_with("q", "late", json!({"delay_ms": 60_000}));
    assert_eq!(delivered(&rig.repair("k", 1, 0, RepairAction::Retry)).payload, "late");
}

#[test]
fn a_head_expires_without_any_worker_and_those_behind_it_as_they_come_to_its_place() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send_with("q", "a", json!({"ttl_ms": 100}));
    rig.send_with("q", "b", json!({"ttl_ms": 50}));
    rig.send("q", "c");
    rig.send_with("q", "d", json!({"ttl_ms": 50}));
    rig.pass(99);
    assert_eq!(dead(&rig), [], "b has no turn yet");
    rig.pass(1);
    assert_eq!(dead_ids(&rig), ["a", "b"]);
    let (_, why) = &dead(&rig)[0];
    assert_eq!((&why["reason"], &why["seq"]), (&json!("expired"), &json!(1)));
    rig.pass(1_000);
    assert_eq!(dead_ids(&rig), ["a", "b"], "c has no end, and d stands behind it");
    let first = delivered(&rig.ready(1, &["q"], 1));
    assert_eq!(first.payload, "c");
    rig.ack(&first);
    assert_eq!(dead_ids(&rig), ["a", "b", "d"]);
    assert_eq!((rig.view("q").depth, rig.view("q").dead_lettered), (0, 3));
}

#[test]
fn a_head_expires_after_a_restart_too() {
    for by_queue in [true, false] {
        let ttl_ms = if by_queue { 1_000 } else { 0 };
        let mut rig = Rig::new(QueueSettings { ttl_ms, ..QueueSettings::default() });
        let fields = if by_queue { json!({}) } else { json!({"ttl_ms": 1_000}) };
        rig.send_with("q", "a", fields.clone());
        rig.now = rig.now.plus_ms(500);
        rig.send_with("q", "b", fields);
        rig.restart();
        rig.pass(499);
        assert_eq!(dead(&rig), []);
        rig.pass(1);
        assert_eq!(dead_ids(&rig), ["a"]);
        rig.restart();
        rig.pass(600);
        assert_eq!(dead_ids(&rig), ["a", "b"]);
        assert_eq!(rig.view("q.dead").depth, 2);
    }
}

#[test]
fn a_long_run_of_expired_messages_goes_read_by_read() {
    let mut rig = Rig::new(QueueSettings { ttl_ms: 10, ..QueueSettings::default() });
    (0..300).for_each(|n| drop(rig.send("q", &format!("m{n}"))));
    rig.now = rig.now.plus_ms(5);
    rig.send("q", "young");
    rig.pass(5);
    assert_eq!((dead(&rig).len(), rig.view("q").depth), (300, 1));
    rig.pass(5);
    assert_eq!(rig.view("q").depth, 0);
}

#[test]
fn a_message_that_expires_while_it_fails_goes_with_its_first_and_last_error() {
    let mut rig = Rig::new(QueueSettings { ttl_ms: 250, ..retrying(9) });
    rig.send("q", "a");
    rig.send("q", "b");
    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.nack(&first);
    let second = delivered(&rig.pass(100));
    rig.nack(&second);
    assert_eq!(rig.view("q").waiting, 1);
    rig.pass(150);
    assert_eq!(dead_ids(&rig), ["a", "b"]);
    let (_, why) = &dead(&rig)[0];
    assert_eq!((&why["reason"], &why["attempts"]), (&json!("expired"), &json!(2)));
    assert_eq!(why["error"], json!("exit-1: it failed"));
    assert_eq!(why["first_error"], json!("exit-1: it failed"));
    assert_eq!(dead(&rig)[1].1.get("error"), None);
}

#[test]
fn a_blocked_head_expires_but_not_one_that_is_edited_or_was_retried() {
    let mut rig = Rig::new(QueueSettings { ttl_ms: 1_000, ..retrying(1) });
    rig.send("q", "a");
    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.nack(&first);
    assert_eq!(rig.view("q").state, crate::model::QueueState::Blocked);
    rig.hold("ann", 1, 5_000);
    rig.pass(2_000);
    assert_eq!(dead(&rig), [], "ann edits it");
    let again = delivered(&rig.repair("k", 1, 0, RepairAction::Retry));
    assert_eq!(again.payload, "a", "what an operator retries is of use to him");
    rig.nack(&again);
    assert_eq!(dead_ids(&rig), ["a"], "it blocked, and nobody edits it");
    assert_eq!(rig.view("q").depth, 0);
}

#[test]
fn a_paused_queue_expires_nothing_until_it_goes_on() {
    let mut rig = Rig::new(QueueSettings { ttl_ms: 100, ..QueueSettings::default() });
    rig.send("q", "a");
    rig.pause(true);
    rig.pass(500);
    assert_eq!(dead(&rig), []);
    rig.pause(false);
    assert_eq!(dead_ids(&rig), ["a"]);
}

#[test]
fn a_dead_letter_queue_expires_and_delays_nothing() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send_with("q", "a", json!({"ttl_ms": 100, "delay_ms": 10}));
    rig.put_queue("q.dead", QueueSettings { ttl_ms: 50, ..QueueSettings::default() });
    rig.pass(110);
    assert_eq!(dead_ids(&rig), ["a"]);
    rig.pass(10_000);
    assert_eq!(dead_ids(&rig), ["a"]);
    assert_eq!(delivered(&rig.ready(1, &["q.dead"], 1)).payload, "a");
}

#[test]
fn one_that_cannot_be_dead_lettered_blocks_and_says_why() {
    let mut rig = Rig::new(QueueSettings { ttl_ms: 100, ..QueueSettings::default() });
    rig.put_queue("q.dead", QueueSettings { max_messages: 1, ..QueueSettings::default() });
    rig.send("q.dead", "fills it");
    rig.send("q", "a");
    rig.pass(100);
    let head = rig.view("q").head.expect("a head");
    assert_eq!(head.state, MessageState::Blocked);
    let error = head.error.expect("it says why");
    assert!(error.code == "expired" && error.message.contains("q.dead is full"), "{error:?}");
    rig.pass(10_000);
    rig.restart();
    rig.pass(1);
    assert_eq!(rig.view("q").blocked, 1);
    rig.ready(1, &["q"], 1);
    assert_eq!(delivered(&rig.repair("k", 1, 0, RepairAction::Retry)).payload, "a");
}

#[test]
fn a_caller_is_told_that_its_message_expired() {
    let mut rig = Rig::new(QueueSettings { ttl_ms: 100, ..QueueSettings::default() });
    rig.call(7, "a", 60_000);
    let told = rig.pass(100);
    let reply = told.iter().find_map(|effect| match effect {
        Effect::CallEnded { origin: Origin(7), reply } => Some(reply),
        _ => None,
    });
    let reply = reply.expect("the call ended");
    assert_eq!(reply.status, CallStatus::Failed);
    assert_eq!(reply.error.as_ref().expect("why").code, "expired");
    let id = "a".parse().expect("an id");
    let told = rig.run(Event::Status { origin: Origin(8), id, queue: Some(queue("q")) });
    let [Effect::Status { report, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((report.queue.as_str(), report.state), ("q.dead", MessageState::Ready));
}

#[test]
fn the_queues_ttl_is_changed_while_messages_wait() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    rig.pass(5_000);
    let set = |value: u64| Event::SetQueue {
        origin: Origin(9),
        actor: super::rig::operator("ann"),
        queue: queue("q"),
        changes: vec![SettingChange { key: "ttl_ms".to_owned(), value: Some(value.into()) }],
        reason: String::new(),
    };
    rig.run(set(10_000));
    assert_eq!(dead(&rig), []);
    rig.run(set(4_000));
    assert_eq!(dead_ids(&rig), ["a"]);
}

#[test]
fn what_a_worker_has_does_not_expire_in_its_hands() {
    let mut rig = Rig::new(QueueSettings { ttl_ms: 100, ..QueueSettings::default() });
    rig.send("q", "a");
    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.pass(5_000);
    assert_eq!(dead(&rig), []);
    rig.ack(&first);
    assert_eq!((rig.view("q").done, rig.view("q").dead_lettered), (1, 0));
}

#[test]
fn a_message_whose_attempts_are_used_up_is_dropped_counted_and_in_the_journal() {
    for ordering in [Ordering::Queue, Ordering::Key, Ordering::None] {
        let on_failure = OnFailure::Drop;
        let mut rig = Rig::new(QueueSettings { on_failure, ordering, ..retrying(2) });
        rig.send_with("q", "a", json!({"key": "k"}));
        rig.send_with("q", "b", json!({"key": "k"}));
        rig.call(7, "a", 60_000);
        let first = delivered(&rig.ready(1, &["q"], 1));
        let other = deliveries(&rig.nack(&first));
        other.iter().for_each(|other| drop(rig.ack(other)));
        let second = delivered(&rig.pass(100));
        let told = rig.nack(&second);
        assert_eq!(deliveries(&told).len(), usize::from(ordering != Ordering::None));
        assert!(told.iter().any(|effect| matches!(effect, Effect::CallEnded { .. })));
        let view = rig.view("q");
        assert_eq!((view.dropped, view.blocked, view.dead_lettered), (1, 0, 0));
        let entry = rig.store.journal.iter().find(|it| it.kind == JournalKind::Dropped);
        let entry = entry.expect("an entry");
        assert_eq!(entry.reason, "attempt 2: exit-1: it failed");
        let kept = rig.store.queue_named("q").expect("there");
        assert!(kept.finished.contains(&(crate::model::Seq(1), Finish::Dropped)));
        let id = "a".parse().expect("an id");
        let told = rig.run(Event::Status { origin: Origin(8), id, queue: Some(queue("q")) });
        let [Effect::Status { report, .. }] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(report.state, MessageState::Cancelled, "not done");
    }
}

#[test]
fn a_clock_that_is_set_back_only_makes_it_later() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    rig.send_with("q", "late", json!({"delay_ms": 500}));
    rig.now = Timestamp(rig.now.0 - 100_000);
    rig.run(Event::Tick);
    assert_eq!(deliveries(&rig.pass(1_000)), []);
    for _ in 0..20 {
        rig.run(Event::WorkerHeard { worker: crate::model::WorkerId(1) });
        if let [one] = deliveries(&rig.pass(5_000)).as_slice() {
            assert!(rig.now >= START.plus_ms(500));
            assert_eq!(one.payload, "late");
            return;
        }
    }
    panic!("it never came");
}
