//! Workers that aren't heard: first they get nothing more, then they are gone.

use super::rig::{Rig, delivered, deliveries, notice};
use crate::engine::{Effect, EngineOptions, Event};
use crate::model::limits::{HEARTBEAT_MS, SUSPECT_MS};
use crate::model::{
    Consumers, JournalKind, Notice, Ordering, QueueSettings, Seq, WorkerId, WorkerState,
};

fn rig(settings: QueueSettings) -> Rig {
    Rig::with_options(EngineOptions::default(), settings)
}

fn state(rig: &Rig, at: usize) -> WorkerState {
    rig.engine.worker_views()[at].state
}

fn heard(rig: &mut Rig, worker: u64) -> Vec<Effect> {
    rig.run(Event::WorkerHeard { worker: WorkerId(worker) })
}

/// Who is told that it is available again (`true`), or not any more.
fn told(effects: &[Effect]) -> Vec<(u64, bool)> {
    let available = |effect: &Effect| match effect {
        Effect::Pause { worker, .. } => Some((worker.0, false)),
        Effect::Resume { worker, .. } => Some((worker.0, true)),
        _ => None,
    };
    effects.iter().filter_map(available).collect()
}

#[test]
fn a_worker_that_holds_a_message_for_too_long_is_paused_once_it_has_no_credit_left() {
    let mut rig = rig(QueueSettings {
        ordering: Ordering::None,
        lease_ms: 1_000,
        ..QueueSettings::default()
    });
    rig.ready(1, &["q"], 2);
    let first = delivered(&rig.send("q", "a"));
    rig.pass(500);
    delivered(&rig.send("q", "b"));
    assert_eq!(told(&rig.pass(500)), [], "the first is over, it has credit for one more");
    assert_eq!(told(&rig.pass(500)), [(1, false)]);
    assert_eq!(state(&rig, 0), WorkerState::Stuck);
    assert_eq!(told(&heard(&mut rig, 1)), []);
    assert_eq!(told(&rig.ack(&first)), [(1, true)]);
}

fn is_silence(effect: &Effect, name: &str, held: usize) -> bool {
    matches!(notice(effect), Some(Notice::WorkerSilent { name: of, lost, .. }) if of == name && *lost == held)
}

#[test]
fn what_a_silent_worker_holds_is_with_another_one_within_two_heartbeats() {
    const { assert!(SUSPECT_MS < 2 * HEARTBEAT_MS) };
    let mut rig = rig(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let first = delivered(&rig.send("q", "a"));
    rig.ready(2, &["q"], 1);
    assert_eq!(deliveries(&rig.pass(SUSPECT_MS / 2)), []);
    heard(&mut rig, 2);
    let effects = rig.pass(SUSPECT_MS / 2);
    let again = delivered(&effects);
    assert_eq!((again.worker, again.payload.as_str()), (2, "a"));
    assert!(effects.iter().any(|effect| is_silence(effect, "w1", 1)));
    assert_eq!(told(&effects), [(1, false)]);
    assert_eq!((state(&rig, 0), state(&rig, 1)), (WorkerState::Silent, WorkerState::Busy));
    // It is heard, but still has what isn't its own any more.
    assert_eq!(told(&heard(&mut rig, 1)), []);
    // It was only slow: its answer is stale, and it is given messages again.
    let late = rig.ack(&first);
    assert!(late.iter().any(|effect| matches!(effect, Effect::Stale { .. })));
    assert_eq!(told(&late), [(1, true)]);
    assert_eq!(state(&rig, 0), WorkerState::Idle);
    rig.ack(&again);
    assert_eq!(delivered(&rig.send("q", "b")).worker, 1, "it has rested longer");
}

#[test]
fn a_slow_worker_leaves_those_that_are_available_and_comes_back() {
    let mut rig = rig(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    assert_eq!(told(&rig.pass(SUSPECT_MS)), [(1, false)]);
    assert_eq!(state(&rig, 0), WorkerState::Silent);
    assert_eq!(deliveries(&rig.send("q", "a")), []);
    let again = heard(&mut rig, 1);
    assert_eq!((told(&again), delivered(&again).payload.as_str()), (vec![(1, true)], "a"));
    assert_eq!(state(&rig, 0), WorkerState::Busy);
    // And again: the clock of its silence runs on.
    rig.pass(SUSPECT_MS);
    assert_eq!(state(&rig, 0), WorkerState::Silent);
    let effects = rig.pass(3 * HEARTBEAT_MS - SUSPECT_MS);
    assert!(effects.contains(&Effect::DropWorker { worker: WorkerId(1), reason: "silent" }));
    assert!(rig.engine.worker_views().is_empty());
}

#[test]
fn a_standby_takes_over_from_a_silent_worker_that_holds_nothing() {
    let settings = QueueSettings { consumers: Consumers::Exclusive, ..QueueSettings::default() };
    let mut rig = rig(settings);
    rig.ready(1, &["q"], 1);
    rig.ready(2, &["q"], 1);
    rig.pass(SUSPECT_MS - 1);
    heard(&mut rig, 2);
    rig.pass(1);
    assert_eq!(rig.view("q").active_worker.as_deref(), Some("w2"));
    assert_eq!(delivered(&rig.send("q", "a")).worker, 2);
    heard(&mut rig, 1);
    assert_eq!(rig.view("q").active_worker.as_deref(), Some("w2"), "it stands by now");
}

#[test]
fn a_worker_that_is_heard_but_lets_a_lease_run_out_is_fenced_and_told_of() {
    let settings = QueueSettings { lease_ms: 3_000, ..QueueSettings::default() };
    let mut rig = rig(settings);
    rig.ready(1, &["q"], 1);
    let first = delivered(&rig.send_many(&[("q", "a"), ("q", "b")]));
    rig.pass(2_000);
    heard(&mut rig, 1);
    let effects = rig.pass(1_000);
    let told = effects.iter().find_map(|effect| match notice(effect)? {
        Notice::Journal { entry } => {
            Some(entry).filter(|entry| entry.kind == JournalKind::WorkerFenced)
        }
        _ => None,
    });
    let told = told.expect("an entry");
    assert_eq!((told.queue.as_str(), told.seq), ("q", Some(Seq(first.seq))));
    assert!(told.reason.contains("worker w1 had the message for 3000 ms"), "{}", told.reason);
    assert!(rig.store.journal.iter().any(|entry| entry.kind == JournalKind::WorkerFenced));
    assert_eq!(state(&rig, 0), WorkerState::Stuck);
}

#[test]
fn what_a_silent_worker_holds_does_not_go_to_another_silent_one() {
    let mut rig = rig(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    delivered(&rig.send("q", "a"));
    rig.ready(2, &["q"], 1);
    rig.ready(3, &["q"], 1);
    assert_eq!(deliveries(&rig.pass(SUSPECT_MS)), []);
    let again = delivered(&heard(&mut rig, 3));
    assert_eq!((again.worker, again.attempt), (3, 2));
}
