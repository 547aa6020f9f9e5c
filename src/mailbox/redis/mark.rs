//! How far a queue and its stream have come, as the local store keeps it in each commit that changes it.

use crate::mailbox::leb128::{put_number, take_number};
use crate::model::{Generation, Seq, StreamId};

/// The form below, the one before, which knew doubts as one range about them, and that before, which didn't know of
/// runs; others are not read.
const FORM: u8 = 3;
const FORM_WITH_ONE_DOUBT: u8 = 2;
const FORM_WITHOUT_RUNS: u8 = 1;
/// Ranges in doubt that are told apart: one for each time that Redis went away, until all that came before has been looked
/// at. Entries of those before stay in the stream, where they do nothing.
const MAX_DOUBTS: usize = 64;
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
    generation: Generation,
    first: Seq,
    last: Seq,
    /// The first entry of the broker's own since: these are all before it. Zero: there is none yet.
    until: StreamId,
}

impl Doubt {
    fn covers(&self, generation: Generation, seq: Seq) -> bool {
        self.generation == generation && self.first <= seq && seq <= self.last
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

/// What an entry of an earlier run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// A message refers to it, or did.
    Committed,
    /// Its message is kept here.
    Doubtful,
    /// It was never committed.
    LeftOver,
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
    /// Ascending.
    pub(super) doubts: Vec<Doubt>,
    /// As an earlier version knew it: among these places are some that are not in doubt.
    pub(super) loose_doubt: Option<Doubt>,
    /// How much larger the payloads in the stream are than what stands for them here, in bytes.
    pub(super) beyond: i64,
    /// Entries of finished messages that may still be in the stream.
    pub(super) removals: Vec<StreamId>,
}

impl Mark {
    pub(super) fn new(key: u64) -> Self {
        let (own, seen) = (StreamId::ZERO, StreamId::ZERO);
        Self {
            key,
            own,
            own_run: Generation(0),
            former: Vec::new(),
            seen,
            doubts: Vec::new(),
            loose_doubt: None,
            beyond: 0,
            removals: Vec::new(),
        }
    }

    /// A message refers to this entry, which `run` has added.
    pub(super) fn refer_to_own(&mut self, id: StreamId, run: Generation) {
        if self.own_run != run {
            self.former.push(Former { run: self.own_run, own: self.own, until: id });
            self.own_run = run;
        }
        self.own = self.own.max(id);
        let open = self.doubts.iter_mut().filter(|doubt| doubt.until == StreamId::ZERO);
        open.for_each(|doubt| doubt.until = id);
    }

    /// This place is kept here, and perhaps in the stream as well.
    pub(super) fn doubt(&mut self, generation: Generation, seq: Seq) {
        let last = self.doubts.last_mut().filter(|last| {
            last.generation == generation
                && last.last.0 + 1 == seq.0
                && last.until == StreamId::ZERO
        });
        if let Some(last) = last {
            last.last = seq;
            return;
        }
        if self.doubts.len() == MAX_DOUBTS {
            self.doubts.remove(0);
        }
        self.doubts.push(Doubt { generation, first: seq, last: seq, until: StreamId::ZERO });
    }

    /// What is to be done with an entry of a run before the present one.
    pub(super) fn judge(&self, id: StreamId, run: Generation, seq: Seq) -> Judgement {
        let is_covered = |doubt: &Doubt| doubt.covers(run, seq);
        if self.doubts.iter().any(is_covered) {
            return Judgement::Doubtful;
        }
        if self.is_committed(id, run) {
            return Judgement::Committed;
        }
        match self.loose_doubt.as_ref().is_some_and(is_covered) {
            true => Judgement::Doubtful,
            false => Judgement::LeftOver,
        }
    }

    /// All entries up to here are dealt with.
    pub(super) fn see(&mut self, seen: StreamId) {
        self.seen = seen;
        self.former.retain(|former| former.until > seen);
        let surplus = self.former.len().saturating_sub(MAX_FORMER);
        self.former.drain(..surplus);
        self.doubts.retain(|doubt| doubt.until == StreamId::ZERO || doubt.until > seen);
    }

    /// Does a message refer, or did one, to this entry of a run before the present one? An own entry of the present
    /// run may come after what the one before has left over, long before that is looked at.
    fn is_committed(&self, id: StreamId, run: Generation) -> bool {
        if self.own_run <= run {
            return id <= self.own;
        }
        let newest = self.former.iter().rev().find(|former| former.run <= run);
        newest.is_none_or(|former| id <= former.own)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let doubt = self.loose_doubt.map_or([0; 3], |d| [d.generation.0, d.first.0, d.last.0]);
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
        put_number(&mut bytes, self.doubts.len() as u64);
        for Doubt { generation, first, last, until } in &self.doubts {
            for number in [generation.0, first.0, last.0, until.ms, until.number] {
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
        let loose_doubt = Doubt {
            generation: Generation(generation),
            first: Seq(first),
            last: Seq(last),
            until: StreamId::ZERO,
        };
        let (own_run, former) = match form {
            FORM | FORM_WITH_ONE_DOUBT => {
                (Generation(take_number(&mut rest).ok()?), take_former(&mut rest)?)
            }
            FORM_WITHOUT_RUNS => (Generation(0), Vec::new()),
            _ => return None,
        };
        let doubts = if form == FORM { take_doubts(&mut rest)? } else { Vec::new() };
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
            doubts,
            loose_doubt: (generation > 0).then_some(loose_doubt),
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

fn take_doubts(bytes: &mut &[u8]) -> Option<Vec<Doubt>> {
    let count =
        usize::try_from(take_number(bytes).ok()?).ok().filter(|&count| count <= MAX_DOUBTS)?;
    let mut doubts = Vec::with_capacity(count);
    for _ in 0..count {
        let generation = Generation(take_number(bytes).ok()?);
        let first = Seq(take_number(bytes).ok()?);
        let last = Seq(take_number(bytes).ok()?);
        doubts.push(Doubt { generation, first, last, until: take_id(bytes)? });
    }
    Some(doubts)
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

    fn loose() -> Doubt {
        let generation = Generation(3);
        Doubt { generation, first: Seq(4), last: Seq(9), until: StreamId::ZERO }
    }

    #[test]
    fn a_mark_reads_back() {
        let removals = vec![id(u64::MAX, u64::MAX), id(5, 0), id(6, 1 << 40)];
        let mut mark =
            Mark { own: id(7, 1), seen: id(9, 2), beyond: -4, removals, ..Mark::new(77) };
        mark.doubt(Generation(4), Seq(1));
        mark.refer_to_own(id(8, u64::MAX), Generation(4));
        mark.doubt(Generation(4), Seq(2));
        for loose_doubt in [None, Some(loose())] {
            let mark = Mark { loose_doubt, ..mark.clone() };
            assert_eq!(Mark::from_bytes(&mark.to_bytes()), Some(mark));
        }
        for bad in [&b""[..], b"\x01", b"\x02", &[1; 40], &[4; 80]] {
            assert_eq!(Mark::from_bytes(bad), None);
        }
    }

    #[test]
    fn marks_of_versions_before_are_read() {
        let removals = vec![id(5, 0)];
        let mark = Mark { own: id(7, 1), seen: id(9, 2), removals, ..Mark::new(77) };
        let mark = Mark { loose_doubt: Some(loose()), ..mark };
        let mut bytes = mark.to_bytes();
        // The number of doubts.
        bytes.remove(75);
        bytes[0] = FORM_WITH_ONE_DOUBT;
        let read = Mark::from_bytes(&bytes).unwrap();
        assert_eq!(read, mark);
        let judge = |ms, seq| read.judge(id(ms, 0), Generation(3), Seq(seq));
        // Not all in it are in doubt, so what is committed comes first.
        assert_eq!(judge(7, 5), Judgement::Committed);
        assert_eq!(judge(8, 5), Judgement::Doubtful);
        assert_eq!(judge(8, 10), Judgement::LeftOver);
        // The run and the number of former ones.
        bytes.drain(73..75);
        bytes[0] = FORM_WITHOUT_RUNS;
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
    fn what_is_in_doubt_is_known_until_all_that_came_before_is_looked_at() {
        let mut mark = Mark::new(1);
        let run = Generation(1);
        mark.refer_to_own(id(10, 0), run);
        for seq in [2, 3, 4] {
            mark.doubt(run, Seq(seq));
        }
        mark.refer_to_own(id(30, 0), run);
        mark.doubt(run, Seq(6));
        let judge = |mark: &Mark, ms, seq| mark.judge(id(ms, 0), run, Seq(seq));
        assert_eq!(judge(&mark, 10, 1), Judgement::Committed);
        // Although a later one is committed.
        assert_eq!(judge(&mark, 20, 3), Judgement::Doubtful);
        assert_eq!(judge(&mark, 30, 5), Judgement::Committed);
        assert_eq!(judge(&mark, 40, 6), Judgement::Doubtful);
        assert_eq!(judge(&mark, 50, 7), Judgement::LeftOver);
        mark.see(id(29, 0));
        assert_eq!(mark.doubts.len(), 2);
        mark.see(id(30, 0));
        assert_eq!(mark.doubts.len(), 1, "nothing of the first can come any more");
        for seq in 0..1_000 {
            mark.doubt(run, Seq(2 * seq + 10));
        }
        assert_eq!(mark.doubts.len(), MAX_DOUBTS);
        assert_eq!(Mark::from_bytes(&mark.to_bytes()), Some(mark));
    }
}
