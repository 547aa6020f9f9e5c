//! The store's folder: its lock, its format, and files that are there whole or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::layout::FORMAT;
use super::manifest::{self, Manifest};
use super::salvage::MISSING;
use crate::mailbox::MailboxError;

const FORMAT_PREFIX: &str = "mubroker store format ";
/// Where format 1 had its only database.
const FORMAT_1_FOLDER: &str = "sled";

/// Given back when it is dropped, not when the file is closed: a child process that is just being started
/// has the file open too, until it runs its own program.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the store's lock is given back only when this process ends");
        }
    }
}

/// One process at a time: the lock is the file's, the pid in it is for people.
pub(super) fn lock(path: &Path) -> Result<Lock, MailboxError> {
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

/// The generations of the store, which is made or upgraded if need be. Each of them is there. `format` is
/// written last: until then a crash leaves what it found.
pub(super) fn prepare(path: &Path) -> Result<Manifest, MailboxError> {
    let damaged = |what: String| MailboxError::Damaged { path: path.display().to_string(), what };
    let found = read_format(path)?;
    if found.is_some_and(|found| found > 1) {
        let manifest = Manifest::read(path)?;
        for generation in &manifest.generations {
            if !path.join(&generation.folder).is_dir() {
                return Err(damaged(format!("the folder {} is not there", generation.folder)));
            }
        }
        // The one that is written is made when it is opened for the first time.
        for (generation, _) in manifest.sealed() {
            if !path.join(&generation.folder).join("db").exists() {
                return Err(damaged(format!("{}: {MISSING}", generation.folder)));
            }
        }
        if found != Some(FORMAT) {
            write_format(path)?;
        }
        return Ok(manifest);
    }
    let is_upgrade = path.join(FORMAT_1_FOLDER).exists();
    let has_data = folders(path)?.iter().any(|name| path.join(name).join("db").exists());
    if found.is_none() && has_data {
        return Err(damaged("there is sled data but no file `format`".to_owned()));
    }
    let folder = if is_upgrade { FORMAT_1_FOLDER.to_owned() } else { manifest::folder_name(1) };
    let at = |action| move |source| io_error(action, path, source);
    fs::create_dir_all(path.join(&folder)).map_err(at("making a folder of the store"))?;
    sync_ancestors(path).map_err(at("syncing the folders above the store"))?;
    let manifest = Manifest::first(folder);
    manifest.write(path, |action, step| step().map_err(at(action)))?;
    write_format(path)?;
    Ok(manifest)
}

/// Says that the folder is a store of the newest format.
pub(super) fn write_format(path: &Path) -> Result<(), MailboxError> {
    let format = format!("{FORMAT_PREFIX}{FORMAT}\n");
    replace_file(path, "format", format.as_bytes(), |action, step| {
        step().map_err(|source| io_error(action, path, source))
    })
}

/// The generations of a store that is there; changes nothing.
pub(super) fn look(path: &Path) -> Result<Manifest, MailboxError> {
    match read_format(path)? {
        Some(1) => Ok(Manifest::first(FORMAT_1_FOLDER.to_owned())),
        Some(_) => Manifest::read(path),
        None => {
            let source = io::Error::new(ErrorKind::NotFound, "there is no store");
            Err(io_error("reading the file `format`", path, source))
        }
    }
}

/// The format of a store, and the newest that this version knows; `None` if there is no store. Opens nothing.
pub fn store_format(path: &Path) -> Result<Option<(u32, u32)>, MailboxError> {
    Ok(read_format(path)?.map(|found| (found, FORMAT)))
}

/// The format of a store that is there.
fn read_format(path: &Path) -> Result<Option<u32>, MailboxError> {
    let damaged = |what: String| MailboxError::Damaged { path: path.display().to_string(), what };
    let text = match fs::read_to_string(path.join("format")) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("reading the format", path, source)),
    };
    let found = text.strip_prefix(FORMAT_PREFIX).and_then(|rest| rest.trim().parse().ok());
    match found {
        Some(found) if (1..=FORMAT).contains(&found) => Ok(Some(found)),
        Some(found) if found > FORMAT => {
            Err(MailboxError::TooNew { path: path.display().to_string(), found, known: FORMAT })
        }
        Some(_) | None => Err(damaged(format!("the file `format` holds {text:?}"))),
    }
}

/// The folders in the store that are generations by their names, listed or not.
pub(super) fn folders(path: &Path) -> Result<Vec<String>, MailboxError> {
    let at = |source| io_error("listing the store's folder", path, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(at)? {
        let entry = entry.map_err(at)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name == FORMAT_1_FOLDER || manifest::number_of_folder(&name).is_some() {
            found.push(name);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Puts `bytes` into file `name` of the folder, durably: after a crash it holds them or what it held before.
/// Each of the steps is taken by `take`.
pub(super) fn replace_file(
    folder: &Path,
    name: &str,
    bytes: &[u8],
    mut take: impl FnMut(&'static str, &mut dyn FnMut() -> io::Result<()>) -> Result<(), MailboxError>,
) -> Result<(), MailboxError> {
    let new = folder.join(format!("{name}.new"));
    take("writing a file of the store", &mut || {
        let mut out = File::create(&new)?;
        out.write_all(bytes)?;
        out.sync_all()
    })?;
    take("renaming a file of the store", &mut || fs::rename(&new, folder.join(name)))?;
    take("syncing the store's folder", &mut || sync_folder(folder))
}

/// The folders above a new store, in its file system: who made which of them, and when, isn't known here,
/// and one whose name is lost by a power cut takes the store with it. One that can't be read is not new.
fn sync_ancestors(path: &Path) -> io::Result<()> {
    let path = path.canonicalize()?;
    let device = fs::metadata(&path)?.dev();
    for folder in path.ancestors().skip(1) {
        if fs::metadata(folder)?.dev() != device {
            break;
        }
        match sync_folder(folder) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => break,
            done => done?,
        }
    }
    Ok(())
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    // A relative folder's parent is written as nothing.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> MailboxError {
    let path = path.display().to_string();
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => MailboxError::Full { action, path },
        _ => MailboxError::Io { action, path, source },
    }
}
