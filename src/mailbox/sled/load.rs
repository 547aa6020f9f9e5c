//! Opening: the index from `state`, and what the broker is told of it.

use std::collections::{BTreeMap, VecDeque};

use ::sled::IVec;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::codec::{Corrupt, Decoded, Reader, be, unseal};
use super::floor::Floor;
use super::index::{Extra, Index, Owner, Queue};
use super::layout::{ids_key, process_of};
use super::progress::chunk_from;
use super::replay::read_segment;
use super::segment::{Directory, DirectoryRun, IdEntry, decode_directory, decode_ids};
use super::store::Store;
use super::unreadable::stand_ins;
use crate::mailbox::MailboxError;
use crate::mailbox::pack::Packing;
use crate::model::{
    Generation, MessageRecord, ProcessKey, ProcessRecord, QueueBacklog, QueueId, QueueRecord,
    Recovered, RepairOutcome, Seq, SharedSettings, StreamId, SubscriptionRecord,
};

/// Decodes what is under one key.
pub(super) fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Decoded<T> {
    from_json(key, unseal(key, value)?)
}

pub(super) fn from_json<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Decoded<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| Corrupt(format!("value {}: {e}", super::codec::hex(key))))
}

fn number(key: &[u8], at: usize) -> Decoded<u64> {
    be(key, at).map(u64::from_be_bytes)
}

fn queue_of(key: &[u8]) -> Decoded<QueueId> {
    be(key, 1).map(|bytes| QueueId(u32::from_be_bytes(bytes)))
}

impl Store {
    fn each(
        &self,
        letter: u8,
        mut take: impl FnMut(&[u8], IVec) -> Decoded<()>,
    ) -> Result<(), MailboxError> {
        self.scan(&[letter], |key, value| take(key, value).map_err(|e| self.damaged(e)))
    }
}

/// The queues' records, in order.
fn records(store: &Store) -> Result<Vec<QueueRecord>, MailboxError> {
    let mut shared = SharedSettings::default();
    let mut records = Vec::new();
    store.each(b'q', |key, value| {
        let mut record: QueueRecord = decode(key, &value)?;
        record.settings = shared.share(record.settings);
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

/// Reads what stays in RAM, and the queues' records for [`recovered`]. Its time grows with queues, segments and records,
/// not with payloads.
pub(super) fn load(store: &Store) -> Result<(Index, Vec<QueueRecord>), MailboxError> {
    let mut index = Index { generations: store.generations(), ..Index::default() };
    let queue_records = records(store)?;
    // At once: put in one by one in order, the map's nodes would stay half empty.
    let queues = queue_records.iter().map(|record| (record.id, Box::new(Queue::new(record))));
    index.queues = queues.collect();
    index.packing = Packing::of(index.queues.len());
    store.each(b'd', |key, value| index.removed.take_chunk(key, &value))?;
    store.each(b'h', |_, value| index.removed.take_next(&value))?;
    store.each(b'f', |key, value| {
        let queue = known(&mut index, queue_of(key)?)?;
        let Floor { floor, next, gaps_before } = Floor::decode(unseal(key, &value)?)?;
        queue.progress.floor = floor;
        (queue.next, queue.gaps_before) = (next, gaps_before);
        Ok(())
    })?;
    store.each(b'e', |key, value| {
        let chunk = chunk_from(unseal(key, &value)?)
            .ok_or_else(|| Corrupt("a chunk of finished places is too long".to_owned()))?;
        let queue = known(&mut index, queue_of(key)?)?;
        queue.progress.chunks.insert(number(key, 5)?, chunk);
        Ok(())
    })?;
    store.each(b's', |key, value| {
        index.add_segment(number(key, 1)?, &decode_directory(key, &value)?);
        Ok(())
    })?;
    let queues: Vec<QueueId> = index.queues.keys().copied().collect();
    queues.into_iter().for_each(|queue| index.trim(queue));
    load_extras(store, &mut index)?;
    index.last_journal = last_number(store, b'j')?;
    let state = store.active()?.generation;
    let first = state.read(|| state.state.scan_prefix(b"p").next().transpose())?;
    let first = first.map(|(key, _)| number(&key, 1)).transpose().map_err(|e| store.damaged(e))?;
    // Read when the broker recovers: what is damaged of it must be found now.
    store.each(b'p', |key, value| decode::<RepairOutcome>(key, &value).map(drop))?;
    store.each(b'n', |key, value| unseal(key, &value).map(drop))?;
    store.each(b't', |key, value| decode::<SubscriptionRecord>(key, &value).map(drop))?;
    processes(store, &mut index.processes)?;
    let last = last_number(store, b'p')?;
    index.repairs = first.unwrap_or(last + 1)..last + 1;
    Ok((index, queue_records))
}

fn known(index: &mut Index, queue: QueueId) -> Decoded<&mut Queue> {
    let missing = || Corrupt(format!("there is no record of queue {queue}"));
    index.queues.get_mut(&queue).map(Box::as_mut).ok_or_else(missing)
}

fn last_number(store: &Store, letter: u8) -> Result<u64, MailboxError> {
    let state = store.active()?.generation;
    let last = state.read(|| state.state.scan_prefix([letter]).next_back().transpose())?;
    let number = last.map(|(key, _)| number(&key, 1)).transpose().map_err(|e| store.damaged(e))?;
    Ok(number.unwrap_or(0))
}

fn load_extras(store: &Store, index: &mut Index) -> Result<(), MailboxError> {
    each_record(store, |queue, seq, chunks, record| {
        let extra = known(index, queue)?.extras.at(seq.0);
        *extra = Extra { record_chunks: chunks, newest: record.revision.0, ..Extra::default() };
        Ok(())
    })?;
    store.each(b'v', |key, value| {
        let revision = u32::from_be_bytes(be(key, 13)?);
        let chunk = u16::from_be_bytes(be(key, 17)?);
        let extra = known(index, queue_of(key)?)?.extras.at(number(key, 5)?);
        let (chunks, bytes) = extra.revisions.entry(revision).or_default();
        *chunks = chunk + 1;
        if chunk == 0 {
            let mut reader = Reader::new(unseal(key, &value)?);
            let payload = reader.number()?;
            reader.bytes()?;
            *bytes = payload + reader.number()?;
        }
        Ok(())
    })
}

/// Every message record, put together from its chunks.
fn each_record(
    store: &Store,
    mut take: impl FnMut(QueueId, Seq, u16, MessageRecord) -> Decoded<()>,
) -> Result<(), MailboxError> {
    let mut open: Option<(Vec<u8>, u16, Vec<u8>)> = None;
    let mut finish = |open: Option<(Vec<u8>, u16, Vec<u8>)>| match open {
        None => Ok(()),
        Some((prefix, chunks, bytes)) => {
            let record = from_json(&prefix, &bytes)?;
            take(queue_of(&prefix)?, Seq(number(&prefix, 5)?), chunks, record)
        }
    };
    store.each(b'r', |key, value| {
        let body = unseal(key, &value)?;
        let prefix = &key[..key.len() - 2];
        match &mut open {
            Some((same, chunks, bytes)) if same == prefix => {
                *chunks += 1;
                bytes.extend_from_slice(body);
                Ok(())
            }
            _ => finish(open.replace((prefix.to_vec(), 1, body.to_vec()))),
        }
    })?;
    finish(open.take()).map_err(|e| store.damaged(e))
}

/// What is there, for `Mailbox::recover`; `known` are the queues' records, if they are in RAM.
pub(super) fn recovered(
    store: &Store,
    index: &Index,
    known: Option<Vec<QueueRecord>>,
    generation: u64,
) -> Result<Recovered, MailboxError> {
    let known = known.map_or_else(|| records(store), Ok)?;
    let of = |record: QueueRecord| {
        let queue = index.queues.get(&record.id)?;
        Some((record.id, empty_backlog(record, queue)))
    };
    let mut backlogs: BTreeMap<QueueId, QueueBacklog> = known.into_iter().filter_map(of).collect();
    store.each(b's', |key, value| {
        let segment = number(key, 1)?;
        let directory = decode_directory(key, &value)?;
        let mut ids: Option<Vec<IdEntry>> = None;
        let mut before = 0;
        for run in &directory.runs {
            let range = before..before + run.count as usize;
            before = range.end;
            let queue = index.queues.get(&run.queue).zip(backlogs.get_mut(&run.queue));
            let Some((queue, backlog)) = queue else { continue };
            let is_whole = match queue.owner(run, segment) {
                Owner::Nobody => continue,
                Owner::Whole => true,
                Owner::Part => false,
            };
            if is_whole && count_whole_run(queue, run, backlog) {
                continue;
            }
            if ids.is_none() {
                ids = Some(store.ids_or_stand_ins(segment, &directory)?);
            }
            let ids = ids.as_deref().and_then(|ids| ids.get(range));
            let ids = ids.ok_or_else(|| Corrupt(format!("segment {segment} misses ids")))?;
            count_messages(queue, run, segment, ids, backlog);
        }
        Ok(())
    })?;
    // Filled-in places are in later segments than those behind them.
    backlogs.values_mut().for_each(|backlog| backlog.window.sort_by_key(|&(_, place)| place));
    each_record(store, |queue, seq, _, record| {
        if let Some(backlog) = backlogs.get_mut(&queue) {
            backlog.records.push((seq, record));
        }
        Ok(())
    })?;
    store.each(b'n', |key, value| {
        if let Some(backlog) = backlogs.get_mut(&queue_of(key)?) {
            backlog.note = Bytes::copy_from_slice(unseal(key, &value)?);
        }
        Ok(())
    })?;
    let mut subscriptions = Vec::new();
    store.each(b't', |key, value| {
        subscriptions.push(decode(key, &value)?);
        Ok(())
    })?;
    let processes = processes(store, &mut BTreeMap::new())?;
    let mut repairs = VecDeque::new();
    store.each(b'p', |key, value| {
        let outcome: RepairOutcome = decode(key, &value)?;
        repairs.push_back((outcome.key.clone(), outcome));
        Ok(())
    })?;
    Ok(Recovered {
        generation: Generation(generation),
        queues: backlogs.into_values().collect(),
        removed: index.removed.all(),
        subscriptions,
        processes,
        last_journal: index.last_journal,
        repairs,
    })
}

/// All parts of processes; how many chunks each has is put into `chunks`.
fn processes(
    store: &Store,
    chunks: &mut BTreeMap<ProcessKey, BTreeMap<u16, u16>>,
) -> Result<Vec<ProcessRecord>, MailboxError> {
    let mut records: Vec<(ProcessKey, u16, Vec<u8>)> = Vec::new();
    store.each(b'o', |key, value| {
        let body = unseal(key, &value)?;
        let (process, part, chunk) = process_of(key)?;
        let known = chunks.entry(process.clone()).or_default().entry(part).or_default();
        if chunk != *known {
            return Err(Corrupt(format!("chunk {known} of process {} is missing", process.id)));
        }
        *known += 1;
        match records.last_mut().filter(|_| chunk > 0) {
            Some((_, _, bytes)) => bytes.extend_from_slice(body),
            None => records.push((process, part, body.to_vec())),
        }
        Ok(())
    })?;
    let record = |(key, part, bytes): (ProcessKey, u16, Vec<u8>)| {
        let body = Bytes::copy_from_slice(whole(&bytes)?);
        Ok(ProcessRecord { key, part, body })
    };
    records.into_iter().map(record).collect::<Decoded<_>>().map_err(|e| store.damaged(e))
}

/// A process' part, if all chunks of it are there.
pub(super) fn whole(bytes: &[u8]) -> Decoded<&[u8]> {
    let mut reader = Reader::new(bytes);
    let body = reader.bytes()?;
    if reader.is_empty() {
        return Ok(body);
    }
    Err(Corrupt("a process' part is longer than it says".to_owned()))
}

fn empty_backlog(record: QueueRecord, queue: &Queue) -> QueueBacklog {
    let floor = queue.first_unfinished(0).unwrap_or(queue.next);
    let mut finished = queue.progress.exceptions();
    let exceptions = finished.len();
    finished.extend(queue.gaps(floor).flatten().map(Seq));
    if finished.len() > exceptions {
        finished.sort_unstable();
        finished.dedup();
    }
    finished.retain(|place| place.0 > floor);
    QueueBacklog {
        record,
        floor: Seq(floor),
        next_seq: Seq(queue.next),
        finished,
        bytes: 0,
        oldest_at: None,
        records: Vec::new(),
        window: Vec::new(),
        newest_entry: StreamId::ZERO,
        note: Bytes::new(),
    }
}

/// Adds up a run of which no single message needs to be looked at; `false` if one does.
fn count_whole_run(queue: &Queue, run: &DirectoryRun, backlog: &mut QueueBacklog) -> bool {
    let end = run.first.0 + u64::from(run.count);
    let live = queue.progress.unfinished_in(run.first.0, run.count);
    let is_partial = live > 0 && live < run.count;
    let holds_oldest = (run.first.0..end).contains(&backlog.floor.0);
    let is_oldest = holds_oldest && (run.first != backlog.floor || run.first_at.is_none());
    let is_edited = queue.extras.range(run.first.0..end).any(|(_, e)| e.read_revision() > 0);
    if is_partial || is_oldest || is_edited || end > queue.window_start() {
        return false;
    }
    if live > 0 {
        if holds_oldest {
            backlog.oldest_at = run.first_at;
        }
        backlog.bytes += run.bytes;
    }
    true
}

fn count_messages(
    queue: &Queue,
    run: &DirectoryRun,
    segment: u64,
    ids: &[IdEntry],
    backlog: &mut QueueBacklog,
) {
    for (entry, place) in ids.iter().zip(run.first.0..) {
        if queue.segment_of(place) != Some(segment) {
            continue;
        }
        if place >= queue.window_start() {
            backlog.window.push((entry.id.clone(), Seq(place)));
        }
        if queue.progress.is_finished(place) {
            continue;
        }
        if place == backlog.floor.0 {
            backlog.oldest_at = Some(entry.at);
        }
        let extra = queue.extras.get(&place);
        let edited = extra.and_then(|extra| extra.revisions.get(&extra.read_revision()));
        backlog.bytes += edited.map_or(entry.bytes, |&(_, bytes)| bytes);
    }
}

impl Store {
    /// The ids of a segment. Those that are damaged are taken from the segment itself; without it, other
    /// ids stand for them.
    fn ids_or_stand_ins(&self, id: u64, directory: &Directory) -> Decoded<Vec<IdEntry>> {
        let key = ids_key(id);
        let missing = || Corrupt(format!("the ids of segment {id} are not there"));
        let read = || -> Result<Vec<IdEntry>, MailboxError> {
            let value = self.ids_value(id)?.ok_or_else(|| self.damaged(missing()))?;
            decode_ids(&key, &value).map_err(|e| self.damaged(e))
        };
        let again = || {
            let segment = read_segment(self, id)?.ok_or_else(|| self.damaged(missing()))?;
            segment.ids().map_err(|e| self.damaged(e))
        };
        match read().or_else(|error| if_damaged(error).and_then(|()| again())) {
            Ok(ids) => Ok(ids),
            Err(error) => {
                if_damaged(error).map_err(|e| Corrupt(e.to_string()))?;
                let runs = directory.runs.iter();
                Ok(runs.flat_map(|run| stand_ins(run.queue, run.first.0..run.end().0)).collect())
            }
        }
    }
}

/// Passes on any error but damage, which is logged.
fn if_damaged(error: MailboxError) -> Result<(), MailboxError> {
    match error {
        MailboxError::Damaged { what, .. } => {
            tracing::error!(what, "ids are damaged");
            Ok(())
        }
        other => Err(other),
    }
}
