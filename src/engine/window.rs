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

/// One queue's contents in RAM. Of a queue in order, **every** unfinished message from the queue's floor up to,
/// not including, `end`; of another one, some of these. A queue that nobody works on holds none and takes next
/// to no RAM.
#[derive(Debug)]
pub(super) struct Window {
    end: Seq,
    held: Option<Box<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    entries: VecDeque<Entry>,
    cost: usize,
    loading: Option<Loading>,
}

impl Window {
    /// An empty window of a queue whose messages before `floor` are finished.
    pub(super) fn new(floor: Seq) -> Self {
        Self { end: floor, held: None }
    }

    /// The first place that is not covered: where the next load begins.
    pub(super) fn end(&self) -> Seq {
        self.end
    }

    pub(super) fn len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.entries.len())
    }

    /// What the entries cost in RAM, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.cost)
    }

    /// Whether what goes before others may come into RAM beside them: so much that a full window doesn't hold it up.
    pub(super) fn has_room_for_more(&self, bounds: Bounds) -> bool {
        self.len() < bounds.messages.saturating_mul(2)
            && self.cost() < bounds.bytes.saturating_mul(2)
    }

    pub(super) fn is_loading(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.loading.is_some())
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.held.as_ref()?.entries.front()
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&Entry> {
        let held = self.held.as_ref()?;
        held.position(seq).and_then(|at| held.entries.get(at))
    }

    /// Whether a message at the queue's end may go straight in.
    pub(super) fn takes(&self, seq: Seq, content: &Content, bounds: Bounds, room: usize) -> bool {
        let cost = cost(content);
        self.end == seq
            && !self.is_loading()
            && self.len() < bounds.messages
            && self.cost().saturating_add(cost) <= bounds.bytes
            && cost <= room
    }

    /// Puts the message at `end` in.
    pub(super) fn push(&mut self, entry: Entry, budget: &mut Budget) {
        self.end = entry.seq.next();
        let held = self.held.get_or_insert_default();
        held.take(entry.cost(), budget);
        held.entries.push_back(entry);
    }

    /// Puts a message before `end` in, or one known before the window comes to it; it isn't there yet.
    pub(super) fn insert(&mut self, entry: Entry, budget: &mut Budget) {
        let held = self.held.get_or_insert_default();
        held.take(entry.cost(), budget);
        if held.entries.back().is_none_or(|last| last.seq < entry.seq) {
            return held.entries.push_back(entry);
        }
        let at = held.entries.partition_point(|other| other.seq < entry.seq);
        held.entries.insert(at, entry);
    }

    /// Covers the places before `end` that turned out to hold nothing unfinished.
    pub(super) fn cover_until(&mut self, end: Seq) {
        self.end = self.end.max(end);
    }

    /// Takes a finished message out.
    pub(super) fn remove(&mut self, seq: Seq, budget: &mut Budget) -> Option<Entry> {
        let held = self.held.as_mut()?;
        let entry = held.position(seq).and_then(|at| held.entries.remove(at))?;
        held.release(entry.cost(), budget);
        Some(entry)
    }

    /// Puts a new revision in the place of the old; nothing if the message is not covered.
    pub(super) fn replace(&mut self, seq: Seq, content: &Arc<Content>, budget: &mut Budget) {
        let Some(held) = self.held.as_mut() else { return };
        let Some(entry) = held.position(seq).and_then(|at| held.entries.get_mut(at)) else {
            return;
        };
        let old = entry.cost();
        entry.content = Arc::clone(content);
        entry.unreadable = false;
        let new = entry.cost();
        held.release(old, budget);
        held.take(new, budget);
    }

    /// Drops what is in RAM from an unreadable message on, so that it is read again; nothing otherwise.
    pub(super) fn forget_unreadable(&mut self, seq: Seq, budget: &mut Budget) {
        if !self.get(seq).is_some_and(|entry| entry.unreadable) {
            return;
        }
        let Some(held) = self.held.as_mut() else { return };
        while let Some(entry) = held.entries.pop_back_if(|entry| entry.seq >= seq) {
            held.release(entry.cost(), budget);
        }
        self.end = seq;
    }

    /// Drops all contents but that of `keep`, the queue's first unfinished message, if it is leased.
    pub(super) fn drop_contents(&mut self, floor: Seq, keep: Option<Seq>, budget: &mut Budget) {
        let kept = keep.filter(|&seq| self.front().is_some_and(|entry| entry.seq == seq));
        self.end = kept.map_or(floor, Seq::next);
        let Some(held) = self.held.as_mut() else { return };
        while held.entries.len() > usize::from(kept.is_some()) {
            let Some(entry) = held.entries.pop_back() else { break };
            held.release(entry.cost(), budget);
        }
        held.entries.shrink_to(4);
        self.let_go_if_empty();
    }

    /// Drops all contents; what is covered stays so.
    pub(super) fn drop_all(&mut self, budget: &mut Budget) {
        let Some(held) = self.held.as_mut() else { return };
        held.release(held.cost, budget);
        held.entries = VecDeque::new();
        self.let_go_if_empty();
    }

    /// Drops all contents and whatever is being read, for good.
    pub(super) fn discard(&mut self, budget: &mut Budget) {
        if let Some(held) = self.held.take() {
            budget.give_back(held.cost);
            budget.give_back(held.loading.map_or(0, |loading| loading.reserved));
        }
    }

    /// Begins a load from `from` on and says how many messages and bytes to ask for; at most one message
    /// when there is no room. `next_seq` is the place after the newest message now.
    pub(super) fn begin_load(
        &mut self,
        from: Seq,
        next_seq: Seq,
        bounds: Bounds,
        budget: &mut Budget,
    ) -> (usize, usize) {
        let messages = bounds.messages.saturating_sub(self.len()).max(1);
        let reserved = bounds.bytes.saturating_sub(self.cost()).min(budget.room());
        let fit = reserved.checked_div(ENTRY_BYTES).unwrap_or(0).max(1);
        budget.take(reserved);
        self.held.get_or_insert_default().loading = Some(Loading { from, next_seq, reserved });
        (messages.min(fit), reserved.max(1))
    }

    /// Ends the load that began at `from`: the place after the newest message at that time, or `None`
    /// if the answer is of no use, because it belongs to no load or the window has moved since.
    pub(super) fn end_load(&mut self, from: Seq, budget: &mut Budget) -> Option<Seq> {
        let held = self.held.as_mut()?;
        let loading = held.loading.take_if(|loading| loading.from == from)?;
        budget.give_back(loading.reserved);
        self.let_go_if_empty();
        (from == self.end).then_some(loading.next_seq)
    }

    fn let_go_if_empty(&mut self) {
        self.held.take_if(|held| held.entries.is_empty() && held.loading.is_none());
    }
}

impl Held {
    fn position(&self, seq: Seq) -> Option<usize> {
        // Mostly all of them are there, one behind the other.
        let ahead = usize::try_from(seq.0.checked_sub(self.entries.front()?.seq.0)?).ok()?;
        if self.entries.get(ahead).is_some_and(|entry| entry.seq == seq) {
            return Some(ahead);
        }
        self.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()
    }

    fn take(&mut self, cost: usize, budget: &mut Budget) {
        self.cost = self.cost.saturating_add(cost);
        budget.take(cost);
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
