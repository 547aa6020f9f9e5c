//! Rules 5 and 8 of design.md 4 where messages may overtake.

use serde_json::json;

use super::rig::{Rig, delivered, deliveries};
use super::timing::{dead, dead_ids, repaired};
use crate::engine::{Effect, EngineOptions, Event};
use crate::model::{MessageState, Ordering, QueueSettings, RepairAction, Retry, Seq, WorkerId};

fn settings(ordering: Ordering) -> QueueSettings {
    let retry = Retry { attempts: 1, jitter: 0.0, ..Retry::default() };
    QueueSettings { ordering, retry, ..QueueSettings::default() }
}

/// Time passes while the worker is heard; everything is done at once. What was delivered, in order.
fn work(rig: &mut Rig, ms: u64) -> Vec<String> {
    rig.run(Event::WorkerHeard { worker: WorkerId(1) });
    let told = rig.pass(ms);
    finish(rig, &told)
}

/// What was told is done, and what comes of that.
fn finish(rig: &mut Rig, told: &[Effect]) -> Vec<String> {
    let mut hands = deliveries(told);
    let mut done = Vec::new();
    while let Some(one) = hands.pop() {
        hands.extend(deliveries(&rig.ack(&one)));
        done.push(one.payload);
    }
    done
}

#[test]
fn without_an_order_others_go_on_and_each_goes_in_its_time() {
    let mut rig = Rig::new(settings(Ordering::None));
    rig.ready(1, &["q"], 1);
    rig.send_with("q", "c", json!({"delay_ms": 3_000}));
    rig.send_with("q", "a", json!({"delay_ms": 1_000}));
    rig.send_with("q", "b", json!({"delay_ms": 2_000}));
    let now = delivered(&rig.send("q", "now"));
    assert_eq!(now.payload, "now");
    rig.ack(&now);
    assert_eq!((rig.view("q").scheduled, rig.view("q").depth), (3, 3));
    assert_eq!(work(&mut rig, 999), [""; 0]);
    assert_eq!(work(&mut rig, 1), ["a"]);
    rig.restart();
    rig.ready(1, &["q"], 1);
    assert_eq!(work(&mut rig, 1_000), ["b"]);
    assert_eq!(work(&mut rig, 1_000), ["c"]);
    assert_eq!(rig.view("q").depth, 0);
}

#[test]
fn a_delayed_message_holds_only_its_order_key() {
    let mut rig = Rig::new(settings(Ordering::Key));
    rig.ready(1, &["q"], 9);
    rig.send_with("q", "k1", json!({"key": "k", "delay_ms": 1_000}));
    rig.send_with("q", "k2", json!({"key": "k"}));
    rig.send_with("q", "free", json!({"delay_ms": 500}));
    let other = delivered(&rig.send_with("q", "l1", json!({"key": "l"})));
    rig.ack(&other);
    assert_eq!(rig.view("q").scheduled, 2);
    assert_eq!(work(&mut rig, 500), ["free"]);
    assert_eq!(work(&mut rig, 500), ["k1", "k2"]);
}

#[test]
fn what_is_due_goes_also_when_something_else_happens_first() {
    let mut rig = Rig::new(settings(Ordering::Key));
    rig.ready(1, &["q"], 9);
    for n in 1..=3 {
        rig.send_with("q", &format!("k{n}"), json!({"key": n.to_string(), "delay_ms": n * 1_000}));
    }
    for n in 1..=3 {
        // An event of the queue is handled before its alarm is.
        rig.run(Event::WorkerHeard { worker: WorkerId(1) });
        rig.now = rig.now.plus_ms(1_000);
        let told = rig.send("q", &format!("other {n}"));
        let mut done = finish(&mut rig, &told);
        done.sort();
        assert_eq!(done, [format!("k{n}"), format!("other {n}")]);
    }
}

#[test]
fn a_delay_behind_the_front_of_a_key_counts_when_it_is_the_front() {
    let mut rig = Rig::new(settings(Ordering::Key));
    let first = {
        rig.ready(1, &["q"], 9);
        delivered(&rig.send_with("q", "k1", json!({"key": "k"})))
    };
    rig.send_with("q", "k2", json!({"key": "k", "delay_ms": 2_000}));
    rig.send_with("q", "k3", json!({"key": "k"}));
    rig.pass(1_000);
    assert_eq!(deliveries(&rig.ack(&first)), []);
    assert_eq!(work(&mut rig, 999), [""; 0]);
    assert_eq!(work(&mut rig, 1), ["k2", "k3"]);
}

#[test]
fn operators_cancel_restore_edit_and_hurry_what_is_scheduled() {
    for ordering in [Ordering::None, Ordering::Key] {
        let mut rig = Rig::new(settings(ordering));
        rig.ready(1, &["q"], 1);
        for id in ["a", "b", "c"] {
            rig.send_with("q", id, json!({"delay_ms": 5_000}));
        }
        assert_eq!(
            repaired(&rig.repair("k1", 1, 0, RepairAction::Cancel)).state,
            MessageState::Cancelled
        );
        let restored = repaired(&rig.repair("k2", 1, 0, RepairAction::Restore));
        assert_eq!(restored.seq, Seq(1));
        assert_eq!(rig.view("q").scheduled, 3);
        let hurried = delivered(&rig.repair("k3", 2, 0, RepairAction::Retry));
        assert_eq!(hurried.payload, "b");
        rig.ack(&hurried);
        repaired(&rig.repair("k4", 3, 0, RepairAction::Cancel));
        assert_eq!(work(&mut rig, 5_000), ["a"]);
        assert_eq!(rig.view("q").depth, 0);
    }
}

#[test]
fn what_is_set_aside_expires_though_it_is_not_the_head() {
    for ordering in [Ordering::None, Ordering::Key] {
        let mut rig = Rig::new(settings(ordering));
        rig.ready(1, &["q"], 9);
        let first = delivered(&rig.send_with("q", "old", json!({"key": "o"})));
        rig.nack(&first);
        let hurt = delivered(&rig.send_with("q", "hurt", json!({"key": "k", "ttl_ms": 1_000})));
        rig.nack(&hurt);
        rig.send_with("q", "behind", json!({"key": "k"}));
        assert_eq!(rig.view("q").blocked, 2);
        rig.restart();
        rig.ready(1, &["q"], 9);
        let done = work(&mut rig, 1_000);
        assert_eq!(dead_ids(&rig), ["hurt"], "{ordering:?}");
        assert_eq!(dead(&rig)[0].1["error"], json!("exit-1: it failed"));
        assert_eq!(done, if ordering == Ordering::Key { vec!["behind"] } else { vec![] });
        assert_eq!(rig.view("q").blocked, 1);
    }
}

#[test]
fn what_expires_while_no_worker_is_free_is_not_handed_out() {
    for ordering in [Ordering::None, Ordering::Key] {
        let mut rig = Rig::new(settings(ordering));
        let busy = {
            rig.ready(1, &["q"], 1);
            delivered(&rig.send("q", "busy"))
        };
        rig.send_with("q", "short", json!({"ttl_ms": 100}));
        rig.send("q", "long");
        rig.pass(200);
        assert_eq!(delivered(&rig.ack(&busy)).payload, "long");
        assert_eq!(dead_ids(&rig), ["short"]);
    }
}

/// A hundred thousand delayed messages, and one in ten that is not.
#[test]
fn a_great_many_delayed_messages_neither_stop_the_queue_nor_fill_ram() {
    const DELAYED: u64 = 100_000;
    let options = EngineOptions { window_messages: 1_024, ..EngineOptions::default() };
    let dedup = crate::model::Dedup::Off;
    let mut rig = Rig::with_options(options, QueueSettings { dedup, ..settings(Ordering::None) });
    let mut random = fastrand::Rng::with_seed(8);
    for n in 0..DELAYED {
        let delay = random.u64(10_000..20_000);
        rig.send_with("q", &format!("{delay}"), json!({"delay_ms": delay}));
        if n % 10 == 0 {
            rig.send("q", "now");
        }
    }
    let told = rig.ready(1, &["q"], 64);
    assert_eq!(finish(&mut rig, &told).len() as u64, DELAYED / 10, "the others go on");
    let mut done = 0;
    let mut late = 0;
    for step in 0..250_u64 {
        let now = work(&mut rig, 100);
        for payload in &now {
            done += 1;
            let due: u64 = payload.parse().expect("a number");
            let passed = (step + 1) * 100;
            assert!(due <= passed, "{due} went at {passed}");
            late += u64::from(due + 100 < passed);
        }
        assert!(rig.engine.later_in_ram() <= crate::engine::convoy::MAX_LATER);
        assert!(rig.engine.contents_in_ram() <= 2_048);
    }
    assert_eq!((done, rig.view("q").depth), (DELAYED, 0));
    assert_eq!(late, 0, "each went within one step of its time");
}
