//! The store's generations, seen as one: where a key is written and where it is read.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ::sled::IVec;

use super::SledOptions;
use super::closed;
use super::codec::Corrupt;
use super::folder::{self, Lock, io_error, sync_folder};
use super::garbage::free_replaced;
use super::generation::Generation;
use super::keeper::{Job, Keeper};
use super::layout::{VALUE_SLOT, ids_key, log_key};
use super::manifest::{GenerationEntry, Manifest};
use super::rotate::Rotation;
use super::salvage::{Role, Unopened, finish_swaps};
use super::sealed::{Removed, Sealed};
use super::usage::GenerationUse;
use crate::mailbox::MailboxError;

/// An open store: the generation that is written, and those that are only read.
#[derive(Debug)]
pub(super) struct Store {
    /// First: its thread has ended before anything is closed.
    pub(super) keeper: Keeper,
    /// None once it could not be opened anew: the store is broken then.
    active: RwLock<Option<Active>>,
    pub(super) sealed: Arc<Sealed>,
    manifest: Mutex<Manifest>,
    pub(super) rotation: Mutex<Rotation>,
    pub(super) options: SledOptions,
    pub(super) path: PathBuf,
    /// Which folder `path` was when the store was opened.
    identity: (u64, u64),
    is_broken: AtomicBool,
    /// Bytes that upkeep may take of the disk before it gives any back.
    pub(super) spare: AtomicU64,
    /// The newest commit of this run that is written whole, and the newest that is synced; 0: none.
    written: AtomicU64,
    synced: AtomicU64,
    /// Writes until one fails; negative: never.
    #[cfg(test)]
    writes_left: Arc<std::sync::atomic::AtomicI64>,
    /// Last: given back when sled is closed.
    _lock: Lock,
}

/// The generation that is written.
#[derive(Debug, Clone)]
pub(super) struct Active {
    /// Its log's ids begin here.
    pub(super) first_id: u64,
    pub(super) generation: Arc<Generation>,
    /// What its file held when the store was opened, in bytes.
    pub(super) bytes_before: u64,
}

impl Store {
    pub(super) fn open(path: &Path, options: &SledOptions) -> Result<Self, MailboxError> {
        let at = |action| move |source| io_error(action, path, source);
        std::fs::create_dir_all(path).map_err(at("making the store's folder"))?;
        let lock = folder::lock(path)?;
        finish_swaps(path)?;
        let manifest = folder::prepare(path)?;
        // What a rename or a new folder of the last run has done must not come undone any more.
        for folder in [path, path.parent().unwrap_or(path)] {
            sync_folder(folder).map_err(at("syncing the store's folder"))?;
        }
        let entry = manifest.active();
        let folder = path.join(&entry.folder);
        let closed_at = closed::read(path)?;
        let role = Role::Active { first_id: entry.first_id, closed_at };
        Unopened { folder: &folder, role }.make_sound()?;
        let generation = Generation::open(folder, entry.number, options.cache_bytes)?;
        let active = Active {
            first_id: entry.first_id,
            bytes_before: generation.file_bytes(),
            generation: Arc::new(generation),
        };
        let sealed = Arc::new(Sealed::new(path, options, &manifest));
        let store = Self {
            keeper: Keeper::start(path, options.cache_bytes, &sealed)?,
            active: RwLock::new(Some(active)),
            sealed,
            manifest: Mutex::new(manifest),
            rotation: Mutex::default(),
            options: options.clone(),
            path: path.to_owned(),
            identity: identity(path)?,
            is_broken: AtomicBool::new(false),
            spare: AtomicU64::new(u64::MAX),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            #[cfg(test)]
            writes_left: Arc::new((-1).into()),
            _lock: lock,
        };
        store.delete_unlisted()?;
        Ok(store)
    }

    /// Opens the active generation anew, unless somebody reads it. Nothing is in sled's cache then: it
    /// keeps nearly all of what was written and of what a scan of the whole `state` reads, in pieces of all sizes.
    pub(super) fn open_anew(&self) -> Result<(), MailboxError> {
        self.sync()?;
        let mut active = self.active.write().unwrap_or_else(PoisonError::into_inner);
        if active.as_ref().is_some_and(|active| Arc::strong_count(&active.generation) > 1) {
            return Ok(());
        }
        if let Some(Active { first_id, generation, bytes_before }) = active.take() {
            let bytes_before = bytes_before + generation.written();
            drop(generation);
            let GenerationEntry { folder, number, .. } = self.begin();
            let generation = self.write("opening anew", || {
                Generation::open(self.path.join(folder), number, self.options.cache_bytes)
            })?;
            *active = Some(Active { first_id, generation: Arc::new(generation), bytes_before });
        }
        Ok(())
    }

    /// Puts an active generation that sled can't open or read aside, and what is sound of it in its place.
    pub(super) fn salvage(path: &Path, why: &str) -> Result<(), MailboxError> {
        let _lock = folder::lock(path)?;
        let manifest = folder::prepare(path)?;
        let active = manifest.active();
        let role = Role::Active { first_id: active.first_id, closed_at: closed::read(path)? };
        Unopened { folder: &path.join(&active.folder), role }.salvage(why)
    }

    /// Nothing has been written since the store was closed in good order: the commits that there were then
    /// must be there still, up to `newest`. From now on there may be more.
    pub(super) fn begin_after(&self, newest: u64) -> Result<(), MailboxError> {
        if let Some(closed_at) = closed::read(&self.path)?.filter(|&closed_at| newest < closed_at) {
            let what =
                format!("it was closed after commit {closed_at}, and only {newest} is there");
            return Err(self.damaged(Corrupt(what)));
        }
        closed::remove(&self.path)
    }

    /// Says, durably, that all is written and synced up to commit `newest`.
    pub(super) fn end_with(&self, newest: u64) -> Result<(), MailboxError> {
        self.sync()?;
        // Another store may have been put in its place, as a compaction does.
        if identity(&self.path)? != self.identity {
            return Ok(());
        }
        closed::write(&self.path, newest)
    }

    /// Folders that a crash has left behind: not a part of the store yet, or not any more.
    fn delete_unlisted(&self) -> Result<(), MailboxError> {
        let manifest = self.manifest();
        for name in folder::folders(&self.path)? {
            if !manifest.generations.iter().any(|entry| entry.folder == name) {
                let folder = self.path.join(name);
                self.keeper.ask_surely(Job::Delete(Removed { folder, generation: None }));
            }
        }
        Ok(())
    }

    pub(super) fn active(&self) -> Result<Active, MailboxError> {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        active.clone().ok_or_else(|| self.broken("using"))
    }

    pub(super) fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the active generation began.
    pub(super) fn begin(&self) -> GenerationEntry {
        self.manifest().active().clone()
    }

    /// Every generation by its first id, for the index to fill.
    pub(super) fn generations(&self) -> BTreeMap<u64, GenerationUse> {
        let manifest = self.manifest();
        let first_ids = manifest.generations.iter().map(|entry| entry.first_id);
        first_ids.map(|first_id| (first_id, GenerationUse::default())).collect()
    }

    pub(super) fn set_active(&self, active: Active) {
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = Some(active);
    }

    /// The generation that has or had log id `id`; `None` if it has been deleted.
    fn generation_of(&self, id: u64) -> Result<Option<Arc<Generation>>, MailboxError> {
        let active = self.active()?;
        if id >= active.first_id {
            return Ok(Some(active.generation));
        }
        let generation = self.sealed.get(id)?;
        if self.sealed.has_surplus() {
            self.keeper.ask_to_close();
        }
        Ok(generation)
    }

    /// Can log values from `id` on, up to the next generation's, be read without waiting?
    pub(super) fn is_near(&self, id: u64) -> bool {
        let is_active = self.active().is_ok_and(|active| id >= active.first_id);
        is_active || self.sealed.is_near(id)
    }

    /// Log values with these ids, ascending, are about to be read.
    pub(super) fn expect(&self, ids: &[u64]) {
        let active = self.active().map_or(0, |active| active.first_id);
        self.sealed.expect(&ids[..ids.partition_point(|&id| id < active)]);
    }

    /// Writes: an error breaks the store.
    pub(super) fn write<T>(
        &self,
        action: &'static str,
        f: impl FnOnce() -> Result<T, MailboxError>,
    ) -> Result<T, MailboxError> {
        self.check_sound(action)?;
        #[cfg(test)]
        if self.writes_left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.set_broken();
            let source = io::Error::other("injected by the test");
            return Err(io_error(action, &self.path, source));
        }
        f().inspect_err(|_| self.set_broken())
    }

    /// The write after `writes` further ones fails, as if the process ended before it.
    #[cfg(test)]
    pub(super) fn fail_after_writes(&self, writes: i64) {
        self.writes_left.store(writes, Ordering::Relaxed);
    }

    /// What counts down to the write that fails.
    #[cfg(test)]
    pub(super) fn writes_left(&self) -> Arc<std::sync::atomic::AtomicI64> {
        Arc::clone(&self.writes_left)
    }

    /// Puts a value into `log`.
    pub(super) fn put_log(&self, key: [u8; 9], value: impl Into<IVec>) -> Result<(), MailboxError> {
        let generation = self.active()?.generation;
        self.write("writing", || generation.insert(&generation.log, &key, value))
    }

    /// Puts a value into `state`.
    pub(super) fn put_state(&self, key: &[u8], value: impl Into<IVec>) -> Result<(), MailboxError> {
        let value = value.into();
        let generation = self.active()?.generation;
        self.write("writing", || generation.insert(&generation.state, key, value.clone()))?;
        match self.copy_of(key) {
            Some(next) => self.write("copying", || next.insert(&next.state, key, value)),
            None => Ok(()),
        }
    }

    /// Removes a key of `state`.
    pub(super) fn remove_state(&self, key: &[u8]) -> Result<(), MailboxError> {
        let generation = self.active()?.generation;
        self.write("removing", || generation.remove(&generation.state, key))?;
        match self.copy_of(key) {
            Some(next) => self.write("removing", || next.remove(&next.state, key)),
            None => Ok(()),
        }
    }

    pub(super) fn get_state(&self, key: &[u8]) -> Result<Option<IVec>, MailboxError> {
        let generation = self.active()?.generation;
        generation.get(&generation.state, key)
    }

    /// A log value, if it is there; an empty one is not.
    pub(super) fn log_value(&self, id: u64) -> Result<Option<IVec>, MailboxError> {
        if id < self.active()?.first_id
            && let Some(value) = self.sealed.value(id)
        {
            return Ok(Some(value));
        }
        let Some(generation) = self.generation_of(id)? else { return Ok(None) };
        let value = generation.get(&generation.log, &log_key(id, VALUE_SLOT))?;
        free_replaced();
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// The ids of a segment, if they are there.
    pub(super) fn ids_value(&self, segment: u64) -> Result<Option<IVec>, MailboxError> {
        let Some(generation) = self.generation_of(segment)? else { return Ok(None) };
        generation.get(&generation.state, &ids_key(segment))
    }

    /// All keys of `state` that begin with `prefix`, in order.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], IVec) -> Result<(), MailboxError>,
    ) -> Result<(), MailboxError> {
        let generation = self.active()?.generation;
        let mut items = generation.state.scan_prefix(prefix);
        while let Some((key, value)) = generation.read(|| items.next().transpose())? {
            each(&key, value)?;
        }
        Ok(())
    }

    /// All written so far is on the disk. What a generation held when it was sealed already is.
    pub(super) fn sync(&self) -> Result<(), MailboxError> {
        let written = self.written.load(Ordering::Acquire);
        let generation = self.active()?.generation;
        self.write("flushing", || generation.sync())?;
        self.synced.fetch_max(written, Ordering::AcqRel);
        free_replaced();
        Ok(())
    }

    /// The newest commit of this run that is known to be synced; 0: none.
    pub(super) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// This commit is written, with all that belongs to it.
    pub(super) fn set_written(&self, commit: u64) {
        self.written.store(commit, Ordering::Release);
    }

    /// Replaces the manifest durably.
    pub(super) fn write_manifest(&self, manifest: &Manifest) -> Result<(), MailboxError> {
        manifest.write(&self.path, |action, step| {
            self.write(action, || step().map_err(|source| io_error(action, &self.path, source)))
        })
    }

    pub(super) fn check_sound(&self, action: &'static str) -> Result<(), MailboxError> {
        if !self.is_broken.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(self.broken(action))
    }

    fn broken(&self, action: &'static str) -> MailboxError {
        let source = io::Error::other("an earlier error has broken the store; open it again");
        MailboxError::Io { action, path: self.path.display().to_string(), source }
    }

    /// May upkeep take so many bytes of the disk now?
    pub(super) fn can_spare(&self, bytes: u64) -> bool {
        self.spare.load(Ordering::Relaxed) >= bytes
    }

    pub(super) fn set_broken(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    pub(super) fn damaged(&self, Corrupt(what): Corrupt) -> MailboxError {
        MailboxError::Damaged { path: self.path.display().to_string(), what }
    }
}

/// Tells a folder from others, whatever its name is.
fn identity(folder: &Path) -> Result<(u64, u64), MailboxError> {
    let metadata = std::fs::metadata(folder);
    let metadata =
        metadata.map_err(|source| io_error("looking at the store's folder", folder, source))?;
    Ok((metadata.dev(), metadata.ino()))
}
