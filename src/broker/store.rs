//! The store's threads: two commit (`committer`), three read. Never the sockets' executor.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;

use super::committer::{self, MAX_IN_FLIGHT};
use super::loads::serve_loads;
use super::meter::Meter;
use crate::mailbox::{DiskReserve, Mailbox, MailboxError, Room};
use crate::model::limits::MAX_QUEUES;
use crate::model::{Batch, Generation, MessageId, Origin, QueueId, Recovered, Seq, StoredMessage};

/// Opens the store. Called again after it broke; what was there before has been dropped by then.
pub type OpenStore = Box<dyn Fn() -> Result<Arc<dyn Mailbox>, MailboxError> + Send>;

/// Reads for operators that may wait: an operator has a few under way, so that these are dozens at once.
const MAX_READ_JOBS: usize = 256;
/// The batches in flight, one `Reopen` behind them, and `Stop`.
const STORE_JOBS: usize = MAX_IN_FLIGHT + 2;
/// The engine has at most one load under way for a queue; as many again may be left over from the engine
/// before it.
const MAX_LOADS: usize = 2 * MAX_QUEUES;
/// Lookups that may wait for the store; each may have to look through all ids.
const MAX_LOOKUPS: usize = 1024;

/// How long a stop waits for the threads: with the loop's and the sockets' limits it stays below the 5 s
/// in which the process must be gone.
const STOP_LIMIT: Duration = Duration::from_millis(800);

/// What the commit thread is asked.
pub(super) enum StoreJob {
    /// Append and sync: replied by `Committed`, perhaps together with the one before, or by `Failed`.
    Commit {
        batch: Batch,
        /// Its size, as the pipeline counts.
        bytes: u64,
    },
    /// Let go of the store, wait, open it again: replied by `Closed`, then by `Reopened` or `NotReopened`. All
    /// replies to earlier jobs come before.
    Reopen {
        /// How long to wait before.
        after: Duration,
        /// The disk was full: the ballast is given up.
        is_full: bool,
    },
    /// Let go of the store and end.
    Stop,
}

/// What the store's threads say to the loop.
pub(super) enum StoreReply {
    /// The oldest batches in flight are durable: so many.
    Committed { batches: usize },
    /// The store is broken. Told once; the batches in flight get no other reply, and nobody touches the
    /// store until `Reopen`.
    Failed(MailboxError),
    /// Nobody holds the broken store any more.
    Closed,
    /// The store could not be opened.
    NotReopened(MailboxError),
    /// A new store, and what is in it.
    Reopened(Recovered),
    /// The answer to a read for the engine of this run.
    Read(Generation, ReadAnswer),
    /// A read for the engine of this run failed.
    ReadFailed(Generation, MailboxError),
    /// There is less room on the disk, or more again.
    Room(Room),
    /// A thread of the store broke down: nothing comes from it any more.
    Died(&'static str),
}

/// A read for the engine.
pub(super) enum Load {
    Messages { queue: QueueId, from: Seq, max_messages: usize, max_bytes: usize },
    Find { origin: Origin, id: MessageId, queue: Option<QueueId> },
}

/// What it brought.
pub(super) enum ReadAnswer {
    Messages { queue: QueueId, from: Seq, messages: Vec<StoredMessage> },
    Found { origin: Origin, id: MessageId, place: Option<(QueueId, Seq)> },
}

/// The store as readers find it: empty while it is broken, so that nobody holds on to it.
pub(super) type Slot = Arc<RwLock<Option<Arc<dyn Mailbox>>>>;

pub(super) fn current(slot: &Slot) -> Option<Arc<dyn Mailbox>> {
    slot.read().unwrap_or_else(PoisonError::into_inner).clone()
}

pub(super) fn put(slot: &Slot, mailbox: Option<Arc<dyn Mailbox>>) {
    *slot.write().unwrap_or_else(PoisonError::into_inner) = mailbox;
}

/// A read for an operator; told `None` while the store is broken.
type ReadJob = Box<dyn FnOnce(Option<&dyn Mailbox>) + Send>;

/// Sends reads for operators to their threads, and has what the store's threads measure.
#[derive(Clone)]
pub(super) struct Reads {
    jobs: SyncSender<ReadJob>,
    slot: Slot,
    /// A long one is under way.
    is_aside_busy: Arc<AtomicBool>,
    meter: Arc<Meter>,
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reads")
    }
}

impl Reads {
    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Runs `job` on the readers' thread; `false` if too many wait, or the broker has stopped.
    pub(super) fn run(&self, job: impl FnOnce(Option<&dyn Mailbox>) + Send + 'static) -> bool {
        match self.jobs.try_send(Box::new(job)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Runs a long job on a thread of its own, so that other reads don't wait for it; `false` if one is under
    /// way, or the system gives no thread.
    pub(super) fn run_aside(
        &self,
        job: impl FnOnce(Option<&dyn Mailbox>) + Send + 'static,
    ) -> bool {
        if self.is_aside_busy.swap(true, Ordering::AcqRel) {
            return false;
        }
        let (slot, is_busy) = (Arc::clone(&self.slot), Arc::clone(&self.is_aside_busy));
        let run = move || {
            let mailbox = current(&slot);
            job(mailbox.as_deref());
            is_busy.store(false, Ordering::Release);
        };
        let started = std::thread::Builder::new().name("store-copy".to_owned()).spawn(run).is_ok();
        if !started {
            self.is_aside_busy.store(false, Ordering::Release);
        }
        started
    }
}

/// The loop's side of the store's threads.
pub(super) struct Store {
    jobs: SyncSender<StoreJob>,
    loads: mpsc::Sender<(Generation, Load)>,
    finds: mpsc::Sender<(Generation, Load)>,
    /// Each thread holds a sender of it: when all are gone, all threads have ended.
    alive: Receiver<Infallible>,
}

/// What starting the store's threads gives.
pub(super) struct Started {
    pub(super) store: Store,
    pub(super) replies: mpsc::Receiver<StoreReply>,
    pub(super) reads: Reads,
    pub(super) recovered: Recovered,
}

impl Store {
    /// Opens the store and starts its threads. Blocks while the store recovers. A full disk's reserve is given
    /// up for it: what waits can be worked off then.
    pub(super) fn start(
        open: OpenStore,
        mut reserve: Option<DiskReserve>,
    ) -> Result<Started, MailboxError> {
        let mailbox = match (open(), &mut reserve) {
            (Err(MailboxError::Full { .. }), Some(reserve)) => {
                reserve.give_up();
                open()?
            }
            (opened, _) => opened?,
        };
        let recovered = mailbox.recover()?;
        let slot: Slot = Arc::new(RwLock::new(Some(Arc::clone(&mailbox))));
        let (jobs, job_queue) = sync_channel(STORE_JOBS);
        // One reply for each job or load that is under way.
        let (reply, replies) = mpsc::channel(STORE_JOBS + MAX_LOADS + MAX_LOOKUPS);
        let (loads, load_queue) = mpsc::channel(MAX_LOADS);
        let (finds, find_queue) = mpsc::channel(MAX_LOOKUPS);
        let (reads, read_queue) = sync_channel(MAX_READ_JOBS);
        let meter = Arc::default();
        let (committer, syncer) =
            committer::pair(open, Arc::clone(&slot), mailbox, reply.clone(), reserve, &meter);
        // The operators' reader isn't waited for: it ends with the last handle.
        spawn("store-read", {
            let slot = Arc::clone(&slot);
            move || serve_reads(&read_queue, &slot)
        })?;
        let (living, alive) = sync_channel::<Infallible>(1);
        let counted = |name, run: Box<dyn FnOnce() + Send>| {
            let (living, reply) = (living.clone(), reply.clone());
            spawn(name, move || {
                if catch_unwind(AssertUnwindSafe(run)).is_err() {
                    // An error says that the loop has ended.
                    let _ = reply.blocking_send(StoreReply::Died(name));
                }
                drop(living);
            })
        };
        counted("store-sync", Box::new(move || syncer.run()))?;
        counted("store", Box::new(move || committer.run(&job_queue)))?;
        counted("store-load", {
            let (slot, reply) = (Arc::clone(&slot), reply.clone());
            Box::new(move || serve_loads(load_queue, &slot, &reply))
        })?;
        counted("store-find", {
            let (slot, reply) = (Arc::clone(&slot), reply.clone());
            Box::new(move || serve_loads(find_queue, &slot, &reply))
        })?;
        let reads = Reads { jobs: reads, slot, is_aside_busy: Arc::default(), meter };
        let store = Self { jobs, loads, finds, alive };
        Ok(Started { store, replies, reads, recovered })
    }

    /// Hands a job to the commit thread, which is free: the loop waits for each reply. `false`: it has ended.
    pub(super) fn send(&self, job: StoreJob) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// Starts a read for the engine of this run; `false` if too many wait.
    pub(super) fn load(&self, run: Generation, load: Load) -> bool {
        let queue = match load {
            Load::Messages { .. } => &self.loads,
            Load::Find { .. } => &self.finds,
        };
        queue.try_send((run, load)).is_ok()
    }

    /// Lets the threads end, and waits until the store is closed, but not for long: a flush that never
    /// returns, a store that is just being opened or a long lookup is left behind. What is durable is so
    /// already. Blocks meanwhile.
    pub(super) fn stop(self) {
        let Self { jobs, loads, finds, alive } = self;
        let _ = jobs.try_send(StoreJob::Stop);
        drop((jobs, loads, finds));
        if let Err(RecvTimeoutError::Timeout) = alive.recv_timeout(STOP_LIMIT) {
            tracing::warn!("the store's threads had not ended when the broker stopped");
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), MailboxError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop).map_err(|source: io::Error| MailboxError::Io {
        action: "starting a thread",
        path: name.to_owned(),
        source,
    })
}

fn serve_reads(queue: &Receiver<ReadJob>, slot: &Slot) {
    while let Ok(job) = queue.recv() {
        let mailbox = current(slot);
        job(mailbox.as_deref());
    }
}
