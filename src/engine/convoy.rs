//! What may go next in a queue whose messages may overtake one another (design.md rules 2 and 3).
//!
//! ```text
//! place   1 … floor ………………………………… window's end … next_seq
//!         finished│ looked at: finished, in      │ only counted
//!                 │ hands, set aside, or listed  │
//! ```
//! Every message up to the window's end has been looked at once, in order. What can go is *listed*, with its
//! content in RAM as far as the window has room (`ready`) or to be read again (`unread`). What is not due yet and
//! has no key waits for its time (`later`). What can't go stays
//! behind without its content, and the window goes on. With an order key, a message is listed in the *line* of its
//! key, and only the front of a line can go. A line lists its first places; those beyond are only counted, and
//! found again in the store when the line has moved up to them (`sweep`). So RAM is bounded by the window and by
//! [`MAX_ASIDE`], not by the backlog, whatever is blocked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::engine::ascending::Ascending;
use crate::model::{Header, Numbered, Ordering, QueueSettings, Seq, Timestamp};

mod later;
mod of_queue;
mod schedule;

use later::Later;
#[cfg(test)]
pub(super) use later::MAX_LATER;

/// Messages set aside in one queue, blocked or waiting for their back-off, before it hands out nothing more: each
/// has a record in RAM of some kilobytes at most.
pub(super) const MAX_ASIDE: usize = 20_000;
/// Places listed of one order key: enough to go on while more are found in the store; at `MAX_ASIDE` keys some
/// 20 MB.
const MAX_LISTED: usize = 16;
/// A line that lists no more than so many, and has more, gets them from the store.
const FEW_LISTED: usize = 4;
/// Messages looked at in one read for lines that have few listed.
const SWEEP_MESSAGES: usize = 256;
/// Messages looked at in one read for those that may be due.
const LATER_MESSAGES: usize = 1_024;
/// The furthest that places read together may be apart.
const READ_SPAN: u64 = 64;
/// Messages with a priority that are known before the window comes to them. Beyond, priority counts only among
/// what the window holds: each has a record in RAM and in the store.
pub(super) const MAX_URGENT: usize = 16_384;

/// The order in which messages go: by priority, then by place.
type Turn = (Reverse<u8>, Seq);

/// A message that has been looked at and is not at its end.
#[derive(Debug)]
struct Listed {
    key: Option<Arc<str>>,
    priority: u8,
    /// Of one with a key: it may not go before.
    due: Option<Timestamp>,
}

/// The messages of one order key, as far as they have been looked at.
#[derive(Debug, Default)]
struct Line {
    /// The first places, ascending.
    places: VecDeque<Seq>,
    /// Which of them is among those that may go.
    offered: Option<Seq>,
    /// The one that a worker has.
    busy: Option<Seq>,
    /// Messages behind those listed.
    beyond: u64,
    /// None of those is before this place.
    beyond_from: Seq,
    /// As it stands in `Convoy::starved`.
    starved_at: Option<Seq>,
}

impl Line {
    fn is_over(&self) -> bool {
        self.places.is_empty() && self.beyond == 0 && self.busy.is_none()
    }

    fn is_moving(&self) -> bool {
        self.busy.is_some() || self.offered.is_some()
    }
}

/// What is read beside the window's going on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reading {
    /// Contents of messages that may go; this one first.
    Unread(Seq),
    /// More places for this line.
    Sweep(Arc<str>),
    /// Messages that may be due.
    Later,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Convoy {
    is_keyed: bool,
    has_priority: bool,
    listed: Numbered<Seq, Listed>,
    lines: BTreeMap<Arc<str>, Line>,
    /// May go now, with contents in RAM.
    ready: Ascending<Turn>,
    /// May go once they are read.
    unread: BTreeSet<Turn>,
    /// When waiting messages may be ready again; some may have gone since.
    pub(super) due: BTreeSet<(Timestamp, Seq)>,
    /// Cancelled ones that can be restored, with their size in bytes once it is known.
    cancelled: BTreeMap<Seq, u64>,
    /// Lines with few places listed and more in the store: those nearest to the floor first.
    starved: BTreeSet<(Seq, Arc<str>)>,
    /// Not due yet, without a key, and not listed.
    later: Later,
    /// Listed at or beyond the window's end.
    urgent: usize,
    /// The read under way, and where it began.
    reading: Option<(Seq, Reading)>,
}

impl Convoy {
    /// `None` for a queue that is one line.
    pub(super) fn of(settings: &QueueSettings) -> Option<Box<Self>> {
        let is_keyed = match settings.ordering {
            Ordering::Queue => return None,
            Ordering::Key => true,
            Ordering::None => false,
        };
        Some(Box::new(Self { is_keyed, has_priority: settings.priority, ..Self::default() }))
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// The key by which this queue orders a message.
    pub(super) fn key_of<'a>(&self, header: &'a Header) -> Option<&'a str> {
        header.key().filter(|_| self.is_keyed)
    }

    /// The priority that this queue gives a message.
    pub(super) fn priority_of(&self, header: &Header) -> u8 {
        if self.has_priority { header.priority() } else { 0 }
    }

    /// Messages known of an order key that stand behind its first one.
    pub(super) fn behind(&self, key: &str) -> u64 {
        self.lines.get(key).map_or(0, |line| {
            let listed = line.places.iter().filter(|seq| !self.cancelled.contains_key(seq)).count();
            (listed as u64).saturating_sub(1).saturating_add(line.beyond)
        })
    }

    /// Messages known of an order key that wait behind a place. Of a place that its line only counts, those that it counts
    /// beside it: so many at most.
    pub(super) fn behind_place(&self, key: &str, seq: Seq) -> u64 {
        self.lines.get(key).map_or(0, |line| {
            let behind = |place: &&Seq| **place > seq && !self.cancelled.contains_key(place);
            let listed = line.places.iter().filter(behind).count() as u64;
            let is_counted = line.beyond > 0 && seq >= line.beyond_from;
            listed.saturating_add(line.beyond.saturating_sub(u64::from(is_counted)))
        })
    }

    /// Whether a message holds those behind it, as far as is known; one without a key holds nobody, and is its own.
    pub(super) fn is_front(&self, key: Option<&str>, seq: Seq) -> bool {
        self.is_keyed && key.and_then(|key| self.front(key)).is_none_or(|front| front == seq)
    }

    /// The order key of a message that has been looked at.
    pub(super) fn key_at(&self, seq: Seq) -> Option<&str> {
        self.listed.get(&seq)?.key.as_deref()
    }

    /// A message waits until then.
    pub(super) fn wait_until(&mut self, due: Timestamp, seq: Seq) {
        self.due.insert((due, seq));
    }

    /// The clock stepped back.
    pub(super) fn shift_back(&mut self, shifted: impl Fn(Timestamp) -> Timestamp) {
        self.due = self.due.iter().map(|&(at, seq)| (shifted(at), seq)).collect();
    }

    /// An operator has taken a message out, whose size in bytes is known.
    pub(super) fn note_cancelled(&mut self, seq: Seq, size: u64) {
        self.cancelled.insert(seq, size);
    }

    /// Lists a message that is looked at for the first time; `false` if its line only counts it.
    fn list(&mut self, seq: Seq, header: &Header) -> bool {
        if self.listed.contains_key(&seq) {
            self.urgent = self.urgent.saturating_sub(1);
            return true;
        }
        let Some(key) = self.key_of(header) else {
            let priority = self.priority_of(header);
            self.listed.insert(seq, Listed { key: None, priority, due: None });
            return true;
        };
        let key =
            self.lines.get_key_value(key).map_or_else(|| key.into(), |(key, _)| Arc::clone(key));
        let line = self.lines.entry(Arc::clone(&key)).or_default();
        if line.beyond > 0 || line.places.len() >= MAX_LISTED {
            if line.beyond == 0 {
                line.beyond_from = seq;
            }
            line.beyond = line.beyond.saturating_add(1);
            return false;
        }
        line.places.push_back(seq);
        self.listed.insert(seq, Listed { key: Some(key), priority: 0, due: None });
        true
    }

    /// Lists a message that its line has only counted so far, if it is the next of these. All from `from` on have
    /// been looked at.
    fn list_beyond(&mut self, seq: Seq, header: &Header, from: Seq) -> bool {
        let Some((key, line)) = header.key().and_then(|key| {
            let (known, _) = self.lines.get_key_value(key)?;
            let known = Arc::clone(known);
            self.lines.get_mut(key).map(|line| (known, line))
        }) else {
            return false;
        };
        let is_next = line.beyond > 0 && (from..=seq).contains(&line.beyond_from);
        if !is_next || line.places.len() >= MAX_LISTED {
            return false;
        }
        line.places.push_back(seq);
        line.beyond = line.beyond.saturating_sub(1);
        line.beyond_from = seq.next();
        let listed = Listed { key: Some(Arc::clone(&key)), priority: 0, due: None };
        self.listed.insert(seq, listed);
        self.starve(&key);
        true
    }

    /// A line may need more places from the store, or none any more.
    fn starve(&mut self, key: &Arc<str>) {
        let Some(line) = self.lines.get_mut(key) else { return };
        if let Some(at) = line.starved_at.take() {
            self.starved.remove(&(at, Arc::clone(key)));
        }
        if line.beyond > 0 && line.places.len() <= FEW_LISTED {
            line.starved_at = Some(line.beyond_from);
            self.starved.insert((line.beyond_from, Arc::clone(key)));
        }
    }

    /// The read for a line has come up to `until`, or to all that has been looked at.
    fn end_sweep(&mut self, key: &Arc<str>, until: Option<Seq>) {
        if let Some(line) = self.lines.get_mut(key) {
            match until {
                Some(until) if line.places.len() < MAX_LISTED => {
                    line.beyond_from = line.beyond_from.max(until);
                }
                Some(_) => {}
                None if line.places.len() < MAX_LISTED => line.beyond = 0,
                None => {}
            }
        }
        self.starve(key);
        self.drop_line_if_over(key);
    }

    fn drop_line_if_over(&mut self, key: &Arc<str>) {
        if self.lines.get(key).is_some_and(Line::is_over) {
            self.lines.remove(key);
        }
    }

    /// A message is at its end; the line that may have a new front.
    fn forget(&mut self, seq: Seq, end: Seq, key: Option<&str>) -> Option<Arc<str>> {
        self.cancelled.remove(&seq);
        self.later.remove(seq);
        let Some(listed) = self.listed.remove(&seq) else {
            // It was only counted.
            let line = key.filter(|_| seq < end).and_then(|key| self.lines.get_mut(key))?;
            line.beyond = line.beyond.saturating_sub(1);
            return None;
        };
        if seq >= end {
            self.urgent = self.urgent.saturating_sub(1);
        }
        self.withdraw(seq, listed.priority);
        let key = listed.key?;
        if let Some(line) = self.lines.get_mut(&key) {
            line.places.retain(|&place| place != seq);
            line.offered.take_if(|offered| *offered == seq);
        }
        self.starve(&key);
        self.drop_line_if_over(&key);
        Some(key)
    }

    fn withdraw(&mut self, seq: Seq, priority: u8) {
        let turn = (Reverse(priority), seq);
        self.ready.remove(&turn);
        self.unread.remove(&turn);
    }

    /// Puts a listed message among those that may go, or takes it away from them.
    fn offer(&mut self, seq: Seq, may_go: bool, in_ram: bool) {
        let Some(priority) = self.listed.get(&seq).map(|listed| listed.priority) else { return };
        self.withdraw(seq, priority);
        match (may_go, in_ram) {
            (true, true) => self.ready.insert((Reverse(priority), seq)),
            (true, false) => self.unread.insert((Reverse(priority), seq)),
            (false, _) => false,
        };
    }

    /// The first message of a line that is not cancelled.
    fn front(&self, key: &str) -> Option<Seq> {
        let line = self.lines.get(key)?;
        line.places.iter().copied().find(|seq| !self.cancelled.contains_key(seq))
    }

    /// Where to read what is wanted beside the window's going on, and how many messages.
    fn begin_reading(&mut self) -> Option<(Seq, usize)> {
        let (from, messages, reading) = match (self.unread.first(), self.starved.first()) {
            (Some(&(_, first)), _) => {
                let near = Seq(first.0.saturating_add(READ_SPAN));
                let level = |&&(_, seq): &&Turn| seq >= first && seq < near;
                let last =
                    self.unread.iter().take(MAX_LISTED).filter(level).map(|turn| turn.1).max();
                let span = last.unwrap_or(first).0.saturating_sub(first.0).saturating_add(1);
                (first, usize::try_from(span).unwrap_or(1), Reading::Unread(first))
            }
            (None, Some((from, key))) => (*from, SWEEP_MESSAGES, Reading::Sweep(Arc::clone(key))),
            (None, None) => {
                let (from, end) = self.later.reading()?;
                let messages = usize::try_from(end.0.saturating_sub(from.0));
                (from, messages.unwrap_or(LATER_MESSAGES).min(LATER_MESSAGES), Reading::Later)
            }
        };
        self.reading = Some((from, reading));
        Some((from, messages))
    }
}
