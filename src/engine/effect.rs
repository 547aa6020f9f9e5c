//! Every output of the engine.

use std::sync::Arc;

use crate::model::{
    Accepted, CallPart, CallReply, Content, DeliveryId, GatherAccepted, GatherReply, HoldView,
    MessageId, Notice, Op, Origin, Published, Purged, QueueId, QueueName, Rejection, RepairOutcome,
    RepairRefusal, SagaStarted, SchemaText, Seq, StatusReport, SubscriptionChange, Timestamp,
    TopicName, WorkerId,
};

/// What one `Engine::handle` decided. The caller makes `ops` durable in order, in one atomic commit or as
/// part of a larger one, and only then carries out `effects` in order. If the commit fails, the effects
/// are never carried out and the engine is dropped: a new one is made from what the store recovered.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// To be made durable.
    pub ops: Vec<Op>,
    /// To be told afterwards.
    pub effects: Vec<Effect>,
}

/// Something to be done outside, after the commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Messages are durable; one entry for each, in order.
    Accepted {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        accepted: Vec<Accepted>,
    },
    /// An event is durable in all its queues.
    Published {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        published: Published,
    },
    /// An event was published, for those who listen; only with `EngineOptions::live`.
    Live {
        /// The topic.
        topic: TopicName,
        /// The event.
        content: Box<Content>,
    },
    /// A saga has begun, or had begun before.
    Started {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        started: SagaStarted,
    },
    /// A subscription was made, replaced or taken back, or was so already.
    Subscribed {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        change: SubscriptionChange,
    },
    /// Messages were taken out of a queue, or stay.
    Purged {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        purged: Purged,
    },
    /// A producer, caller or STATUS is refused.
    Rejected {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        rejection: Rejection,
    },
    /// A call ended.
    CallEnded {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        reply: Box<CallReply>,
    },
    /// A gather ended.
    Gathered {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        reply: Box<GatherReply>,
    },
    /// A gather is durable whose answer goes into a queue.
    GatherAccepted {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        accepted: GatherAccepted,
    },
    /// A part of a reply came; the call goes on.
    CallPart {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        part: CallPart,
    },
    /// Where a message is.
    Status {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        report: Box<StatusReport>,
        /// Its reply, if that is kept.
        reply: Option<Box<CallReply>>,
    },
    /// Only the store can know where a message is: look it up and answer with `Event::Found`.
    FindMessage {
        /// Who waits.
        origin: Origin,
        /// Which message.
        id: MessageId,
        /// Where to look; all queues if absent.
        queue: Option<QueueId>,
    },
    /// Hand a message to a worker.
    Deliver {
        /// The connection.
        worker: WorkerId,
        /// The lease.
        delivery: DeliveryId,
        /// The queue.
        queue: QueueName,
        /// The message's place.
        seq: Seq,
        /// Which attempt, from 1.
        attempt: u32,
        /// When the lease is over.
        deadline: Timestamp,
        /// The message.
        content: Arc<Content>,
    },
    /// The worker's answer came too late.
    Stale {
        /// The connection.
        worker: WorkerId,
        /// As the worker named it.
        delivery: DeliveryId,
    },
    /// What a worker said can't be done.
    WorkerRejected {
        /// The connection.
        worker: WorkerId,
        /// Why.
        rejection: Rejection,
    },
    /// The worker is given nothing from now on: it is silent, or holds messages whose time is over.
    Pause {
        /// The connection.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// It is given messages again.
    Resume {
        /// The connection.
        worker: WorkerId,
        /// Why.
        reason: &'static str,
    },
    /// The worker is silent or the broker stops: say BYE and forget the connection.
    DropWorker {
        /// The connection.
        worker: WorkerId,
        /// Why.
        reason: &'static str,
    },
    /// Read unfinished messages of a queue from a place on, and answer with `Event::Loaded`. At most one
    /// is under way for a queue.
    Load {
        /// The queue.
        queue: QueueId,
        /// The first place wanted.
        from: Seq,
        /// How many at most.
        max_messages: usize,
        /// How many bytes at most; at least one message comes even if it is larger.
        max_bytes: usize,
    },
    /// A queue was put, paused or resumed.
    Done {
        /// Who waits.
        origin: Origin,
    },
    /// A repair was done.
    Repaired {
        /// Who waits.
        origin: Origin,
        /// What to tell.
        outcome: Box<RepairOutcome>,
    },
    /// A hold was taken, renewed or given back.
    Held {
        /// Who waits.
        origin: Origin,
        /// What holds now.
        answer: HoldAnswer,
    },
    /// An operator's request is refused; nothing has changed.
    Refused {
        /// Who waits.
        origin: Origin,
        /// Why.
        refusal: RepairRefusal,
    },
    /// A queue has this schema from now on; empty: none. Told where it is another than the one of the queue's template, or
    /// was.
    SchemaSet {
        /// The queue, which may be gone.
        queue: QueueName,
        /// The schema.
        schema: SchemaText,
    },
    /// Something happened, for those who watch.
    Notice(Box<Notice>),
}

/// What holds a message after `Event::Hold`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldAnswer {
    /// The asker does.
    Held(HoldView),
    /// Nobody does.
    Released,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As large as a DELIVER, of which there is one for each message; what is larger and rarer is boxed.
    #[test]
    fn an_effect_is_small() {
        assert!(size_of::<Effect>() <= 80, "{} bytes", size_of::<Effect>());
    }
}
