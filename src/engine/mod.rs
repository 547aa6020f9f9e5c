//! The broker's meaning as a pure state machine: no clock, no I/O, no async, no randomness of its own.
//!
//! | file | what |
//! |---|---|
//! | `event`, `effect` | every input, every output |
//! | `topic` | publishing to the queues that subscriptions say; subscribing |
//! | `send`, `dead_letter` | accepting messages, making queues; the oldest make room |
//! | `arrive` | what comes by a Redis stream |
//! | `queues`, `templates`, `removal` | all queues; how many are made on the fly; how they go |
//! | `queue`, `places`, `window`, `dedup`, `dedup_time` | a queue: its places, contents in RAM, known ids |
//! | `lane`, `convoy` | what is in workers' hands, and what may go next: in order, by key, or as it comes |
//! | `dispatch`, `load` | which queue is served by which worker next; contents from the store |
//! | `worker`, `lease`, `progress`, `retry`, `time`, `timer` | who works, on what, until when, and what a failure leads to |
//! | `expiry` | messages whose time is over, and when to look again |
//! | `resend` | leases; what is sent to another worker too, for want of an answer |
//! | `unreadable` | messages whose content the store has lost |
//! | `request`, `reply` | callers that wait; replies that are queued or kept |
//! | `gather` | one message to several queues, their replies as one answer |
//! | `process`, `lined` | what goes on over several messages and restarts, and waits for their ends; its records |
//! | `repair`, `relocate`, `purge`, `hold`, `control`, `creation`, `journal` | what operators do |
//! | `status`, `view`, `tally` | what can be seen |

#![deny(clippy::indexing_slicing, clippy::wildcard_enum_match_arm, clippy::arithmetic_side_effects)]
mod arrive;
mod ascending;
mod bury;
mod control;
mod convoy;
mod creation;
mod dead_letter;
mod dedup;
mod dedup_time;
mod dispatch;
mod effect;
mod event;
mod exclusive;
mod expiry;
mod gather;
mod hold;
mod journal;
mod lane;
mod lease;
mod lined;
mod load;
mod noted;
mod options;
mod places;
mod process;
mod progress;
mod purge;
mod queue;
mod queues;
mod rehearse;
mod relocate;
mod removal;
mod repair;
mod reply;
mod request;
mod resend;
mod retry;
mod saga;
mod schemas;
mod send;
mod status;
mod tally;
mod templates;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod timer;
mod topic;
mod uncommon;
mod unreadable;
mod view;
mod window;
mod worker;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{
    Generation, Numbered, QueueName, QueueSettings, Recovered, Timestamp, Totals, WorkerId,
};

pub use effect::{Effect, Effects, HoldAnswer};
pub use event::{CallSpec, Event};
pub use noted::{Noted, NotedQuery};
pub use options::EngineOptions;
pub use view::{Counts, MessageOverlay};

use gather::Gathers;
use lane::Next;
use lease::Lease;
use process::Processes;
use queue::Queue;
use queues::{QueueIndex, Queues};
use repair::Repairs;
use reply::KeptReplies;
use request::Calls;
use resend::Copies;
use saga::Sagas;
use templates::Templates;
use timer::{Timer, Timers};
use topic::Topics;
use window::{Bounds, Budget};
use worker::Worker;

/// The broker's state machine.
///
/// **Contract.**
/// * One owner calls [`Engine::handle`] with one event after the other, and with [`Event::Tick`] as soon as
///   [`Engine::next_timeout`] has come. `now` is the time of the call. If it steps back by more than a
///   second, everything that waits for time moves back by as much; if it steps forward, what is due
///   happens.
/// * The engine is ahead of the store: it takes for granted that [`Effects::ops`] become durable. Its
///   effects are carried out only after the commit of the operations that came before them, in order. So a
///   [`Effect::Load`] or [`Effect::FindMessage`] always sees them.
/// * If a commit fails, the engine is dropped with everything that it decided and that is not durable, and a
///   new one is made of what the store recovered. Workers, holds and calls are not recovered: the owner
///   says READY again for the workers that it keeps, or drops them. A delivery of the former engine is
///   stale in the new one.
/// * Nothing a peer or an operator sends makes it panic. The same options, recovered state and events
///   give the same effects.
///
/// RAM is bounded by the number of queues, the windows' budget, the de-duplication windows, workers and
/// calls (all bounded), and by the messages that operators have edited or cancelled; not by the backlog.
#[derive(Debug)]
pub struct Engine {
    generation: Generation,
    now: Timestamp,
    /// When this engine was made.
    made_at: Timestamp,
    stopping: bool,
    /// Why nothing is accepted that must be written to disk; `None`: there is room.
    store_full: Option<String>,
    templates: Templates,
    /// Those of a queue that nothing is said of.
    default_settings: Arc<QueueSettings>,
    max_queues: usize,
    suspect_ms: u64,
    heartbeat_timeout_ms: u64,
    bounds: Bounds,
    seed: u64,
    rng: fastrand::Rng,

    queues: Queues,
    /// Names of queues into which others dead-letter, there or not.
    dead_letter_queues: BTreeSet<QueueName>,
    /// What is published is told.
    live: bool,
    budget: Budget,

    workers: BTreeMap<WorkerId, Worker>,
    /// Queues that workers serve but that aren't made yet.
    unmade: BTreeMap<QueueName, BTreeSet<WorkerId>>,
    next_ticket: u64,
    leases: Numbered<u64, Lease>,
    copies: Copies,
    next_delivery: u64,

    calls: Calls,
    processes: Processes,
    replies: KeptReplies,
    gathers: Gathers,
    /// Why Redis can't be reached.
    redis_down: Option<String>,
    redis: bool,
    /// What the configuration says of queues that it names.
    configured: HashMap<QueueName, QueueSettings>,
    topics: Topics,
    sagas: Sagas,
    repairs: Repairs,
    timers: Timers,
    last_journal: u64,
    stale_answers: u64,
    late_replies: u64,
    totals: Totals,
    delivered: u64,

    changed: Vec<QueueIndex>,
    workers_changed: bool,
    /// Idle queues that have gone in this turn.
    removed_in_turn: usize,
}

impl Engine {
    /// An engine over what a store recovered. Nothing is loaded until a worker is there for it.
    pub fn new(options: EngineOptions, recovered: Recovered, now: Timestamp) -> Self {
        let mut engine = Self {
            generation: recovered.generation,
            now,
            made_at: now,
            stopping: false,
            store_full: None,
            templates: Templates::new(options.templates),
            default_settings: Arc::default(),
            max_queues: options.max_queues,
            suspect_ms: options.suspect_ms.min(options.heartbeat_timeout_ms).max(1),
            heartbeat_timeout_ms: options.heartbeat_timeout_ms.max(1),
            bounds: Bounds {
                messages: options.window_messages.max(1),
                bytes: options.window_bytes,
            },
            seed: options.seed,
            rng: fastrand::Rng::with_seed(options.seed),
            queues: Queues::new(recovered.queues.len(), recovered.removed),
            dead_letter_queues: BTreeSet::new(),
            live: options.live,
            budget: Budget::new(options.total_window_bytes),
            workers: BTreeMap::new(),
            unmade: BTreeMap::new(),
            next_ticket: 0,
            leases: Numbered::default(),
            copies: Copies::default(),
            next_delivery: 0,
            calls: Calls::default(),
            processes: Processes::default(),
            replies: KeptReplies::default(),
            gathers: Gathers::new(options.gathers),
            redis_down: None,
            redis: options.redis,
            configured: options.configured.into_iter().collect(),
            sagas: Sagas::new(options.sagas),
            topics: Topics::new(options.topics, recovered.subscriptions),
            repairs: Repairs::default(),
            timers: Timers::default(),
            last_journal: recovered.last_journal,
            stale_answers: 0,
            late_replies: 0,
            totals: Totals::default(),
            delivered: 0,
            changed: Vec::new(),
            workers_changed: true,
            removed_in_turn: 0,
        };
        for mut backlog in recovered.queues {
            engine.take_schema(&mut backlog.record);
            let queue = Queue::recovered(backlog, engine.seed, now);
            let dues: Vec<Timestamp> =
                queue.records().values().filter_map(|record| record.due).collect();
            let at = engine.add_queue(queue);
            for due in dues {
                engine.timers.set(due, Timer::Due(at));
            }
            if engine.queue(at).next(now) != Next::Wait {
                engine.ticket(at);
            }
            engine.watch(at);
            engine.touch(at);
        }
        engine.note_topics_dead_letters();
        for (_, outcome) in recovered.repairs {
            engine.repairs.keep(outcome);
        }
        engine.recover_processes(recovered.processes);
        engine
    }

    /// Takes one event, then does what is due, and appends what it decided to `out`.
    pub fn handle(&mut self, now: Timestamp, event: Event, out: &mut Effects) {
        self.set_time(now);
        self.removed_in_turn = 0;
        match event {
            Event::Send { origin, messages, call } => self.handle_send(origin, messages, call, out),
            Event::Publish { origin, topic, content, mandatory } => {
                self.handle_publish(origin, topic, content, mandatory, out);
            }
            Event::Bury { origin, to, content, queue, rejection } => {
                self.handle_bury(origin, to, &content, queue.as_ref(), &rejection, out);
            }
            Event::Start { origin, saga, input } => self.handle_start(origin, saga, input, out),
            Event::SagaAct { origin, actor, id, order, reason } => {
                self.handle_saga_act(origin, actor, id, order, reason, out);
            }
            Event::Subscribe { origin, actor, topic, subscription } => {
                self.handle_subscribe(origin, actor, topic, subscription, out);
            }
            Event::Unsubscribe { origin, actor, topic, queue } => {
                self.handle_unsubscribe(origin, actor, &topic, &queue, out);
            }
            Event::Gather { origin, request } => self.handle_gather(origin, *request, out),
            Event::OriginGone { origin } => self.handle_origin_gone(origin),
            Event::Status { origin, id, queue } => self.handle_status(origin, id, queue, out),
            Event::Found { origin, id, place } => self.handle_found(origin, id, place, out),
            Event::WorkerReady { worker, queues, credit, info } => {
                self.handle_ready(worker, queues, credit, info, out);
            }
            Event::WorkerHeard { worker } => self.handle_heard(worker, out),
            Event::WorkerBye { worker } => self.handle_bye(worker, out),
            Event::WorkerGone { worker, reason } => self.handle_gone(worker, reason, out),
            Event::Ack { worker, delivery, reply } => self.handle_ack(worker, delivery, reply, out),
            Event::Nack { worker, delivery, error, action, delay_ms } => {
                self.handle_nack(worker, delivery, error, action, delay_ms, out);
            }
            Event::Partial { worker, delivery, payload } => {
                self.handle_partial(worker, delivery, payload, out);
            }
            Event::Progress { worker, delivery, extend_ms, note } => {
                self.handle_progress(worker, delivery, extend_ms, note, out);
            }
            Event::Alert { worker, kind, message } => self.handle_alert(worker, kind, message, out),
            Event::Loaded { queue, from, messages } => {
                if let Some(at) = self.queues.by_id(queue) {
                    self.handle_loaded(at, from, messages, out);
                }
            }
            Event::Arrived { queue, after, arrivals } => {
                self.handle_arrived(queue, after, arrivals, out);
            }
            Event::RedisReach { down } => self.handle_redis_reach(down),
            Event::PutQueue { origin, actor, name, settings } => {
                self.handle_put_queue(origin, actor, name, settings, out);
            }
            Event::SetQueue { origin, actor, queue, changes, reason } => {
                self.handle_set_queue(origin, actor, queue, &changes, reason, out);
            }
            Event::CreateQueue { origin, actor, queue, changes, reason } => {
                self.handle_create_queue(origin, actor, queue, &changes, &reason, out);
            }
            Event::Purge { origin, actor, queue, messages, reason } => {
                self.handle_purge(origin, actor, queue, &messages, &reason, out);
            }
            Event::DeleteQueue { origin, actor, queue, purge, reason } => {
                self.handle_delete_queue(origin, actor, queue, purge, reason, out);
            }
            Event::SetPaused { origin, actor, queue, paused, reason } => {
                self.handle_set_paused(origin, actor, queue, paused, reason, out);
            }
            Event::Drain { origin, actor, queue, reason } => {
                self.handle_drain(origin, actor, queue, reason, out);
            }
            Event::Repair { origin, repair } => self.handle_repair(origin, repair, out),
            Event::ForgetReply { origin, queue, seq } => {
                self.handle_forget_reply(origin, &queue, seq, out);
            }
            Event::Hold { origin, actor, queue, seq, for_ms } => {
                self.handle_hold(origin, actor, queue, seq, for_ms, out);
            }
            Event::StoreFull { reason } => self.store_full = reason,
            Event::Shutdown => self.handle_shutdown(out),
            Event::Unheard { ms } => self.handle_unheard(ms),
            Event::Tick => {}
        }
        while let Some(timer) = self.timers.pop_due(self.now) {
            self.fire(timer, out);
        }
        self.run_processes(out);
    }

    /// When [`Event::Tick`] is due, if anything waits for time. Processes that were told something while they were
    /// recovered wait for the first event, whatever it is.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        if self.processes.have_news() {
            return Some(self.now);
        }
        self.timers.next()
    }

    /// This run's number.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    fn fire(&mut self, timer: Timer, out: &mut Effects) {
        // What a queue waited for that has been removed.
        if timer.queue().is_some_and(|at| self.queues.find(at).is_none()) {
            return;
        }
        match timer {
            Timer::Silent(worker) => self.check_silence(worker, out),
            Timer::Resend(number) => self.resend(number, out),
            Timer::LeaseOver(number) => self.lease_over(number, out),
            Timer::Due(at) => {
                let now = self.now;
                self.queue_mut(at).wake(now);
                self.touch(at);
                self.offer(at, out);
            }
            Timer::Alarm(at) => {
                self.alarm_over(at);
                self.touch(at);
                self.offer(at, out);
            }
            Timer::HoldOver(at, seq) => self.hold_over(at, seq, out),
            Timer::CallOver(number) => self.call_over(number, out),
            Timer::LoadAgain(at) => self.offer(at, out),
            Timer::Idle(at) => self.idle_over(at, out),
            Timer::RepliesOver => self.replies_over(out),
            Timer::ProcessDue(number) => self.process_is_due(number),
        }
    }

    fn queue_named(&self, name: &QueueName) -> Option<&Queue> {
        self.queues.by_name(name).map(|at| self.queue(at))
    }

    fn add_queue(&mut self, queue: Queue) -> QueueIndex {
        let name = queue.record.name.clone();
        let at = self.queues.add(queue);
        self.note_dead_letters(at);
        let is_counted = self.count_queue(&name);
        self.queue_mut(at).is_counted = is_counted;
        self.watch_idle(at);
        at
    }

    fn queue(&self, at: QueueIndex) -> &Queue {
        self.queues.at(at)
    }

    fn queue_mut(&mut self, at: QueueIndex) -> &mut Queue {
        self.queues.at_mut(at)
    }

    /// A queue, and what its window takes of the RAM for all of them.
    fn queue_and_budget(&mut self, at: QueueIndex) -> (&mut Queue, &mut Budget) {
        (self.queues.at_mut(at), &mut self.budget)
    }

    /// A queue's view changed.
    fn touch(&mut self, at: QueueIndex) {
        let now = self.now;
        let queue = self.queues.at_mut(at);
        queue.used_at = now;
        if !queue.changed {
            queue.changed = true;
            self.changed.push(at);
        }
    }
}
