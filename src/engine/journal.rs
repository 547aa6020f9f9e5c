//! Writing the journal: who did what, when, why.

use crate::model::{
    Actor, IdempotencyKey, JournalEntry, JournalKind, MessageId, Notice, Op, QueueName, Revision,
    Seq,
};

use super::queues::QueueIndex;
use super::{Effect, Effects, Engine};

/// A journal entry before it has its number and its time.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: JournalKind,
    pub(super) actor: Actor,
    pub(super) message: Option<(Seq, MessageId)>,
    pub(super) to: Option<QueueName>,
    pub(super) revision: Option<Revision>,
    pub(super) reason: String,
    pub(super) key: Option<IdempotencyKey>,
}

impl Entry {
    pub(super) fn new(kind: JournalKind, actor: Actor) -> Self {
        let reason = String::new();
        Self { kind, actor, message: None, to: None, revision: None, reason, key: None }
    }
}

impl Engine {
    /// Writes an entry about a queue, tells those who watch, and returns its number.
    pub(super) fn write_journal(&mut self, at: QueueIndex, entry: Entry, out: &mut Effects) -> u64 {
        let entry = self.keep_in_journal(at, entry, out);
        let number = entry.number;
        out.effects.push(Effect::Notice(Box::new(Notice::Journal { entry })));
        number
    }

    /// Writes an entry of which a notice of its own tells.
    pub(super) fn keep_in_journal(
        &mut self,
        at: QueueIndex,
        entry: Entry,
        out: &mut Effects,
    ) -> JournalEntry {
        self.last_journal = self.last_journal.saturating_add(1);
        let (seq, id) = entry.message.unzip();
        let entry = JournalEntry {
            number: self.last_journal,
            at: self.now,
            actor: entry.actor,
            kind: entry.kind,
            queue: self.queue(at).record.name.clone(),
            seq,
            id,
            to: entry.to,
            revision: entry.revision,
            reason: entry.reason,
            key: entry.key,
        };
        out.ops.push(Op::Journal(Box::new(entry.clone())));
        entry
    }
}
