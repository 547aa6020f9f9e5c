//! A queue that is made, and emptied, by an operator.

use std::sync::Arc;

use serde_json::json;

use super::rig::{Rig, delivered, operator, queue};
use crate::engine::{Effect, EngineOptions, Event};
use crate::model::{
    Finish, JournalKind, Ordering, Origin, Purged, QueueName, QueueSettings, QueueTemplate,
    RepairRefusal, Seq, SettingChange, StoredMessage,
};

fn stored(rig: &Rig, name: &str) -> Vec<StoredMessage> {
    let kept = rig.store.queue_named(name).expect("it is there");
    let message = |(&seq, message): (&Seq, &super::store::KeptMessage)| StoredMessage {
        seq,
        accepted_at: message.at,
        content: Arc::clone(message.newest()),
        record: message.record.clone().map(Box::new),
        unreadable: None,
    };
    kept.messages.iter().map(message).collect()
}

fn purge_what(
    rig: &mut Rig,
    name: &str,
    messages: Vec<StoredMessage>,
    reason: &str,
) -> Result<Purged, RepairRefusal> {
    let (origin, actor, reason) = (Origin(9), operator("ann"), reason.to_owned());
    let told = rig.run(Event::Purge { origin, actor, queue: queue(name), messages, reason });
    let answer = told.into_iter().find_map(|effect| match effect {
        Effect::Purged { purged, .. } => Some(Ok(purged)),
        Effect::Refused { refusal, .. } => Some(Err(refusal)),
        _ => None,
    });
    answer.expect("a purge is answered")
}

fn purge(rig: &mut Rig, name: &str, reason: &str) -> Result<Purged, RepairRefusal> {
    let messages = stored(rig, name);
    purge_what(rig, name, messages, reason)
}

fn create(rig: &mut Rig, name: &str, key: &str, value: serde_json::Value) -> Result<(), String> {
    let (origin, actor, reason) = (Origin(9), operator("ann"), "for the shop".to_owned());
    let changes = vec![SettingChange { key: key.to_owned(), value: Some(value) }];
    match rig.run(Event::CreateQueue { origin, actor, queue: queue(name), changes, reason }).last()
    {
        Some(Effect::Done { .. }) => Ok(()),
        Some(Effect::Refused { refusal: RepairRefusal::Invalid { reason }, .. }) => {
            Err(reason.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_waits_goes_for_good_and_what_a_worker_has_stays() {
    let mut rig = Rig::new(QueueSettings::default());
    for id in ["a", "b", "c"] {
        rig.send("q", id);
    }
    let first = delivered(&rig.ready(1, &["q"], 1));
    let purged = purge(&mut rig, "q", "a test").expect("it is done");
    assert_eq!((purged.removed, purged.stay.len()), (2, 1));
    assert_eq!(purged.stay[0].seq, Seq(1));
    assert!(purged.stay[0].reason.contains("a worker has it"), "{:?}", purged.stay);
    let line = rig.store.journal.last().expect("a line");
    assert_eq!((line.kind, line.actor.name.as_str()), (JournalKind::QueuePurged, "ann"));
    assert_eq!(line.reason, "2 messages, places 2 to 3: a test");
    assert_eq!((rig.view("q").depth, rig.view("q").leased), (1, 1));
    rig.send("q", "d");
    assert_eq!(delivered(&rig.ack(&first)).seq, 4, "the next one comes behind those that are gone");
    let kept = rig.store.queue_named("q").expect("it is there");
    assert_eq!(
        kept.finished,
        [(Seq(2), Finish::Cancelled), (Seq(3), Finish::Cancelled), (Seq(1), Finish::Done)]
    );
}

#[test]
fn a_blocked_head_goes_and_the_queue_is_empty_after_a_restart_too() {
    for ordering in [Ordering::Queue, Ordering::Key, Ordering::None] {
        let mut rig = Rig::new(QueueSettings { ordering, ..QueueSettings::default() });
        for id in ["a", "b", "c"] {
            rig.send("q", id);
        }
        let first = delivered(&rig.ready(1, &["q"], 1));
        rig.nack(&first);
        rig.gone(1);
        assert!(rig.view("q").blocked > 0, "{ordering:?}");
        let seen = stored(&rig, "q");
        assert_eq!(purge(&mut rig, "q", "x").expect("it is done").removed, 3, "{ordering:?}");
        assert_eq!((rig.view("q").depth, rig.view("q").blocked, rig.view("q").bytes), (0, 0, 0));
        let again = purge_what(&mut rig, "q", seen, "x").expect("it is done");
        assert_eq!(again, Purged::default(), "what is gone goes once");
        rig.restart();
        assert_eq!(rig.view("q").depth, 0, "{ordering:?}");
    }
}

#[test]
fn a_purge_needs_a_reason_and_a_queue() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    let refusal = purge(&mut rig, "q", " ").expect_err("refused");
    assert!(refusal.to_string().contains("needs a reason"), "{refusal}");
    assert_eq!(rig.view("q").depth, 1);
    let refusal = purge_what(&mut rig, "none", Vec::new(), "x").expect_err("refused");
    assert!(matches!(refusal, RepairRefusal::NoSuchQueue { .. }), "{refusal}");
}

#[test]
fn a_queue_is_made_with_its_templates_settings_and_the_operators() {
    let settings = QueueSettings { lease_ms: 500, ..QueueSettings::default() }.into();
    let templates = vec![QueueTemplate { prefix: "jobs.".to_owned(), settings, max_queues: 1 }];
    let options = EngineOptions { templates, ..EngineOptions::default() };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    create(&mut rig, "jobs.1", "ordering", json!("none")).expect("it is made");
    let line = rig.store.journal.last().expect("a line");
    assert_eq!((line.kind, line.actor.name.as_str()), (JournalKind::QueueCreated, "ann"));
    assert_eq!(line.reason, "ordering=none: for the shop");
    rig.restart();
    let view = rig.view("jobs.1");
    assert_eq!((view.settings.ordering, view.settings.lease_ms), (Ordering::None, 500));
    assert_eq!(view.overrides, ["ordering"]);
    let twice = create(&mut rig, "jobs.1", "lease_ms", json!(1)).expect_err("refused");
    assert!(twice.contains("already") && twice.contains("queue set"), "{twice}");
    let full = create(&mut rig, "jobs.2", "lease_ms", json!(900)).expect_err("refused");
    assert!(full.contains("max_queues"), "{full}");
    // No template has this name; a message alone would not make it.
    create(&mut rig, "other", "lease_ms", json!(900)).expect("it is made");
    assert_eq!(rig.view("other").settings.lease_ms, 900);
}

#[test]
fn a_queue_that_cannot_be_so_is_not_made() {
    let mut rig = Rig::new(QueueSettings::default());
    for (key, value) in [
        ("lease", json!(5)),
        ("ordering", json!("sideways")),
        ("mailbox", json!("redis")),
        ("priority", json!(true)),
    ] {
        let why = create(&mut rig, "new", key, value).expect_err(key);
        assert!(!why.is_empty());
        assert!(rig.engine.queue_view(&QueueName::new("new").expect("a name")).is_none(), "{key}");
    }
}
