//! The same repair of many messages, some at a time: each is a repair of its own, in its own commit or with others.

use std::sync::Arc;

use futures_util::future::join_all;

use super::handle::BrokerHandle;
use super::messages::{Act, PAGE_BYTES, action, earlier, seen};
use super::operator_error::{OperatorError, no_such_queue};
use crate::engine::MessageOverlay;
use crate::mailbox::{Mailbox, MailboxError};
use crate::model::{
    Actor, BulkNow, Content, IdempotencyKey, QueueId, QueueName, QueuePatterns, Repair,
    RepairOutcome, RepairRefusal, Revision, Seq, Timestamp, bulk_key,
};

/// Messages that are repaired at once: they share a commit or two, and operators' lists wait while their contents are read.
pub const BULK_STEP: usize = 16;

/// What is done to each message.
#[derive(Debug, Clone)]
pub struct BulkOrder {
    /// Begins the idempotency key of each repair; see [`crate::model::bulk_key`].
    pub key: IdempotencyKey,
    /// Who.
    pub actor: Actor,
    /// The messages' queue.
    pub queue: QueueName,
    /// What to do; nothing that needs a new content.
    pub act: Act,
    /// Nothing goes to other queues than these.
    pub into: QueuePatterns,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Why.
    pub reason: String,
}

/// What came of one message.
#[derive(Debug)]
pub enum BulkStep {
    /// It is done.
    Done(RepairOutcome),
    /// It would be.
    Possible,
    /// It can't be, and what is there instead of what was seen, if anything is.
    Refused(RepairRefusal, Option<BulkNow>),
}

impl BrokerHandle {
    /// The broker's time.
    pub async fn now(&self) -> Result<Timestamp, OperatorError> {
        self.ask(|view| view.now).await
    }

    /// The place of a queue's newest message; 0 if none has ever come.
    pub async fn newest_place(&self, queue: &QueueName) -> Result<Seq, OperatorError> {
        let name = queue.clone();
        let newest = self.ask(move |view| view.engine.newest_place(&name)).await?;
        newest.ok_or_else(|| no_such_queue(queue))
    }

    /// Repairs the first of these messages, in their order: at most [`BULK_STEP`], fewer if they are large, at least one. What
    /// came of each; an error where nobody knows, or it may go later: the same again acts once.
    pub async fn repair_step(
        &self,
        order: &BulkOrder,
        items: &[(Seq, Revision)],
    ) -> Result<Vec<Result<BulkStep, OperatorError>>, OperatorError> {
        let id = self.queue_id(&order.queue).await?;
        let (mut contents, mut bytes) = (Vec::new(), 0);
        for &(seq, revision) in items.iter().take(BULK_STEP) {
            // Each by itself: to get at one may take some ten milliseconds, and lists wait for it.
            let act = order.act.clone();
            let read = self.read(move |m| Contents::read(m, id, (seq, revision), &act)).await?;
            bytes += read.size_bytes();
            contents.push(read);
            if bytes >= PAGE_BYTES as u64 {
                break;
            }
        }
        let repairs: Vec<_> = contents.into_iter().map(|it| order.repair(it)).collect();
        let steps = if order.dry_run {
            self.rehearse(repairs).await?
        } else {
            // Each is handed to the loop before any is waited for: so they keep their order.
            join_all(repairs.into_iter().map(|repair| self.step(repair))).await
        };
        Ok(steps)
    }

    async fn rehearse(
        &self,
        repairs: Vec<Result<Repair, RepairRefusal>>,
    ) -> Result<Vec<Result<BulkStep, OperatorError>>, OperatorError> {
        self.ask_durable(move |engine| {
            let rehearse = |repair: Result<Repair, RepairRefusal>| match repair {
                Ok(repair) => Ok(match engine.rehearse(&repair) {
                    Ok(()) => BulkStep::Possible,
                    Err(refusal) => {
                        let overlay = engine.message_overlay(&repair.queue, repair.seq);
                        BulkStep::Refused(refusal, overlay.map(now))
                    }
                }),
                Err(refusal) => Ok(BulkStep::Refused(refusal, None)),
            };
            repairs.into_iter().map(rehearse).collect()
        })
        .await
    }

    async fn step(&self, repair: Result<Repair, RepairRefusal>) -> Result<BulkStep, OperatorError> {
        let repair = match repair {
            Ok(repair) => repair,
            Err(refusal) => return Ok(BulkStep::Refused(refusal, None)),
        };
        let (queue, seq) = (repair.queue.clone(), repair.seq);
        match self.submit(repair).await {
            Ok(outcome) => Ok(BulkStep::Done(outcome)),
            Err(OperatorError::Refused(refusal @ RepairRefusal::StoreUnavailable { .. })) => {
                Err(refusal.into())
            }
            Err(OperatorError::Refused(refusal)) => {
                let overlay =
                    self.ask_durable(move |engine| engine.message_overlay(&queue, seq)).await?;
                Ok(BulkStep::Refused(refusal, overlay.map(now)))
            }
            Err(error) => Err(error),
        }
    }
}

fn now(overlay: MessageOverlay) -> BulkNow {
    let record = overlay.record.as_ref();
    BulkNow { state: overlay.state, revision: record.map_or(Revision(0), |record| record.revision) }
}

/// A message's contents, as its repair needs them.
struct Contents {
    seq: Seq,
    revision: Revision,
    /// As of the revision that was seen.
    seen: Option<Arc<Content>>,
    /// As of the one before, where the edit is taken back.
    earlier: Option<Content>,
}

impl Contents {
    fn read(
        mailbox: &dyn Mailbox,
        queue: QueueId,
        (seq, revision): (Seq, Revision),
        act: &Act,
    ) -> Result<Self, MailboxError> {
        let seen = seen(mailbox, queue, seq, revision)?.map(Arc::new);
        let earlier = earlier(mailbox, queue, seq, revision, act)?;
        Ok(Self { seq, revision, seen, earlier })
    }

    fn size_bytes(&self) -> u64 {
        self.seen.as_deref().into_iter().chain(&self.earlier).map(Content::size_bytes).sum()
    }
}

impl BulkOrder {
    /// The repair of one message, or why it is none.
    fn repair(&self, contents: Contents) -> Result<Repair, RepairRefusal> {
        let Contents { seq, revision: expect_revision, seen, earlier } = contents;
        if let Some(reason) = self.leads_elsewhere(seen.as_deref()) {
            return Err(RepairRefusal::Invalid { reason });
        }
        Ok(Repair {
            key: bulk_key(&self.key, seq)
                .map_err(|error| RepairRefusal::Invalid { reason: error.to_string() })?,
            actor: self.actor.clone(),
            queue: self.queue.clone(),
            seq,
            expect_revision,
            seen,
            action: action(self.act.clone(), expect_revision, earlier)?,
            reason: self.reason.clone(),
        })
    }

    /// Why a dead letter may not go back to where it says it comes from.
    fn leads_elsewhere(&self, seen: Option<&Content>) -> Option<String> {
        let Act::Move(to) = &self.act else { return None };
        if to.is_none() && seen.is_none() && !self.into.are_all() {
            return Some(
                "it can't be read now, so where it would go isn't known; try again".into(),
            );
        }
        let origin = || seen.and_then(|content| content.header.dead_letter_queue());
        let to = to.clone().or_else(origin).filter(|to| !self.into.have(to))?;
        let into = &self.into;
        Some(format!("it would go to {to}, which is not among the queues ({into})"))
    }
}
