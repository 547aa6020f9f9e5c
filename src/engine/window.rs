//! Contents in RAM at a queue's head; everything beyond is only counted.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{Content, Seq, Timestamp};

/// What an entry costs beside header and payload: the entry, the content's struct, its id, and what the
/// allocator adds. Counted, so that many small messages are bounded too.
const ENTRY_BYTES: usize = 256;

/// The contents' bytes of all windows together, loads under way included.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0 }
    }

    /// Bytes that are still free.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    fn take(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
    }

    fn give_back(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }
}

/// A message in RAM.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: Seq,
    pub(super) accepted_at: Timestamp,
    pub(super) content: Arc<Content>,
    /// `content` only stands for what can't be read: never delivered.
    pub(super) unreadable: bool,
}

impl Entry {
    fn cost(&self) -> usize {
        cost(&self.content)
    }
}

/// A read of the store that has not been answered yet.
#[derive(Debug)]
struct Loading {
    from: Seq,
    next_seq: Seq,
    reserved: usize,
}

/// One queue's contents in RAM: **every** unfinished message from the queue's floor up to, not
/// including, `end`.
#[derive(Debug)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    end: Seq,
    cost: usize,
    loading: Option<Loading>,
}

impl Window {
    /// An empty window of a queue whose messages before `floor` are finished.
    pub(super) fn new(floor: Seq) -> Self {
        Self { entries: VecDeque::new(), end: floor, cost: 0, loading: None }
    }

    /// The first place that is not covered: where the next load begins.
    pub(super) fn end(&self) -> Seq {
        self.end
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the entries cost in RAM, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    pub(super) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&Entry> {
        self.position(seq).and_then(|at| self.entries.get(at))
    }

    /// Whether a message at the queue's end may go straight in.
    pub(super) fn takes(&self, seq: Seq, content: &Content, bounds: Bounds, room: usize) -> bool {
        let cost = cost(content);
        self.end == seq
            && self.loading.is_none()
            && self.entries.len() < bounds.messages
            && self.cost.saturating_add(cost) <= bounds.bytes
            && cost <= room
    }

    /// Puts the message at `end` in.
    pub(super) fn push(&mut self, entry: Entry, budget: &mut Budget) {
        let cost = entry.cost();
        self.cost = self.cost.saturating_add(cost);
        budget.take(cost);
        self.end = entry.seq.next();
        self.entries.push_back(entry);
    }

    /// Covers the places before `end` that turned out to hold nothing unfinished.
    pub(super) fn cover_until(&mut self, end: Seq) {
        self.end = self.end.max(end);
    }

    /// Takes a finished message out.
    pub(super) fn remove(&mut self, seq: Seq, budget: &mut Budget) -> Option<Entry> {
        let entry = self.position(seq).and_then(|at| self.entries.remove(at))?;
        self.release(entry.cost(), budget);
        Some(entry)
    }

    /// Puts a new revision in the place of the old; nothing if the message is not covered.
    pub(super) fn replace(&mut self, seq: Seq, content: &Arc<Content>, budget: &mut Budget) {
        let Some(entry) = self.position(seq).and_then(|at| self.entries.get_mut(at)) else {
            return;
        };
        let old = entry.cost();
        entry.content = Arc::clone(content);
        entry.unreadable = false;
        let new = entry.cost();
        self.release(old, budget);
        self.cost = self.cost.saturating_add(new);
        budget.take(new);
    }

    /// Drops what is in RAM from an unreadable message on, so that it is read again; nothing otherwise.
    pub(super) fn forget_unreadable(&mut self, seq: Seq, budget: &mut Budget) {
        if !self.get(seq).is_some_and(|entry| entry.unreadable) {
            return;
        }
        while let Some(entry) = self.entries.pop_back_if(|entry| entry.seq >= seq) {
            self.release(entry.cost(), budget);
        }
        self.end = seq;
    }

    /// Drops all contents but that of `keep`, the queue's first unfinished message, if it is leased.
    pub(super) fn drop_contents(&mut self, floor: Seq, keep: Option<Seq>, budget: &mut Budget) {
        let kept = keep.filter(|&seq| self.front().is_some_and(|entry| entry.seq == seq));
        while self.entries.len() > usize::from(kept.is_some()) {
            let Some(entry) = self.entries.pop_back() else { break };
            self.release(entry.cost(), budget);
        }
        self.entries.shrink_to(4);
        self.end = kept.map_or(floor, Seq::next);
    }

    /// Begins a load from `end` on and says how many messages and bytes to ask for; at most one message
    /// when there is no room. `next_seq` is the place after the newest message now.
    pub(super) fn begin_load(
        &mut self,
        next_seq: Seq,
        bounds: Bounds,
        budget: &mut Budget,
    ) -> (usize, usize) {
        let messages = bounds.messages.saturating_sub(self.entries.len()).max(1);
        let reserved = bounds.bytes.saturating_sub(self.cost).min(budget.room());
        let fit = reserved.checked_div(ENTRY_BYTES).unwrap_or(0).max(1);
        budget.take(reserved);
        self.loading = Some(Loading { from: self.end, next_seq, reserved });
        (messages.min(fit), reserved.max(1))
    }

    /// Ends the load that began at `from`: the place after the newest message at that time, or `None`
    /// if the answer is of no use, because it belongs to no load or the window has moved since.
    pub(super) fn end_load(&mut self, from: Seq, budget: &mut Budget) -> Option<Seq> {
        let loading = self.loading.take_if(|loading| loading.from == from)?;
        budget.give_back(loading.reserved);
        (from == self.end).then_some(loading.next_seq)
    }

    fn position(&self, seq: Seq) -> Option<usize> {
        if self.front()?.seq == seq {
            return Some(0);
        }
        self.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()
    }

    fn release(&mut self, cost: usize, budget: &mut Budget) {
        self.cost = self.cost.saturating_sub(cost);
        budget.give_back(cost);
    }
}

/// How much one window may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) messages: usize,
    /// Of contents, `ENTRY_BYTES` for each included.
    pub(super) bytes: usize,
}

fn cost(content: &Content) -> usize {
    content.header.json().len().saturating_add(content.payload.len()).saturating_add(ENTRY_BYTES)
}
