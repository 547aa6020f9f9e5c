//! Opening: the newest commit is done again, what is no commit is dropped, and the log's end is found.

use super::codec::{Corrupt, Reader, be, unseal};
use super::commit::{LogEnd, apply_changes, write_directory};
use super::layout::{CHANGES, RUN, VALUE_SLOT, directory_key, log_key};
use super::segment::{Segment, decode_changes, decode_part};
use super::store::Store;
use crate::mailbox::MailboxError;

/// Makes the store hold whole commits only. Changes nothing if the newest one is whole.
pub(super) fn replay(store: &Store) -> Result<LogEnd, MailboxError> {
    let begin = store.begin();
    let last = last_directory(store)?.filter(|&id| id >= begin.first_id);
    let tail = Tail::read(store, last.unwrap_or(begin.first_id))?;
    if let (None, Some(id)) = (&tail.newest, last) {
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
        None => begin.first_id,
    };
    for &id in tail.values.iter().filter(|&&id| id >= next_id) {
        store.put_log(log_key(id, VALUE_SLOT), &[])?;
    }
    Ok(LogEnd {
        commit: log_commit.max(small_commit).max(begin.commit),
        next_id,
        newest_first_id: tail.newest.map_or(begin.first_id, |newest| newest.frame.first_id),
        reserved: tail.last_key.max(next_id),
    })
}

/// The newest segment in `state`.
fn last_directory(store: &Store) -> Result<Option<u64>, MailboxError> {
    let generation = store.active()?.generation;
    let mut keys = generation.state.range(directory_key(0)..=directory_key(u64::MAX));
    let Some((key, _)) = generation.read(|| keys.next_back().transpose())? else {
        return Ok(None);
    };
    be(&key, 1).map(u64::from_be_bytes).map(Some).map_err(|e| store.damaged(e))
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
        let generation = store.active()?.generation;
        let mut keys = generation.log.range(log_key(from, 0)..);
        while let Some((key, value)) = generation.read(|| keys.next().transpose())? {
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
    let Some(value) = store.get_state(CHANGES)? else { return Ok(None) };
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
    let Some(value) = store.log_value(id)? else { return Ok(None) };
    Segment::decode(id, value).map(Some).map_err(|e| store.damaged(e))
}

/// What was split into parts, put together.
pub(super) fn read_parts(store: &Store, segment: u64, parts: u32) -> Result<Vec<u8>, MailboxError> {
    let mut bytes = Vec::new();
    for id in segment + 1..=segment + u64::from(parts) {
        let value = store.log_value(id)?.unwrap_or_default();
        let part = decode_part(id, segment, &value).map_err(|e| store.damaged(e))?;
        bytes.extend_from_slice(part);
    }
    Ok(bytes)
}

/// This run's number, one more than any before and than `after`.
pub(super) fn raise_run(store: &Store, after: u64) -> Result<u64, MailboxError> {
    let before = match store.get_state(RUN)? {
        None => 0,
        Some(value) => unseal(RUN, &value)
            .and_then(|body| Reader::new(body).number())
            .map_err(|e| store.damaged(e))?,
    };
    let run = before.max(after) + 1;
    let mut value = Vec::new();
    super::codec::put_number(&mut value, run);
    super::codec::seal(RUN, &mut value);
    store.put_state(RUN, value)?;
    Ok(run)
}
