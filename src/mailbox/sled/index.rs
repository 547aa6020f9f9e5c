//! What is held in RAM: for each queue its runs, not its messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Deref;

use super::progress::Progress;
use super::removed::Removed;
use super::segment::DirectoryRun;
use super::usage::{GenerationUse, Use};
use crate::mailbox::check::Places;
use crate::mailbox::pack::Packing;
use crate::model::{MailboxKind, ProcessKey, QueueId, QueueRecord, Seq};

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

/// By place, what `state` holds of messages beyond their contents: one pointer, until there is something.
#[expect(
    clippy::box_collection,
    reason = "an empty map takes three words, in each of 100,000 queues"
)]
#[derive(Debug, Default)]
pub(super) struct Extras(Option<Box<BTreeMap<u64, Extra>>>);

const NO_EXTRAS: &BTreeMap<u64, Extra> = &BTreeMap::new();

impl Deref for Extras {
    type Target = BTreeMap<u64, Extra>;

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().unwrap_or(NO_EXTRAS)
    }
}

impl Extras {
    /// The extra of a place, which is there from now on.
    pub(super) fn at(&mut self, place: u64) -> &mut Extra {
        self.0.get_or_insert_default().entry(place).or_default()
    }

    pub(super) fn remove(&mut self, place: u64) {
        if let Some(extras) = &mut self.0 {
            extras.remove(&place);
        }
        self.0.take_if(|extras| extras.is_empty());
    }
}

/// What of a directory's run its segment still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    Part,
    Whole,
}

/// What of a queue's record is needed while the store is open; the record itself is in `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// The place of its first message.
    pub(super) first: u64,
    /// Ids that are remembered.
    pub(super) dedup_last: u32,
    /// None of its messages waits elsewhere.
    pub(super) is_file: bool,
}

impl From<&QueueRecord> for Terms {
    fn from(record: &QueueRecord) -> Self {
        Self {
            first: record.first.0,
            dedup_last: record.settings.dedup.last(),
            is_file: record.settings.mailbox == MailboxKind::File,
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) terms: Terms,
    pub(super) progress: Progress,
    /// Places from here on were never used.
    pub(super) next: u64,
    /// As [`super::floor::Floor::gaps_before`].
    pub(super) gaps_before: u64,
    /// Ascending, perhaps with gaps; also wholly finished ones whose ids are remembered.
    pub(super) runs: VecDeque<Run>,
    pub(super) extras: Extras,
}

impl Queue {
    pub(super) fn new(record: &QueueRecord) -> Self {
        Self {
            terms: Terms::from(record),
            progress: Progress::new(record.first),
            next: record.first.0,
            gaps_before: 0,
            // Most queues of a large broker have one; the next would make room for four.
            runs: VecDeque::with_capacity(1),
            extras: Extras::default(),
        }
    }

    /// The place after all that were used or set aside.
    pub(super) fn end(&self) -> u64 {
        self.runs.back().map_or(self.next, |run| run.end().max(self.next))
    }

    /// The first place whose id is remembered. Places set aside beyond the newest message don't count.
    pub(super) fn window_start(&self) -> u64 {
        let end = self.runs.back().map_or(self.next, Run::end);
        end.saturating_sub(u64::from(self.terms.dedup_last)).max(1)
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
    pub(super) packing: Packing,
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
    /// Takes less RAM, if there are many more queues than the last time.
    pub(super) fn pack(&mut self) {
        self.packing.pack(&mut self.queues);
    }

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
