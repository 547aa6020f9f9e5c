//! Why an operator's request brought nothing.

use crate::mailbox::MailboxError;
use crate::model::{MessageId, PoolError, QueueName, Rejection, RepairRefusal, Seq, TopicName};

/// Why an operator's request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The broker says no; nothing has changed.
    #[error(transparent)]
    Refused(#[from] RepairRefusal),
    /// No message with this id waits, and none of the last ones had it.
    #[error(
        "no message {id:?} waits in any queue, and it is not among the last that were accepted"
    )]
    NotFound {
        /// The id asked for.
        id: String,
    },
    /// Neither the configuration nor a subscription names this topic.
    #[error("there is no topic {topic}: neither the configuration nor a subscription names it")]
    NoSuchTopic {
        /// The name asked for.
        topic: TopicName,
    },
    /// No saga has this id, or it has ended long ago.
    #[error("there is no saga {id}; it has ended long ago, or never began")]
    NoSuchSaga {
        /// The id asked for.
        id: MessageId,
    },
    /// No gather has this id, or it has ended a while ago.
    #[error("there is no gather {id}; its answer was kept for a while, or it never began")]
    NoSuchGather {
        /// The id asked for.
        id: MessageId,
    },
    /// No worker of this name is connected.
    #[error("no worker {name:?} is connected, and the configuration has none of this name")]
    NoSuchWorker {
        /// The name asked for.
        name: String,
    },
    /// Supervised workers can't do that.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A message is refused, as it would be at a door.
    #[error("{}", .0.reason)]
    Rejected(Rejection),
    /// The store could not be read.
    #[error("the store can't be read")]
    Store(#[from] MailboxError),
    /// The store broke while this was under way.
    #[error("the store broke down meanwhile; ask again")]
    StoreBroke,
    /// Too many reads wait.
    #[error("too many requests wait for the store; try again")]
    Busy,
    /// The broker has stopped.
    #[error("the broker stops")]
    Stopped,
}

pub(super) fn no_such_queue(queue: &QueueName) -> OperatorError {
    RepairRefusal::NoSuchQueue { queue: queue.clone() }.into()
}

/// Shared by those who build views of messages.
pub(super) fn no_such_message(queue: &QueueName, seq: Seq) -> OperatorError {
    RepairRefusal::NoSuchMessage { queue: queue.clone(), seq }.into()
}
