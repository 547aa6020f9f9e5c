//! `ordering = "key"`: the sequence convoy (design.md rule 2).

use super::convoys::message;
use super::rig::{Rig, deliveries, queue};
use crate::engine::{Effect, Effects, EngineOptions, Event};
use crate::model::{
    Edit, Header, KeyPage, MessageState, NackAction, Ordering, Origin, QueueSettings, QueueState,
    RepairAction, Retry, Seq, WorkError, WorkerId, WorkerInfo,
};

fn by_key() -> QueueSettings {
    QueueSettings { ordering: Ordering::Key, ..QueueSettings::default() }
}

fn small() -> EngineOptions {
    EngineOptions { window_messages: 8, ..EngineOptions::default() }
}

/// Messages with these keys (0: none).
fn send(rig: &mut Rig, keys: &[usize]) -> Vec<Effect> {
    let from = rig.view("q").accepted as usize + 1;
    let messages = keys.iter().zip(from..).map(|(&key, n)| (queue("q"), message(n, key, 0)));
    let messages = messages.collect();
    rig.run(Event::Send { origin: Origin(1), messages, call: None })
}

fn places(effects: &[Effect]) -> Vec<u64> {
    deliveries(effects).iter().map(|one| one.seq).collect()
}

fn page(rig: &Rig) -> KeyPage {
    rig.engine.key_page(&queue("q"), Seq(1), 100).expect("q is there")
}

/// Key, its message's place and state, and how many wait behind.
fn standing(rig: &Rig) -> Vec<(String, u64, MessageState, u64)> {
    let keys = page(rig).keys.into_iter();
    keys.map(|it| (it.key.unwrap_or_default(), it.seq.0, it.state, it.behind)).collect()
}

#[test]
fn each_key_has_one_in_flight_and_messages_without_a_key_have_no_order() {
    let mut rig = Rig::with_options(small(), by_key());
    send(&mut rig, &[1, 1, 2, 0, 0, 1, 2]);
    let told = rig.ready(1, &["q"], 9);
    let first = deliveries(&told);
    assert_eq!(places(&told), [1, 3, 4, 5]);
    assert!(places(&rig.ack(&first[3])).is_empty());
    assert_eq!(places(&rig.ack(&first[0])), [2]);
    assert_eq!(places(&rig.ack(&first[1])), [7]);
}

#[test]
fn a_key_that_is_blocked_or_backs_off_holds_its_own_messages_only() {
    let retry = Retry { attempts: 2, jitter: 0.0, ..Retry::default() };
    let mut rig = Rig::with_options(small(), QueueSettings { retry, ..by_key() });
    send(&mut rig, &[1, 2, 1, 2, 1]);
    let first = deliveries(&rig.ready(1, &["q"], 9));
    assert!(places(&rig.nack(&first[0])).is_empty(), "its key waits");
    assert_eq!(standing(&rig), [("k1".to_owned(), 1, MessageState::Waiting, 2)]);
    assert_eq!(places(&rig.ack(&first[1])), [4]);
    let again = deliveries(&rig.pass(1_000));
    assert_eq!((again[0].seq, again[0].attempt), (1, 2));
    rig.nack(&again[0]);
    assert_eq!(standing(&rig), [("k1".to_owned(), 1, MessageState::Blocked, 2)]);
    assert_eq!(rig.view("q").state, QueueState::Running);
    rig.restart();
    assert_eq!(standing(&rig), [("k1".to_owned(), 1, MessageState::Blocked, 0)]);
    assert_eq!(page(&rig).unseen, 4);
    let after = deliveries(&rig.ready(1, &["q"], 9));
    assert_eq!(after.iter().map(|one| one.seq).collect::<Vec<_>>(), [4]);
    assert_eq!(standing(&rig), [("k1".to_owned(), 1, MessageState::Blocked, 2)]);
    assert_eq!(page(&rig).unseen, 0);
    let repaired = deliveries(&rig.repair("k", 1, 0, RepairAction::Retry));
    assert_eq!(places(&rig.ack(&repaired[0])), [3]);
}

#[test]
fn an_edit_can_not_take_a_message_out_of_its_key() {
    let mut rig = Rig::new(by_key());
    send(&mut rig, &[1]);
    let header = |key: &str| serde_json::from_str(&format!(r#"{{"id":"m1","key":"{key}"}}"#)).ok();
    let edit = |key: &str| Edit { payload: "new".into(), header: header(key) };
    let told = rig.repair("a", 1, 0, RepairAction::Save(edit("k2")));
    match told.as_slice() {
        [Effect::Refused { refusal, .. }] => {
            assert!(refusal.to_string().contains("`key` must stay \"k1\""), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        rig.repair("b", 1, 0, RepairAction::Save(edit("k1"))).as_slice(),
        [.., Effect::Repaired { .. }]
    ));
}

#[test]
fn the_cancelled_of_a_key_can_be_restored_until_the_next_of_it_goes_out() {
    let mut rig = Rig::new(by_key());
    send(&mut rig, &[1, 1, 2]);
    rig.repair("a", 1, 0, RepairAction::Cancel);
    rig.repair("b", 2, 0, RepairAction::Cancel);
    assert_eq!(places(&rig.ready(1, &["q"], 9)), [3]);
    assert_eq!(places(&rig.repair("c", 1, 0, RepairAction::Restore)), [1]);
    assert_eq!(rig.view("q").depth, 2);
}

/// Runs a queue of `count` messages, of which each tenth is behind a blocked key, and counts what is read.
fn read_beside_blocked_keys(count: usize, blocked: usize) -> (u64, usize) {
    let options = EngineOptions { window_messages: 256, ..EngineOptions::default() };
    let mut rig = Rig::with_options(options, by_key());
    let keys: Vec<usize> = (1..=blocked).collect();
    send(&mut rig, &keys);
    let (worker, info) = (WorkerId(1), WorkerInfo::default());
    let credit = 64;
    let told = rig.run(Event::WorkerReady { worker, queues: vec![queue("q")], credit, info });
    let mut hands = deliveries(&told);
    while let Some(one) = hands.pop() {
        let error = WorkError::default();
        let (delivery, action) = (one.delivery, NackAction::Block);
        let told = rig.run(Event::Nack { worker, delivery, error, action, delay_ms: None });
        hands.extend(deliveries(&told));
    }
    rig.gone(1);
    let behind = |n: usize| if n.is_multiple_of(10) { n % blocked + 1 } else { blocked + n + 1 };
    let keys: Vec<usize> = (0..count).map(behind).collect();
    send(&mut rig, &keys);
    drain(&mut rig, credit)
}

/// Acknowledges everything that goes out; messages read, and done.
fn drain(rig: &mut Rig, credit: u32) -> (u64, usize) {
    let (worker, info) = (WorkerId(1), WorkerInfo::default());
    let mut events = vec![Event::WorkerReady { worker, queues: vec![queue("q")], credit, info }];
    let (mut read, mut done) = (0, 0);
    while let Some(event) = events.pop() {
        let mut out = Effects::default();
        rig.engine.handle(rig.now, event, &mut out);
        rig.store.commit(out.ops);
        for effect in out.effects {
            match effect {
                Effect::Load { queue, from, max_messages, max_bytes } => {
                    let messages = rig.store.read(queue, from, max_messages, max_bytes);
                    read += messages.len() as u64;
                    events.push(Event::Loaded { queue, from, messages });
                }
                Effect::Deliver { worker, delivery, .. } => {
                    done += 1;
                    events.insert(0, Event::Ack { worker, delivery, reply: Default::default() });
                }
                _ => {}
            }
        }
    }
    (read, done)
}

#[test]
fn blocked_keys_cost_each_message_one_read_whatever_is_behind_them() {
    let (read, done) = read_beside_blocked_keys(20_000, 500);
    assert_eq!(done, 18_000);
    assert!(read <= 20_600, "{read} messages were read");
}

#[test]
fn a_long_line_behind_a_blocked_key_is_counted_and_comes_in_order_once_it_is_free() {
    let mut rig = Rig::with_options(small(), by_key());
    send(&mut rig, &[1; 600]);
    let first = deliveries(&rig.ready(1, &["q"], 4));
    rig.nack_with(&first[0], NackAction::Block, None);
    send(&mut rig, &[2]);
    assert_eq!(standing(&rig), [("k1".to_owned(), 1, MessageState::Blocked, 599)]);
    assert_eq!(rig.engine.contents_in_ram(), 0, "nothing of it is in RAM");
    let mut now = deliveries(&rig.repair("k", 1, 0, RepairAction::Retry)).pop();
    let mut order = Vec::new();
    while let Some(one) = now {
        order.push(one.seq);
        now = deliveries(&rig.ack(&one)).pop();
    }
    assert_eq!(order, (1..=600).collect::<Vec<_>>());
    assert_eq!(rig.view("q").depth, 1, "k2 is with its worker");
}

#[test]
fn what_waits_for_a_message_is_behind_it_in_its_key_or_nothing_where_nothing_is_ordered() {
    let waiting = |rig: &Rig, seq, header: &str| {
        let header = Header::from_json(header.as_bytes()).expect("a header");
        rig.engine.waiting_behind(&queue("q"), Seq(seq), &header)
    };
    let (k1, k2) = (r#"{"id":"a","key":"k1"}"#, r#"{"id":"a","key":"k2"}"#);
    for (settings, expected) in [
        (by_key(), [19, 18, 3, 0]),
        (QueueSettings { ordering: Ordering::None, ..QueueSettings::default() }, [0, 0, 0, 0]),
        (QueueSettings::default(), [24, 22, 23, 4]),
    ] {
        let mut rig = Rig::with_options(EngineOptions::default(), settings);
        let mut keys = vec![1, 2, 1, 2];
        keys.extend([1; 17]);
        keys.extend([1, 2, 2, 0]);
        assert_eq!(keys.len(), 25);
        send(&mut rig, &keys);
        rig.ready(1, &["q"], 1);
        let behind = [(1, k1), (3, k1), (2, k2), (21, r#"{"id":"a"}"#)];
        let behind = behind.map(|(seq, key)| waiting(&rig, seq, key));
        assert_eq!(behind, expected);
    }
}
