//! Steps of which nobody knows whether they are done: they are taken back like those that are.

use serde_json::json;

use super::rig::{Delivered, Rig, delivered};
use super::sagas::{TIMEOUT_MS, ack, input, reject, rig, start, state};
use crate::engine::Event;
use crate::model::{AckMode, OnFailure, QueueSettings, StepState, WorkerId};

#[test]
fn what_is_done_on_delivery_is_unknown_while_its_worker_has_it() {
    let mut rig = rig();
    let ack = AckMode::OnDelivery;
    let settings = QueueSettings { ack, lease_ms: 600_000, ..QueueSettings::default() };
    rig.put_queue("flight", settings);
    start(&mut rig, input("s", json!({}))).unwrap();
    delivered(&rig.ready(1, &["flight"], 1));
    for _ in 0..TIMEOUT_MS / 1_000 {
        rig.run(Event::WorkerHeard { worker: WorkerId(1) });
        rig.pass(1_000);
    }
    assert_eq!(state(&rig).1[0], StepState::Compensating);
}

#[test]
fn what_is_done_on_delivery_is_unknown_when_its_worker_is_lost() {
    let mut rig = rig();
    let once = QueueSettings { ack: AckMode::OnDelivery, ..QueueSettings::default() };
    rig.put_queue("flight", once);
    start(&mut rig, input("s", json!({}))).unwrap();
    delivered(&rig.ready(1, &["flight"], 1));
    rig.gone(1);
    assert_eq!(state(&rig).1[0], StepState::Compensating);
}

/// A trip whose car's worker gets its message with the flight done, in a queue of these settings.
fn with_car(settings: QueueSettings) -> (Rig, Delivered) {
    let mut rig = rig();
    rig.put_queue("car", settings);
    start(&mut rig, input("s", json!({}))).unwrap();
    for step in ["flight", "hotel"] {
        let got = delivered(&rig.ready(1, &[step], 1));
        ack(&mut rig, &got, "1");
    }
    let car = delivered(&rig.ready(2, &["car"], 1));
    (rig, car)
}

#[test]
fn a_step_whose_worker_was_lost_may_be_done_whatever_becomes_of_its_message() {
    use StepState::{Compensating, Done};
    // Rejected by the next worker.
    let (mut rig, _) = with_car(QueueSettings::default());
    rig.gone(2);
    let again = delivered(&rig.ready(3, &["car"], 1));
    reject(&mut rig, &again);
    assert_eq!(state(&rig).1, [Done, Done, Compensating]);
    // The same over a restart between.
    let (mut rig, _) = with_car(QueueSettings::default());
    rig.gone(2);
    rig.restart();
    let again = delivered(&rig.ready(3, &["car"], 1));
    reject(&mut rig, &again);
    assert_eq!(state(&rig).1, [Done, Done, Compensating]);
    // The broker stopped in good order while it was at work.
    let (mut rig, _) = with_car(QueueSettings::default());
    rig.run(Event::Shutdown);
    rig.restart();
    let again = delivered(&rig.ready(3, &["car"], 1));
    reject(&mut rig, &again);
    assert_eq!(state(&rig).1, [Done, Done, Compensating]);
    // Dead-lettered, since five were lost in a row.
    let buries = QueueSettings { on_failure: OnFailure::DeadLetter, ..Default::default() };
    let (mut rig, _) = with_car(buries);
    rig.gone(2);
    for worker in 3..7 {
        rig.ready(worker, &["car"], 1);
        rig.gone(worker);
    }
    assert_eq!(rig.view("car.dead").depth, 1);
    assert_eq!(state(&rig).1, [Done, Done, Compensating]);
    // Its lease was over, it blocked, and the saga gave it up.
    let (mut rig, _) = with_car(QueueSettings { lease_ms: 1_000, ..QueueSettings::default() });
    rig.pass(1_000);
    assert_eq!(rig.view("car").blocked, 1);
    rig.pass(TIMEOUT_MS);
    assert_eq!(state(&rig).1, [Done, Done, Compensating]);
}

#[test]
fn a_step_that_its_worker_refused_is_not_taken_back() {
    let (mut rig, car) = with_car(QueueSettings::default());
    reject(&mut rig, &car);
    assert_eq!(state(&rig).1, [StepState::Compensating, StepState::Done, StepState::Failed]);
}
