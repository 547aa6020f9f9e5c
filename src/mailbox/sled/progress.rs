//! Which places of a queue are finished.

use std::collections::BTreeMap;
use std::ops::Range;

use super::layout::CHUNK_PLACES;
use crate::model::Seq;

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

/// How many of a chunk's places, counted from its first, are set.
fn set_in(chunk: &Chunk, places: Range<u64>) -> u32 {
    let words = (places.start / 64..).zip(&chunk[(places.start / 64) as usize..]);
    words
        .take_while(|(at, _)| at * 64 < places.end)
        .map(|(at, word)| {
            let below = |place: u64| match place.saturating_sub(at * 64) {
                some @ ..64 => (word & ((1 << some) - 1)).count_ones(),
                64.. => word.count_ones(),
            };
            below(places.end) - below(places.start)
        })
        .sum()
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
        if start >= end {
            return 0;
        }
        let chunks = self.chunks.range(start / CHUNK_PLACES..=(end - 1) / CHUNK_PLACES);
        let finished = chunks.map(|(&number, chunk)| {
            let before = number * CHUNK_PLACES;
            let from = start.max(before) - before;
            set_in(chunk, from..(end - before).min(CHUNK_PLACES))
        });
        (end - start) as u32 - finished.sum::<u32>()
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
            let first = random.u64(1..=3 * CHUNK_PLACES);
            let count = random.u32(0..=2 * CHUNK_PLACES as u32);
            let range = first..first + u64::from(count);
            let unfinished = range.filter(|place| !finished.contains(place)).count();
            assert_eq!(progress.unfinished_in(first, count), unfinished as u32, "{first} {count}");
            for chunk in progress.chunks.values() {
                assert_eq!(chunk_from(&chunk_bytes(chunk)).as_ref(), Some(chunk));
            }
        }
        assert!(progress.chunks.is_empty());
    }
}
