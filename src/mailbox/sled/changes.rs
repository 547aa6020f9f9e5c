//! What a batch changes: messages for the log, keys of `state`, and the index.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::codec::{put_bytes, put_number, seal};
use super::floor::Floor;
use super::index::{Extra, Index, Queue, Run, Terms};
use super::layout::{
    PART_BYTES, chunk_key, finished_key, floor_key, journal_index_key, journal_key, note_key,
    process_key, queue_key, record_key, repair_key, revision_key, subscription_key,
};
use super::progress::{Advance, Progress, chunk_bytes};
use super::queue_record::stored;
use super::removed::Removed;
use super::segment::{Change, Directory, Entry};
use crate::mailbox::{Elsewhere, MailboxError};
use crate::model::limits::MAX_REPAIR_KEYS;
use crate::model::{
    Batch, Content, JournalEntry, MessageRecord, Op, ProcessKey, ProcessRecord, QueueId,
    QueueRecord, RepairOutcome, RevisionRecord, Seq,
};

/// A checked batch, worked out against the index; nothing is changed yet.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) entries: Vec<Entry>,
    keys: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    queues: BTreeMap<QueueId, QueueRecord>,
    removed_queues: BTreeSet<QueueId>,
    /// As the batch leaves it, if it removes any.
    removed: Option<Removed>,
    /// From the first place to after the last.
    appended: BTreeMap<QueueId, Range<u64>>,
    finished: BTreeMap<QueueId, Vec<u64>>,
    /// Next places that were said.
    next: BTreeMap<QueueId, u64>,
    /// Where they rise.
    gaps_before: BTreeMap<QueueId, u64>,
    advances: Vec<(QueueId, Advance)>,
    extras: BTreeMap<(QueueId, u64), Extra>,
    last_journal: Option<u64>,
    /// As the batch leaves them; none: gone.
    processes: BTreeMap<ProcessKey, BTreeMap<u16, u16>>,
    repairs: Range<u64>,
}

impl Changes {
    /// `batch` is checked.
    pub(super) fn of(
        batch: &Batch,
        elsewhere: &BTreeMap<QueueId, Elsewhere>,
        index: &Index,
    ) -> Result<Self, MailboxError> {
        let mut changes = Self { repairs: index.repairs.clone(), ..Self::default() };
        for op in &batch.ops {
            changes.take(op, index)?;
        }
        changes.settle(elsewhere, index);
        Ok(changes)
    }

    /// Messages that are there already, to be written again.
    pub(super) fn rewriting(entries: Vec<Entry>, index: &Index) -> Self {
        Self { entries, repairs: index.repairs.clone(), ..Self::default() }
    }

    fn take(&mut self, op: &Op, index: &Index) -> Result<(), MailboxError> {
        match op {
            Op::PutQueue(record) => {
                self.put_json(queue_key(record.id), &stored(record))?;
                self.queues.insert(record.id, QueueRecord::clone(record));
            }
            Op::RemoveQueue { queue, next } => self.remove_queue(*queue, *next, index),
            Op::Append { queue, seq, at, content, entry: _ } => {
                let places = self.appended.entry(*queue).or_insert(seq.0..seq.0);
                *places = places.start.min(seq.0)..places.end.max(seq.0 + 1);
                let content = Arc::clone(content);
                self.entries.push(Entry { queue: *queue, seq: *seq, at: *at, content });
            }
            Op::PutRecord { queue, seq, record } => self.put_record(*queue, *seq, record, index)?,
            Op::PutRevision { queue, seq, revision, content } => {
                self.put_revision(*queue, *seq, revision, content, index)?;
            }
            Op::Finish { queue, seq, how: _ } => {
                let extra = std::mem::take(self.extra(*queue, *seq, index));
                self.remove_extra(*queue, *seq, extra);
                self.finished.entry(*queue).or_default().push(seq.0);
            }
            Op::PutNote { queue, note } => {
                let key = note_key(*queue);
                let mut value = note.to_vec();
                seal(&key, &mut value);
                self.keys.insert(key, Some(value));
            }
            Op::PutSubscription(record) => {
                self.put_json(subscription_key(&record.topic, &record.queue), record)?;
            }
            Op::RemoveSubscription { topic, queue } => {
                self.keys.insert(subscription_key(topic, queue), None);
            }
            Op::PutProcess(record) => self.put_process(record, index)?,
            Op::RemoveProcess(key) => self.remove_process(key, index),
            // Kept by the layer above, which knows the streams.
            Op::PassEntry { .. } => {}
            Op::Journal(entry) => self.put_journal(entry)?,
            Op::PutRepair(outcome) => self.put_repair(outcome)?,
        }
        Ok(())
    }

    /// Whatever the batch did to it before is of no use either.
    fn remove_queue(&mut self, queue: QueueId, next: Seq, index: &Index) {
        self.entries.retain(|entry| entry.queue != queue);
        self.queues.remove(&queue);
        self.appended.remove(&queue);
        self.finished.remove(&queue);
        let known = index.queues.get(&queue);
        let mut extras = known.map(|queue| (*queue.extras).clone()).unwrap_or_default();
        let of_queue = |&(of, _): &(QueueId, u64), _: &mut Extra| of == queue;
        let touched = self.extras.extract_if(.., of_queue);
        extras.extend(touched.map(|((_, place), extra)| (place, extra)));
        for (place, extra) in extras {
            self.remove_extra(queue, Seq(place), extra);
        }
        let chunks = known.into_iter().flat_map(|queue| queue.progress.chunks.keys());
        let chunks = chunks.map(|&chunk| finished_key(queue, chunk));
        let keys = [queue_key(queue), floor_key(queue), note_key(queue)];
        self.keys.extend(keys.into_iter().chain(chunks).map(|key| (key, None)));
        let removed = self.removed.get_or_insert_with(|| index.removed.clone());
        let noted = removed.note(queue, next).map(|(key, value)| (key, Some(value)));
        self.keys.extend(noted);
        self.removed_queues.insert(queue);
    }

    fn remove_extra(&mut self, queue: QueueId, seq: Seq, extra: Extra) {
        self.remove_chunks(&record_key(queue, seq), 0..extra.record_chunks);
        for (revision, (chunks, _)) in extra.revisions {
            self.remove_chunks(&revision_key(queue, seq, revision), 0..chunks);
        }
    }

    fn extra(&mut self, queue: QueueId, seq: Seq, index: &Index) -> &mut Extra {
        self.extras.entry((queue, seq.0)).or_insert_with(|| {
            let known = index.queues.get(&queue).and_then(|queue| queue.extras.get(&seq.0));
            known.cloned().unwrap_or_default()
        })
    }

    fn put_record(
        &mut self,
        queue: QueueId,
        seq: Seq,
        record: &MessageRecord,
        index: &Index,
    ) -> Result<(), MailboxError> {
        let key = record_key(queue, seq);
        let chunks = self.put_chunks(&key, &json(record)?)?;
        let extra = self.extra(queue, seq, index);
        let before = std::mem::replace(&mut extra.record_chunks, chunks);
        extra.newest = record.revision.0;
        self.remove_chunks(&key, chunks..before);
        Ok(())
    }

    fn put_revision(
        &mut self,
        queue: QueueId,
        seq: Seq,
        record: &RevisionRecord,
        content: &Content,
        index: &Index,
    ) -> Result<(), MailboxError> {
        let revision = record.revision.0;
        let key = revision_key(queue, seq, revision);
        let mut bytes = Vec::new();
        put_number(&mut bytes, content.payload.len() as u64);
        put_bytes(&mut bytes, &json(record)?);
        put_bytes(&mut bytes, content.header.json());
        bytes.extend_from_slice(&content.payload);
        let chunks = self.put_chunks(&key, &bytes)?;
        let size = content.size_bytes();
        let before = self.extra(queue, seq, index).revisions.insert(revision, (chunks, size));
        self.remove_chunks(&key, chunks..before.map_or(0, |(chunks, _)| chunks));
        Ok(())
    }

    /// The parts of a process so far, with how many chunks each has.
    fn parts(&mut self, process: &ProcessKey, index: &Index) -> &mut BTreeMap<u16, u16> {
        let known = || index.processes.get(process).cloned().unwrap_or_default();
        self.processes.entry(process.clone()).or_insert_with(known)
    }

    fn put_process(&mut self, record: &ProcessRecord, index: &Index) -> Result<(), MailboxError> {
        let ProcessRecord { key: process, part, body } = record;
        let key = process_key(process, *part);
        let chunks = self.put_chunks(&key, &counted(body))?;
        let before = self.parts(process, index).insert(*part, chunks);
        self.remove_chunks(&key, chunks..before.unwrap_or(0));
        Ok(())
    }

    fn remove_process(&mut self, process: &ProcessKey, index: &Index) {
        for (part, chunks) in std::mem::take(self.parts(process, index)) {
            self.remove_chunks(&process_key(process, part), 0..chunks);
        }
    }

    fn put_journal(&mut self, entry: &JournalEntry) -> Result<(), MailboxError> {
        self.put_json(journal_key(entry.number), entry)?;
        self.keys.insert(journal_index_key(&entry.queue, entry.number), Some(Vec::new()));
        self.last_journal = Some(entry.number);
        Ok(())
    }

    fn put_repair(&mut self, outcome: &RepairOutcome) -> Result<(), MailboxError> {
        self.put_json(repair_key(self.repairs.end), outcome)?;
        self.repairs.end += 1;
        while self.repairs.end - self.repairs.start > MAX_REPAIR_KEYS as u64 {
            self.keys.insert(repair_key(self.repairs.start), None);
            self.repairs.start += 1;
        }
        Ok(())
    }

    /// Gaps of the queues that are only here from now on: what is not here was elsewhere.
    fn allow_gaps(&mut self, index: &Index) {
        let appended = |queue| self.appended.get(&queue).cloned().unwrap_or_default();
        for (&id, known) in self.queues.keys().filter_map(|id| index.queues.get_key_value(id)) {
            if Terms::from(&self.queues[&id]).is_file && !known.terms.is_file {
                self.gaps_before.insert(id, known.end().max(appended(id).end));
            }
        }
    }

    /// Works out floors once all is known.
    fn settle(&mut self, elsewhere: &BTreeMap<QueueId, Elsewhere>, index: &Index) {
        self.allow_gaps(index);
        let said = elsewhere.iter().filter_map(|(&queue, at)| Some((queue, at.next?.0)));
        self.next = said.filter(|(queue, _)| !self.removed_queues.contains(queue)).collect();
        let mut finished = std::mem::take(&mut self.finished);
        for &queue in self.next.keys().chain(self.gaps_before.keys()) {
            finished.entry(queue).or_default();
        }
        for (&queue, places) in &mut finished {
            let first = elsewhere.get(&queue).and_then(|at| at.first);
            let advance = self.advance(queue, places, first, index);
            for (&chunk, bits) in &advance.put {
                let key = finished_key(queue, chunk);
                let mut bytes = chunk_bytes(bits);
                seal(&key, &mut bytes);
                self.keys.insert(key, Some(bytes));
            }
            for &chunk in &advance.removed {
                self.keys.insert(finished_key(queue, chunk), None);
            }
            self.advances.push((queue, advance));
        }
        self.finished = finished;
    }

    /// What finishing `places` does to a queue whose first place elsewhere is `first`.
    fn advance(
        &mut self,
        queue: QueueId,
        places: &mut [u64],
        first: Option<Seq>,
        index: &Index,
    ) -> Advance {
        let known = index.queues.get(&queue);
        let made = || self.queues.get(&queue).map(|record| record.first.0);
        let start = known.map(|queue| queue.terms.first).or_else(made).unwrap_or(1);
        let appended = self.appended.get(&queue).cloned().unwrap_or_default();
        let end = known.and_then(|queue| queue.runs.back()).map_or(start, Run::end);
        let end = end.max(appended.end);
        let before = known.map_or(start, |queue| queue.next);
        let next = match self.next.get_mut(&queue) {
            Some(said) => {
                *said = end.max(*said);
                // What was set aside may never be used here.
                let gaps_before = self.gaps_before.entry(queue).or_default();
                *gaps_before = before.max(*said).max(*gaps_before);
                *said
            }
            None => end.max(before),
        };
        // What waits, here or elsewhere, before this commit or with it, is not skipped; nor what is set aside.
        let skip = |place: u64| {
            let in_run = known.and_then(|queue| queue.next_in_run(place)).unwrap_or(end);
            let first = first.map_or(u64::MAX, |first| first.0);
            let new = if place < appended.end { appended.start } else { u64::MAX };
            in_run.min(first).min(new).max(place)
        };
        let advance = match known {
            Some(queue) => queue.progress.advance(places, skip),
            None => Progress::new(Seq(start)).advance(places, skip),
        };
        let gaps_before = self.gaps_before.get(&queue).copied().unwrap_or(0);
        let gaps_before = gaps_before.max(known.map_or(0, |queue| queue.gaps_before));
        let (key, value) = Floor { floor: advance.floor, next, gaps_before }.encode(queue);
        self.keys.insert(key, Some(value));
        advance
    }

    fn put_json(&mut self, key: Vec<u8>, value: &impl Serialize) -> Result<(), MailboxError> {
        let mut bytes = json(value)?;
        if bytes.len() > PART_BYTES {
            let what = format!("a value of {} bytes is too large", bytes.len());
            return Err(MailboxError::Inconsistent { what });
        }
        seal(&key, &mut bytes);
        self.keys.insert(key, Some(bytes));
        Ok(())
    }

    fn put_chunks(&mut self, prefix: &[u8], bytes: &[u8]) -> Result<u16, MailboxError> {
        let mut chunks = 0;
        for chunk in bytes.chunks(PART_BYTES) {
            let key = chunk_key(prefix, chunks);
            let mut value = chunk.to_vec();
            seal(&key, &mut value);
            self.keys.insert(key, Some(value));
            chunks = chunks.checked_add(1).ok_or_else(|| MailboxError::Inconsistent {
                what: format!("a record or revision of {} bytes is too large", bytes.len()),
            })?;
        }
        Ok(chunks)
    }

    fn remove_chunks(&mut self, prefix: &[u8], chunks: Range<u16>) {
        for chunk in chunks {
            self.keys.insert(chunk_key(prefix, chunk), None);
        }
    }

    /// The keys of `state`, in order.
    pub(super) fn keys(&self) -> Vec<Change> {
        self.keys.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Brings the index up to what is in the store now; `segments` are those of `entries`.
    pub(super) fn apply(self, segments: &[(u64, Directory)], index: &mut Index) {
        let mut touched: Vec<QueueId> = self.appended.into_keys().collect();
        for (id, record) in self.queues {
            touched.push(id);
            match index.queues.get_mut(&id) {
                Some(queue) => queue.terms = Terms::from(&record),
                None => drop(index.queues.insert(id, Box::new(Queue::new(&record)))),
            }
        }
        for (id, directory) in segments {
            index.add_segment(*id, directory);
        }
        for (&queue, places) in &self.finished {
            touched.push(queue);
            places.iter().for_each(|&place| index.release(queue, place));
        }
        for (queue, advance) in self.advances {
            if let Some(queue) = index.queues.get_mut(&queue) {
                queue.progress.apply(advance);
            }
        }
        for (id, next) in self.next {
            if let Some(queue) = index.queues.get_mut(&id) {
                queue.next = next;
            }
        }
        for (id, gaps_before) in self.gaps_before {
            if let Some(queue) = index.queues.get_mut(&id) {
                queue.gaps_before = gaps_before.max(queue.gaps_before);
            }
        }
        for ((queue, place), extra) in self.extras {
            let Some(queue) = index.queues.get_mut(&queue) else { continue };
            if extra == Extra::default() {
                queue.extras.remove(place);
            } else {
                *queue.extras.at(place) = extra;
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().for_each(|queue| index.trim(queue));
        index.last_journal = self.last_journal.unwrap_or(index.last_journal);
        for (process, parts) in self.processes {
            if parts.is_empty() {
                index.processes.remove(&process);
            } else {
                index.processes.insert(process, parts);
            }
        }
        index.repairs = self.repairs;
        self.removed_queues.into_iter().for_each(|queue| index.remove_queue(queue));
        if let Some(removed) = self.removed {
            index.removed = removed;
        }
    }
}

/// A process' part with its length before it: so it is known whether all chunks are there.
fn counted(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 5);
    put_bytes(&mut bytes, body);
    bytes
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, MailboxError> {
    serde_json::to_vec(value)
        .map_err(|e| MailboxError::Inconsistent { what: format!("a record has no JSON: {e}") })
}
