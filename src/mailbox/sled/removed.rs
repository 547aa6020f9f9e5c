//! What queues that were removed have used, for ever: a bit for each number, and the place where new queues begin.
//!
//! What is left of a removed queue goes with the segments and generations in which it is, long after its record. By its
//! bit it is told from a queue whose record is lost, and no other queue ever has its number.

use std::collections::BTreeMap;

use super::codec::{Corrupt, Decoded, Reader, be, put_number, seal, unseal};
use super::layout::{CHUNK_PLACES, NEXT_PLACE, removed_key};
use super::progress::{Chunk, bit, chunk_bytes, chunk_from, no_places, set_bit};
use crate::model::{QueueId, RemovedQueues, Seq};

/// What removed queues have used.
#[derive(Debug, Clone, Default)]
pub(super) struct Removed {
    chunks: BTreeMap<u32, Chunk>,
    all: RemovedQueues,
}

impl Removed {
    pub(super) fn contains(&self, queue: QueueId) -> bool {
        let chunk = self.chunks.get(&chunk_of(queue));
        chunk.is_some_and(|chunk| bit(chunk, u64::from(queue.0)))
    }

    /// What is told of them when the store is opened.
    pub(super) fn all(&self) -> RemovedQueues {
        self.all
    }

    /// A queue is removed; the keys and values that say so.
    pub(super) fn note(&mut self, queue: QueueId, next: Seq) -> [(Vec<u8>, Vec<u8>); 2] {
        self.all.note(queue, next);
        let number = chunk_of(queue);
        let chunk = self.chunks.entry(number).or_insert_with(no_places);
        set_bit(chunk, u64::from(queue.0));
        let mut bits = chunk_bytes(chunk);
        let key = removed_key(number);
        seal(&key, &mut bits);
        let mut place = Vec::new();
        put_number(&mut place, self.all.next.0);
        seal(NEXT_PLACE, &mut place);
        [(key, bits), (NEXT_PLACE.to_vec(), place)]
    }

    /// Takes in a chunk as it is stored.
    pub(super) fn take_chunk(&mut self, key: &[u8], value: &[u8]) -> Decoded<()> {
        let number = u32::from_be_bytes(be(key, 1)?);
        let chunk = chunk_from(unseal(key, value)?);
        let chunk =
            chunk.ok_or_else(|| Corrupt("a chunk of removed queues is too long".to_owned()))?;
        let start = u64::from(number) * CHUNK_PLACES;
        let last = (start..start + CHUNK_PLACES).rev().find(|&id| bit(&chunk, id));
        let last = last.and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        self.all.note(QueueId(last), Seq(1));
        self.chunks.insert(number, chunk);
        Ok(())
    }

    /// Takes in where new queues begin.
    pub(super) fn take_next(&mut self, value: &[u8]) -> Decoded<()> {
        let next = Reader::new(unseal(NEXT_PLACE, value)?).number()?;
        self.all.note(QueueId(0), Seq(next));
        Ok(())
    }
}

fn chunk_of(queue: QueueId) -> u32 {
    queue.0 / CHUNK_PLACES as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_removed_queues_read_back_over_many_chunks() {
        let mut removed = Removed::default();
        let ids = [1, 4_095, 4_096, 9_000, u32::MAX];
        let noted: Vec<_> =
            ids.map(|id| removed.note(QueueId(id), Seq(u64::from(id) % 5_000))).into();
        let mut again = Removed::default();
        for [(key, bits), (_, place)] in &noted {
            again.take_chunk(key, bits).unwrap();
            again.take_next(place).unwrap();
        }
        for id in (0..10_000).chain([u32::MAX - 1, u32::MAX]).map(QueueId) {
            assert_eq!(again.contains(id), ids.contains(&id.0), "{id}");
        }
        assert_eq!(again.all(), removed.all());
        assert_eq!(again.all(), RemovedQueues { last: QueueId(u32::MAX), next: Seq(4_096) });
    }
}
