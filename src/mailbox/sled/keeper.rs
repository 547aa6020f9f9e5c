//! A thread for what takes long: making, opening, closing and deleting generations.

use std::collections::VecDeque;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::folder::io_error;
use super::garbage::free_all_replaced;
use super::generation::Generation;
use super::manifest::folder_name;
use super::sealed::{Removed, Sealed};
use crate::mailbox::MailboxError;

/// Jobs that may wait. One that finds no room is asked for again; deletions wait in [`Keeper::ask_surely`]'s list.
const MAX_JOBS: usize = 64;

/// How often it is looked whether readers have let go of a generation that is to be deleted: a read takes a
/// few milliseconds.
const LET_GO_PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) enum Job {
    /// Make the generation with this number, in `Keeper::next`.
    Make(u64),
    /// Sync the generation that is being filled.
    Sync(Arc<Generation>),
    /// Look through the sealed generation of this log id, ahead of need.
    Approach(u64),
    /// Close sealed generations that are open in excess.
    CloseSurplus,
    /// Delete a folder that is no part of the store, or not yet.
    Delete(Removed),
    /// Delete the sealed generation with this first id: it is not listed any more.
    DeleteSealed(u64),
}

/// The generation that is being prepared.
#[derive(Debug, Default)]
pub(super) enum Next {
    /// Nothing asked for, or its outcome was taken.
    #[default]
    None,
    Working,
    Made(Arc<Generation>),
    Synced,
    Failed(MailboxError),
}

/// The thread's handle; dropping it waits for what the thread is just doing.
#[derive(Debug)]
pub(super) struct Keeper {
    jobs: Option<SyncSender<Job>>,
    /// Jobs that found no room and must not be lost.
    late: Mutex<VecDeque<Job>>,
    /// [`Job::CloseSurplus`] waits already.
    closes: Arc<AtomicBool>,
    next: Arc<Outcome>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(
        store: &Path,
        cache_bytes: u64,
        sealed: &Arc<Sealed>,
    ) -> Result<Self, MailboxError> {
        let (jobs, queue) = sync_channel(MAX_JOBS);
        let next = Arc::new(Outcome::default());
        let closes = Arc::new(AtomicBool::new(false));
        let keeping = Keeping {
            store: store.to_owned(),
            cache_bytes,
            sealed: Arc::clone(sealed),
            next: Arc::clone(&next),
            closes: Arc::clone(&closes),
        };
        let thread = std::thread::Builder::new()
            .name("store-keep".to_owned())
            .spawn(move || keeping.run(&queue))
            .map_err(|source| io_error("starting a thread", store, source))?;
        let late = Mutex::default();
        Ok(Self { jobs: Some(jobs), late, closes, next, thread: Some(thread) })
    }

    /// Asks for a job; `false` if too many wait.
    pub(super) fn ask(&self, job: Job) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok())
    }

    /// Asks for a job that must be done: without room for it [`Keeper::ask_late`] asks again.
    pub(super) fn ask_surely(&self, job: Job) {
        self.late.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
        self.ask_late();
    }

    /// Asks for what found no room before, as far as there is some; `true` if all of it is asked for.
    pub(super) fn ask_late(&self) -> bool {
        let Some(jobs) = &self.jobs else { return false };
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(job) = late.pop_front() {
            if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
                jobs.try_send(job)
            {
                late.push_front(job);
                return false;
            }
        }
        true
    }

    /// Asks that what is open in excess be closed, unless that waits already: each read of such a generation asks.
    pub(super) fn ask_to_close(&self) {
        if !self.closes.swap(true, Ordering::AcqRel) && !self.ask(Job::CloseSurplus) {
            self.closes.store(false, Ordering::Release);
        }
    }

    /// Asks for a job whose outcome [`Keeper::take_next`] gives.
    pub(super) fn ask_next(&self, job: Job) -> bool {
        // A folder of the same name may have to go before.
        if !self.ask_late() {
            return false;
        }
        self.next.set(Next::Working);
        let is_taken = self.ask(job);
        if !is_taken {
            self.next.set(Next::None);
        }
        is_taken
    }

    /// Returns once the thread has done what `ask_next` asked for.
    #[cfg(test)]
    pub(super) fn wait_for_next(&self) {
        let next = self.next.locked();
        let is_working = |next: &mut Next| matches!(next, Next::Working);
        drop(self.next.changed.wait_while(next, is_working));
    }

    /// What came of the last [`Keeper::ask_next`]; `Working` as long as nothing did.
    pub(super) fn take_next(&self) -> Next {
        let mut next = self.next.locked();
        match &*next {
            Next::Working => Next::Working,
            Next::None | Next::Made(_) | Next::Synced | Next::Failed(_) => {
                std::mem::take(&mut next)
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps the store's generations has panicked");
        }
    }
}

/// Where the thread leaves what came of [`Keeper::ask_next`].
#[derive(Debug, Default)]
struct Outcome {
    next: Mutex<Next>,
    /// It is not `Working` any more.
    changed: Condvar,
}

impl Outcome {
    fn locked(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, next: Next) {
        *self.locked() = next;
        self.changed.notify_all();
    }
}

/// What the thread knows.
struct Keeping {
    store: PathBuf,
    cache_bytes: u64,
    sealed: Arc<Sealed>,
    next: Arc<Outcome>,
    closes: Arc<AtomicBool>,
}

impl Keeping {
    fn run(self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Make(number) => {
                    let made = self.make(number).map_or_else(Next::Failed, Next::Made);
                    self.next.set(made);
                }
                Job::Sync(generation) => {
                    let synced = generation.sync();
                    drop(generation);
                    self.next.set(synced.map_or_else(Next::Failed, |()| Next::Synced));
                }
                Job::Approach(id) => {
                    if let Err(error) = self.sealed.approach(id) {
                        tracing::warn!(%error, "a part of the store can't be read");
                    }
                }
                Job::CloseSurplus => self.closes.store(false, Ordering::Release),
                Job::Delete(removed) => delete(removed),
                Job::DeleteSealed(first_id) => {
                    if let Some(removed) = self.sealed.remove(first_id) {
                        delete(removed);
                    }
                }
            }
            self.sealed.close_surplus();
            free_all_replaced();
        }
    }

    fn make(&self, number: u64) -> Result<Arc<Generation>, MailboxError> {
        let folder = self.store.join(folder_name(number));
        remove_folder(&folder)?;
        let made = Generation::open(folder, number, self.cache_bytes)?;
        Ok(Arc::new(made.with_filling()))
    }
}

fn remove_folder(folder: &Path) -> Result<(), MailboxError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(io_error("deleting a part of the store that is not needed", folder, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn delete(Removed { folder, generation }: Removed) {
    if let Some(mut held) = generation {
        // Nobody finds it any more, but a read may be under way.
        while let Err(again) = Arc::try_unwrap(held).map(drop) {
            held = again;
            std::thread::sleep(LET_GO_PAUSE);
        }
    }
    if let Err(error) = remove_folder(&folder) {
        tracing::warn!(%error, "it is deleted when the store is opened again");
    }
}

#[cfg(test)]
mod tests {
    use super::super::SledOptions;
    use super::super::manifest::Manifest;
    use super::*;

    fn start(store: &Path) -> Keeper {
        let manifest = Manifest::first(folder_name(1));
        let sealed = Sealed::new(store, &SledOptions::default(), &manifest);
        Keeper::start(store, 1 << 20, &Arc::new(sealed)).unwrap()
    }

    #[test]
    fn a_deletion_that_finds_no_room_is_done_later() {
        let store = tempfile::tempdir().unwrap();
        let keeper = start(store.path());
        let folder = |name| store.path().join(name);
        let held = Generation::open(folder("gen-1"), 1, 1 << 20).map(Arc::new).unwrap();
        let generation = Some(Arc::clone(&held));
        // The thread waits for a reader, and meanwhile all room is taken.
        keeper.ask_surely(Job::Delete(Removed { folder: folder("gen-1"), generation }));
        while keeper.ask(Job::CloseSurplus) {}
        fs::create_dir(folder("gen-2")).unwrap();
        keeper.ask_surely(Job::Delete(Removed { folder: folder("gen-2"), generation: None }));
        drop(held);
        while folder("gen-2").exists() {
            keeper.ask_late();
            std::thread::yield_now();
        }
        assert!(!folder("gen-1").exists());
    }

    #[test]
    fn that_too_much_is_open_is_asked_for_once() {
        let store = tempfile::tempdir().unwrap();
        let keeper = start(store.path());
        let held = Generation::open(store.path().join("gen-1"), 1, 1 << 20).map(Arc::new).unwrap();
        let (folder, generation) = (store.path().join("gen-1"), Some(Arc::clone(&held)));
        keeper.ask_surely(Job::Delete(Removed { folder, generation }));
        (0..10 * MAX_JOBS).for_each(|_| keeper.ask_to_close());
        assert!(keeper.ask(Job::CloseSurplus), "there is room");
        drop(held);
    }
}
