//! Messages without an order that are not due yet. There may be millions: RAM has those that are due first, and of the
//! others, by stretch of places, only when the first is due; these are found again in the store by then.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Seq, Timestamp};

/// Messages of one queue that are in RAM with the time when they are due: some 80 bytes each.
pub(in crate::engine) const MAX_LATER: usize = 32_768;
/// Places of a stretch, as a power of two: 4,096. Shorter ones would take RAM, longer ones be read for too few.
const STRETCH_BITS: u32 = 12;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// With priority.
    places: BTreeMap<Seq, (Timestamp, u8)>,
    by_due: BTreeSet<(Timestamp, Seq)>,
    /// What is not in RAM, by number of stretch.
    stretches: BTreeMap<u64, Stretch>,
    by_first_due: BTreeSet<(Timestamp, u64)>,
    /// Messages in `stretches`, as far as is known.
    away: u64,
    /// The stretch that is being read: where to go on, and the place after its last one.
    reading: Option<(Seq, Seq)>,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// None of it is due before.
    first_due: Timestamp,
    messages: u64,
}

impl Later {
    /// How many messages, as far as is known: what operators took out of the store's part meanwhile counts.
    pub(super) fn len(&self) -> u64 {
        self.away.saturating_add(self.places.len() as u64)
    }

    /// When a message is due that is in RAM.
    pub(super) fn due_of(&self, seq: Seq) -> Option<Timestamp> {
        self.places.get(&seq).map(|&(due, _)| due)
    }

    /// When to look at it again, if anything is to come.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let in_ram = self.by_due.first().map(|&(due, _)| due);
        let away = self.by_first_due.first().map(|&(due, _)| due);
        in_ram.into_iter().chain(away).min()
    }

    /// Keeps a message. If there are too many, the one that is due last is left to the store.
    pub(super) fn insert(&mut self, seq: Seq, due: Timestamp, priority: u8) {
        self.remove(seq);
        self.places.insert(seq, (due, priority));
        self.by_due.insert((due, seq));
        if self.places.len() > MAX_LATER
            && let Some((due, seq)) = self.by_due.pop_last()
        {
            self.places.remove(&seq);
            self.leave_to_store(seq, due);
        }
    }

    /// A message is not waited for any more. Whether it was in RAM.
    pub(super) fn remove(&mut self, seq: Seq) -> bool {
        let Some((due, _)) = self.places.remove(&seq) else { return false };
        self.by_due.remove(&(due, seq));
        true
    }

    /// Takes a message that is due, with its priority.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<(Seq, u8)> {
        let &(due, seq) = self.by_due.first().filter(|(due, _)| *due <= now)?;
        self.by_due.remove(&(due, seq));
        let (_, priority) = self.places.remove(&seq)?;
        Some((seq, priority))
    }

    /// Where to read next, so that what is due by now comes into RAM; and the place after the last one.
    pub(super) fn reading(&self) -> Option<(Seq, Seq)> {
        self.reading
    }

    /// Begins with the stretch of which something may be due, if there is one and room for it.
    pub(super) fn begin_stretch(&mut self, now: Timestamp) {
        if self.reading.is_some() {
            return;
        }
        let Some(&(due, number)) = self.by_first_due.first().filter(|(due, _)| *due <= now) else {
            return;
        };
        // If what fills it is all due, it drains first.
        let is_full_of_due = self.by_due.last().is_some_and(|&(last, _)| last <= now)
            && self.places.len() >= MAX_LATER / 2;
        if is_full_of_due {
            return;
        }
        self.by_first_due.remove(&(due, number));
        if let Some(stretch) = self.stretches.remove(&number) {
            self.away = self.away.saturating_sub(stretch.messages);
        }
        self.reading = Some((first_of(number), first_of(number.saturating_add(1))));
    }

    /// The stretch that is being read was read up to `until`, or to its end.
    pub(super) fn end_read(&mut self, until: Option<Seq>) {
        self.reading = self.reading.and_then(|(_, end)| {
            let until = until.filter(|&until| until < end)?;
            Some((until, end))
        });
    }

    /// Whether a place is in the stretch that is being read.
    pub(super) fn is_reading(&self, seq: Seq) -> bool {
        self.reading.is_some_and(|(from, end)| (from..end).contains(&seq))
    }

    fn leave_to_store(&mut self, seq: Seq, due: Timestamp) {
        let number = seq.0 >> STRETCH_BITS;
        let stretch =
            self.stretches.entry(number).or_insert(Stretch { first_due: due, messages: 0 });
        self.by_first_due.remove(&(stretch.first_due, number));
        stretch.first_due = stretch.first_due.min(due);
        stretch.messages = stretch.messages.saturating_add(1);
        self.by_first_due.insert((stretch.first_due, number));
        self.away = self.away.saturating_add(1);
    }

    #[cfg(test)]
    pub(super) fn in_ram(&self) -> usize {
        self.places.len()
    }
}

fn first_of(number: u64) -> Seq {
    Seq(number << STRETCH_BITS)
}
