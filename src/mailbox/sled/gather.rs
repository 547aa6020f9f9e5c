//! What can still be read of a damaged database: each key's newest sound value, out of the raw bytes.
//!
//! Every message of sled's that is sound is taken, wherever in the file it is and whatever its segment's
//! header says, and the newest by its place in the log wins. In one that is not sound, each value that our
//! own checksum covers is taken for itself. Changes to `state` are also looked for inside the log values and
//! small commits that hold them a second time. Removals count as far as they are found; what comes back for
//! want of one is told apart by the floors, which only rise.

mod changes;
mod prefixes;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use self::changes::{Changes, Leaf};
use self::prefixes::Prefixes;
use super::codec::{Decoded, Reader, be, unseal};
use super::layout::{CHANGES, VALUE_SLOT};
use super::raw::{Item, Kind, LogFile, Page, RawMessage, SegmentStart, Snapshot, Update};
use super::scan::{BadPlace, Order, Scan, Verdict};
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

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Of both trees: those of `log` come before all letters.
    keys: BTreeMap<Vec<u8>, Newest>,
    /// By queue, the highest floor and next place that any value says.
    pub(super) floors: BTreeMap<QueueId, (u64, u64)>,
    /// The newest commit that is whole.
    pub(super) commit: u64,
    pub(super) bad: Vec<BadPlace>,
    /// Keys whose values are known to be damaged, with the newest damaged one's place in the log and its page.
    lost: BTreeMap<Vec<u8>, (u64, u64)>,
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
        let is_trusted = matches!(scan.verdict, Verdict::Sound | Verdict::TornTail);
        let none = Snapshot::default();
        let snapshot = snapshot.unwrap_or(&none);
        let segment_bytes = log.segment_bytes();
        let in_snapshot: BTreeSet<u64> =
            snapshot.pages.iter().flatten().map(|(_, offset)| offset / segment_bytes).collect();
        let is_seen = |start: &&SegmentStart| {
            !is_trusted || in_snapshot.contains(&(start.offset / segment_bytes))
        };
        let starts = order.segments.values().chain(order.without_header.iter().filter(is_seen));
        let starts = starts.filter(|start| !scan.unneeded.contains(&start.offset));
        let starts: Vec<_> = starts.copied().collect();
        let mut prefixes = Prefixes::default();
        for &start in &starts {
            log.walk(start, order.max_number, |item| prefixes.take(item, segment_bytes))?;
        }
        prefixes.settle();
        let newest = order.segments.last_key_value().map(|(_, start)| start.offset);
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
            number: None,
            is_unknown: false,
        };
        for &start in &starts {
            gather.number = start.header.map(|header| header.lsn / segment_bytes);
            log.walk(start, order.max_number, |item| gather.take(item))?;
            gather.end_segment(Some(start.offset) == newest);
        }
        gather.put_together(log)?;
        gather.put_changes();
        gather.forget_lost(is_trusted.then_some(snapshot));
        gather.found.has_unknown &= !is_trusted;
        gather.found.has_unknown |= gather.is_any_missing(snapshot);
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
        let is_newest = |(key, (lsn, _)): &(&Vec<u8>, &(u64, u64))| {
            self.keys.get(key.as_slice()).is_none_or(|newest| newest.lsn < *lsn)
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
    /// The number of the messages in the segment that is being read, if its header says it.
    number: Option<u64>,
    /// There were bytes in it that may have been anything. At the log's end that is normal.
    is_unknown: bool,
}

/// A message, where its body is in the file, and its place in the log.
struct Seen<'a> {
    message: RawMessage<'a>,
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
                    self.found.has_unknown |= std::mem::take(&mut self.is_unknown);
                }
                self.take_message(offset, message);
            }
            Item::Bad { offset, bytes, like } => {
                self.found.bad.push(BadPlace { offset, bytes });
                let whole = like.filter(|message| message.bytes as u64 <= bytes);
                let is_read = whole.is_some_and(|message| {
                    self.take_message(offset, message) && message.bytes as u64 == bytes
                });
                let lsn = self
                    .number
                    .map(|number| number * self.segment_bytes + offset % self.segment_bytes);
                let is_known = lsn.is_some_and(|lsn| lsn < self.stable_lsn || lsn >= self.end);
                self.is_unknown |= !is_read && !is_known;
            }
            Item::Blank { .. } => {}
        }
    }

    /// Do pages have parts, as of the snapshot, that were not read and not written anew since?
    fn is_any_missing(&self, snapshot: &Snapshot) -> bool {
        let mut parts = snapshot.needed_parts(&self.anew);
        parts.any(|part| part.page >= FIRST_TREE_PAGE && !self.read.contains(&part.offset))
    }

    /// Of a page that was written anew since nothing damaged is needed, be it of a key that has gone. If what sled
    /// would replay is not damaged, what is needed else is among the parts of the snapshot's pages.
    fn forget_lost(&mut self, trusted: Option<&Snapshot>) {
        let anew = &self.anew;
        let needed: Option<BTreeSet<_>> = trusted.map(|snapshot| {
            snapshot.needed_parts(anew).map(|part| (part.lsn, part.page)).collect()
        });
        self.found.lost.retain(|_, lost| match &needed {
            Some(needed) => needed.contains(lost),
            None => anew.get(&lost.1).is_none_or(|anew| *anew <= lost.0),
        });
    }

    fn end_segment(&mut self, is_newest: bool) {
        let is_unknown = std::mem::take(&mut self.is_unknown);
        self.found.has_unknown |= is_unknown && !is_newest;
    }

    /// Whether all of it made sense.
    fn take_message(&mut self, offset: u64, message: RawMessage<'_>) -> bool {
        let lsn = lsn_of(&message, offset, self.segment_bytes);
        if lsn >= self.end {
            return true;
        }
        let body_offset = offset + (message.bytes - message.body.len()) as u64;
        let seen = Seen { message, body_offset, lsn };
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
        if message.is_sound && matches!(message.kind, Kind::Node | Kind::Free) {
            let anew = self.anew.entry(message.page).or_default();
            *anew = lsn.max(*anew);
        }
        self.read.insert(offset);
        true
    }

    /// The whole key of a changed one: with a prefix with which the value's checksum is right, else with
    /// the page's own.
    fn full_key(&self, seen: &Seen<'_>, suffix: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let mut candidates = self.prefixes.candidates(seen.message.page, seen.lsn);
        let likely = candidates.next().map(|prefix| [prefix, suffix].concat());
        if likely.as_ref().is_some_and(|key| unseal(key, value).is_ok()) || value.is_empty() {
            return likely;
        }
        let mut others = candidates.map(|prefix| [prefix, suffix].concat());
        others.find(|key| unseal(key, value).is_ok()).or(likely)
    }

    fn take_value(&mut self, seen: &Seen<'_>, key: &[u8], value: &[u8]) {
        if is_filler(key) {
            return;
        }
        let is_unsealed = value.is_empty() && (log_id(key).is_some() || key.first() == Some(&b'x'));
        if is_unsealed {
            if seen.message.is_sound {
                let place = (key.first() == Some(&b'x')).then(|| seen.place(value));
                self.put(seen.newest(place), key);
            }
            return;
        }
        let Ok(body) = unseal(key, value) else {
            if seen.message.is_sound {
                // A wrong key: its page was written anew since, and with it the prefix that is missing here.
                return;
            }
            // A key out of damaged bytes may be any bytes; a wrong one is only looked up in vain.
            let lost = self.found.lost.entry(key.to_vec()).or_default();
            *lost = (seen.lsn, seen.message.page).max(*lost);
            return;
        };
        self.put(seen.newest(Some(seen.place(value))), key);
        // What doesn't decode has been written so: nothing more to be got out of it.
        let _ = match (log_id(key), key) {
            (Some(id), _) => self.take_segment(seen, id, value),
            (None, CHANGES) => self.take_small_commit(seen, body),
            (None, [b'f', ..]) => self.take_floor(key, body),
            (None, _) => Ok(()),
        };
    }

    fn take_floor(&mut self, key: &[u8], body: &[u8]) -> Decoded<()> {
        let queue = QueueId(u32::from_be_bytes(be(key, 1)?));
        let mut reader = Reader::new(body);
        let (floor, next) = (reader.number()?, reader.number()?);
        let known = self.found.floors.entry(queue).or_default();
        *known = (known.0.max(floor), known.1.max(next));
        Ok(())
    }

    /// A page was written anew: what it had before and has no more was removed from it. What was split off
    /// it belongs to another page, which was written before.
    fn forget_missing(&mut self, seen: &Seen<'_>, page: &Page<'_>) {
        let first = page.entries.first().map(|(key, _)| [page.prefix, key].concat());
        let any = [page.low, page.high, first.as_deref().unwrap_or_default()];
        // An empty page without bounds is a tree that never had a key.
        let Some(any) = any.into_iter().find_map(|key| key.first()) else { return };
        let is_log = *any < LETTERS[0];
        let low = if is_log { page.low } else { page.low.max(LETTERS) };
        if !is_log {
            let leaf = Leaf { lsn: seen.lsn, low: low.to_vec(), high: page.high.to_vec() };
            let newest = self.leaves.entry(seen.message.page).or_default();
            if newest.lsn <= leaf.lsn {
                *newest = leaf;
            }
        }
        let keys = match (page.high, is_log) {
            ([], true) => self.found.keys.range_mut(low.to_vec()..LETTERS.to_vec()),
            ([], false) => self.found.keys.range_mut(low.to_vec()..),
            (high, _) if low < high => self.found.keys.range_mut(low.to_vec()..high.to_vec()),
            _ => return,
        };
        for (key, newest) in keys {
            let is_gone = newest.page == seen.message.page && newest.lsn < seen.lsn;
            if is_gone && newest.place.is_some() {
                let suffix = key.get(page.prefix.len()..).unwrap_or_default();
                if page.entries.binary_search_by_key(&suffix, |&(key, _)| key).is_err() {
                    *newest = Newest { lsn: seen.lsn, page: seen.message.page, place: None };
                }
            }
        }
    }

    fn put(&mut self, newest: Newest, key: &[u8]) {
        let known = self.found.keys.entry(key.to_vec()).or_insert(newest);
        if known.lsn <= newest.lsn {
            *known = newest;
        }
    }
}

#[cfg(test)]
mod tests;
