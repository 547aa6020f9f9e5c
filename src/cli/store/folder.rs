//! Stores as folders: opened offline, put in place as wholes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::cli::Exit;
use crate::cli::embedded::{STORE, make_data_dir};
use crate::cli::failure::Failure;
use crate::cli::target::Target;
use crate::mailbox::{MailboxError, SledMailbox, SledOptions};
use crate::model::with_causes;

/// The store of the data folder that is meant.
pub(super) fn of_data_dir(target: &Target) -> Result<PathBuf, Failure> {
    Ok(target.load()?.data_dir.join(STORE))
}

/// The same, for a store that is to be made: its data folder is there.
pub(super) fn new_in_data_dir(target: &Target) -> Result<PathBuf, Failure> {
    let config = target.load()?;
    make_data_dir(&config).map_err(|error| Failure::new(with_causes(&error)))?;
    let store = config.data_dir.join(STORE);
    if store.exists() {
        let text = format!("there is a store in {} already", store.display());
        let advice = "name another --data-dir, or move that store away first";
        return Err(Failure::new(text).exit(Exit::Refused).advice(advice));
    }
    Ok(store)
}

/// Opens a store that is there and that no broker has.
pub(super) fn open(path: &Path) -> Result<SledMailbox, Failure> {
    if !path.join("format").exists() {
        let text = format!("there is no store in {}", path.display());
        return Err(Failure::new(text).advice("--data-dir names the broker's data folder"));
    }
    open_or_make(path, SledOptions::default())
}

/// Opens a store, or makes an empty one.
pub(super) fn open_or_make(path: &Path, options: SledOptions) -> Result<SledMailbox, Failure> {
    SledMailbox::open(path, options).map_err(failure)
}

pub(super) fn failure(error: MailboxError) -> Failure {
    let failure = Failure::new(with_causes(&error));
    match error {
        MailboxError::Held { .. } => failure.exit(Exit::StoreHeld).advice(
            "stop that broker first; or copy its store with `mubroker store backup`, which it allows \
             while it runs, and use the copy",
        ),
        MailboxError::Damaged { .. }
        | MailboxError::Full { .. }
        | MailboxError::Inconsistent { .. }
        | MailboxError::Io { .. }
        | MailboxError::Sled { .. }
        | MailboxError::TooNew { .. }
        | MailboxError::Unreachable { .. }
        | MailboxError::Unreadable { .. } => failure,
    }
}

/// A folder beside a store, in which the next one is made: nothing of it is seen unless it is put in place.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Beside `store`; what an earlier try has left there goes.
    pub(super) fn beside(store: &Path) -> Result<Self, Failure> {
        let path = store.with_extension("new");
        remove(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it the store, which must not be there.
    pub(super) fn put_in_place(self, store: &Path) -> Result<(), Failure> {
        self.rename(store, RenameFlags::RENAME_NOREPLACE)
    }

    /// Makes it the store at one stroke, and removes what was there.
    pub(super) fn exchange(self, store: &Path) -> Result<(), Failure> {
        self.rename(store, RenameFlags::RENAME_EXCHANGE)
    }

    fn rename(self, store: &Path, how: RenameFlags) -> Result<(), Failure> {
        let in_place = renameat2(AT_FDCWD, &self.path, AT_FDCWD, store, how)
            .map_err(io::Error::from)
            .and_then(|()| sync_parent(store));
        in_place.map_err(|error| at("putting the store in its place", store, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It may have been put in place; else its leftovers only take space, and go with the next try.
        let _leftover = remove(&self.path);
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(at("removing an unfinished store", path, &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The bytes of all files in a folder.
pub(super) fn size(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

pub(super) fn at(action: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::io(&format!("{action} failed ({})", path.display()), error)
}
