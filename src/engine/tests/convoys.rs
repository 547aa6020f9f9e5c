//! Random runs of a queue whose messages may overtake one another, against a model that is a list: whatever
//! happens, nothing overtakes within its key, nothing is lost, nothing goes out twice without a new epoch, and
//! what can go goes. A failure names its seed; `MUBROKER_SEED=n` runs that one alone.

mod rules;
mod steps;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

pub(super) use self::steps::message;
use super::rig::{START, operator, queue};
use super::store::FakeStore;
use crate::engine::{Effect, Effects, Engine, EngineOptions, Event};
use crate::model::{
    AckMode, DeliveryId, Finish, MessageState, Op, Ordering, Origin, QueueId, QueueSettings,
    RepairAction, Retry, Timestamp, WorkerId,
};

/// Runs, unless `MUBROKER_RUNS` says how many.
const RUNS: u64 = 30;
const STEPS: usize = 400;

#[derive(Debug, Clone)]
struct Known {
    key: Option<String>,
    state: MessageState,
    due: Option<Timestamp>,
    revision: u32,
    is_over: bool,
}

#[derive(Debug, Clone)]
struct Leased {
    seq: u64,
    worker: u64,
    deadline: Timestamp,
}

/// What the queue should be, without windows, lines or loads.
#[derive(Debug, Clone, Default)]
struct Model {
    messages: Vec<Known>,
    /// How messages ended, in order.
    ended: Vec<(u64, Finish)>,
    is_paused: bool,
}

struct Sim {
    rng: Rng,
    engine: Engine,
    options: EngineOptions,
    settings: QueueSettings,
    keys: usize,
    store: FakeStore,
    now: Timestamp,
    model: Model,
    durable: Model,
    pending: VecDeque<(Effects, Model)>,
    loads: Vec<Event>,
    leases: BTreeMap<DeliveryId, Leased>,
    /// Credit by worker; `late` are answers that still count against it.
    workers: BTreeMap<u64, usize>,
    late: BTreeSet<(u64, DeliveryId)>,
    holds: BTreeMap<u64, Timestamp>,
    seen: BTreeSet<DeliveryId>,
    sent: usize,
    repairs: usize,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let ordering = if rng.bool() { Ordering::Key } else { Ordering::None };
        let retry = Retry { attempts: rng.u32(1..4), initial_ms: 300, ..Retry::default() };
        let settings = QueueSettings {
            ordering,
            priority: ordering == Ordering::None && rng.bool(),
            retry,
            ack: if rng.u8(0..5) == 0 { AckMode::OnDelivery } else { AckMode::AfterWork },
            lease_ms: 5_000,
            ..QueueSettings::default()
        };
        let options = EngineOptions {
            window_messages: [1, 2, 4, 8, 64][rng.usize(0..5)],
            total_window_bytes: [0, 2_000, 1 << 20][rng.usize(0..3)],
            suspect_ms: u64::MAX,
            heartbeat_timeout_ms: u64::MAX,
            seed,
            ..EngineOptions::default()
        };
        let mut store = FakeStore::default();
        let engine = Engine::new(options.clone(), store.recover(), START);
        let mut sim = Self {
            keys: rng.usize(1..6),
            rng,
            engine,
            options,
            settings: settings.clone(),
            store,
            now: START,
            model: Model::default(),
            durable: Model::default(),
            pending: VecDeque::new(),
            loads: Vec::new(),
            leases: BTreeMap::new(),
            workers: BTreeMap::new(),
            late: BTreeSet::new(),
            holds: BTreeMap::new(),
            seen: BTreeSet::new(),
            sent: 0,
            repairs: 0,
        };
        let (origin, actor, name) = (Origin(0), operator("ann"), queue("q"));
        sim.run(Event::PutQueue { origin, actor, name, settings });
        sim
    }

    fn step(&mut self) {
        match self.rng.u32(0..100) {
            0..20 => self.send(),
            20..24 => self.ready(),
            24..26 => self.gone(),
            26..50 => self.answer(),
            50..58 => self.pass(),
            58..60 => self.pause(),
            60..63 => self.hold(),
            63..72 => self.repair(),
            72..87 => {
                let batches = self.rng.usize(1..5);
                self.commit(batches);
            }
            87..88 => self.crash(),
            _ => self.answer_load(),
        }
    }

    fn run(&mut self, event: Event) -> Vec<Effect> {
        let mut out = Effects::default();
        self.engine.handle(self.now, event, &mut out);
        let now = self.now;
        self.holds.retain(|_, until| *until > now);
        let before = self.model.clone();
        for op in &out.ops {
            self.apply(op);
        }
        for effect in &out.effects {
            if let Effect::Deliver { worker, delivery, seq, deadline, .. } = effect {
                self.deliver(&before, worker.0, *delivery, seq.0, *deadline);
            }
        }
        let told = out.effects.clone();
        self.pending.push_back((out, self.model.clone()));
        self.check();
        told
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append { queue, .. } if *queue != self.id() => {}
            Op::Append { seq, content, .. } => {
                assert_eq!(seq.0, self.model.messages.len() as u64 + 1);
                let key = content.header.key().map(str::to_owned);
                let state = MessageState::Ready;
                self.model.messages.push(Known {
                    key,
                    state,
                    due: None,
                    revision: 0,
                    is_over: false,
                });
            }
            Op::PutRecord { seq, record, .. } => {
                let message = &mut self.model.messages[seq.0 as usize - 1];
                assert!(!message.is_over, "{seq} is at its end");
                (message.state, message.due) = (record.state, record.due);
                message.revision = record.revision.0;
            }
            Op::Finish { seq, how, .. } => {
                let message = &mut self.model.messages[seq.0 as usize - 1];
                assert!(!message.is_over, "{seq} ends once");
                message.is_over = true;
                self.model.ended.push((seq.0, *how));
                self.holds.remove(&seq.0);
            }
            _ => {}
        }
    }

    fn id(&self) -> QueueId {
        self.engine.queue_id(&queue("q")).expect("there")
    }

    fn commit(&mut self, batches: usize) {
        for _ in 0..batches {
            let Some((effects, model)) = self.pending.pop_front() else { return };
            self.store.commit(effects.ops);
            self.durable = model;
            for effect in effects.effects {
                if let Effect::Load { queue, from, max_messages, max_bytes } = effect {
                    assert!(self.loads.is_empty(), "one load at a time");
                    let messages = self.store.read(queue, from, max_messages, max_bytes);
                    self.loads.push(Event::Loaded { queue, from, messages });
                }
            }
        }
    }

    /// The broker dies: what is not durable never was.
    fn crash(&mut self) {
        self.commit(1);
        if self.store.queue_named("q").is_none() {
            self.commit(usize::MAX);
        }
        self.pending.clear();
        self.loads.clear();
        self.leases.clear();
        self.late.clear();
        self.workers.clear();
        self.holds.clear();
        self.model = self.durable.clone();
        self.engine = Engine::new(self.options.clone(), self.store.recover(), self.now);
        self.run(Event::Tick);
    }

    fn answer_load(&mut self) {
        if let Some(load) = self.loads.pop() {
            self.run(load);
        }
    }

    /// All is well again: every message that nobody cancelled comes to its end, those of a key in order.
    fn settle(&mut self) {
        self.model.is_paused = false;
        let (origin, actor, queue) = (Origin(9), operator("ann"), queue("q"));
        self.run(Event::SetPaused { origin, actor, queue, paused: false, reason: String::new() });
        self.ready();
        for _ in 0..20_000 {
            self.commit(usize::MAX);
            self.answer_load();
            let blocked = |it: &Known| !it.is_over && it.state == MessageState::Blocked;
            if let Some(at) = self.model.messages.iter().position(blocked) {
                self.repair_with(at as u64 + 1, RepairAction::Retry);
            }
            if let Some((&delivery, &Leased { worker, .. })) = self.leases.iter().next() {
                self.leases.remove(&delivery);
                let (worker, reply) = (WorkerId(worker), Default::default());
                self.run(Event::Ack { worker, delivery, reply });
            } else if let Some((worker, delivery)) = self.late.pop_first() {
                let (worker, reply) = (WorkerId(worker), Default::default());
                self.run(Event::Ack { worker, delivery, reply });
            } else {
                self.pass();
            }
            if self
                .model
                .messages
                .iter()
                .all(|it| it.is_over || it.state == MessageState::Cancelled)
            {
                break;
            }
        }
        let is_left = |it: &&Known| !it.is_over && it.state != MessageState::Cancelled;
        assert_eq!(self.model.messages.iter().filter(is_left).count(), 0, "all is done");
        self.check_order();
    }
}

#[test]
fn whatever_happens_nothing_overtakes_within_its_key() {
    let asked = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seed = asked("MUBROKER_SEED");
    let first = seed.unwrap_or_else(|| fastrand::u64(..));
    let runs = seed.map_or(asked("MUBROKER_RUNS").unwrap_or(RUNS), |_| 1);
    for seed in (0..runs).map(|n| first.wrapping_add(n)) {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut sim = Sim::new(seed);
            (0..STEPS).for_each(|_| sim.step());
            sim.settle();
        }));
        if let Err(cause) = run {
            let text = cause.downcast_ref::<String>().map_or("", String::as_str);
            panic!("with MUBROKER_SEED={seed}: {:.600}", text);
        }
    }
}
