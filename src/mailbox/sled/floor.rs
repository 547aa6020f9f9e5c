//! How far a queue is: the value of `f`.

use super::codec::{Decoded, Reader, put_number, seal};
use super::layout::floor_key;
use crate::model::QueueId;

/// What only rises of a queue: of two that are found, the higher numbers are right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Floor {
    /// All places below are used or set aside.
    pub(super) floor: u64,
    /// The next place.
    pub(super) next: u64,
    /// Before it, a place without a message need not be a lost one: it may have been in RAM, or set aside for RAM.
    pub(super) gaps_before: u64,
}

impl Floor {
    pub(super) fn decode(body: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::new(body);
        let (floor, next) = (reader.number()?, reader.number()?);
        let gaps_before = if reader.is_empty() { 0 } else { reader.number()? };
        Ok(Self { floor, next, gaps_before })
    }

    /// Key and value.
    pub(super) fn encode(self, queue: QueueId) -> (Vec<u8>, Vec<u8>) {
        let key = floor_key(queue);
        let mut value = Vec::new();
        put_number(&mut value, self.floor);
        put_number(&mut value, self.next);
        // Of most queues it says nothing.
        if self.gaps_before > self.floor {
            put_number(&mut value, self.gaps_before);
        }
        seal(&key, &mut value);
        (key, value)
    }

    pub(super) fn highest(self, other: Self) -> Self {
        Self {
            floor: self.floor.max(other.floor),
            next: self.next.max(other.next),
            gaps_before: self.gaps_before.max(other.gaps_before),
        }
    }
}
