//! What a folder takes on the disk.

use std::fs;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What stat(2) counts `st_blocks` in, whatever the file system's blocks are.
const BLOCK_BYTES: u64 = 512;

/// The blocks of all files below `folder`, in bytes: holes don't count. A file that goes meanwhile takes
/// nothing.
pub(super) fn bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in unless_gone(fs::read_dir(folder))?.into_iter().flatten() {
        let Some(entry) = unless_gone(entry)? else { continue };
        let Some(data) = unless_gone(entry.metadata())? else { continue };
        sum += if data.is_dir() { bytes(&entry.path())? } else { data.blocks() * BLOCK_BYTES };
    }
    Ok(sum)
}

fn unless_gone<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_count_and_holes_do_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/full"), vec![b'x'; 100_000]).unwrap();
        let hole = fs::File::create(folder.path().join("hole")).unwrap();
        hole.set_len(1 << 30).unwrap();
        // Blocks are given out when the data is written.
        fs::File::open(folder.path().join("inner/full")).unwrap().sync_all().unwrap();
        let bytes = bytes(folder.path()).unwrap();
        assert!((100_000..10_000_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_folder_that_is_not_there_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(bytes(&folder.path().join("gone")).unwrap(), 0);
    }
}
