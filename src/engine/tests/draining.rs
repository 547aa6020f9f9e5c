//! A queue that an operator closes to what is new.

use serde_json::json;

use super::rig::{Rig, delivered, operator, queue, rejected};
use crate::engine::{Effect, Event};
use crate::model::{
    JournalKind, NackAction, Origin, QueueSettings, QueueState, RejectCode, RepairRefusal,
};

fn drain(rig: &mut Rig, name: &str) -> Vec<Effect> {
    let (origin, actor, reason) = (Origin(9), operator("ann"), "moves house".to_owned());
    rig.run(Event::Drain { origin, actor, queue: queue(name), reason })
}

fn is_accepted(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Accepted { .. }))
}

#[test]
fn it_accepts_nothing_new_delivers_what_waits_and_stays_so_over_a_restart() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.put_queue("other", QueueSettings::default());
    for id in ["a", "b"] {
        rig.send("q", id);
    }
    drain(&mut rig, "q");
    let refused = rejected(&rig.send("q", "c"));
    assert_eq!(refused.code, RejectCode::Draining);
    assert_eq!(refused.reason, "queue q accepts nothing new: ann drains it (moves house)");
    assert!(refused.retry_after_ms.is_some(), "it may be accepted later");
    assert!(is_accepted(&rig.send("q", "a")), "a duplicate is answered as ever");
    assert_eq!(rejected(&rig.send_many(&[("other", "x"), ("q", "y")])).code, RejectCode::Draining);
    assert_eq!(rig.view("other").depth, 0, "all or none");
    let lines = |rig: &Rig| rig.store.journal.iter().map(|line| line.kind).collect::<Vec<_>>();
    assert_eq!(lines(&rig).last(), Some(&JournalKind::Draining));
    let before = lines(&rig).len();
    drain(&mut rig, "q");
    assert_eq!(lines(&rig).len(), before, "it is drained already");

    rig.restart();
    assert_eq!(rig.view("q").state, QueueState::Draining);
    assert_eq!(rig.view("q").draining.expect("it is drained").reason, "moves house");
    rejected(&rig.send("q", "d"));
    let first = delivered(&rig.ready(1, &["q"], 1));
    let second = delivered(&rig.ack(&first));
    rig.ack(&second);
    assert_eq!((first.seq, second.seq, rig.view("q").depth), (1, 2, 0));

    rig.pause(false);
    assert_eq!(rig.view("q").state, QueueState::Running);
    assert!(is_accepted(&rig.send("q", "e")));
}

#[test]
fn a_queue_may_be_paused_and_drained_and_is_resumed_from_both() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    drain(&mut rig, "q");
    rig.pause(true);
    assert_eq!(rig.view("q").state, QueueState::Paused);
    assert!(rig.ready(1, &["q"], 1).iter().all(|it| !matches!(it, Effect::Deliver { .. })));
    rejected(&rig.send("q", "b"));
    delivered(&rig.pause(false));
    assert!(is_accepted(&rig.send("q", "b")));
}

#[test]
fn dead_letters_wait_for_a_drained_queue_and_their_own_blocks_meanwhile() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.put_queue("q.dead", QueueSettings::default());
    drain(&mut rig, "q.dead");
    rig.send("q", "a");
    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.nack_with(&first, NackAction::DeadLetter, None);
    let view = rig.view("q");
    assert_eq!(view.state, QueueState::Blocked);
    let error = view.head.and_then(|head| head.error).expect("it says why").message;
    assert!(error.contains("its dead-letter queue q.dead is drained"), "{error}");
}

#[test]
fn answers_to_what_was_accepted_still_come_and_new_requests_are_refused() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.put_queue("answers", QueueSettings::default());
    rig.send_with("q", "a", json!({"reply_to": "answers"}));
    drain(&mut rig, "answers");
    let refused = rig.send_with("q", "b", json!({"reply_to": "answers"}));
    assert_eq!(rejected(&refused).code, RejectCode::Draining);
    let again = rig.send_with("q", "a", json!({"reply_to": "answers"}));
    assert!(is_accepted(&again), "it was accepted before: {again:?}");
    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.ack(&first);
    assert_eq!(rig.view("answers").depth, 1);
}

#[test]
fn a_queue_that_is_not_there_is_not_drained() {
    let mut rig = Rig::new(QueueSettings::default());
    let told = drain(&mut rig, "nowhere");
    let is_missing =
        matches!(&told[..], [Effect::Refused { refusal: RepairRefusal::NoSuchQueue { .. }, .. }]);
    assert!(is_missing, "{told:?}");
}
