//! Who needs what: runs, their segments, and the generations of these.

use super::index::{Index, Queue, Run};
use super::layout::{MAX_SEGMENT_BYTES, PART_BYTES};
use super::segment::{Directory, DirectoryRun};
use crate::model::QueueId;

/// A segment with less of messages that wait is a small one: many of them are merged.
const SMALL_BYTES: u64 = MAX_SEGMENT_BYTES as u64 / 6;

/// Who needs a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// Unfinished messages in it: its values are needed.
    pub(super) live: u32,
    /// Messages in it.
    pub(super) count: u32,
    /// Runs of it that some queue lists: its directory and ids are needed.
    pub(super) runs: u32,
    /// Values after it that hold a large or shared payload.
    pub(super) parts: u32,
    /// Header and payload bytes of all its messages.
    pub(super) bytes: u64,
}

impl Use {
    /// Bytes of its unfinished messages, if all were of one size; not more than it can have on disk, where a
    /// payload that they share is once.
    fn live_bytes(&self) -> u64 {
        let live = match self.live {
            0 => 0,
            live if live == self.count => self.bytes,
            live => self.bytes / u64::from(self.count.max(1)) * u64::from(live),
        };
        match self.parts {
            0 => live,
            parts => live.min(u64::from(parts) * PART_BYTES as u64 + MAX_SEGMENT_BYTES as u64),
        }
    }

    pub(super) fn is_small(&self) -> bool {
        self.runs > 0 && self.live_bytes() < SMALL_BYTES
    }
}

/// What is needed of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GenerationUse {
    /// Segments whose directories are there.
    pub(super) segments: u64,
    /// Small ones among them.
    pub(super) small: u64,
    /// Unfinished messages.
    pub(super) live: u64,
    /// Their bytes, about.
    pub(super) live_bytes: u64,
}

impl GenerationUse {
    fn add(&mut self, used: &Use) {
        self.small += u64::from(used.is_small());
        self.live += u64::from(used.live);
        self.live_bytes += used.live_bytes();
    }

    fn subtract(&mut self, used: &Use) {
        self.small = self.small.saturating_sub(u64::from(used.is_small()));
        self.live = self.live.saturating_sub(u64::from(used.live));
        self.live_bytes = self.live_bytes.saturating_sub(used.live_bytes());
    }
}

impl Index {
    /// Takes a committed segment in. Its queues are there. Where it has places that another segment had, they
    /// are its own from now on.
    pub(super) fn add_segment(&mut self, id: u64, directory: &Directory) {
        let mut used = Use { parts: directory.parts, ..Use::default() };
        for &DirectoryRun { queue, first, count, bytes, .. } in &directory.runs {
            used.count += count;
            used.bytes += bytes;
            let run = Run { first: first.0, segment: id, count };
            let Some(queue) = self.queues.get_mut(&queue) else { continue };
            used.live += queue.progress.unfinished_in(run.first, count);
            used.runs += 1;
            let replaced = queue.put_run(run);
            queue.next = queue.next.max(run.end());
            for (segment, live, runs) in replaced {
                self.change_use(segment, |used| {
                    used.live = used.live.saturating_sub(live);
                    used.runs = used.runs.saturating_add_signed(runs);
                });
            }
        }
        self.segments.insert(id, used);
        if let Some(generation) = self.generation_of(id) {
            generation.segments += 1;
            generation.add(&used);
        }
        if used.runs == 0 {
            self.unneeded.push_back(id);
        }
    }

    /// A message is finished: called before the queue's progress says so.
    pub(super) fn release(&mut self, queue: QueueId, place: u64) {
        let segment = self.queues.get(&queue).and_then(|queue| queue.segment_of(place));
        if let Some(segment) = segment {
            self.change_use(segment, |used| used.live = used.live.saturating_sub(1));
        }
    }

    /// A queue is gone, with all that waited in it: its places in segments that others need too mean nothing any more.
    pub(super) fn remove_queue(&mut self, id: QueueId) {
        let Some(queue) = self.queues.remove(&id) else { return };
        for run in &queue.runs {
            let live = queue.progress.unfinished_in(run.first, run.count);
            self.change_use(run.segment, |used| {
                used.live = used.live.saturating_sub(live);
                used.runs = used.runs.saturating_sub(1);
            });
        }
    }

    /// The directory of a segment of which nothing is needed is gone.
    pub(super) fn forget_segment(&mut self, id: u64) {
        let Some(gone) = self.segments.remove(&id) else { return };
        if let Some(generation) = self.generation_of(id) {
            generation.segments -= 1;
            generation.subtract(&gone);
        }
    }

    fn change_use(&mut self, segment: u64, change: impl FnOnce(&mut Use)) {
        let Some(used) = self.segments.get_mut(&segment) else { return };
        let before = *used;
        change(used);
        let after = *used;
        if let Some(generation) = self.generation_of(segment) {
            generation.add(&after);
            generation.subtract(&before);
        }
        if before.runs > 0 && after.runs == 0 {
            self.unneeded.push_back(segment);
        }
    }

    fn generation_of(&mut self, id: u64) -> Option<&mut GenerationUse> {
        self.generations.range_mut(..=id).next_back().map(|(_, generation)| generation)
    }

    /// Lets go of runs at a queue's front that are finished and whose ids are forgotten.
    pub(super) fn trim(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let keep_from = queue.window_start().min(queue.progress.floor);
        let mut trimmed = Vec::new();
        while let Some(run) = queue.runs.front().copied()
            && run.end() <= keep_from
        {
            queue.runs.pop_front();
            trimmed.push(run.segment);
        }
        queue.shrink();
        trimmed.into_iter().for_each(|segment| {
            self.change_use(segment, |used| used.runs = used.runs.saturating_sub(1))
        });
    }

    /// The places among these that `segment` has and that are needed: each with whether it is unfinished.
    /// Runs of which none is needed are let go of, also behind a head that waits.
    pub(super) fn needed_places(
        &mut self,
        id: QueueId,
        segment: u64,
        places: std::ops::Range<u64>,
    ) -> Vec<(u64, bool)> {
        let Some(queue) = self.queues.get_mut(&id) else { return Vec::new() };
        let window_start = queue.window_start();
        let (mut needed, mut gone) = (Vec::new(), 0);
        let mut at = queue.run_at(places.start);
        while let Some(run) = queue.runs.get(at).copied()
            && run.first < places.end
        {
            let before = needed.len();
            if run.segment == segment {
                let states =
                    (run.first..run.end()).map(|place| (place, !queue.progress.is_finished(place)));
                needed.extend(states.filter(|&(place, live)| live || place >= window_start));
            }
            if run.segment == segment && needed.len() == before {
                queue.runs.remove(at);
                gone += 1;
            } else {
                at += 1;
            }
        }
        self.change_use(segment, |used| used.runs = used.runs.saturating_sub(gone));
        needed
    }
}

impl Queue {
    /// Puts a run in its place. What other runs had of its places is theirs no more: for each of these its
    /// segment, how many unfinished messages went, and how many runs more or less there are.
    fn put_run(&mut self, run: Run) -> Vec<(u64, u32, i32)> {
        let start = self.run_at(run.first);
        let end = start + self.runs.range(start..).take_while(|old| old.first < run.end()).count();
        if start == end {
            self.runs.insert(start, run);
            return Vec::new();
        }
        let (mut replaced, mut kept) = (Vec::new(), vec![run]);
        for old in self.runs.range(start..end) {
            let (from, to) = (old.first.max(run.first), old.end().min(run.end()));
            let live = self.progress.unfinished_in(from, (to - from) as u32);
            let before = Run { count: (from - old.first) as u32, ..*old };
            let after = Run { first: to, count: (old.end() - to) as u32, ..*old };
            let pieces = [before, after].into_iter().filter(|piece| piece.count > 0);
            let pieces: Vec<Run> = pieces.filter(|piece| self.needs(piece)).collect();
            replaced.push((old.segment, live, pieces.len() as i32 - 1));
            kept.extend(pieces);
        }
        kept.sort_unstable_by_key(|run| run.first);
        self.runs.drain(start..end);
        kept.into_iter().zip(start..).for_each(|(run, at)| self.runs.insert(at, run));
        replaced
    }

    fn shrink(&mut self) {
        if self.runs.capacity() > 64 && self.runs.len() < self.runs.capacity() / 4 {
            self.runs.shrink_to(self.runs.len() * 2);
        }
    }
}
