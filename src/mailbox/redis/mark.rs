//! How far a queue and its stream have come, as the local store keeps it in each commit that changes it.

use crate::model::{Generation, Seq, StreamId};

/// The form below; others are not read.
const FORM: u8 = 1;
/// Entries to be removed that are written down, in bytes. A commit may finish thousands of messages; what is
/// beyond is removed all the same, and only a crash at that moment leaves such entries in the stream, where
/// they do nothing. A value of the local store has at most 98 KiB.
const MAX_REMOVALS_BYTES: usize = 64 * 1024;

/// Places whose payloads may have reached the stream although they were kept here: the answer didn't come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) generation: Generation,
    pub(super) first: Seq,
    pub(super) last: Seq,
}

impl Doubt {
    pub(super) fn covers(&self, generation: Generation, seq: Seq) -> bool {
        self.generation == generation && self.first <= seq && seq <= self.last
    }

    /// Of one run, all in doubt; else the newer run's.
    pub(super) fn merge(self, other: Self) -> Self {
        if self.generation != other.generation {
            return if self.generation > other.generation { self } else { other };
        }
        let (first, last) = (self.first.min(other.first), self.last.max(other.last));
        Self { first, last, ..self }
    }
}

/// What is known of a queue's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Names this queue of this store in what the broker adds to the stream.
    pub(super) key: u64,
    /// The broker's own newest entry that a message refers to.
    pub(super) own: StreamId,
    /// All entries up to here are dealt with: they are the broker's own, or have been taken in.
    pub(super) seen: StreamId,
    pub(super) doubt: Option<Doubt>,
    /// How much larger the payloads in the stream are than what stands for them here, in bytes.
    pub(super) beyond: i64,
    /// Entries of finished messages that may still be in the stream.
    pub(super) removals: Vec<StreamId>,
}

impl Mark {
    pub(super) fn new(key: u64) -> Self {
        let (own, seen) = (StreamId::ZERO, StreamId::ZERO);
        Self { key, own, seen, doubt: None, beyond: 0, removals: Vec::new() }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let doubt = self.doubt.map_or([0; 3], |d| [d.generation.0, d.first.0, d.last.0]);
        let numbers = [
            self.key,
            self.own.ms,
            self.own.number,
            self.seen.ms,
            self.seen.number,
            doubt[0],
            doubt[1],
            doubt[2],
            self.beyond.cast_unsigned(),
        ];
        let mut bytes = vec![FORM];
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        // Neighbours differ by little: two or three bytes each.
        let mut before = StreamId::ZERO;
        let start = bytes.len();
        for id in &self.removals {
            if bytes.len() - start > MAX_REMOVALS_BYTES {
                break;
            }
            put_number(&mut bytes, id.ms.wrapping_sub(before.ms));
            put_number(&mut bytes, id.number);
            before = *id;
        }
        bytes
    }

    /// `None`: these bytes are no mark.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[FORM])?;
        let (numbers, mut rest) = rest.split_at_checked(9 * 8)?;
        let (numbers, []) = numbers.as_chunks::<8>() else { return None };
        let numbers: [[u8; 8]; 9] = numbers.try_into().ok()?;
        let [key, own_ms, own, seen_ms, seen, generation, first, last, beyond] =
            numbers.map(u64::from_le_bytes);
        let doubt =
            Doubt { generation: Generation(generation), first: Seq(first), last: Seq(last) };
        let mut removals = Vec::new();
        let mut ms = 0u64;
        while !rest.is_empty() {
            ms = ms.wrapping_add(take_number(&mut rest)?);
            removals.push(StreamId { ms, number: take_number(&mut rest)? });
        }
        Some(Self {
            key,
            own: StreamId { ms: own_ms, number: own },
            seen: StreamId { ms: seen_ms, number: seen },
            doubt: (generation > 0).then_some(doubt),
            beyond: beyond.cast_signed(),
            removals,
        })
    }
}

/// LEB128.
fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, number: u64) -> StreamId {
        StreamId { ms, number }
    }

    #[test]
    fn a_mark_reads_back() {
        let doubt = Doubt { generation: Generation(3), first: Seq(4), last: Seq(9) };
        let removals = vec![id(u64::MAX, u64::MAX), id(5, 0), id(6, 1 << 40)];
        let mark = Mark { own: id(7, 1), seen: id(9, 2), beyond: -4, removals, ..Mark::new(77) };
        for doubt in [None, Some(doubt)] {
            let mark = Mark { doubt, ..mark.clone() };
            assert_eq!(Mark::from_bytes(&mark.to_bytes()), Some(mark));
        }
        for bad in [&b""[..], b"\x01", b"\x02", &[1; 40]] {
            assert_eq!(Mark::from_bytes(bad), None);
        }
    }

    #[test]
    fn however_many_entries_wait_to_be_removed_a_mark_stays_short() {
        let removals = (0..100_000).map(|ms| id(1_700_000_000_000 + ms * 1_000, 0)).collect();
        let mark = Mark { removals, ..Mark::new(1) };
        let bytes = mark.to_bytes();
        assert!(bytes.len() < 70_000, "{}", bytes.len());
        let read = Mark::from_bytes(&bytes).unwrap();
        assert_eq!(read.removals[..100], mark.removals[..100]);
    }

    #[test]
    fn places_in_doubt_are_of_one_run() {
        let doubt = |generation, first, last| Doubt {
            generation: Generation(generation),
            first: Seq(first),
            last: Seq(last),
        };
        assert_eq!(doubt(1, 5, 6).merge(doubt(1, 9, 9)), doubt(1, 5, 9));
        assert_eq!(doubt(1, 5, 6).merge(doubt(2, 1, 1)), doubt(2, 1, 1));
        assert!(doubt(1, 5, 6).covers(Generation(1), Seq(6)));
        assert!(!doubt(1, 5, 6).covers(Generation(2), Seq(6)));
    }
}
