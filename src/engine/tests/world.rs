//! An engine, a store that may fail, workers that may die, a clock that may jump: each step is compared
//! with the model.

mod repairs;
mod workers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) use self::repairs::Verb;
pub(super) use self::workers::{Answer, Connection};
use super::model::{Model, ModelMessage, ModelQueue};
use super::rig::{START, content, operator, queue};
use super::store::FakeStore;
use super::streams::Foreign;
use crate::engine::{CallSpec, Effect, Effects, Engine, EngineOptions, Event};
use crate::model::{
    AckMode, Dedup, DeliveryId, Finish, MailboxKind, Origin, QueueName, QueueSettings, Retry,
    Timestamp,
};

/// The queues of every run: three with different rules.
pub(super) const QUEUES: [&str; 3] = ["a", "b", "c"];
/// Of these, the one whose messages wait in Redis.
const REDIS: usize = 0;
pub(super) const HEARTBEAT_MS: u64 = 7_500;

fn settings(at: usize) -> QueueSettings {
    let retry = |attempts| Retry { attempts, jitter: 0.0, ..Retry::default() };
    let plain = QueueSettings { dedup: Dedup::Count { last: 8 }, ..QueueSettings::default() };
    match at {
        REDIS => QueueSettings { retry: retry(1), mailbox: MailboxKind::Redis, ..plain },
        1 => QueueSettings { retry: retry(3), lease_ms: 5_000, dedup: Dedup::Off, ..plain },
        _ => QueueSettings { retry: retry(2), ack: AckMode::OnDelivery, ..plain },
    }
}

/// What one event may do; everything else that the engine does is wrong.
#[derive(Debug, Default)]
pub(super) struct Cause {
    pub(super) answered: Option<(DeliveryId, Answer)>,
    pub(super) repair: Option<(usize, u64)>,
}

/// Everything.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) options: EngineOptions,
    pub(super) store: FakeStore,
    pub(super) clock: Timestamp,
    pub(super) model: Model,
    /// The model as of the last commit.
    pub(super) durable: Model,
    pub(super) pending: VecDeque<(Effects, Model)>,
    pub(super) loads: Vec<Event>,
    pub(super) workers: BTreeMap<u64, Connection>,
    pub(super) next_worker: u64,
    pub(super) next_origin: u64,
    /// Answers that come too late: worker and delivery.
    pub(super) ghosts: Vec<(u64, DeliveryId)>,
    pub(super) deliveries: BTreeSet<DeliveryId>,
    pub(super) calls: BTreeSet<u64>,
    /// Of each queue, what others have ever added to its stream.
    pub(super) streams: [Vec<Foreign>; QUEUES.len()],
    pub(super) redis_down: bool,
}

impl World {
    pub(super) fn new(window_messages: usize, total_window_bytes: usize) -> Self {
        let options = EngineOptions {
            window_messages,
            total_window_bytes,
            suspect_ms: u64::MAX,
            heartbeat_timeout_ms: HEARTBEAT_MS,
            ..EngineOptions::default()
        };
        let mut store = FakeStore::default();
        let mut engine = Engine::new(options.clone(), store.recover(), START);
        let mut model = Model { now: START, ..Model::default() };
        for (at, name) in QUEUES.iter().enumerate() {
            let mut out = Effects::default();
            let (origin, actor, name) = (Origin(0), operator("ann"), queue(name));
            let put = Event::PutQueue { origin, actor, name, settings: settings(at) };
            engine.handle(START, put, &mut out);
            store.commit(out.ops);
            model.queues.push(ModelQueue::new(settings(at)));
        }
        Self {
            engine,
            options,
            store,
            clock: START,
            durable: model.clone(),
            model,
            pending: VecDeque::new(),
            loads: Vec::new(),
            workers: BTreeMap::new(),
            next_worker: 1,
            next_origin: 1,
            ghosts: Vec::new(),
            deliveries: BTreeSet::new(),
            calls: BTreeSet::new(),
            streams: Default::default(),
            redis_down: false,
        }
    }

    pub(super) fn send(&mut self, messages: &[(usize, u8)], call: bool) {
        self.next_origin += 1;
        let origin = Origin(self.next_origin);
        let contents = messages.iter().map(|(at, id)| {
            let id = format!("m{id}");
            (queue(QUEUES[*at]), content(&id, &format!("{id}-{}", origin.0)))
        });
        let contents: Vec<_> = contents.take(if call { 1 } else { usize::MAX }).collect();
        let refused = self.redis_down && contents.iter().any(|(name, _)| index(name) == REDIS);
        let mut expected = Vec::new();
        for (name, content) in contents.iter().filter(|_| !refused) {
            let model = &mut self.model.queues[index(name)];
            let id = content.id().as_str();
            let known = model.duplicate_of(id);
            if known.is_none() {
                let payload = String::from_utf8_lossy(&content.payload);
                let header = content.header.json().len() as u64;
                model.messages.push(ModelMessage::new(id, &payload, header));
            }
            let seq = known.unwrap_or(model.messages.len() as u64);
            expected.push((name.clone(), seq, known.is_some()));
        }
        let spec = call.then_some(CallSpec { timeout_ms: 20_000, parts: false });
        if call && !refused {
            self.calls.insert(origin.0);
        }
        let event = Event::Send { origin, messages: contents, call: spec };
        let told = self.run(event, Cause::default());
        let accepted = told.iter().find_map(|effect| match effect {
            Effect::Accepted { accepted, .. } => Some(accepted),
            _ => None,
        });
        let accepted = accepted.map(|accepted| {
            let told = accepted.iter().map(|one| (one.queue.clone(), one.seq.0, one.duplicate));
            told.collect::<Vec<_>>()
        });
        assert_eq!(accepted, (!call && !refused).then_some(expected));
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.clock = self.clock.plus_ms(ms);
        self.run(Event::Tick, Cause::default());
    }

    /// Time passes while all workers are heard, as long as the shortest lease.
    pub(super) fn linger(&mut self) {
        for _ in 0..5 {
            self.heard();
            self.advance(1_000);
        }
    }

    pub(super) fn clock_back(&mut self, ms: u64) {
        self.clock.0 -= ms;
        let back = self.model.now.since_ms(self.clock);
        if back > 1_000 {
            for worker in self.workers.values_mut() {
                worker.heard_at.0 -= back;
            }
        }
        self.run(Event::Tick, Cause::default());
    }

    pub(super) fn pause(&mut self, at: usize, paused: bool) {
        self.model.queues[at].paused = paused;
        let (origin, actor, queue) = (Origin(0), operator("ann"), queue(QUEUES[at]));
        let reason = String::new();
        self.run(Event::SetPaused { origin, actor, queue, paused, reason }, Cause::default());
    }

    /// The oldest batches become durable; what they tell is told.
    pub(super) fn commit(&mut self, batches: usize) {
        for _ in 0..batches {
            let Some((effects, model)) = self.pending.pop_front() else { return };
            self.store.commit(effects.ops);
            self.durable = model;
            for effect in effects.effects {
                self.tell(effect);
            }
        }
    }

    /// A commit fails, or the broker dies: what is not durable never was.
    pub(super) fn fail_commit(&mut self) {
        self.pending.clear();
        self.loads.clear();
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            self.forget_worker(id);
        }
        self.calls.clear();
        let now = self.clock;
        self.model = self.durable.clone().restarted();
        self.model.now = now;
        self.engine = Engine::new(self.options.clone(), self.store.recover(), now);
        self.redis_down = false;
        self.run(Event::Tick, Cause::default());
    }

    /// One of the loads under way is answered, with what was read when it was asked for.
    pub(super) fn answer_load(&mut self, pick: usize) {
        if self.loads.is_empty() {
            return;
        }
        let load = self.loads.remove(pick % self.loads.len());
        self.run(load, Cause::default());
    }

    /// All is well again: everything must come to its end, in order.
    pub(super) fn settle(&mut self) {
        self.reach(false);
        for at in 0..QUEUES.len() {
            self.pause(at, false);
            self.commit(usize::MAX);
            self.arrive(at, 0);
        }
        self.advance(120_000);
        self.ready(usize::MAX, &(0..QUEUES.len()).collect(), 8);
        for round in 0..1_000 {
            self.commit(usize::MAX);
            self.heard();
            if let Some(at) = (0..QUEUES.len()).find(|&at| self.blocked_head(at).is_some()) {
                let seq = self.blocked_head(at).expect("found");
                self.repair(at, seq as usize - 1, 100 + (round % 100) as u8, false, Verb::Retry);
            }
            self.answer_load(0);
            self.commit(usize::MAX);
            self.answer(0, Answer::Ack);
            self.advance(1_000);
            if self.model.queues.iter().all(|queue| queue.depth() == 0) {
                break;
            }
        }
        self.commit(usize::MAX);
        self.advance(20_000);
        self.commit(usize::MAX);
        assert_eq!(self.calls, BTreeSet::new(), "every call has ended");
        for (at, name) in QUEUES.iter().enumerate() {
            let queue = &self.model.queues[at];
            assert_eq!(queue.depth(), 0, "{name} has come to its end: {queue:#?}");
            let kept = self.store.queue_named(name).expect("there");
            let ids: Vec<_> = kept.accepted.iter().map(|id| id.as_str()).collect();
            let expected: Vec<_> = queue.messages.iter().map(|m| m.id.as_str()).collect();
            assert_eq!(ids, expected, "nothing lost, nothing invented");
            let added = self.streams[at].last().map_or(0, |(number, _)| *number);
            assert_eq!(kept.newest_entry.ms, added, "all of its stream was taken in");
            let in_turn = |how: &Finish| !matches!(how, Finish::Moved | Finish::DeadLettered);
            let ended = kept.finished.iter().filter(|(_, how)| in_turn(how));
            let places: Vec<_> = ended.map(|(seq, _)| seq.0).collect();
            assert!(places.is_sorted(), "they ended in order");
        }
    }

    pub(super) fn lease(&self, delivery: DeliveryId) -> Option<usize> {
        self.model
            .queues
            .iter()
            .position(|queue| queue.lease.as_ref().is_some_and(|lease| lease.delivery == delivery))
    }

    pub(super) fn index_of(&self, id: crate::model::QueueId) -> usize {
        index(self.engine.queue_name(id).expect("known"))
    }

    /// Whether a queue isn't one of the run's, but holds their dead letters.
    pub(super) fn is_for_the_dead(&self, id: crate::model::QueueId) -> bool {
        self.engine.queue_name(id).is_some_and(|name| name.as_str().ends_with(".dead"))
    }
}

pub(super) fn index(name: &QueueName) -> usize {
    QUEUES.iter().position(|known| *known == name.as_str()).expect("one of the three")
}
