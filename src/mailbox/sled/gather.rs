//! What can still be read of a damaged database: each key's newest sound value, out of the raw bytes.
//!
//! Every message of sled's that is sound is taken, wherever in the file it is and whatever its segment's
//! header says, and the newest by its place in the log wins. In one that is not sound, each value that our
//! own checksum covers is taken for itself. Changes to `state` are also looked for inside the log values and
//! small commits that hold them a second time. Removals count as far as they are found; what comes back for
//! want of one is told apart by the floors, which only rise.

mod changes;
mod hidden;
mod prefixes;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use self::changes::{Changes, Leaf};
use self::hidden::{Hidden, Numbers, starts};
use self::prefixes::Prefixes;
use super::floor::Floor;
use super::layout::VALUE_SLOT;
use super::raw::{Item, Kind, LogFile, RawMessage, Snapshot, Update};
use super::scan::{BadPlace, Order, Scan};
use crate::model::QueueId;

/// Places from here on are not in the file, but in what was put together out of parts.
const PUT_TOGETHER: u64 = 1 << 62;

/// Of values that are not known by a page.
const NO_PAGE: u64 = u64::MAX;

/// sled's pages before this hold nothing of a tree's.
const FIRST_TREE_PAGE: u64 = 2;

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

/// The newest that is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Newest {
    lsn: u64,
    /// The page that said so.
    page: u64,
    /// `None`: it was removed.
    place: Option<Place>,
}

/// A damaged value: the newest of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Lost {
    lsn: u64,
    page: u64,
    /// Of its message in the file.
    offset: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Of both trees: those of `log` come before all letters.
    keys: BTreeMap<Vec<u8>, Newest>,
    /// By queue, the highest numbers that any value says.
    pub(super) floors: BTreeMap<QueueId, Floor>,
    /// The newest commit that is whole.
    pub(super) commit: u64,
    pub(super) bad: Vec<BadPlace>,
    /// Keys whose values are known to be damaged.
    lost: BTreeMap<Vec<u8>, Lost>,
    /// Some bad bytes may have held anything.
    pub(super) has_unknown: bool,
    /// What stands in the file in parts only.
    put_together: Vec<u8>,
}

impl Gathered {
    /// Reads the whole file, twice. With sled's snapshot it is known whether anything before it is missing. What
    /// a scan says was never confirmed, or is not needed, is left out; without damage, all that sled doesn't see.
    pub(super) fn of(
        log: &mut LogFile,
        snapshot: Option<&Snapshot>,
        scan: &Scan,
    ) -> io::Result<Self> {
        let order = Order::of(log.segments()?, 0, log.segment_bytes());
        let none = Snapshot::default();
        let snapshot = snapshot.unwrap_or(&none);
        let segment_bytes = log.segment_bytes();
        let starts = starts(&order, snapshot, scan, segment_bytes);
        let (mut prefixes, mut numbers) = (Prefixes::default(), Numbers::default());
        for &start in &starts {
            log.walk(start, order.max_number, |item| {
                numbers.take(start, item, segment_bytes);
                prefixes.take(item, segment_bytes);
            })?;
        }
        prefixes.settle();
        let mut gather = Gather {
            segment_bytes,
            end: scan.end,
            stable_lsn: snapshot.stable_lsn,
            prefixes,
            found: Self::default(),
            commits: BTreeMap::new(),
            leaves: BTreeMap::new(),
            read: BTreeSet::new(),
            anew: BTreeMap::new(),
            pages: BTreeSet::new(),
            last_page: None,
            number: None,
            hidden: Vec::new(),
            pending: Vec::new(),
        };
        for &start in &starts {
            gather.number = numbers.get(start);
            log.walk(start, order.max_number, |item| gather.take(item))?;
            gather.end_segment(Some(start.offset) == numbers.newest());
        }
        gather.put_together(log)?;
        gather.put_changes();
        gather.forget_lost(scan.is_trusted().then_some(snapshot));
        // If there is no damage, what can't be read is of no use.
        gather.found.has_unknown = gather.is_any_missing(snapshot)
            || (!scan.is_trusted()
                && (gather.is_anything_hidden() || gather.is_page_missing(snapshot)));
        Ok(gather.found)
    }

    /// The log values that are there, by id.
    pub(super) fn log_values(&self) -> impl Iterator<Item = (u64, Place)> + '_ {
        let keys = self.keys.range(..LETTERS.to_vec());
        keys.filter_map(|(key, newest)| Some((log_id(key)?, newest.place?)))
    }

    /// The keys of `state` that are there and begin with `letter`.
    pub(super) fn state_values(&self, letter: u8) -> impl Iterator<Item = (&[u8], Place)> + '_ {
        let keys = self.keys.range(vec![letter]..vec![letter + 1]);
        keys.filter_map(|(key, newest)| Some((key.as_slice(), newest.place?)))
    }

    /// The bytes at a place that was found in `log`.
    pub(super) fn read(&self, log: &LogFile, place: Place) -> io::Result<Vec<u8>> {
        let Some(start) = place.offset.checked_sub(PUT_TOGETHER) else {
            return log.read(place.offset, place.bytes);
        };
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let bytes = self.put_together.get(start..start.saturating_add(place.bytes));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(super) fn value(&self, key: &[u8]) -> Option<Place> {
        self.keys.get(key)?.place
    }

    /// Keys whose newest values are damaged.
    pub(super) fn lost(&self) -> impl Iterator<Item = &[u8]> + '_ {
        let is_newest = |(key, lost): &(&Vec<u8>, &Lost)| {
            self.keys.get(key.as_slice()).is_none_or(|newest| newest.lsn < lost.lsn)
        };
        self.lost.iter().filter(is_newest).map(|(key, _)| key.as_slice())
    }
}

/// All keys of `state` begin with a letter, and no key of `log` does: ids count from 1.
const LETTERS: &[u8] = b"a";

/// The id of a log value's key.
pub(super) fn log_id(key: &[u8]) -> Option<u64> {
    let (id, slot) = key.split_first_chunk::<8>()?;
    (slot == [VALUE_SLOT] && id[0] < LETTERS[0]).then(|| u64::from_be_bytes(*id))
}

fn is_filler(key: &[u8]) -> bool {
    key.len() == 9 && key[0] < LETTERS[0] && key[8] != VALUE_SLOT
}

fn lsn_of(message: &RawMessage<'_>, offset: u64, segment_bytes: u64) -> u64 {
    message.number * segment_bytes + offset % segment_bytes
}

struct Gather {
    segment_bytes: u64,
    prefixes: Prefixes,
    found: Gathered,
    commits: BTreeMap<u64, Changes>,
    /// The leaves of `state`, by page.
    leaves: BTreeMap<u64, Leaf>,
    /// What is at or behind this place in the log is not looked at.
    end: u64,
    /// sled's snapshot has all before this; 0 without one.
    stable_lsn: u64,
    /// Where messages were read whole.
    read: BTreeSet<u64>,
    /// When each page was last written anew.
    anew: BTreeMap<u64, u64>,
    /// Pages of which all was read once, and the highest number of one that anything was read of.
    pages: BTreeSet<u64>,
    last_page: Option<u64>,
    /// The number of the messages in the segment that is being read, if that is known.
    number: Option<u64>,
    /// What damaged bytes may have said.
    hidden: Vec<Hidden>,
    /// The same at the end of what was read of the segment: at the log's end that is normal.
    pending: Vec<Hidden>,
}

/// A message, where its body is in the file, and its place in the log.
struct Seen<'a> {
    message: RawMessage<'a>,
    offset: u64,
    body_offset: u64,
    lsn: u64,
}

impl Seen<'_> {
    /// Where a slice of the body is in the file.
    fn place(&self, value: &[u8]) -> Place {
        let start = value.as_ptr() as usize - self.message.body.as_ptr() as usize;
        Place { offset: self.body_offset + start as u64, bytes: value.len() }
    }

    fn newest(&self, place: Option<Place>) -> Newest {
        Newest { lsn: self.lsn, page: self.message.page, place }
    }
}

impl Gather {
    fn take(&mut self, item: Item<'_>) {
        match item {
            Item::Message { offset, message } => {
                if self.number.is_none_or(|own| own <= message.number) {
                    self.hidden.append(&mut self.pending);
                }
                self.take_message(offset, message);
            }
            Item::Bad { offset, bytes, like } => {
                self.found.bad.push(BadPlace { offset, bytes });
                // With a wrong number it would seem older or newer than it is.
                let is_own =
                    |message: &RawMessage<'_>| self.number.is_none_or(|own| own == message.number);
                let like = like.filter(is_own).filter(|message| message.bytes as u64 <= bytes);
                let whole = like.filter(|message| message.bytes as u64 == bytes);
                let is_told = like.is_some_and(|message| self.take_message(offset, message));
                if !(is_told && whole.is_some()) {
                    self.hide(offset, whole);
                }
            }
            // Not where a full segment ends.
            Item::Blank { offset } => self.hide(offset, None),
        }
    }

    /// Of a page that was written anew since nothing damaged is needed, be it of a key that has gone. If what sled
    /// would replay is not damaged, what is needed else is among the parts of the snapshot's pages.
    fn forget_lost(&mut self, trusted: Option<&Snapshot>) {
        let anew = &self.anew;
        let needed: Option<BTreeSet<_>> =
            trusted.map(|snapshot| snapshot.needed_parts(anew).map(|part| part.offset).collect());
        self.found.lost.retain(|_, lost| match &needed {
            Some(needed) => needed.contains(&lost.offset),
            None => anew.get(&lost.page).is_none_or(|anew| *anew <= lost.lsn),
        });
    }

    fn end_segment(&mut self, is_newest: bool) {
        let pending = std::mem::take(&mut self.pending);
        self.hidden.extend(pending.into_iter().filter(|_| !is_newest));
    }

    /// Whether all is known that it says.
    fn take_message(&mut self, offset: u64, message: RawMessage<'_>) -> bool {
        let lsn = lsn_of(&message, offset, self.segment_bytes);
        if lsn >= self.end {
            return true;
        }
        let body_offset = offset + (message.bytes - message.body.len()) as u64;
        let seen = Seen { message, offset, body_offset, lsn };
        match Update::decode(&message) {
            Some(Update::Page(page)) => {
                for (key, value) in &page.entries {
                    self.take_value(&seen, &[page.prefix, key].concat(), value);
                }
                if message.is_sound && page.is_leaf {
                    self.forget_missing(&seen, &page);
                }
            }
            Some(Update::Set(suffix, value)) => match self.full_key(&seen, suffix, value) {
                Some(key) => self.take_value(&seen, &key, value),
                None => return false,
            },
            Some(Update::Del(suffix)) => {
                let prefix = self.prefixes.candidates(message.page, lsn).next();
                let key = [prefix.unwrap_or_default(), suffix].concat();
                if message.is_sound {
                    self.put(seen.newest(None), &key);
                }
            }
            // Whatever else a page may say, no key or value of ours is in it.
            Some(Update::Free | Update::Other) => {}
            None => return false,
        }
        if !message.is_sound && !self.is_told(&seen) {
            return false;
        }
        if message.is_sound && message.kind.is_of_page() {
            self.last_page = self.last_page.max(Some(message.page));
        }
        if matches!(message.kind, Kind::Node | Kind::Free) {
            self.pages.insert(message.page);
            if message.is_sound {
                let anew = self.anew.entry(message.page).or_default();
                *anew = lsn.max(*anew);
            }
        }
        self.read.insert(offset);
        true
    }
}

#[cfg(test)]
mod tests;
