//! `overflow = "dead-letter-oldest"`: one by one, and random runs with late reads and restarts.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::rig::{Delivered, Rig, content, delivered, deliveries, operator, queue};
use super::store::FakeStore;
use crate::engine::{Effect, Effects, Engine, EngineOptions, Event};
use crate::model::{
    Dedup, Finish, MessageState, NackAction, Origin, Overflow, QueueId, QueueSettings, RejectCode,
    Rejection, RepairAction, Seq, StoredMessage, WorkError, WorkerId, WorkerInfo,
};

fn bounded(max_messages: u64) -> QueueSettings {
    let overflow = Overflow::DeadLetterOldest;
    QueueSettings { max_messages, overflow, ..QueueSettings::default() }
}

fn places(store: &FakeStore, name: &str) -> Vec<u64> {
    let kept = store.queue_named(name);
    kept.map_or_else(Vec::new, |kept| kept.messages.keys().map(|seq| seq.0).collect())
}

/// Ids in a queue, in order.
fn ids(store: &FakeStore, name: &str) -> Vec<String> {
    let kept = store.queue_named(name);
    let messages = kept.into_iter().flat_map(|kept| kept.messages.values());
    messages.map(|message| message.newest().id().to_string()).collect()
}

/// Bytes of what waits in `q`.
fn bytes(store: &FakeStore) -> u64 {
    let kept = store.queue_named("q").expect("it is there");
    kept.messages.values().map(|message| message.newest().size_bytes()).sum()
}

fn refused(effects: &[Effect]) -> Rejection {
    match effects {
        [Effect::Rejected { rejection, .. }] => rejection.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_oldest_go_to_the_dead_letter_queue_with_where_they_come_from() {
    let mut rig = Rig::new(bounded(2));
    for id in ["a", "b", "c", "d"] {
        rig.send("q", id);
    }
    assert_eq!(places(&rig.store, "q"), [3, 4]);
    assert_eq!(ids(&rig.store, "q.dead"), ["a", "b"]);
    let dead = rig.store.queue_named("q.dead").expect("it was made");
    let first = dead.messages[&Seq(1)].newest();
    let header = first.header.to_map();
    let came_from = header["dead_letter"].as_object().expect("an object");
    assert_eq!(came_from["queue"], "q");
    assert_eq!(came_from["seq"].as_u64(), Some(1));
    assert_eq!(came_from["reason"], "max-length");
    assert_eq!(&first.payload[..], b"a");
    let view = rig.view("q");
    assert_eq!((view.depth, view.dead_lettered, view.done), (2, 2, 0));
    assert_eq!(view.bytes, bytes(&rig.store));
}

#[test]
fn a_request_larger_than_the_queue_leaves_its_newest() {
    let mut rig = Rig::new(bounded(2));
    rig.send_many(&[("q", "a"), ("q", "b"), ("q", "c"), ("q", "d"), ("q", "e")]);
    assert_eq!(ids(&rig.store, "q"), ["d", "e"]);
    assert_eq!(ids(&rig.store, "q.dead"), ["a", "b", "c"]);
}

#[test]
fn bytes_make_room_too() {
    let size = content("a", "a").size_bytes();
    let settings = QueueSettings { max_bytes: 2 * size, ..bounded(0) };
    let mut rig = Rig::new(settings);
    for id in ["a", "b", "c"] {
        rig.send("q", id);
    }
    assert_eq!(ids(&rig.store, "q"), ["b", "c"]);
    let long = "x".repeat(100);
    assert_eq!(refused(&rig.send("q", &long)).code, RejectCode::TooLarge);
}

#[test]
fn what_a_worker_has_or_an_operator_edits_stays() {
    let mut rig = Rig::new(bounded(2));
    rig.send("q", "a");
    let leased = delivered(&rig.ready(1, &["q"], 1));
    rig.send("q", "b");
    rig.hold("ann", 2, 60_000);
    let full = refused(&rig.send("q", "c"));
    assert_eq!(full.code, RejectCode::Full);
    assert!(full.reason.contains("worked on or edited"), "{}", full.reason);
    rig.hold("ann", 2, 0);
    rig.send("q", "c");
    assert_eq!(ids(&rig.store, "q"), ["a", "c"]);
    assert_eq!(delivered(&rig.ack(&leased)).payload, "c");
    assert_eq!(ids(&rig.store, "q.dead"), ["b"]);
}

#[test]
fn a_blocked_head_goes_with_its_error_and_the_queue_goes_on() {
    let mut rig = Rig::new(bounded(1));
    rig.send("q", "a");
    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.nack(&first);
    assert_eq!(rig.view("q").blocked, 1);
    let effects = rig.send("q", "b");
    assert_eq!(delivered(&effects).payload, "b");
    let dead = rig.store.queue_named("q.dead").expect("it was made");
    let header = dead.messages[&Seq(1)].newest().header.to_map();
    assert_eq!(header["dead_letter"]["error"], "exit-1: it failed");
    assert_eq!(header["dead_letter"]["attempts"].as_u64(), Some(1));
}

#[test]
fn a_dead_letter_queue_that_is_full_makes_its_queues_refuse() {
    let mut rig = Rig::new(bounded(1));
    rig.put_queue("q.dead", bounded(1));
    rig.send("q", "a");
    rig.send("q", "b");
    let full = refused(&rig.send("q", "c"));
    assert_eq!(full.code, RejectCode::Full);
    assert!(full.reason.contains("q.dead is full"), "{}", full.reason);
    assert!(refused(&rig.send("q.dead", "x")).reason.contains("dead-letter queue itself"));
    assert!(rig.store.queue_named("q.dead.dead").is_none());
    rig.restart();
    assert!(refused(&rig.send("q.dead", "x")).reason.contains("dead-letter queue itself"));
}

#[test]
fn a_letter_is_dead_even_if_its_id_was_before_and_status_finds_it() {
    let mut rig = Rig::new(QueueSettings { dedup: Dedup::Off, ..bounded(1) });
    for id in ["a", "a", "b"] {
        rig.send("q", id);
    }
    assert_eq!(ids(&rig.store, "q.dead"), ["a", "a"]);
    let mut rig = Rig::new(bounded(1));
    rig.send_many(&[("q", "a"), ("q", "b")]);
    let id = "a".parse().expect("an id");
    let told = rig.run(Event::Status { origin: Origin(1), id, queue: Some(queue("q")) });
    let [Effect::Status { report, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((report.queue.as_str(), report.state), ("q.dead", MessageState::Ready));
}

#[test]
fn a_caller_hears_that_its_message_was_pushed_out() {
    let mut rig = Rig::new(bounded(1));
    rig.call(7, "a", 1_000);
    let told = rig.send("q", "b");
    let ended = told.iter().any(|effect| match effect {
        Effect::CallEnded { origin: Origin(7), reply } => {
            reply.error.as_ref().is_some_and(|error| error.code == "max-length")
        }
        _ => false,
    });
    assert!(ended, "{told:?}");
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    AnswerLoad,
    Ready,
    Gone,
    Ack,
    Nack,
    Retry,
    Save(u64),
    Cancel(u64),
    Hold(u64, bool),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1usize..4).prop_map(Step::Send),
        5 => Just(Step::AnswerLoad),
        2 => Just(Step::Ready),
        1 => Just(Step::Gone),
        4 => Just(Step::Ack),
        2 => Just(Step::Nack),
        2 => Just(Step::Retry),
        2 => (0u64..6).prop_map(Step::Save),
        2 => (0u64..6).prop_map(Step::Cancel),
        2 => ((0u64..6), any::<bool>()).prop_map(|(seq, held)| Step::Hold(seq, held)),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..80)
}

const MAX: u64 = 4;

/// An engine whose loads are answered late, from what the store holds when they are asked for.
struct Late {
    rig: Rig,
    loads: VecDeque<(QueueId, Seq, Vec<StoredMessage>)>,
    in_hand: Option<Delivered>,
    sent: u64,
    repairs: u64,
    /// Accepted ids by place.
    accepted: BTreeMap<u64, String>,
}

impl Late {
    fn new() -> Self {
        let options = EngineOptions { window_messages: 2, ..EngineOptions::default() };
        let rig = Rig::with_options(options, bounded(MAX));
        let (loads, in_hand, accepted) = Default::default();
        Self { rig, loads, in_hand, sent: 0, repairs: 0, accepted }
    }

    fn run(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Effects::default();
        self.rig.engine.handle(self.rig.now, event, &mut out);
        self.rig.store.commit(out.ops);
        let mut told = Vec::new();
        for effect in out.effects {
            match effect {
                Effect::Load { queue, from, max_messages, max_bytes } => {
                    let messages = self.rig.store.read(queue, from, max_messages, max_bytes);
                    self.loads.push_back((queue, from, messages));
                }
                Effect::Accepted { accepted, .. } => {
                    for one in accepted {
                        self.accepted.insert(one.seq.0, one.id.to_string());
                    }
                }
                effect => told.push(effect),
            }
        }
        if let Some(delivery) = deliveries(&told).pop() {
            assert!(self.in_hand.replace(delivery).is_none(), "one at a time");
        }
        told
    }

    fn step(&mut self, step: Step) {
        let worker = WorkerId(1);
        match step {
            Step::Send(count) => {
                let messages = (0..count).map(|_| {
                    self.sent += 1;
                    let id = format!("m{}", self.sent);
                    (queue("q"), content(&id, &id))
                });
                let messages = messages.collect();
                self.run(Event::Send { origin: Origin(1), messages, call: None });
            }
            Step::AnswerLoad => {
                if let Some((queue, from, messages)) = self.loads.pop_front() {
                    self.run(Event::Loaded { queue, from, messages });
                }
            }
            Step::Ready => {
                let (queues, info) = (vec![queue("q")], WorkerInfo::default());
                self.run(Event::WorkerReady { worker, queues, credit: 1, info });
            }
            Step::Gone => {
                self.in_hand = None;
                self.run(Event::WorkerGone { worker, reason: "disconnected" });
            }
            Step::Ack => {
                if let Some(Delivered { delivery, .. }) = self.in_hand.take() {
                    self.run(Event::Ack { worker, delivery, reply: Default::default() });
                }
            }
            Step::Nack => {
                if let Some(Delivered { delivery, .. }) = self.in_hand.take() {
                    let (error, action) = (WorkError::default(), NackAction::Block);
                    let delay_ms = None;
                    self.run(Event::Nack { worker, delivery, error, action, delay_ms });
                }
            }
            Step::Retry => self.repair(0, RepairAction::Retry),
            Step::Save(nth) => {
                let payload = format!("edit {}", self.repairs).into();
                self.repair(nth, RepairAction::Save(crate::model::Edit { payload, header: None }));
            }
            Step::Cancel(nth) => self.repair(nth, RepairAction::Cancel),
            Step::Hold(nth, held) => {
                if let Some(seq) = self.nth(nth) {
                    let (actor, for_ms) = (operator("ann"), if held { 60_000 } else { 0 });
                    let seq = Seq(seq);
                    let (origin, queue) = (Origin(9), queue("q"));
                    self.run(Event::Hold { origin, actor, queue, seq, for_ms });
                }
            }
            Step::Restart => {
                self.loads.clear();
                self.in_hand = None;
                self.rig.restart();
            }
        }
        self.check();
    }

    fn nth(&self, nth: u64) -> Option<u64> {
        places(&self.rig.store, "q").get(nth as usize).copied()
    }

    fn repair(&mut self, nth: u64, action: RepairAction) {
        let Some(seq) = self.nth(nth) else { return };
        let id = self.rig.engine.queue_id(&queue("q")).expect("q is there");
        let kept = self.rig.store.queue_named("q").expect("q is there");
        let revision = crate::model::Revision(kept.messages[&Seq(seq)].contents.len() as u32 - 1);
        self.repairs += 1;
        let repair = crate::model::Repair {
            key: format!("k{}", self.repairs).parse().expect("a key"),
            actor: operator("ann"),
            queue: queue("q"),
            seq: Seq(seq),
            expect_revision: revision,
            seen: self.rig.store.content(id, Seq(seq), revision),
            action,
            reason: "because".to_owned(),
        };
        self.run(Event::Repair { origin: Origin(9), repair });
    }

    /// Every accepted message is in its queue, at its end, or a dead letter; none twice, none from nowhere.
    fn check(&self) {
        let store = &self.rig.store;
        let kept = store.queue_named("q").expect("q is there");
        let dead_places: BTreeMap<u64, String> = store
            .queue_named("q.dead")
            .into_iter()
            .flat_map(|dead| dead.messages.values())
            .map(|message| {
                let header = message.newest().header.to_map();
                assert_eq!(header["dead_letter"]["queue"], "q");
                let seq = header["dead_letter"]["seq"].as_u64().expect("a place");
                (seq, message.newest().id().to_string())
            })
            .collect();
        let made = store.queue_named("q.dead").map_or(0, |dead| dead.accepted.len());
        assert_eq!(dead_places.len(), made, "a dead letter twice");
        let mut ends: BTreeMap<u64, Finish> = BTreeMap::new();
        for (seq, how) in &kept.finished {
            assert!(ends.insert(seq.0, *how).is_none());
        }
        for (seq, id) in &self.accepted {
            let waits = kept.messages.contains_key(&Seq(*seq));
            let is_dead = dead_places.get(seq) == Some(id);
            let how = ends.get(seq);
            assert_eq!(waits, how.is_none(), "{seq}");
            assert_eq!(is_dead, how == Some(&Finish::DeadLettered), "{seq} {how:?}");
        }
        assert_eq!(self.accepted.len(), kept.accepted.len());
        let view = self.rig.view("q");
        let beyond = view.depth.saturating_sub(MAX);
        assert!(beyond <= 1_024);
        assert!(store.queue_named("q.dead.dead").is_none());
    }

    /// Once what is read has come, and a message was accepted, the bound holds.
    fn settle(&mut self) {
        self.step(Step::Send(1));
        while !self.loads.is_empty() {
            self.step(Step::AnswerLoad);
        }
        let depth = self.rig.view("q").depth;
        assert!(depth <= MAX, "{depth} wait");
        assert_eq!(self.rig.view("q").bytes, bytes(&self.rig.store));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_kept_beyond_the_bound(steps in steps()) {
        let mut late = Late::new();
        for step in steps {
            late.step(step);
        }
        late.settle();
    }
}

#[test]
fn a_new_engine_goes_on_where_the_old_one_was_moving() {
    let mut late = Late::new();
    for _ in 0..3 {
        late.step(Step::Send(3));
    }
    assert_eq!(late.loads.len(), 1, "one read at a time");
    late.step(Step::Restart);
    late.settle();
    assert_eq!(places(&late.rig.store, "q"), [7, 8, 9, 10]);
    let _: &Engine = &late.rig.engine;
}
