//! Drafts that were left: they are listed, saved to files and thrown away, whatever has become of their messages.

use std::path::PathBuf;

use super::repair::{answer, line, sent};
use crate::admin::dto::{MessageState, Problem, Seq};
use crate::console::action::{Action, Failure};
use crate::console::effect::{Effect, Request, RequestId};
use crate::console::fixtures::{Stage, name};
use crate::console::model::MessageRef;

/// On the queues, with a draft of a message that is `state` now, or gone.
fn left_over(state: Option<MessageState>) -> (Stage, MessageRef) {
    let mut stage = Stage::failing((80, 24), |_| {});
    let of = MessageRef { queue: name("orders"), seq: Seq(7) };
    let view = stage.messages.get_mut(&("orders".to_owned(), 7)).unwrap();
    if let Some(state) = state {
        view.summary.state = state;
    }
    stage.act(Action::DraftsFound { messages: vec![of.clone()] });
    (stage, of)
}

/// What the broker has no answer to: the message is not there.
fn asked(stage: &Stage) -> Option<RequestId> {
    stage.effects.iter().find_map(|effect| match effect {
        Effect::Ask(id, Request::Message(_)) => Some(*id),
        _ => None,
    })
}

fn thrown(stage: &Stage) -> Vec<MessageRef> {
    let all = stage.effects.iter().filter_map(|effect| match effect {
        Effect::ThrowDraftAway(message) => Some(message.clone()),
        _ => None,
    });
    all.collect()
}

#[test]
fn the_palette_lists_the_drafts_and_goes_to_their_messages() {
    let (mut stage, of) = left_over(None);
    stage.keys(&[":", "draft"]);
    let screen = stage.screen();
    assert!(screen.lines().any(|line| line.contains(" draft orders #7 ")), "{screen}");
    assert!(screen.contains("To its message"), "the chosen one: {screen}");
    stage.keys(&["<Enter>"]);
    assert_eq!(stage.model.selected_message(), Some(of));
    assert!(stage.screen().contains("YOUR DRAFT"), "{}", stage.screen());
    stage.keys(&["e"]);
    assert!(stage.model.edit.is_some());
}

#[test]
fn a_draft_of_a_message_that_is_done_is_saved_to_a_file_or_thrown_away_once_its_place_is_typed() {
    for state in [Some(MessageState::Cancelled), Some(MessageState::Done), None] {
        let (mut stage, of) = left_over(state);
        if state.is_none() {
            stage.messages.remove(&("orders".to_owned(), 7));
        }
        stage.keys(&[":", "draft", "<Enter>"]);
        if let Some(request) = asked(&stage) {
            let gone = Problem { status: 404, ..Problem::default() };
            answer(&mut stage, request, Err(Failure::Refused(Box::new(gone))));
        }
        assert!(stage.screen().contains("YOUR DRAFT"), "{}", stage.screen());
        stage.keys(&["e"]);
        let said = line(&stage, 22);
        assert!(said.contains("type : draft to save its draft or throw it away"), "{said}");
        stage.keys(&[":", "save draft", "<Enter>", "/tmp/x", "<Enter>"]);
        let copy = Effect::CopyDraft(of.clone(), PathBuf::from("/tmp/x"));
        assert!(stage.effects.contains(&copy), "{:?}", stage.effects);
        stage.keys(&[":", "throw", "<Enter>", "<Enter>", "8", "<Enter>"]);
        assert!(stage.screen().contains("not the one that is asked for"), "{}", stage.screen());
        assert_eq!((thrown(&stage).len(), stage.model.kept.len()), (0, 1));
        stage.keys(&["<Backspace>", "7", "<Enter>"]);
        assert_eq!(thrown(&stage), std::slice::from_ref(&of));
        stage.act(Action::DraftRemoved { message: of, left: Ok(false), by_hand: true });
        assert!(line(&stage, 22).contains("draft of orders #7 is thrown away"));
        assert!(!stage.screen().contains("drafts 1") && !stage.screen().contains("YOUR DRAFT"));
    }
}

#[test]
fn an_edit_that_was_left_is_saved_to_a_file_from_memory_and_thrown_away_without_a_broker() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", "e"]);
    let of = stage.model.selected_message().unwrap();
    stage.keys(&["typed", "<Esc>"]);
    stage.act(Action::Lost {
        reason: "gone".into(),
        failures: 1,
        retry_in_ms: 1_000,
        refused: false,
    });
    stage.keys(&[":", "save draft", "<Enter>", "/tmp/x", "<Enter>"]);
    let written = stage.effects.iter().find_map(|effect| match effect {
        Effect::WriteFile(_, bytes) => Some(bytes.clone()),
        _ => None,
    });
    assert!(written.expect("it is written").starts_with(b"typed"));
    stage.keys(&[":", "throw", "<Enter>", "3", "<Enter>"]);
    // No other console's draft is: this one may not be on disk.
    assert!(thrown(&stage).is_empty() && stage.effects.contains(&Effect::DeleteDraft(of)));
    assert!(stage.model.parked.is_empty() && stage.model.kept.is_empty());
}

#[test]
fn a_draft_whose_repair_has_no_answer_is_not_thrown_away() {
    let (mut stage, _) = sent();
    let of = stage.model.selected_message().unwrap();
    assert!(stage.model.parked.contains_key(&of) && stage.model.has_draft(&of));
    stage.keys(&[":", "throw", "<Enter>"]);
    let said = line(&stage, 22);
    assert!(said.contains("a repair of it has no answer yet"), "{said}");
    assert!(!stage.screen().contains("Type its place"), "{}", stage.screen());
}

#[test]
fn without_a_draft_and_read_only_nothing_is_thrown_away() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", ":", "throw", "<Enter>"]);
    assert!(line(&stage, 22).contains("there is no draft of orders #3"));
    let mut stage = Stage::failing((80, 24), |setup| setup.read_only = true);
    stage.keys(&["<Enter>", "<Enter>"]);
    let of = stage.model.selected_message().unwrap();
    stage.act(Action::DraftsFound { messages: vec![of] });
    stage.keys(&[":", "throw", "<Enter>"]);
    assert!(line(&stage, 22).contains("read-only"), "{}", line(&stage, 22));
    assert!(!stage.screen().contains("Type its place"));
}
