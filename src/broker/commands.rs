//! What the handle sends to the loop, and what the loop does with it.

use tokio::sync::oneshot;

use super::closing::Closing;
use super::event_loop::EventLoop;
use super::events::Events;
use super::peers::{DrainOrder, OperatorAnswer, Waiting};
use super::sending::{Sending, Sent};
use super::view::View;
use super::watch::Watch;
use crate::engine::Event;
use crate::model::{
    Actor, EventId, MessageId, Notice, Pulse, QueueName, QueueSettings, Repair, RepairRefusal,
    SagaOrder, Seq, SettingChange, StoredMessage, Subscription, TopicName,
};

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

impl EventLoop {
    pub(super) fn on_command(&mut self, command: Command) {
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
}
