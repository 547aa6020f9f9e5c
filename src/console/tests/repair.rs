//! Edit, review, retry: every way that it can go.

use crate::admin::dto::{
    JournalKind, MessageState, MovedTo, Notice, Problem, QueueState, RepairOutcome, RepairVerb,
    Revision, StreamEvent, told,
};
use crate::console::action::{Action, Failure, Reply};
use crate::console::effect::{Effect, Request, RequestId};
use crate::console::fixtures::{PAYLOAD, Stage, blocked, entry, head, id, message, name, queue};

/// A message edited up to the review.
pub(super) fn reviewed() -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", "e", "<End>", "<Left>", ",\"fixed\":true", "^s"]);
    assert!(stage.screen().contains("REVIEW"), "{}", stage.screen());
    stage
}

/// And sent.
pub(super) fn sent() -> (Stage, RequestId) {
    let mut stage = reviewed();
    stage.keys(&["<Tab>", "<Enter>"]);
    let (id, _) = stage.repair().expect("a repair was sent");
    (stage, id)
}

pub(super) fn outcome(stage: &Stage) -> RepairOutcome {
    let (_, request) = stage.repair().expect("a repair was sent");
    RepairOutcome {
        key: request.key,
        queue: name("orders"),
        seq: crate::admin::dto::Seq(3),
        id: id(3),
        revision: Revision(1),
        state: MessageState::Ready,
        moved: None,
        journal: 8,
        repeated: false,
    }
}

pub(super) fn answer(stage: &mut Stage, request: RequestId, reply: Result<Reply, Failure>) {
    stage.effects.retain(|effect| !matches!(effect, Effect::Ask(id, _) if *id == request));
    stage.act(Action::Reply { request, reply });
    stage.serve();
}

fn refused(code: &str) -> Result<Reply, Failure> {
    Err(Failure::Refused(Box::new(Problem {
        code: code.to_owned(),
        status: 409,
        detail: "revision 1 is there, 0 was seen; bob saved it".to_owned(),
        ..Problem::default()
    })))
}

pub(super) fn line(stage: &Stage, n: usize) -> String {
    stage.screen().lines().nth(n).unwrap_or_default().to_owned()
}

fn draft_is_kept(stage: &Stage) -> bool {
    stage.model.parked.values().any(|parked| parked.bytes.ends_with(b",\"fixed\":true}"))
}

#[test]
fn enter_alone_goes_back_and_sends_nothing() {
    let mut stage = reviewed();
    stage.keys(&["<Enter>"]);
    assert_eq!(stage.repair(), None);
    assert!(stage.screen().contains("EDIT"), "{}", stage.screen());
}

#[test]
fn a_repair_names_what_was_seen_and_carries_the_exact_bytes() {
    let (stage, _) = sent();
    let (_, request) = stage.repair().unwrap();
    assert_eq!(request.action, RepairVerb::SaveAndRetry);
    assert_eq!(request.expect_revision, Revision(0));
    let bytes = request.payload.unwrap().into_bytes().unwrap();
    let expected = PAYLOAD.replace("1.10}", "1.10,\"fixed\":true}");
    assert_eq!(bytes, expected.as_bytes());
}

#[test]
fn accepted_then_running_then_the_head_advanced() {
    let (mut stage, request) = sent();
    let done = outcome(&stage);
    stage.messages.get_mut(&("orders".into(), 3)).unwrap().summary.state = MessageState::Ready;
    answer(&mut stage, request, Ok(Reply::Repaired(done)));
    assert!(line(&stage, 22).contains("accepted"), "{}", line(&stage, 22));
    assert!(stage.model.parked.is_empty(), "the broker has the text");
    let mut summary = blocked(3);
    summary.state = MessageState::Leased;
    let running = queue("orders", crate::admin::dto::QueueState::Running, 42, Some(head(&summary)));
    stage.hear(StreamEvent::Queues(vec![running]));
    assert!(line(&stage, 22).contains("running"), "{}", line(&stage, 22));
    stage.hear(told(Notice::Recovered {
        queue: name("orders"),
        seq: crate::admin::dto::Seq(3),
        id: id(3),
    }));
    assert!(line(&stage, 22).contains("HEAD ADVANCED"), "{}", line(&stage, 22));
}

#[test]
fn failed_again_shows_the_new_error_even_if_it_came_before_the_answer() {
    let (mut stage, request) = sent();
    let done = outcome(&stage);
    let journal = entry(9, JournalKind::Blocked, "orders", Some(3), "exit-2: still bad");
    stage.hear(told(Notice::Journal { entry: journal }));
    stage.messages.get_mut(&("orders".into(), 3)).unwrap().summary.state = MessageState::Blocked;
    answer(&mut stage, request, Ok(Reply::Repaired(done)));
    assert!(line(&stage, 22).contains("FAILED AGAIN exit-2: still bad"), "{}", line(&stage, 22));
}

#[test]
fn changed_meanwhile_keeps_both_texts() {
    let (mut stage, request) = sent();
    let mut view = message("orders", blocked(3), b"{\"by\":\"bob\"}");
    view.summary.revision = Revision(1);
    stage.messages.insert(("orders".into(), 3), view);
    answer(&mut stage, request, refused("changed"));
    assert!(line(&stage, 22).contains("CHANGED MEANWHILE"), "{}", line(&stage, 22));
    assert!(draft_is_kept(&stage));
    stage.keys(&["e", "^s"]);
    let screen = stage.screen();
    assert!(screen.contains("CHANGED MEANWHILE") && screen.contains("bob"), "{screen}");
    stage.keys(&["<Tab>", "<Enter>"]);
    let (_, request) = stage.repair().unwrap();
    assert_eq!(request.expect_revision, Revision(1), "what the review showed");
}

#[test]
fn without_an_answer_it_is_unknown_until_its_key_is_asked_for() {
    let (mut stage, request) = sent();
    let done = outcome(&stage);
    answer(&mut stage, request, Err(Failure::Unknown("the connection was lost".into())));
    assert!(line(&stage, 22).contains("UNKNOWN"), "{}", line(&stage, 22));
    assert!(draft_is_kept(&stage));
    stage.keys(&["r"]);
    assert_eq!(stage.repair(), None, "nothing is sent while the outcome is unknown");
    let asked = stage.effects.iter().find_map(|effect| match effect {
        Effect::Ask(id, Request::Outcome(key)) if *key == done.key => Some(*id),
        _ => None,
    });
    answer(&mut stage, asked.expect("its outcome is asked for"), Ok(Reply::Outcome(Some(done))));
    assert!(!draft_is_kept(&stage));
    assert!(stage.model.acts.in_flight.is_empty());
}

#[test]
fn a_repair_that_never_arrived_is_said_to_be_not_done_and_the_draft_stays() {
    let (mut stage, request) = sent();
    answer(&mut stage, request, Err(Failure::Unknown("the connection was lost".into())));
    for _ in 0..3 {
        let asked = stage.effects.iter().find_map(|effect| match effect {
            Effect::Ask(id, Request::Outcome(_)) => Some(*id),
            _ => None,
        });
        answer(&mut stage, asked.expect("asked again"), Ok(Reply::Outcome(None)));
        stage.wait(2_000);
    }
    assert!(stage.model.acts.in_flight.is_empty());
    assert!(draft_is_kept(&stage));
    assert!(line(&stage, 22).contains("NOT DONE"), "{}", line(&stage, 22));
}

#[test]
fn broken_json_is_not_submitted_and_the_cursor_goes_there() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", "e", "<End>", "oops", "<End>", "^s"]);
    assert!(stage.screen().contains("not JSON at 1:"), "{}", stage.screen());
    assert!(!stage.screen().contains("REVIEW"));
}

#[test]
fn a_cancel_needs_the_typed_id_and_a_reason() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "x", "<Enter>"]);
    assert_eq!(stage.repair(), None);
    stage.keys(&["000003", "<Enter>"]);
    assert_eq!(stage.repair(), None);
    stage.keys(&["a test order", "<Enter>"]);
    let (_, request) = stage.repair().expect("sent");
    assert_eq!((request.action, request.reason.as_str()), (RepairVerb::Cancel, "a test order"));
}

#[test]
fn a_message_goes_to_the_dead_letters_once_its_id_is_typed() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "D", "<Enter>"]);
    assert_eq!(stage.repair(), None);
    stage.keys(&["000003", "<Enter>"]);
    let (id, request) = stage.repair().expect("sent");
    assert_eq!(
        (request.action, &request.to, request.reason.as_str()),
        (RepairVerb::DeadLetter, &None, "")
    );
    let moved = Some(MovedTo { queue: name("orders.dead"), seq: crate::admin::dto::Seq(1) });
    let done = RepairOutcome { moved, ..outcome(&stage) };
    answer(&mut stage, id, Ok(Reply::Repaired(done)));
    assert!(line(&stage, 22).contains("it is orders.dead 1 now"), "{}", line(&stage, 22));
}

#[test]
fn a_message_is_moved_to_the_queue_that_is_typed() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "m", "000003", "no such name", "<Enter>"]);
    assert_eq!(stage.repair(), None);
    assert!(stage.screen().contains("queue has ' ' at byte 2"), "{}", stage.screen());
    let keys = ["<Backspace>"; "no such name".len()];
    stage.keys(&keys);
    stage.keys(&["by-hand", "<Tab>", "why not", "<Enter>"]);
    let (_, request) = stage.repair().expect("sent");
    let to = Some(name("by-hand"));
    assert_eq!(
        (request.action, request.to, request.reason.as_str()),
        (RepairVerb::Move, to, "why not")
    );
}

#[test]
fn after_the_typed_id_tab_goes_to_the_reason_and_not_back() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "x", "000003", "<Tab>", "a test order", "<Enter>"]);
    let (_, request) = stage.repair().expect("sent");
    assert_eq!(request.reason, "a test order");
}

#[test]
fn retrying_the_head_from_the_queues_reads_its_revision_first() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["r"]);
    let (_, request) = stage.repair().expect("sent");
    assert_eq!(request.action, RepairVerb::Retry);
}

#[test]
fn leaving_an_unchanged_text_ends_the_word_of_its_editing() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", "e"]);
    assert!(line(&stage, 22).contains("editing"), "{}", line(&stage, 22));
    stage.keys(&["<Esc>"]);
    assert!(!line(&stage, 22).contains("editing"), "{}", line(&stage, 22));
}

#[test]
fn quitting_asks_only_while_something_is_typed() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", "e", "x", "^c"]);
    assert!(!stage.effects.contains(&Effect::Quit));
    stage.keys(&["y"]);
    assert!(stage.effects.contains(&Effect::Quit));
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["q"]);
    assert_eq!(stage.effects, [Effect::Quit]);
}

#[test]
fn a_pause_can_be_undone() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["p"]);
    assert!(line(&stage, 23).contains("u undo"), "{}", line(&stage, 23));
    stage.keys(&["u"]);
    assert!(line(&stage, 22).contains("resume orders: done"), "{}", line(&stage, 22));
}

#[test]
fn a_cancel_whose_successor_was_delivered_offers_no_undo() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>", "x", "000003", "twice", "<Enter>"]);
    let (request, _) = stage.repair().expect("sent");
    let done = RepairOutcome { state: MessageState::Cancelled, ..outcome(&stage) };
    let view = stage.messages.get_mut(&("orders".to_owned(), 3)).expect("the head");
    view.summary.state = MessageState::Cancelled;
    view.undo = Some("restore the cancelled message to its place".to_owned());
    answer(&mut stage, request, Ok(Reply::Repaired(done)));
    assert!(line(&stage, 23).contains("u undo"), "{}", line(&stage, 23));

    stage.messages.remove(&("orders".to_owned(), 3));
    let next = head(&blocked(4));
    stage.hear(StreamEvent::Queues(vec![queue("orders", QueueState::Blocked, 41, Some(next))]));
    let gone = |stage: &mut Stage| {
        let asked = stage.effects.iter().find_map(|effect| match effect {
            Effect::Ask(id, Request::Message(_)) => Some(*id),
            _ => None,
        })?;
        let problem = Problem {
            code: "not_found".to_owned(),
            status: 404,
            detail: "there is no message 3 in orders".to_owned(),
            ..Problem::default()
        };
        answer(stage, asked, Err(Failure::Refused(Box::new(problem))));
        Some(())
    };
    while gone(&mut stage).is_some() {}
    assert!(!line(&stage, 23).contains("u undo"), "{}", line(&stage, 23));
    stage.keys(&["u"]);
    while gone(&mut stage).is_some() {}
    assert!(line(&stage, 22).contains("can't be undone any more"), "{}", line(&stage, 22));
    stage.keys(&["u"]);
    assert!(line(&stage, 22).contains("nothing to undo"), "{}", line(&stage, 22));
}

#[test]
fn the_hold_is_taken_renewed_and_given_back() {
    let holds = |stage: &mut Stage, keys: &[&str]| -> Vec<u64> {
        let mut asked = Vec::new();
        for key in keys {
            match *key {
                "wait" => stage.wait(41_000),
                "<Esc>" => stage.key(crossterm::event::KeyEvent::new(
                    crossterm::event::KeyCode::Esc,
                    crossterm::event::KeyModifiers::NONE,
                )),
                letter => {
                    let code = crossterm::event::KeyCode::Char(letter.chars().next().unwrap());
                    stage.key(crossterm::event::KeyEvent::new(
                        code,
                        crossterm::event::KeyModifiers::NONE,
                    ));
                }
            }
            asked.extend(stage.effects.iter().filter_map(|effect| match effect {
                Effect::Ask(_, Request::Hold(_, for_ms)) => Some(*for_ms),
                _ => None,
            }));
            stage.serve();
        }
        asked
    };
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>", "<Enter>"]);
    assert_eq!(holds(&mut stage, &["e", "wait", "<Esc>"]), [120_000, 120_000, 0]);
}

#[test]
fn a_button_pressed_without_a_broker_says_what_was_not_done() {
    let mut stage = reviewed();
    stage.act(Action::Lost {
        reason: "gone".to_owned(),
        failures: 1,
        retry_in_ms: 500,
        refused: false,
    });
    stage.keys(&["<Tab>", "<Enter>"]);
    let outcome = "retry with the edit orders #3: NOT DONE, no connection to the broker";
    assert!(line(&stage, 22).starts_with(outcome), "{}", line(&stage, 22));
    assert!(stage.repair().is_none());
}
