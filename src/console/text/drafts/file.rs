//! A draft's file: one line of JSON that says of what it is, then the text's bytes.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::{Draft, DraftEntry, DraftError, DraftId, EXTENSION};
use crate::admin::dto::{MAX_PAYLOAD_BYTES, Timestamp};

/// The description in front of the text, in bytes: a store's name may be a path.
const MAX_DESCRIPTION_BYTES: u64 = 16 * 1024;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) format: u32,
    pub(super) id: DraftId,
    pub(super) saved_at: Timestamp,
    pub(super) len: usize,
    pub(super) crc32: u32,
}

/// What is in a folder; nothing if there is none.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, DraftError> {
    let listing = || fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect();
    match listing() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|source| failed("list the drafts in", dir, source)),
    }
}

/// The token of the console whose draft this is; of one that has none, no console's.
pub(super) fn token(path: &Path) -> &str {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.rsplit('.').next().unwrap_or_default()
}

/// Those of these files that are drafts and can be read, the newest first.
pub(super) fn readable(files: impl IntoIterator<Item = PathBuf>) -> Vec<DraftEntry> {
    let mut entries = Vec::new();
    for path in files {
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Ok(Some((entry, _, _))) = open(&path)
        {
            entries.push(entry);
        }
    }
    entries.sort_by(|a, b| b.saved_at.cmp(&a.saved_at).then_with(|| a.path.cmp(&b.path)));
    entries
}

/// A draft's description, its check sum and the rest of its file; `None` if there is none.
type Opened = (DraftEntry, u32, BufReader<File>);

fn open(path: &Path) -> Result<Option<Opened>, DraftError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| failed("read the draft", path, source))?,
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut head = reader.by_ref().take(MAX_DESCRIPTION_BYTES);
    head.read_until(b'\n', &mut line).map_err(|source| failed("read the draft", path, source))?;
    let damaged = |reason| DraftError::Damaged { path: path.to_owned(), reason };
    let Description { format, id, saved_at, len, crc32 } =
        serde_json::from_slice(&line).map_err(|_| damaged("its first line says nothing known"))?;
    if format != 1 {
        return Err(damaged("another version wrote it"));
    }
    if len > MAX_PAYLOAD_BYTES {
        return Err(damaged("it is longer than a payload may be"));
    }
    Ok(Some((DraftEntry { id, saved_at, len, path: path.to_owned() }, crc32, reader)))
}

/// A draft with its text; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Draft>, DraftError> {
    let Some((entry, crc32, reader)) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(entry.len);
    // One more than there should be, so that a longer file is noticed.
    reader
        .take(entry.len as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| failed("read the draft", path, source))?;
    if bytes.len() != entry.len || crc32fast::hash(&bytes) != crc32 {
        let reason = "its text is not what was saved";
        return Err(DraftError::Damaged { path: path.to_owned(), reason });
    }
    Ok(Some(Draft { entry, bytes }))
}

/// False if there was none.
pub(super) fn remove(path: &Path) -> Result<bool, DraftError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(failed("remove the draft", path, source)),
    }
}

/// When a file was written; the epoch's start if that can't be known.
pub(super) fn modified(path: &Path) -> Timestamp {
    let time = fs::metadata(path).and_then(|found| found.modified()).unwrap_or(UNIX_EPOCH);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn failed(doing: &'static str, path: &Path, source: io::Error) -> DraftError {
    DraftError::Io { doing, path: path.to_owned(), source }
}
