//! What the review and the outcome's line say while others act and connections come and go.

use super::repair::{answer, line, outcome, reviewed, sent};
use crate::admin::dto::{
    HoldView, JournalKind, MessageState, Problem, QueueState, RepairVerb, Revision, StreamEvent,
    Timestamp,
};
use crate::console::action::{Action, Failure, Reply};
use crate::console::effect::{Effect, Request, RequestId};
use crate::console::fixtures::{Stage, actor, blocked, entry, head, id, message, name, queue};

fn lose(stage: &mut Stage) {
    let reason = "gone".to_owned();
    stage.act(Action::Lost { reason, failures: 1, retry_in_ms: 500, refused: false });
}

/// What is asked of a message and has no answer yet.
fn asked(stage: &Stage) -> Option<RequestId> {
    stage.effects.iter().find_map(|effect| match effect {
        Effect::Ask(id, Request::Message(_)) => Some(*id),
        _ => None,
    })
}

#[test]
fn in_the_review_what_is_off_says_why_whatever_was_told_before() {
    let mut stage = reviewed();
    if let Some(edit) = &mut stage.model.edit {
        edit.notice = Some("your draft from before is here".to_owned());
    }
    lose(&mut stage);
    assert!(stage.screen().contains("RETRY AND SAVE ARE OFF: no connection"), "{}", stage.screen());
    stage.keys(&["<Tab>", "<Enter>"]);
    assert!(line(&stage, 22).contains("NOT DONE, no connection"), "{}", line(&stage, 22));
    assert_eq!(stage.repair(), None);
    stage.act(Action::Connected);
    assert!(!stage.screen().contains("ARE OFF"), "{}", stage.screen());
}

#[test]
fn a_change_by_others_takes_nothing_away_from_the_review() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", "e", "<End>", "<Left>", ",\"fixed\":true"]);
    let mut view = message("orders", blocked(3), b"{\"by\":\"bob\"}");
    view.summary.revision = Revision(1);
    view.header.insert("source".to_owned(), "elsewhere".into());
    stage.messages.insert(("orders".into(), 3), view);
    stage.act(Action::Stream(Box::new(StreamEvent::Lagged { missed: 1 })));
    stage.serve();
    stage.keys(&["^s"]);
    let screen = stage.screen();
    for text in [
        "CHANGED MEANWHILE: you began from revision 0; this replaces revision 1",
        "41 of its key wait behind  held by you  headers: changed meanwhile, kept",
        "! header ~ source",
        "[> Back <]",
    ] {
        let text = &text[..text.len().min(79)];
        assert!(screen.contains(text), "{text:?} is not in\n{screen}");
    }
}

#[test]
fn the_review_says_who_else_holds_the_message() {
    let mut stage = reviewed();
    assert!(line(&stage, 2).contains("held by you"), "{}", line(&stage, 2));
    let hold = HoldView { by: actor("bob"), until: Timestamp(1_700_000_100_000) };
    stage.messages.get_mut(&("orders".into(), 3)).unwrap().hold = Some(hold);
    lose(&mut stage);
    stage.act(Action::Connected);
    stage.serve();
    if let Some(edit) = &mut stage.model.edit {
        edit.hold = crate::console::model::HoldState::Refused("bob edits it".to_owned());
    }
    assert!(line(&stage, 2).contains("held by bob"), "{}", line(&stage, 2));
}

#[test]
fn what_waits_behind_an_open_message_is_kept_true_by_one_question_a_second_at_most() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>"]);
    stage.wait(5_000);
    assert_eq!(asked(&stage), None, "nothing has changed");
    for behind in [57, 58] {
        stage.messages.get_mut(&("orders".into(), 3)).unwrap().behind = behind;
        for depth in [43, 44] {
            let moved = head(&blocked(3));
            let view = queue("orders", QueueState::Blocked, depth, Some(moved));
            stage.hear(StreamEvent::Queues(vec![view]));
        }
        assert_eq!(asked(&stage), None, "it is not yet time");
        stage.wait(1_000);
        let questions = stage
            .effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Ask(_, Request::Message(_))));
        assert_eq!(questions.count(), 1);
        stage.serve();
        assert!(stage.screen().contains(&format!("{behind} behind")), "{}", stage.screen());
    }
}

#[test]
fn a_lost_connection_makes_a_sent_repair_unknown_at_once_and_nothing_of_that_is_cut() {
    for (width, height) in [(80, 24), (60, 15)] {
        let (mut stage, request) = sent();
        stage.act(Action::Resize { width, height });
        lose(&mut stage);
        let said = line(&stage, usize::from(height) - 2);
        assert!(said.contains("UNKNOWN; asking") && !said.ends_with(['…', '~']), "{said}");
        // The request itself may still be on its way: a broker that doesn't know it yet has not said the last word.
        stage.act(Action::Connected);
        for _ in 0..4 {
            let outcome = stage.effects.iter().find_map(|effect| match effect {
                Effect::Ask(id, Request::Outcome(_)) => Some(*id),
                _ => None,
            });
            answer(&mut stage, outcome.expect("asked for"), Ok(Reply::Outcome(None)));
            stage.wait(2_000);
        }
        assert_eq!(stage.model.acts.in_flight.len(), 1);
        let done = crate::admin::dto::RepairOutcome {
            key: stage.model.acts.in_flight.values().next().unwrap().request.key.clone(),
            queue: name("orders"),
            seq: crate::admin::dto::Seq(3),
            id: id(3),
            revision: Revision(1),
            state: MessageState::Ready,
            moved: None,
            journal: 8,
            repeated: false,
        };
        answer(&mut stage, request, Ok(Reply::Repaired(done)));
        assert!(stage.model.acts.in_flight.is_empty());
    }
}

#[test]
fn a_retry_whose_head_was_still_being_read_is_not_done_when_the_connection_is_lost() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.press(&["r"]);
    let request = asked(&stage).expect("the head is read");
    lose(&mut stage);
    assert!(line(&stage, 22).contains("NOT DONE, no connection"), "{}", line(&stage, 22));
    stage.act(Action::Connected);
    let view = stage.messages[&("orders".to_owned(), 3)].clone();
    stage.act(Action::Reply { request, reply: Ok(Reply::Message(Box::new(view))) });
    assert_eq!(stage.repair(), None, "it was said not to be done");
}

/// A save of revision 1, after which the message is as `change` makes it.
fn saved(verb: RepairVerb, change: impl FnOnce(&mut crate::admin::dto::MessageView)) -> Stage {
    let (mut stage, request) = sent();
    let mut done = outcome(&stage);
    (done.revision, done.state) = (Revision(1), MessageState::Blocked);
    let view = stage.messages.get_mut(&("orders".to_owned(), 3)).unwrap();
    view.summary.revision = Revision(1);
    view.undo = Some("save the content of revision 0 again".to_owned());
    change(view);
    answer(&mut stage, request, Ok(Reply::Repaired(done)));
    if let Some(crate::console::model::Undoable::Repair { verb: was, .. }) =
        &mut stage.model.acts.undo
    {
        *was = verb;
    }
    stage
}

#[test]
fn an_undo_that_comes_too_late_says_what_has_happened() {
    let mut undone = entry(9, JournalKind::RevisionUndone, "orders", Some(3), "");
    undone.actor = actor("bob");
    let mut stage = saved(RepairVerb::SaveAndRetry, |view| {
        (view.summary.revision, view.undo) = (Revision(2), None);
        view.history.push(undone);
    });
    assert!(!line(&stage, 23).contains("u undo"), "{}", line(&stage, 23));
    stage.keys(&["u"]);
    assert!(line(&stage, 22).contains("bob has undone it already"), "{}", line(&stage, 22));

    let mut stage = saved(RepairVerb::SaveAndRetry, |view| {
        (view.summary.state, view.undo) = (MessageState::Leased, None);
    });
    stage.keys(&["u"]);
    assert!(line(&stage, 22).contains("a worker has it"), "{}", line(&stage, 22));

    let mut restored = entry(9, JournalKind::Restored, "orders", Some(3), "");
    restored.actor = actor("bob");
    let mut stage = saved(RepairVerb::Cancel, |view| view.history.push(restored));
    stage.keys(&["u"]);
    assert!(line(&stage, 22).contains("bob put it back"), "{}", line(&stage, 22));
    assert_eq!(stage.repair(), None, "an older edit is not undone in its place");
}

#[test]
fn what_somebody_else_saved_after_an_edit_is_not_undone_by_it() {
    let mut theirs = entry(9, JournalKind::Saved, "orders", Some(3), "");
    theirs.actor = actor("bob");
    let mut stage = saved(RepairVerb::SaveAndRetry, |view| {
        view.summary.revision = Revision(2);
        view.undo = Some("save the content of revision 1 again".to_owned());
        view.history.push(theirs);
    });
    stage.keys(&["u"]);
    assert_eq!(stage.repair(), None);
    assert!(line(&stage, 22).contains("bob has changed it since"), "{}", line(&stage, 22));
}

#[test]
fn what_somebody_else_cancelled_after_an_act_is_not_put_back_for_it() {
    for verb in [RepairVerb::Save, RepairVerb::SaveAndRetry, RepairVerb::Cancel] {
        let by_bob = |number, kind| {
            let mut entry = entry(number, kind, "orders", Some(3), "");
            entry.actor = actor("bob");
            entry
        };
        let mut stage = saved(verb, |view| {
            view.summary.state = MessageState::Cancelled;
            view.undo = Some("restore the cancelled message to its place".to_owned());
            if verb == RepairVerb::Cancel {
                // Put back in between.
                view.history.push(entry(8, JournalKind::Cancelled, "orders", Some(3), ""));
                view.history.push(by_bob(9, JournalKind::Restored));
            }
            view.history.push(by_bob(10, JournalKind::Cancelled));
        });
        assert!(!line(&stage, 23).contains("u undo"), "{}", line(&stage, 23));
        stage.keys(&["u"]);
        assert_eq!(stage.repair(), None, "{verb:?}");
        assert!(line(&stage, 22).contains("bob has cancelled it since"), "{}", line(&stage, 22));
    }
    let mut stage = saved(RepairVerb::Save, |view| {
        view.summary.state = MessageState::Cancelled;
        view.undo = Some("restore the cancelled message to its place".to_owned());
    });
    stage.keys(&["u"]);
    assert!(line(&stage, 22).contains("it was cancelled since"), "{}", line(&stage, 22));
}

#[test]
fn an_own_cancel_is_put_back() {
    let mut stage = saved(RepairVerb::Cancel, |view| {
        view.summary.state = MessageState::Cancelled;
        view.undo = Some("restore the cancelled message to its place".to_owned());
        view.history.push(entry(8, JournalKind::Cancelled, "orders", Some(3), ""));
    });
    stage.keys(&["u"]);
    assert_eq!(stage.repair().map(|(_, request)| request.action), Some(RepairVerb::Restore));
}

#[test]
fn a_short_id_finds_the_heads_of_all_queues_and_else_says_what_was_searched() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&[":", "000009", "<Enter>"]);
    let shown = stage.model.message.as_ref().map(|screen| screen.message.to_string());
    assert_eq!(shown.as_deref(), Some("invoices #9"), "a head of a queue that was not listed");

    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&[":", "c93dae", "<Enter>"]);
    let request = stage.effects.iter().find_map(|effect| match effect {
        Effect::Ask(id, Request::Locate(_)) => Some(*id),
        _ => None,
    });
    let problem = Problem {
        status: 404,
        detail: "no message \"c93dae\" waits in any queue".to_owned(),
        ..Problem::default()
    };
    let reply = Err(Failure::Refused(Box::new(problem)));
    answer(&mut stage, request.expect("the broker is asked"), reply);
    let said = line(&stage, 22);
    let searched = "NOT DONE, no message has this whole id; by its end: list its queue";
    assert!(said.contains(searched) && !said.contains("waits in any"), "{said}");
}
