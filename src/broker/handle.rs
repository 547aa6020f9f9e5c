//! What operators' interfaces hold: questions to the engine, reads of the store, repairs.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use super::commands::{Answer, Command, Request};
use super::events::Events;
use super::operator_error::{OperatorError, no_such_queue};
use super::peers::OperatorAnswer;
use super::pools::PoolRequest;
use super::schemas::check_schemas;
use super::store::Reads;
use super::view::View;
use super::watch::Watch;
use crate::engine::{Engine, HoldAnswer};
use crate::mailbox::{Mailbox, MailboxError};
use crate::model::{
    Actor, DoorView, EventId, HoldView, IdempotencyKey, KeyPage, Overview, QueueId, QueueName,
    QueueSettings, QueueView, Repair, RepairOutcome, RepairRefusal, Seq, SettingChange,
    StoreHealth, WorkerView, limits,
};
use crate::schema::Checks;

/// Queues in one answer: a view takes about a microsecond, and the loop does nothing else meanwhile.
pub const QUEUES_PAGE: usize = 512;

/// Names that one turn of the loop looks at: as long as for some hundred views.
const NAMES_LOOKED_AT: usize = 8_192;

/// A running broker as operators' interfaces see it. Cheap to clone; each method is one request to the
/// broker's loop or one read on the store's thread. Dropping a future gives the answer up, not the act.
///
/// What a view shows is durable: an answer waits for the commit of all that it rests upon. While the store
/// is down, queues and workers are shown as they were known last, which may be more than became durable;
/// nothing of a single message, of a repair or of the journal is told then.
#[derive(Debug, Clone)]
pub struct BrokerHandle {
    commands: mpsc::Sender<Command>,
    pub(super) reads: Reads,
    /// Beside the commands: a stop is heard also while none are taken.
    stop: Arc<Notify>,
    /// Where supervised workers are asked for, if there are any.
    pub(super) pools: Option<mpsc::Sender<PoolRequest>>,
    /// Where payloads are held against schemas.
    pub(super) checks: Arc<Checks>,
}

/// A handle that doesn't keep the broker running.
#[derive(Debug)]
pub(super) struct WeakHandle {
    commands: mpsc::WeakSender<Command>,
    reads: Reads,
    stop: Arc<Notify>,
    checks: Arc<Checks>,
}

impl WeakHandle {
    /// `None` once the broker has stopped, or nobody else has a handle.
    pub(super) fn upgrade(&self) -> Option<BrokerHandle> {
        let commands = self.commands.upgrade()?;
        let (stop, checks) = (Arc::clone(&self.stop), Arc::clone(&self.checks));
        Some(BrokerHandle::new(commands, self.reads.clone(), stop, checks))
    }
}

impl BrokerHandle {
    pub(super) fn downgrade(&self) -> WeakHandle {
        let (reads, stop) = (self.reads.clone(), Arc::clone(&self.stop));
        let checks = Arc::clone(&self.checks);
        WeakHandle { commands: self.commands.downgrade(), reads, stop, checks }
    }

    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        reads: Reads,
        stop: Arc<Notify>,
        checks: Arc<Checks>,
    ) -> Self {
        Self { commands, reads, stop, pools: None, checks }
    }

    /// The broker at a glance.
    pub async fn overview(&self) -> Result<Overview, OperatorError> {
        self.ask(|view| view.overview()).await
    }

    /// Queues in the order in which they were made, from after the one with this number on: at most [`QUEUES_PAGE`], and
    /// fewer only at the end; and the number of the last of them. So a list made of pages has each queue that was there
    /// all the time, once.
    pub async fn queues(&self, after: QueueId) -> Result<(Vec<QueueView>, QueueId), OperatorError> {
        self.ask(move |view| view.engine.queue_views(after, QUEUES_PAGE)).await
    }

    /// Of the queues after the one with this number those whose names begin with `prefix`: at most `max` and
    /// [`QUEUES_PAGE`]; and where to go on, if there may be more.
    pub async fn queues_named(
        &self,
        prefix: String,
        after: QueueId,
        max: usize,
    ) -> Result<(Vec<QueueView>, Option<QueueId>), OperatorError> {
        let bounds = (NAMES_LOOKED_AT, max.min(QUEUES_PAGE));
        self.ask(move |view| view.engine.queue_views_named(&prefix, after, bounds)).await
    }

    /// One queue.
    pub async fn queue(&self, queue: &QueueName) -> Result<QueueView, OperatorError> {
        let name = queue.clone();
        let view = self.ask(move |view| view.engine.queue_view(&name)).await?;
        view.ok_or_else(|| no_such_queue(queue))
    }

    /// Order keys of a queue that stand, from the message at `from` on; at most `limits::MAX_PAGE`.
    pub async fn keys(
        &self,
        queue: &QueueName,
        from: Seq,
        limit: usize,
    ) -> Result<KeyPage, OperatorError> {
        let (name, limit) = (queue.clone(), limit.clamp(1, limits::MAX_PAGE));
        let page = self.ask(move |view| view.engine.key_page(&name, from, limit)).await?;
        page.ok_or_else(|| no_such_queue(queue))
    }

    /// Every worker, by connection.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, OperatorError> {
        self.ask(|view| view.engine.worker_views()).await
    }

    /// Makes a queue, or gives it these settings.
    pub async fn put_queue(
        &self,
        actor: Actor,
        name: QueueName,
        settings: QueueSettings,
    ) -> Result<(), OperatorError> {
        self.act(Request::PutQueue { actor, name, settings }).await.map(drop)
    }

    /// Changes a queue's settings, until they are given back to the configuration. A queue with messages moves to
    /// another mailbox while it is paused only.
    pub async fn set_queue(
        &self,
        actor: Actor,
        queue: QueueName,
        changes: Vec<SettingChange>,
        reason: String,
    ) -> Result<(), OperatorError> {
        check_schemas(&changes).await?;
        self.act(Request::SetQueue { actor, queue, changes, reason }).await.map(drop)
    }

    /// Makes a queue with these settings beside the configured ones; refused if it is there.
    pub async fn create_queue(
        &self,
        actor: Actor,
        queue: QueueName,
        changes: Vec<SettingChange>,
        reason: String,
    ) -> Result<(), OperatorError> {
        check_schemas(&changes).await?;
        self.act(Request::CreateQueue { actor, queue, changes, reason }).await.map(drop)
    }

    /// Deletes a queue; with `purge` also one with messages, which needs a reason.
    pub async fn delete_queue(
        &self,
        actor: Actor,
        queue: QueueName,
        purge: bool,
        reason: String,
    ) -> Result<(), OperatorError> {
        self.act(Request::DeleteQueue { actor, queue, purge, reason }).await.map(drop)
    }

    /// Closes a queue to new messages until it is resumed; what waits is delivered.
    pub async fn drain_queue(
        &self,
        actor: Actor,
        queue: QueueName,
        reason: String,
    ) -> Result<(), OperatorError> {
        self.act(Request::DrainQueue { actor, queue, reason }).await.map(drop)
    }

    /// Stops a queue's delivery, publishing goes on; or lets it go on, which ends a drain, too.
    pub async fn set_paused(
        &self,
        actor: Actor,
        queue: QueueName,
        paused: bool,
        reason: String,
    ) -> Result<(), OperatorError> {
        self.act(Request::SetPaused { actor, queue, paused, reason }).await.map(drop)
    }

    /// Takes, renews or (`for_ms` 0) gives back a repair hold. `None`: nobody holds the message now.
    pub async fn hold(
        &self,
        actor: Actor,
        queue: QueueName,
        seq: Seq,
        for_ms: u64,
    ) -> Result<Option<HoldView>, OperatorError> {
        match self.act(Request::Hold { actor, queue, seq, for_ms }).await? {
            OperatorAnswer::Held(HoldAnswer::Held(view)) => Ok(Some(view)),
            OperatorAnswer::Held(HoldAnswer::Released)
            | OperatorAnswer::Done
            | OperatorAnswer::Repaired(_)
            | OperatorAnswer::Purged(_)
            | OperatorAnswer::Subscribed(_)
            | OperatorAnswer::Refused(_) => Ok(None),
        }
    }

    /// What came of the repair with this key; `None` if it isn't known, or not any more.
    pub async fn repair_outcome(
        &self,
        key: IdempotencyKey,
    ) -> Result<Option<RepairOutcome>, OperatorError> {
        self.ask_durable(move |engine| engine.repair_outcome(&key).cloned()).await
    }

    /// Everything as it is, and then what changes.
    pub async fn watch(&self) -> Result<Watch, OperatorError> {
        let (answer, watch) = oneshot::channel();
        self.send(Command::Watch(answer)).await?;
        watch.await.map_err(|_| self.unanswered())
    }

    /// The broker's sockets with their counts.
    pub async fn doors(&self) -> Result<Vec<DoorView>, OperatorError> {
        self.ask(|view| view.facts.doors.views()).await
    }

    /// What happens from now on, or from after an event on.
    pub async fn events(&self, after: Option<EventId>) -> Result<Events, OperatorError> {
        let (answer, events) = oneshot::channel();
        self.send(Command::Follow(after, answer)).await?;
        events.await.map_err(|_| self.unanswered())
    }

    /// Stops the broker; returns at once.
    pub fn shut_down(&self) {
        self.stop.notify_one();
    }

    pub(super) async fn submit(&self, repair: Repair) -> Result<RepairOutcome, OperatorError> {
        match self.act(Request::Repair(repair)).await? {
            OperatorAnswer::Repaired(outcome) => Ok(outcome),
            OperatorAnswer::Done
            | OperatorAnswer::Held(_)
            | OperatorAnswer::Purged(_)
            | OperatorAnswer::Subscribed(_)
            | OperatorAnswer::Refused(_) => Err(OperatorError::StoreBroke),
        }
    }

    pub(super) async fn act(&self, request: Request) -> Result<OperatorAnswer, OperatorError> {
        let (answer, done) = oneshot::channel();
        self.send(Command::Do(Box::new(request), answer)).await?;
        match done.await {
            Ok(OperatorAnswer::Refused(refusal)) => Err(refusal.into()),
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.unanswered()),
        }
    }

    /// Looks at the engine between two inputs: must be quick.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, OperatorError> {
        let (answer, told) = oneshot::channel();
        let question = move |view: &View<'_>| -> Answer {
            let found = question(view);
            // Who asked may have gone away.
            Box::new(move || drop(answer.send(found)))
        };
        self.send(Command::Ask(Box::new(question))).await?;
        told.await.map_err(|_| self.unanswered())
    }

    /// As `ask`, for what must not be told unless it is durable: refused while the store is down, since
    /// nobody knows then how much of what the engine knows became durable.
    pub(super) async fn ask_durable<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, OperatorError> {
        let answer = self.ask(move |view| match &view.health {
            StoreHealth::Ok | StoreHealth::Full { .. } => Ok(question(view.engine)),
            StoreHealth::Unavailable { reason } => {
                Err(RepairRefusal::StoreUnavailable { reason: reason.clone() })
            }
        });
        Ok(answer.await??)
    }

    /// Waits until everything that was decided so far is durable: what a read has seen then is, too.
    pub(super) async fn all_durable(&self) -> Result<(), OperatorError> {
        self.ask_durable(|_| ()).await
    }

    /// Reads the store on its thread.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&dyn Mailbox) -> Result<T, MailboxError> + Send + 'static,
    ) -> Result<T, OperatorError> {
        let (answer, done) = oneshot::channel();
        let run = move |mailbox: Option<&dyn Mailbox>| {
            let _ = answer.send(mailbox.map(job));
        };
        if !self.reads.run(run) {
            return Err(OperatorError::Busy);
        }
        match done.await {
            Ok(Some(found)) => Ok(found?),
            Ok(None) => Err(self.down().await),
            Err(_) => Err(OperatorError::Stopped),
        }
    }

    /// Copies the store into a folder while it goes on. One copy at a time.
    pub async fn backup(&self, to: std::path::PathBuf) -> Result<(), OperatorError> {
        let (answer, done) = oneshot::channel();
        let run = move |mailbox: Option<&dyn Mailbox>| {
            let _ = answer.send(mailbox.map(|mailbox| mailbox.backup(&to)));
        };
        if !self.reads.run_aside(run) {
            return Err(OperatorError::Busy);
        }
        match done.await {
            Ok(Some(copied)) => Ok(copied?),
            Ok(None) => Err(self.down().await),
            Err(_) => Err(OperatorError::Stopped),
        }
    }

    pub(super) async fn queue_id(&self, queue: &QueueName) -> Result<QueueId, OperatorError> {
        let name = queue.clone();
        let id = self.ask(move |view| view.engine.queue_id(&name)).await?;
        id.ok_or_else(|| no_such_queue(queue))
    }

    async fn down(&self) -> OperatorError {
        match self.ask(|view| view.health.clone()).await {
            Ok(StoreHealth::Unavailable { reason }) => {
                RepairRefusal::StoreUnavailable { reason }.into()
            }
            Ok(StoreHealth::Ok | StoreHealth::Full { .. }) => OperatorError::StoreBroke,
            Err(error) => error,
        }
    }

    pub(super) async fn send(&self, command: Command) -> Result<(), OperatorError> {
        self.commands.send(command).await.map_err(|_| OperatorError::Stopped)
    }

    pub(super) fn unanswered(&self) -> OperatorError {
        if self.commands.is_closed() { OperatorError::Stopped } else { OperatorError::StoreBroke }
    }
}
