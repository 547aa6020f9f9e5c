//! The handle on sled's log file by which it is made durable, and zeroes ahead of the log's end.
//!
//! A file that grows with each commit makes each `fdatasync` wait for the file system's journal too: for the new length, and
//! for where a new block is. Written over zeroes that are there already, a small commit costs the device its own bytes and
//! one flush. So some zeroes are put behind the log's end now and then, up to the end of sled's segment at most. sled leaves
//! the same behind when it opens a database (it zeroes the rest of the segment that it goes on with), and takes zeroes for
//! the log's end.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Mutex;

use super::layout::SLED_SEGMENT_BYTES;

/// Zeroes written at a time: enough for some hundred commits of a small message, and written in less than a millisecond.
const CHUNK_BYTES: u64 = 128 * 1024;
/// With less of them left, more are written.
const LEAST_BYTES: u64 = 32 * 1024;
/// What more than this is written for takes so long itself that the journal's share is small, and zeroes would be as many
/// bytes again.
const MAX_COMMIT_BYTES: u64 = 16 * 1024;

/// sled's log file, beside sled's own handle.
#[derive(Debug)]
pub(super) struct DataFile {
    /// Opened to append: whatever sled's threads write meanwhile, zeroes are never written over it.
    file: File,
    /// Held by who puts zeroes behind it.
    extending: Mutex<()>,
}

impl DataFile {
    /// For the file at `path`, which is there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).open(path)?;
        Ok(Self { file, extending: Mutex::new(()) })
    }

    /// Its length in bytes; 0 if that can't be told.
    pub(super) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |file| file.len())
    }

    /// What was written to it is on the disk when this returns.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Called before a sync. `from` is how far sled's log was in the last one, `to` how far it is now, as positions in the
    /// log in bytes. Best effort: where zeroes can't be written sled's own writes can't be either, and that is told.
    pub(super) fn extend(&self, from: u64, to: u64) {
        if to.saturating_sub(from) > MAX_COMMIT_BYTES {
            return;
        }
        // If another sync does it just now, one is enough.
        let Ok(_alone) = self.extending.try_lock() else { return };
        let zeroes = vec![0; missing(to, self.bytes())];
        if !zeroes.is_empty() {
            let _ = (&self.file).write(&zeroes);
        }
    }
}

/// How many bytes are to be put behind a file of `len` bytes whose log has come to position `to`.
fn missing(to: u64, len: u64) -> usize {
    let segment = SLED_SEGMENT_BYTES as u64;
    let (at, end) = (to % segment, len % segment);
    // A file of whole segments doesn't grow: the log is in one that is used again, or there are zeroes to its end. One that
    // ends before the log's place in its segment ends in another segment, which isn't this commit's.
    if end == 0 || end < at || end - at >= LEAST_BYTES {
        return 0;
    }
    usize::try_from(CHUNK_BYTES.min(segment - end)).expect("a chunk at most")
}

#[cfg(test)]
mod tests {
    use super::super::generation::Generation;
    use super::*;

    const SEGMENT: u64 = SLED_SEGMENT_BYTES as u64;

    #[test]
    fn zeroes_go_up_to_the_segments_end_and_only_where_the_file_grows() {
        let chunk = CHUNK_BYTES as usize;
        assert_eq!(missing(0, 0), 0, "a file that sled has written nothing to");
        assert_eq!(missing(1_000, 1_001), chunk);
        assert_eq!(missing(1_000, 1_001 + CHUNK_BYTES), 0, "enough are there");
        assert_eq!(missing(SEGMENT * 7 + 100_000, SEGMENT * 2 + 110_000), chunk);
        assert_eq!(missing(SEGMENT - 9_000, SEGMENT - 8_000), 8_000);
        assert_eq!(missing(SEGMENT - 9_000, SEGMENT), 0);
        assert_eq!(missing(SEGMENT * 3 + 5, SEGMENT * 2), 0, "in a segment that is used again");
        assert_eq!(missing(SEGMENT * 3 + 5_000_000, SEGMENT * 3 + 100_000), 0, "in the next one");
        assert_eq!(missing(SEGMENT * 2, SEGMENT * 2), 0, "between two");
    }

    #[test]
    fn small_commits_are_written_over_zeroes_and_large_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gen-1");
        let generation = Generation::open(path.clone(), 1, 1 << 20).unwrap();
        let put = |key: u32, len: usize| {
            let value = vec![7; len];
            generation.insert(&generation.state, &key.to_be_bytes(), value.as_slice()).unwrap();
            generation.sync().unwrap();
            generation.file_bytes()
        };
        let lens: Vec<u64> = (0..40).map(|key| put(key, 500)).collect();
        assert!(lens[1] > CHUNK_BYTES, "{lens:?}");
        assert!(lens[1..].iter().all(|len| *len == lens[1]), "it grows each time: {lens:?}");
        let before = put(40, 90_000);
        let grown = put(41, 90_000) - before;
        assert!(grown < 110_000, "{grown} bytes for 90,000");
        drop(generation);
        let generation = Generation::open(path, 1, 1 << 20).unwrap();
        let found = generation.state.iter().map(|item| item.unwrap().1.len());
        assert_eq!(found.collect::<Vec<_>>(), [vec![500; 40], vec![90_000; 2]].concat());
    }
}
