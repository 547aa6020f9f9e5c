//! What is done on screen 7.

use crate::admin::dto::{
    OnError, QueueName, SagaAct, SagaState, SubscriptionChange, SubscriptionRequest, TopicName,
};
use crate::console::action::{Action, Failure, Reply};
use crate::console::effect::{Effect, Request, RequestId};
use crate::console::fixtures::{Stage, id, name, saga};
use crate::console::model::{PatternAct, Undoable};

fn stage(keys: &[&str]) -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(keys);
    stage
}

/// What waits for its answer.
fn sent(stage: &Stage) -> Vec<(RequestId, PatternAct)> {
    let of = |effect: &Effect| match effect {
        Effect::Ask(id, Request::PatternAct(act)) => Some((*id, act.clone())),
        _ => None,
    };
    stage.effects.iter().filter_map(of).collect()
}

fn one(stage: &Stage) -> (RequestId, PatternAct) {
    let mut all = sent(stage);
    assert_eq!(all.len(), 1, "{}", stage.screen());
    all.remove(0)
}

fn topic() -> TopicName {
    TopicName::new("order.created").unwrap()
}

#[test]
fn a_parked_saga_tries_again_without_a_question_and_its_outcome_stays() {
    let mut stage = stage(&["7", "h", "r"]);
    let (request, act) = one(&stage);
    let PatternAct::Saga { id: of, request: asked } = act else { panic!("{act:?}") };
    assert_eq!((of, asked.act), (id(3), SagaAct::Retry));
    stage.keys(&["r"]);
    assert_eq!(sent(&stage).len(), 1, "not again before there is an answer");
    assert!(stage.screen().contains("has no answer yet"), "{}", stage.screen());
    let view = Box::new(saga(3, SagaState::Compensating));
    stage.act(Action::Reply { request, reply: Ok(Reply::Saga(view)) });
    stage.keys(&["j"]);
    assert!(stage.screen().contains("done, it is compensating"), "{}", stage.screen());
}

#[test]
fn a_saga_is_skipped_or_given_up_only_with_its_typed_id_and_a_reason() {
    for (key, act) in [("S", SagaAct::Skip), ("x", SagaAct::Abort)] {
        let mut stage = stage(&["7", "h", key, "<Enter>"]);
        assert!(stage.screen().contains("not the one that is asked for"), "{}", stage.screen());
        stage.keys(&["000003", "<Enter>"]);
        assert!(stage.screen().contains("a reason is needed"), "{}", stage.screen());
        assert!(sent(&stage).is_empty());
        stage.keys(&["the stock was counted", "<Enter>"]);
        let (request, sent) = one(&stage);
        let PatternAct::Saga { id: of, request: asked } = sent else { panic!("{sent:?}") };
        assert_eq!((of, asked.act), (id(3), act));
        assert_eq!(asked.reason, "the stock was counted");
        let reply = Err(Failure::Unknown("no answer".to_owned()));
        stage.act(Action::Reply { request, reply });
        assert!(stage.screen().contains("UNKNOWN, no answer"), "{}", stage.screen());
    }
}

#[test]
fn a_saga_that_went_on_meanwhile_is_asked_about_again() {
    let mut stage = stage(&["7", "h"]);
    let first = stage.model.patterns.sagas.rows.iter().position(|row| row.id == id(3)).unwrap();
    stage.model.patterns.sagas.rows[first] = saga(3, SagaState::Running);
    stage.press(&["x"]);
    assert!(stage.screen().contains("What it has done is taken back"), "{}", stage.screen());
    stage.model.patterns.sagas.rows[first] = saga(3, SagaState::Parked);
    stage.press(&["000003", "why", "<Enter>"]);
    assert!(sent(&stage).is_empty());
    let shown = stage.screen();
    assert!(shown.contains("meanwhile it is parked") && shown.contains("given up"), "{shown}");
    stage.press(&["000003", "why", "<Enter>"]);
    assert_eq!(sent(&stage).len(), 1, "{}", stage.screen());
}

#[test]
fn what_was_done_before_is_not_undone_for_an_act_on_a_saga() {
    let mut stage = stage(&[]);
    stage.model.acts.undo = Some(Undoable::Paused(name("orders"), true));
    stage.keys(&["7", "h"]);
    assert!(stage.screen().contains("undo"), "{}", stage.screen());
    stage.keys(&["r"]);
    assert!(!stage.screen().contains("undo"), "{}", stage.screen());
}

#[test]
fn what_a_saga_s_state_does_not_allow_is_not_offered_and_says_why() {
    // The first is parked; below it one compensates, one runs, one is done.
    let mut stage = stage(&["7", "h", "j"]);
    let footer = |stage: &Stage| stage.screen().lines().last().unwrap_or_default().to_owned();
    assert!(!footer(&stage).contains("skip") && footer(&stage).contains("x abort"));
    stage.keys(&["r"]);
    assert!(stage.screen().contains("only parked ones"), "{}", stage.screen());
    stage.keys(&["G", "x"]);
    assert!(stage.screen().contains("NOT DONE, it is completed"), "{}", stage.screen());
    assert!(sent(&stage).is_empty() && !footer(&stage).contains("abort"));
}

#[test]
fn a_gather_ends_by_itself_and_the_console_says_so() {
    let stage = stage(&["7", "l", "x"]);
    assert!(stage.screen().contains("it ends by itself"), "{}", stage.screen());
    assert!(sent(&stage).is_empty());
}

#[test]
fn a_subscription_is_taken_back_once_its_queue_is_typed() {
    let mut stage = stage(&["7", "j", "x", "billin", "<Enter>"]);
    assert!(stage.screen().contains("not the one that is asked for"), "{}", stage.screen());
    stage.keys(&["g", "<Enter>"]);
    let (request, act) = one(&stage);
    assert_eq!(act, PatternAct::Unsubscribe { topic: topic(), queue: name("billing") });
    let change = SubscriptionChange { topic: topic(), queue: name("billing"), changed: true };
    stage.act(Action::Reply { request, reply: Ok(Reply::Subscribed(change)) });
    assert!(stage.screen().contains("what waits in the queue stays"), "{}", stage.screen());
    let reads =
        stage.effects.iter().any(|effect| matches!(effect, Effect::Ask(_, Request::Patterns(_))));
    assert!(reads, "the list is read again");
}

#[test]
fn a_queue_is_subscribed_and_a_subscription_s_filter_is_changed() {
    let mut stage = stage(&["7", "a"]);
    // The topic under the cursor is there already.
    stage.keys(&["audit", "<Tab>", "body.total > 1", "<Tab>", "maybe", "<Enter>"]);
    assert!(stage.screen().contains("type dead-letter, deliver"), "{}", stage.screen());
    stage.press(&["<Backspace>", "<Backspace>", "<Backspace>", "<Backspace>", "<Backspace>"]);
    stage.keys(&["skip", "<Enter>"]);
    let filter = Some("body.total > 1".to_owned());
    let request = SubscriptionRequest { filter, on_error: OnError::Skip };
    let queue = QueueName::new("audit").unwrap();
    assert_eq!(one(&stage).1, PatternAct::Subscribe { topic: topic(), queue, request });
    let stage = self::stage(&["7", "j", "a"]);
    let screen = stage.screen();
    assert!(screen.contains("filter    header.country == 'FR'"), "{screen}");
}

#[test]
fn the_queue_of_a_subscription_is_paused_there() {
    let mut stage = stage(&["7", "j", "p"]);
    assert!(stage.screen().contains("choose a queue") || stage.effects.is_empty());
    // The fixtures' billing is no queue of theirs: one that is known is.
    let billing = crate::admin::dto::QueueState::Running;
    let view = crate::console::fixtures::queue("billing", billing, 3, None);
    stage.hear(crate::admin::dto::StreamEvent::Queues(vec![view]));
    stage.press(&["p"]);
    let asked = stage.effects.iter().any(|effect| {
        matches!(effect, Effect::Ask(_, Request::SetPaused { queue, paused: true }) if *queue == name("billing"))
    });
    assert!(asked, "{}", stage.screen());
}

#[test]
fn read_only_and_without_a_broker_nothing_is_sent_and_it_says_why() {
    let acts: [&[&str]; 5] =
        [&["7", "h", "r"], &["7", "h", "S"], &["7", "h", "x"], &["7", "a"], &["7", "j", "x"]];
    for keys in acts {
        let mut stage = Stage::failing((80, 24), |setup| setup.read_only = true);
        stage.keys(keys);
        assert!(stage.screen().contains("read-only (--read-only)"), "{}", stage.screen());
        assert!(stage.screen().contains(":off"), "{}", stage.screen());
        assert!(sent(&stage).is_empty());
        let mut stage = self::stage(&keys[..keys.len() - 1]);
        let reason = "no broker answers".to_owned();
        stage.act(Action::Lost { reason, failures: 1, retry_in_ms: 500, refused: false });
        stage.keys(&keys[keys.len() - 1..]);
        assert!(stage.screen().contains("no connection to the broker"), "{}", stage.screen());
        assert!(sent(&stage).is_empty());
    }
    // The broker goes while it is typed: what was typed is not sent.
    let mut stage = stage(&["7", "h", "x", "000003", "why"]);
    let reason = "no broker answers".to_owned();
    stage.act(Action::Lost { reason, failures: 1, retry_in_ms: 500, refused: false });
    stage.keys(&["<Enter>"]);
    assert!(sent(&stage).is_empty(), "{}", stage.screen());
}

#[test]
fn ids_and_names_are_copied() {
    for (keys, text) in [
        (&["7", "y"][..], "order.created"),
        (&["7", "j", "y"], "billing"),
        (&["7", "h", "y"], "0192f3a1-7c00-7000-8000-000000000003"),
    ] {
        let stage = stage(keys);
        let copied = stage.effects.iter().any(|effect| *effect == Effect::Copy(text.to_owned()));
        assert!(copied, "{text}: {:?}", stage.effects);
    }
}

#[test]
fn patterns_while_nothing_is_heard_are_dimmed_with_their_age() {
    use ratatui::style::Modifier;
    let mut stage = stage(&["7", "h"]);
    stage.now += 7_000;
    stage.act(Action::Lost {
        reason: "gone".to_owned(),
        failures: 2,
        retry_in_ms: 1_000,
        refused: false,
    });
    insta::assert_snapshot!("patterns-reconnecting", stage.screen());
    let is_dim = |stage: &Stage, y| stage.style_at(1, y).contains(Modifier::DIM);
    assert!(is_dim(&stage, 4) && !is_dim(&stage, 0));
    let mut stage = self::stage(&["7", "h"]);
    assert!(!is_dim(&stage, 4));
    stage.now += 5_000;
    stage.act(Action::Tick);
    assert!(is_dim(&stage, 4), "stale: nothing was heard for five seconds");
    assert!(stage.screen().contains("STALE 5"), "{}", stage.screen());
}
