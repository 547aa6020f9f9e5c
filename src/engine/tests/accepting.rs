//! Accepting, duplicates, bounds, queues made on the fly, STATUS.

use std::sync::Arc;

use bytes::Bytes;

use super::rig::{Rig, content, delivered, deliveries, queue, rejected};
use crate::engine::{Effect, EngineOptions, Event};
use crate::model::{
    Accepted, Content, Dedup, JournalKind, MailboxKind, MessageState, Origin, QueueSettings,
    QueueTemplate, RejectCode, Rejection, RepairAction, StatusReport, limits,
};

fn accepted(effects: &[Effect]) -> Vec<Accepted> {
    match effects {
        [Effect::Accepted { accepted, .. }] => accepted.clone(),
        other => panic!("{other:?}"),
    }
}

fn status(rig: &mut Rig, id: &str, name: Option<&str>) -> Result<StatusReport, Rejection> {
    let id = id.parse().expect("a valid id");
    match rig.run(Event::Status { origin: Origin(4), id, queue: name.map(queue) }).as_slice() {
        [Effect::Status { report, .. }] => Ok(*report.clone()),
        other => Err(rejected(other)),
    }
}

#[test]
fn a_duplicate_is_answered_with_the_first_ones_place() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    let again = accepted(&rig.send_many(&[("q", "b"), ("q", "a"), ("q", "b")]));
    let told: Vec<_> = again.iter().map(|one| (one.seq.0, one.duplicate)).collect();
    assert_eq!(told, [(2, false), (1, true), (2, true)]);
    rig.restart();
    assert!(accepted(&rig.send("q", "a"))[0].duplicate);
    let view = rig.view("q");
    assert_eq!((view.depth, view.accepted, view.duplicates), (2, 0, 1));
}

#[test]
fn an_id_may_come_again_outside_the_window_or_without_one() {
    let dedup = Dedup::Count { last: 1 };
    let mut rig = Rig::new(QueueSettings { dedup, ..QueueSettings::default() });
    rig.put_queue("off", QueueSettings { dedup: Dedup::Off, ..QueueSettings::default() });
    rig.send_many(&[("q", "a"), ("q", "b"), ("off", "a")]);
    assert_eq!(accepted(&rig.send("q", "a"))[0].seq.0, 3);
    assert!(!accepted(&rig.send("off", "a"))[0].duplicate);
}

#[test]
fn queues_are_made_by_the_longest_matching_template() {
    let template = |prefix: &str, lease_ms| QueueTemplate {
        prefix: prefix.to_owned(),
        settings: Arc::new(QueueSettings { lease_ms, ..QueueSettings::default() }),
        max_queues: 0,
    };
    let templates = vec![template("x.", 1), template("x.y.", 2)];
    let options = EngineOptions { templates, max_queues: 2, ..EngineOptions::default() };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    let effects = rig.send("x.y.z", "a");
    assert!(matches!(effects.last(), Some(Effect::Accepted { .. })));
    assert_eq!(rig.view("x.y.z").settings.lease_ms, 2);
    let made = rig.store.journal.last().expect("an entry");
    assert_eq!((made.kind, made.actor.name.as_str()), (JournalKind::QueueCreated, "broker"));
    assert_eq!(rejected(&rig.send("x.more", "a")).code, RejectCode::Full);
    let unknown = rejected(&rig.send("y", "a"));
    assert_eq!(unknown.code, RejectCode::NoSuchQueue);
    assert!(unknown.reason.contains("[queues.\"y\"]"), "{}", unknown.reason);
}

#[test]
fn a_full_queue_takes_all_of_a_request_or_none() {
    let settings = QueueSettings { max_messages: 2, max_bytes: 60, ..QueueSettings::default() };
    let mut rig = Rig::new(settings);
    rig.put_queue("other", QueueSettings::default());
    let full = rejected(&rig.send_many(&[("other", "o"), ("q", "a"), ("q", "b"), ("q", "c")]));
    assert_eq!((full.code, full.retry_after_ms.is_some()), (RejectCode::Full, true));
    assert_eq!((rig.view("q").depth, rig.view("other").depth), (0, 0));
    accepted(&rig.send_many(&[("q", "a"), ("q", "a"), ("q", "b"), ("q", "b")]));
    assert_eq!(rejected(&rig.send("q", "c")).code, RejectCode::Full);
    assert!(accepted(&rig.send("q", "a"))[0].duplicate, "a duplicate needs no room");
    let a = delivered(&rig.ready(1, &["q"], 1));
    rig.ack(&a);
    assert!(deliveries(&rig.send("q", "c")).is_empty());
    assert_eq!(rig.view("q").depth, 2);
    let huge = "x".repeat(60);
    assert_eq!(rejected(&rig.send("q", &huge)).code, RejectCode::TooLarge);
}

#[test]
fn a_memory_queue_without_a_bound_takes_256_mib() {
    let memory = QueueSettings { mailbox: MailboxKind::Memory, ..QueueSettings::default() };
    let mut rig = Rig::new(memory.clone());
    let mixed = QueueSettings { mailbox: MailboxKind::Mixed, ..QueueSettings::default() };
    rig.put_queue("mixed", mixed);
    rig.put_queue("chosen", QueueSettings { max_bytes: 1 << 30, ..memory });
    let payload = Bytes::from(vec![0; limits::MAX_PAYLOAD_BYTES]);
    let mut send = |name: &str, number: u32| {
        let content = Content { payload: payload.clone(), ..content(&number.to_string(), "") };
        let messages = vec![(queue(name), content)];
        rig.run(Event::Send { origin: Origin(1), messages, call: None })
    };
    for number in 1..=15 {
        for name in ["q", "mixed", "chosen"] {
            accepted(&send(name, number));
        }
    }
    let full = rejected(&send("q", 16));
    assert_eq!(full.code, RejectCode::Full);
    assert!(full.reason.contains("268435456 bytes"), "{}", full.reason);
    accepted(&send("mixed", 16));
    accepted(&send("chosen", 16));
}

#[test]
fn nothing_is_accepted_if_one_queue_is_unknown() {
    let mut rig = Rig::new(QueueSettings::default());
    let rejection = rejected(&rig.send_many(&[("q", "a"), ("nowhere", "b")]));
    assert_eq!(rejection.id.expect("named").as_str(), "b");
    assert_eq!(rig.view("q").depth, 0);
}

#[test]
fn status_tells_where_a_message_is() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send_many(&[("q", "a"), ("q", "b")]);
    let a = delivered(&rig.ready(1, &["q"], 1));
    let report = status(&mut rig, "a", Some("q")).expect("known");
    assert_eq!((report.state, report.seq.0, report.attempt), (MessageState::Leased, 1, 1));
    let report = status(&mut rig, "b", None).expect("found in the store");
    assert_eq!((report.state, report.seq.0, report.attempt), (MessageState::Ready, 2, 0));
    rig.ack(&a);
    assert_eq!(status(&mut rig, "a", Some("q")).expect("known").state, MessageState::Done);
    assert_eq!(status(&mut rig, "c", Some("q")).unwrap_err().code, RejectCode::Unroutable);
    assert_eq!(status(&mut rig, "a", Some("p")).unwrap_err().code, RejectCode::NoSuchQueue);
}

#[test]
fn a_full_disk_refuses_only_what_is_new() {
    let mut rig = Rig::new(QueueSettings::default());
    let memory = QueueSettings { mailbox: MailboxKind::Memory, ..QueueSettings::default() };
    rig.put_queue("memory", memory);
    rig.send("q", "a");
    rig.run(Event::StoreFull { reason: Some("1 MiB is left".to_owned()) });

    let full = rejected(&rig.send_many(&[("memory", "m"), ("q", "b")]));
    assert_eq!((full.code, full.reason.as_str()), (RejectCode::Full, "1 MiB is left"));
    assert_eq!(full.id.as_ref().map(|id| id.as_str()), Some("b"));
    assert!(full.retry_after_ms.is_some());
    assert_eq!(rig.view("memory").depth, 0, "all of a request or none");
    assert!(accepted(&rig.send("q", "a"))[0].duplicate, "it is there already");
    assert!(!accepted(&rig.send("memory", "m"))[0].duplicate, "it needs no disk");

    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.nack(&first);
    assert_eq!(rig.view("q").blocked, 1);
    let again = rig.repair("k1", 1, 0, RepairAction::Retry);
    rig.ack(&delivered(&again));
    assert_eq!((rig.view("q").depth, rig.view("q").done), (0, 1));

    rig.run(Event::StoreFull { reason: None });
    assert_eq!(delivered(&rig.send("q", "b")).seq, 2);
}
