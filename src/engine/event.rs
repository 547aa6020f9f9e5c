//! Every input of the engine.

use bytes::Bytes;

use crate::model::Content;
use crate::model::{
    Actor, Arrival, DeliveryId, GatherRequest, MessageId, NackAction, Origin, QueueId, QueueName,
    QueueSettings, Rejection, Repair, SagaName, SagaOrder, Seq, SettingChange, StoredMessage,
    StreamId, Subscription, TopicName, WorkError, WorkerId, WorkerInfo,
};

/// What may happen to the engine. Adding a variant breaks every match until it is handled.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// SEND, SENDMANY or CALL: all messages or none, one commit. Answered by [`super::Effect::Accepted`]
    /// (for a call: [`super::Effect::CallEnded`]) or [`super::Effect::Rejected`].
    Send {
        /// Who waits.
        origin: Origin,
        /// At least one; in order; queues may differ.
        messages: Vec<(QueueName, Content)>,
        /// Set for a CALL, which has one message.
        call: Option<CallSpec>,
    },
    /// PUBLISH: a message for each queue that the topic's subscriptions say, all in one commit. Answered by
    /// [`super::Effect::Published`] or [`super::Effect::Rejected`].
    Publish {
        /// Who waits.
        origin: Origin,
        /// The topic.
        topic: TopicName,
        /// The event.
        content: Content,
        /// Refuse it as `unroutable` if no subscription takes it, whatever the topic's settings say.
        mandatory: bool,
    },
    /// A message that nobody is told of was refused: it goes to a dead-letter queue, which is made if it isn't there.
    /// Answered by [`super::Effect::Accepted`] or [`super::Effect::Rejected`].
    Bury {
        /// Who waits.
        origin: Origin,
        /// The dead-letter queue.
        to: QueueName,
        /// The message.
        content: Content,
        /// The queue that it was for, if it could be read.
        queue: Option<QueueName>,
        /// Why it was refused.
        rejection: Rejection,
    },
    /// START: a saga begins. Answered by [`super::Effect::Started`] or `Rejected`.
    Start {
        /// Who waits.
        origin: Origin,
        /// Which one.
        saga: SagaName,
        /// Its input; its id is the saga's.
        input: Content,
    },
    /// An operator does something to a saga. Answered by [`super::Effect::Done`] or `Refused`.
    SagaAct {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// Which one.
        id: MessageId,
        /// What to do.
        order: SagaOrder,
        /// Why.
        reason: String,
    },
    /// A queue is to get a topic's events from now on; one subscription of the same topic and queue that was
    /// made at run time is replaced. Answered by [`super::Effect::Subscribed`] or `Rejected`.
    Subscribe {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// The topic.
        topic: TopicName,
        /// Queue, filter and what if that fails.
        subscription: Subscription,
    },
    /// A queue is not to get a topic's events any more. Answered by [`super::Effect::Subscribed`] or
    /// `Rejected`.
    Unsubscribe {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// The topic.
        topic: TopicName,
        /// The queue.
        queue: QueueName,
    },
    /// GATHER: a message to several queues, whose replies are one answer. Answered by
    /// [`super::Effect::Gathered`] at its end, by [`super::Effect::GatherAccepted`] at once if the answer goes into a
    /// queue, or by `Rejected`.
    Gather {
        /// Who waits.
        origin: Origin,
        /// Whom to ask what.
        request: Box<GatherRequest>,
    },
    /// A caller went away: its calls are forgotten, their messages stay.
    OriginGone {
        /// Who waited.
        origin: Origin,
    },
    /// Where is this message? Answered by [`super::Effect::Status`], or by
    /// [`super::Effect::FindMessage`] when only the store can know.
    Status {
        /// Who waits.
        origin: Origin,
        /// Which message.
        id: MessageId,
        /// Where to look; all queues if absent.
        queue: Option<QueueName>,
    },
    /// The store's answer to [`super::Effect::FindMessage`].
    Found {
        /// Who waits.
        origin: Origin,
        /// Which message.
        id: MessageId,
        /// Where it is, if it is still kept.
        place: Option<(QueueId, Seq)>,
    },
    /// A worker is there. A second READY of the same connection replaces queues and credit and keeps
    /// its leases.
    WorkerReady {
        /// The connection.
        worker: WorkerId,
        /// What it serves; names of queues that don't exist yet are allowed.
        queues: Vec<QueueName>,
        /// How many messages it takes at once, at least 1.
        credit: u32,
        /// What it says of itself.
        info: WorkerInfo,
    },
    /// Anything else was heard from the worker: it is alive.
    WorkerHeard {
        /// The connection.
        worker: WorkerId,
    },
    /// The worker said BYE: it takes nothing more, and answers what it holds.
    WorkerBye {
        /// The connection.
        worker: WorkerId,
    },
    /// The worker's connection ended: its leases are over.
    WorkerGone {
        /// The connection.
        worker: WorkerId,
        /// Why, for people: `disconnected`.
        reason: &'static str,
    },
    /// A message is done.
    Ack {
        /// The connection.
        worker: WorkerId,
        /// The lease.
        delivery: DeliveryId,
        /// The reply to a caller.
        reply: Bytes,
    },
    /// A message could not be done.
    Nack {
        /// The connection.
        worker: WorkerId,
        /// The lease.
        delivery: DeliveryId,
        /// Why.
        error: WorkError,
        /// What to do.
        action: NackAction,
        /// The pause before the next attempt; the policy's if absent, in milliseconds.
        delay_ms: Option<u64>,
    },
    /// A part of a reply, before its end: callers that want parts get it, nobody else.
    Partial {
        /// The connection.
        worker: WorkerId,
        /// The lease.
        delivery: DeliveryId,
        /// The part.
        payload: Bytes,
    },
    /// A lease goes on.
    Progress {
        /// The connection.
        worker: WorkerId,
        /// The lease.
        delivery: DeliveryId,
        /// From now, in milliseconds; at most the queue's lease if absent.
        extend_ms: Option<u64>,
        /// For the operator.
        note: String,
    },
    /// A worker raises an alert.
    Alert {
        /// The connection.
        worker: WorkerId,
        /// Its word.
        kind: String,
        /// Its text.
        message: String,
    },
    /// The store's answer to [`super::Effect::Load`].
    Loaded {
        /// The queue.
        queue: QueueId,
        /// Where the load began.
        from: Seq,
        /// Unfinished messages from there on, ascending; empty if there are none.
        messages: Vec<StoredMessage>,
    },
    /// Other programs have put entries into a queue's stream. What is taken in is in the operations; the
    /// rest must be told again.
    Arrived {
        /// The queue.
        queue: QueueId,
        /// No entry that isn't the broker's own is between this one and those told.
        after: StreamId,
        /// In their order.
        arrivals: Vec<Arrival>,
    },
    /// Whether Redis can be reached: while it can't, queues whose messages wait there accept nothing. An
    /// engine takes for granted that it can.
    RedisReach {
        /// Why it can't be reached, for people.
        down: Option<String>,
    },
    /// A queue is made or gets its configured settings. Answered by [`super::Effect::Done`] or `Refused`.
    PutQueue {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// Which queue.
        name: QueueName,
        /// How it behaves.
        settings: QueueSettings,
    },
    /// An operator changes settings of a queue. Answered by [`super::Effect::Done`] or `Refused`.
    SetQueue {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// Which queue.
        queue: QueueName,
        /// What changes; all of it or nothing.
        changes: Vec<SettingChange>,
        /// Why.
        reason: String,
    },
    /// An operator makes a queue, with settings of his own beside the configured ones. Answered by
    /// [`super::Effect::Done`] or `Refused`.
    CreateQueue {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// Which queue; refused if it is there.
        queue: QueueName,
        /// His settings.
        changes: Vec<SettingChange>,
        /// Why.
        reason: String,
    },
    /// An operator takes out of a queue what waits. Answered by [`super::Effect::Purged`] or `Refused`.
    Purge {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// Which queue.
        queue: QueueName,
        /// Which messages, by place, as the asker has read them.
        messages: Vec<StoredMessage>,
        /// Why; needed.
        reason: String,
    },
    /// An operator deletes a queue. Answered by [`super::Effect::Done`] or `Refused`.
    DeleteQueue {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// Which queue.
        queue: QueueName,
        /// With the messages that wait in it.
        purge: bool,
        /// Why; needed where messages go with it.
        reason: String,
    },
    /// A queue accepts nothing new until it is resumed. Answered by [`super::Effect::Done`] or `Refused`.
    Drain {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// Which queue.
        queue: QueueName,
        /// Why.
        reason: String,
    },
    /// Delivery stops, or goes on, and a queue that is drained accepts again. Answered by [`super::Effect::Done`] or `Refused`.
    SetPaused {
        /// Who waits.
        origin: Origin,
        /// Who asks.
        actor: Actor,
        /// Which queue.
        queue: QueueName,
        /// Stop or go on.
        paused: bool,
        /// Why.
        reason: String,
    },
    /// A repair. Answered by [`super::Effect::Repaired`] or `Refused`.
    Repair {
        /// Who waits.
        origin: Origin,
        /// What to do.
        repair: Repair,
    },
    /// The reply to a message is no more wanted, whether it is kept or still to come. Answered by [`super::Effect::Done`].
    ForgetReply {
        /// Who waits.
        origin: Origin,
        /// The queue.
        queue: QueueName,
        /// The message's place.
        seq: Seq,
    },
    /// Somebody edits, or stops editing (`for_ms` 0): no automatic retry meanwhile. Kept in RAM only.
    /// Answered by [`super::Effect::Held`] or `Refused`.
    Hold {
        /// Who waits.
        origin: Origin,
        /// Who edits.
        actor: Actor,
        /// The queue.
        queue: QueueName,
        /// The message's place.
        seq: Seq,
        /// How long, in milliseconds, at most `limits::MAX_HOLD_MS`.
        for_ms: u64,
    },
    /// The store's disk has too little room: what would be new is refused as `full`, all else goes on; or
    /// it has room again.
    StoreFull {
        /// For people: how much is left, and what to do; absent: there is room.
        reason: Option<String>,
    },
    /// The broker stops: nothing new is accepted or delivered, leases are given back without counting as
    /// an attempt, workers get BYE, callers are rejected as `draining`.
    Shutdown,
    /// Nobody could be heard for so long, because the owner took no inputs or didn't run: no worker is
    /// silent or late for it, its leases last so much longer.
    Unheard {
        /// How long, in milliseconds, until now.
        ms: u64,
    },
    /// Time has passed; `Engine::next_timeout` says when this is due.
    Tick,
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallSpec {
    /// How long, in milliseconds.
    pub timeout_ms: u64,
    /// Parts of the reply are wanted as they come.
    pub parts: bool,
}
