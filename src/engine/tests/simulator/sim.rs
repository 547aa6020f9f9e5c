//! The world of a run: what is on the wire, in hands, synced or not; and each step of a script.

use std::collections::{BTreeMap, VecDeque};

use serde_json::json;

use super::oracle::{Cause, Line, Oracle};
use super::requests::Requests;
use super::script::{Fate, Setup, Step, Verb, Work};
use super::setup::{QUEUES, options, queues, topic};
use crate::engine::tests::rig::{START, content_with, operator, queue};
use crate::engine::tests::store::FakeStore;
use crate::engine::{Effect, Effects, Engine, EngineOptions, Event, HoldAnswer};
use crate::model::{
    DeliveryId, Edit, MessageId, MessageState, Origin, QueueId, QueueName, Repair, RepairAction,
    Revision, Seq, Timestamp, WorkerId,
};

/// What a run may do wrong on purpose, so that it is known that it would be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    TellsBeforeCommit,
    LosesABatch,
    ForgetsPause,
}

/// What happened in runs, so that one that did nothing is seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Events that engines handled: what a peer, an operator, the clock or a read did to them.
    pub(super) steps: u64,
    pub(super) seen: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        other.seen.iter().for_each(|(what, n)| *self.seen.entry(what).or_default() += n);
    }

    /// That all kinds of things happened; the rare ones in a run of many scripts.
    pub(super) fn check_all_was_seen(&self, many: bool) {
        let rare = if many { &RARE[..] } else { &[] };
        for what in COMMON.iter().chain(rare) {
            assert!(self.seen.get(what).is_some_and(|&n| n > 0), "no {what} in {self:?}");
        }
    }

    pub(super) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

/// What happens in any few scripts.
const COMMON: [&str; 27] = [
    "done",
    "cancelled",
    "dropped",
    "moved",
    "redriven",
    "expired",
    "max-length",
    "attempts",
    "rejected",
    "re-sent",
    "crash",
    "stale",
    "duplicate",
    "published",
    "filtered",
    "live",
    "call",
    "kept",
    "replied",
    "complete",
    "quorum",
    "partial",
    "saga",
    "completed",
    "compensated",
    "taken over",
    "sink",
];
/// What happens in some of a hundred.
const RARE: [&str; 3] = ["part", "parked", "aborted"];

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) credit: usize,
    /// Of the `pull` door: what it is given is done.
    pub(super) is_sink: bool,
    pub(super) hands: Vec<DeliveryId>,
}

pub(super) struct Sim {
    pub(super) engine: Engine,
    pub(super) options: EngineOptions,
    pub(super) store: FakeStore,
    pub(super) now: Timestamp,
    /// With all that the engine has decided.
    pub(super) ahead: Oracle,
    /// As of the last commit.
    pub(super) durable: Oracle,
    pub(super) pending: VecDeque<Effects>,
    pub(super) reads: Vec<Event>,
    pub(super) wire: Vec<Event>,
    pub(super) workers: BTreeMap<u64, Conn>,
    pub(super) next_worker: u64,
    pub(super) leases: BTreeMap<DeliveryId, (u64, QueueId, Seq)>,
    /// Deliveries that were never answered, the newest.
    pub(super) unanswered: VecDeque<DeliveryId>,
    pub(super) holds: BTreeMap<(QueueId, Seq), Timestamp>,
    /// What was handed out ever.
    pub(super) given: BTreeMap<DeliveryId, MessageId>,
    pub(super) requests: Requests,
    pub(super) next_origin: u64,
    pub(super) repairs: u64,
    pub(super) fault: Option<Fault>,
    /// Every event is printed, with what the engine decided.
    pub(super) traces: bool,
    pub(super) tally: Tally,
}

/// Late answers that are kept to be given.
pub(super) const MAX_UNANSWERED: usize = 32;
/// Events between two looks at everything.
pub(super) const CHECK_EACH: u64 = 64;

impl Sim {
    pub(super) fn new(setup: &Setup, fault: Option<Fault>) -> Self {
        let options = EngineOptions {
            window_messages: setup.window_messages,
            total_window_bytes: setup.total_window_bytes,
            seed: setup.seed,
            ..options()
        };
        let mut store = FakeStore::default();
        let engine = Engine::new(options.clone(), store.recover(), START);
        let mut sim = Self {
            engine,
            options,
            store,
            now: START,
            ahead: Oracle::default(),
            durable: Oracle::default(),
            pending: VecDeque::new(),
            reads: Vec::new(),
            wire: Vec::new(),
            workers: BTreeMap::new(),
            next_worker: 0,
            leases: BTreeMap::new(),
            unanswered: VecDeque::new(),
            holds: BTreeMap::new(),
            given: BTreeMap::new(),
            requests: Requests::default(),
            next_origin: 0,
            repairs: 0,
            fault: None,
            traces: false,
            tally: Tally::default(),
        };
        for (name, settings) in queues() {
            let (origin, actor, name) = (Origin(0), operator("ann"), queue(name));
            sim.handle(Event::PutQueue { origin, actor, name, settings }, Cause::default());
        }
        sim.commit(usize::MAX);
        sim.fault = fault;
        sim
    }

    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(at, id, shape, wish) => self.send(at, id, shape, wish),
            Step::Publish(id, has_key) => {
                let fields = if has_key { json!({ "key": "k1" }) } else { json!({}) };
                let content = content_with(&format!("m{id}"), fields);
                let (origin, mandatory) = (self.origin(), false);
                self.wire.push(Event::Publish { origin, topic: topic(), content, mandatory });
            }
            Step::Gather(which, id, wish) => self.gather(which, id, wish),
            Step::Start(id, wish) => self.start(id, wish),
            Step::SagaAct(pick, act) => self.operate(pick, act),
            Step::Status(at, pick) => self.status(at, pick),
            Step::CallerGone(pick) => self.caller_gone(pick),
            Step::Bury(id) => self.bury(id),
            Step::Subscribe(comes) => self.subscribe(comes),
            Step::Full(is_full) => self.fill(is_full),
            Step::Wire(pick, fate) => self.travel(pick, fate),
            Step::Work(pick, work) => self.work(pick, work),
            Step::LateAck(pick) => self.late_ack(pick),
            Step::Ready(pick, mask, credit) => self.ready(pick, mask, credit),
            Step::Sink(at, credit) => self.sink(at, credit),
            Step::Gone(pick) => {
                if let Some(id) = self.worker(pick) {
                    self.forget_worker(id);
                    let gone = Event::WorkerGone { worker: WorkerId(id), reason: "disconnected" };
                    self.handle(gone, Cause::default());
                }
            }
            Step::Bye(pick) => {
                if let Some(id) = self.worker(pick) {
                    self.handle(Event::WorkerBye { worker: WorkerId(id) }, Cause::default());
                }
            }
            Step::Heard => self.heard(),
            Step::Pass(ms) => self.pass(u64::from(ms)),
            Step::Commit(batches) => self.commit(usize::from(batches)),
            Step::Crash(synced) => self.crash(usize::from(synced)),
            Step::Read(pick) => self.read(usize::from(pick)),
            Step::Repair(at, pick, verb) => {
                let Some((queue, line)) = self.repaired_line(at, verb) else { return };
                let last = line.messages.len() as u64;
                // Mostly something that is still there.
                let open = line.open.iter().nth(usize::from(pick) % line.open.len().max(1));
                let seq = open.copied().unwrap_or(u64::from(pick) % (last + 1));
                self.repair(queue, Seq(seq), verb);
            }
            Step::Pause(at, paused) => self.pause(at, paused),
            Step::Hold(at, pick, ms) => {
                let (id, line) = self.line(at);
                let open = line.open.iter().nth(usize::from(pick) % line.open.len().max(1));
                let Some(&seq) = open else { return };
                let (origin, actor, queue) = (Origin(0), operator("ann"), line.name.clone());
                let for_ms = u64::from(ms);
                if for_ms == 0 {
                    self.holds.remove(&(id, Seq(seq)));
                }
                let hold = Event::Hold { origin, actor, queue, seq: Seq(seq), for_ms };
                self.handle(hold, Cause::default());
                let told = self.pending.back().and_then(|out| out.effects.iter().find_map(held));
                if let Some(HoldAnswer::Held(view)) = told {
                    self.holds.insert((id, Seq(seq)), view.until);
                }
            }
        }
    }

    /// All is well again: whatever waits comes to its end, and everybody who waits is told.
    pub(super) fn settle(&mut self) {
        self.fault = None;
        while !self.wire.is_empty() {
            self.travel(0, Fate::Arrives);
        }
        self.fill(false);
        (0..QUEUES).for_each(|at| self.pause(at, false));
        self.pass(6_000);
        while !self.workers.is_empty() {
            self.step(&Step::Gone(0));
        }
        for _ in 0..2_000 {
            self.commit(usize::MAX);
            while !self.reads.is_empty() {
                self.read(0);
                self.commit(usize::MAX);
            }
            self.heard();
            if self.workers.len() < 2 {
                self.ready(0, u16::MAX, 8);
            }
            while self.workers.values().any(|conn| !conn.hands.is_empty()) {
                self.work(0, Work::Ack);
                self.travel(0, Fate::Arrives);
                self.commit(usize::MAX);
            }
            for (queue, seq) in self.blocked() {
                self.repair(queue, Seq(seq), Verb::Retry);
            }
            self.pass(1_000);
            if self.end_sagas() && self.is_settled() && self.requests.are_over() {
                break;
            }
        }
        self.commit(usize::MAX);
        for line in self.ahead.lines.values().filter(|line| !is_dead(&line.name)) {
            assert_eq!(line.depth(), 0, "{} stands: {:?}", line.name, line.open);
        }
        assert!(self.requests.are_over(), "all who wait are told: {:?}", self.requests);
        self.check_processes();
        assert!(self.ahead == self.durable, "what was decided is durable");
        self.check();
    }

    fn is_settled(&self) -> bool {
        self.ahead.lines.values().all(|line| is_dead(&line.name) || line.depth() == 0)
    }

    fn blocked(&self) -> Vec<(QueueId, u64)> {
        let lines = self.ahead.lines.iter().filter(|(_, line)| !is_dead(&line.name));
        let open =
            lines.flat_map(|(&queue, line)| line.open.iter().map(move |&seq| (queue, line, seq)));
        open.filter(|(_, line, seq)| {
            line.message(*seq).is_some_and(|it| it.state == MessageState::Blocked)
        })
        .map(|(queue, _, seq)| (queue, seq))
        .take(8)
        .collect()
    }

    /// The queue of the run with this number.
    pub(super) fn line(&self, at: u8) -> (QueueId, &Line) {
        let mut lines = self.ahead.lines.iter().map(|(&id, line)| (id, line));
        lines.nth(usize::from(at % QUEUES)).expect("they were put first")
    }

    /// Where an operator does something: to redrive, its dead letters.
    fn repaired_line(&self, at: u8, verb: Verb) -> Option<(QueueId, &Line)> {
        let (id, line) = self.line(at);
        match verb {
            Verb::Redrive => self.ahead.named(&format!("{}.dead", line.name)),
            Verb::Retry
            | Verb::Save
            | Verb::SaveAndRetry
            | Verb::Cancel
            | Verb::Restore
            | Verb::DeadLetter
            | Verb::Move => Some((id, line)),
        }
    }

    pub(super) fn origin(&mut self) -> Origin {
        self.next_origin += 1;
        Origin(self.next_origin)
    }

    pub(super) fn worker(&self, pick: u8) -> Option<u64> {
        let nth = usize::from(pick) % self.workers.len().max(1);
        self.workers.keys().nth(nth).copied()
    }

    fn heard(&mut self) {
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            self.handle(Event::WorkerHeard { worker: WorkerId(id) }, Cause::default());
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.handle(Event::Tick, Cause::default());
    }

    fn pause(&mut self, at: u8, paused: bool) {
        let (id, line) = self.line(at);
        let (origin, actor, queue) = (Origin(0), operator("ann"), line.name.clone());
        if self.fault == Some(Fault::ForgetsPause) {
            for oracle in [&mut self.ahead, &mut self.durable] {
                oracle.lines.get_mut(&id).expect("put").is_paused = paused;
            }
            return;
        }
        let reason = String::new();
        self.handle(Event::SetPaused { origin, actor, queue, paused, reason }, Cause::default());
    }

    fn repair(&mut self, id: QueueId, seq: Seq, verb: Verb) {
        let line = &self.ahead.lines[&id];
        let Some(message) = line.message(seq.0) else { return };
        let expect_revision = Revision(message.revision);
        let edit = || Edit { payload: format!("edited {}", self.repairs).into(), header: None };
        let action = match verb {
            Verb::Retry => RepairAction::Retry,
            Verb::Save => RepairAction::Save(edit()),
            Verb::SaveAndRetry => RepairAction::SaveAndRetry(edit()),
            Verb::Cancel => RepairAction::Cancel,
            Verb::Restore => RepairAction::Restore,
            Verb::DeadLetter => RepairAction::DeadLetter,
            Verb::Move => RepairAction::Move(Some(queue("order"))),
            Verb::Redrive => RepairAction::Move(None),
        };
        if verb == Verb::Restore {
            self.requests.restored.insert((id, seq));
        }
        let repair = Repair {
            key: format!("k{}", self.repairs).parse().expect("a key"),
            actor: operator("ann"),
            queue: line.name.clone(),
            seq,
            expect_revision,
            seen: self.store.content(id, seq, expect_revision),
            action,
            reason: "because".to_owned(),
        };
        self.repairs += 1;
        let cause = Cause { repaired: Some((id, seq)), ..Cause::default() };
        // If it is done, nobody edits the message any more; if not, that isn't checked for a moment.
        self.holds.remove(&(id, seq));
        self.handle(Event::Repair { origin: Origin(0), repair }, cause);
    }

    fn read(&mut self, pick: usize) {
        if !self.reads.is_empty() {
            let read = self.reads.remove(pick % self.reads.len());
            self.handle(read, Cause::default());
        }
    }
}

fn held(effect: &Effect) -> Option<HoldAnswer> {
    match effect {
        Effect::Held { answer, .. } => Some(answer.clone()),
        _ => None,
    }
}

pub(super) fn is_dead(name: &QueueName) -> bool {
    name.as_str().ends_with(".dead")
}
