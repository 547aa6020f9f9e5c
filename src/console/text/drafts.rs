//! Drafts on disk: what was typed survives a lost connection.
//!
//! A draft is of the console that wrote it for as long as that lives; then it is whose who reads it first. A console removes
//! only its own.
//!
//! All calls block on files: the console makes them in an effect's task, never where keys are read.

mod file;
mod session;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::file::{Description, entries, failed, modified, read, readable, remove, token};
use self::session::Session;
use crate::admin::dto::{QueueName, Revision, Seq, Timestamp};

/// Drafts that [`Drafts::prune`] leaves: a repair leaves one only if it was given up.
const MAX_DRAFTS: usize = 500;
/// Age from which [`Drafts::prune`] takes a draft, in milliseconds: 90 days, an incident's aftermath.
const MAX_AGE_MS: u64 = 90 * 24 * 60 * 60 * 1000;
/// Age from which a temporary file is a crash's, in milliseconds: one hour; a save takes seconds.
const MAX_TEMPORARY_MS: u64 = 60 * 60 * 1000;
/// A folder's name made of a store's, in bytes: file systems take 255.
const MAX_FOLDER_BYTES: usize = 120;
const EXTENSION: &str = "draft";
const TEMPORARY: &str = ".saving-";

/// Of what a draft is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DraftId {
    /// The broker's endpoint or its store's identity: the same queue and place elsewhere is another message.
    pub store: String,
    /// The message's queue.
    pub queue: QueueName,
    /// Its place.
    pub seq: Seq,
    /// The revision that the edit began from.
    pub revision: Revision,
}

/// A draft without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftEntry {
    /// Of what.
    pub id: DraftId,
    /// When it was saved last.
    pub saved_at: Timestamp,
    /// The text's length in bytes.
    pub len: usize,
    /// Its file.
    pub path: PathBuf,
}

/// A draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Of what, when.
    pub entry: DraftEntry,
    /// The text.
    pub bytes: Vec<u8>,
}

/// Why a draft was not saved, read or removed. What was on disk before is still there.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The file system refused.
    #[error("can't {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("the draft {path} is damaged ({reason}); it was left as it is")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// The drafts under one folder, which this makes with mode 0700; files have mode 0600. A file is one line of
/// JSON that says of what it is, then the text's bytes.
#[derive(Debug, Clone)]
pub struct Drafts {
    dir: PathBuf,
    session: Arc<Session>,
}

impl Drafts {
    /// Drafts under `dir`. Touches nothing yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), session: Arc::new(Session::new()) }
    }

    /// Where this console's draft is, or would be.
    pub fn path(&self, id: &DraftId) -> PathBuf {
        let token = self.session.token();
        let file = format!("{}@{}.{}.{token}.{EXTENSION}", id.queue, id.seq, id.revision);
        self.dir.join(folder_name(&id.store)).join(file)
    }

    /// Writes a draft over the one before. When this returns `Ok`, it survives a power loss; on an error the one
    /// before is untouched.
    pub fn save(&self, id: &DraftId, bytes: &[u8], now: Timestamp) -> Result<(), DraftError> {
        let path = self.path(id);
        let folder = self.dir.join(folder_name(&id.store));
        self.make(&folder)?;
        self.begin();
        let description = Description {
            format: 1,
            id: id.clone(),
            saved_at: now,
            len: bytes.len(),
            crc32: crc32fast::hash(bytes),
        };
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&folder)?;
            serde_json::to_writer(&mut file, &description)?;
            file.write_all(b"\n")?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&folder)?.sync_all()
        };
        write().map_err(|source| failed("save the draft", &path, source))
    }

    /// Reads a draft; `None` if there is none.
    pub fn load(&self, id: &DraftId) -> Result<Option<Draft>, DraftError> {
        let Some(draft) = read(&self.path(id))? else { return Ok(None) };
        Ok((draft.entry.id == *id).then_some(draft))
    }

    /// A message's draft, whatever revision it began from: this console's newest, else the newest that a console left
    /// which has ended; that is this console's from now on. `None` if there is none, or only one of another console that
    /// lives. A damaged one is left as it is.
    pub fn newest(
        &self,
        store: &str,
        queue: &QueueName,
        seq: Seq,
    ) -> Result<Option<Draft>, DraftError> {
        for entry in self.free(store, queue, seq)? {
            let path = self.path(&entry.id);
            let Some(mut draft) = read(&entry.path)? else { continue };
            // What stands there is this console's own and can't be read: it is not replaced by this.
            if path != entry.path && !path.exists() {
                self.begin();
                match fs::rename(&entry.path, &path) {
                    // Another console was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    renamed => renamed.map_err(|e| failed("take over the draft", &path, e))?,
                }
                draft.entry.path = path;
            }
            return Ok(Some(draft));
        }
        Ok(None)
    }

    /// Is a draft of this message another console's, which lives?
    pub fn is_elsewhere(
        &self,
        store: &str,
        queue: &QueueName,
        seq: Seq,
    ) -> Result<bool, DraftError> {
        let entries = self.of_message(store, queue, seq)?;
        Ok(entries.iter().any(|entry| self.is_others(&entry.path)))
    }

    /// Is there a draft of this message that no other console has?
    pub fn is_kept(&self, store: &str, queue: &QueueName, seq: Seq) -> Result<bool, DraftError> {
        Ok(!self.free(store, queue, seq)?.is_empty())
    }

    /// A message's drafts that no other console has, this console's first, of each kind the newest first.
    fn free(
        &self,
        store: &str,
        queue: &QueueName,
        seq: Seq,
    ) -> Result<Vec<DraftEntry>, DraftError> {
        let mut entries = self.of_message(store, queue, seq)?;
        entries.retain(|entry| !self.is_others(&entry.path));
        entries.sort_by_key(|entry| !self.is_own(&entry.path));
        Ok(entries)
    }

    /// A message's drafts that can be read, the newest first.
    fn of_message(
        &self,
        store: &str,
        queue: &QueueName,
        seq: Seq,
    ) -> Result<Vec<DraftEntry>, DraftError> {
        let files = entries(&self.dir.join(folder_name(store)))?;
        // Of other messages' drafts not even the first line is read.
        let begins = format!("{queue}@{seq}.");
        let named = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&begins))
        };
        let mut entries = readable(files.into_iter().filter(named));
        entries.retain(|DraftEntry { id, .. }| {
            id.store == store && id.queue == *queue && id.seq == seq
        });
        Ok(entries)
    }

    /// Messages of a store of which there is a draft that no other console has.
    pub fn kept(&self, store: &str) -> Result<Vec<(QueueName, Seq)>, DraftError> {
        let entries = self.list()?.into_iter();
        let kept = entries.filter(|entry| entry.id.store == store && !self.is_others(&entry.path));
        Ok(kept.map(|entry| (entry.id.queue, entry.id.seq)).collect())
    }

    /// Others are to know that this console lives; if they can't, drafts are everybody's.
    fn begin(&self) {
        if let Err(error) = self.session.begin(&self.dir) {
            tracing::debug!(%error, dir = %self.dir.display(), "another console may take drafts over");
        }
    }

    /// Is this the draft of another console, which lives?
    fn is_others(&self, path: &Path) -> bool {
        !self.is_own(path) && session::is_alive(&self.dir, token(path))
    }

    fn is_own(&self, path: &Path) -> bool {
        token(path) == self.session.token()
    }

    /// Removes this console's draft; false if there was none.
    pub fn delete(&self, id: &DraftId) -> Result<bool, DraftError> {
        remove(&self.path(id))
    }

    /// Removes this console's drafts of a message, whatever revision they began from: its repair is done. Those of other
    /// consoles stay, whether these live or not: nobody has seen them here. Returns how many.
    pub fn delete_own(
        &self,
        store: &str,
        queue: &QueueName,
        seq: Seq,
    ) -> Result<usize, DraftError> {
        let mut removed = 0;
        for entry in self.of_message(store, queue, seq)? {
            if self.is_own(&entry.path) {
                removed += usize::from(remove(&entry.path)?);
            }
        }
        Ok(removed)
    }

    /// Removes the draft that [`Self::newest`] would give, unread; with it all of this console's. Returns how many.
    pub fn throw_away(
        &self,
        store: &str,
        queue: &QueueName,
        seq: Seq,
    ) -> Result<usize, DraftError> {
        let own = self.delete_own(store, queue, seq)?;
        match self.free(store, queue, seq)?.first() {
            Some(entry) if own == 0 => Ok(usize::from(remove(&entry.path)?)),
            Some(_) | None => Ok(own),
        }
    }

    /// All drafts that can be read, the newest first; damaged files are left out and left alone.
    pub fn list(&self) -> Result<Vec<DraftEntry>, DraftError> {
        Ok(readable(self.files()?))
    }

    /// Removes drafts older than 90 days, those beyond the newest 500, and what a crash left. For the console's
    /// start. Returns how many drafts it removed.
    pub fn prune(&self, now: Timestamp) -> Result<usize, DraftError> {
        let mut removed = 0;
        for (index, entry) in self.list()?.into_iter().enumerate() {
            if index >= MAX_DRAFTS || now.since_ms(entry.saved_at) > MAX_AGE_MS {
                removed += usize::from(remove(&entry.path)?);
            }
        }
        for path in self.files()? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(TEMPORARY) && now.since_ms(modified(&path)) > MAX_TEMPORARY_MS {
                remove(&path)?;
            }
        }
        for path in entries(&self.dir)? {
            let is_session = path.extension().is_some_and(|found| found == session::EXTENSION);
            let is_old = now.since_ms(modified(&path)) > MAX_TEMPORARY_MS;
            if is_session && is_old && !session::is_locked(&path) {
                remove(&path)?;
            }
        }
        Ok(removed)
    }

    fn make(&self, folder: &Path) -> Result<(), DraftError> {
        for dir in [self.dir.as_path(), folder] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            // One that was there already may be open to others.
            made.and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o700)))
                .map_err(|source| failed("make the drafts' folder", dir, source))?;
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<PathBuf>, DraftError> {
        let mut files = Vec::new();
        for folder in entries(&self.dir)? {
            if folder.is_dir() {
                files.extend(entries(&folder)?);
            }
        }
        Ok(files)
    }
}

/// A store's name as a folder's: what isn't a letter, digit, `-` or `_` as `%XX`.
fn folder_name(store: &str) -> String {
    let mut name = String::from("store-");
    for byte in store.bytes() {
        match byte {
            b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > MAX_FOLDER_BYTES {
        name.truncate(MAX_FOLDER_BYTES - 9);
        name.push_str(&format!("-{:08x}", crc32fast::hash(store.as_bytes())));
    }
    name
}

#[cfg(test)]
mod tests;
