//! Drafts: nothing typed is lost, and what is done with doesn't come back.

use bytes::Bytes;

use crate::admin::dto::{HoldView, RepairVerb, Revision, Timestamp};
use crate::console::action::{Action, Reply};
use crate::console::effect::{Effect, Request, RequestId, SavedDraft};
use crate::console::fixtures::{Stage, actor, blocked, message};
use crate::console::model::MessageRef;

const TO_EDITOR: [&str; 3] = ["<Enter>", "<Enter>", "e"];

fn editing() -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&TO_EDITOR);
    stage
}

fn over_binary() -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.messages.insert(("orders".into(), 3), message("orders", blocked(3), b"\xff\x00"));
    stage
}

/// The saves that nobody has answered.
fn saves(stage: &Stage) -> Vec<(u64, Bytes)> {
    let saves = stage.effects.iter().filter_map(|effect| match effect {
        Effect::SaveDraft { version, draft, .. } => Some((*version, draft.bytes.clone())),
        _ => None,
    });
    saves.collect()
}

fn saved(stage: &mut Stage, of: &MessageRef, version: u64, result: Result<(), String>) {
    stage.act(Action::DraftSaved { message: of.clone(), version, result });
}

fn read_file(stage: &mut Stage, bytes: &'static [u8]) {
    let of = stage.model.selected_message().unwrap();
    stage.act(Action::FileRead { message: of, result: Ok(Bytes::from_static(bytes)) });
    stage.serve();
}

fn outcome_line(stage: &Stage) -> String {
    stage.screen().lines().nth(22).unwrap_or_default().to_owned()
}

#[test]
fn the_last_keystrokes_are_saved_even_while_earlier_ones_are_being_written() {
    for end in ["<Esc>", "^c"] {
        let mut stage = editing();
        stage.press(&["a"]);
        stage.wait(1_000);
        stage.press(&["b", end]);
        let saves = saves(&stage);
        assert_eq!(saves.len(), 2, "{saves:?}");
        assert!(saves[1].0 > saves[0].0 && saves[1].1.starts_with(b"ab"), "{saves:?}");
    }
}

#[test]
fn a_draft_that_was_left_is_written_until_the_disk_takes_it() {
    let mut stage = editing();
    let of = stage.model.selected_message().unwrap();
    stage.press(&["a", "<Esc>"]);
    let (version, _) = saves(&stage)[0];
    stage.effects.clear();
    saved(&mut stage, &of, version, Err("disk full".into()));
    stage.press(&["q"]);
    assert!(outcome_line(&stage).contains("NOT SAVED"), "{}", outcome_line(&stage));
    assert!(!stage.effects.contains(&Effect::Quit));
    stage.press(&["n"]);
    stage.wait(1_000);
    assert!(!saves(&stage).is_empty());
    saved(&mut stage, &of, version, Ok(()));
    stage.press(&["q"]);
    assert!(stage.effects.contains(&Effect::Quit));
}

#[test]
fn an_answer_for_an_edit_from_before_says_nothing_of_this_one() {
    let mut stage = editing();
    let of = stage.model.selected_message().unwrap();
    stage.press(&["a"]);
    stage.wait(1_000);
    let (late, _) = saves(&stage)[0];
    stage.effects.clear();
    // Undone, left, opened again and typed in again.
    stage.press(&["<Backspace>", "<Esc>", "e"]);
    stage.act(Action::DraftLoaded { message: of.clone(), draft: Ok(None) });
    stage.press(&["b"]);
    saved(&mut stage, &of, late, Ok(()));
    stage.wait(1_000);
    assert!(saves(&stage).iter().any(|(_, bytes)| bytes.starts_with(b"b")), "{:?}", saves(&stage));
}

#[test]
fn what_was_read_from_a_file_for_a_binary_payload_can_be_gone_on_with() {
    let mut stage = over_binary();
    stage.keys(&TO_EDITOR);
    assert!(outcome_line(&stage).contains("not UTF-8"), "{}", outcome_line(&stage));
    read_file(&mut stage, b"{\"from\":\"a file\"}");
    stage.keys(&["<Esc>", "e"]);
    assert!(stage.screen().contains("a file"), "{}", stage.screen());
}

#[test]
fn a_draft_for_a_binary_payload_is_found_after_a_restart() {
    let mut stage = over_binary();
    stage.keys(&["<Enter>", "<Enter>"]);
    stage.press(&["e"]);
    let of = stage.model.selected_message().unwrap();
    let draft = SavedDraft { bytes: Bytes::from_static(b"from before"), base: Revision(0) };
    stage.act(Action::DraftLoaded { message: of, draft: Ok(Some(draft)) });
    assert!(stage.screen().contains("from before"), "{}", stage.screen());
}

#[test]
fn a_binary_payload_is_replaced_by_a_binary_file() {
    let mut stage = over_binary();
    stage.keys(&["<Enter>", "<Enter>"]);
    read_file(&mut stage, b"\xfe\x01new");
    assert!(stage.screen().contains("fe 01 6e 65 77"), "{}", stage.screen());
    // Nothing is typed into it; it survives being left.
    stage.keys(&["x", "<Esc>", "e", "^s", "<Tab>", "<Enter>"]);
    let (_, request) = stage.repair().expect("sent");
    assert_eq!(request.action, RepairVerb::SaveAndRetry);
    assert_eq!(request.payload.unwrap().into_bytes().unwrap(), &b"\xfe\x01new"[..]);
}

#[test]
fn bytes_that_are_no_text_do_not_replace_json() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>"]);
    read_file(&mut stage, b"\xfe");
    stage.keys(&["^s"]);
    assert!(outcome_line(&stage).contains("can't be JSON"), "{}", outcome_line(&stage));
    stage.keys(&["<F8>", "^s"]);
    assert!(stage.screen().contains("REVIEW"), "{}", stage.screen());
}

#[test]
fn a_file_does_not_take_away_what_was_typed() {
    let mut stage = editing();
    stage.keys(&["typed", "<Esc>"]);
    read_file(&mut stage, b"{}");
    assert!(!stage.screen().contains("typed{"), "{}", stage.screen());
    stage.keys(&["<F8>"]);
    assert!(stage.screen().contains("typed{"), "{}", stage.screen());
}

/// At the message, with `press`ed keys behind `e` that the disk has not answered for.
fn typed_ahead(keys: &[&str]) -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&TO_EDITOR[..2]);
    stage.press(&["e"]);
    stage.press(keys);
    stage
}

#[test]
fn what_is_typed_while_the_disk_looks_for_a_draft_is_typed_when_it_has_answered() {
    let mut stage = typed_ahead(&["a", "b", "<Backspace>", "^f", "o", "r", "<Enter>", "X"]);
    let edit = stage.model.edit.as_ref().expect("the editor is open");
    let before = edit.base_bytes.clone();
    assert!(edit.loading && !edit.is_dirty(), "nothing is typed yet");
    stage.serve();
    let edit = stage.model.edit.as_ref().expect("the editor is open");
    let text = String::from_utf8(before.to_vec()).unwrap();
    let expected = format!("a{}", text.replacen("or", "Xor", 1));
    assert_eq!(String::from_utf8(edit.bytes().to_vec()).unwrap(), expected);
}

#[test]
fn who_leaves_before_the_disk_has_answered_loses_neither_the_draft_nor_what_was_typed() {
    let stage = typed_ahead(&["<Esc>"]);
    assert!(stage.model.edit.is_none());
    let deletes =
        |stage: &Stage| stage.effects.iter().any(|it| matches!(it, Effect::DeleteDraft(_)));
    assert!(!deletes(&stage), "there may be one from before");
    let mut stage = typed_ahead(&["a", "<Esc>"]);
    stage.serve();
    assert!(stage.model.edit.is_none() && !deletes(&stage));
    let parked = stage.model.parked.values().next().expect("it is kept");
    assert!(parked.bytes.starts_with(b"a"));
}

#[test]
fn drafts_of_earlier_consoles_are_counted_and_named_before_they_are_opened() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>"]);
    let of = stage.model.selected_message().unwrap();
    assert!(!stage.screen().contains("DRAFT"), "{}", stage.screen());
    stage.act(Action::DraftsFound { messages: vec![of.clone()] });
    let screen = stage.screen();
    assert!(screen.contains("drafts 1") && screen.contains("YOUR DRAFT"), "{screen}");
    // Open it is no other one; thrown away it is none.
    stage.press(&["e"]);
    assert!(!stage.screen().contains("drafts 1"), "{}", stage.screen());
    stage.act(Action::DraftLoaded { message: of, draft: Ok(None) });
    stage.press(&["<Esc>"]);
    assert!(!stage.screen().contains("DRAFT"), "{}", stage.screen());
}

#[test]
fn who_edits_in_another_console_too_is_told() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>"]);
    stage.press(&["e"]);
    let of = stage.model.selected_message().unwrap();
    stage.act(Action::DraftLoaded { message: of.clone(), draft: Ok(None) });
    stage.act(Action::DraftElsewhere { message: of });
    assert!(stage.screen().contains("another console of yours edits it too"), "{}", stage.screen());
}

#[test]
fn a_hold_that_was_given_back_is_not_shown() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>"]);
    let of = stage.model.selected_message().unwrap();
    let hold = HoldView { by: actor("me"), until: Timestamp(u64::MAX / 2) };
    let view = stage.model.message.as_mut().and_then(|screen| screen.view.as_mut()).unwrap();
    view.hold = Some(hold);
    assert!(stage.screen().contains("held by me"), "{}", stage.screen());
    stage.keys(&["e", "<Esc>"]);
    assert!(!stage.screen().contains("held by"), "{}", stage.screen());
    assert_eq!(stage.model.selected_message(), Some(of));
}

#[test]
fn who_edits_in_another_console_too_is_told_beside_what_the_draft_began_from() {
    let mut stage = Stage::failing((80, 24), |_| {});
    let view = stage.messages.get_mut(&("orders".to_owned(), 3)).unwrap();
    view.summary.revision = Revision(13);
    stage.keys(&TO_EDITOR[..2]);
    stage.press(&["e"]);
    let of = stage.model.selected_message().unwrap();
    let draft = SavedDraft { bytes: Bytes::from_static(b"from before"), base: Revision(11) };
    stage.act(Action::DraftLoaded { message: of.clone(), draft: Ok(Some(draft)) });
    stage.act(Action::DraftElsewhere { message: of });
    let line = outcome_line(&stage);
    assert!(line.contains("began at revision 11, now 13: ^S shows both"), "{line}");
    assert!(line.ends_with("another console edits it"), "{line}");
}

#[test]
fn a_save_that_is_answered_after_its_draft_was_removed_leaves_no_draft_behind() {
    let mut stage = editing();
    let of = stage.model.selected_message().unwrap();
    stage.press(&["a"]);
    stage.wait(1_000);
    let (late, _) = saves(&stage)[0];
    stage.press(&["<Backspace>", "<Esc>"]);
    assert!(stage.effects.contains(&Effect::DeleteDraft(of.clone())));
    saved(&mut stage, &of, late, Ok(()));
    assert!(!stage.screen().contains("DRAFT") && !stage.screen().contains("drafts 1"));
    // Nor one that is answered once the message is edited again.
    stage.press(&["e"]);
    saved(&mut stage, &of, late, Ok(()));
    stage.act(Action::DraftRemoved { message: of.clone(), left: Ok(false), by_hand: false });
    stage.act(Action::DraftLoaded { message: of, draft: Ok(None) });
    assert!(stage.model.kept.is_empty());
}

#[test]
fn another_draft_of_a_message_is_told_of_once_this_one_is_removed() {
    let mut stage = editing();
    let of = stage.model.selected_message().unwrap();
    stage.press(&["<Esc>"]);
    assert!(!stage.screen().contains("DRAFT"), "{}", stage.screen());
    stage.act(Action::DraftRemoved { message: of, left: Ok(true), by_hand: false });
    assert!(stage.screen().contains("YOUR DRAFT"), "{}", stage.screen());
}

/// The question about the message that waits last for its answer.
fn asked(stage: &Stage) -> Option<RequestId> {
    stage.effects.iter().rev().find_map(|effect| match effect {
        Effect::Ask(id, Request::Message(_)) => Some(*id),
        _ => None,
    })
}

#[test]
fn a_hold_that_was_given_back_does_not_come_back_with_what_was_asked_before() {
    let mut stage = editing();
    // Its queue stirs: what stands around the message is asked for, and not answered yet.
    stage.model.screen = crate::console::command::Screen::Message;
    stage.model.message.as_mut().unwrap().stirred = true;
    stage.wait(60_000);
    let request = asked(&stage).expect("it is asked");
    stage.press(&["<Esc>"]);
    let release = stage.effects.iter().rev().find_map(|effect| match effect {
        Effect::Ask(id, Request::Hold(_, 0)) => Some(*id),
        _ => None,
    });
    let released = Reply::Held(None);
    stage.act(Action::Reply { request: release.expect("given back"), reply: Ok(released) });
    let mut before = stage.messages[&("orders".to_owned(), 3)].clone();
    before.hold = Some(HoldView { by: actor("me"), until: Timestamp(u64::MAX / 2) });
    stage.act(Action::Reply { request, reply: Ok(Reply::Message(Box::new(before))) });
    stage.effects.clear();
    stage.wait(60_000);
    stage.serve();
    assert!(!stage.screen().contains("held by"), "{}", stage.screen());
    // Once.
    stage.wait(60_000);
    assert_eq!(asked(&stage), None);
}
