//! A mailbox that fails when it is told to, for tests of what stands above it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Durable, Elsewhere, JournalFilter, Mailbox, MailboxError, MemoryMailbox};
use crate::model::{
    Batch, Content, Generation, JournalEntry, MessageId, QueueId, Recovered, Revision,
    RevisionRecord, Seq, StoredMessage,
};

/// Wraps a mailbox and fails, delays, or forgets as asked. Once a fault has struck it is broken, as the
/// contract of [`Mailbox`] says: appends and syncs fail until it is dropped.
#[derive(Debug)]
pub(crate) struct FaultMailbox<M> {
    inner: M,
    plan: Mutex<Plan>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Plan {
    appends: u64,
    syncs: u64,
    maintenance: u64,
    fail_append: Option<u64>,
    fail_sync: Option<u64>,
    broken: bool,
    held: bool,
    waiting: u64,
}

impl<M: Mailbox> FaultMailbox<M> {
    /// A mailbox that works until it is told otherwise.
    pub(crate) fn new(inner: M) -> Self {
        Self { inner, plan: Mutex::default(), changed: Condvar::new() }
    }

    /// The `nth` append from now on (0: the next) fails; nothing of it is kept.
    pub(crate) fn fail_append(&self, nth: u64) {
        let mut plan = self.plan();
        plan.fail_append = Some(plan.appends + nth);
    }

    /// The `nth` sync from now on (0: the next) fails.
    pub(crate) fn fail_sync(&self, nth: u64) {
        let mut plan = self.plan();
        plan.fail_sync = Some(plan.syncs + nth);
    }

    /// Syncs wait from now on, until [`FaultMailbox::release_syncs`].
    pub(crate) fn hold_syncs(&self) {
        self.plan().held = true;
    }

    /// Lets waiting and later syncs through.
    pub(crate) fn release_syncs(&self) {
        self.plan().held = false;
        self.changed.notify_all();
    }

    /// A sync that waits fails when it is released.
    pub(crate) fn fail_held_sync(&self) {
        self.plan().broken = true;
    }

    /// Returns once a sync waits.
    pub(crate) fn wait_for_held_sync(&self) {
        let plan = self.plan();
        drop(self.changed.wait_while(plan, |plan| plan.waiting == 0));
    }

    /// Returns once so many appends have begun in all.
    pub(crate) fn wait_for_appends(&self, appends: u64) {
        let plan = self.plan();
        drop(self.changed.wait_while(plan, |plan| plan.appends < appends));
    }

    /// Appends and syncs begun so far, failed ones among them.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let plan = self.plan();
        (plan.appends, plan.syncs)
    }

    /// Steps of maintenance so far.
    pub(crate) fn maintenance(&self) -> u64 {
        self.plan().maintenance
    }

    fn begin_append(&self) -> Result<(), MailboxError> {
        let mut plan = self.plan();
        plan.broken |= plan.fail_append == Some(plan.appends);
        plan.appends += 1;
        self.changed.notify_all();
        if plan.broken { Err(injected("append")) } else { Ok(()) }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn injected(action: &'static str) -> MailboxError {
    MailboxError::Io {
        action,
        path: "fault".to_owned(),
        source: std::io::Error::other("injected by the test"),
    }
}

impl<M: Mailbox> Mailbox for FaultMailbox<M> {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        self.inner.recover()
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        self.begin_append()?;
        self.inner.append(batch)
    }

    fn sync(&self) -> Result<(), MailboxError> {
        let mut plan = self.plan();
        let fails = plan.fail_sync == Some(plan.syncs);
        plan.syncs += 1;
        plan.waiting += 1;
        self.changed.notify_all();
        plan =
            self.changed.wait_while(plan, |plan| plan.held).unwrap_or_else(PoisonError::into_inner);
        plan.waiting -= 1;
        plan.broken |= fails;
        if plan.broken {
            return Err(injected("sync"));
        }
        drop(plan);
        self.inner.sync()
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.inner.read(queue, from, max_messages, max_bytes)
    }

    fn read_ahead(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.inner.read_ahead(queue, from, max_messages, max_bytes)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        self.inner.content(queue, seq, revision)
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        self.inner.revisions(queue, seq)
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        self.inner.find(queue, id)
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        self.inner.journal(before, max, of)
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        self.plan().maintenance += 1;
        self.inner.maintain()
    }

    fn set_spare(&self, bytes: u64) {
        self.inner.set_spare(bytes);
    }
}

impl<M: Durable> Durable for FaultMailbox<M> {
    fn append_with_gaps(
        &self,
        batch: &Batch,
        elsewhere: &BTreeMap<QueueId, Elsewhere>,
    ) -> Result<(), MailboxError> {
        self.begin_append()?;
        self.inner.append_with_gaps(batch, elsewhere)
    }

    fn first_unfinished(&self, queue: QueueId, from: Seq) -> Option<Seq> {
        self.inner.first_unfinished(queue, from)
    }

    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool {
        self.inner.is_unfinished(queue, seq)
    }

    fn waiting(&self, queue: QueueId) -> u64 {
        self.inner.waiting(queue)
    }

    fn last_journal(&self) -> u64 {
        self.inner.last_journal()
    }

    fn journal_from(&self, from: u64, max: usize) -> Result<Vec<JournalEntry>, MailboxError> {
        self.inner.journal_from(from, max)
    }

    fn remove_journal(&self, numbers: &[u64]) -> Result<bool, MailboxError> {
        self.inner.remove_journal(numbers)
    }

    fn check_sound(&self) -> Result<(), MailboxError> {
        if self.plan().broken { Err(injected("sync")) } else { Ok(()) }
    }
}

/// A durable store that may lose what it was not told to sync, in whole batches from the end. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lossy(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// Every batch that is kept, to make the store of again.
    log: Vec<(Batch, BTreeMap<QueueId, Elsewhere>)>,
    synced: usize,
    store: Arc<MemoryMailbox>,
    opened: u64,
}

impl Lossy {
    /// Loses what was not synced, but keeps the first `kept` of those batches.
    pub(crate) fn crash(&self, kept: usize) {
        let mut held = self.held();
        let left = held.synced + kept;
        held.log.truncate(left);
        held.synced = held.log.len();
        held.store = Arc::default();
        for (batch, elsewhere) in &held.log {
            held.store.append_with_gaps(batch, elsewhere).unwrap();
        }
    }

    /// Batches that a crash may lose.
    pub(crate) fn unsynced(&self) -> usize {
        let held = self.held();
        held.log.len() - held.synced
    }

    fn held(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Arc<MemoryMailbox> {
        Arc::clone(&self.held().store)
    }
}

impl Mailbox for Lossy {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        let mut held = self.held();
        held.opened += 1;
        Ok(Recovered { generation: Generation(held.opened), ..held.store.recover()? })
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        self.append_with_gaps(batch, &BTreeMap::new())
    }

    fn sync(&self) -> Result<(), MailboxError> {
        let mut held = self.held();
        held.synced = held.log.len();
        Ok(())
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.store().read(queue, from, max_messages, max_bytes)
    }

    fn read_ahead(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.store().read_ahead(queue, from, max_messages, max_bytes)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        self.store().content(queue, seq, revision)
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        self.store().revisions(queue, seq)
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        self.store().find(queue, id)
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        self.store().journal(before, max, of)
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        Ok(false)
    }
}

impl Durable for Lossy {
    fn append_with_gaps(
        &self,
        batch: &Batch,
        elsewhere: &BTreeMap<QueueId, Elsewhere>,
    ) -> Result<(), MailboxError> {
        let mut held = self.held();
        held.log.push((batch.clone(), elsewhere.clone()));
        held.store.append_with_gaps(batch, elsewhere)
    }

    fn first_unfinished(&self, queue: QueueId, from: Seq) -> Option<Seq> {
        self.store().first_unfinished(queue, from)
    }

    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool {
        self.store().is_unfinished(queue, seq)
    }

    fn waiting(&self, queue: QueueId) -> u64 {
        self.store().waiting(queue)
    }

    fn last_journal(&self) -> u64 {
        self.store().last_journal()
    }

    fn journal_from(&self, from: u64, max: usize) -> Result<Vec<JournalEntry>, MailboxError> {
        self.store().journal_from(from, max)
    }

    /// A crash brings back what was removed since the store was made.
    fn remove_journal(&self, numbers: &[u64]) -> Result<bool, MailboxError> {
        self.store().remove_journal(numbers)
    }

    fn check_sound(&self) -> Result<(), MailboxError> {
        Ok(())
    }
}

mod tests {
    use super::super::conformance::sample::{Q, appends, batch, places, put_queue};
    use super::*;

    #[test]
    fn a_failed_append_breaks_the_store_and_keeps_nothing_of_the_batch() {
        let mailbox = FaultMailbox::new(MemoryMailbox::new());
        mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
        mailbox.fail_append(1);
        mailbox.append(&appends(Q, 1..=2)).unwrap();
        assert!(mailbox.append(&appends(Q, 3..=4)).is_err());
        assert!(mailbox.append(&appends(Q, 3..=4)).is_err());
        assert!(mailbox.sync().is_err());
        assert_eq!(places(&mailbox, Q), [1, 2]);
    }

    #[test]
    fn a_held_sync_waits_until_it_is_released() {
        let mailbox = FaultMailbox::new(MemoryMailbox::new());
        mailbox.hold_syncs();
        std::thread::scope(|threads| {
            let sync = threads.spawn(|| mailbox.sync());
            mailbox.wait_for_held_sync();
            assert!(!sync.is_finished());
            mailbox.release_syncs();
            sync.join().unwrap().unwrap();
        });
    }
}
