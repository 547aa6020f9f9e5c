//! Emptying a queue, a page at a time: each page is one turn of the engine, and one commit.

use super::commands::Request;
use super::handle::BrokerHandle;
use super::messages::PAGE_BYTES;
use super::operator_error::OperatorError;
use super::peers::OperatorAnswer;
use crate::model::limits::MAX_PAGE;
use crate::model::{Actor, PurgePage, QueueName, Seq};

/// One page of a purge as an operator asks for it.
#[derive(Debug, Clone)]
pub struct PurgeOrder {
    /// Who.
    pub actor: Actor,
    /// The queue.
    pub queue: QueueName,
    /// The first place that is looked at.
    pub from: Seq,
    /// The last place; the newest if absent.
    pub until: Option<Seq>,
    /// How many messages are looked at; at most `limits::MAX_PAGE`.
    pub limit: usize,
    /// Why; must not be empty.
    pub reason: String,
}

impl BrokerHandle {
    /// Looks at one page and takes out what waits. Repeated, it takes out nothing twice.
    pub async fn purge(&self, order: PurgeOrder) -> Result<PurgePage, OperatorError> {
        let id = self.queue_id(&order.queue).await?;
        let newest = self.newest_place(&order.queue).await?;
        let until = order.until.map_or(newest, |until| until.min(newest));
        let (from, limit) = (order.from, order.limit.clamp(1, MAX_PAGE));
        let mut messages = self.read(move |m| m.read(id, from, limit, PAGE_BYTES)).await?;
        let next = messages.last().map(|last| last.seq.next()).filter(|&seq| seq <= until);
        messages.retain(|message| message.seq <= until);
        let PurgeOrder { actor, queue, reason, .. } = order;
        match self.act(Request::Purge { actor, queue, messages, reason }).await? {
            OperatorAnswer::Purged(purged) => {
                Ok(PurgePage { removed: purged.removed, stay: purged.stay, until, next })
            }
            OperatorAnswer::Done
            | OperatorAnswer::Repaired(_)
            | OperatorAnswer::Held(_)
            | OperatorAnswer::Subscribed(_)
            | OperatorAnswer::Refused(_) => Err(OperatorError::StoreBroke),
        }
    }
}
