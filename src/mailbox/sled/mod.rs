//! `file`: the default mailbox, in sled. What [`Mailbox::sync`] has covered survives `kill -9` and power
//! loss; `layout` says which bytes are where, and why a crash leaves whole commits only.

mod backup;
mod cache;
mod catalogue;
mod changes;
mod closed;
mod codec;
mod commit;
mod compact;
mod cool;
#[cfg(test)]
mod damage;
mod data_file;
mod directory;
mod files;
mod filling;
mod find;
mod floor;
mod folder;
mod garbage;
mod gather;
mod generation;
mod index;
mod inspect;
mod journal;
mod keeper;
mod layout;
mod load;
mod maintain;
mod manifest;
mod mend;
mod progress;
mod queue_record;
mod raw;
mod read;
mod removed;
mod replay;
mod rotate;
mod salvage;
mod scan;
mod sealed;
mod segment;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod unreadable;
mod usage;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use self::folder::store_format;
pub use self::inspect::{BadBytes, PartCheck, QueueCheck, StoreCheck, check_store};

use self::cache::SegmentCache;
use self::changes::Changes;
use self::commit::LogEnd;
use self::compact::Compactor;
use self::index::Index;
use self::keeper::Job;
use self::maintain::Rest;
use self::read::Reach;
use self::store::Store;
use super::check::check;
use super::{Durable, Elsewhere, JournalFilter, Mailbox, MailboxError};
use crate::model::{
    Batch, Content, Generation, JournalEntry, MessageId, QueueId, QueueRecord, Recovered, Revision,
    RevisionRecord, Seq, StoredMessage,
};

/// How a [`SledMailbox`] is opened.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// What sled's page cache may hold, in bytes, for what is being written. Pages not written yet come on
    /// top.
    pub cache_bytes: u64,
    /// The same for each of the older parts that are open for reading.
    pub sealed_cache_bytes: u64,
    /// How many of the older parts stay open, of those that had to be: what messages say is read without.
    pub max_open_sealed: usize,
    /// The run's number becomes higher than this, also in a new store: what was exported from another store
    /// has been delivered under its numbers.
    pub after_run: Generation,
    /// A part is written until it has this size in bytes; then a new one is begun. Disk space is given back
    /// by whole parts. Also what an open part may take in RAM: sled's cache looks for what to drop so rarely
    /// that it keeps nearly all large values, whatever it is given.
    pub rotate_bytes: u64,
    /// What waits in a part that holds little else is written again, and the part deleted, while the store
    /// takes more than 1.25 times of what waits in it and so many bytes.
    pub compact_slack_bytes: u64,
    /// More segments (what was accepted in one commit) of which little waits than so many are merged: each
    /// takes some RAM.
    pub max_small_segments: u64,
}

impl Default for SledOptions {
    /// A cache for keys, not for payloads: an idle broker stays small, and recent segments are kept
    /// decoded beside it.
    fn default() -> Self {
        Self {
            cache_bytes: 8 * 1024 * 1024,
            sealed_cache_bytes: 1024 * 1024,
            max_open_sealed: 2,
            after_run: Generation(0),
            rotate_bytes: 32 * 1024 * 1024,
            compact_slack_bytes: 192 * 1024 * 1024,
            max_small_segments: 16 * 1024,
        }
    }
}

/// A mailbox in a folder of its own, held by one process at a time.
///
/// sled panics where it finds its file damaged or one of its threads dead; each call into it is guarded,
/// and a panic is an error like others. After an error of a write the store is broken: every further
/// append, sync and maintenance fails at once, reads go on. Dropping it and opening the folder again
/// recovers, also after a full disk.
#[derive(Debug)]
pub struct SledMailbox {
    index: RwLock<Index>,
    /// The queues' records as they were when the store was opened, for the first [`Mailbox::recover`]; none once
    /// anything was written.
    records: Mutex<Option<Vec<QueueRecord>>>,
    log_end: Mutex<LogEnd>,
    cache: SegmentCache,
    /// This run's number.
    run: u64,
    compactor: Mutex<Compactor>,
    /// The next queue or segment whose key is read to cool sled's cache; 0: that is not under way.
    cooling: AtomicU64,
    rest: Mutex<Rest>,
    /// Upkeep goes on once a thread of the store's has done its part.
    is_waiting: AtomicBool,
    store: Store,
}

impl SledMailbox {
    /// Opens the store in folder `path`, making it if it is not there. The run's number (`Recovered::generation`) has
    /// risen durably when this returns.
    ///
    /// Fails as [`MailboxError::Held`] when another process has it, `TooNew` when a later version made it,
    /// `Damaged` when a checksum is wrong.
    pub fn open(path: &Path, options: SledOptions) -> Result<Self, MailboxError> {
        match Self::open_as_it_is(path, &options) {
            Err(MailboxError::Damaged { what, .. }) => {
                Store::salvage(path, &what)?;
                Self::open_as_it_is(path, &options)
            }
            done => done,
        }
    }

    fn open_as_it_is(path: &Path, options: &SledOptions) -> Result<Self, MailboxError> {
        let store = Store::open(path, options)?;
        let log_end = Mutex::new(replay::replay(&store)?);
        let (index, records) = load::load(&store)?;
        let (index, records) = (RwLock::new(index), Mutex::new(Some(records)));
        store.begin_after(log_end.lock().unwrap_or_else(PoisonError::into_inner).commit)?;
        store.open_anew()?;
        let run = replay::raise_run(&store, options.after_run.0)?;
        store.sync()?;
        let (cache, is_waiting) = (SegmentCache::default(), AtomicBool::new(false));
        let (compactor, cooling, rest) = Default::default();
        let mailbox = Self {
            index,
            records,
            log_end,
            cache,
            run,
            compactor,
            cooling,
            rest,
            is_waiting,
            store,
        };
        mailbox.approach_heads();
        Ok(mailbox)
    }

    /// When this reaches 0, every write fails as if the process had ended; negative: never.
    #[cfg(test)]
    pub(super) fn writes_left(&self) -> std::sync::Arc<std::sync::atomic::AtomicI64> {
        self.store.writes_left()
    }

    /// Looks through the generations in which the queues' heads are, beside what goes on: the first deliveries need
    /// them.
    fn approach_heads(&self) {
        let first_ids = self.index().head_generations();
        for first_id in first_ids.into_iter().take(self.store.options.max_open_sealed) {
            self.store.keeper.ask(Job::Approach(first_id));
        }
    }

    /// Puts a checked batch in.
    fn write(
        &self,
        batch: &Batch,
        elsewhere: &BTreeMap<QueueId, Elsewhere>,
    ) -> Result<(), MailboxError> {
        self.store.check_sound("appending")?;
        drop(self.take_records());
        let mut log_end = self.log_end();
        let changes = Changes::of(batch, elsewhere, &self.index())?;
        let segments =
            log_end.write(&self.store, &changes).inspect_err(|_| self.store.set_broken())?;
        changes.apply(&segments, &mut self.index_mut());
        garbage::free_replaced();
        Ok(())
    }

    fn take_records(&self) -> Option<Vec<QueueRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A panic with a lock held can't leave the index half changed in a way that is served: it comes from
    /// a broken invariant, and the store is broken with it.
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(|poisoned| {
            self.store.set_broken();
            poisoned.into_inner()
        })
    }

    /// Held through every step of upkeep.
    fn compactor(&self) -> MutexGuard<'_, Compactor> {
        self.compactor.lock().unwrap_or_else(|poisoned| {
            self.store.set_broken();
            poisoned.into_inner()
        })
    }

    fn log_end(&self) -> MutexGuard<'_, LogEnd> {
        self.log_end.lock().unwrap_or_else(|poisoned| {
            self.store.set_broken();
            poisoned.into_inner()
        })
    }
}

impl Drop for SledMailbox {
    /// Best effort: without it, opening takes the end of the log for what a crash has left.
    fn drop(&mut self) {
        let commit = self.log_end().commit;
        if self.check_sound().is_ok()
            && let Err(error) = self.store.end_with(commit)
        {
            tracing::warn!(%error, "the store could not be closed in good order");
        }
    }
}

impl Mailbox for SledMailbox {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        let records = self.take_records();
        load::recovered(&self.store, &self.index(), records, self.run)
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        self.store.check_sound("appending")?;
        check(batch, &*self.index())?;
        self.write(batch, &BTreeMap::new())
    }

    fn sync(&self) -> Result<(), MailboxError> {
        self.store.sync()
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.read_messages(queue, from, max_messages, max_bytes, Reach::All)
    }

    fn read_ahead(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.read_messages(queue, from, max_messages, max_bytes, Reach::Near)
    }

    fn is_near(&self, queue: QueueId, from: Seq) -> bool {
        self.starts_near(queue, from)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        self.content_as_of(queue, seq, revision)
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        self.revision_records(queue, seq)
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        self.find_id(queue, id)
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        self.journal_page(before, max, of)
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        self.maintain_step()
    }

    fn set_spare(&self, bytes: u64) {
        self.store.spare.store(bytes, Ordering::Relaxed);
    }

    fn backup(&self, to: &Path) -> Result<(), MailboxError> {
        self.backup_to(to)
    }

    fn waits_for_upkeep(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed)
    }
}

impl Durable for SledMailbox {
    fn append_with_gaps(
        &self,
        batch: &Batch,
        elsewhere: &BTreeMap<QueueId, Elsewhere>,
    ) -> Result<(), MailboxError> {
        self.write(batch, elsewhere)
    }

    fn first_unfinished(&self, queue: QueueId, from: Seq) -> Option<Seq> {
        self.index().queues.get(&queue)?.first_unfinished(from.0).map(Seq)
    }

    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool {
        self.index().queues.get(&queue).is_some_and(|queue| queue.is_unfinished(seq.0))
    }

    fn waiting(&self, queue: QueueId) -> u64 {
        self.index().queues.get(&queue).map_or(0, |queue| queue.waiting())
    }

    fn last_journal(&self) -> u64 {
        self.index().last_journal
    }

    fn journal_from(&self, from: u64, max: usize) -> Result<Vec<JournalEntry>, MailboxError> {
        self.journal_page_from(from, max)
    }

    fn remove_journal(&self, numbers: &[u64]) -> Result<bool, MailboxError> {
        self.remove_entries(numbers)
    }

    fn check_sound(&self) -> Result<(), MailboxError> {
        self.store.check_sound("syncing")
    }
}
