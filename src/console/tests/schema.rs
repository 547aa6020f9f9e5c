//! A payload that misses its queue's schema: hinted at while it is typed, sent with a reason only.

use crate::admin::dto::{RepairVerb, Seq};
use crate::console::action::{Action, Failure};
use crate::console::effect::{Effect, Request};
use crate::console::fixtures::{Stage, missed, name};
use crate::console::model::MessageRef;

const SCHEMA: &str = r#"{"properties":{"customer":{"properties":{"name":{"maxLength":4}}}}}"#;

/// The editor on a message of a queue with a schema.
fn editing() -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.set_schema(SCHEMA);
    stage.keys(&["<Enter>", "<Enter>", "e", "<F5>"]);
    stage
}

/// And with too long a name in it.
fn missing() -> Stage {
    let mut stage = editing();
    stage.keys(&["^f", "Zo", "<Enter>", "Anna", "<Esc>", "e"]);
    assert!(stage.screen().contains("misses the schema"), "{}", stage.screen());
    stage
}

#[test]
fn what_the_schema_says_stands_under_the_text_while_it_is_typed() {
    let mut stage = editing();
    assert!(
        stage.screen().contains("JSON ok, and as the queue's schema says"),
        "{}",
        stage.screen()
    );
    stage.keys(&["^f", "Zo", "<Enter>"]);
    // Nobody answers: what was said of another text isn't shown.
    stage.press(&["Anna"]);
    assert!(stage.screen().contains("the queue's schema is being asked"), "{}", stage.screen());
    stage.serve();
    let said = "misses the schema at /customer/name: \"AnnaZoë\" is longer than 4 characters";
    assert!(stage.screen().contains(said), "{}", stage.screen());
    insta::assert_snapshot!("schema-editor-80x24", stage.screen());
    stage.keys(&["{"]);
    assert!(stage.screen().contains("misses the schema"), "a brace in a string is text");
    stage.keys(&["<End>", "x"]);
    assert!(stage.screen().contains("not JSON at"), "{}", stage.screen());
}

#[test]
fn the_cursor_goes_to_the_value_that_misses() {
    let mut stage = missing();
    stage.act(Action::Do(crate::console::command::Command::Top));
    let far = |stage: &Stage| stage.model.edit.as_ref().unwrap().editor.cursor();
    stage.model.edit.as_mut().unwrap().editor.jump_to(1, 1);
    stage.act(Action::Do(crate::console::command::Command::GoToFault));
    assert_eq!(far(&stage), (5, 13), "{}", stage.screen());
}

#[test]
fn a_miss_is_sent_with_a_reason_only() {
    let mut stage = missing();
    stage.keys(&["^s"]);
    assert!(stage.screen().contains("MISSES THE SCHEMA, a reason is asked for: /customer/name"));
    stage.keys(&["<Tab>", "<Enter>"]);
    insta::assert_snapshot!("schema-reason-80x24", stage.screen());
    assert!(stage.repair().is_none());
    stage.keys(&["<Enter>"]);
    assert!(stage.screen().contains("a reason is needed") && stage.repair().is_none());
    stage.keys(&["  ", "<Enter>"]);
    assert!(stage.repair().is_none());
    stage.keys(&["agreed by phone", "<Enter>"]);
    let (_, request) = stage.repair().expect("sent");
    assert_eq!(
        (request.reason.as_str(), request.action),
        ("agreed by phone", RepairVerb::SaveAndRetry)
    );
    let payload = request.payload.unwrap().into_bytes().unwrap();
    assert!(missed(&stage.schema, &payload).is_some());
    let message = MessageRef { queue: name("orders"), seq: Seq(3) };
    assert!(stage.model.parked.contains_key(&message), "kept until the broker has it");
}

#[test]
fn going_back_from_the_question_sends_nothing_and_keeps_the_text() {
    let mut stage = missing();
    stage.keys(&["^s", "<Tab>", "<Enter>", "why", "<Esc>"]);
    assert!(
        stage.repair().is_none() && stage.screen().contains("EDIT orders #3"),
        "{}",
        stage.screen()
    );
    // What fits needs no reason.
    stage.keys(&["^u", "^s", "<Tab>", "<Enter>"]);
    let sent = stage.repair();
    assert!(sent.is_none_or(|(_, request)| request.reason.is_empty()));
}

#[test]
fn without_an_answer_or_a_broker_nothing_is_sent_and_it_is_said() {
    let mut stage = editing();
    stage.keys(&["^f", "Zo", "<Enter>"]);
    stage.press(&["Anna", "^s", "<Tab>", "<Enter>"]);
    assert!(stage.repair().is_none());
    assert!(stage.screen().contains("is just being asked about this text"), "{}", stage.screen());
    stage.serve();
    stage.act(Action::Lost {
        reason: "gone".into(),
        failures: 2,
        retry_in_ms: 500,
        refused: false,
    });
    stage.keys(&["<Enter>"]);
    assert!(stage.repair().is_none());
    assert!(!stage.screen().contains("Type why, for the journal"), "{}", stage.screen());
}

#[test]
fn a_schema_that_changes_is_read_and_asked_again() {
    let mut stage = missing();
    stage.set_schema("{}");
    assert!(!stage.screen().contains("misses the schema"), "{}", stage.screen());
    stage.serve();
    assert!(
        stage.screen().contains("JSON ok, and as the queue's schema says"),
        "{}",
        stage.screen()
    );
    stage.set_schema("");
    assert!(stage.screen().contains("JSON ok") && !stage.screen().contains("schema"));
    // One that can't be read is the broker's to ask.
    stage.set_schema("true");
    let asked = stage.effects.iter().find_map(|effect| match effect {
        Effect::Ask(id, Request::Schema(_)) => Some(*id),
        _ => None,
    });
    let refused = Failure::Refused(Box::default());
    stage.act(Action::Reply { request: asked.expect("read"), reply: Err(refused) });
    assert!(stage.screen().contains("schema could not be asked"), "{}", stage.screen());
    // It is read again, so that what is typed then can be asked about.
    stage.effects.clear();
    stage.press(&["x"]);
    stage.wait(2_100);
    let reads = |effect: &Effect| matches!(effect, Effect::Ask(_, Request::Schema(_)));
    assert!(stage.effects.iter().any(reads), "{:?}", stage.effects);
}

#[test]
fn the_reason_ends_where_the_rows_are_counted() {
    let mut stage = missing();
    stage.act(Action::Resize { width: 60, height: 15 });
    stage.keys(&["^s"]);
    let screen = stage.screen();
    let row = screen.lines().find(|row| row.starts_with("MISSES THE SCHEMA")).unwrap_or_default();
    assert!(row.contains("…  rows 1-"), "{screen}");
    assert!(screen.contains("misses the schema at /customer/name"), "{screen}");
}
