//! The re-send plug-in.

use super::rig::{Rig, delivered, deliveries, queue};
use crate::engine::{Effect, Event};
use crate::model::{
    AckMode, MessageState, NackAction, Ordering, QueueSettings, Resend, Retry, WorkerId, WorkerInfo,
};

fn settings() -> QueueSettings {
    let retry = Retry { attempts: 2, initial_ms: 100, jitter: 0.0, ..Retry::default() };
    QueueSettings { retry, resend: Resend { keep_ms: 1_000 }, ..QueueSettings::default() }
}

/// Two workers, and a message that the first one has.
fn begun(settings: QueueSettings) -> (Rig, super::rig::Delivered) {
    let mut rig = Rig::new(settings);
    rig.send("q", "a");
    rig.send("q", "b");
    let first = delivered(&rig.ready(1, &["q"], 1));
    let more = deliveries(&rig.ready(2, &["q"], 1));
    assert_eq!(more, [], "b waits for a");
    (rig, first)
}

fn stale(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Stale { .. }))
}

#[test]
fn a_message_without_an_answer_goes_to_another_worker_and_the_first_answer_counts() {
    for first_wins in [true, false] {
        let (mut rig, first) = begun(settings());
        assert_eq!(deliveries(&rig.pass(999)), []);
        let copy = delivered(&rig.pass(1));
        assert_eq!((copy.worker, copy.seq, copy.attempt, &*copy.payload), (2, 1, 2, "a"));
        let (winner, loser) = if first_wins { (&first, &copy) } else { (&copy, &first) };
        let next = delivered(&rig.ack(winner));
        assert_eq!((next.worker, &*next.payload), (winner.worker, "b"), "the other one is busy");
        let view = rig.view("q");
        assert_eq!((view.done, view.failed, view.resent), (1, 0, 1));
        assert!(stale(&rig.ack(loser)), "its work was done twice");
        rig.ack(&next);
        assert_eq!(rig.view("q").depth, 0);
        let order: Vec<u64> =
            rig.store.queue_named("q").expect("there").finished.iter().map(|it| it.0.0).collect();
        assert_eq!(order, [1, 2]);
    }
}

#[test]
fn what_is_done_on_delivery_is_never_sent_again() {
    let (mut rig, first) = begun(QueueSettings { ack: AckMode::OnDelivery, ..settings() });
    assert_eq!(deliveries(&rig.pass(5_000)), []);
    assert_eq!(delivered(&rig.ack(&first)).payload, "b");
}

#[test]
fn a_failure_counts_once_nobody_else_has_the_message() {
    let (mut rig, first) = begun(settings());
    let copy = delivered(&rig.pass(1_000));
    assert_eq!(deliveries(&rig.nack_with(&first, NackAction::Block, None)), []);
    assert_eq!((rig.view("q").blocked, rig.view("q").leased), (0, 1));
    rig.nack(&copy);
    let head = rig.view("q").head.expect("a head");
    assert_eq!((head.state, head.attempt), (MessageState::Waiting, 2));
    assert_eq!(delivered(&rig.pass(100)).payload, "a");
}

#[test]
fn a_lost_worker_leaves_the_message_with_the_other_one() {
    let (mut rig, _) = begun(settings());
    let copy = delivered(&rig.pass(1_000));
    assert_eq!(deliveries(&rig.gone(1)), []);
    assert_eq!(delivered(&rig.ack(&copy)).payload, "b");
    assert_eq!((rig.view("q").done, rig.view("q").failed), (1, 1));
}

#[test]
fn a_sign_of_progress_is_an_answer_for_as_long_again() {
    let (mut rig, first) = begun(settings());
    rig.pass(900);
    let (worker, delivery) = (WorkerId(1), first.delivery);
    rig.run(Event::Progress { worker, delivery, extend_ms: None, note: String::new() });
    assert_eq!(deliveries(&rig.pass(900)), []);
    assert_eq!(delivered(&rig.pass(100)).worker, 2);
}

#[test]
fn it_waits_for_a_free_worker_and_a_lone_one_gets_it_again() {
    let mut rig = Rig::new(settings());
    rig.send("q", "a");
    let first = delivered(&rig.ready(1, &["q"], 1));
    assert_eq!(deliveries(&rig.pass(1_000)), [], "it has no credit left");
    rig.ready(1, &["q"], 2);
    let again = delivered(&rig.pass(1_000));
    assert_eq!((again.worker, again.attempt), (1, 2));
    rig.ack(&first);
    assert!(stale(&rig.ack(&again)));
    assert_eq!(rig.view("q").done, 1);
}

#[test]
fn no_more_than_four_workers_have_it_at_a_time() {
    let settings = QueueSettings { lease_ms: 600_000, ordering: Ordering::None, ..settings() };
    let mut rig = Rig::new(settings);
    rig.send("q", "a");
    let mut hands = deliveries(&rig.ready(1, &["q"], 1));
    (2..=9).for_each(|worker| drop(rig.ready(worker, &["q"], 1)));
    for _ in 0..9 {
        (1..=9).for_each(|worker| drop(rig.run(Event::WorkerHeard { worker: WorkerId(worker) })));
        hands.extend(deliveries(&rig.pass(1_000)));
    }
    let mut workers: Vec<u64> = hands.iter().map(|one| one.worker).collect();
    workers.dedup();
    assert_eq!(workers.len(), 4);
    rig.ack(&hands[2]);
    assert_eq!((rig.view("q").depth, rig.view("q").leased), (0, 0));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let on_delivery = QueueSettings { ack: AckMode::OnDelivery, ..settings() };
    assert!(on_delivery.check().expect_err("twice").contains("at most once"));
    let long = QueueSettings { resend: Resend { keep_ms: 30_000 }, ..settings() };
    assert!(long.check().expect_err("too late").contains("below lease_ms (30000)"));
    assert_eq!(settings().check(), Ok(()));
}

#[test]
fn what_a_door_was_given_goes_to_nobody_else() {
    let mut rig = Rig::new(settings());
    rig.send("q", "a");
    let info = WorkerInfo { at_most_once: true, ..WorkerInfo::default() };
    let (worker, queues) = (WorkerId(1), vec![queue("q")]);
    let a = delivered(&rig.run(Event::WorkerReady { worker, queues, credit: 1, info }));
    rig.ready(2, &["q"], 1);
    let delivery = a.delivery;
    let note = String::new();
    rig.run(Event::Progress { worker, delivery, extend_ms: None, note });
    assert_eq!(deliveries(&rig.pass(2_000)), []);
}
