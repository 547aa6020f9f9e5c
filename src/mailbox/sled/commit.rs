//! Writing one commit, in the order that `layout` gives.

use bytes::Bytes;

use super::changes::Changes;
use super::codec::{put_number, seal};
use super::layout::{
    CHANGES, FILLER_SLOTS, MAX_INLINE_CHANGES_BYTES, MAX_SEGMENT_BYTES, PART_BYTES, VALUE_SLOT,
    directory_key, ids_key, log_key,
};
use super::segment::{
    Change, Directory, Entry, Frame, IdEntry, encode_changes, encode_directory, encode_ids,
    encode_part, encode_segment, runs_of,
};
use super::shared::{PayloadAt, shared_payloads, shared_segments};
use super::store::Store;
use crate::mailbox::MailboxError;

/// Keys are put in ahead so far: a page of sled's then has three segments at most, and has been split long
/// before a large value comes (storage.md, "pages reserved ahead").
const RESERVE_AHEAD: u64 = 32;
/// Less than this ahead: reserve again.
const RESERVE_BELOW: u64 = 16;

/// Where the log's end is. One commit at a time has it.
#[derive(Debug)]
pub(super) struct LogEnd {
    pub(super) commit: u64,
    pub(super) next_id: u64,
    /// The first id of the newest commit in the log: opening needs its values.
    pub(super) newest_first_id: u64,
    /// Keys are there for all ids below.
    pub(super) reserved: u64,
}

/// One log value to be: a segment and its parts.
struct Packed<'a> {
    entries: Vec<Entry>,
    /// What goes into parts: a large or shared payload, or changes.
    large: Option<Bytes>,
    changes: &'a [u8],
}

impl Packed<'_> {
    fn parts(&self) -> u32 {
        self.large.as_ref().map_or(0, |bytes| bytes.len().div_ceil(PART_BYTES) as u32)
    }
}

impl LogEnd {
    /// Writes a commit; returns its segments. After an error the store is broken.
    pub(super) fn write(
        &mut self,
        store: &Store,
        changes: &Changes,
    ) -> Result<Vec<(u64, Directory)>, MailboxError> {
        let keys = changes.keys();
        if changes.entries.is_empty() && keys.is_empty() {
            return Ok(Vec::new());
        }
        let encoded = encode_changes(&keys, store.synced());
        self.commit += 1;
        let written = if changes.entries.is_empty() && encoded.len() <= MAX_SEGMENT_BYTES {
            store.put_state(CHANGES, small_commit(self.commit, &encoded))?;
            Vec::new()
        } else {
            self.write_segments(store, &changes.entries, &encoded)?
        };
        apply_changes(store, &keys)?;
        store.set_written(self.commit);
        Ok(written)
    }

    fn write_segments(
        &mut self,
        store: &Store,
        entries: &[Entry],
        encoded: &[u8],
    ) -> Result<Vec<(u64, Directory)>, MailboxError> {
        let packed = pack(entries, encoded);
        let last = packed.len() - 1;
        let first_id = self.next_id;
        let needed: u64 = packed.iter().map(|value| 1 + u64::from(value.parts())).sum();
        self.reserve(store, first_id + needed)?;
        let mut written = Vec::with_capacity(packed.len());
        for (at, mut value) in packed.into_iter().enumerate() {
            let id = self.next_id;
            let parts = value.parts();
            let large = value.large.take().unwrap_or_default();
            for (bytes, part_id) in large.chunks(PART_BYTES).zip(id + 1..) {
                let part = encode_part(part_id, id, bytes);
                store.put_log(log_key(part_id, VALUE_SLOT), part)?;
            }
            let frame = Frame { commit: self.commit, first_id, is_final: at == last, parts };
            let runs = runs_of(&mut value.entries);
            let changes = Some(value.changes);
            let bytes = encode_segment(id, frame, &runs, &value.entries, changes);
            store.put_log(log_key(id, VALUE_SLOT), bytes)?;
            self.next_id = id + 1 + u64::from(parts);
            written.push((id, Directory { parts, runs }, value.entries));
        }
        self.newest_first_id = first_id;
        written
            .into_iter()
            .map(|(id, directory, entries)| {
                write_directory(store, id, &directory, entries.iter().map(IdEntry::from))?;
                Ok((id, directory))
            })
            .collect()
    }

    /// Makes sure that there are keys for the ids below `end`, and some more.
    fn reserve(&mut self, store: &Store, end: u64) -> Result<(), MailboxError> {
        if self.reserved >= end + RESERVE_BELOW {
            return Ok(());
        }
        for id in self.reserved..end + RESERVE_AHEAD {
            for slot in [FILLER_SLOTS[0], VALUE_SLOT, FILLER_SLOTS[1]] {
                store.put_log(log_key(id, slot), &[])?;
            }
        }
        self.reserved = end + RESERVE_AHEAD;
        Ok(())
    }
}

/// The value of [`CHANGES`] that makes a commit without messages.
pub(super) fn small_commit(commit: u64, changes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(changes.len() + 16);
    put_number(&mut value, commit);
    value.extend_from_slice(changes);
    seal(CHANGES, &mut value);
    value
}

/// The directory of a segment and, if it has messages, their ids.
pub(super) fn write_directory(
    store: &Store,
    id: u64,
    directory: &Directory,
    ids: impl IntoIterator<Item = IdEntry>,
) -> Result<(), MailboxError> {
    if !directory.runs.is_empty() {
        let key = ids_key(id);
        let value = encode_ids(&key, ids);
        store.put_state(&key, value)?;
    }
    let key = directory_key(id);
    let value = encode_directory(&key, directory);
    store.put_state(&key, value)
}

/// Doing it twice is doing it once.
pub(super) fn apply_changes(store: &Store, changes: &[Change]) -> Result<(), MailboxError> {
    for (key, value) in changes {
        match value {
            Some(value) => store.put_state(key, value.as_slice())?,
            None => store.remove_state(key)?,
        }
    }
    Ok(())
}

/// Messages into values of a bounded size, in order, those that share a payload at the end; the changes with the
/// last, or by themselves.
fn pack<'a>(entries: &'a [Entry], changes: &'a [u8]) -> Vec<Packed<'a>> {
    let mut packed: Vec<Packed<'a>> = Vec::new();
    let mut room = 0;
    let shared = shared_payloads(entries);
    let is_shared =
        |entry: &&Entry| PayloadAt::of(entry).is_some_and(|at| shared.contains_key(&at));
    for entry in entries.iter().filter(|entry| !is_shared(entry)) {
        let bytes = entry.bytes();
        let large = bytes > MAX_SEGMENT_BYTES;
        if large || bytes > room {
            packed.push(Packed {
                entries: Vec::new(),
                large: large.then(|| entry.content.payload.clone()),
                changes: &[],
            });
            room = if large { 0 } else { MAX_SEGMENT_BYTES };
        }
        room = room.saturating_sub(bytes);
        packed.last_mut().expect("one was just pushed").entries.push(entry.clone());
    }
    for entries in shared_segments(entries, &shared) {
        let large = entries.first().map(|entry| entry.content.payload.clone());
        packed.push(Packed { entries, large, changes: &[] });
    }
    match packed.last_mut() {
        Some(last) if changes.len() <= MAX_INLINE_CHANGES_BYTES => last.changes = changes,
        Some(_) | None => packed.push(if changes.len() <= MAX_SEGMENT_BYTES {
            Packed { entries: Vec::new(), large: None, changes }
        } else {
            let large = Some(Bytes::copy_from_slice(changes));
            Packed { entries: Vec::new(), large, changes: &[] }
        }),
    }
    packed
}
