//! A message: its payload in all forms, searched, and the difference between any two of its revisions.

use crate::admin::dto::{Actor, Revision, RevisionView, Timestamp};
use crate::console::action::{Action, Failure};
use crate::console::effect::{Effect, Request};
use crate::console::fixtures::{Stage, blocked, message};

fn at_message(payload: &[u8]) -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.messages.insert(("orders".into(), 3), message("orders", blocked(3), payload));
    stage.keys(&["<Enter>", "<Enter>"]);
    stage
}

fn shows(stage: &Stage, text: &str) {
    assert!(stage.screen().contains(text), "{text:?} is not in\n{}", stage.screen());
}

const ORDER: &[u8] = br#"{"id":7,"lines":[{"sku":"a"},{"sku":"b"}],"price":1.10}"#;

#[test]
fn a_payload_is_seen_indented_as_a_tree_raw_and_in_hex() {
    let mut stage = at_message(ORDER);
    shows(&stage, "indented for reading only");
    stage.keys(&["v"]);
    shows(&stage, "\u{25be} \"lines\": [ 2 ]");
    stage.keys(&["j", "j", "<Enter>"]);
    shows(&stage, "\u{25b8} \"lines\": [ 2 ]");
    assert!(!stage.screen().contains("sku"), "{}", stage.screen());
    stage.keys(&["f"]);
    shows(&stage, "sku");
    stage.keys(&["v"]);
    shows(&stage, std::str::from_utf8(ORDER).unwrap());
    stage.keys(&["v"]);
    shows(&stage, "7b 22 69 64");
    stage.keys(&["v"]);
    shows(&stage, "indented for reading only");
}

#[test]
fn what_is_no_json_has_no_tree_and_what_is_no_text_only_hex() {
    let mut stage = at_message(b"plain words");
    stage.keys(&["v"]);
    shows(&stage, "raw");
    stage.keys(&["v"]);
    shows(&stage, "70 6c 61 69");
    stage.keys(&["v"]);
    shows(&stage, "plain words");
    let mut stage = at_message(b"\xff\x00");
    for _ in 0..3 {
        shows(&stage, "ff 00");
        stage.keys(&["v"]);
    }
}

#[test]
fn a_search_goes_on_round_the_end_and_unfolds_what_it_finds() {
    let long = format!("[{}\"needle\",\"Needle\"]", "1,".repeat(60));
    let mut stage = at_message(long.as_bytes());
    stage.keys(&["/", "needle", "<Enter>"]);
    shows(&stage, "\"needle\"");
    let screen = stage.model.message.as_ref().unwrap();
    let (first, top) = (screen.found_at(), screen.scroll);
    assert!(first.is_some() && top > 0);
    stage.keys(&["n"]);
    assert!(stage.model.message.as_ref().unwrap().found_at() > first);
    stage.keys(&["n"]);
    assert_eq!(stage.model.message.as_ref().unwrap().found_at(), first, "round the end");
    stage.keys(&["N", "N"]);
    assert_eq!(stage.model.message.as_ref().unwrap().found_at(), first);
    stage.keys(&["/", "Nowhere", "<Enter>"]);
    shows(&stage, "is not in the payload");

    let mut stage = at_message(ORDER);
    stage.keys(&["v", "f", "/", "sku", "<Enter>", "n"]);
    let screen = stage.model.message.as_ref().unwrap();
    assert_eq!(screen.tree.line(screen.cursor.at).unwrap().value, "\"b\"");
}

#[test]
fn the_cursor_of_a_tree_stays_on_the_screen() {
    let long = format!("[{}1]", "1,".repeat(200));
    let mut stage = at_message(long.as_bytes());
    stage.keys(&["v", "G"]);
    shows(&stage, "200: 1");
    stage.keys(&["k", "<Enter>"]);
    shows(&stage, "\u{25b8} [ 201 ]");
}

#[test]
fn any_two_revisions_are_compared() {
    let mut stage = at_message(br#"{"total":"1.13"}"#);
    let view = stage.messages.get_mut(&("orders".into(), 3)).unwrap();
    view.summary.revision = Revision(3);
    view.revisions = (1..=3)
        .map(|n| RevisionView {
            revision: Revision(n),
            by: Actor { name: format!("op{n}"), via: "console".to_owned() },
            at: Timestamp(0),
            reason: String::new(),
            payload_bytes: 16,
        })
        .collect();
    stage.keys(&["^r", "d"]);
    shows(&stage, "from revision 2 by op2 to revision 3 by op3, the newest");
    stage.keys(&["h"]);
    shows(&stage, "from revision 1 by op1 to revision 3");
    stage.keys(&["["]);
    shows(&stage, "from revision 1 by op1 to revision 2 by op2");
    shows(&stage, "1.11");
    shows(&stage, "1.12");
    stage.keys(&["[", "l", "l"]);
    shows(&stage, "from revision 1 by op1 to revision 2");
    shows(&stage, "the left side is just before the right one; ] first");
    stage.keys(&["d"]);
    shows(&stage, "from the original to revision 2");
    stage.keys(&["]", "]", "]"]);
    shows(&stage, "from the original to revision 3 by op3, the newest");
    shows(&stage, "the right side is the newest revision");
}

#[test]
fn the_headers_are_a_table_with_the_producers_own_by_name() {
    let mut stage = at_message(ORDER);
    stage.keys(&["l"]);
    shows(&stage, "headers.tenant  acme");
    shows(&stage, "source          shop");
}

#[test]
fn a_message_that_could_not_be_read_again_is_tried_again() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>"]);
    let asked = |stage: &Stage| {
        stage.effects.iter().find_map(|effect| match effect {
            Effect::Ask(id, Request::Message(_)) => Some(*id),
            _ => None,
        })
    };
    for (failure, again) in [
        (Failure::NotSent("nobody there".to_owned()), true),
        (Failure::Refused(Box::default()), false),
    ] {
        stage.press(&["^r"]);
        let request = asked(&stage).expect("it is read again");
        stage.effects.clear();
        stage.act(Action::Reply { request, reply: Err(failure) });
        assert_eq!(asked(&stage), None, "not at once: the broker has trouble enough");
        stage.wait(1_000);
        assert_eq!(asked(&stage).is_some(), again);
        stage.serve();
    }
}
