//! Contents in RAM: bounded, loaded on demand, never out of date.

use bytes::Bytes;

use super::rig::{Rig, START, content, delivered, deliveries, queue};
use super::store::FakeStore;
use crate::engine::{Effect, Effects, Engine, EngineOptions, Event};
use crate::model::{
    Edit, MessageState, Origin, QueueSettings, QueueState, Repair, RepairAction, Revision, Seq,
    Timestamp, WorkerId, WorkerInfo,
};

fn tiny() -> EngineOptions {
    EngineOptions { window_messages: 3, ..EngineOptions::default() }
}

/// An engine whose loads are answered by hand.
struct Slow {
    engine: Engine,
    store: FakeStore,
    now: Timestamp,
}

impl Slow {
    fn new(messages: usize) -> Self {
        let mut rig = Rig::with_options(tiny(), QueueSettings::default());
        for n in 1..=messages {
            rig.send("q", &format!("m{n}"));
        }
        Self { engine: rig.engine, store: rig.store, now: START }
    }

    fn run(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Effects::default();
        self.engine.handle(self.now, event, &mut out);
        self.store.commit(out.ops);
        out.effects
    }

    fn answer(&mut self, load: &Effect) -> Event {
        match *load {
            Effect::Load { queue, from, max_messages, max_bytes } => {
                let messages = self.store.read(queue, from, max_messages, max_bytes);
                Event::Loaded { queue, from, messages }
            }
            ref other => panic!("{other:?}"),
        }
    }

    fn ready(&mut self) -> Vec<Effect> {
        let queues = vec![queue("q")];
        let info = WorkerInfo::default();
        self.run(Event::WorkerReady { worker: WorkerId(1), queues, credit: 1, info })
    }

    fn repair(&mut self, key: &str, seq: u64, action: RepairAction) -> Vec<Effect> {
        let id = self.engine.queue_id(&queue("q")).expect("q");
        let repair = Repair {
            key: key.parse().expect("valid"),
            actor: super::rig::operator("ann"),
            queue: queue("q"),
            seq: Seq(seq),
            expect_revision: Revision(0),
            seen: self.store.content(id, Seq(seq), Revision(0)),
            action,
            reason: "because".to_owned(),
        };
        self.run(Event::Repair { origin: Origin(9), repair })
    }
}

#[test]
fn a_long_backlog_goes_through_a_small_window_in_order() {
    let mut rig = Rig::with_options(tiny(), QueueSettings::default());
    for n in 1..=50 {
        rig.send("q", &format!("m{n}"));
    }
    let mut now = delivered(&rig.ready(1, &["q"], 1));
    for seq in 1..=49 {
        assert_eq!((now.seq, now.payload.clone()), (seq, format!("m{seq}")));
        rig.send("q", &format!("later{seq}"));
        now = delivered(&rig.ack(&now));
    }
    assert_eq!(rig.view("q").depth, 50);
}

#[test]
fn nothing_is_loaded_for_nobody() {
    let mut slow = Slow::new(3);
    assert!(slow.run(Event::Tick).is_empty());
    let effects = slow.ready();
    assert!(matches!(effects.last(), Some(Effect::Load { from: Seq(1), .. })));
}

#[test]
fn a_load_that_is_out_of_date_does_not_undo_an_edit() {
    let mut slow = Slow::new(3);
    let effects = slow.ready();
    let answer = slow.answer(effects.last().expect("a load"));
    let edit = Edit { payload: Bytes::from_static(b"new"), header: None };
    slow.repair("k", 1, RepairAction::Save(edit));
    let again = slow.run(answer);
    let [load @ Effect::Load { .. }] = again.as_slice() else { panic!("{again:?}") };
    let answer = slow.answer(load);
    let effects = slow.run(answer);
    assert_eq!(delivered(&effects).payload, "new");
}

#[test]
fn a_load_knows_of_messages_cancelled_and_sent_meanwhile() {
    let mut slow = Slow::new(3);
    let effects = slow.ready();
    let answer = slow.answer(effects.last().expect("a load"));
    slow.repair("k1", 1, RepairAction::Cancel);
    let messages = vec![(queue("q"), content("m4", "m4"))];
    slow.run(Event::Send { origin: Origin(1), messages, call: None });
    let effects = slow.run(answer);
    assert_eq!(delivered(&effects).seq, 2);
    assert_eq!(slow.engine.queue_view(&queue("q")).expect("q").depth, 3);
}

#[test]
fn a_queue_stands_rather_than_skip_a_message_that_the_store_lacks() {
    let mut slow = Slow::new(3);
    slow.ready();
    let id = slow.engine.queue_id(&queue("q")).expect("q");
    let without_first = slow.store.read(id, Seq(2), 9, 9_999);
    let lacking = Event::Loaded { queue: id, from: Seq(1), messages: without_first };
    assert!(slow.run(lacking).is_empty());
    slow.now = slow.now.plus_ms(1_000);
    let effects = slow.run(Event::Tick);
    let [load @ Effect::Load { from: Seq(1), .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let answer = slow.answer(load);
    assert_eq!(delivered(&slow.run(answer)).seq, 1);
}

#[test]
fn a_queue_whose_payloads_are_still_in_a_redis_that_is_away_says_so() {
    let mut slow = Slow::new(3);
    slow.run(Event::RedisReach { down: Some("no answer".to_owned()) });
    let effects = slow.ready();
    let answer = slow.answer(effects.last().expect("a load"));
    let why = |slow: &Slow| slow.engine.queue_view(&queue("q")).expect("q").unreachable;
    assert_eq!(why(&slow), None, "nothing says yet that it needs Redis");
    let id = slow.engine.queue_id(&queue("q")).expect("q");
    slow.run(Event::Loaded { queue: id, from: Seq(1), messages: Vec::new() });
    assert_eq!(why(&slow).as_deref(), Some("no answer"));

    slow.run(Event::RedisReach { down: None });
    slow.now = slow.now.plus_ms(1_000);
    slow.run(Event::Tick);
    assert_eq!(delivered(&slow.run(answer)).seq, 1);
    assert_eq!(why(&slow), None);
}

#[test]
fn an_answer_that_nobody_asked_for_is_ignored() {
    let mut slow = Slow::new(3);
    let id = slow.engine.queue_id(&queue("q")).expect("q");
    let messages = slow.store.read(id, Seq(1), 9, 9_999);
    assert!(slow.run(Event::Loaded { queue: id, from: Seq(1), messages }).is_empty());
    let unknown = crate::model::QueueId(99);
    let messages = Vec::new();
    assert!(slow.run(Event::Loaded { queue: unknown, from: Seq(1), messages }).is_empty());
}

#[test]
fn without_room_contents_come_one_at_a_time() {
    let options = EngineOptions { total_window_bytes: 0, ..EngineOptions::default() };
    let mut rig = Rig::with_options(options, QueueSettings::default());
    rig.send_many(&[("q", "a"), ("q", "b"), ("q", "c")]);
    let mut now = delivered(&rig.ready(1, &["q"], 1));
    for seq in 1..3 {
        assert_eq!(now.seq, seq);
        assert!(rig.engine.contents_in_ram() <= 1);
        now = delivered(&rig.ack(&now));
    }
}

#[test]
fn a_load_that_is_of_no_use_any_more_does_not_hold_up_other_queues() {
    let mut slow = Slow::new(0);
    let queues = vec![queue("q"), queue("first"), queue("other")];
    let (origin, actor) = (Origin(9), super::rig::operator("ann"));
    for name in ["first", "other"] {
        let (actor, name, settings) = (actor.clone(), queue(name), QueueSettings::default());
        slow.run(Event::PutQueue { origin, actor, name, settings });
    }
    let ready = |id| Event::WorkerReady {
        worker: WorkerId(id),
        queues: queues.clone(),
        credit: 1,
        info: WorkerInfo::default(),
    };
    let send = |name, id: &str| Event::Send {
        origin,
        messages: vec![(queue(name), content(id, id))],
        call: None,
    };
    // Worker 1 is busy with `first`; the window of `q` holds its first three messages.
    slow.run(ready(1));
    let busy = delivered(&slow.run(send("first", "f1")));
    for n in 1..=5 {
        slow.run(send("q", &format!("m{n}")));
    }
    slow.run(send("other", "o1"));
    for seq in 1..=3 {
        slow.repair(&format!("k{seq}"), seq, RepairAction::Cancel);
    }
    let ack = Event::Ack { worker: WorkerId(1), delivery: busy.delivery, reply: Bytes::new() };
    let effects = slow.run(ack);
    let load = effects.iter().find(|e| matches!(e, Effect::Load { .. })).expect("q's turn");
    let answer = slow.answer(load);
    let (queue, reason) = (queue("q"), String::new());
    slow.run(Event::SetPaused { origin, actor, queue, paused: true, reason });
    assert_eq!(delivered(&slow.run(answer)).queue, "other");
}

#[test]
fn what_the_store_has_lost_blocks_and_is_never_delivered() {
    let mut rig = Rig::with_options(tiny(), QueueSettings::default());
    let id = rig.engine.queue_id(&queue("q")).expect("q");
    rig.send_many(&[("q", "a"), ("q", "b"), ("q", "c")]);
    rig.store.lost.insert((id, Seq(2)));
    let first = delivered(&rig.ready(1, &["q"], 1));
    let state = |rig: &Rig| rig.engine.message_overlay(&queue("q"), Seq(2)).expect("b").state;
    assert_eq!(state(&rig), MessageState::Blocked);
    assert!(deliveries(&rig.ack(&first)).is_empty());
    assert_eq!(rig.view("q").state, QueueState::Blocked);
    // A retry reads it again, from RAM or not; what is still lost blocks again.
    for key in ["k1", "k2"] {
        assert!(deliveries(&rig.repair(key, 2, 0, RepairAction::Retry)).is_empty());
        assert_eq!(state(&rig), MessageState::Blocked);
    }
    rig.restart();
    assert!(deliveries(&rig.ready(1, &["q"], 1)).is_empty());
    let edit = Edit { payload: Bytes::from_static(b"new"), header: None };
    let now = delivered(&rig.repair("k3", 2, 0, RepairAction::SaveAndRetry(edit)));
    assert_eq!((now.seq, now.payload.as_str()), (2, "new"));
    assert_eq!(delivered(&rig.ack(&now)).seq, 3);
}

#[test]
fn what_can_be_read_again_goes_on_after_a_retry() {
    let mut rig = Rig::with_options(tiny(), QueueSettings::default());
    let id = rig.engine.queue_id(&queue("q")).expect("q");
    rig.send_many(&[("q", "a"), ("q", "b"), ("q", "c")]);
    rig.store.lost.insert((id, Seq(2)));
    // The window still holds all three when `b` is retried.
    let first = delivered(&rig.ready(1, &["q"], 1));
    rig.store.lost.clear();
    rig.repair("k1", 2, 0, RepairAction::Retry);
    let now = delivered(&rig.ack(&first));
    assert_eq!((now.seq, now.payload.as_str()), (2, "b"));
}
