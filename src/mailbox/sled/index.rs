//! What is held in RAM: for each queue its runs, not its messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::layout::CHUNK_PLACES;
use super::removed::Removed;
use super::segment::DirectoryRun;
use super::usage::{GenerationUse, Use};
use crate::mailbox::check::Places;
use crate::model::{ProcessKey, QueueId, QueueRecord, Seq};

const WORDS: usize = (CHUNK_PLACES / 64) as usize;

/// Finished places of one chunk, a bit each.
pub(super) type Chunk = Box<[u64; WORDS]>;

/// Which places of a queue are finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// All before are finished.
    pub(super) floor: u64,
    /// Finished places at or after the floor; never an empty chunk.
    pub(super) chunks: BTreeMap<u64, Chunk>,
}

/// What a commit does to a [`Progress`].
#[derive(Debug, Default)]
pub(super) struct Advance {
    pub(super) floor: u64,
    pub(super) put: BTreeMap<u64, Chunk>,
    pub(super) removed: Vec<u64>,
}

pub(super) fn bit(chunk: &Chunk, place: u64) -> bool {
    let at = (place % CHUNK_PLACES) as usize;
    chunk[at / 64] >> (at % 64) & 1 == 1
}

pub(super) fn no_places() -> Chunk {
    Box::new([0; WORDS])
}

pub(super) fn set_bit(chunk: &mut Chunk, place: u64) {
    let at = (place % CHUNK_PLACES) as usize;
    chunk[at / 64] |= 1 << (at % 64);
}

impl Progress {
    /// Of a queue whose first message gets this place.
    pub(super) fn new(first: Seq) -> Self {
        Self { floor: first.0, chunks: BTreeMap::new() }
    }

    pub(super) fn is_finished(&self, place: u64) -> bool {
        place < self.floor
            || self.chunks.get(&(place / CHUNK_PLACES)).is_some_and(|chunk| bit(chunk, place))
    }

    /// How many of `count` places from `first` on are unfinished.
    pub(super) fn unfinished_in(&self, first: u64, count: u32) -> u32 {
        let end = first + u64::from(count);
        let start = first.max(self.floor);
        if self.chunks.is_empty() {
            return end.saturating_sub(start) as u32;
        }
        (start..end).filter(|&place| !self.is_finished(place)).count() as u32
    }

    /// What finishing `places` (unfinished ones, any order) would change. `skip` gives the first place from
    /// one on that is not a gap for good.
    pub(super) fn advance(&self, places: &mut [u64], skip: impl Fn(u64) -> u64) -> Advance {
        places.sort_unstable();
        let mut next = Advance { floor: self.floor, ..Advance::default() };
        next.floor = self.settled(&next, &skip);
        for &place in &*places {
            if place == next.floor {
                next.floor += 1;
                next.floor = self.settled(&next, &skip);
            } else {
                let number = place / CHUNK_PLACES;
                let chunk = next
                    .put
                    .entry(number)
                    .or_insert_with(|| self.chunks.get(&number).cloned().unwrap_or_else(no_places));
                set_bit(chunk, place);
            }
        }
        let floor = next.floor;
        let below = |number: u64, chunk: &Chunk| {
            let start = floor.max(number * CHUNK_PLACES);
            !(start..(number + 1) * CHUNK_PLACES).any(|place| bit(chunk, place))
        };
        next.put.retain(|&number, chunk| {
            let gone = below(number, chunk);
            if gone && self.chunks.contains_key(&number) {
                next.removed.push(number);
            }
            !gone
        });
        // Only chunks up to the floor's can have become empty.
        for (&number, chunk) in self.chunks.range(..=floor / CHUNK_PLACES) {
            if !next.put.contains_key(&number)
                && !next.removed.contains(&number)
                && below(number, chunk)
            {
                next.removed.push(number);
            }
        }
        next
    }

    /// The floor, over gaps and finished places.
    fn settled(&self, next: &Advance, skip: impl Fn(u64) -> u64) -> u64 {
        let mut floor = skip(next.floor);
        while self.is_set(next, floor) {
            floor = skip(floor + 1);
        }
        floor
    }

    fn is_set(&self, next: &Advance, place: u64) -> bool {
        let number = place / CHUNK_PLACES;
        next.put
            .get(&number)
            .or_else(|| self.chunks.get(&number))
            .is_some_and(|chunk| bit(chunk, place))
    }

    pub(super) fn apply(&mut self, advance: Advance) {
        self.floor = advance.floor;
        advance.removed.iter().for_each(|number| drop(self.chunks.remove(number)));
        self.chunks.extend(advance.put);
    }

    /// Finished places at or after the floor, ascending.
    pub(super) fn exceptions(&self) -> Vec<Seq> {
        let mut places = Vec::new();
        for (&number, chunk) in &self.chunks {
            let start = number * CHUNK_PLACES;
            let set = (start..start + CHUNK_PLACES).filter(|&place| bit(chunk, place));
            places.extend(set.filter(|&place| place >= self.floor).map(Seq));
        }
        places
    }
}

/// A chunk's bytes, without the zero ones at the end.
pub(super) fn chunk_bytes(chunk: &Chunk) -> Vec<u8> {
    let mut bytes: Vec<u8> = chunk.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    bytes
}

/// The other way; `None` if there are too many bytes.
pub(super) fn chunk_from(bytes: &[u8]) -> Option<Chunk> {
    let mut chunk = no_places();
    for (at, &byte) in bytes.iter().enumerate() {
        *chunk.get_mut(at / 8)? |= u64::from(byte) << (at % 8 * 8);
    }
    Some(chunk)
}

/// Consecutive messages of a queue in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) segment: u64,
    pub(super) count: u32,
}

impl Run {
    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

/// What `state` holds of a message beyond its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extra {
    /// Chunks of its record; 0: none.
    pub(super) record_chunks: u16,
    /// The newest revision, as the record says.
    pub(super) newest: u32,
    /// By revision: how many chunks, how many bytes of header and payload.
    pub(super) revisions: BTreeMap<u32, (u16, u64)>,
}

impl Extra {
    /// The revision that is read: the record's if it has one, else the last.
    pub(super) fn read_revision(&self) -> u32 {
        if self.record_chunks > 0 {
            return if self.revisions.contains_key(&self.newest) { self.newest } else { 0 };
        }
        self.revisions.last_key_value().map_or(0, |(&revision, _)| revision)
    }
}

/// What of a directory's run its segment still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    Part,
    Whole,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) record: QueueRecord,
    pub(super) progress: Progress,
    /// Places from here on were never used.
    pub(super) next: u64,
    /// As [`super::floor::Floor::gaps_before`].
    pub(super) gaps_before: u64,
    /// Ascending, perhaps with gaps; also wholly finished ones whose ids are remembered.
    pub(super) runs: VecDeque<Run>,
    pub(super) extras: BTreeMap<u64, Extra>,
}

impl Queue {
    pub(super) fn new(record: QueueRecord) -> Self {
        Self {
            progress: Progress::new(record.first),
            next: record.first.0,
            record,
            gaps_before: 0,
            // Most queues of a large broker have one; the next would make room for four.
            runs: VecDeque::with_capacity(1),
            extras: BTreeMap::new(),
        }
    }

    /// The place after all that were used or set aside.
    pub(super) fn end(&self) -> u64 {
        self.runs.back().map_or(self.next, |run| run.end().max(self.next))
    }

    /// The first place whose id is remembered. Places set aside beyond the newest message don't count.
    pub(super) fn window_start(&self) -> u64 {
        let end = self.runs.back().map_or(self.next, Run::end);
        end.saturating_sub(u64::from(self.record.settings.dedup.last())).max(1)
    }

    pub(super) fn is_unfinished(&self, place: u64) -> bool {
        !self.progress.is_finished(place) && self.segment_of(place).is_some()
    }

    /// The first unfinished place from `from` on.
    pub(super) fn first_unfinished(&self, from: u64) -> Option<u64> {
        let from = from.max(self.progress.floor);
        let runs = self.runs.range(self.run_at(from)..);
        runs.flat_map(|run| run.first.max(from)..run.end())
            .find(|&place| !self.progress.is_finished(place))
    }

    /// How many messages are unfinished.
    pub(super) fn waiting(&self) -> u64 {
        let runs = self.runs.range(self.run_at(self.progress.floor)..);
        runs.map(|run| u64::from(self.progress.unfinished_in(run.first, run.count))).sum()
    }

    /// The first place from `place` on that a run has.
    pub(super) fn next_in_run(&self, place: u64) -> Option<u64> {
        self.runs.get(self.run_at(place)).map(|run| run.first.max(place))
    }

    /// Places from `from` up to the next one that no run has, ascending.
    pub(super) fn gaps(&self, from: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
        let mut end = from;
        let starts = self.runs.range(self.run_at(from)..).map(|run| (run.first, run.end()));
        starts.chain([(self.next, self.next)]).filter_map(move |(start, next_end)| {
            let gap = end..start;
            end = next_end;
            (!gap.is_empty()).then_some(gap)
        })
    }

    /// The index of the run with `place`, or of the first after it.
    pub(super) fn run_at(&self, place: u64) -> usize {
        self.runs.partition_point(|run| run.end() <= place)
    }

    pub(super) fn run_of(&self, place: u64) -> Option<&Run> {
        self.runs.get(self.run_at(place)).filter(|run| run.first <= place)
    }

    pub(super) fn segment_of(&self, place: u64) -> Option<u64> {
        self.run_of(place).map(|run| run.segment)
    }

    /// Whose are the places of a run in a directory? Parts of it may be in a later segment, or not needed.
    pub(super) fn owner(&self, run: &DirectoryRun, segment: u64) -> Owner {
        let (first, end) = (run.first.0, run.end().0);
        let at = self.run_at(first);
        let mut own = self.runs.range(at..).take_while(|own| own.first < end);
        match own.clone().next() {
            Some(own) if own.segment == segment && own.first == first && own.end() == end => {
                Owner::Whole
            }
            Some(_) if own.any(|own| own.segment == segment) => Owner::Part,
            Some(_) | None => Owner::Nobody,
        }
    }

    /// Does the run have a message that waits, or whose id is remembered?
    pub(super) fn needs(&self, run: &Run) -> bool {
        run.end() > self.window_start() || self.progress.unfinished_in(run.first, run.count) > 0
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Boxed: the map's nodes are often half empty.
    pub(super) queues: BTreeMap<QueueId, Box<Queue>>,
    pub(super) removed: Removed,
    pub(super) segments: BTreeMap<u64, Use>,
    /// By first id: every generation, the active one too.
    pub(super) generations: BTreeMap<u64, GenerationUse>,
    /// Segments of which nothing is needed any more.
    pub(super) unneeded: VecDeque<u64>,
    pub(super) last_journal: u64,
    /// By part, how many chunks each process has.
    pub(super) processes: BTreeMap<ProcessKey, BTreeMap<u16, u16>>,
    /// Numbers of the repairs kept.
    pub(super) repairs: std::ops::Range<u64>,
}

impl Index {
    /// First ids of the generations that hold the queues' heads.
    pub(super) fn head_generations(&self) -> BTreeSet<u64> {
        let heads = self.queues.values().filter_map(|queue| {
            let head = queue.runs.get(queue.run_at(queue.progress.floor))?;
            let generation = self.generations.range(..=head.segment).next_back();
            generation.map(|(&first_id, _)| first_id)
        });
        heads.collect()
    }
}

impl Places for Index {
    fn next_seq(&self, queue: QueueId) -> Option<Seq> {
        self.queues.get(&queue).map(|queue| Seq(queue.next))
    }

    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool {
        self.queues.get(&queue).is_some_and(|queue| queue.is_unfinished(seq.0))
    }

    fn last_journal(&self) -> u64 {
        self.last_journal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_agrees_with_a_plain_set_of_places() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut progress = Progress::new(Seq(1));
        let mut finished = std::collections::BTreeSet::new();
        let mut left: Vec<u64> = (1..=3 * CHUNK_PLACES).collect();
        while !left.is_empty() {
            let take = random.usize(1..=400).min(left.len());
            let mut places: Vec<u64> =
                (0..take).map(|_| left.remove(random.usize(0..left.len().min(600)))).collect();
            finished.extend(&places);
            let advance = progress.advance(&mut places, |place| place);
            progress.apply(advance);
            let floor = (1..).find(|place| !finished.contains(place)).unwrap();
            assert_eq!(progress.floor, floor);
            let exceptions: Vec<Seq> = finished.range(floor..).copied().map(Seq).collect();
            assert_eq!(progress.exceptions(), exceptions);
            for chunk in progress.chunks.values() {
                assert_eq!(chunk_from(&chunk_bytes(chunk)).as_ref(), Some(chunk));
            }
        }
        assert!(progress.chunks.is_empty());
    }
}
