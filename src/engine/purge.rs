//! A queue is emptied by an operator's wish: what waits ends as cancelled, at once and for good.
//!
//! A cancel keeps a record until the next message is delivered, so that it can be taken back; with a backlog of a million that
//! would be a million records in RAM, and as many lines of the journal in the place of all others. So a purge is one line for
//! all the messages of a turn, and leaves nothing of them.

use std::sync::Arc;

use crate::model::{
    Actor, Finish, JournalKind, MessageState, Origin, Purged, QueueName, RepairRefusal, Staying,
    StoredMessage, limits,
};

use super::control::refused;
use super::journal::Entry as JournalLine;
use super::queues::QueueIndex;
use super::repair::{check_reason, invalid};
use super::reply::Ended;
use super::request::cancelled;
use super::window::Entry;
use super::{Effect, Effects, Engine};

impl Engine {
    pub(super) fn handle_purge(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        messages: &[StoredMessage],
        reason: &str,
        out: &mut Effects,
    ) {
        let effect = match self.purge(actor, name, messages, reason, out) {
            Ok(purged) => Effect::Purged { origin, purged },
            Err(refusal) => refused(origin, refusal),
        };
        out.effects.push(effect);
    }

    fn purge(
        &mut self,
        actor: Actor,
        name: QueueName,
        messages: &[StoredMessage],
        reason: &str,
        out: &mut Effects,
    ) -> Result<Purged, RepairRefusal> {
        let Some(at) = self.queues.by_name(&name) else {
            return Err(RepairRefusal::NoSuchQueue { queue: name });
        };
        if reason.trim().is_empty() {
            return Err(invalid("a purge needs a reason".to_owned()));
        }
        check_reason(reason)?;
        let mut purged = Purged::default();
        let mut going = Vec::new();
        for message in messages {
            match self.may_go(at, message, &actor) {
                Some(Ok(())) => going.push(self.entry_of(at, message)),
                Some(Err(reason)) => {
                    let (seq, id) = (message.seq, message.content.id().clone());
                    purged.stay.push(Staying { seq, id, reason });
                }
                None => {}
            }
        }
        purged.removed = going.len() as u64;
        if let (Some(first), Some(last)) = (going.first(), going.last()) {
            let by = actor.name.clone();
            let count = purged.removed;
            let mut reason =
                format!("{count} messages, places {} to {}: {reason}", first.seq, last.seq);
            limits::clip(&mut reason, limits::MAX_REASON_BYTES);
            let line = JournalLine { reason, ..JournalLine::new(JournalKind::QueuePurged, actor) };
            let journal = self.write_journal(at, line, out);
            self.take_out(at, going, journal, &by, out);
        }
        Ok(purged)
    }

    /// Whether a message waits and may go; `None` if it is out already.
    fn may_go(
        &self,
        at: QueueIndex,
        message: &StoredMessage,
        actor: &Actor,
    ) -> Option<Result<(), String>> {
        let (queue, seq) = (self.queue(at), message.seq);
        if !queue.is_unfinished(seq) {
            return None;
        }
        match queue.state_of(seq, self.now) {
            MessageState::Cancelled | MessageState::Done => return None,
            MessageState::Leased => return Some(Err("a worker has it now".to_owned())),
            MessageState::Scheduled
            | MessageState::Ready
            | MessageState::Waiting
            | MessageState::Blocked => {}
        }
        if let Err(held) = self.check_hold(at, seq, actor) {
            return Some(Err(held.to_string()));
        }
        let seen = message.record.as_ref().map(|record| record.revision).unwrap_or_default();
        if seen != queue.revision_of(seq) && message.unreadable.is_none() {
            return Some(Err("it was edited just now; purge again".to_owned()));
        }
        Some(Ok(()))
    }

    fn entry_of(&self, at: QueueIndex, message: &StoredMessage) -> Entry {
        let known = self.queue(at).window.get(message.seq);
        let content = known.map_or(&message.content, |entry| &entry.content);
        Entry {
            seq: message.seq,
            accepted_at: message.accepted_at,
            content: Arc::clone(content),
            unreadable: message.unreadable.is_some(),
        }
    }

    /// All leave before anybody hears of it: an answer may bring a message into this very queue.
    fn take_out(
        &mut self,
        at: QueueIndex,
        going: Vec<Entry>,
        journal: u64,
        by: &str,
        out: &mut Effects,
    ) {
        for entry in &going {
            let seq = entry.seq;
            self.queue_mut(at).forget_time(seq);
            let gone = Entry { content: Arc::clone(&entry.content), ..*entry };
            self.retire_entry(at, gone, Finish::Cancelled, out);
            self.queue_mut(at).uncommon.change().remember_out(seq);
        }
        self.touch(at);
        for Entry { seq, accepted_at, content, .. } in going {
            let ended = Ended { at, seq, accepted_at, content: &content, cancelled: Some(journal) };
            self.end_message(ended, cancelled(by), out);
            self.forget_unwanted(at, seq);
        }
        self.cool(at);
        self.offer(at, out);
    }
}
