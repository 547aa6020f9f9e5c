//! `titanic.close`: a Majordomo client wants a request and its reply no more.
//!
//! What is to be read for that is read as for an operator's repair, so it is done beside the loop, one after the other.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::commands::{Command, Request};
use super::event_loop::EventLoop;
use super::handle::{BrokerHandle, WeakHandle};
use super::messages::{Act, RepairOrder};
use super::operator_error::OperatorError;
use crate::model::{Actor, IdempotencyKey, MessageId, MessageState, RepairRefusal};
use crate::net::{MajordomoForm, PeerId};

/// So many may wait; further ones are told to come again. Each costs some reads of the store.
pub(super) const MAX_CLOSING: usize = 64;
/// In the header of a message whose reply is kept.
const KEEP_REPLY: &str = "keep_reply";
/// The header field of a dead letter.
const DEAD_LETTER: &str = "dead_letter";

/// What a client wants closed.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) peer: PeerId,
    pub(super) form: Arc<MajordomoForm>,
    pub(super) id: MessageId,
}

impl EventLoop {
    pub(super) fn begin_closing(&mut self, closing: Closing) {
        let (peer, form) = (closing.peer, Arc::clone(&closing.form));
        let begun = self.closings.as_ref().is_some_and(|all| all.try_send(closing).is_ok());
        if !begun {
            (self.sockets)(form.closed(peer, false));
        }
    }
}

/// Closes one after the other until the loop has ended.
pub(super) async fn run(mut closings: mpsc::Receiver<Closing>, broker: WeakHandle) {
    while let Some(closing) = closings.recv().await {
        let Some(broker) = broker.upgrade() else { return };
        let closed = close(&broker, &closing.id).await;
        if let Err(error) = &closed {
            tracing::warn!(id = %closing.id, %error, "a client's request can't be closed");
        }
        // The broker has stopped: the client will ask again.
        let _stopped = broker.send(Command::Closed(closing, closed.is_ok())).await;
    }
}

async fn close(broker: &BrokerHandle, id: &MessageId) -> Result<(), OperatorError> {
    let (queue, seq, state) = match broker.locate(id).await {
        Err(OperatorError::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    let forget = Request::ForgetReply { queue: queue.clone(), seq };
    if matches!(state, MessageState::Done | MessageState::Cancelled) {
        return broker.act(forget).await.map(drop);
    }
    let message = match broker.message(&queue, seq).await {
        Err(OperatorError::Refused(RepairRefusal::NoSuchMessage { .. })) => return Ok(()),
        found => found?,
    };
    if message.header.contains_key(DEAD_LETTER) {
        // It has failed, and is the operators'. What was told of that goes with its time.
        return Ok(());
    }
    if message.header.get(KEEP_REPLY).and_then(serde_json::Value::as_bool) != Some(true) {
        // It is nobody's to be asked for by its id.
        return Ok(());
    }
    broker.act(forget).await?;
    let cancel = RepairOrder {
        key: IdempotencyKey::new(&format!("titanic-close-{id}")).expect("an id of digits"),
        actor: Actor { name: "client".to_owned(), via: "mdp".to_owned() },
        queue,
        seq,
        expect_revision: message.summary.revision,
        act: Act::Cancel,
        reason: "titanic.close".to_owned(),
    };
    match broker.repair(cancel).await {
        Err(error @ OperatorError::Refused(RepairRefusal::StoreUnavailable { .. })) => Err(error),
        // A worker has it, or an operator holds it: it ends in their hands, and its reply isn't kept.
        Ok(_) | Err(OperatorError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
