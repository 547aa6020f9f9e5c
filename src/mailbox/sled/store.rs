//! The folder, its lock and format, and sled itself with its errors and panics made ours.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::sled::{Db, IVec, Tree};

use super::SledOptions;
use super::codec::Corrupt;
use super::files;
use super::layout::{FORMAT, MAX_VALUE_BYTES, SLED_SEGMENT_BYTES};
use crate::mailbox::MailboxError;

const FORMAT_PREFIX: &str = "mubroker store format ";

/// sled's threads may hold its file for a moment after it was dropped: how often and after which pause an
/// open is tried again. Our own lock already says that no other process has it.
const REOPEN_TRIES: u32 = 200;
const REOPEN_PAUSE: Duration = Duration::from_millis(10);

/// An open store: two trees, and the handle that makes them durable.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    pub(super) log: Tree,
    pub(super) state: Tree,
    data: File,
    broken: AtomicBool,
    /// Writes until one fails; negative: never.
    #[cfg(test)]
    writes_left: std::sync::atomic::AtomicI64,
    db: Db,
    /// Last: given back when sled is closed.
    _lock: Lock,
}

/// Given back when it is dropped, not when the file is closed: a child process that is just being started
/// has the file open too, until it runs its own program.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the store's lock is given back only when this process ends");
        }
    }
}

impl Store {
    pub(super) fn open(path: &Path, options: &SledOptions) -> Result<Self, MailboxError> {
        let at = |action| move |source| io_error(action, path, source);
        fs::create_dir_all(path).map_err(at("making the store's folder"))?;
        let lock = lock(path)?;
        let sled_path = path.join("sled");
        check_format(path, sled_path.exists())?;
        let config = ::sled::Config::new()
            .path(&sled_path)
            .segment_size(SLED_SEGMENT_BYTES)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(None);
        files::remove_unfinished(&sled_path).map_err(at("clearing sled's folder"))?;
        let db = open_sled(&config, path)?;
        files::sync(&sled_path).map_err(at("syncing sled's parameters"))?;
        let tree = |name: &str| guard(path, "opening a tree", || db.open_tree(name.as_bytes()));
        let (log, state) = (tree("log")?, tree("state")?);
        let data = File::open(sled_path.join("db")).map_err(at("opening sled's file"))?;
        for folder in [&sled_path, path, path.parent().unwrap_or(path)] {
            sync_folder(folder).map_err(at("syncing the store's folder"))?;
        }
        let path = path.to_owned();
        Ok(Self {
            path,
            log,
            state,
            data,
            broken: AtomicBool::new(false),
            #[cfg(test)]
            writes_left: (-1).into(),
            db,
            _lock: lock,
        })
    }

    /// Writes: an error or a panic breaks the store.
    pub(super) fn write<T>(
        &self,
        action: &'static str,
        f: impl FnOnce() -> ::sled::Result<T>,
    ) -> Result<T, MailboxError> {
        self.check_sound(action)?;
        #[cfg(test)]
        if self.writes_left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.set_broken();
            let source = io::Error::other("injected by the test");
            return Err(io_error(action, &self.path, source));
        }
        guard(&self.path, action, f).inspect_err(|_| self.set_broken())
    }

    /// The write after `writes` further ones fails, as if the process ended before it.
    #[cfg(test)]
    pub(super) fn fail_after_writes(&self, writes: i64) {
        self.writes_left.store(writes, Ordering::Relaxed);
    }

    pub(super) fn read<T>(&self, f: impl FnOnce() -> ::sled::Result<T>) -> Result<T, MailboxError> {
        guard(&self.path, "reading", f)
    }

    pub(super) fn insert(
        &self,
        tree: &Tree,
        key: impl AsRef<[u8]>,
        value: impl Into<IVec>,
    ) -> Result<(), MailboxError> {
        let value = value.into();
        if value.len() > MAX_VALUE_BYTES {
            let what =
                format!("a stored value has {} bytes; a page would become a blob", value.len());
            return Err(MailboxError::Inconsistent { what });
        }
        self.write("writing", || tree.insert(key, value).map(drop))
    }

    pub(super) fn remove(&self, tree: &Tree, key: impl AsRef<[u8]>) -> Result<(), MailboxError> {
        self.write("removing", || tree.remove(key).map(drop))
    }

    pub(super) fn get(
        &self,
        tree: &Tree,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<IVec>, MailboxError> {
        self.read(|| tree.get(key))
    }

    /// All keys of `state` that begin with `prefix`, in order.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], IVec) -> Result<(), MailboxError>,
    ) -> Result<(), MailboxError> {
        let mut items = self.state.scan_prefix(prefix);
        while let Some((key, value)) = self.read(|| items.next().transpose())? {
            each(&key, value)?;
        }
        Ok(())
    }

    /// All written so far is on the disk: sled's flush alone leaves file metadata and the device's cache
    /// (storage.md), so one `fdatasync` of its file comes after it.
    pub(super) fn sync(&self) -> Result<(), MailboxError> {
        self.write("flushing", || self.db.flush().map(drop))?;
        self.data.sync_data().map_err(|source| {
            self.set_broken();
            io_error("syncing", &self.path, source)
        })
    }

    pub(super) fn check_sound(&self, action: &'static str) -> Result<(), MailboxError> {
        if !self.broken.load(Ordering::Acquire) {
            return Ok(());
        }
        let source = io::Error::other("an earlier error has broken the store; open it again");
        Err(MailboxError::Io { action, path: self.path.display().to_string(), source })
    }

    pub(super) fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(super) fn damaged(&self, Corrupt(what): Corrupt) -> MailboxError {
        MailboxError::Damaged { path: self.path.display().to_string(), what }
    }
}

/// sled panics where it finds its file damaged or a thread of its own dead; that is an error like others.
fn guard<T>(
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

fn io_error(action: &'static str, path: &Path, source: io::Error) -> MailboxError {
    let path = path.display().to_string();
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => MailboxError::Full { action, path },
        _ => MailboxError::Io { action, path, source },
    }
}

/// One process at a time: the lock is the file's, the pid in it is for people.
fn lock(path: &Path) -> Result<Lock, MailboxError> {
    let at = |source| io_error("locking", path, source);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join("LOCK"))
        .map_err(at)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(at)?;
            let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() }.to_owned();
            return Err(MailboxError::Held { path: path.display().to_string(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(at(source)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(at)?;
    writeln!(file, "{}", std::process::id()).map_err(at)?;
    Ok(Lock(file))
}

/// Reads the format, or writes it before the first byte of a new store.
fn check_format(path: &Path, is_old: bool) -> Result<(), MailboxError> {
    let damaged = |what: String| MailboxError::Damaged { path: path.display().to_string(), what };
    let file = path.join("format");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && !is_old => {
            return write_format(path, &file)
                .map_err(|source| io_error("writing the format", path, source));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(damaged("there is sled data but no file `format`".to_owned()));
        }
        Err(source) => return Err(io_error("reading the format", path, source)),
    };
    let found = text.strip_prefix(FORMAT_PREFIX).and_then(|rest| rest.trim().parse().ok());
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => {
            Err(MailboxError::TooNew { path: path.display().to_string(), found, known: FORMAT })
        }
        Some(_) | None => Err(damaged(format!("the file `format` holds {text:?}"))),
    }
}

fn write_format(path: &Path, file: &Path) -> io::Result<()> {
    let new = path.join("format.new");
    let mut out = File::create(&new)?;
    writeln!(out, "{FORMAT_PREFIX}{FORMAT}")?;
    out.sync_all()?;
    fs::rename(&new, file)?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    // A relative folder's parent is written as nothing.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
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
