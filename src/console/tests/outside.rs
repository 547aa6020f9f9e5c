//! The operator's own editor.

use bytes::Bytes;

use crate::console::action::Action;
use crate::console::effect::Effect;
use crate::console::fixtures::{PAYLOAD, Stage, blocked, message};
use crate::console::model::MessageRef;

fn handed(stage: &Stage) -> Option<(MessageRef, Bytes)> {
    stage.effects.iter().find_map(|effect| match effect {
        Effect::EditOutside(message, bytes) => Some((message.clone(), bytes.clone())),
        _ => None,
    })
}

fn back(stage: &mut Stage, result: Result<&'static str, &str>) {
    let message = stage.model.edit.as_ref().expect("it is open").message.clone();
    stage.effects.retain(|effect| !matches!(effect, Effect::EditOutside(..)));
    let result = result.map(|text| Bytes::from_static(text.as_bytes())).map_err(str::to_owned);
    stage.act(Action::EditedOutside { message, result });
    stage.serve();
}

fn text(stage: &Stage) -> String {
    stage.model.edit.as_ref().expect("it is open").editor.text().to_owned()
}

#[test]
fn the_editor_gets_the_exact_bytes_and_what_it_leaves_is_reviewed() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "E"]);
    let (_, bytes) = handed(&stage).expect("it is handed out");
    assert_eq!(bytes, PAYLOAD.as_bytes());
    back(&mut stage, Ok("{\"total\":7}\n"));
    assert_eq!(text(&stage), "{\"total\":7}", "the newline is the editor's own");
    assert!(stage.repair().is_none(), "nothing is sent");
    stage.keys(&["^s", "<Tab>", "<Enter>"]);
    let (_, request) = stage.repair().expect("after the review");
    assert_eq!(request.payload.unwrap().into_bytes().unwrap(), &b"{\"total\":7}"[..]);
}

#[test]
fn from_the_console_s_editor_the_draft_goes_out_and_comes_back_as_one_step() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", "e", " ", "^o"]);
    let (_, bytes) = handed(&stage).expect("it is handed out");
    assert_eq!(bytes, format!(" {PAYLOAD}").as_bytes());
    stage.keys(&["^o"]);
    let twice = stage.effects.iter().filter(|it| matches!(it, Effect::EditOutside(..))).count();
    assert_eq!(twice, 1);
    back(&mut stage, Ok("[]"));
    stage.keys(&["^u"]);
    assert_eq!(text(&stage), format!(" {PAYLOAD}"));
}

#[test]
fn an_editor_that_fails_changes_nothing() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "E"]);
    back(&mut stage, Err("it ended with exit status: 1; the text is as it was"));
    assert_eq!(text(&stage), PAYLOAD);
    assert!(stage.screen().contains("the text is as it was"), "{}", stage.screen());
    let mut stage = Stage::failing((80, 24), |setup| setup.editor = None);
    stage.keys(&["<Enter>", "E"]);
    assert!(handed(&stage).is_none() && stage.screen().contains("$EDITOR is set"));
}

#[test]
fn a_large_payload_is_handed_out_at_once_and_says_so() {
    let long: &'static str = format!("[{}0]", "1,".repeat(150_000)).leak();
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.messages.insert(("orders".into(), 3), message("orders", blocked(3), long.as_bytes()));
    stage.keys(&["<Enter>", "<Enter>", "e"]);
    assert!(handed(&stage).is_some());
    assert!(stage.screen().contains("292 KiB: handed to $EDITOR"), "{}", stage.screen());
    back(&mut stage, Ok(long));
    assert!(stage.screen().contains("nothing was changed"), "{}", stage.screen());
    let mut stage = Stage::failing((80, 24), |setup| setup.editor = None);
    stage.messages.insert(("orders".into(), 3), message("orders", blocked(3), long.as_bytes()));
    stage.keys(&["<Enter>", "<Enter>", "e"]);
    assert!(handed(&stage).is_none());
    assert!(stage.screen().contains("set $EDITOR"), "{}", stage.screen());
}

#[test]
fn an_editor_that_was_asked_for_and_left_does_not_open_later() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>"]);
    stage.press(&["E", "<Esc>"]);
    stage.serve();
    assert!(stage.model.edit.is_none() && handed(&stage).is_none());
    stage.keys(&["E"]);
    assert!(handed(&stage).is_some());
}

#[test]
fn what_has_changed_is_read_before_it_is_reviewed() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", "e", " "]);
    stage.model.message.as_mut().expect("it is shown").outdated = true;
    stage.press(&["^s"]);
    assert!(stage.screen().contains("is being read again"), "{}", stage.screen());
    stage.serve();
    assert!(stage.screen().contains("Retry with this"), "{}", stage.screen());
}

#[test]
fn a_review_that_was_asked_for_does_not_open_under_keys_that_came_after_it() {
    for after in ["z", "<Left>", "^f"] {
        let mut stage = Stage::failing((80, 24), |_| {});
        stage.keys(&["<Enter>", "<Enter>", "e", " "]);
        stage.model.message.as_mut().expect("it is shown").outdated = true;
        stage.press(&["^s", after]);
        stage.serve();
        assert!(!stage.screen().contains("Retry with this"), "{after}: {}", stage.screen());
    }
}
