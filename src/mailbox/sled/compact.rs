//! The compactor: what still waits in an old generation is written again, so that its folder can go; and
//! many small segments become few.
//!
//! It goes in passes over one generation's segments. Some of their messages are gathered, sorted by queue and
//! place, and written into the active generation by commits that change nothing else: the segment with the
//! higher id has a place, so a crash between any two writes leaves every message where it can be read. Of a
//! finished message whose id is remembered, only the id is written again.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::SledMailbox;
use super::changes::Changes;
use super::keeper::Job;
use super::layout::{MAX_SEGMENT_BYTES, SLED_SEGMENT_BYTES, directory_key};
use super::replay::read_segment;
use super::rotate::Step;
use super::segment::{Entry, Segment, decode_directory};
use super::shared::{PayloadAt, shared_payloads};
use super::usage::GenerationUse;
use crate::mailbox::MailboxError;
use crate::model::{Content, QueueId, Seq};

/// Gathered before it is sorted and written: the more, the longer the runs of a queue become. In bytes.
const GATHER_BYTES: usize = 2 * 1024 * 1024;
/// What one step reads or writes: about a millisecond. In bytes.
const STEP_BYTES: usize = 128 * 1024;
/// Segments looked at in one step.
const STEP_SEGMENTS: usize = 32;

/// The store may take five quarters of what waits, and the slack.
const fn allowed_bytes(live: u64, slack: u64) -> u64 {
    live + live / 4 + slack
}

/// What waits takes more on the disk than its bytes: for each message its id once more, and numbers; for each
/// segment its keys and its directory. About so much, in bytes.
const MESSAGE_OVERHEAD: u64 = 100;
const SEGMENT_OVERHEAD: u64 = 400;

/// A generation of which a larger part waits, in percent, is left alone: writing it again would free little. The copy of
/// `state` in it doesn't count: there is one in every generation.
const MAX_LIVE_PERCENT: u64 = 75;

#[derive(Debug, Default)]
pub(super) struct Compactor {
    pub(super) pass: Option<Pass>,
    /// First ids of generations that hold something damaged: they are left as they are.
    unfit: BTreeSet<u64>,
}

/// Work on one generation.
#[derive(Debug)]
pub(super) struct Pass {
    first_id: u64,
    /// The next segment is at or after this id, and before `end`.
    next: u64,
    end: u64,
    only_small: bool,
    gathered: Vec<Entry>,
    bytes: usize,
    /// From here on, `gathered` is sorted and being written, the last first.
    is_writing: bool,
}

impl SledMailbox {
    /// One step.
    pub(super) fn compact_step(&self, compactor: &mut Compactor) -> Result<Step, MailboxError> {
        if compactor.pass.is_some() && !self.store.can_spare(GATHER_BYTES as u64) {
            // The disk is low: what was written so far is there twice, and the rest waits.
            return Ok(Step::Idle);
        }
        let taken = compactor.pass.take();
        let Some(mut pass) = taken.or_else(|| self.next_pass(&compactor.unfit)) else {
            return Ok(Step::Idle);
        };
        let step =
            if pass.is_writing { self.write_again(&mut pass) } else { self.gather(&mut pass) };
        match step {
            Ok(Step::Idle) => Ok(Step::More),
            Ok(step) => {
                compactor.pass = Some(pass);
                Ok(step)
            }
            Err(error) => {
                self.check_damaged(error)?;
                compactor.unfit.insert(pass.first_id);
                Ok(Step::More)
            }
        }
    }

    /// Damage of what is to be written again is no damage of the store.
    fn check_damaged(&self, error: MailboxError) -> Result<(), MailboxError> {
        self.leave_out::<()>("a part of the store that would be compacted", error).map(drop)
    }

    fn next_pass(&self, unfit: &BTreeSet<u64>) -> Option<Pass> {
        let active = self.store.active().ok()?;
        let index = self.index();
        let mut sizes = self.store.sealed.sizes();
        sizes.retain(|size| index.generations.contains_key(&size.first_id));
        let all = index.generations.values();
        let (live, small) =
            all.fold((0, 0), |(live, small), used| (live + used.live_bytes, small + used.small));
        let is_affordable = |first_id: &u64| {
            index
                .generations
                .get(first_id)
                .is_none_or(|used| self.store.can_spare(pass_bytes(used)))
        };
        let fit = |first_id: &u64| !unfit.contains(first_id) && is_affordable(first_id);
        let (first_id, only_small) = if small > self.store.options.max_small_segments {
            let fit = index.generations.iter().filter(|&(first_id, _)| fit(first_id));
            (fit.max_by_key(|(_, used)| used.small).map(|(&first_id, _)| first_id)?, true)
        } else {
            let total = sizes.iter().map(|size| size.file).sum::<u64>();
            let total = total + active.generation.file_bytes();
            if total <= allowed_bytes(live, self.store.options.compact_slack_bytes) {
                return None;
            }
            let shares = sizes.iter().filter(|size| fit(&size.first_id)).filter_map(|size| {
                let used = index.generations.get(&size.first_id)?;
                Some((live_percent(used, size.log), size.first_id))
            });
            let (percent, first_id) = shares.min()?;
            if percent > MAX_LIVE_PERCENT {
                return None;
            }
            (first_id, false)
        };
        let end = index.generations.range(first_id + 1..).next().map(|(&end, _)| end);
        drop(index);
        let end = end.unwrap_or_else(|| self.log_end().next_id);
        let (gathered, bytes, is_writing) = (Vec::new(), 0, false);
        Some(Pass { first_id, next: first_id, end, only_small, gathered, bytes, is_writing })
    }

    /// Reads some more; `Idle` when there is nothing left, nor anything to write.
    fn gather(&self, pass: &mut Pass) -> Result<Step, MailboxError> {
        if !self.index().generations.contains_key(&pass.first_id) {
            // All of it was finished meanwhile, and it has been deleted.
            pass.next = pass.end;
        } else if !self.store.is_near(pass.first_id) {
            self.store.keeper.ask(Job::Approach(pass.first_id));
            return Ok(Step::Waiting);
        }
        let until = pass.bytes + STEP_BYTES;
        for _ in 0..STEP_SEGMENTS {
            let next = {
                let index = self.index();
                let next = index.segments.range(pass.next..pass.end).next();
                next.map(|(&segment, used)| (segment, *used))
            };
            let Some((segment, used)) = next else {
                pass.next = pass.end;
                break;
            };
            pass.next = segment + 1;
            if used.runs > 0 && (used.is_small() || !pass.only_small) {
                self.gather_segment(segment, pass)?;
            }
            if pass.bytes >= until {
                break;
            }
        }
        let is_over = pass.next >= pass.end;
        if is_over && pass.gathered.is_empty() {
            return Ok(Step::Idle);
        }
        if is_over || pass.bytes >= GATHER_BYTES {
            // Those that share a payload one after the other, after all others.
            let shared = shared_payloads(&pass.gathered);
            let rank = |entry: &Entry| PayloadAt::of(entry).and_then(|at| shared.get(&at).copied());
            pass.gathered
                .sort_by_cached_key(|entry| Reverse((rank(entry), entry.queue, entry.seq)));
            pass.is_writing = true;
        }
        Ok(Step::More)
    }

    fn gather_segment(&self, id: u64, pass: &mut Pass) -> Result<(), MailboxError> {
        let key = directory_key(id);
        let Some(value) = self.store.get_state(&key)? else { return Ok(()) };
        let directory = decode_directory(&key, &value).map_err(|e| self.store.damaged(e))?;
        let mut needed: Vec<(QueueId, Seq, bool)> = Vec::new();
        {
            let mut index = self.index_mut();
            for run in &directory.runs {
                let places = index.needed_places(run.queue, id, run.first.0..run.end().0);
                needed.extend(places.into_iter().map(|(at, live)| (run.queue, Seq(at), live)));
            }
        }
        if needed.is_empty() {
            return Ok(());
        }
        let damaged = |what: String| self.store.damaged(super::codec::Corrupt(what));
        let segment = read_segment(&self.store, id)?
            .ok_or_else(|| damaged(format!("segment {id} is not there")))?;
        let mut payload = None;
        for (queue, seq, live) in needed {
            let was_read = payload.is_some();
            let content = match live {
                true => self.content_sharing(&segment, queue, seq, &mut payload)?,
                false => self.id_only(&segment, queue, seq)?,
            };
            let (at, _) = segment
                .info(queue, seq)
                .ok_or_else(|| damaged(format!("segment {id} misses {seq}")))?;
            let entry = Entry { queue, seq, at, content: Arc::new(content) };
            // A payload that messages share is in RAM once.
            pass.bytes += if was_read { entry.own_bytes() } else { entry.bytes() };
            pass.gathered.push(entry);
        }
        Ok(())
    }

    fn id_only(
        &self,
        segment: &Segment,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Content, MailboxError> {
        let missing = || super::codec::Corrupt(format!("segment {} misses {seq}", segment.id));
        let header = segment.header(queue, seq).unwrap_or_else(|| Err(missing()));
        header.map(|header| Content::placeholder(header.id())).map_err(|e| self.store.damaged(e))
    }

    /// Writes some of what was gathered, in a commit of its own.
    fn write_again(&self, pass: &mut Pass) -> Result<Step, MailboxError> {
        let mut log_end = self.log_end();
        let changes = {
            let index = self.index();
            let (mut entries, mut size) = (Vec::new(), StepSize::default());
            while let Some(mut entry) = pass.gathered.pop_if(|entry| size.has_room_for(entry)) {
                let Some(queue) = index.queues.get(&entry.queue) else { continue };
                // It may have been finished since it was gathered.
                if queue.progress.is_finished(entry.seq.0) {
                    if entry.seq.0 < queue.window_start() {
                        continue;
                    }
                    entry.content = Arc::new(Content::placeholder(entry.content.id()));
                }
                size.add(&entry);
                entries.push(entry);
            }
            Changes::rewriting(entries, &index)
        };
        if !changes.entries.is_empty() {
            let written = log_end.write(&self.store, &changes);
            let written = written.inspect_err(|_| self.store.set_broken())?;
            changes.apply(&written, &mut self.index_mut());
        }
        if pass.gathered.is_empty() {
            (pass.is_writing, pass.bytes) = (false, 0);
        }
        Ok(Step::More)
    }
}

/// What one step writes. Messages that share a payload stay together as far as one segment can hold them: each
/// step that has some of them writes it again.
#[derive(Debug, Default)]
struct StepSize {
    bytes: usize,
    /// The payload of the last message, and bytes of messages that have it.
    last: Option<(PayloadAt, usize)>,
}

impl StepSize {
    /// What messages before it with the same payload take.
    fn sharing(&self, entry: &Entry) -> Option<usize> {
        let (last, own_bytes) = self.last?;
        (PayloadAt::of(entry) == Some(last)).then_some(own_bytes)
    }

    fn has_room_for(&self, entry: &Entry) -> bool {
        match self.sharing(entry) {
            Some(own_bytes) => own_bytes + entry.own_bytes() <= MAX_SEGMENT_BYTES,
            None => self.bytes < STEP_BYTES,
        }
    }

    fn add(&mut self, entry: &Entry) {
        let shared = self.sharing(entry);
        self.bytes += if shared.is_some() { entry.own_bytes() } else { entry.bytes() };
        let own_bytes = shared.unwrap_or(0) + entry.own_bytes();
        self.last = PayloadAt::of(entry).map(|at| (at, own_bytes));
    }
}

fn live_percent(used: &GenerationUse, log_bytes: u64) -> u64 {
    written_again(used) * 100 / log_bytes.max(1)
}

/// What waits in a generation, written again.
fn written_again(used: &GenerationUse) -> u64 {
    used.live_bytes + used.live * MESSAGE_OVERHEAD + used.segments * SEGMENT_OVERHEAD
}

/// What a pass over a generation takes of the disk before that one can go: sled may begin a segment for it.
fn pass_bytes(used: &GenerationUse) -> u64 {
    written_again(used) + SLED_SEGMENT_BYTES as u64
}
