//! Repairs: what an operator does to a message (design.md rule 6).
//!
//! | action | allowed when | afterwards |
//! |---|---|---|
//! | save | scheduled, ready, waiting, blocked | the same, one revision more |
//! | undo-save | the same, and its newest revision is an edit | the same, one revision more |
//! | retry | scheduled, waiting, blocked | ready, attempts from 0; its time doesn't count any more |
//! | save-and-retry | scheduled, ready, waiting, blocked | the same, one revision more |
//! | cancel | scheduled, ready, waiting, blocked | cancelled |
//! | dead-letter, move | scheduled, ready, waiting, blocked | in another queue (`relocate`) |
//! | restore | cancelled, successor not delivered | what it was |

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::{
    Content, Edit, Header, IdempotencyKey, JournalKind, MessageRecord, MessageState, Op, Origin,
    Repair, RepairAction, RepairOutcome, RepairRefusal, Revision, RevisionRecord, Seq, limits,
};

use super::control::refused;
use super::journal::Entry;
use super::queues::QueueIndex;
use super::relocate::Destination;
use super::reply::Ended;
use super::request::cancelled;
use super::timer::Timer;
use super::{Effect, Effects, Engine};

/// Outcomes by key, the newest `limits::MAX_REPAIR_KEYS`. Refusals are not among them: they changed nothing,
/// so the same key may be tried again.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    outcomes: HashMap<IdempotencyKey, RepairOutcome>,
    order: VecDeque<IdempotencyKey>,
}

impl Repairs {
    pub(super) fn keep(&mut self, outcome: RepairOutcome) {
        self.order.push_back(outcome.key.clone());
        self.outcomes.insert(outcome.key.clone(), outcome);
        if self.order.len() > limits::MAX_REPAIR_KEYS
            && let Some(oldest) = self.order.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
    }
}

/// A repair that can be done.
pub(super) struct Decided {
    pub(super) at: QueueIndex,
    /// The message's content now.
    pub(super) before: Arc<Content>,
    pub(super) decision: Decision,
}

/// What a repair comes to.
pub(super) enum Decision {
    Change(Box<Change>),
    Leave(Destination),
}

/// What a repair changes.
pub(super) struct Change {
    record: MessageRecord,
    content: Option<Arc<Content>>,
    kind: JournalKind,
}

impl Engine {
    /// What came of the repair with this key; `None` if it isn't known, or not any more.
    pub fn repair_outcome(&self, key: &IdempotencyKey) -> Option<&RepairOutcome> {
        self.repairs.outcomes.get(key)
    }

    pub(super) fn handle_repair(&mut self, origin: Origin, repair: Repair, out: &mut Effects) {
        match self.repair(repair, out) {
            Ok(outcome) => {
                out.effects.push(Effect::Repaired { origin, outcome: Box::new(outcome) })
            }
            Err(refusal) => out.effects.push(refused(origin, refusal)),
        }
    }

    pub(super) fn repair(
        &mut self,
        repair: Repair,
        out: &mut Effects,
    ) -> Result<RepairOutcome, RepairRefusal> {
        if let Some(outcome) = self.done_before(&repair)? {
            return Ok(outcome);
        }
        let Decided { at, before, decision } = self.decided(&repair)?;
        match decision {
            Decision::Leave(destination) => self.relocate(at, repair, before, destination, out),
            Decision::Change(change) => Ok(self.apply(at, repair, &before, *change, out)),
        }
    }

    /// What came of this repair, if it has been done.
    pub(super) fn done_before(
        &self,
        repair: &Repair,
    ) -> Result<Option<RepairOutcome>, RepairRefusal> {
        match self.repairs.outcomes.get(&repair.key) {
            None => Ok(None),
            Some(known) if known.queue == repair.queue && known.seq == repair.seq => {
                Ok(Some(RepairOutcome { repeated: true, ..known.clone() }))
            }
            Some(_) => Err(RepairRefusal::KeyReused),
        }
    }

    /// What the repair comes to now, or why it can't be done. What refuses one that leaves its queue is not all asked
    /// for here (`relocate`).
    pub(super) fn decided(&self, repair: &Repair) -> Result<Decided, RepairRefusal> {
        let at = self.check_repair(repair)?;
        let seq = repair.seq;
        let before = self.content_for(at, repair)?;
        let record = self.queue(at).records().get(&seq).cloned().unwrap_or_default();
        let state = self.state_with_content(at, seq, &before);
        let decision = decide(repair, record, state, &before)?;
        if let Decision::Change(change) = &decision {
            self.check_key(at, &before, change.content.as_deref())?;
        }
        Ok(Decided { at, before, decision })
    }

    /// A message's state. That one isn't due yet may be known by its content only.
    fn state_with_content(&self, at: QueueIndex, seq: Seq, content: &Content) -> MessageState {
        let queue = self.queue(at);
        match queue.state_of(seq, self.now) {
            MessageState::Ready if queue.is_left_for_later(seq, &content.header) => {
                MessageState::Scheduled
            }
            state @ (MessageState::Scheduled
            | MessageState::Ready
            | MessageState::Leased
            | MessageState::Waiting
            | MessageState::Blocked
            | MessageState::Done
            | MessageState::Cancelled) => state,
        }
    }

    /// From now on the repair is known by its key.
    pub(super) fn keep_outcome(&mut self, outcome: &RepairOutcome, out: &mut Effects) {
        out.ops.push(Op::PutRepair(Box::new(outcome.clone())));
        self.repairs.keep(outcome.clone());
    }

    /// What can be refused without looking at the action.
    fn check_repair(&self, repair: &Repair) -> Result<QueueIndex, RepairRefusal> {
        check_reason(&repair.reason)?;
        let Some(at) = self.queues.by_name(&repair.queue) else {
            return Err(RepairRefusal::NoSuchQueue { queue: repair.queue.clone() });
        };
        let queue = self.queue(at);
        if queue.was_cancelled(repair.seq) {
            let reason = "its successor has been delivered: to put it back would change the order";
            return Err(refuse(MessageState::Cancelled, reason));
        }
        if !queue.is_unfinished(repair.seq) {
            let (queue, seq) = (repair.queue.clone(), repair.seq);
            return Err(RepairRefusal::NoSuchMessage { queue, seq });
        }
        self.check_hold(at, repair.seq, &repair.actor)?;
        let current = queue.revision_of(repair.seq);
        if current != repair.expect_revision {
            let record = queue.records().get(&repair.seq);
            return Err(RepairRefusal::Changed {
                expected: repair.expect_revision,
                current,
                by: record.and_then(|record| record.revised_by.clone()),
            });
        }
        Ok(at)
    }

    /// An edit may not take a message out of its order key: others of the new key may have gone before it.
    fn check_key(
        &self,
        at: QueueIndex,
        before: &Content,
        after: Option<&Content>,
    ) -> Result<(), RepairRefusal> {
        let (Some(convoy), Some(after)) = (&self.queue(at).convoy, after) else { return Ok(()) };
        let key = convoy.key_of(&before.header);
        if convoy.key_of(&after.header) == key {
            return Ok(());
        }
        let stay = key.map_or("absent".to_owned(), |key| format!("{key:?}"));
        Err(invalid(format!(
            "header field `key` must stay {stay}: the queue is ordered by it; to give the message another place, \
             cancel it and send a new one"
        )))
    }

    /// The message's content now: from RAM, or as the asker has read it.
    fn content_for(&self, at: QueueIndex, repair: &Repair) -> Result<Arc<Content>, RepairRefusal> {
        let in_ram = self.queue(at).window.get(repair.seq).map(|entry| &entry.content);
        in_ram.or(repair.seen.as_ref()).map(Arc::clone).ok_or_else(|| {
            invalid("the message could not be read from the store just now; try again".to_owned())
        })
    }

    fn apply(
        &mut self,
        at: QueueIndex,
        repair: Repair,
        before: &Content,
        change: Change,
        out: &mut Effects,
    ) -> RepairOutcome {
        let Repair { key, actor, queue: name, seq, reason, .. } = repair;
        let Change { record, content, kind } = change;
        let revision = record.revision;
        if let Some(content) = content {
            let by = actor.clone();
            let revision = RevisionRecord { revision, by, at: self.now, reason: reason.clone() };
            self.put_revision(at, seq, revision, before, content, out);
        }
        if let Some(due) = record.due {
            self.timers.set(due, Timer::Due(at));
        }
        let by = actor.name.clone();
        self.queue_mut(at).forget_time(seq);
        self.put_record(at, seq, record, out);
        let id = before.id().clone();
        let journal = self.write_journal(
            at,
            Entry {
                message: Some((seq, id.clone())),
                revision: Some(revision),
                reason,
                key: Some(key.clone()),
                ..Entry::new(kind, actor)
            },
            out,
        );
        let now = self.now;
        let queue = self.queue_mut(at);
        queue.uncommon.end_hold(seq);
        queue.review(seq, now);
        let state = queue.state_of(seq, now);
        if state == MessageState::Cancelled
            && let Some(convoy) = &mut queue.convoy
        {
            convoy.note_cancelled(seq, before.size_bytes());
        }
        if state == MessageState::Ready {
            self.read_again(at, seq);
        }
        let outcome = RepairOutcome {
            key,
            queue: name,
            seq,
            id,
            revision,
            state,
            moved: None,
            journal,
            repeated: false,
        };
        self.keep_outcome(&outcome, out);
        if state == MessageState::Cancelled {
            let ended =
                Ended { at, seq, accepted_at: now, content: before, cancelled: Some(journal) };
            self.end_message(ended, cancelled(&by), out);
        }
        self.cool(at);
        self.offer(at, out);
        outcome
    }

    fn put_revision(
        &mut self,
        at: QueueIndex,
        seq: Seq,
        revision: RevisionRecord,
        before: &Content,
        content: Arc<Content>,
        out: &mut Effects,
    ) {
        let (queue, budget) = self.queue_and_budget(at);
        queue.window.replace(seq, &content, budget);
        queue.bytes =
            queue.bytes.saturating_sub(before.size_bytes()).saturating_add(content.size_bytes());
        out.ops.push(Op::PutRevision {
            queue: queue.record.id,
            seq,
            revision: Box::new(revision),
            content,
        });
    }
}

/// Why an action can't be done to a message in this state.
fn check_state(action: &RepairAction, state: MessageState) -> Result<(), RepairRefusal> {
    let allowed = match (action, state) {
        (RepairAction::Restore, MessageState::Cancelled) => Ok(()),
        (RepairAction::Restore, _) => Err("only a cancelled message can be restored"),
        (_, MessageState::Leased) => {
            Err("a worker has it now; wait until it is done or has failed")
        }
        (_, MessageState::Cancelled) => Err("restore it first"),
        (_, MessageState::Done) => Err("nothing can be done to it any more"),
        (RepairAction::Retry, MessageState::Ready) => {
            Err("it will be delivered as soon as it is its turn and a worker is free")
        }
        (
            RepairAction::Save(_)
            | RepairAction::Retry
            | RepairAction::SaveAndRetry(_)
            | RepairAction::Cancel
            | RepairAction::UndoSave(_)
            | RepairAction::DeadLetter
            | RepairAction::Move(_),
            MessageState::Scheduled
            | MessageState::Ready
            | MessageState::Waiting
            | MessageState::Blocked,
        ) => Ok(()),
    };
    allowed.map_err(|reason| refuse(state, reason))
}

/// What the action makes of a message, or why it can't be done now.
fn decide(
    repair: &Repair,
    record: MessageRecord,
    state: MessageState,
    before: &Content,
) -> Result<Decision, RepairRefusal> {
    check_state(&repair.action, state)?;
    let change = match &repair.action {
        RepairAction::DeadLetter => return Ok(Decision::Leave(Destination::DeadLetters)),
        RepairAction::Move(to) => {
            let to = to.clone().map_or(Destination::Origin, Destination::Queue);
            return Ok(Decision::Leave(to));
        }
        RepairAction::Save(edit) => edited(repair, edit, record, before, JournalKind::Saved),
        RepairAction::UndoSave(_) if record.revision == Revision(0) => {
            Err(refuse(state, "it was never edited: there is nothing to undo"))
        }
        RepairAction::UndoSave(_) if record.undone => {
            Err(refuse(state, "its last edit has been taken back: there is nothing to undo"))
        }
        RepairAction::UndoSave(edit) => {
            edited(repair, edit, record, before, JournalKind::RevisionUndone)
        }
        RepairAction::Retry => {
            Ok(Change { record: retried(record), content: None, kind: JournalKind::Retried })
        }
        RepairAction::SaveAndRetry(edit) => {
            edited(repair, edit, retried(record), before, JournalKind::SavedAndRetried)
        }
        RepairAction::Cancel if repair.reason.trim().is_empty() => {
            Err(invalid("a cancel needs a reason".to_owned()))
        }
        RepairAction::Cancel => {
            let cancelled_from = Some(record.state);
            let record = MessageRecord { state: MessageState::Cancelled, cancelled_from, ..record };
            Ok(Change { record, content: None, kind: JournalKind::Cancelled })
        }
        RepairAction::Restore => {
            let state = record.cancelled_from.unwrap_or(MessageState::Ready);
            let record = MessageRecord { state, cancelled_from: None, ..record };
            Ok(Change { record, content: None, kind: JournalKind::Restored })
        }
    };
    change.map(|change| Decision::Change(Box::new(change)))
}

fn retried(record: MessageRecord) -> MessageRecord {
    let state = MessageState::Ready;
    MessageRecord { state, due: None, round: 0, lost_in_a_row: 0, retried: true, ..record }
}

fn edited(
    repair: &Repair,
    edit: &Edit,
    record: MessageRecord,
    before: &Content,
    kind: JournalKind,
) -> Result<Change, RepairRefusal> {
    let header = match &edit.header {
        None => before.header.clone(),
        Some(map) => {
            let json = serde_json::to_vec(map).map_err(|e| invalid(format!("header: {e}")))?;
            Header::from_json(&json).map_err(|e| invalid(e.to_string()))?
        }
    };
    if header.id() != before.id() {
        let id = before.id();
        return Err(invalid(format!("header field `id` must stay {id:?}", id = id.as_str())));
    }
    let len = edit.payload.len();
    if len > limits::MAX_PAYLOAD_BYTES {
        let max = limits::MAX_PAYLOAD_BYTES;
        return Err(invalid(format!("payload is {len} bytes long; at most {max} are allowed")));
    }
    let content = Some(Arc::new(Content { header, payload: edit.payload.clone() }));
    let revision = record.revision.next();
    let revised_by = Some(repair.actor.clone());
    let undone = kind == JournalKind::RevisionUndone;
    Ok(Change { record: MessageRecord { revision, revised_by, undone, ..record }, content, kind })
}

fn refuse(state: MessageState, reason: &str) -> RepairRefusal {
    RepairRefusal::State { state, reason: reason.to_owned() }
}

pub(super) fn check_reason(reason: &str) -> Result<(), RepairRefusal> {
    let max = limits::MAX_REASON_BYTES;
    if reason.len() > max {
        return Err(invalid(format!("the reason is longer than {max} bytes; shorten it")));
    }
    Ok(())
}

pub(super) fn invalid(reason: String) -> RepairRefusal {
    RepairRefusal::Invalid { reason }
}
