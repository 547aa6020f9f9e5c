//! From what was gathered of a damaged database to keys and values that make a sound one.
//!
//! * Every sound log value of a commit that was whole is kept.
//! * A message whose value is lost keeps its place: its directory stays, and reading it says that it is
//!   damaged. Places that nothing tells of any more get a directory of their own without a value.
//! * Floors only rise, so the highest found is right; what is below it is not brought back.
//! * What is lost of a record or a revision blocks its message.
//! * What is left of a queue that was removed is left out.
//! * If something is lost and nothing tells what, every queue is paused: an operator looks first.

mod directories;
mod messages;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use super::codec::{Decoded, be, hex, seal, unseal};
use super::commit::small_commit;
use super::floor::Floor;
use super::gather::{Gathered, Place, log_id};
use super::index::Queue;
use super::layout::{CHANGES, CHUNK_PLACES, NEXT_PLACE, directory_key, queue_key};
use super::load::decode;
use super::progress::chunk_from;
use super::queue_record::stored;
use super::raw::LogFile;
use super::removed::Removed;
use super::segment::{Directory, DirectoryRun, Frame, Segment, encode_changes, encode_segment};
use crate::model::{
    Actor, PauseRecord, QueueId, QueueName, QueueRecord, QueueSettings, Seq, Timestamp,
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

impl Mended {
    /// How many messages are known to be lost.
    pub(super) fn lost_messages(&self) -> u64 {
        self.lost.iter().map(|lost| lost.places.end - lost.places.start).sum()
    }
}

/// What a generation that isn't written any more is needed for: its log values and their ids. Of commits up to
/// `last_commit` nothing more can be missing then.
pub(super) fn mend_sealed(gathered: &Gathered, last_commit: u64) -> Mended {
    let mut mended = Mended {
        log: gathered.log_values().map(|(id, place)| (id, Value::Kept(place))).collect(),
        state: BTreeMap::new(),
        ..Mended::default()
    };
    let ids = gathered.state_values(b'i');
    mended.state.extend(ids.map(|(key, place)| (key.to_vec(), Value::Kept(place))));
    if last_commit > 0 {
        let marker = small_commit(last_commit, &encode_changes(&[], last_commit));
        mended.state.insert(CHANGES.to_vec(), Value::New(marker));
    }
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
    let (removed, nameless) = Default::default();
    let mut mender = Mender {
        file,
        gathered,
        first_id,
        synced,
        now,
        is_elsewhere,
        removed,
        queues,
        nameless,
        directories,
        mended,
    };
    mender.take_removed()?;
    mender.take_queues()?;
    mender.take_progress()?;
    mender.take_directories()?;
    mender.take_log()?;
    mender.fill_gaps();
    mender.write_directories()?;
    mender.take_messages(b'r')?;
    mender.take_messages(b'v')?;
    mender.take_processes()?;
    mender.take_others();
    mender.say_what_is_lost();
    mender.write_queues();
    mender.end_log();
    Ok(mender.mended)
}

/// What is found of a queue.
struct Found {
    record: QueueRecord,
    queue: Queue,
}

impl Found {
    fn new(record: QueueRecord) -> Self {
        Self { queue: Queue::new(&record), record }
    }
}

struct Mender<'a> {
    file: &'a LogFile,
    gathered: &'a Gathered,
    first_id: u64,
    synced: u64,
    now: Timestamp,
    is_elsewhere: &'a dyn Fn(u64) -> bool,
    removed: Removed,
    queues: BTreeMap<QueueId, Found>,
    /// Of these, those whose records are lost.
    nameless: BTreeSet<QueueId>,
    directories: BTreeMap<u64, Directory>,
    mended: Mended,
}

impl Mender<'_> {
    fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        self.gathered.read(self.file, place)
    }

    fn note(&mut self, text: String) {
        self.mended.notes.push(text);
    }

    fn take_removed(&mut self) -> io::Result<()> {
        for (key, place) in self.gathered.state_values(b'd') {
            if let Err(error) = self.removed.take_chunk(key, &self.read(place)?) {
                self.note(format!("which queues were removed: {}", error.0));
            }
        }
        if let Some(place) = self.gathered.value(NEXT_PLACE)
            && let Err(error) = self.removed.take_next(&self.read(place)?)
        {
            self.note(format!("where new queues begin: {}", error.0));
        }
        Ok(())
    }

    fn take_queues(&mut self) -> io::Result<()> {
        for (key, place) in self.gathered.state_values(b'q') {
            match decode::<QueueRecord>(key, &self.read(place)?) {
                Ok(record) if self.removed.contains(record.id) => {}
                Ok(record) => drop(self.queues.insert(record.id, Found::new(record))),
                Err(error) => self.note(format!("a queue's record: {}", error.0)),
            }
        }
        Ok(())
    }

    /// A queue that something belongs to, unless it was removed; if its own record is lost, it gets a name by its id
    /// and is paused.
    fn queue(&mut self, id: QueueId) -> Option<&mut Queue> {
        if self.removed.contains(id) {
            return None;
        }
        if !self.queues.contains_key(&id) {
            let name = format!("recovered-{id}");
            self.note(format!("the record of queue {id} is lost: it is called {name} now"));
            let record = QueueRecord {
                id,
                name: QueueName::new(&name).expect("letters, a dash and a number"),
                settings: QueueSettings::default().into(),
                overrides: Default::default(),
                has_ttl: false,
                dedup_marks: None,
                paused: Some(pause(self.now, "its settings were lost in the store")),
                draining: None,
                created_at: self.now,
                first: Seq(1),
            };
            self.nameless.insert(id);
            self.queues.insert(id, Found::new(record));
        }
        self.queues.get_mut(&id).map(|found| &mut found.queue)
    }

    fn take_progress(&mut self) -> io::Result<()> {
        for (&id, &Floor { floor, next, gaps_before }) in &self.gathered.floors {
            let Some(queue) = self.queue(id) else { continue };
            queue.progress.floor = floor.max(queue.progress.floor);
            queue.next = next.max(floor).max(queue.next);
            queue.gaps_before = gaps_before;
        }
        for (key, place) in self.gathered.state_values(b'e') {
            let value = self.read(place)?;
            let read = || -> Decoded<_> {
                let queue = QueueId(u32::from_be_bytes(be(key, 1)?));
                let number = u64::from_be_bytes(be(key, 5)?);
                Ok((queue, number, chunk_from(unseal(key, &value)?)))
            };
            let Ok((queue, number, Some(chunk))) = read() else { continue };
            let Some(queue) = self.queue(queue) else { continue };
            // One that the floor has passed was removed.
            if number.saturating_add(1).saturating_mul(CHUNK_PLACES) > queue.progress.floor {
                queue.progress.chunks.insert(number, chunk);
                self.mended.state.insert(key.to_vec(), Value::Kept(place));
            }
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

    /// What needs no second look: journal, its index, notes, repairs' outcomes, the run's number.
    fn take_others(&mut self) {
        for letter in (b'a'..=b'z').filter(|letter| !b"efioqrsvw".contains(letter)) {
            let kept = self.gathered.state_values(letter);
            let kept = kept.map(|(key, place)| (key.to_vec(), Value::Kept(place)));
            self.mended.state.extend(kept);
        }
        let removed = &self.removed;
        let of_removed = |key: &Vec<u8>| {
            let queue = be(key, 1).map(|id| QueueId(u32::from_be_bytes(id)));
            key.first() == Some(&b'n') && queue.is_ok_and(|queue| removed.contains(queue))
        };
        self.mended.state.retain(|key, _| !of_removed(key));
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
                Some(b'd' | b'f' | b'e' | b'n' | b'q') => {
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
            for Found { record, .. } in self.queues.values_mut() {
                // One that seems empty too: its messages may be what was lost.
                if record.paused.is_none() {
                    record.paused = Some(pause(self.now, reason));
                    self.mended.paused.push(record.name.to_string());
                }
            }
        }
    }

    fn write_queues(&mut self) {
        for (&id, Found { record, queue }) in &self.queues {
            let key = queue_key(id);
            let mut value = stored(record).to_string().into_bytes();
            seal(&key, &mut value);
            self.mended.state.insert(key, Value::New(value));
            if self.gathered.floors.contains_key(&id) {
                let Queue { ref progress, next, gaps_before, .. } = *queue;
                let (key, value) = Floor { floor: progress.floor, next, gaps_before }.encode(id);
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
