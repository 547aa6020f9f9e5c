//! Bringing dead letters back, a page at a time. Each goes by a repair of its own, in its own commit or with others.

use std::sync::Arc;

use futures_util::future::join_all;

use super::handle::BrokerHandle;
use super::messages::PAGE_BYTES;
use super::operator_error::OperatorError;
use crate::model::limits::{MAX_FILTER_COST, MAX_PAGE};
use crate::model::{
    Actor, Filter, FilterBudget, FilterSubject, IdempotencyKey, MessageState, QueueName,
    QueuePatterns, RedrivePage, Redriven, Repair, RepairAction, RepairRefusal, Revision, Seq,
    StoredMessage,
};

/// One page of a redrive as an operator asks for it.
#[derive(Debug, Clone)]
pub struct RedriveOrder {
    /// Begins the idempotency key of each repair.
    pub key: IdempotencyKey,
    /// Who.
    pub actor: Actor,
    /// The dead-letter queue.
    pub queue: QueueName,
    /// The first place that is looked at.
    pub from: Seq,
    /// The last place; the newest if absent.
    pub until: Option<Seq>,
    /// How many messages are looked at.
    pub limit: usize,
    /// Which; all if absent.
    pub filter: Option<Filter>,
    /// Where to; each to where it came from if absent.
    pub to: Option<QueueName>,
    /// Only what goes to these queues.
    pub into: QueuePatterns,
    /// Only tell what would go.
    pub dry_run: bool,
    /// Why.
    pub reason: String,
}

impl BrokerHandle {
    /// Looks at one page and brings back what the filter takes. A message that a worker has, that was cancelled, or
    /// that its queue can't take now stays, with the reason.
    pub async fn redrive(&self, order: RedriveOrder) -> Result<RedrivePage, OperatorError> {
        let id = self.queue_id(&order.queue).await?;
        let newest = self.newest_place(&order.queue).await?;
        let until = order.until.map_or(newest, |until| until.min(newest));
        let (from, limit) = (order.from, order.limit.clamp(1, MAX_PAGE));
        let filter = order.filter.clone();
        let queue = order.queue.clone();
        let (to, into) = (order.to.clone(), order.into.clone());
        let (chosen, seen, next) = self
            .read(move |mailbox| {
                let mut found = mailbox.read(id, from, limit, PAGE_BYTES)?;
                let next = found.last().map(|last| last.seq.next()).filter(|&seq| seq <= until);
                found.retain(|message| message.seq <= until);
                let seen = found.len() as u64;
                let mut chosen = choose(found, filter.as_ref(), &queue);
                chosen.iter_mut().for_each(|chosen| chosen.keep_out_of_others(to.as_ref(), &into));
                Ok((chosen, seen, next))
            })
            .await?;
        let messages = join_all(chosen.into_iter().map(|chosen| self.bring_back(&order, chosen)));
        let messages = messages.await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(RedrivePage { messages, seen, until, next })
    }

    async fn bring_back(
        &self,
        order: &RedriveOrder,
        Chosen { message, why_not }: Chosen,
    ) -> Result<Redriven, OperatorError> {
        let (seq, id) = (message.seq, message.content.id().clone());
        if order.dry_run || !why_not.is_empty() {
            return Ok(Redriven { seq, id, moved: None, reason: why_not });
        }
        let key = format!("{}/{}-{seq}", order.key, order.queue);
        let key = IdempotencyKey::new(&key)
            .map_err(|error| RepairRefusal::Invalid { reason: error.to_string() })?;
        let record = message.record.as_ref();
        let repair = Repair {
            key,
            actor: order.actor.clone(),
            queue: order.queue.clone(),
            seq,
            expect_revision: record.map_or(Revision(0), |record| record.revision),
            seen: Some(Arc::clone(&message.content)),
            action: RepairAction::Move(order.to.clone()),
            reason: order.reason.clone(),
        };
        match self.submit(repair).await {
            Ok(outcome) => Ok(Redriven { seq, id, moved: outcome.moved, reason: String::new() }),
            Err(OperatorError::Refused(refusal)) => {
                Ok(Redriven { seq, id, moved: None, reason: refusal.to_string() })
            }
            Err(error) => Err(error),
        }
    }
}

/// A message that is to go, or why it can't.
struct Chosen {
    message: StoredMessage,
    why_not: String,
}

impl Chosen {
    /// What would go to a queue that is none of `into` stays.
    fn keep_out_of_others(&mut self, to: Option<&QueueName>, into: &QueuePatterns) {
        let origin = || self.message.content.header.dead_letter_queue();
        let to = to.cloned().or_else(origin).filter(|to| !into.have(to));
        if let Some(to) = to.filter(|_| self.why_not.is_empty()) {
            self.why_not = format!("it would go to {to}, which is not among the queues ({into})");
        }
    }
}

fn choose(found: Vec<StoredMessage>, filter: Option<&Filter>, queue: &QueueName) -> Vec<Chosen> {
    let mut chosen = Vec::new();
    for message in found {
        let is_cancelled =
            message.record.as_ref().is_some_and(|it| it.state == MessageState::Cancelled);
        if is_cancelled {
            continue;
        }
        let why_not = match (&message.unreadable, filter) {
            (Some(error), _) => format!("it can't be read: {}", error.message),
            (None, None) => String::new(),
            (None, Some(filter)) => {
                let subject = FilterSubject::new(queue.as_str(), &message.content);
                match filter.matches(&subject, &mut FilterBudget::new(MAX_FILTER_COST)) {
                    Ok(true) => String::new(),
                    Ok(false) => continue,
                    Err(error) => format!("the filter fails on it: {error}"),
                }
            }
        };
        chosen.push(Chosen { message, why_not });
    }
    chosen
}
