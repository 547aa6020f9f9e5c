//! Random runs of a queue whose messages may overtake one another, against a model that is a list: whatever
//! happens, nothing overtakes within its key, nothing is lost, nothing goes out twice without a new epoch, and
//! what can go goes. A failure names its seed; `MUBROKER_SEED=n` runs that one alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

use super::rig::{START, operator, queue};
use super::store::FakeStore;
use crate::engine::{Effect, Effects, Engine, EngineOptions, Event};
use crate::model::{
    AckMode, Content, DeliveryId, Edit, Finish, Header, MessageState, NackAction, Op, Ordering,
    Origin, QueueId, QueueSettings, Repair, RepairAction, Retry, Revision, Seq, Timestamp,
    WorkError, WorkerId, WorkerInfo,
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

    fn deliver(
        &mut self,
        before: &Model,
        worker: u64,
        delivery: DeliveryId,
        seq: u64,
        deadline: Timestamp,
    ) {
        assert!(self.seen.insert(delivery), "{delivery:?} is new");
        let at_once = self.settings.ack == AckMode::OnDelivery;
        let was_over = before.messages.get(seq as usize - 1).is_some_and(|message| message.is_over);
        assert!(!was_over, "{seq} was at its end");
        let model = if at_once { before } else { &self.model };
        if model.messages.len() >= seq as usize {
            assert!(self.may_go(model, seq), "{seq} must not go: {model:#?} {:?}", self.leases);
        }
        self.leases.insert(delivery, Leased { seq, worker, deadline });
        let credit = self.workers[&worker];
        assert!(self.used(worker) <= credit, "no more than worker {worker} takes");
    }

    fn used(&self, worker: u64) -> usize {
        let leased = self.leases.values().filter(|lease| lease.worker == worker).count();
        leased + self.late.iter().filter(|(other, _)| *other == worker).count()
    }

    fn is_ready(&self, model: &Model, seq: u64) -> bool {
        let message = &model.messages[seq as usize - 1];
        let is_due = message.due.is_none_or(|due| due <= self.now);
        let is_ready = match message.state {
            MessageState::Ready => true,
            MessageState::Waiting => is_due,
            _ => false,
        };
        is_ready && !message.is_over
    }

    /// The rules 2 and 3 of design.md 4.
    fn may_go(&self, model: &Model, seq: u64) -> bool {
        let is_leased = |other: u64| self.leases.values().any(|lease| lease.seq == other);
        let alone = self.is_ready(model, seq) && !self.holds.contains_key(&seq) && !is_leased(seq);
        let message = &model.messages[seq as usize - 1];
        if !alone || model.is_paused {
            return false;
        }
        let Some(key) = message.key.as_ref().filter(|_| self.settings.ordering == Ordering::Key)
        else {
            return true;
        };
        let of_key = |other: &u64| model.messages[*other as usize - 1].key.as_ref() == Some(key);
        let is_open = |other: &u64| {
            let other = &model.messages[*other as usize - 1];
            !other.is_over && other.state != MessageState::Cancelled
        };
        let is_first = !(1..seq).filter(of_key).any(|other| is_open(&other));
        let is_free = !(1..=model.messages.len() as u64).filter(of_key).any(is_leased);
        is_first && is_free
    }

    fn check(&self) {
        let view = self.engine.queue_view(&queue("q")).expect("there");
        let open = self.model.messages.iter().enumerate().filter(|(_, message)| !message.is_over);
        let count =
            |state| open.clone().filter(|(_, message)| message.state == state).count() as u64;
        assert_eq!(view.depth, open.clone().count() as u64 - count(MessageState::Cancelled));
        assert_eq!(view.blocked, count(MessageState::Blocked));
        let kept = self.engine.contents_in_ram();
        // What is read, and what goes before others, may come on top of a full window; one message is always read.
        assert!(kept <= 3 * self.options.window_messages + 4, "{kept} contents in RAM");
        if !self.loads.is_empty() || self.is_loading() {
            return;
        }
        let is_free = self.workers.iter().any(|(&worker, &credit)| self.used(worker) < credit);
        let stands =
            (1..=self.model.messages.len() as u64).find(|&seq| self.may_go(&self.model, seq));
        assert!(
            !is_free || stands.is_none(),
            "{stands:?} stands although a worker is free: {:#?}",
            self.engine
        );
    }

    fn is_loading(&self) -> bool {
        let mut effects = self.pending.iter().flat_map(|(effects, _)| &effects.effects);
        effects.any(|effect| matches!(effect, Effect::Load { .. }))
    }

    fn send(&mut self) {
        let count = if self.rng.u8(0..10) == 0 { 40 } else { self.rng.usize(1..4) };
        let messages = (0..count).map(|_| {
            self.sent += 1;
            let key = self.rng.usize(0..=self.keys);
            let priority = if self.settings.priority { self.rng.u8(0..3) } else { 0 };
            (queue("q"), message(self.sent, key, priority))
        });
        let messages = messages.collect();
        self.run(Event::Send { origin: Origin(1), messages, call: None });
    }

    fn ready(&mut self) {
        let worker = self.rng.u64(1..4);
        let credit = self.rng.usize(1..12);
        self.workers.insert(worker, credit);
        let info = WorkerInfo::default();
        let (queues, credit) = (vec![queue("q")], credit as u32);
        self.run(Event::WorkerReady { worker: WorkerId(worker), queues, credit, info });
    }

    fn gone(&mut self) {
        let worker = self.rng.u64(1..4);
        if self.workers.remove(&worker).is_some() {
            self.leases.retain(|_, lease| lease.worker != worker);
            self.late.retain(|(other, _)| *other != worker);
            self.run(Event::WorkerGone { worker: WorkerId(worker), reason: "disconnected" });
        }
    }

    fn answer(&mut self) {
        let late: Vec<_> = self.late.iter().copied().collect();
        let nth = self.rng.usize(0..self.leases.len() + late.len() + 1);
        let (worker, delivery) = match self.leases.iter().nth(nth) {
            Some((&delivery, lease)) => (lease.worker, delivery),
            None => match late.get(nth - self.leases.len()) {
                Some(&late) => late,
                None => return,
            },
        };
        let is_late = self.late.remove(&(worker, delivery));
        let lease = self.leases.remove(&delivery);
        let worker = WorkerId(worker);
        let told = if self.rng.u8(0..3) > 0 {
            self.run(Event::Ack { worker, delivery, reply: Default::default() })
        } else {
            let actions = [NackAction::Retry, NackAction::Block, NackAction::DeadLetter];
            let action = actions[self.rng.usize(0..3)];
            let delay_ms = [None, Some(0), Some(700)][self.rng.usize(0..3)];
            let error = WorkError::default();
            self.run(Event::Nack { worker, delivery, error, action, delay_ms })
        };
        let is_stale = told.iter().any(|effect| matches!(effect, Effect::Stale { .. }));
        assert_eq!(is_stale, is_late && lease.is_none());
    }

    fn pass(&mut self) {
        self.now = self.now.plus_ms([1, 100, 300, 1_000, 6_000][self.rng.usize(0..5)]);
        let now = self.now;
        for (delivery, lease) in self.leases.extract_if(.., |_, lease| lease.deadline <= now) {
            self.late.insert((lease.worker, delivery));
        }
        self.run(Event::Tick);
    }

    fn pause(&mut self) {
        let paused = self.rng.bool();
        self.model.is_paused = paused;
        let (origin, actor, queue) = (Origin(9), operator("ann"), queue("q"));
        self.run(Event::SetPaused { origin, actor, queue, paused, reason: String::new() });
    }

    fn pick(&mut self) -> u64 {
        self.rng.u64(1..self.model.messages.len() as u64 + 2)
    }

    fn hold(&mut self) {
        let (seq, for_ms) = (self.pick(), [0, 400, 10_000][self.rng.usize(0..3)]);
        let is_open = self.model.messages.get(seq as usize - 1).is_some_and(|it| !it.is_over);
        if !is_open {
            return;
        }
        if for_ms == 0 {
            self.holds.remove(&seq);
        } else {
            self.holds.insert(seq, self.now.plus_ms(for_ms));
        }
        let (origin, actor, queue) = (Origin(9), operator("ann"), queue("q"));
        self.run(Event::Hold { origin, actor, queue, seq: Seq(seq), for_ms });
    }

    fn repair(&mut self) {
        let blocked = |message: &Known| !message.is_over && message.state == MessageState::Blocked;
        let first = self.model.messages.iter().position(blocked);
        let seq = match first {
            Some(at) if self.rng.bool() => at as u64 + 1,
            _ => self.pick(),
        };
        let action = match self.rng.u8(0..5) {
            0 => RepairAction::Cancel,
            1 => RepairAction::Restore,
            2 => RepairAction::Save(Edit { payload: "edited".into(), header: None }),
            _ => RepairAction::Retry,
        };
        self.repair_with(seq, action);
    }

    fn repair_with(&mut self, seq: u64, action: RepairAction) {
        let Some(message) = self.model.messages.get(seq as usize - 1) else { return };
        let revision = Revision(message.revision);
        let is_done = !message.is_over
            && !self.leases.values().any(|lease| lease.seq == seq)
            && match (&action, message.state) {
                (RepairAction::Restore, state) => state == MessageState::Cancelled,
                (_, MessageState::Cancelled) => false,
                (RepairAction::Retry, MessageState::Waiting) => {
                    self.holds.contains_key(&seq) || !self.is_ready(&self.model, seq)
                }
                (RepairAction::Retry, state) => state == MessageState::Blocked,
                (_, _) => true,
            };
        let id = self.id();
        let Some(seen) = self.store.content(id, Seq(seq), revision) else { return };
        self.repairs += 1;
        if is_done {
            self.holds.remove(&seq);
        }
        self.run(Event::Repair {
            origin: Origin(9),
            repair: Repair {
                key: format!("k{}", self.repairs).parse().expect("a key"),
                actor: operator("ann"),
                queue: queue("q"),
                seq: Seq(seq),
                expect_revision: revision,
                seen: Some(seen),
                action,
                reason: "because".to_owned(),
            },
        });
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

    fn check_order(&self) {
        if self.settings.ordering == Ordering::None {
            return;
        }
        let mut last = BTreeMap::new();
        for (seq, how) in &self.model.ended {
            let key = self.model.messages[*seq as usize - 1].key.as_deref();
            if let Some(key) = key.filter(|_| *how == Finish::Done) {
                assert!(
                    last.insert(key, *seq).is_none_or(|before| before < *seq),
                    "{key} in order"
                );
            }
        }
    }
}

/// A message `m1`, `m2` … with the key `k1` … (0: none) and a priority (0: none).
pub(super) fn message(number: usize, key: usize, priority: u8) -> Content {
    let mut map = serde_json::Map::new();
    map.insert("id".to_owned(), format!("m{number}").into());
    if key > 0 {
        map.insert("key".to_owned(), format!("k{key}").into());
    }
    if priority > 0 {
        map.insert("priority".to_owned(), priority.into());
    }
    let header = Header::from_map(map, || unreachable!("it has an id")).expect("a valid header");
    Content { header, payload: format!("payload {number}").into() }
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
