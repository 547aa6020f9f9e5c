//! Exclusive queues: one worker at a time, the others stand by.

use super::rig::{Delivered, Rig, delivered, deliveries, notice};
use crate::engine::{Effect, Event};
use crate::model::{Consumers, Notice, Ordering, QueueSettings, WorkerId};

fn exclusive(ordering: Ordering) -> Rig {
    Rig::new(QueueSettings {
        consumers: Consumers::Exclusive,
        ordering,
        ..QueueSettings::default()
    })
}

fn taken_over(effects: &[Effect]) -> Option<String> {
    effects.iter().find_map(|effect| match notice(effect)? {
        Notice::TakenOver { name, .. } => Some(name.clone()),
        _ => None,
    })
}

fn bye(rig: &mut Rig, worker: u64) -> Vec<Effect> {
    rig.run(Event::WorkerBye { worker: WorkerId(worker) })
}

fn to(effects: &[Effect]) -> Vec<(u64, String)> {
    let told = |it: Delivered| (it.worker, it.payload);
    deliveries(effects).into_iter().map(told).collect()
}

fn given(worker: u64, payload: &str) -> (u64, String) {
    (worker, payload.to_owned())
}

#[test]
fn all_messages_go_to_the_first_worker_while_others_stand_by() {
    let mut rig = exclusive(Ordering::None);
    rig.ready(1, &["q"], 2);
    rig.ready(2, &["q"], 2);
    assert_eq!(
        to(&rig.send_many(&[("q", "a"), ("q", "b"), ("q", "c")])),
        [given(1, "a"), given(1, "b")]
    );
    assert_eq!(rig.view("q").active_worker.as_deref(), Some("w1"));
    let views = rig.engine.worker_views();
    assert_eq!((views[0].standby.len(), views[1].standby.len()), (0, 1));
}

#[test]
fn a_standby_takes_over_at_once_when_the_active_one_is_gone() {
    for ordering in [Ordering::Queue, Ordering::Key, Ordering::None] {
        let mut rig = exclusive(ordering);
        for worker in [1, 2, 3] {
            rig.ready(worker, &["q"], 1);
        }
        let a = delivered(&rig.send_many(&[("q", "a"), ("q", "b")]));
        assert_eq!((a.worker, a.payload.as_str()), (1, "a"));
        let gone = rig.gone(1);
        assert_eq!(taken_over(&gone).as_deref(), Some("w2"));
        let again = delivered(&gone);
        assert_eq!((again.worker, again.payload.as_str()), (2, "a"));
        assert_eq!(to(&rig.ack(&again)), [given(2, "b")]);
        // It comes back behind those who have waited.
        rig.ready(1, &["q"], 1);
        assert_eq!(taken_over(&rig.gone(2)).as_deref(), Some("w3"));
    }
}

#[test]
fn an_idle_active_worker_that_goes_leaves_the_queue_to_the_next() {
    let mut rig = exclusive(Ordering::Queue);
    rig.ready(1, &["q"], 1);
    rig.ready(2, &["q"], 1);
    assert_eq!(taken_over(&rig.gone(1)).as_deref(), Some("w2"));
    assert_eq!(to(&rig.send("q", "a")), [given(2, "a")]);
    assert_eq!(taken_over(&rig.gone(2)), None, "nobody is left");
    assert_eq!(to(&rig.ready(3, &["q"], 1)), [given(3, "a")]);
}

#[test]
fn the_next_one_waits_for_what_the_one_before_may_still_answer() {
    let mut rig = exclusive(Ordering::None);
    rig.ready(1, &["q"], 2);
    rig.ready(2, &["q"], 2);
    let effects = rig.send_many(&[("q", "a"), ("q", "b"), ("q", "c"), ("q", "d")]);
    let [a, b] = <[Delivered; 2]>::try_from(deliveries(&effects)).expect("two");
    let left = bye(&mut rig, 1);
    assert_eq!((to(&left), taken_over(&left).as_deref()), (vec![], Some("w2")));
    assert_eq!(to(&rig.send("q", "e")), []);
    assert_eq!(to(&rig.ack(&a)), []);
    assert_eq!(to(&rig.ack(&b)), [given(2, "c"), given(2, "d")]);
}

#[test]
fn a_worker_that_lets_a_lease_run_out_stands_behind_the_others() {
    let mut rig = exclusive(Ordering::Queue);
    rig.put_queue(
        "q",
        QueueSettings {
            consumers: Consumers::Exclusive,
            lease_ms: 1_000,
            retry: crate::model::Retry {
                attempts: 9,
                initial_ms: 0,
                max_ms: 0,
                jitter: 0.0,
                ..Default::default()
            },
            ..QueueSettings::default()
        },
    );
    rig.ready(1, &["q"], 1);
    rig.ready(2, &["q"], 1);
    let a = delivered(&rig.send("q", "a"));
    let mut over = rig.pass(1_000);
    over.extend(rig.pass(1));
    assert_eq!(taken_over(&over).as_deref(), Some("w2"));
    assert_eq!(to(&over), [given(2, "a")]);
    rig.ack(&a);
    assert_eq!(rig.view("q").active_worker.as_deref(), Some("w2"), "a late answer changes nothing");
    // Alone, it goes on: there is nobody else.
    rig.gone(2);
    assert_eq!(rig.view("q").active_worker.as_deref(), Some("w1"));
}

#[test]
fn ready_again_keeps_the_place_unless_the_queue_is_not_served_any_more() {
    let mut rig = exclusive(Ordering::Queue);
    rig.ready(1, &["q"], 1);
    rig.ready(2, &["q"], 1);
    assert_eq!(taken_over(&rig.ready(1, &["q", "other"], 3)), None);
    assert_eq!(to(&rig.send("q", "a")), [given(1, "a")]);
    let left = rig.ready(1, &["other"], 3);
    assert_eq!((taken_over(&left).as_deref(), to(&left)), (Some("w2"), vec![]));
}

#[test]
fn a_standby_that_is_free_does_not_get_what_waits_for_the_active_one() {
    let mut rig = exclusive(Ordering::None);
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.send_many(&[("q", "a"), ("q", "b")]));
    rig.put_queue("other", QueueSettings::default());
    assert_eq!(to(&rig.ready(2, &["q", "other"], 1)), []);
    let other = delivered(&rig.send("other", "x"));
    assert_eq!(other.worker, 2);
    assert_eq!(to(&rig.ack(&other)), []);
    assert_eq!(to(&rig.ack(&a)), [given(1, "b")]);
}

#[test]
fn one_that_is_given_back_to_all_is_shared_again() {
    let mut rig = exclusive(Ordering::None);
    rig.ready(1, &["q"], 1);
    rig.ready(2, &["q"], 1);
    rig.send_many(&[("q", "a"), ("q", "b")]);
    let none = QueueSettings { ordering: Ordering::None, ..QueueSettings::default() };
    assert_eq!(to(&rig.put_queue("q", none.clone())), [given(2, "b")]);
    // Exclusive again: the second must answer what it has before the first gets more.
    rig.send("q", "c");
    let exclusive = QueueSettings { consumers: Consumers::Exclusive, ..none };
    assert_eq!(to(&rig.put_queue("q", exclusive)), []);
    assert_eq!(rig.view("q").active_worker.as_deref(), Some("w1"));
}
