//! The file `closed`: the store was closed in good order, and nothing has been written to it since.
//!
//! Without it the end of the log may be torn, as a crash leaves it. With it, all commits up to the one it
//! names must be there: whatever is missing of them is damage.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::folder::{io_error, replace_file, sync_folder};
use crate::mailbox::MailboxError;

const NAME: &str = "closed";

/// The newest commit when the store was closed, if it was and nothing came after. A file that can't be
/// understood is none.
pub(super) fn read(store: &Path) -> Result<Option<u64>, MailboxError> {
    match fs::read(store.join(NAME)) {
        Ok(bytes) => Ok(parse(&bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("reading the file `closed`", store, source)),
    }
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let commit = std::str::from_utf8(bytes).ok()?.lines().next()?.parse().ok()?;
    (bytes == text(commit).as_bytes()).then_some(commit)
}

fn text(commit: u64) -> String {
    format!("{commit}\n{:08x}\n", crc32fast::hash(commit.to_string().as_bytes()))
}

pub(super) fn write(store: &Path, commit: u64) -> Result<(), MailboxError> {
    replace_file(store, NAME, text(commit).as_bytes(), |action, step| {
        step().map_err(|source| io_error(action, store, source))
    })
}

/// Durable when it returns.
pub(super) fn remove(store: &Path) -> Result<(), MailboxError> {
    let at = |source| io_error("removing the file `closed`", store, source);
    match fs::remove_file(store.join(NAME)) {
        Ok(()) => sync_folder(store).map_err(at),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(at(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        write(folder.path(), 1_204).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(1_204));
        let bytes = fs::read(folder.path().join(NAME)).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(parse(&bad), None, "flipped at {at}");
            assert_eq!(parse(&bytes[..at]), None, "cut at {at}");
        }
        remove(folder.path()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
    }
}
