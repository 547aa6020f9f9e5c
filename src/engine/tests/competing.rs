//! `ordering = "none"`: competing consumers, priorities (design.md rule 3).

use super::convoys::message;
use super::rig::{Delivered, Rig, delivered, deliveries, operator, queue};
use crate::engine::{Effect, EngineOptions, Event};
use crate::model::{
    AckMode, MessageState, Ordering, Origin, QueueSettings, QueueState, RejectCode, RepairAction,
    Retry, SettingChange,
};

fn none() -> QueueSettings {
    QueueSettings { ordering: Ordering::None, ..QueueSettings::default() }
}

fn by_priority() -> QueueSettings {
    QueueSettings { priority: true, ..none() }
}

/// A small window, so that what is beyond it matters.
fn small() -> EngineOptions {
    EngineOptions { window_messages: 4, ..EngineOptions::default() }
}

fn send(rig: &mut Rig, priorities: &[u8]) -> Vec<Effect> {
    let from = rig.view("q").accepted;
    let numbered = priorities.iter().zip(from..);
    let messages =
        numbered.map(|(&priority, n)| (queue("q"), message(n as usize + 1, 0, priority)));
    let messages = messages.collect();
    rig.run(Event::Send { origin: Origin(1), messages, call: None })
}

fn places(delivered: &[Delivered]) -> Vec<u64> {
    delivered.iter().map(|one| one.seq).collect()
}

/// Works everything off with one worker of credit 1, in the order in which it came.
fn drain(rig: &mut Rig, first: Vec<Effect>) -> Vec<u64> {
    let mut order = Vec::new();
    let mut now = deliveries(&first).pop();
    while let Some(one) = now {
        order.push(one.seq);
        now = deliveries(&rig.ack(&one)).pop();
    }
    order
}

#[test]
fn workers_have_as_many_as_they_take_and_end_them_in_any_order() {
    let mut rig = Rig::with_options(small(), none());
    send(&mut rig, &[0; 12]);
    let first = deliveries(&rig.ready(1, &["q"], 5));
    let second = deliveries(&rig.ready(2, &["q"], 3));
    assert_eq!((places(&first), places(&second)), (vec![1, 2, 3, 4, 5], vec![6, 7, 8]));
    assert_eq!(rig.view("q").leased, 8);
    assert_eq!(delivered(&rig.ack(&first[4])).seq, 9);
    assert_eq!(delivered(&rig.ack(&second[0])).seq, 10);
    rig.restart();
    assert_eq!(places(&deliveries(&rig.ready(1, &["q"], 20))), [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]);
}

#[test]
fn a_blocked_or_waiting_message_is_set_aside_and_the_others_go_on() {
    let retry = Retry { attempts: 2, jitter: 0.0, ..Retry::default() };
    let mut rig = Rig::with_options(small(), QueueSettings { retry, ..none() });
    send(&mut rig, &[0; 10]);
    let one = delivered(&rig.ready(1, &["q"], 1));
    let two = delivered(&rig.nack(&one));
    assert_eq!((two.seq, rig.view("q").waiting), (2, 1));
    rig.pass(1_000);
    let again = delivered(&rig.ack(&two));
    assert_eq!((again.seq, again.attempt), (1, 2), "the oldest that may go");
    let three = delivered(&rig.nack(&again));
    let view = rig.view("q");
    assert_eq!((view.state, view.blocked, view.depth), (QueueState::Running, 1, 9));
    assert_eq!(view.head.map(|head| (head.seq.0, head.state)), Some((1, MessageState::Blocked)));
    assert_eq!(rig.engine.counts().blocked, 1);
    let last = rig.ack(&three);
    assert_eq!(drain(&mut rig, last), [4, 5, 6, 7, 8, 9, 10]);
    rig.restart();
    assert!(deliveries(&rig.ready(1, &["q"], 9)).is_empty(), "it is set aside after a restart too");
    let repaired = delivered(&rig.repair("k", 1, 0, RepairAction::Retry));
    assert_eq!((repaired.seq, repaired.attempt), (1, 3));
    rig.ack(&repaired);
    assert_eq!((rig.view("q").depth, rig.view("q").bytes), (0, 0));
}

#[test]
fn the_most_urgent_go_first_also_from_beyond_the_window_and_after_a_restart() {
    let mut rig = Rig::with_options(small(), by_priority());
    send(&mut rig, &[0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 9, 3]);
    let first = rig.ready(1, &["q"], 1);
    let one = delivered(&first);
    assert_eq!(one.seq, 11);
    rig.restart();
    let first = rig.ready(1, &["q"], 1);
    assert_eq!(drain(&mut rig, first), [11, 9, 12, 1, 2, 3, 4, 5, 6, 7, 8, 10]);
    assert_eq!((rig.view("q").depth, rig.view("q").bytes), (0, 0));
}

#[test]
fn an_urgent_message_overtakes_what_waits_for_a_worker() {
    let mut rig = Rig::with_options(small(), by_priority());
    let mut now = Some(delivered(
        &rig.ready(1, &["q"], 1).into_iter().chain(send(&mut rig, &[0; 9])).collect::<Vec<_>>(),
    ));
    send(&mut rig, &[7, 8]);
    let mut order = Vec::new();
    while let Some(one) = now {
        order.push(one.seq);
        now = deliveries(&rig.ack(&one)).pop();
    }
    assert_eq!(order, [1, 11, 10, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_priority_that_would_not_count_is_refused() {
    let mut rig = Rig::new(none());
    match send(&mut rig, &[1]).as_slice() {
        [Effect::Rejected { rejection, .. }] => {
            assert_eq!(rejection.code, RejectCode::Unsupported);
            assert!(rejection.reason.contains("`priority`"), "{}", rejection.reason);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cancelled_message_can_be_restored_until_a_later_one_is_handed_out() {
    let mut rig = Rig::new(none());
    send(&mut rig, &[0; 3]);
    rig.repair("k1", 2, 0, RepairAction::Cancel);
    rig.repair("k2", 2, 0, RepairAction::Restore);
    rig.repair("k3", 1, 0, RepairAction::Cancel);
    let two = delivered(&rig.ready(1, &["q"], 1));
    assert_eq!(two.seq, 2);
    assert_eq!(rig.store.queue_named("q").expect("q").finished.len(), 1, "it is past restoring");
    let three = delivered(&rig.ack(&two));
    rig.ack(&three);
    assert_eq!((rig.view("q").depth, rig.view("q").bytes), (0, 0));
}

#[test]
fn at_most_once_messages_go_out_side_by_side() {
    let mut rig = Rig::new(QueueSettings { ack: AckMode::OnDelivery, ..none() });
    send(&mut rig, &[0; 3]);
    let all = deliveries(&rig.ready(1, &["q"], 3));
    assert_eq!((all.len(), rig.view("q").depth, rig.view("q").leased), (3, 0, 0));
}

#[test]
fn the_ordering_changes_only_while_nothing_is_in_hand() {
    let mut rig = Rig::new(none());
    send(&mut rig, &[0; 4]);
    let two = deliveries(&rig.ready(1, &["q"], 2));
    let set = |rig: &mut Rig| {
        let change = SettingChange { key: "ordering".to_owned(), value: Some("queue".into()) };
        let (origin, actor, queue) = (Origin(9), operator("ann"), queue("q"));
        let told = rig.run(Event::SetQueue {
            origin,
            actor,
            queue,
            changes: vec![change],
            reason: String::new(),
        });
        told.iter().find_map(|effect| match effect {
            Effect::Refused { refusal, .. } => Some(refusal.to_string()),
            _ => None,
        })
    };
    assert!(set(&mut rig).expect("refused").contains("mubroker queue pause q"));
    rig.pause(true);
    assert!(set(&mut rig).expect("refused").contains("workers have messages"));
    two.iter().for_each(|one| drop(rig.ack(one)));
    assert_eq!(set(&mut rig), None);
    let three = deliveries(&rig.pause(false));
    assert_eq!(places(&three), [3], "in order from now on");
}
