//! What comes by a Redis stream.

use super::rig::{Rig, content, delivered, deliveries, operator, queue};
use crate::engine::{Effect, Event};
use crate::model::{
    Arrival, Dedup, MailboxKind, Origin, QueueSettings, RejectCode, StreamEntry, StreamId,
};

fn entry(ms: u64) -> StreamId {
    StreamId { ms, number: 0 }
}

/// Entry `ms`, message id `id`.
fn arrival(ms: u64, id: &str) -> Arrival {
    let entry = StreamEntry { id: entry(ms), refused: None };
    Arrival { entry, content: content(id, id) }
}

impl Rig {
    fn arrived(&mut self, after: u64, arrivals: &[(u64, &str)]) -> Vec<Effect> {
        let arrivals = arrivals.iter().map(|&(ms, id)| arrival(ms, id)).collect();
        let queue = self.engine.queue_id(&queue("q")).expect("q");
        self.run(Event::Arrived { queue, after: entry(after), arrivals })
    }

    fn accepted(&self) -> Vec<&str> {
        let kept = self.store.queue_named("q").expect("q");
        kept.accepted.iter().map(|id| id.as_str()).collect()
    }
}

#[test]
fn arrivals_are_taken_in_their_order_and_only_once() {
    let mut rig = Rig::new(QueueSettings { dedup: Dedup::Off, ..QueueSettings::default() });
    rig.arrived(0, &[(5, "a"), (7, "b")]);
    rig.send("q", "c");
    // Told again, as after a reader that began anew.
    rig.arrived(0, &[(5, "a"), (7, "b"), (9, "d")]);
    assert_eq!(rig.accepted(), ["a", "b", "c", "d"]);
    rig.restart();
    rig.arrived(7, &[(9, "d"), (10, "e")]);
    assert_eq!(rig.accepted(), ["a", "b", "c", "d", "e"]);
    let first = delivered(&rig.ready(1, &["q"], 1));
    assert_eq!(first.payload, "a");
    assert_eq!(delivered(&rig.ack(&first)).payload, "b");
}

#[test]
fn what_comes_after_a_gap_is_left_until_it_is_told_from_where_it_stopped() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.arrived(0, &[(5, "a")]);
    rig.arrived(7, &[(9, "c")]);
    assert_eq!(rig.accepted(), ["a"]);
    rig.arrived(5, &[(7, "b"), (9, "c")]);
    assert_eq!(rig.accepted(), ["a", "b", "c"]);
}

#[test]
fn an_arrival_whose_id_is_known_is_passed_over_for_good() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.send("q", "a");
    rig.arrived(0, &[(5, "a"), (6, "b")]);
    assert_eq!(rig.accepted(), ["a", "b"]);
    assert_eq!(rig.view("q").duplicates, 1);
    assert_eq!(rig.store.queue_named("q").expect("q").newest_entry, entry(6));
}

#[test]
fn a_full_queue_leaves_arrivals_in_their_stream() {
    let mut rig = Rig::new(QueueSettings { max_messages: 2, ..QueueSettings::default() });
    rig.arrived(0, &[(1, "a"), (2, "b"), (3, "c")]);
    assert_eq!(rig.accepted(), ["a", "b"]);
    rig.arrived(3, &[(4, "d")]);
    assert_eq!(rig.accepted(), ["a", "b"], "not around what was left");
    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.ack(&first);
    rig.arrived(2, &[(3, "c"), (4, "d")]);
    assert_eq!(rig.accepted(), ["a", "b", "c"]);
}

#[test]
fn nothing_is_taken_in_while_the_broker_stops() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.run(Event::Shutdown);
    assert!(deliveries(&rig.arrived(0, &[(1, "a")])).is_empty());
    assert!(rig.accepted().is_empty());
}

#[test]
fn while_redis_is_away_only_its_queues_accept_nothing() {
    let mut rig = Rig::new(redis());
    rig.put_queue("other", QueueSettings::default());
    rig.send("q", "a");
    rig.run(Event::RedisReach { down: Some("no answer".to_owned()) });
    let told = rig.send("q", "b");
    let [Effect::Rejected { rejection, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(rejection.code, RejectCode::StoreUnavailable);
    assert!(rejection.retry_after_ms.is_some() && rejection.reason.contains("no answer"));
    assert_eq!(rig.view("q").unreachable.as_deref(), Some("no answer"));
    rig.send_many(&[("other", "c"), ("q", "d")]);
    assert_eq!((rig.accepted(), rig.view("other").depth), (vec!["a"], 0), "all or none");
    rig.send("other", "c");
    assert_eq!(rig.view("other").depth, 1);
    // What is in RAM or stored locally is delivered all the same.
    assert_eq!(delivered(&rig.ready(1, &["q"], 1)).payload, "a");

    rig.run(Event::RedisReach { down: None });
    rig.send("q", "b");
    assert_eq!((rig.accepted(), rig.view("q").unreachable), (vec!["a", "b"], None));
}

fn redis() -> QueueSettings {
    QueueSettings { mailbox: MailboxKind::Redis, ..QueueSettings::default() }
}

#[test]
fn a_drained_queue_leaves_arrivals_in_their_stream_until_it_is_resumed() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.arrived(0, &[(1, "a")]);
    let (origin, actor, reason) = (Origin(9), operator("ann"), String::new());
    rig.run(Event::Drain { origin, actor, queue: queue("q"), reason });
    // One that is known already is passed over as ever.
    rig.arrived(1, &[(2, "a"), (3, "b")]);
    assert_eq!(rig.accepted(), ["a"]);
    assert_eq!(rig.store.queue_named("q").expect("q").newest_entry, entry(2));
    rig.pause(false);
    rig.arrived(2, &[(3, "b")]);
    assert_eq!(rig.accepted(), ["a", "b"]);
}
