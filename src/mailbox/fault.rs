//! A mailbox that fails when it is told to, for tests of what stands above it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{JournalFilter, Mailbox, MailboxError, MemoryMailbox};
use crate::model::{
    Batch, Content, JournalEntry, MessageId, QueueId, Recovered, Revision, RevisionRecord, Seq,
    StoredMessage,
};

/// Wraps a mailbox and fails, delays, or forgets as asked. Once a fault has struck it is broken, as the
/// contract of [`Mailbox`] says: appends and syncs fail until it is dropped.
#[derive(Debug)]
pub struct FaultMailbox<M> {
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
    pub fn new(inner: M) -> Self {
        Self { inner, plan: Mutex::default(), changed: Condvar::new() }
    }

    /// The `nth` append from now on (0: the next) fails; nothing of it is kept.
    pub fn fail_append(&self, nth: u64) {
        let mut plan = self.plan();
        plan.fail_append = Some(plan.appends + nth);
    }

    /// The `nth` sync from now on (0: the next) fails.
    pub fn fail_sync(&self, nth: u64) {
        let mut plan = self.plan();
        plan.fail_sync = Some(plan.syncs + nth);
    }

    /// Syncs wait from now on, until [`FaultMailbox::release_syncs`].
    pub fn hold_syncs(&self) {
        self.plan().held = true;
    }

    /// Lets waiting and later syncs through.
    pub fn release_syncs(&self) {
        self.plan().held = false;
        self.changed.notify_all();
    }

    /// A sync that waits fails when it is released.
    pub fn fail_held_sync(&self) {
        self.plan().broken = true;
    }

    /// Returns once a sync waits.
    pub fn wait_for_held_sync(&self) {
        let plan = self.plan();
        drop(self.changed.wait_while(plan, |plan| plan.waiting == 0));
    }

    /// Returns once so many appends have begun in all.
    pub fn wait_for_appends(&self, appends: u64) {
        let plan = self.plan();
        drop(self.changed.wait_while(plan, |plan| plan.appends < appends));
    }

    /// Appends and syncs begun so far, failed ones among them.
    pub fn counts(&self) -> (u64, u64) {
        let plan = self.plan();
        (plan.appends, plan.syncs)
    }

    /// Steps of maintenance so far.
    pub fn maintenance(&self) -> u64 {
        self.plan().maintenance
    }

    /// What is wrapped.
    pub fn into_inner(self) -> M {
        self.inner
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
        let mut plan = self.plan();
        plan.broken |= plan.fail_append == Some(plan.appends);
        plan.appends += 1;
        self.changed.notify_all();
        if plan.broken {
            return Err(injected("append"));
        }
        drop(plan);
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
}

/// RAM that forgets what was not synced when it "crashes": batches wait beside the store until `sync`
/// and are dropped by [`CrashMailbox::crash`]. Reads see them, as the contract says. It keeps every batch
/// for as long as it lives: for tests only.
#[derive(Debug, Default)]
pub struct CrashMailbox {
    now: MemoryMailbox,
    batches: Mutex<Batches>,
}

#[derive(Debug, Default)]
struct Batches {
    synced: Vec<Batch>,
    appended: Vec<Batch>,
}

impl CrashMailbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a restart after a crash finds: every synced batch, and the first `survivors` of the others.
    pub fn crash(self, survivors: usize) -> Result<Self, MailboxError> {
        let batches = self.batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut kept = batches.synced;
        kept.extend(batches.appended.into_iter().take(survivors));
        let now = MemoryMailbox::new();
        // The generation rises over the crash as it does when a store is opened.
        for _ in 0..self.now.recover()?.generation.0 - 1 {
            now.recover()?;
        }
        for batch in &kept {
            now.append(batch)?;
        }
        Ok(Self { now, batches: Mutex::new(Batches { synced: kept, appended: Vec::new() }) })
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox for CrashMailbox {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        self.now.recover()
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        let mut batches = self.batches();
        self.now.append(batch)?;
        batches.appended.push(batch.clone());
        Ok(())
    }

    fn sync(&self) -> Result<(), MailboxError> {
        let mut batches = self.batches();
        let appended = std::mem::take(&mut batches.appended);
        batches.synced.extend(appended);
        Ok(())
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.now.read(queue, from, max_messages, max_bytes)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        self.now.content(queue, seq, revision)
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        self.now.revisions(queue, seq)
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        self.now.find(queue, id)
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        self.now.journal(before, max, of)
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        self.now.maintain()
    }
}

#[cfg(test)]
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

    #[test]
    fn a_crash_drops_what_was_not_synced_and_the_generation_rises() {
        let mailbox = CrashMailbox::new();
        let before = mailbox.recover().unwrap().generation;
        mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
        mailbox.append(&appends(Q, 1..=2)).unwrap();
        mailbox.sync().unwrap();
        mailbox.append(&appends(Q, 3..=3)).unwrap();
        mailbox.append(&appends(Q, 4..=4)).unwrap();
        assert_eq!(places(&mailbox, Q), [1, 2, 3, 4]);
        let mailbox = mailbox.crash(1).unwrap();
        assert_eq!(places(&mailbox, Q), [1, 2, 3]);
        assert!(mailbox.recover().unwrap().generation > before);
    }
}
