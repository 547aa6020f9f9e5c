//! One generation: a sled database of its own, with its errors and panics made ours.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::sled::{Db, IVec, Tree};

use super::data_file::DataFile;
use super::files;
use super::filling::Filling;
use super::folder::{io_error, sync_folder};
use super::layout::{MAX_VALUE_BYTES, SLED_SEGMENT_BYTES};
use crate::mailbox::MailboxError;

/// sled's threads may hold its file for a moment after it was dropped: how often and after which pause an
/// open is tried again. Our own lock already says that no other process has it.
const REOPEN_TRIES: u32 = 200;
const REOPEN_PAUSE: Duration = Duration::from_millis(10);

const STATE: &str = "state";

/// After changes of so many bytes all is synced. sled writes up to four times as much, since it writes a page of
/// sixteen values anew after ten changes, and again when it splits it: that is one segment of its log at most.
const MAX_UNSYNCED_BYTES: u64 = SLED_SEGMENT_BYTES as u64 / 4;

/// What a write takes in sled's file beside key and value, about.
const BYTES_A_WRITE: usize = 48;

/// An open sled database: two trees, and the handle that makes them durable.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) log: Tree,
    pub(super) state: Tree,
    folder: PathBuf,
    data: DataFile,
    /// Bytes written and bytes read by key since it was opened, about.
    written: AtomicU64,
    bytes_read: AtomicU64,
    /// What `written` was when sled was last made to look what it can drop.
    cooled: AtomicU64,
    /// How far sled's log was in the file when the last sync began, in bytes.
    synced: AtomicI64,
    /// Bytes of the values that were put in, replaced and removed since then.
    unsynced: AtomicU64,
    /// What was written to `state` of late and sled doesn't have yet, in a generation that nobody reads yet.
    filling: Mutex<Option<Filling>>,
    db: Db,
    /// Last: it is dropped after all of sled's.
    _closing: Closing,
}

/// Waits, when it is dropped, until sled's threads have let go of a database's file. They cut off what is free at its end
/// after the database was dropped, and who reads the file meanwhile finds it shorter than it was.
#[derive(Debug)]
pub(super) struct Closing(pub(super) PathBuf);

impl Drop for Closing {
    fn drop(&mut self) {
        wait_for_lock(&self.0.join("db"), || std::thread::sleep(REOPEN_PAUSE));
    }
}

/// sled has its file locked. One that is not there or can't be locked is not waited for.
fn wait_for_lock(file: &Path, mut pause: impl FnMut()) {
    let Ok(file) = fs::File::open(file) else { return };
    for _ in 0..REOPEN_TRIES {
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => pause(),
            Ok(()) | Err(fs::TryLockError::Error(_)) => return,
        }
    }
}

impl Generation {
    /// Opens what is in `folder`, or makes it. The one place where sled opens a database: what is to be found
    /// out about its files before sled reads them, replays its log and cuts its tail belongs right here.
    pub(super) fn open(
        folder: PathBuf,
        number: u64,
        cache_bytes: u64,
    ) -> Result<Self, MailboxError> {
        let config = ::sled::Config::new()
            .path(&folder)
            .segment_size(SLED_SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None);
        let clearing = files::remove_unfinished(&folder).and_then(|()| files::sync_log(&folder));
        clearing.map_err(|source| io_error("clearing sled's folder", &folder, source))?;
        let closing = Closing(folder.clone());
        let db = open_sled(&config, &folder)?;
        let tree = |name: &str| guard(&folder, "opening a tree", || db.open_tree(name.as_bytes()));
        let (log, state) = (tree("log")?, tree(STATE)?);
        let at = |action| {
            let folder = &folder;
            move |source| io_error(action, folder, source)
        };
        files::sync(&folder).map_err(at("syncing sled's parameters"))?;
        let data = DataFile::open(&folder.join("db")).map_err(at("opening sled's file"))?;
        for folder in [&folder, folder.parent().unwrap_or(&folder)] {
            sync_folder(folder).map_err(at("syncing a folder"))?;
        }
        Ok(Self {
            number,
            log,
            state,
            folder,
            data,
            written: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            cooled: AtomicU64::new(0),
            synced: AtomicI64::new(0),
            unsynced: AtomicU64::new(0),
            filling: Mutex::new(None),
            db,
            _closing: closing,
        })
    }

    /// Before it is synced for the first time, nothing is read from it, and much is written to `state` at once.
    pub(super) fn with_filling(self) -> Self {
        Self { filling: Mutex::new(Some(Filling::default())), ..self }
    }

    pub(super) fn insert(
        &self,
        tree: &Tree,
        key: &[u8],
        value: impl Into<IVec>,
    ) -> Result<(), MailboxError> {
        let value = value.into();
        if value.len() > MAX_VALUE_BYTES {
            let what =
                format!("a stored value has {} bytes; a page would become a blob", value.len());
            return Err(MailboxError::Inconsistent { what });
        }
        self.change(tree, key, Some(value))
    }

    pub(super) fn remove(&self, tree: &Tree, key: &[u8]) -> Result<(), MailboxError> {
        self.change(tree, key, None)
    }

    fn change(&self, tree: &Tree, key: &[u8], value: Option<IVec>) -> Result<(), MailboxError> {
        let mut filling = self.filling();
        if let Some(gathered) = filling.as_mut().filter(|_| tree.name() == STATE) {
            gathered.add(key, value);
            return if gathered.is_full() { self.put_gathered(gathered) } else { Ok(()) };
        }
        drop(filling);
        self.change_now(tree, key, value)
    }

    fn change_now(&self, tree: &Tree, key: &[u8], value: Option<IVec>) -> Result<(), MailboxError> {
        self.sync_full_segments()?;
        let len = value.as_ref().map_or(0, |value| value.len());
        self.count(key.len() + len);
        let before = match value {
            Some(value) => guard(&self.folder, "writing", || tree.insert(key, value))?,
            None => guard(&self.folder, "removing", || tree.remove(key))?,
        };
        let bytes = len + before.map_or(0, |value| value.len());
        self.unsynced.fetch_add(bytes as u64, Ordering::AcqRel);
        Ok(())
    }

    /// Every change of it is one call.
    fn filling(&self) -> MutexGuard<'_, Option<Filling>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_gathered(&self, gathered: &mut Filling) -> Result<(), MailboxError> {
        gathered.take().try_for_each(|(key, value)| self.change_now(&self.state, &key, value))
    }

    pub(super) fn get(&self, tree: &Tree, key: &[u8]) -> Result<Option<IVec>, MailboxError> {
        let value = self.read(|| tree.get(key))?;
        let bytes = value.as_ref().map_or(0, |value| value.len());
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(value)
    }

    pub(super) fn read<T>(&self, f: impl FnOnce() -> ::sled::Result<T>) -> Result<T, MailboxError> {
        guard(&self.folder, "reading", f)
    }

    /// All written so far is on the disk: sled's flush alone leaves file metadata and the device's cache
    /// (storage.md), so one `fdatasync` of its file comes after it.
    pub(super) fn sync(&self) -> Result<(), MailboxError> {
        // With the lock held: what is written meanwhile to the same keys comes after it.
        let mut filling = self.filling();
        if let Some(mut gathered) = filling.take() {
            self.put_gathered(&mut gathered)?;
        }
        drop(filling);
        self.sync_now()
    }

    fn sync_now(&self) -> Result<(), MailboxError> {
        self.unsynced.store(0, Ordering::Release);
        guard(&self.folder, "flushing", || self.db.flush().map(drop))?;
        let written = self.log_end();
        let position = |at: i64| u64::try_from(at).unwrap_or(0);
        self.data.extend(position(self.synced.load(Ordering::Acquire)), position(written));
        self.data.sync().map_err(|source| io_error("syncing", &self.folder, source))?;
        self.synced.fetch_max(written, Ordering::AcqRel);
        Ok(())
    }

    /// Syncs if a segment of sled's log has been filled since the last sync, or may be on its way to the file.
    ///
    /// sled writes into a segment again once all its pages have newer versions in segments that are full and,
    /// as it believes, stable: `sync_file_range` has returned. That is at the earliest when the one after the
    /// next full segment is begun (`SegmentAccountant::stabilize`). If those newer versions are not really
    /// synced by then, a power cut may lose them and keep what was written over the old ones; and sled would take
    /// a torn segment before them for whole. So before each write every full segment is synced.
    fn sync_full_segments(&self) -> Result<(), MailboxError> {
        let segment = |position: i64| position / SLED_SEGMENT_BYTES as i64;
        let is_filled = segment(self.log_end()) > segment(self.synced.load(Ordering::Acquire));
        if is_filled || self.unsynced.load(Ordering::Acquire) >= MAX_UNSYNCED_BYTES {
            self.sync_now()?;
        }
        Ok(())
    }

    /// How far sled's log is in the file, as a position in the log, in bytes.
    fn log_end(&self) -> i64 {
        self.db.context.pagecache.log.stable_offset()
    }

    fn count(&self, bytes: usize) {
        self.written.fetch_add((bytes + BYTES_A_WRITE) as u64, Ordering::Relaxed);
    }

    /// Bytes written since it was opened, about.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Have so many bytes been written since [`Generation::set_cooled`]?
    pub(super) fn is_warm(&self, bytes: u64) -> bool {
        self.written() >= self.cooled.load(Ordering::Relaxed) + bytes
    }

    /// Have so many bytes been written or read since it was opened?
    pub(super) fn is_used(&self, bytes: u64) -> bool {
        self.written() + self.bytes_read() >= bytes
    }

    /// From now on sled's cache is made to drop what was written.
    pub(super) fn set_cooled(&self) {
        self.cooled.store(self.written(), Ordering::Relaxed);
    }

    /// Bytes read by key since it was opened, about: sled's cache may hold all of them.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// The length of sled's file in bytes.
    pub(super) fn file_bytes(&self) -> u64 {
        self.data.bytes()
    }
}

/// The length of sled's file of a generation that need not be open, in bytes.
pub(super) fn file_bytes(folder: &Path) -> u64 {
    fs::metadata(folder.join("db")).map_or(0, |file| file.len())
}

/// sled panics where it finds its file damaged or a thread of its own dead; that is an error like others.
pub(super) fn guard<T>(
    path: &Path,
    action: &'static str,
    f: impl FnOnce() -> ::sled::Result<T>,
) -> Result<T, MailboxError> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(sled_error(action, path, error)),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no text");
            let what = format!("sled panicked while {action}: {text}");
            Err(MailboxError::Damaged { path: path.display().to_string(), what })
        }
    }
}

fn sled_error(action: &'static str, folder: &Path, error: ::sled::Error) -> MailboxError {
    let path = folder.display().to_string();
    match error {
        ::sled::Error::Io(source) => io_error(action, folder, source),
        ::sled::Error::Corruption { at, .. } => {
            let what = format!("sled found a wrong checksum while {action}, at {at:?}");
            MailboxError::Damaged { path, what }
        }
        source => MailboxError::Sled { action, path, source },
    }
}

fn open_sled(config: &::sled::Config, path: &Path) -> Result<Db, MailboxError> {
    let mut tries = 0;
    loop {
        match guard(path, "opening sled", || config.open()) {
            Err(MailboxError::Io { source, .. })
                if tries < REOPEN_TRIES && source.to_string().contains("acquire lock") =>
            {
                tries += 1;
                std::thread::sleep(REOPEN_PAUSE);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_waited_for_until_sled_has_let_go_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let generation = Generation::open(folder.path().join("gen-1"), 1, 1 << 20).unwrap();
        let file = generation.folder.join("db");
        let (mut held, mut pauses) = (Some(generation.db.clone()), 0);
        // The handle that is left is what a thread of sled's has.
        drop((generation.log, generation.state, generation.db));
        wait_for_lock(&file, || {
            pauses += 1;
            held.take_if(|_| pauses == 3);
        });
        assert!(held.is_none() && pauses >= 3, "{pauses}");
    }

    #[test]
    fn full_segments_are_synced_before_sled_may_use_others_again() {
        let folder = tempfile::tempdir().unwrap();
        let generation = Generation::open(folder.path().join("gen-1"), 1, 1 << 20).unwrap();
        let mut value = vec![7; MAX_VALUE_BYTES];
        let segment = |position: i64| position / SLED_SEGMENT_BYTES as i64;
        for n in 0..400u32 {
            // The same few keys again and again, and never a sync by the caller.
            value[..4].copy_from_slice(&n.to_be_bytes());
            generation
                .insert(&generation.state, &(n % 20).to_be_bytes(), value.as_slice())
                .unwrap();
            let synced = generation.synced.load(Ordering::Acquire);
            assert!(segment(generation.log_end()) <= segment(synced) + 2);
        }
        // sled writes on threads of its own; when all is written, the next write must find full segments.
        generation.db.flush().unwrap();
        generation.insert(&generation.state, b"last", b"".as_slice()).unwrap();
        let synced = generation.synced.load(Ordering::Acquire);
        assert!(segment(synced) > 0 && segment(synced) == segment(generation.log_end()));
    }

    /// Fills a generation with values of these lengths, and changes some as commits do meanwhile; bytes that sled wrote
    /// for it, when they are gathered and when not.
    fn fill(lengths: impl Iterator<Item = usize> + Clone) -> [usize; 2] {
        [true, false].map(|is_gathered| {
            let folder = tempfile::tempdir().unwrap();
            let generation = Generation::open(folder.path().join("gen-2"), 2, 1 << 20).unwrap();
            let generation = if is_gathered { generation.with_filling() } else { generation };
            let mut model = std::collections::BTreeMap::new();
            let put = |key: [u8; 4], value: &[u8]| {
                generation.insert(&generation.state, &key, value).unwrap();
                (key, value.to_vec())
            };
            for (n, len) in (0_u32..).zip(lengths.clone()) {
                model.extend([put(n.to_be_bytes(), &vec![7; len])]);
                if n % 100 == 0 {
                    model.extend([put((n / 2).to_be_bytes(), b"new")]);
                    let key = (n / 3).to_be_bytes();
                    generation.remove(&generation.state, &key).unwrap();
                    model.remove(&key);
                    generation.insert(&generation.log, &key, b"".as_slice()).unwrap();
                }
            }
            generation.sync().unwrap();
            let written = generation.log_end() as usize;
            let found = generation.state.iter().map(|item| item.unwrap());
            assert!(
                found.eq(model.iter().map(|(key, value)| (key.into(), value.as_slice().into())))
            );
            generation.insert(&generation.state, b"at once", b"1".as_slice()).unwrap();
            assert!(generation.state.contains_key(b"at once").unwrap(), "it is read from now on");
            written
        })
    }

    #[test]
    fn what_is_put_in_in_order_is_written_in_fewer_pages_when_it_is_gathered() {
        let [long, long_at_once] = fill((0..4_000).map(|n| 300 + n % 400));
        assert!(long * 2 < long_at_once, "{long}, {long_at_once}");
        let [short, short_at_once] = fill((0..20_000).map(|n| 20 + n % 9));
        assert!(short * 3 / 2 < short_at_once, "{short}, {short_at_once}");
    }
}
