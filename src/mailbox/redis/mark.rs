//! How far a queue and its stream have come, as the local store keeps it in each commit that changes it.

use crate::mailbox::leb128::{put_number, take_number};
use crate::model::{Generation, Seq, StreamId};

/// The form below, and the one before, which didn't know of runs; others are not read.
const FORM: u8 = 2;
const FORM_WITHOUT_RUNS: u8 = 1;
/// Earlier runs that are told apart. There are so many only if the broker was started anew so often while entries of
/// others stayed in the stream, since the queue was full; what those before have left over stays there.
const MAX_FORMER: usize = 64;
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

/// An earlier run: what it added after `own` was never committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Former {
    run: Generation,
    /// The newest entry of its own, or of a run before it, that a message refers to.
    own: StreamId,
    /// A later run's first such entry: all of this run's are before it.
    until: StreamId,
}

/// What is known of a queue's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Names this queue of this store in what the broker adds to the stream.
    pub(super) key: u64,
    /// The broker's own newest entry that a message refers to, and the run that has added it.
    pub(super) own: StreamId,
    pub(super) own_run: Generation,
    /// The runs before, ascending, as far as not all that they added has been looked at.
    pub(super) former: Vec<Former>,
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
        let (own_run, former) = (Generation(0), Vec::new());
        Self { key, own, own_run, former, seen, doubt: None, beyond: 0, removals: Vec::new() }
    }

    /// A message refers to this entry, which `run` has added.
    pub(super) fn refer_to_own(&mut self, id: StreamId, run: Generation) {
        if self.own_run != run {
            self.former.push(Former { run: self.own_run, own: self.own, until: id });
            self.own_run = run;
        }
        self.own = self.own.max(id);
    }

    /// All entries up to here are dealt with.
    pub(super) fn see(&mut self, seen: StreamId) {
        self.seen = seen;
        self.former.retain(|former| former.until > seen);
        let surplus = self.former.len().saturating_sub(MAX_FORMER);
        self.former.drain(..surplus);
    }

    /// Does a message refer, or did one, to this entry of a run before the present one? An own entry of the present
    /// run may come after what the one before has left over, long before that is looked at.
    pub(super) fn is_committed(&self, id: StreamId, run: Generation) -> bool {
        if self.own_run <= run {
            return id <= self.own;
        }
        let newest = self.former.iter().rev().find(|former| former.run <= run);
        newest.is_none_or(|former| id <= former.own)
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
        put_number(&mut bytes, self.own_run.0);
        put_number(&mut bytes, self.former.len() as u64);
        for Former { run, own, until } in &self.former {
            for number in [run.0, own.ms, own.number, until.ms, until.number] {
                put_number(&mut bytes, number);
            }
        }
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
        let (&form, rest) = bytes.split_first()?;
        let (numbers, mut rest) = rest.split_at_checked(9 * 8)?;
        let (numbers, []) = numbers.as_chunks::<8>() else { return None };
        let numbers: [[u8; 8]; 9] = numbers.try_into().ok()?;
        let [key, own_ms, own, seen_ms, seen, generation, first, last, beyond] =
            numbers.map(u64::from_le_bytes);
        let doubt =
            Doubt { generation: Generation(generation), first: Seq(first), last: Seq(last) };
        let (own_run, former) = match form {
            FORM => (Generation(take_number(&mut rest).ok()?), take_former(&mut rest)?),
            FORM_WITHOUT_RUNS => (Generation(0), Vec::new()),
            _ => return None,
        };
        let mut removals = Vec::new();
        let mut ms = 0u64;
        while !rest.is_empty() {
            ms = ms.wrapping_add(take_number(&mut rest).ok()?);
            removals.push(StreamId { ms, number: take_number(&mut rest).ok()? });
        }
        Some(Self {
            key,
            own: StreamId { ms: own_ms, number: own },
            own_run,
            former,
            seen: StreamId { ms: seen_ms, number: seen },
            doubt: (generation > 0).then_some(doubt),
            beyond: beyond.cast_signed(),
            removals,
        })
    }
}

fn take_former(bytes: &mut &[u8]) -> Option<Vec<Former>> {
    let count =
        usize::try_from(take_number(bytes).ok()?).ok().filter(|&count| count <= MAX_FORMER)?;
    let mut former = Vec::with_capacity(count);
    for _ in 0..count {
        let run = Generation(take_number(bytes).ok()?);
        let own = take_id(bytes)?;
        former.push(Former { run, own, until: take_id(bytes)? });
    }
    Some(former)
}

fn take_id(bytes: &mut &[u8]) -> Option<StreamId> {
    Some(StreamId { ms: take_number(bytes).ok()?, number: take_number(bytes).ok()? })
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
        for bad in [&b""[..], b"\x01", b"\x02", &[1; 40], &[3; 80]] {
            assert_eq!(Mark::from_bytes(bad), None);
        }
    }

    #[test]
    fn a_mark_of_a_version_that_knew_no_runs_is_read() {
        let mark =
            Mark { own: id(7, 1), seen: id(9, 2), removals: vec![id(5, 0)], ..Mark::new(77) };
        let mut bytes = mark.to_bytes();
        bytes[0] = FORM_WITHOUT_RUNS;
        // The run and the number of former ones.
        bytes.drain(73..75);
        assert_eq!(Mark::from_bytes(&bytes), Some(mark));
    }

    #[test]
    fn what_each_run_has_left_over_is_told_from_what_it_committed() {
        let mut mark = Mark::new(1);
        for (run, ms) in [(2, 10), (2, 20), (5, 40), (9, 60)] {
            mark.refer_to_own(id(ms, 0), Generation(run));
        }
        let mark = Mark::from_bytes(&mark.to_bytes()).unwrap();
        let is_committed = |ms, run| mark.is_committed(id(ms, 0), Generation(run));
        assert!(is_committed(20, 2) && is_committed(40, 5) && is_committed(60, 9));
        // After its last commit, and by a run that committed nothing.
        assert!(!is_committed(25, 2) && !is_committed(50, 5) && !is_committed(61, 9));
        assert!(!is_committed(5, 1) && !is_committed(30, 4) && !is_committed(55, 8));

        let mut later = mark.clone();
        later.see(id(40, 0));
        assert_eq!(later.former.len(), 1, "what runs 0 and 2 added has been looked at");
        assert!(!later.is_committed(id(50, 0), Generation(5)));
        for run in 10..200 {
            later.refer_to_own(id(60 + run, 0), Generation(run));
            later.see(id(41, 0));
        }
        assert_eq!(later.former.len(), MAX_FORMER);
        assert_eq!(Mark::from_bytes(&later.to_bytes()), Some(later));
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
