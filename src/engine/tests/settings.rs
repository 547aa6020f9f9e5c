//! Settings that an operator changes at run time.

use serde_json::{Value, json};

use super::rig::{Rig, operator, queue};
use crate::engine::{Effect, EngineOptions, Event};
use crate::model::{
    JournalKind, MailboxKind, Ordering, Origin, QueueSettings, QueueTemplate, RepairRefusal,
    SchemaText, SettingChange,
};

fn set(rig: &mut Rig, changes: &[(&str, Value)]) -> Result<(), String> {
    let change = |(key, value): &(&str, Value)| SettingChange {
        key: (*key).to_owned(),
        value: Some(value.clone()).filter(|value| !value.is_null()),
    };
    let changes = changes.iter().map(change).collect();
    let (actor, reason) = (operator("ann"), "why".to_owned());
    let event = Event::SetQueue { origin: Origin(7), actor, queue: queue("q"), changes, reason };
    match rig.run(event).as_slice() {
        [.., Effect::Done { .. }] => Ok(()),
        [Effect::Refused { refusal: RepairRefusal::Invalid { reason }, .. }] => Err(reason.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_value_set_at_run_time_wins_over_the_configuration_until_it_is_given_back() {
    let configured = QueueSettings { lease_ms: 500, ..QueueSettings::default() };
    let options = EngineOptions {
        configured: vec![(queue("q"), configured.clone())],
        ..EngineOptions::default()
    };
    let mut rig = Rig::with_options(options, configured.clone());
    set(&mut rig, &[("lease_ms", json!(900)), ("retry.attempts", json!(4))]).expect("valid");
    let entry = rig.store.journal.last().expect("an entry");
    assert_eq!(entry.kind, JournalKind::SettingsChanged);
    assert_eq!(entry.reason, "lease_ms=900 retry.attempts=4: why");
    rig.restart();
    let reconfigured = QueueSettings { lease_ms: 700, max_messages: 9, ..configured };
    rig.put_queue("q", reconfigured);
    let view = rig.view("q");
    assert_eq!((view.settings.lease_ms, view.settings.max_messages), (900, 9));
    assert_eq!(view.overrides, ["lease_ms", "retry"]);
    set(&mut rig, &[("lease_ms", Value::Null), ("retry", Value::Null)]).expect("valid");
    let view = rig.view("q");
    // As it is configured now, not as it was at the start.
    assert_eq!((view.settings.lease_ms, view.settings.retry.attempts), (700, 1));
    assert!(view.overrides.is_empty());
}

#[test]
fn a_setting_of_a_queue_made_on_the_fly_goes_back_to_its_template() {
    let settings = QueueSettings { lease_ms: 500, ..QueueSettings::default() }.into();
    let templates = vec![QueueTemplate { prefix: "q".to_owned(), settings, max_queues: 0 }];
    let options = EngineOptions { templates, ..EngineOptions::default() };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    set(&mut rig, &[("lease_ms", json!(900))]).expect("valid");
    set(&mut rig, &[("lease_ms", Value::Null)]).expect("valid");
    assert_eq!(rig.view("q").settings.lease_ms, 500);
}

#[test]
fn a_queue_with_messages_moves_while_it_is_paused_only() {
    let mut rig = Rig::new(QueueSettings::default());
    set(&mut rig, &[("mailbox", json!("memory"))]).expect("it is empty");
    rig.send("q", "a");
    let refused = set(&mut rig, &[("mailbox", json!("file"))]).unwrap_err();
    assert!(refused.contains("from memory to file") && refused.contains("queue pause q"));
    assert_eq!(rig.view("q").settings.mailbox, MailboxKind::Memory);
    set(&mut rig, &[("lease_ms", json!(900))]).expect("nothing moves");
    rig.pause(true);
    set(&mut rig, &[("mailbox", json!("file"))]).expect("it is paused");
    assert_eq!(rig.view("q").settings.mailbox, MailboxKind::File);
    assert_eq!(rig.view("q").depth, 1);
}

#[test]
fn dead_letters_cant_be_sent_in_a_circle() {
    let mut rig = Rig::new(QueueSettings::default());
    for (name, target) in [("a", "b"), ("b", "{queue}.dead"), ("b.dead", "q")] {
        let dead_letter = target.to_owned();
        rig.put_queue(name, QueueSettings { dead_letter, ..QueueSettings::default() });
    }
    let refused = set(&mut rig, &[("dead_letter", json!("a"))]).unwrap_err();
    assert_eq!(
        refused,
        "dead_letter: dead letters would go in a circle: q -> a -> b -> b.dead -> q; name another queue"
    );
    set(&mut rig, &[("dead_letter", json!("c"))]).expect("it ends there");
}

#[test]
fn nothing_changes_if_one_of_the_changes_is_wrong() {
    let mut rig = Rig::new(QueueSettings::default());
    let before = rig.store.journal.len();
    for (key, value) in [
        ("mailbx", json!("file")),
        ("lease_ms", json!(1)),
        ("mailbox", json!("redis")),
        ("spill", json!("tape")),
    ] {
        assert!(set(&mut rig, &[("max_messages", json!(5)), (key, value)]).is_err());
    }
    let view = rig.view("q");
    assert_eq!((view.settings, view.overrides.len()), (QueueSettings::default(), 0));
    assert_eq!(rig.store.journal.len(), before);
}

#[test]
fn a_configuration_that_is_read_again_reorders_nothing_under_a_worker() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send_with("q", "m", json!({ "delay_ms": 60_000 }));
    rig.ready(1, &["q"], 1);
    let other = || QueueSettings { ordering: Ordering::None, ..QueueSettings::default() };
    let told = rig.put_queue("q", other());
    let is_refused = matches!(
        &told[..],
        [Effect::Refused { refusal: RepairRefusal::Invalid { reason }, .. }] if reason.contains("pause it first")
    );
    assert!(is_refused, "{told:?}");
    rig.pause(true);
    rig.put_queue("q", other());
    assert_eq!(rig.view("q").settings.ordering, Ordering::None);
}

#[test]
fn a_schema_is_the_configurations_of_now_unless_an_operator_has_set_it() {
    let of =
        |text: &str| QueueSettings { schema: SchemaText::new(text), ..QueueSettings::default() };
    let options = |text: &str| EngineOptions {
        templates: vec![QueueTemplate {
            prefix: "q".to_owned(),
            settings: of(text).into(),
            max_queues: 0,
        }],
        configured: vec![(queue("named"), of(text))],
        ..EngineOptions::default()
    };
    let mut rig = Rig::with_options(options("{}"), of("{}"));
    rig.put_queue("named", of("{}"));
    rig.put_queue("q2", of("{}"));
    let told = |rig: &Rig| -> Vec<String> {
        let mut told: Vec<_> =
            rig.engine.schemas().map(|(name, text)| format!("{name} {}", text.as_str())).collect();
        told.sort();
        told
    };
    assert_eq!(told(&rig), ["named {}"], "the others have their template's");
    set(&mut rig, &[("schema", json!("true"))]).expect("valid");
    assert!(rig.store.journal.last().expect("an entry").reason.starts_with("schema=(4 bytes, "));
    assert_eq!(told(&rig), ["named {}", "q true"]);
    rig.restart_with(options(r#"{"type":"object"}"#));
    assert_eq!(told(&rig), [r#"named {"type":"object"}"#, "q true"]);
    let schema = |name: &str| rig.engine.schema_of(&queue(name)).expect("it is there").clone();
    assert_eq!(schema("q2").as_str(), r#"{"type":"object"}"#);
    set(&mut rig, &[("schema", Value::Null)]).expect("valid");
    assert_eq!(told(&rig), [r#"named {"type":"object"}"#]);
}
