//! Opening: the newest commit is done again, what is no commit is dropped, and the log's end is found.

use super::codec::{Corrupt, Reader, be, unseal};
use super::commit::{LogEnd, apply_changes, write_directory};
use super::layout::{CHANGES, GENERATION, VALUE_SLOT, directory_key, log_key};
use super::segment::{Segment, decode_changes, decode_directory, decode_part};
use super::store::Store;
use crate::mailbox::MailboxError;

/// Makes the store hold whole commits only. Changes nothing if the newest one is whole.
pub(super) fn replay(store: &Store) -> Result<LogEnd, MailboxError> {
    let last = last_directory(store)?;
    let tail = Tail::read(store, last.map_or(0, |(id, _)| id))?;
    if let (None, Some((id, _))) = (&tail.newest, last) {
        let what = format!("the newest commit's value (log value {id} or later) is not there");
        return Err(store.damaged(Corrupt(what)));
    }
    let small = small_commit(store)?;
    let small_commit = small.as_ref().map_or(0, |(commit, _)| *commit);
    let log_commit = tail.newest.as_ref().map_or(0, |newest| newest.frame.commit);
    match (&tail.newest, small) {
        (Some(newest), _) if log_commit > small_commit => redo(store, newest)?,
        (_, Some((_, changes))) => {
            let changes = decode_changes(&changes).map_err(|e| store.damaged(e))?;
            apply_changes(store, &changes)?;
        }
        (_, None) => {}
    }
    let next_id = match &tail.newest {
        Some(newest) => newest.id + 1 + u64::from(newest.frame.parts),
        None => 1,
    };
    for &id in tail.values.iter().filter(|&&id| id >= next_id) {
        store.insert(&store.log, log_key(id, VALUE_SLOT), &[])?;
    }
    Ok(LogEnd {
        commit: log_commit.max(small_commit),
        next_id,
        newest_first_id: tail.newest.map_or(1, |newest| newest.frame.first_id),
        reserved: tail.last_key.max(next_id),
    })
}

/// The newest segment in `state`: its id and parts.
fn last_directory(store: &Store) -> Result<Option<(u64, u32)>, MailboxError> {
    let mut keys = store.state.range(directory_key(0)..=directory_key(u64::MAX));
    let Some((key, value)) = store.read(|| keys.next_back().transpose())? else { return Ok(None) };
    let id = be(&key, 1).map(u64::from_be_bytes).map_err(|e| store.damaged(e))?;
    let directory = decode_directory(&key, &value).map_err(|e| store.damaged(e))?;
    Ok(Some((id, directory.parts)))
}

/// The log from the newest known segment on.
struct Tail {
    /// Ids that have values.
    values: Vec<u64>,
    /// The last one that makes a commit whole.
    newest: Option<Segment>,
    last_key: u64,
}

impl Tail {
    fn read(store: &Store, from: u64) -> Result<Self, MailboxError> {
        let mut tail = Self { values: Vec::new(), newest: None, last_key: 0 };
        let mut keys = store.log.range(log_key(from, 0)..);
        while let Some((key, value)) = store.read(|| keys.next().transpose())? {
            let id = be(&key, 0).map(u64::from_be_bytes).map_err(|e| store.damaged(e))?;
            tail.last_key = id;
            if value.is_empty() {
                continue;
            }
            tail.values.push(id);
            if Segment::is_segment(&value) {
                let segment = Segment::decode(id, value).map_err(|e| store.damaged(e))?;
                if segment.frame.is_final {
                    tail.newest = Some(segment);
                }
            }
        }
        Ok(tail)
    }
}

/// The newest commit without messages: its number and changes.
fn small_commit(store: &Store) -> Result<Option<(u64, Vec<u8>)>, MailboxError> {
    let Some(value) = store.get(&store.state, CHANGES)? else { return Ok(None) };
    let read = || {
        let mut reader = Reader::new(unseal(CHANGES, &value)?);
        let commit = reader.number()?;
        Ok((commit, reader.take(reader.left())?.to_vec()))
    };
    read().map(Some).map_err(|e| store.damaged(e))
}

fn redo(store: &Store, newest: &Segment) -> Result<(), MailboxError> {
    let mut id = newest.frame.first_id;
    while id <= newest.id {
        let segment = read_segment(store, id)?.ok_or_else(|| {
            store.damaged(Corrupt(format!("log value {id} of the newest commit is not there")))
        })?;
        let ids = segment.ids().map_err(|e| store.damaged(e))?;
        write_directory(store, id, &segment.directory(), ids)?;
        id += 1 + u64::from(segment.frame.parts);
    }
    let has_messages = !newest.directory().runs.is_empty();
    let large = (newest.frame.parts > 0 && !has_messages)
        .then(|| read_parts(store, newest.id, newest.frame.parts))
        .transpose()?;
    let changes = large.as_deref().unwrap_or(newest.inline_changes());
    let changes = decode_changes(changes).map_err(|e| store.damaged(e))?;
    apply_changes(store, &changes)
}

/// A segment's value; `None` if it isn't there (any more).
pub(super) fn read_segment(store: &Store, id: u64) -> Result<Option<Segment>, MailboxError> {
    match store.get(&store.log, log_key(id, VALUE_SLOT))? {
        Some(value) if !value.is_empty() => {
            Segment::decode(id, value).map(Some).map_err(|e| store.damaged(e))
        }
        Some(_) | None => Ok(None),
    }
}

/// What was split into parts, put together.
pub(super) fn read_parts(store: &Store, segment: u64, parts: u32) -> Result<Vec<u8>, MailboxError> {
    let mut bytes = Vec::new();
    for id in segment + 1..=segment + u64::from(parts) {
        let value = store.get(&store.log, log_key(id, VALUE_SLOT))?.unwrap_or_default();
        let part = decode_part(id, segment, &value).map_err(|e| store.damaged(e))?;
        bytes.extend_from_slice(part);
    }
    Ok(bytes)
}

/// This run's number, one more than any before.
pub(super) fn raise_generation(store: &Store) -> Result<u64, MailboxError> {
    let before = match store.get(&store.state, GENERATION)? {
        None => 0,
        Some(value) => unseal(GENERATION, &value)
            .and_then(|body| Reader::new(body).number())
            .map_err(|e| store.damaged(e))?,
    };
    let mut value = Vec::new();
    super::codec::put_number(&mut value, before + 1);
    super::codec::seal(GENERATION, &mut value);
    store.insert(&store.state, GENERATION, value)?;
    Ok(before + 1)
}
