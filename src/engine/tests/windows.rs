//! De-duplication by time.

use super::rig::Rig;
use crate::engine::Effect;
use crate::model::{Dedup, QueueSettings};

const WINDOW_MS: u64 = 60_000;

fn rig() -> Rig {
    let dedup = Dedup::Time { window_ms: WINDOW_MS, last: 1_000 };
    Rig::new(QueueSettings { dedup, ..QueueSettings::default() })
}

/// Sends a message with this id: its place, and whether it is a duplicate.
fn send(rig: &mut Rig, id: &str) -> (u64, bool) {
    match &rig.send("q", id)[..] {
        [Effect::Accepted { accepted, .. }] => (accepted[0].seq.0, accepted[0].duplicate),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_id_is_remembered_for_the_window_and_not_much_longer() {
    let mut rig = rig();
    assert_eq!(send(&mut rig, "a"), (1, false));
    rig.pass(WINDOW_MS - 1);
    assert_eq!(send(&mut rig, "a"), (1, true));
    send(&mut rig, "b");
    rig.pass(1 + WINDOW_MS / 16);
    assert_eq!(send(&mut rig, "a"), (3, false), "the window is over");
    assert_eq!(send(&mut rig, "b"), (2, true));
    assert_eq!(send(&mut rig, "a"), (3, true), "it counts from its newest place");
}

#[test]
fn any_id_is_remembered_at_least_for_the_window_whatever_the_rhythm() {
    let mut rig = rig();
    let mut random = fastrand::Rng::with_seed(5);
    let mut sent: Vec<(String, crate::model::Timestamp)> = Vec::new();
    for n in 0..3_000 {
        rig.pass(random.u64(0..400));
        if n % 700 == 0 {
            rig.restart();
        }
        if let Some((id, at)) = sent.get(random.usize(..sent.len().max(1))).cloned() {
            let age = rig.now.since_ms(at);
            let (_, duplicate) = send(&mut rig, &id);
            assert!(duplicate || age >= WINDOW_MS, "{id} after {age} ms");
            assert!(!duplicate || age <= WINDOW_MS + WINDOW_MS / 16 + 1_000, "{id} after {age} ms");
            if !duplicate {
                sent.retain(|(known, _)| *known != id);
                sent.push((id, rig.now));
            }
        }
        let id = n.to_string();
        assert!(!send(&mut rig, &id).1);
        sent.push((id, rig.now));
    }
}

#[test]
fn a_clock_that_was_set_back_while_the_broker_was_down_makes_no_window_longer() {
    let mut rig = rig();
    send(&mut rig, "a");
    rig.now = crate::model::Timestamp(rig.now.0 - 86_400_000);
    rig.restart();
    rig.pass(WINDOW_MS - 1);
    assert!(send(&mut rig, "a").1);
    rig.pass(WINDOW_MS / 16 + 1);
    assert!(!send(&mut rig, "a").1);
}

#[test]
fn a_window_that_is_changed_at_run_time_begins_then() {
    let mut rig = Rig::new(QueueSettings::default());
    send(&mut rig, "a");
    let dedup = Dedup::Time { window_ms: WINDOW_MS, last: 1_000 };
    rig.put_queue("q", QueueSettings { dedup, ..QueueSettings::default() });
    send(&mut rig, "b");
    rig.pass(WINDOW_MS - 1);
    assert!(send(&mut rig, "a").1);
    rig.pass(1 + WINDOW_MS / 16);
    assert!(!send(&mut rig, "a").1);
    rig.put_queue("q", QueueSettings::default());
    rig.pass(10 * WINDOW_MS);
    assert!(send(&mut rig, "a").1, "by count, an id doesn't age");
}
