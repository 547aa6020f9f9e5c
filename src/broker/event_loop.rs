//! The one loop: input → engine → batch → commit → release. It owns the engine; everything else that
//! wants something sends it a message.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::clock::Clock;
use super::closing::Closing;
use super::commands::{Answer, Command};
use super::failure::{Health, StoreState};
use super::peers::{OperatorAnswer, Origins, Waiting, Workers};
use super::pipeline::{Pipeline, Release};
use super::pushed::Pushes;
use super::sending::Sent;
use super::store::{Load, ReadAnswer, Store, StoreJob, StoreReply};
use super::traces::Traces;
use super::view::Facts;
use super::watch::Watchers;
use crate::engine::{Effects, Engine, EngineOptions, Event};
use crate::mailbox::{RedisNews, Room};
use crate::model::limits::HEARTBEAT_MS;
use crate::model::{Origin, RejectCode, Rejection, RepairRefusal, StoreHealth, Timestamp};
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
