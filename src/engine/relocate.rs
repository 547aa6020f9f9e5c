//! Messages that an operator sends to another queue: dead-lettered, moved, or brought back from a dead-letter queue
//! (*redrive*). They keep their ids and stand at the end there, in the commit in which they leave.

use std::sync::Arc;

use crate::model::{
    CallStatus, Content, Finish, Header, JournalKind, MessageState, MovedTo, QueueName, Repair,
    RepairOutcome, RepairRefusal, Revision, WorkError,
};

use super::dead_letter::Reason;
use super::journal::Entry as JournalLine;
use super::queues::QueueIndex;
use super::repair::invalid;
use super::request::CallEnd;
use super::window::Entry;
use super::{Effects, Engine};

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// Its queue's dead-letter queue.
    DeadLetters,
    /// A queue by name.
    Queue(QueueName),
    /// The queue that it was dead-lettered from.
    Origin,
}

impl Engine {
    /// Takes a message whose state allows it out of its queue.
    pub(super) fn relocate(
        &mut self,
        at: QueueIndex,
        repair: Repair,
        content: Arc<Content>,
        destination: Destination,
        out: &mut Effects,
    ) -> Result<RepairOutcome, RepairRefusal> {
        let id = content.id().clone();
        let entry = self.readable(at, &repair, content)?;
        let (kind, moved) = match destination {
            Destination::DeadLetters => {
                let moved = self.dead_letter(at, entry, None, Reason::Operator, out);
                (JournalKind::SentToDeadLetters, moved.map_err(invalid)?)
            }
            Destination::Queue(to) => (JournalKind::Moved, self.move_to(at, entry, to, out)?),
            Destination::Origin => {
                let to = entry.content.header.dead_letter_queue();
                let to = to.ok_or_else(|| no_origin(&entry.content.header))?;
                (JournalKind::Moved, self.move_to(at, entry, to, out)?)
            }
        };
        let Repair { key, actor, queue, seq, expect_revision, reason, .. } = repair;
        self.queue_mut(at).forget_time(seq);
        let line = JournalLine {
            message: Some((seq, id.clone())),
            to: Some(moved.queue.clone()),
            revision: Some(expect_revision),
            reason,
            key: Some(key.clone()),
            ..JournalLine::new(kind, actor)
        };
        let journal = self.write_journal(at, line, out);
        self.cool(at);
        self.offer(at, out);
        let outcome = RepairOutcome {
            key,
            queue,
            seq,
            id,
            revision: Revision(0),
            state: MessageState::Ready,
            moved: Some(moved),
            journal,
            repeated: false,
        };
        self.keep_outcome(&outcome, out);
        Ok(outcome)
    }

    /// Why a message whose state allows it can't leave its queue now.
    pub(super) fn check_relocation(
        &self,
        at: QueueIndex,
        repair: &Repair,
        content: Arc<Content>,
        destination: Destination,
    ) -> Result<(), RepairRefusal> {
        let entry = self.readable(at, repair, content)?;
        let to = match destination {
            Destination::DeadLetters => {
                let record = &self.queue(at).record;
                return self.has_dead_letter_room(&record.name, &record.settings).map_err(invalid);
            }
            Destination::Queue(to) => to,
            Destination::Origin => {
                let to = entry.content.header.dead_letter_queue();
                to.ok_or_else(|| no_origin(&entry.content.header))?
            }
        };
        self.check_move(at, &[(to, (*entry.content).clone())])
    }

    fn check_move(
        &self,
        at: QueueIndex,
        message: &[(QueueName, Content); 1],
    ) -> Result<(), RepairRefusal> {
        let [(to, _)] = message;
        if self.queue(at).record.name == *to {
            return Err(invalid(format!("it is in {to} already; to try it again, retry it")));
        }
        self.admit_moved(message).map_err(|rejection| invalid(rejection.reason))
    }

    /// The message as it leaves. What stands for one that can't be read must not go in its place.
    fn readable(
        &self,
        at: QueueIndex,
        repair: &Repair,
        content: Arc<Content>,
    ) -> Result<Entry, RepairRefusal> {
        let queue = self.queue(at);
        let known = queue.window.get(repair.seq);
        if known.is_some_and(|entry| entry.unreadable) {
            let reason =
                "its content can't be read, so it can't go anywhere else; edit or cancel it";
            return Err(invalid(reason.to_owned()));
        }
        let accepted_at = known.map(|entry| entry.accepted_at).or_else(|| queue.oldest_at());
        let accepted_at = accepted_at.unwrap_or(self.now);
        Ok(Entry { seq: repair.seq, accepted_at, content, unreadable: false })
    }

    fn move_to(
        &mut self,
        at: QueueIndex,
        entry: Entry,
        to: QueueName,
        out: &mut Effects,
    ) -> Result<MovedTo, RepairRefusal> {
        let message = [(to, (*entry.content).clone())];
        self.check_move(at, &message)?;
        let [(to, content)] = message;
        let seq = entry.seq;
        let target = self.make_if_absent(&to, out);
        // Its id may be known there, from before it was dead-lettered; it comes all the same.
        let place = self.append(target, content, None, out);
        self.retire_entry(at, entry, Finish::Moved, out);
        self.forget_unwanted(at, seq);
        let error =
            WorkError::new("moved", format!("an operator moved the message; it is {to} {place}"));
        self.end_calls(at, seq, CallEnd::without_reply(CallStatus::Failed, error), out);
        self.touch(at);
        self.shed(target, out);
        self.offer(target, out);
        Ok(MovedTo { queue: to, seq: place })
    }
}

fn no_origin(header: &Header) -> RepairRefusal {
    let id = header.id();
    invalid(format!(
        "{id} is no dead letter: its header doesn't say where it comes from; name a queue to move it to"
    ))
}
