//! Directories: which log value holds which places, and stand-ins for what nothing is left of.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::super::codec::be;
use super::super::layout::{VALUE_SLOT, directory_key, ids_key, log_key};
use super::super::segment::{
    Directory, DirectoryRun, IdEntry, Segment, decode_directory, decode_ids, decode_part,
    encode_directory, encode_ids,
};
use super::super::unreadable::stand_ins;
use super::{Found, LostMessages, MAX_STAND_INS, Mender, Value, end, ranges, unfinished};
use crate::model::{QueueId, Seq, Timestamp};

impl Mender<'_> {
    pub(super) fn take_directories(&mut self) -> io::Result<()> {
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
            if let Some(queue) = self.queue(id) {
                queue.next = queue.next.max(end);
            }
        }
        Ok(())
    }

    pub(super) fn add_directory(&mut self, id: u64, segment: &Segment) {
        let Directory { parts, runs } = segment.directory();
        let Ok(ids) = segment.ids() else { return };
        let (mut wanted, mut entries) = (Vec::new(), Vec::new());
        let mut before = 0;
        for run in runs {
            let start = before;
            before += run.count as usize;
            let Some(queue) = self.queue(run.queue) else { continue };
            queue.next = queue.next.max(end(&run));
            for places in self.uncovered(run.queue, run.first.0..end(&run)) {
                let start = start + (places.start - run.first.0) as usize;
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

    /// Of these places, those that are in no directory and are unfinished, or whose ids are remembered.
    fn uncovered(&self, queue: QueueId, places: Range<u64>) -> Vec<Range<u64>> {
        let covered: Vec<Range<u64>> = self
            .directories
            .values()
            .flat_map(|directory| &directory.runs)
            .filter(|run| run.queue == queue && run.first.0 < places.end && end(run) > places.start)
            .map(|run| run.first.0..end(run))
            .collect();
        let queue = &self.queues[&queue].queue;
        let remembered = queue.window_start();
        let is_free = |place: &u64| {
            let is_needed = *place >= remembered || !queue.progress.is_finished(*place);
            is_needed && !covered.iter().any(|range| range.contains(place))
        };
        ranges(places.filter(is_free))
    }

    /// Places that nothing tells of get directories without values.
    pub(super) fn fill_gaps(&mut self) {
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
        for (&id, Found { queue, .. }) in &self.queues {
            // In the others, places that are not here may have been in memory.
            if !queue.terms.is_file {
                continue;
            }
            let runs = runs.entry(id).or_default();
            runs.sort_by_key(|run| run.start);
            let mut from = match runs.first() {
                // Nothing tells any more where it began.
                Some(run) if self.begins_unknown(id) => run.start,
                Some(_) | None => queue.progress.floor.max(queue.gaps_before),
            };
            for run in runs.iter().chain([&(queue.next..queue.next)]) {
                gaps.extend(unfinished(queue, from..run.start).map(|places| (id, places)));
                from = from.max(run.end);
            }
        }
        gaps
    }

    fn begins_unknown(&self, queue: QueueId) -> bool {
        self.nameless.contains(&queue)
            && !self.gathered.floors.contains_key(&queue)
            && self.removed.all().last > QueueId(0)
    }

    /// The first id that nothing has.
    fn end_of_log(&self) -> u64 {
        let values = self.mended.log.last_key_value().map_or(0, |(&id, _)| id);
        let directory = self.directories.last_key_value();
        let directories = directory.map_or(0, |(&id, d)| id + u64::from(d.parts));
        self.first_id.max(values + 1).max(directories + 1)
    }

    /// Writes directories and ids, and finds out which messages are lost.
    pub(super) fn write_directories(&mut self) -> io::Result<()> {
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
                let Some(found) = self.queues.get(&run.queue).filter(|_| !is_readable) else {
                    continue;
                };
                let places = unfinished(&found.queue, run.first.0..end(run));
                // What has been written again is read from there.
                let places = places.flat_map(|places| not_in_later(&later, run.queue, places));
                for places in places {
                    let known = ids.iter().zip(run.first.0..);
                    let known = known.filter(|(_, place)| places.contains(place));
                    let ids = known.map(|(entry, place)| (place, entry.id.to_string())).collect();
                    self.mended.lost.push(LostMessages {
                        queue: run.queue,
                        name: found.record.name.to_string(),
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
        for (id, Found { record, queue }) in &self.queues {
            let runs = runs.entry(*id).or_default();
            runs.sort_by_key(|run| run.start);
            let (mut from, mut waiting) = (0, 0);
            for run in runs {
                let places = unfinished(queue, run.start.max(from)..run.end);
                waiting += places.map(|places| places.end - places.start).sum::<u64>();
                from = from.max(run.end);
            }
            self.mended.waiting.insert(record.name.to_string(), waiting);
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
