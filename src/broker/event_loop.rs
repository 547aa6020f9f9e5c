//! The one loop: input → engine → batch → commit → release. It owns the engine; everything else that
//! wants something sends it a message.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::clock::Clock;
use super::closing::Closing;
use super::events::Events;
use super::failure::{Health, StoreState};
use super::handle::{Facts, View};
use super::peers::{DrainOrder, OperatorAnswer, Origins, Waiting, Workers};
use super::pipeline::{Pipeline, Release};
use super::pushed::Pushes;
use super::sending::{Sending, Sent};
use super::store::{Load, ReadAnswer, Store, StoreJob, StoreReply};
use super::traces::Traces;
use super::watch::{Watch, Watchers};
use crate::engine::{Effects, Engine, EngineOptions, Event};
use crate::mailbox::{RedisNews, Room};
use crate::model::limits::HEARTBEAT_MS;
use crate::model::{
    Actor, EventId, MessageId, Notice, Origin, Pulse, QueueName, QueueSettings, RejectCode,
    Rejection, Repair, RepairRefusal, SagaOrder, Seq, SettingChange, StoreHealth, StoredMessage,
    Subscription, Timestamp, TopicName,
};
use crate::net::{Doors, Inbound, Outbound};
use crate::schema::Checks;

/// Inputs taken in one turn: enough that a wake costs little for each, few enough that a turn stays below
/// some milliseconds and a timer is not late.
const TURN_INPUTS: usize = 512;
/// Room for releases that a list keeps from turn to turn.
pub(super) const KEPT_RELEASES: usize = 4 * TURN_INPUTS;
/// Operators' requests taken in one turn; each may look at hundreds of queues.
const TURN_COMMANDS: usize = 16;
/// How long a shutdown may take before it is given up. The sockets may take two seconds more, and the
/// process must be gone within 5 s.
pub(super) const DRAIN_LIMIT_MS: u64 = 2_500;

/// The shortest wait for a timer: one that is due all the time must not make the loop spin.
const MIN_WAIT_MS: u64 = 1;

/// What an operator asks of the engine. The loop mints the origin.
#[derive(Debug)]
pub(super) enum Request {
    PutQueue { actor: Actor, name: QueueName, settings: QueueSettings },
    SetQueue { actor: Actor, queue: QueueName, changes: Vec<SettingChange>, reason: String },
    CreateQueue { actor: Actor, queue: QueueName, changes: Vec<SettingChange>, reason: String },
    Purge { actor: Actor, queue: QueueName, messages: Vec<StoredMessage>, reason: String },
    SetPaused { actor: Actor, queue: QueueName, paused: bool, reason: String },
    DrainQueue { actor: Actor, queue: QueueName, reason: String },
    DeleteQueue { actor: Actor, queue: QueueName, purge: bool, reason: String },
    Repair(Repair),
    Hold { actor: Actor, queue: QueueName, seq: Seq, for_ms: u64 },
    Subscribe { actor: Actor, topic: TopicName, subscription: Subscription },
    Unsubscribe { actor: Actor, topic: TopicName, queue: QueueName },
    SagaAct { actor: Actor, id: MessageId, order: SagaOrder, reason: String },
    ForgetReply { queue: QueueName, seq: Seq },
}

/// Tells who asked.
pub(super) type Answer = Box<dyn FnOnce() + Send>;
/// Finds what to tell.
pub(super) type Question = Box<dyn FnOnce(&View<'_>) -> Answer + Send>;

/// What the handle sends.
pub(super) enum Command {
    /// Looks at the engine; the answer is let out when what it saw is durable.
    Ask(Question),
    /// Changes something.
    Do(Box<Request>, oneshot::Sender<OperatorAnswer>),
    /// Sends a message.
    Send(Box<Sending>, oneshot::Sender<Sent>),
    /// Starts watching.
    Watch(oneshot::Sender<Watch>),
    /// Starts following the events, after one of them.
    Follow(Option<EventId>, oneshot::Sender<Events>),
    /// Tells those who follow of something that happened outside.
    Tell(Box<Notice>),
    /// Says at once that the loop turns.
    Pulse(oneshot::Sender<Pulse>),
    /// Tells all workers of a name to end, and perhaps to begin anew; how many were told.
    Drain(String, DrainOrder, oneshot::Sender<usize>),
    /// Tells a client whether its request was closed.
    Closed(Closing, bool),
}

/// Where inputs come from.
pub(super) struct Inputs {
    pub(super) inbound: mpsc::Receiver<Inbound>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) store: mpsc::Receiver<StoreReply>,
    /// Closed from the beginning where there is no Redis.
    pub(super) redis: mpsc::Receiver<RedisNews>,
    /// Tells the broker to stop.
    pub(super) stop: Arc<Notify>,
}

/// How the loop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Everything decided was durable and everything told was handed to the sockets.
    Clean,
    /// The store could not be written at the end; what was ACCEPTED before is there all the same.
    StoreUnavailable {
        /// Why.
        reason: String,
    },
    /// It took too long: the store or the sockets didn't answer.
    TimedOut,
    /// The store broke down so that this process can't open it again; another one may. What was ACCEPTED is
    /// there.
    StoreLost {
        /// Why.
        reason: String,
    },
    /// A thread of the broker broke down; the log says why.
    Crashed,
}

/// Takes what is to be sent, at once: who doesn't read is cut off there.
pub(super) type Sockets = Box<dyn Fn(Outbound) + Send>;

/// The loop's state.
pub(super) struct EventLoop {
    pub(super) clock: Clock,
    pub(super) now: Timestamp,
    pub(super) engine: Engine,
    pub(super) engine_options: EngineOptions,
    pub(super) decided: Effects,
    pub(super) pipeline: Pipeline,
    pub(super) ready: Vec<Release>,
    pub(super) origins: Origins,
    pub(super) workers: Workers,
    pub(super) watchers: Watchers,
    pub(super) facts: Arc<Facts>,
    pub(super) store: Store,
    pub(super) store_state: StoreState,
    /// Whether its disk has room for new messages.
    pub(super) room: Room,
    /// Why the store can't be opened again by this process.
    pub(super) store_lost: Option<String>,
    /// Why Redis can't be reached.
    pub(super) redis_down: Option<String>,
    /// When the store last came back with a commit, or got one while it had none.
    pub(super) commit_since: Timestamp,
    pub(super) backoff_ms: u64,
    pub(super) sockets: Sockets,
    pub(super) doors: Doors,
    /// Where what clients close goes, if it goes anywhere.
    pub(super) closings: Option<mpsc::Sender<Closing>>,
    /// Which queue has which schema: told as it changes.
    pub(super) checks: Arc<Checks>,
    pub(super) pushed: Pushes,
    /// Absent if nothing is traced.
    pub(super) traces: Option<Box<Traces>>,
    pub(super) heartbeat_due: Timestamp,
    pub(super) draining_since: Option<Timestamp>,
    /// Since when no inputs are taken. The engine's time stands still meanwhile: heartbeats and answers of
    /// workers wait among these inputs.
    pub(super) deaf_since: Option<Timestamp>,
}

impl EventLoop {
    pub(super) fn new(
        clock: Clock,
        engine: Engine,
        engine_options: EngineOptions,
        facts: Arc<Facts>,
        store: Store,
        sockets: Sockets,
        doors: Doors,
    ) -> Self {
        let now = clock.now();
        Self {
            clock,
            now,
            engine,
            engine_options,
            decided: Effects::default(),
            pipeline: Pipeline::default(),
            ready: Vec::new(),
            origins: Origins::default(),
            workers: Workers::default(),
            watchers: Watchers::new(facts.started_at),
            facts,
            store,
            store_state: StoreState::Open,
            room: Room::Enough,
            store_lost: None,
            redis_down: None,
            commit_since: now,
            backoff_ms: 0,
            sockets,
            doors,
            closings: None,
            checks: Arc::new(Checks::new(Arc::default())),
            pushed: Pushes::default(),
            traces: None,
            heartbeat_due: now.plus_ms(HEARTBEAT_MS),
            draining_since: None,
            deaf_since: None,
        }
    }

    /// Runs until a shutdown is through. The store comes back open: closing it blocks.
    pub(super) async fn run(mut self, mut inputs: Inputs) -> (Ended, Store) {
        let mut inbound = Vec::with_capacity(TURN_INPUTS);
        let mut commands = Vec::with_capacity(TURN_COMMANDS);
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut armed = None;
        let (mut commands_open, mut inbound_open, mut redis_open) = (true, true, true);
        loop {
            let due = self.next_timeout();
            if armed != due {
                armed = due;
                let wait = due.map_or(0, |due| due.since_ms(self.clock.now())).max(MIN_WAIT_MS);
                timer.as_mut().reset(Instant::now() + Duration::from_millis(wait));
            }
            let takes_inputs = self.takes_inputs();
            tokio::select! {
                biased;
                Some(reply) = inputs.store.recv() => {
                    self.wake(armed);
                    self.on_store(reply);
                }
                () = &mut timer, if armed.is_some() => {
                    self.wake(armed.take());
                    self.on_time();
                }
                () = inputs.stop.notified() => {
                    self.wake(armed);
                    self.begin_shutdown();
                }
                n = inputs.commands.recv_many(&mut commands, TURN_COMMANDS),
                    if takes_inputs && commands_open =>
                {
                    self.wake(armed);
                    if n == 0 {
                        commands_open = false;
                        self.begin_shutdown();
                    }
                    for command in commands.drain(..) {
                        self.on_command(command);
                    }
                }
                n = inputs.inbound.recv_many(&mut inbound, TURN_INPUTS),
                    if takes_inputs && inbound_open =>
                {
                    self.wake(armed);
                    if n == 0 {
                        inbound_open = false;
                        // The sockets are gone; without them there is nothing to do.
                        self.begin_shutdown();
                    }
                    for input in inbound.drain(..) {
                        self.on_inbound(input);
                    }
                }
                news = inputs.redis.recv(), if takes_inputs && redis_open => {
                    self.wake(armed);
                    redis_open = news.is_some();
                    self.on_redis(news);
                }
            }
            self.watch_hearing();
            self.settle();
            if let Some(ended) = self.ended() {
                return (ended, self.store);
            }
        }
    }

    /// Inputs wait while the batch is full.
    pub(super) fn takes_inputs(&self) -> bool {
        !self.pipeline.is_full()
    }

    /// After each turn: what may be told is told, and the store gets the next batch.
    fn settle(&mut self) {
        loop {
            while !self.ready.is_empty() {
                let mut ready = std::mem::take(&mut self.ready);
                ready.drain(..).for_each(|release| self.carry_out(release));
                if self.ready.is_empty() && ready.capacity() <= KEPT_RELEASES {
                    // Its room is for those of the next turn.
                    self.ready = ready;
                }
            }
            if let Health::Down = self.store_state.health() {
                break;
            }
            let is_first = !self.pipeline.is_committing();
            let Some((batch, bytes)) = self.pipeline.next_batch() else { break };
            if is_first {
                self.commit_since = self.now;
            }
            self.give_store(StoreJob::Commit { batch, bytes });
        }
    }

    /// Gives the engine an event and takes what it decided.
    pub(super) fn feed(&mut self, event: Event) {
        let now = self.deaf_since.unwrap_or(self.now);
        let begun = self.begin_spans(&event);
        self.engine.handle(now, event, &mut self.decided);
        self.pipeline.take(&mut self.decided, &mut self.ready);
        if let Some(begun) = begun {
            self.hold_spans(begun);
        }
    }

    /// Lets an answer out once what it rests upon is durable.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.pipeline.release(Release::Answer(answer), &mut self.ready);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Ask(question) => {
                let health = self.store_health();
                let view = View { engine: &self.engine, now: self.now, health, facts: &self.facts };
                let answer = question(&view);
                self.answer(answer);
            }
            Command::Do(request, answer) => self.on_request(*request, answer),
            Command::Send(sending, answer) => self.on_sending(*sending, answer),
            Command::Watch(answer) => {
                let health = self.store_health();
                let view = View { engine: &self.engine, now: self.now, health, facts: &self.facts };
                let (overview, workers) = (view.overview(), self.engine.worker_views());
                let next = self.watchers.subscribe(&mut self.engine);
                let watch = Watch { overview, workers, next };
                self.answer(Box::new(move || drop(answer.send(watch))));
            }
            // Whatever is in it was durable when it was told.
            Command::Follow(after, answer) => drop(answer.send(self.watchers.follow(after))),
            Command::Tell(notice) => self.notice(*notice),
            Command::Pulse(answer) => {
                let (store, stopping) = (self.store_health(), self.draining_since.is_some());
                // Whoever asked may have gone away.
                let _gone = answer.send(Pulse { store, stopping });
            }
            Command::Drain(name, order, answer) => {
                let told = self.drain_workers(&name, &order);
                // Whoever asked may have gone away.
                let _gone = answer.send(told);
            }
            Command::Closed(Closing { peer, form, .. }, is_done) => {
                (self.sockets)(form.closed(peer, is_done));
            }
        }
    }

    fn on_request(&mut self, request: Request, answer: oneshot::Sender<OperatorAnswer>) {
        if let Some(reason) = self.down_reason() {
            let refusal = RepairRefusal::StoreUnavailable { reason };
            let _ = answer.send(OperatorAnswer::Refused(refusal));
            return;
        }
        let Ok(origin) = self.origins.add(Waiting::Operator(answer)) else {
            return; // The handle hears that its request was dropped.
        };
        let configures = match &request {
            Request::PutQueue { name, .. } => Some(name.clone()),
            _ => None,
        };
        self.feed(match request {
            Request::PutQueue { actor, name, settings } => {
                Event::PutQueue { origin, actor, name, settings }
            }
            Request::SetQueue { actor, queue, changes, reason } => {
                Event::SetQueue { origin, actor, queue, changes, reason }
            }
            Request::CreateQueue { actor, queue, changes, reason } => {
                Event::CreateQueue { origin, actor, queue, changes, reason }
            }
            Request::Purge { actor, queue, messages, reason } => {
                Event::Purge { origin, actor, queue, messages, reason }
            }
            Request::SetPaused { actor, queue, paused, reason } => {
                Event::SetPaused { origin, actor, queue, paused, reason }
            }
            Request::DeleteQueue { actor, queue, purge, reason } => {
                Event::DeleteQueue { origin, actor, queue, purge, reason }
            }
            Request::DrainQueue { actor, queue, reason } => {
                Event::Drain { origin, actor, queue, reason }
            }
            Request::Subscribe { actor, topic, subscription } => {
                Event::Subscribe { origin, actor, topic, subscription }
            }
            Request::Unsubscribe { actor, topic, queue } => {
                Event::Unsubscribe { origin, actor, topic, queue }
            }
            Request::SagaAct { actor, id, order, reason } => {
                Event::SagaAct { origin, actor, id, order, reason }
            }
            Request::Repair(repair) => Event::Repair { origin, repair },
            Request::ForgetReply { queue, seq } => Event::ForgetReply { origin, queue, seq },
            Request::Hold { actor, queue, seq, for_ms } => {
                Event::Hold { origin, actor, queue, seq, for_ms }
            }
        });
        if let Some(name) = configures {
            self.note_configured(name);
        }
    }

    /// Starts a read for the engine.
    pub(super) fn load(&mut self, load: Load) {
        let find = match &load {
            Load::Find { origin, .. } => Some(*origin),
            Load::Messages { .. } => None,
        };
        if self.store.load(self.engine.generation(), load) {
            return;
        }
        if let Some(origin) = find {
            self.reject(
                origin,
                Rejection::new(RejectCode::Busy, "too many lookups wait; try again")
                    .retry_after(1_000),
            );
            self.feed(Event::OriginGone { origin });
        }
    }

    /// Refuses whoever stands behind `origin`.
    pub(super) fn reject(&mut self, origin: Origin, rejection: Rejection) {
        match self.origins.take(origin) {
            Some(Waiting::Client { peer, form, id, .. }) => {
                self.refuse(peer, form, rejection, id);
            }
            Some(Waiting::Operator(waiting)) => {
                let refusal = RepairRefusal::Invalid { reason: rejection.reason };
                // An operator may have gone away meanwhile.
                let _ = waiting.send(OperatorAnswer::Refused(refusal));
            }
            // Likewise.
            Some(Waiting::Sender(waiting)) => drop(waiting.send(Sent::Rejected(rejection))),
            Some(Waiting::Nobody(unanswered)) => self.not_kept(*unanswered, rejection),
            None => {}
        }
    }

    pub(super) fn on_read(&mut self, answer: ReadAnswer) {
        self.feed(match answer {
            ReadAnswer::Messages { queue, from, messages } => {
                Event::Loaded { queue, from, messages }
            }
            ReadAnswer::Found { origin, id, place } => Event::Found { origin, id, place },
        });
    }

    fn begin_shutdown(&mut self) {
        if self.draining_since.is_some() {
            return;
        }
        self.doors.take(false);
        tracing::info!("stopping: nothing new is accepted, leases are given back");
        self.draining_since = Some(self.now);
        if let Health::Up = self.store_state.health() {
            self.feed(Event::Shutdown);
        }
    }

    fn ended(&self) -> Option<Ended> {
        if let Some(reason) = self.store_lost.clone() {
            return Some(Ended::StoreLost { reason });
        }
        let since = self.draining_since?;
        if let Some(reason) = self.down_reason() {
            return Some(Ended::StoreUnavailable { reason });
        }
        if self.pipeline.is_idle() && self.ready.is_empty() {
            return Some(Ended::Clean);
        }
        (self.now.since_ms(since) >= DRAIN_LIMIT_MS).then_some(Ended::TimedOut)
    }

    pub(super) fn store_health(&self) -> StoreHealth {
        match (self.down_reason(), self.full_reason()) {
            (Some(reason), _) => StoreHealth::Unavailable { reason },
            (None, Some(reason)) => StoreHealth::Full { reason },
            (None, None) => StoreHealth::Ok,
        }
    }
}
