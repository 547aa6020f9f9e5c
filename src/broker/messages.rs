//! Messages as operators see them: what the store has, under what the engine knows.

mod pages;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::engine::MessageOverlay;
use crate::mailbox::{JournalFilter, Mailbox, MailboxError};
use crate::model::limits::{MAX_PAGE, PREVIEW_BYTES};
use crate::model::{
    Actor, Content, DeadLetterView, Edit, IdempotencyKey, JournalPage, MessageId, MessageState,
    MessageSummary, MessageView, Payload, QueueId, QueueName, Repair, RepairAction, RepairOutcome,
    RepairRefusal, Revision, RevisionRecord, RevisionView, Seq, StoredMessage,
};

use super::handle::BrokerHandle;
use super::operator_error::{OperatorError, no_such_message, no_such_queue};

/// Header and payload bytes read for one page: rows show only payloads' beginnings, but the store reads
/// whole ones.
pub(super) const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// A message may get a new revision between the read and the look at the engine; so often is enough.
const MAX_ATTEMPTS: usize = 5;

/// What to do to a message; the contents that the engine needs for it are read by the handle.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is documented at model::RepairAction")]
pub enum Act {
    Save(Edit),
    Retry,
    SaveAndRetry(Edit),
    Cancel,
    Restore,
    UndoSave,
    DeadLetter,
    Move(Option<QueueName>),
}

/// One repair as an operator asks for it; see [`Repair`].
#[derive(Debug, Clone, PartialEq)]
pub struct RepairOrder {
    /// Names this repair.
    pub key: IdempotencyKey,
    /// Who.
    pub actor: Actor,
    /// The message's queue.
    pub queue: QueueName,
    /// The message's place.
    pub seq: Seq,
    /// The revision that the operator saw.
    pub expect_revision: Revision,
    /// What to do.
    pub act: Act,
    /// Why.
    pub reason: String,
}

/// Which journal entries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalQuery {
    /// Entries before this number; the newest if absent.
    pub before: Option<u64>,
    /// How many; at most `limits::MAX_PAGE` are given.
    pub limit: usize,
    /// Of this queue only.
    pub queue: Option<QueueName>,
    /// Of this place only; needs a queue.
    pub seq: Option<Seq>,
}

impl BrokerHandle {
    /// A message with all that is known of it.
    pub async fn message(&self, queue: &QueueName, seq: Seq) -> Result<MessageView, OperatorError> {
        let id = self.queue_id(queue).await?;
        for _ in 0..MAX_ATTEMPTS {
            let name = queue.clone();
            let (stored, revisions, mut history) = self
                .read(move |mailbox| {
                    let filter = JournalFilter { queue: Some(&name), seq: Some(seq) };
                    // One more tells whether there are more.
                    let mut history = mailbox.journal(u64::MAX, MAX_PAGE + 1, filter)?;
                    history.reverse();
                    let revisions = mailbox.revisions(id, seq)?;
                    let stored = mailbox.read(id, seq, 1, PAGE_BYTES)?;
                    Ok((stored.into_iter().find(|found| found.seq == seq), revisions, history))
                })
                .await?;
            let Some(stored) = stored else { return Err(no_such_message(queue, seq)) };
            let (name, content) = (queue.clone(), Arc::clone(&stored.content));
            let known = self.ask_durable(move |engine| {
                let overlay = engine.message_overlay(&name, seq)?;
                Some((overlay, engine.waiting_behind(&name, seq, &content.header)))
            });
            let known = known.await?;
            let (overlay, behind) = known.ok_or_else(|| no_such_message(queue, seq))?;
            let cut = history.len().saturating_sub(MAX_PAGE);
            if revision(&overlay) != stored.record.as_ref().map_or(Revision(0), |r| r.revision) {
                continue;
            }
            let overlay = overlay.with_content(stored.accepted_at, &stored.content.header);
            let summary = summary(&stored, &overlay);
            let attempts = overlay.record.map(|record| Vec::from(record.failures));
            return Ok(MessageView {
                queue: queue.clone(),
                summary,
                header: stored.content.header.to_map(),
                payload: Payload::from_bytes(&stored.content.payload),
                attempts: attempts.unwrap_or_default(),
                revisions: revisions.into_iter().map(revision_view).collect(),
                history: history.split_off(cut),
                history_cut: cut > 0,
                behind,
                hold: overlay.hold,
                lease: overlay.lease,
                undo: overlay.undo,
            });
        }
        Err(OperatorError::Busy)
    }

    /// A message's content as of one revision, or the newest. Of one that can't be read, what stands for it:
    /// there is nothing else to begin an edit with.
    pub async fn content(
        &self,
        queue: &QueueName,
        seq: Seq,
        wanted: Option<Revision>,
    ) -> Result<Content, OperatorError> {
        let id = self.queue_id(queue).await?;
        let newest = revision(&self.overlay(queue, seq).await?);
        let wanted = wanted.unwrap_or(newest);
        if wanted > newest {
            let reason = format!("there is no revision {wanted}; the newest is {newest}");
            return Err(RepairRefusal::Invalid { reason }.into());
        }
        let content = if wanted == newest {
            self.read(move |mailbox| seen(mailbox, id, seq, wanted)).await?
        } else {
            self.read(move |mailbox| mailbox.content(id, seq, wanted)).await?
        };
        content.ok_or_else(|| no_such_message(queue, seq))
    }

    /// Where the newest message with this id is.
    pub async fn locate(
        &self,
        id: &MessageId,
    ) -> Result<(QueueName, Seq, MessageState), OperatorError> {
        let wanted = id.clone();
        let place = self.read(move |mailbox| mailbox.find(None, &wanted)).await?;
        let not_found = || OperatorError::NotFound { id: id.to_string() };
        let (queue, seq) = place.ok_or_else(not_found)?;
        self.ask_durable(move |engine| {
            let name = engine.queue_name(queue)?.clone();
            // What the store still knows of and the engine doesn't is at its end.
            let overlay = engine.message_overlay(&name, seq);
            Some((name, seq, overlay.map_or(MessageState::Done, |overlay| overlay.state)))
        })
        .await?
        .ok_or_else(not_found)
    }

    /// A page of the journal, newest first.
    pub async fn journal(&self, query: JournalQuery) -> Result<JournalPage, OperatorError> {
        let limit = query.limit.clamp(1, MAX_PAGE);
        let (entries, older_removed) = self
            .read(move |mailbox| {
                let of = JournalFilter { queue: query.queue.as_ref(), seq: query.seq };
                let entries = mailbox.journal(query.before.unwrap_or(u64::MAX), limit, of)?;
                let is_end = entries.len() < limit;
                let older_removed = is_end && has_lost_entries(mailbox)?;
                Ok((entries, older_removed))
            })
            .await?;
        self.all_durable().await?;
        let full = entries.len() == limit;
        let next_before = entries.last().map(|entry| entry.number).filter(|&n| full && n > 1);
        Ok(JournalPage { entries, next_before, older_removed })
    }

    /// Does a repair. Sent twice with the same key, it acts once.
    pub async fn repair(&self, order: RepairOrder) -> Result<RepairOutcome, OperatorError> {
        let RepairOrder { key, actor, queue, seq, expect_revision, act, reason } = order;
        let id = self.queue_id(&queue).await?;
        let reason = self.reason_for(&queue, &key, &act, reason).await?;
        let seen = self.read(move |mailbox| seen(mailbox, id, seq, expect_revision)).await?;
        let earlier = if act == Act::UndoSave {
            self.read(move |mailbox| earlier(mailbox, id, seq, expect_revision, &Act::UndoSave))
                .await?
        } else {
            None
        };
        let action = action(act, expect_revision, earlier)?;
        let seen = seen.map(Arc::new);
        self.submit(Repair { key, actor, queue, seq, expect_revision, seen, action, reason }).await
    }

    async fn overlay(&self, queue: &QueueName, seq: Seq) -> Result<MessageOverlay, OperatorError> {
        let overlay = self.overlays(queue, vec![seq]).await?.pop().flatten();
        overlay.ok_or_else(|| no_such_message(queue, seq))
    }

    async fn overlays(
        &self,
        queue: &QueueName,
        seqs: Vec<Seq>,
    ) -> Result<Vec<Option<MessageOverlay>>, OperatorError> {
        let name = queue.clone();
        self.ask_durable(move |engine| {
            seqs.iter().map(|&seq| engine.message_overlay(&name, seq)).collect()
        })
        .await
    }
}

/// What the engine is asked to do. `earlier` is for [`Act::UndoSave`].
pub(super) fn action(
    act: Act,
    expect_revision: Revision,
    earlier: Option<Content>,
) -> Result<RepairAction, RepairRefusal> {
    Ok(match act {
        Act::DeadLetter => RepairAction::DeadLetter,
        Act::Move(to) => RepairAction::Move(to),
        Act::Save(edit) => RepairAction::Save(edit),
        Act::Retry => RepairAction::Retry,
        Act::SaveAndRetry(edit) => RepairAction::SaveAndRetry(edit),
        Act::Cancel => RepairAction::Cancel,
        Act::Restore => RepairAction::Restore,
        Act::UndoSave if expect_revision == Revision(0) => {
            let reason = "revision 0 is what was sent; there is nothing to undo".to_owned();
            return Err(RepairRefusal::Invalid { reason });
        }
        // Gone with its message: the engine answers by the key, or that the message is gone.
        Act::UndoSave => RepairAction::UndoSave(earlier.map_or_else(nothing, |content| Edit {
            header: Some(content.header.to_map()),
            payload: content.payload,
        })),
    })
}

/// The content before the revision that was seen, where an edit is to be taken back.
pub(super) fn earlier(
    mailbox: &dyn Mailbox,
    queue: QueueId,
    seq: Seq,
    revision: Revision,
    act: &Act,
) -> Result<Option<Content>, MailboxError> {
    match revision.0.checked_sub(1) {
        Some(before) if *act == Act::UndoSave => mailbox.content(queue, seq, Revision(before)),
        Some(_) | None => Ok(None),
    }
}

/// The content that an operator has seen; of one that can't be read, what stands for it.
pub(super) fn seen(
    mailbox: &dyn Mailbox,
    queue: QueueId,
    seq: Seq,
    revision: Revision,
) -> Result<Option<Content>, MailboxError> {
    match mailbox.content(queue, seq, revision) {
        Err(MailboxError::Unreadable { .. }) => {
            let found = mailbox.read(queue, seq, 1, PAGE_BYTES)?;
            let found = found.into_iter().find(|found| found.seq == seq);
            Ok(found.map(|found| (*found.content).clone()))
        }
        content => content,
    }
}

fn nothing() -> Edit {
    Edit { payload: Bytes::new(), header: None }
}

fn revision(overlay: &MessageOverlay) -> Revision {
    overlay.record.as_ref().map_or(Revision(0), |record| record.revision)
}

fn revision_view((record, payload_bytes): (RevisionRecord, u64)) -> RevisionView {
    let RevisionRecord { revision, by, at, reason } = record;
    RevisionView { revision, by, at, reason, payload_bytes }
}

fn summary(stored: &StoredMessage, overlay: &MessageOverlay) -> MessageSummary {
    let header = stored.content.header.to_map();
    let record = overlay.record.as_ref();
    let payload = &stored.content.payload;
    MessageSummary {
        seq: stored.seq,
        id: stored.content.id().clone(),
        state: overlay.state,
        attempt: overlay.attempt,
        revision: revision(overlay),
        accepted_at: stored.accepted_at,
        due: overlay.due,
        payload_bytes: payload.len() as u64,
        kind: header.get("type").and_then(|kind| kind.as_str()).map(str::to_owned),
        key: stored.content.header.key().map(str::to_owned),
        error: stored
            .unreadable
            .as_deref()
            .cloned()
            .or_else(|| record.and_then(|record| record.last_error.clone())),
        dead_letter: dead_letter(&header),
        preview: preview(payload),
    }
}

/// A producer may have put anything there: what isn't of the broker's form is left out.
fn dead_letter(header: &Map<String, Value>) -> Option<DeadLetterView> {
    let fields = header.get("dead_letter")?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(DeadLetterView { queue: text("queue")?, reason: text("reason")?, error: text("error") })
}

/// The first entry of all, which tells of a queue, is the first to go.
fn has_lost_entries(mailbox: &dyn Mailbox) -> Result<bool, MailboxError> {
    let is_there = |before| Ok(!mailbox.journal(before, 1, JournalFilter::default())?.is_empty());
    Ok(is_there(u64::MAX)? && !is_there(2)?)
}

/// The payload's beginning as text. What isn't UTF-8 shows as U+FFFD; a character that the bound cuts
/// is left out.
fn preview(payload: &[u8]) -> String {
    let head = &payload[..payload.len().min(PREVIEW_BYTES)];
    let text = match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_none() => &head[..error.valid_up_to()],
        Ok(_) | Err(_) => head,
    };
    let mut text = String::from_utf8_lossy(text).into_owned();
    let mut end = text.len().min(PREVIEW_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_short_text_whatever_the_payload_is() {
        assert_eq!(preview(b"{\"a\":1}"), "{\"a\":1}");
        let cut = format!("{}é", "x".repeat(PREVIEW_BYTES - 1));
        assert_eq!(preview(cut.as_bytes()), "x".repeat(PREVIEW_BYTES - 1));
        assert!(preview(&[0xff; 1000]).len() <= PREVIEW_BYTES);
    }
}
