//! The commit's two threads: batch *k+1* is appended by one while the other makes batch *k* durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

use super::clock::Stopwatch;
use super::meter::Meter;
use super::store::{OpenStore, Slot, StoreJob, StoreReply, put};
use crate::mailbox::{DiskReserve, Mailbox, MailboxError, Room};
use crate::model::Batch;

/// Batches that the store may have at once: one is appended while the one before is synced. More would
/// only wait, and a batch that still gathers takes in more than one that waits.
pub(super) const MAX_IN_FLIGHT: usize = 2;
/// A batch of fewer bytes is synced by the thread that appended it: waking another one costs more than
/// appending the next such batch meanwhile would save. With 128 KiB publishing is as fast as without any
/// overlap on two cores that client and broker share (184,600/s against 184,100/s, best of four).
pub(super) const OVERLAP_BYTES: u64 = 128 * 1024;
/// Commits between two rounds of tidying up while no job lets the thread rest: rare enough that small
/// commits don't pay for it, often enough that what is finished doesn't pile up.
const MAINTAIN_EVERY: u32 = 8;
/// How long a store that waits for a thread of its own is left alone.
const UPKEEP_PAUSE: Duration = Duration::from_millis(20);
/// Steps of one such round, some milliseconds in all. If more is left the next commit is followed by a
/// round too: four steps give back more than the largest batch puts in, so it catches up under any load.
const MAINTAIN_STEPS: u32 = 4;

/// Between two looks at the disk's free space while nothing is committed: somebody else's file grows by some
/// hundred MB meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes committed between two looks while there is work: a look costs microseconds, and at most so much
/// more than what is on its way is written after the watermark is passed.
const LOOK_EVERY_BYTES: u64 = 4 * 1024 * 1024;
/// What a commit counts beside its bytes: many small ones are looked after often enough too.
const LOOK_COMMIT_BYTES: u64 = 64 * 1024;

/// What a step of tidying up counts: it writes at most a quarter of it.
const LOOK_STEP_BYTES: u64 = 512 * 1024;

/// Between two looks whether a reader has finished with a store that is being closed.
const CLOSE_PAUSE: Duration = Duration::from_millis(2);

/// What both threads know of the store that is open.
#[derive(Default)]
struct Shared {
    /// Batches appended that the sync thread has not answered for.
    unsynced: AtomicUsize,
    /// An append or a sync failed: neither is done again before the store has been opened anew.
    broken: AtomicBool,
}

impl Shared {
    /// Tells the loop once, whichever thread finds it first.
    fn failure(&self, error: MailboxError) -> Option<StoreReply> {
        let is_first = !self.broken.swap(true, Ordering::AcqRel);
        is_first.then_some(StoreReply::Failed(error))
    }
}

/// What the sync thread is asked, in order.
enum SyncJob {
    /// A batch was appended to this store; since when the thread that appended it had it.
    Sync(Arc<dyn Mailbox>, Stopwatch),
    /// Say when all before is over and no store is held any more.
    LetGo(SyncSender<()>),
}

/// The thread that appends, opens and tidies up.
pub(super) struct Committer {
    open: OpenStore,
    slot: Slot,
    mailbox: Option<Arc<dyn Mailbox>>,
    reply: mpsc::Sender<StoreReply>,
    syncs: SyncSender<SyncJob>,
    shared: Arc<Shared>,
    /// Commits since the store was last tidied up.
    untidied: u32,
    /// The disk's reserve, if it has one, and what the loop knows of it.
    reserve: Option<DiskReserve>,
    room: Room,
    /// Bytes committed since the disk was last looked at.
    unlooked_bytes: u64,
    meter: Arc<Meter>,
}

/// The thread that syncs. It ends with its [`Committer`].
pub(super) struct Syncer {
    jobs: Receiver<SyncJob>,
    reply: mpsc::Sender<StoreReply>,
    shared: Arc<Shared>,
    meter: Arc<Meter>,
}

/// Both threads' sides over an open store.
pub(super) fn pair(
    open: OpenStore,
    slot: Slot,
    mailbox: Arc<dyn Mailbox>,
    reply: mpsc::Sender<StoreReply>,
    reserve: Option<DiskReserve>,
    meter: &Arc<Meter>,
) -> (Committer, Syncer) {
    // The batches in flight, and a `LetGo` behind them.
    let (syncs, jobs) = sync_channel(MAX_IN_FLIGHT + 1);
    let shared = Arc::new(Shared::default());
    let (of_syncer, meter) = (Arc::clone(meter), Arc::clone(meter));
    let syncer =
        Syncer { jobs, reply: reply.clone(), shared: Arc::clone(&shared), meter: of_syncer };
    let committer = Committer {
        open,
        slot,
        mailbox: Some(mailbox),
        reply,
        syncs,
        shared,
        untidied: 0,
        reserve,
        room: Room::Enough,
        unlooked_bytes: 0,
        meter,
    };
    (committer, syncer)
}

impl Committer {
    /// Serves until it is told to stop or the loop is gone; the store is closed then.
    pub(super) fn run(mut self, jobs: &Receiver<StoreJob>) {
        self.look();
        while let Some(job) = self.next_job(jobs) {
            let reply = match job {
                StoreJob::Commit { batch, bytes } => {
                    let reply = self.commit(&batch, bytes);
                    self.unlooked_bytes += bytes + LOOK_COMMIT_BYTES;
                    reply
                }
                StoreJob::Reopen { after, is_full } => {
                    self.close_for_all();
                    if self.reply.blocking_send(StoreReply::Closed).is_err() {
                        break;
                    }
                    match jobs.recv_timeout(after) {
                        Err(RecvTimeoutError::Timeout) => Some(self.reopen(is_full)),
                        // The loop waits for this reply: it can only want the thread to stop.
                        Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
                StoreJob::Stop => break,
            };
            if reply.is_some_and(|reply| self.reply.blocking_send(reply).is_err()) {
                break;
            }
            if self.unlooked_bytes >= LOOK_EVERY_BYTES {
                self.look();
            }
            self.tidy_up_under_load();
        }
        self.close();
    }

    /// Nobody holds the store afterwards: waits for readers too.
    fn close_for_all(&mut self) {
        let held = self.mailbox.as_ref().map(Arc::downgrade);
        self.close();
        while held.as_ref().is_some_and(|held| held.strong_count() > 0) {
            std::thread::sleep(CLOSE_PAUSE);
        }
    }

    /// Nobody holds the store afterwards but a reader who is about to finish. Waits for a sync under way.
    fn close(&mut self) {
        put(&self.slot, None);
        self.mailbox = None;
        let (done, is_done) = sync_channel(1);
        if self.syncs.send(SyncJob::LetGo(done)).is_ok() {
            // An error says that the thread is gone, and its store with it.
            let _ = is_done.recv();
        }
    }

    /// Waits for a job; meanwhile the store tidies up in small steps, as long as it has something to do,
    /// and the disk is looked at.
    fn next_job(&mut self, jobs: &Receiver<StoreJob>) -> Option<StoreJob> {
        loop {
            match jobs.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            if self.tidy_up(1) {
                if self.unlooked_bytes >= LOOK_EVERY_BYTES {
                    self.look();
                }
                continue;
            }
            let waits = self.mailbox.as_ref().is_some_and(|mailbox| mailbox.waits_for_upkeep());
            if self.reserve.is_none() && !waits {
                return jobs.recv().ok();
            }
            match jobs.recv_timeout(if waits { UPKEEP_PAUSE } else { LOOK_EVERY }) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.look(),
            }
        }
    }

    /// Looks at the disk's free space; tells the store what upkeep may take of it, and the loop what is new to it.
    fn look(&mut self) {
        self.unlooked_bytes = 0;
        let Some(reserve) = &mut self.reserve else { return };
        let room = reserve.look();
        if let Some(mailbox) = &self.mailbox {
            mailbox.set_spare(reserve.spare_bytes());
        }
        if std::mem::replace(&mut self.room, room) != room {
            // An error says that the loop has ended: the next job will say so too.
            let _ = self.reply.blocking_send(StoreReply::Room(room));
        }
    }

    /// After a commit: the next may be waiting already, again and again, and yet disk and index must not
    /// grow with what is finished.
    fn tidy_up_under_load(&mut self) {
        self.untidied += 1;
        if self.untidied >= MAINTAIN_EVERY && !self.tidy_up(MAINTAIN_STEPS) {
            self.untidied = 0;
        }
    }

    /// At most `steps` steps; whether there is more to do.
    fn tidy_up(&mut self, steps: u32) -> bool {
        let Some(mailbox) = &self.mailbox else { return false };
        for _ in 0..steps {
            self.unlooked_bytes += LOOK_STEP_BYTES;
            if self.shared.broken.load(Ordering::Acquire) {
                return false;
            }
            match mailbox.maintain() {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    if let Some(failed) = self.shared.failure(error) {
                        // An error says that the loop has ended: the next job will say so too.
                        let _ = self.reply.blocking_send(failed);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Appends; the reply, unless the sync thread gives it.
    fn commit(&self, batch: &Batch, bytes: u64) -> Option<StoreReply> {
        let Some(mailbox) = &self.mailbox else {
            return self.shared.failure(MailboxError::Inconsistent {
                what: "a commit while the store is closed".to_owned(),
            });
        };
        if self.shared.broken.load(Ordering::Acquire) {
            return None; // The loop has been told.
        }
        let since = Stopwatch::start();
        if let Err(error) = mailbox.append(batch) {
            return self.shared.failure(error);
        }
        self.meter.batch_ops.note(batch.ops.len() as u64);
        self.meter.batch_bytes.note(bytes);
        if bytes < OVERLAP_BYTES && self.shared.unsynced.load(Ordering::Acquire) == 0 {
            return match self.meter.sync(&**mailbox) {
                Ok(()) => {
                    self.meter.commit_nanos.note(since.nanos());
                    Some(StoreReply::Committed { batches: 1 })
                }
                Err(error) => self.shared.failure(error),
            };
        }
        self.shared.unsynced.fetch_add(1, Ordering::AcqRel);
        match self.syncs.send(SyncJob::Sync(Arc::clone(mailbox), since)) {
            Ok(()) => None,
            Err(_) => self.shared.failure(MailboxError::Inconsistent {
                what: "the thread that syncs has ended".to_owned(),
            }),
        }
    }

    fn reopen(&mut self, is_full: bool) -> StoreReply {
        self.shared.broken.store(false, Ordering::Release);
        if is_full && let Some(reserve) = &mut self.reserve {
            reserve.give_up();
        }
        self.look();
        let opened = (self.open)().and_then(|mailbox| Ok((mailbox.recover()?, mailbox)));
        match opened {
            Ok((recovered, mailbox)) => {
                if let Some(reserve) = &self.reserve {
                    mailbox.set_spare(reserve.spare_bytes());
                }
                put(&self.slot, Some(Arc::clone(&mailbox)));
                self.mailbox = Some(mailbox);
                StoreReply::Reopened(recovered)
            }
            Err(error) => StoreReply::NotReopened(error),
        }
    }
}

impl Syncer {
    /// Serves until its [`Committer`] is gone.
    pub(super) fn run(self) {
        let mut kept = None;
        while let Some(job) = kept.take().or_else(|| self.jobs.recv().ok()) {
            match job {
                SyncJob::LetGo(done) => drop(done.send(())),
                SyncJob::Sync(mailbox, since) => {
                    // One sync covers all that was appended before it.
                    let mut batches = vec![since];
                    while let Ok(job) = self.jobs.try_recv() {
                        match job {
                            SyncJob::Sync(_, since) => batches.push(since),
                            SyncJob::LetGo(_) => {
                                kept = Some(job);
                                break;
                            }
                        }
                    }
                    let reply = self.sync(&*mailbox, &batches);
                    drop(mailbox);
                    if reply.is_some_and(|reply| self.reply.blocking_send(reply).is_err()) {
                        return;
                    }
                    self.shared.unsynced.fetch_sub(batches.len(), Ordering::AcqRel);
                }
            }
        }
    }

    fn sync(&self, mailbox: &dyn Mailbox, batches: &[Stopwatch]) -> Option<StoreReply> {
        if self.shared.broken.load(Ordering::Acquire) {
            return None; // The loop has been told; nothing that it had in flight is released any more.
        }
        match self.meter.sync(mailbox) {
            Ok(()) => {
                batches.iter().for_each(|since| self.meter.commit_nanos.note(since.nanos()));
                Some(StoreReply::Committed { batches: batches.len() })
            }
            Err(error) => self.shared.failure(error),
        }
    }
}

#[cfg(test)]
mod tests;
