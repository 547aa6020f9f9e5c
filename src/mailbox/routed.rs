//! Each queue's messages in RAM or in a durable store, message by message.

mod journal;
mod merge;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use self::journal::JournalBound;
use self::merge::merged;
use self::plan::{Home, Keeping, Plan, Planner};
use super::check::{Places, check};
use super::pack::Packing;
use super::{Durable, JournalFilter, Mailbox, MailboxError, MemoryMailbox};
use crate::model::{
    Batch, Content, JournalEntry, MessageId, QueueBacklog, QueueId, Recovered, Revision,
    RevisionRecord, Seq, StoredMessage,
};

/// Each message where its queue's settings want it; queue records, the journal and repairs' outcomes always in
/// the durable store. The order is by place, wherever a message waits.
///
/// * `file` and `redis`: all in the durable store (under which payloads may be kept elsewhere, see [`Durable`]).
///   `memory`: all in RAM. `mixed`: in RAM while nothing of the queue waits in the durable part and fewer than
///   `memory_messages`, and not more than [`crate::model::limits::DEFAULT_MEMORY_BYTES`], in RAM.
/// * After a restart a queue has what waited in its durable part; its next place is one that was never used. The
///   de-duplication window knows what was accepted there.
/// * When the durable store is opened again within the process ([`RoutedMailbox::reopened`]), nothing in RAM is
///   lost.
/// * When a queue's `mailbox` changes to a durable one, its messages in RAM are in the durable store with the same
///   commit. What waits there already stays until it is consumed: stronger than asked for, never weaker.
/// * A commit that only touches messages in RAM waits for no disk.
/// * Upkeep bounds the journal: the newest entries stay, and those of messages that wait, in RAM or not
///   ([`RoutedMailbox::keeping_journal`]).
#[derive(Debug)]
pub struct RoutedMailbox {
    memory: Arc<MemoryMailbox>,
    durable: Box<dyn Durable>,
    homes: RwLock<BTreeMap<QueueId, Home>>,
    /// Of `homes`.
    packing: Mutex<Packing>,
    /// Something was appended to the durable store since the last sync began.
    is_unsynced: AtomicBool,
    journal_bound: Mutex<JournalBound>,
}

impl RoutedMailbox {
    /// Over an open store.
    pub fn new(durable: impl Durable) -> Self {
        Self::reopened(durable, Arc::default())
    }

    /// Over an open store, with what the one before had in RAM, which takes no more batches.
    pub fn reopened(durable: impl Durable, memory: Arc<MemoryMailbox>) -> Self {
        let (homes, packing, is_unsynced, journal_bound) = Default::default();
        Self { memory, durable: Box::new(durable), homes, packing, is_unsynced, journal_bound }
    }

    /// The same, whose journal keeps the `newest` entries (at least one) and those of messages that wait; without this
    /// it is [`crate::model::limits::JOURNAL_ENTRIES`] of them.
    pub fn keeping_journal(self, newest: u64) -> Self {
        Self { journal_bound: Mutex::new(JournalBound::new(newest)), ..self }
    }

    fn journal_bound(&self) -> MutexGuard<'_, JournalBound> {
        self.journal_bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn homes(&self) -> RwLockReadGuard<'_, BTreeMap<QueueId, Home>> {
        self.homes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a part of the queue may be in RAM; it may while nothing is known of it yet.
    fn uses_memory(&self, queue: QueueId) -> bool {
        self.homes().get(&queue).is_none_or(|home| home.keeping.uses_memory())
    }

    /// What is in RAM of a queue knows which places are used, wherever their messages are.
    fn raise_places(&self, plan: &Plan) {
        for (queue, home) in plan.homes.iter().filter(|(_, home)| home.keeping.uses_memory()) {
            self.memory.raise(*queue, home.next);
        }
    }

    fn packing(&self) -> MutexGuard<'_, Packing> {
        self.packing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a queue when the store is opened; `backlog` becomes that of both parts.
    fn adopt(&self, backlog: &mut QueueBacklog) -> Home {
        let id = backlog.record.id;
        let keeping = Keeping::of(&backlog.record.settings);
        let reserved = backlog.next_seq;
        let durable = self.durable.waiting(id);
        if keeping.uses_memory() {
            match self.memory.part(id) {
                Some(part) => {
                    *backlog = merged(backlog.clone(), part);
                    self.memory.adopt(backlog.record.clone(), backlog.next_seq);
                }
                None => self.memory.adopt(backlog.record.clone(), reserved),
            }
        }
        Home { keeping, next: backlog.next_seq, reserved, durable }
    }
}

impl Places for RoutedMailbox {
    fn next_seq(&self, queue: QueueId) -> Option<Seq> {
        self.homes().get(&queue).map(|home| home.next)
    }

    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool {
        let home = self.homes().get(&queue).copied();
        let is_durable = home.is_none_or(|home| home.may_be_durable());
        is_durable && self.durable.is_unfinished(queue, seq) || self.memory.has(queue, seq)
    }

    fn last_journal(&self) -> u64 {
        self.durable.last_journal()
    }
}

impl Mailbox for RoutedMailbox {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        let mut recovered = self.durable.recover()?;
        let known: BTreeMap<QueueId, (Keeping, Seq)> = recovered
            .queues
            .iter()
            .map(|q| (q.record.id, (Keeping::of(&q.record.settings), q.next_seq)))
            .collect();
        // What the durable store doesn't know never became durable: a queue's number, or a place, is given out
        // again.
        self.memory.resume(
            |id| known.get(&id).is_some_and(|(keeping, _)| keeping.uses_memory()),
            |id, seq| {
                let is_set_aside = known.get(&id).is_some_and(|&(_, next)| seq < next);
                is_set_aside && !self.durable.is_unfinished(id, seq)
            },
        );
        // At once: put in one by one in order, the map's nodes would stay half empty.
        let homes = recovered.queues.iter_mut().map(|backlog| {
            self.journal_bound().know(&backlog.record.name, backlog.record.id);
            (backlog.record.id, self.adopt(backlog))
        });
        *self.homes.write().unwrap_or_else(PoisonError::into_inner) = homes.collect();
        *self.packing() = Packing::of(recovered.queues.len());
        Ok(recovered)
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        check(batch, self)?;
        let plan = Planner::new(&self.memory, &*self.durable, &self.homes()).plan(batch);
        // Before it is known whether the durable store takes the batch: if that fails, it may have it all the same when it
        // is opened again, and these places must not be used for others then.
        self.raise_places(&plan);
        // Also with nothing to do there: a broken store takes no more batches of any kind.
        self.durable.append_with_gaps(&plan.durable, &plan.elsewhere)?;
        self.memory.apply(&plan.memory);
        plan.moved.iter().for_each(|&queue| self.memory.set_aside(queue));
        // Those of queues that are new too.
        self.raise_places(&plan);
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        homes.extend(plan.homes);
        for queue in &plan.removed {
            homes.remove(queue);
        }
        drop(homes);
        self.journal_bound().take(batch);
        if !plan.durable.ops.is_empty() || !plan.elsewhere.is_empty() {
            self.is_unsynced.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), MailboxError> {
        if !self.is_unsynced.swap(false, Ordering::AcqRel) {
            return self.durable.check_sound();
        }
        let leaving = self.memory.leaving();
        self.durable.sync()?;
        self.memory.let_go(leaving);
        Ok(())
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        if self.uses_memory(queue) {
            self.read_both(queue, from, max_messages, max_bytes)
        } else {
            self.durable.read(queue, from, max_messages, max_bytes)
        }
    }

    fn read_ahead(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        if self.uses_memory(queue) {
            self.read_both(queue, from, max_messages, max_bytes)
        } else {
            self.durable.read_ahead(queue, from, max_messages, max_bytes)
        }
    }

    fn is_near(&self, queue: QueueId, from: Seq) -> bool {
        self.uses_memory(queue) || self.durable.is_near(queue, from)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        // RAM first: a message that moves meanwhile is in the durable store before it leaves RAM.
        match self.memory.content(queue, seq, revision)? {
            Some(content) => Ok(Some(content)),
            None => self.durable.content(queue, seq, revision),
        }
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        let revisions = self.memory.revisions(queue, seq)?;
        if revisions.is_empty() { self.durable.revisions(queue, seq) } else { Ok(revisions) }
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        let here = self.memory.find(queue, id)?;
        let there = self.durable.find(queue, id)?;
        Ok(match (here, there) {
            (Some(here), Some(there)) if here.0 == there.0 => Some(here.max(there)),
            (here, there) => here.or(there),
        })
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        self.durable.journal(before, max, of)
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        let has_more = self.durable.maintain()?;
        let waits = |queue, seq| Places::is_unfinished(self, queue, seq);
        let has_entries = self.journal_bound().step(&*self.durable, waits)?;
        if !has_more {
            let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
            self.packing().pack(&mut homes);
        }
        Ok(has_more || has_entries)
    }

    fn set_spare(&self, bytes: u64) {
        self.durable.set_spare(bytes);
    }

    fn backup(&self, to: &std::path::Path) -> Result<(), MailboxError> {
        self.durable.backup(to)
    }

    fn waits_for_upkeep(&self) -> bool {
        self.durable.waits_for_upkeep()
    }
}
