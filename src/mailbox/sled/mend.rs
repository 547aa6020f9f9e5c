//! From what was gathered of a damaged database to keys and values that make a sound one.
//!
//! * Every sound log value of a commit that was whole is kept.
//! * A message whose value is lost keeps its place: its directory stays, and reading it says that it is
//!   damaged. Places that nothing tells of any more get a directory of their own without a value.
//! * Floors only rise, so the highest found is right; what is below it is not brought back.
//! * What is lost of a record or a revision blocks its message.
//! * If something is lost and nothing tells what, every queue with messages is paused: an operator looks first.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use super::codec::{Decoded, Reader, be, hex, put_bytes, put_number, seal, unseal};
use super::gather::{Gathered, Place, log_id};
use super::index::{Queue, chunk_from};
use super::layout::{
    CHANGES, CHUNK_PLACES, VALUE_SLOT, chunk_key, directory_key, floor_key, ids_key, log_key,
    queue_key, record_key,
};
use super::load::{decode, from_json};
use super::raw::LogFile;
use super::segment::{
    Directory, DirectoryRun, Frame, IdEntry, Segment, decode_directory, decode_ids, decode_part,
    encode_directory, encode_ids, encode_segment,
};
use super::unreadable::{CODE, stand_ins};
use crate::model::{
    Actor, MessageRecord, MessageState, PauseRecord, QueueId, QueueName, QueueRecord,
    QueueSettings, Seq, Timestamp, WorkError,
};

/// Places in one run of a directory that stands for messages of which nothing is left: their ids are in one
/// value.
const MAX_STAND_INS: u64 = 1024;

/// A value of the sound database.
#[derive(Debug)]
pub(super) enum Value {
    /// As it is in the damaged file.
    Kept(Place),
    New(Vec<u8>),
}

/// Messages that are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LostMessages {
    pub(super) queue: QueueId,
    pub(super) name: String,
    pub(super) places: Range<u64>,
    /// The log value that held them, if that is known.
    pub(super) log_value: Option<u64>,
    /// Those of them that are known, with their places.
    pub(super) ids: Vec<(u64, String)>,
}

/// The keys and values of the sound database, and what is not among them.
#[derive(Debug, Default)]
pub(super) struct Mended {
    pub(super) log: BTreeMap<u64, Value>,
    pub(super) state: BTreeMap<Vec<u8>, Value>,
    pub(super) lost: Vec<LostMessages>,
    /// What else is lost, a line each.
    pub(super) notes: Vec<String>,
    /// By queue, how many messages wait, lost ones included.
    pub(super) waiting: BTreeMap<String, u64>,
    /// Queues that were paused, since something unknown is lost.
    pub(super) paused: Vec<String>,
}

/// What a generation that isn't written any more is needed for: its log values and their ids.
pub(super) fn mend_sealed(gathered: &Gathered) -> Mended {
    let mut mended = Mended {
        log: gathered.log_values().map(|(id, place)| (id, Value::Kept(place))).collect(),
        state: BTreeMap::new(),
        ..Mended::default()
    };
    let ids = gathered.state_values(b'i');
    mended.state.extend(ids.map(|(key, place)| (key.to_vec(), Value::Kept(place))));
    let lost = gathered.lost().filter(|key| log_id(key).is_some() || key[0] == b'i');
    mended.notes.extend(lost.map(|key| format!("the value of key {}", hex(key))));
    mended
}

/// Works out what the active generation is made of. `first_id` is where its log's ids begin, and commits up
/// to `synced` are known to have been in it. `is_elsewhere` says of ids of earlier generations whether their
/// values are there.
pub(super) fn mend(
    file: &LogFile,
    gathered: &Gathered,
    first_id: u64,
    synced: u64,
    now: Timestamp,
    is_elsewhere: &dyn Fn(u64) -> bool,
) -> io::Result<Mended> {
    let queues = BTreeMap::new();
    let directories = BTreeMap::new();
    let mended = Mended::default();
    let mut mender =
        Mender { file, gathered, first_id, synced, now, is_elsewhere, queues, directories, mended };
    mender.take_queues()?;
    mender.take_progress()?;
    mender.take_directories()?;
    mender.take_log()?;
    mender.fill_gaps();
    mender.write_directories()?;
    mender.take_messages(b'r')?;
    mender.take_messages(b'v')?;
    mender.take_others();
    mender.say_what_is_lost();
    mender.write_queues();
    mender.end_log();
    Ok(mender.mended)
}

struct Mender<'a> {
    file: &'a LogFile,
    gathered: &'a Gathered,
    first_id: u64,
    synced: u64,
    now: Timestamp,
    is_elsewhere: &'a dyn Fn(u64) -> bool,
    queues: BTreeMap<QueueId, Queue>,
    directories: BTreeMap<u64, Directory>,
    mended: Mended,
}

impl Mender<'_> {
    fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        self.file.read(place.offset, place.bytes)
    }

    fn note(&mut self, text: String) {
        self.mended.notes.push(text);
    }

    fn take_queues(&mut self) -> io::Result<()> {
        for (key, place) in self.gathered.state_values(b'q') {
            match decode::<QueueRecord>(key, &self.read(place)?) {
                Ok(record) => drop(self.queues.insert(record.id, Queue::new(record))),
                Err(error) => self.note(format!("a queue's record: {}", error.0)),
            }
        }
        Ok(())
    }

    /// A queue that something belongs to; if its own record is lost, it gets a name by its id and is paused.
    fn queue(&mut self, id: QueueId) -> &mut Queue {
        if !self.queues.contains_key(&id) {
            let name = format!("recovered-{id}");
            self.note(format!("the record of queue {id} is lost: it is called {name} now"));
            let record = QueueRecord {
                id,
                name: QueueName::new(&name).expect("letters, a dash and a number"),
                settings: QueueSettings::default().into(),
                overrides: Default::default(),
                paused: Some(pause(self.now, "its settings were lost in the store")),
                created_at: self.now,
            };
            self.queues.insert(id, Queue::new(record));
        }
        self.queues.get_mut(&id).expect("it was just put in")
    }

    fn take_progress(&mut self) -> io::Result<()> {
        for (&id, &(floor, next)) in &self.gathered.floors {
            let queue = self.queue(id);
            queue.progress.floor = floor.max(1);
            queue.next = next.max(floor).max(1);
        }
        for (key, place) in self.gathered.state_values(b'e') {
            let value = self.read(place)?;
            let read = || -> Decoded<_> {
                let queue = QueueId(u32::from_be_bytes(be(key, 1)?));
                let number = u64::from_be_bytes(be(key, 5)?);
                Ok((queue, number, chunk_from(unseal(key, &value)?)))
            };
            let Ok((queue, number, Some(chunk))) = read() else { continue };
            let queue = self.queue(queue);
            // One that the floor has passed was removed.
            if number.saturating_add(1).saturating_mul(CHUNK_PLACES) > queue.progress.floor {
                queue.progress.chunks.insert(number, chunk);
                self.mended.state.insert(key.to_vec(), Value::Kept(place));
            }
        }
        Ok(())
    }

    fn take_directories(&mut self) -> io::Result<()> {
        for (key, place) in self.gathered.state_values(b's') {
            let value = self.read(place)?;
            let id = be(key, 1).map(u64::from_be_bytes);
            match (id, decode_directory(key, &value)) {
                (Ok(id), Ok(directory)) => drop(self.directories.insert(id, directory)),
                (_, Err(error)) | (Err(error), _) => self.note(format!("a directory: {}", error.0)),
            }
        }
        let runs: Vec<(QueueId, u64)> = self
            .directories
            .values()
            .flat_map(|d| &d.runs)
            .map(|run| (run.queue, end(run)))
            .collect();
        for (id, end) in runs {
            let queue = self.queue(id);
            queue.next = queue.next.max(end);
        }
        Ok(())
    }

    /// Keeps the sound values, and makes directories for those that have none and hold messages that wait.
    fn take_log(&mut self) -> io::Result<()> {
        for (id, place) in self.gathered.log_values() {
            let value = self.read(place)?;
            if !Segment::is_segment(&value) {
                self.mended.log.insert(id, Value::Kept(place));
                continue;
            }
            let Ok(segment) = Segment::decode(id, value.as_slice().into()) else { continue };
            // With its last value the commit was whole. If that is lost, the directory came after it.
            let is_whole = segment.frame.commit <= self.gathered.commit;
            if !is_whole && !self.directories.contains_key(&id) {
                continue;
            }
            self.mended.log.insert(id, Value::Kept(place));
            if !self.directories.contains_key(&id) {
                self.add_directory(id, &segment);
            }
        }
        Ok(())
    }

    fn add_directory(&mut self, id: u64, segment: &Segment) {
        let Directory { parts, runs } = segment.directory();
        let Ok(ids) = segment.ids() else { return };
        let (mut wanted, mut entries) = (Vec::new(), Vec::new());
        let mut before = 0;
        for run in runs {
            let queue = self.queue(run.queue);
            queue.next = queue.next.max(end(&run));
            for places in self.uncovered(run.queue, run.first.0..end(&run)) {
                let start = before + (places.start - run.first.0) as usize;
                let ids = &ids[start..start + (places.end - places.start) as usize];
                entries.extend_from_slice(ids);
                wanted.push(DirectoryRun {
                    first: Seq(places.start),
                    count: ids.len() as u32,
                    bytes: ids.iter().map(|entry| entry.bytes).sum(),
                    first_at: ids.first().map(|entry| entry.at),
                    ..run
                });
            }
            before += run.count as usize;
        }
        if !wanted.is_empty() {
            self.directories.insert(id, Directory { parts, runs: wanted });
            self.put_ids(id, entries);
        }
    }

    fn put_ids(&mut self, id: u64, entries: Vec<IdEntry>) {
        let key = ids_key(id);
        let value = encode_ids(&key, entries);
        self.mended.state.insert(key, Value::New(value));
    }

    /// Of these places, those that are unfinished and in no directory.
    fn uncovered(&self, queue: QueueId, places: Range<u64>) -> Vec<Range<u64>> {
        let covered: Vec<Range<u64>> = self
            .directories
            .values()
            .flat_map(|directory| &directory.runs)
            .filter(|run| run.queue == queue && run.first.0 < places.end && end(run) > places.start)
            .map(|run| run.first.0..end(run))
            .collect();
        let progress = &self.queues[&queue].progress;
        let is_free = |place: &u64| {
            !progress.is_finished(*place) && !covered.iter().any(|range| range.contains(place))
        };
        ranges((places.start.max(progress.floor)..places.end).filter(is_free))
    }

    /// Places that nothing tells of get directories without values.
    fn fill_gaps(&mut self) {
        let mut id = self.end_of_log();
        for (queue, places) in self.gaps() {
            for start in places.clone().step_by(MAX_STAND_INS as usize) {
                let places = start..places.end.min(start + MAX_STAND_INS);
                let count = (places.end - places.start) as u32;
                let first_at = Some(Timestamp(0));
                let run = DirectoryRun { queue, first: Seq(start), count, bytes: 0, first_at };
                self.directories.insert(id, Directory { parts: 0, runs: vec![run] });
                self.put_ids(id, stand_ins(queue, places));
                id += 1;
            }
        }
    }

    fn gaps(&self) -> Vec<(QueueId, Range<u64>)> {
        let mut runs: BTreeMap<QueueId, Vec<Range<u64>>> = BTreeMap::new();
        for run in self.directories.values().flat_map(|directory| &directory.runs) {
            runs.entry(run.queue).or_default().push(run.first.0..end(run));
        }
        let mut gaps = Vec::new();
        for (&id, queue) in &self.queues {
            // In the others, places that are not here may have been in memory.
            if queue.record.settings.mailbox != crate::model::MailboxKind::File {
                continue;
            }
            let runs = runs.entry(id).or_default();
            runs.sort_by_key(|run| run.start);
            let mut from = queue.progress.floor;
            for run in runs.iter().chain([&(queue.next..queue.next)]) {
                gaps.extend(unfinished(queue, from..run.start).map(|places| (id, places)));
                from = from.max(run.end);
            }
        }
        gaps
    }

    /// The first id that nothing has.
    fn end_of_log(&self) -> u64 {
        let values = self.mended.log.last_key_value().map_or(0, |(&id, _)| id);
        let directory = self.directories.last_key_value();
        let directories = directory.map_or(0, |(&id, d)| id + u64::from(d.parts));
        self.first_id.max(values + 1).max(directories + 1)
    }

    /// Writes directories and ids, and finds out which messages are lost.
    fn write_directories(&mut self) -> io::Result<()> {
        self.count_waiting();
        let mut later = std::mem::take(&mut self.directories);
        while let Some((id, directory)) = later.pop_first() {
            let key = directory_key(id);
            let value = Value::New(encode_directory(&key, &directory));
            self.mended.state.insert(key, value);
            if directory.runs.is_empty() {
                continue;
            }
            let ids = self.ids_of(id, &directory)?;
            let is_readable = self.is_readable(id, directory.parts)?;
            let mut before = 0;
            for run in &directory.runs {
                let ids = ids.get(before..before + run.count as usize).unwrap_or_default();
                before += run.count as usize;
                let queue = &self.queues[&run.queue];
                if is_readable {
                    continue;
                }
                let places = unfinished(queue, run.first.0..end(run));
                // What has been written again is read from there.
                let places = places.flat_map(|places| not_in_later(&later, run.queue, places));
                for places in places {
                    let known = ids.iter().zip(run.first.0..);
                    let known = known.filter(|(_, place)| places.contains(place));
                    let ids = known.map(|(entry, place)| (place, entry.id.to_string())).collect();
                    self.mended.lost.push(LostMessages {
                        queue: run.queue,
                        name: queue.record.name.to_string(),
                        places,
                        log_value: self
                            .gathered
                            .value(&log_key(id, VALUE_SLOT))
                            .is_none()
                            .then_some(id),
                        ids,
                    });
                }
            }
        }
        Ok(())
    }

    fn count_waiting(&mut self) {
        let mut runs: BTreeMap<QueueId, Vec<Range<u64>>> = BTreeMap::new();
        for run in self.directories.values().flat_map(|directory| &directory.runs) {
            runs.entry(run.queue).or_default().push(run.first.0..end(run));
        }
        for (id, queue) in &self.queues {
            let runs = runs.entry(*id).or_default();
            runs.sort_by_key(|run| run.start);
            let (mut from, mut waiting) = (0, 0);
            for run in runs {
                let places = unfinished(queue, run.start.max(from)..run.end);
                waiting += places.map(|places| places.end - places.start).sum::<u64>();
                from = from.max(run.end);
            }
            self.mended.waiting.insert(queue.record.name.to_string(), waiting);
        }
    }

    /// The ids of a segment: those that are there, else out of its value, else made up.
    fn ids_of(&mut self, id: u64, directory: &Directory) -> io::Result<Vec<IdEntry>> {
        let key = ids_key(id);
        let count: usize = directory.runs.iter().map(|run| run.count as usize).sum();
        if let Some(Value::New(value)) = self.mended.state.get(&key) {
            return Ok(decode_ids(&key, value).unwrap_or_default());
        }
        if let Some(place) = self.gathered.value(&key) {
            let ids = decode_ids(&key, &self.read(place)?).unwrap_or_default();
            if ids.len() == count {
                self.mended.state.insert(key, Value::Kept(place));
                return Ok(ids);
            }
        }
        if id < self.first_id {
            return Ok(Vec::new());
        }
        let mut ids = Vec::new();
        if let Some(place) = self.gathered.value(&log_key(id, VALUE_SLOT))
            && let Ok(segment) = Segment::decode(id, self.read(place)?.into())
        {
            ids = segment.ids().unwrap_or_default();
        }
        if ids.len() != count {
            let places = directory.runs.iter();
            ids = places.flat_map(|run| stand_ins(run.queue, run.first.0..end(run))).collect();
            self.note(format!("the ids of log value {id} are lost"));
        }
        self.put_ids(id, ids.clone());
        Ok(ids)
    }

    fn is_readable(&self, id: u64, parts: u32) -> io::Result<bool> {
        if id < self.first_id {
            return Ok((id..=id + u64::from(parts)).all(self.is_elsewhere));
        }
        if !self.mended.log.contains_key(&id) {
            return Ok(false);
        }
        for part in id + 1..=id + u64::from(parts) {
            let Some(place) = self.gathered.value(&log_key(part, VALUE_SLOT)) else {
                return Ok(false);
            };
            if decode_part(part, id, &self.read(place)?).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Records (`r`) or revisions (`v`) of messages that wait, each with all of its chunks.
    fn take_messages(&mut self, letter: u8) -> io::Result<()> {
        let mut things: BTreeMap<&[u8], Vec<(&[u8], Place)>> = BTreeMap::new();
        for (key, place) in self.gathered.state_values(letter) {
            let Some((prefix, _)) = key.split_last_chunk::<2>() else { continue };
            things.entry(prefix).or_default().push((key, place));
        }
        let damaged: BTreeSet<Vec<u8>> = self
            .gathered
            .lost()
            .filter(|key| key.first() == Some(&letter))
            .filter_map(|key| Some(key.split_last_chunk::<2>()?.0.to_vec()))
            .collect();
        let prefixes: BTreeSet<&[u8]> =
            things.keys().copied().chain(damaged.iter().map(Vec::as_slice)).collect();
        for prefix in prefixes {
            let (Ok(queue), Ok(seq)) = (be(prefix, 1), be(prefix, 5)) else { continue };
            let (queue, seq) = (QueueId(u32::from_be_bytes(queue)), u64::from_be_bytes(seq));
            let record = record_key(queue, Seq(seq));
            // Out of damaged bytes a key may come that is none.
            let is_key = match letter {
                b'r' => prefix == record,
                _ => prefix.len() == record.len() + size_of::<u32>(),
            };
            if !is_key {
                continue;
            }
            let is_unfinished =
                |queue: &Queue| seq < queue.next && !queue.progress.is_finished(seq);
            if !self.queues.get(&queue).is_some_and(is_unfinished) {
                continue;
            }
            let chunks = things.get(prefix).map_or(&[][..], Vec::as_slice);
            let mut bytes = Vec::new();
            let mut is_whole = !damaged.contains(prefix) && !chunks.is_empty();
            for (number, (key, place)) in (0u16..).zip(chunks) {
                is_whole &= **key == chunk_key(prefix, number);
                bytes.extend_from_slice(unseal(key, &self.read(*place)?).unwrap_or_default());
            }
            is_whole &= match letter {
                b'r' => from_json::<MessageRecord>(prefix, &bytes).is_ok(),
                _ => is_revision(&bytes),
            };
            if is_whole {
                let kept = chunks.iter().map(|(key, place)| (key.to_vec(), Value::Kept(*place)));
                self.mended.state.extend(kept);
            } else {
                self.stand_in(letter, prefix, queue, seq);
            }
        }
        Ok(())
    }

    /// Something that blocks the message in the place of its record, or that can't be read in the place of
    /// its revision.
    fn stand_in(&mut self, letter: u8, prefix: &[u8], queue: QueueId, seq: u64) {
        let what = if letter == b'r' { "record" } else { "revision" };
        self.note(format!("a {what} of message {seq} of queue {queue} is lost"));
        let mut value = match letter {
            b'r' => {
                let error = WorkError {
                    code: CODE.to_owned(),
                    message: "what was known of its state was damaged in the store".to_owned(),
                    detail: String::new(),
                };
                let state = MessageState::Blocked;
                let record =
                    MessageRecord { state, last_error: Some(error), ..MessageRecord::default() };
                serde_json::to_vec(&record).expect("a record has JSON")
            }
            _ => lost_revision(),
        };
        let key = chunk_key(prefix, 0);
        seal(&key, &mut value);
        self.mended.state.insert(key, Value::New(value));
    }

    /// What needs no second look: journal, its index, notes, repairs' outcomes, the run's number.
    fn take_others(&mut self) {
        for letter in (b'a'..=b'z').filter(|letter| !b"efiqrsvw".contains(letter)) {
            let kept = self.gathered.state_values(letter);
            let kept = kept.map(|(key, place)| (key.to_vec(), Value::Kept(place)));
            self.mended.state.extend(kept);
        }
    }

    fn say_what_is_lost(&mut self) {
        let mut names = Vec::new();
        let mut is_unknown = self.gathered.has_unknown || self.gathered.commit < self.synced;
        for key in self.gathered.lost() {
            match key.first() {
                // Said with the messages that they are of.
                Some(b'r' | b'v' | b's' | b'i') | None => {}
                Some(letter) if *letter < b'a' => {}
                // What it was when it was written last may differ from what was found of it.
                Some(b'f' | b'e' | b'n' | b'q') => {
                    is_unknown = true;
                    names.push(hex(key));
                }
                Some(_) => names.push(hex(key)),
            }
        }
        for name in names {
            self.note(format!("the newest value of key {name} is damaged"));
        }
        if is_unknown {
            let reason = "the store was damaged, and not all that was lost is known";
            for queue in self.queues.values_mut() {
                if queue.progress.floor < queue.next && queue.record.paused.is_none() {
                    queue.record.paused = Some(pause(self.now, reason));
                    self.mended.paused.push(queue.record.name.to_string());
                }
            }
        }
    }

    fn write_queues(&mut self) {
        for (&id, queue) in &self.queues {
            let key = queue_key(id);
            let mut value = serde_json::to_vec(&queue.record).expect("a queue's record has JSON");
            seal(&key, &mut value);
            self.mended.state.insert(key, Value::New(value));
            if self.gathered.floors.contains_key(&id) {
                let key = floor_key(id);
                let mut value = Vec::new();
                put_number(&mut value, queue.progress.floor);
                put_number(&mut value, queue.next);
                seal(&key, &mut value);
                self.mended.state.insert(key, Value::New(value));
            }
        }
        self.mended.state.remove(CHANGES);
    }

    /// A commit without messages or changes behind all others: opening does the newest one again, and this
    /// one is whole.
    fn end_log(&mut self) {
        let last = self.mended.state.range(directory_key(0)..=directory_key(u64::MAX)).next_back();
        let last = last.and_then(|(key, _)| be(key, 1).ok()).map_or(0, u64::from_be_bytes);
        let values = self.mended.log.last_key_value().map_or(0, |(&id, _)| id);
        let id = self.first_id.max(last.max(values) + 1);
        let commit = self.gathered.commit.max(self.synced) + 1;
        let frame = Frame { commit, first_id: id, is_final: true, parts: 0 };
        self.mended.log.insert(id, Value::New(encode_segment(id, frame, &[], &[], None)));
    }
}

fn end(run: &DirectoryRun) -> u64 {
    run.first.0 + u64::from(run.count)
}

/// Of these places, those that no later directory has.
fn not_in_later(
    later: &BTreeMap<u64, Directory>,
    queue: QueueId,
    places: Range<u64>,
) -> Vec<Range<u64>> {
    let runs = later.values().flat_map(|directory| &directory.runs);
    let runs: Vec<Range<u64>> = runs
        .filter(|run| run.queue == queue && run.first.0 < places.end && end(run) > places.start)
        .map(|run| run.first.0..end(run))
        .collect();
    ranges(places.filter(|place| !runs.iter().any(|run| run.contains(place))))
}

/// Consecutive places, ascending ones put together.
fn ranges(places: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    for place in places {
        match found.last_mut() {
            Some(last) if last.end == place => last.end += 1,
            Some(_) | None => found.push(place..place + 1),
        }
    }
    found
}

fn unfinished(queue: &Queue, places: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let places = places.start.max(queue.progress.floor)..places.end;
    ranges(places.filter(|&place| !queue.progress.is_finished(place))).into_iter()
}

fn pause(at: Timestamp, reason: &str) -> Box<PauseRecord> {
    let by = Actor { name: "mubroker".to_owned(), via: "store".to_owned() };
    Box::new(PauseRecord { by, at, reason: reason.to_owned() })
}

/// Opening can skip over it, and reading finds no record in it.
fn lost_revision() -> Vec<u8> {
    let mut value = Vec::new();
    put_number(&mut value, 0);
    put_bytes(&mut value, b"");
    put_bytes(&mut value, b"");
    value
}

fn is_revision(bytes: &[u8]) -> bool {
    let read = || -> Decoded<bool> {
        let mut reader = Reader::new(bytes);
        let payload = reader.size()?;
        let record = reader.bytes()?;
        reader.bytes()?;
        Ok(!record.is_empty() && reader.left() == payload)
    };
    read().unwrap_or(false)
}
