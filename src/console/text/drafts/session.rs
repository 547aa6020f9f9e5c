//! Of which console a draft is: two of one user may edit the same message, and neither may lose what is typed in it.
//!
//! Each console that saves drafts keeps a file `<token>.session` locked beside their folders for as long as it lives. A draft's
//! name has its console's token; whoever finds the lock free may take the draft for its own.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What its file's name ends with.
pub(super) const EXTENSION: &str = "session";

/// This console.
#[derive(Debug)]
pub(super) struct Session {
    token: String,
    /// Its file, once it is there; locked.
    file: Mutex<Option<(File, PathBuf)>>,
}

impl Session {
    pub(super) fn new() -> Self {
        let token = format!("{:x}-{:08x}", std::process::id(), fastrand::u32(..));
        Self { token, file: Mutex::default() }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// From now on others know that it lives. Where a file can't be locked they don't.
    pub(super) fn begin(&self, dir: &Path) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_some() {
            return Ok(());
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = path(dir, &self.token);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        // Who just looks whether it is locked lets go at once.
        made.lock()?;
        *file = Some((made, path));
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, path)) = file.take() {
            // One that stays is a dead one's.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn path(dir: &Path, token: &str) -> PathBuf {
    dir.join(format!("{token}.{EXTENSION}"))
}

/// Does the console with this token live?
pub(super) fn is_alive(dir: &Path, token: &str) -> bool {
    is_locked(&path(dir, token))
}

/// Is this the file of a console that lives?
pub(super) fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
