//! Keys and values out of messages.

use super::super::codec::{Decoded, be, unseal};
use super::super::floor::Floor;
use super::super::layout::CHANGES;
use super::super::raw::Page;
use super::changes::Leaf;
use super::{Gather, LETTERS, Lost, Newest, Seen, is_filler, log_id};
use crate::model::QueueId;

impl Gather {
    /// The whole key of a changed one: with a prefix with which the value's checksum is right, else with
    /// the page's own.
    pub(super) fn full_key(&self, seen: &Seen<'_>, suffix: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let mut candidates = self.prefixes.candidates(seen.message.page, seen.lsn);
        let likely = candidates.next().map(|prefix| [prefix, suffix].concat());
        if likely.as_ref().is_some_and(|key| unseal(key, value).is_ok()) || value.is_empty() {
            return likely;
        }
        let mut others = candidates.map(|prefix| [prefix, suffix].concat());
        others.find(|key| unseal(key, value).is_ok()).or(likely)
    }

    pub(super) fn take_value(&mut self, seen: &Seen<'_>, key: &[u8], value: &[u8]) {
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
            let lost = Lost { lsn: seen.lsn, page: seen.message.page, offset: seen.offset };
            let known = self.found.lost.entry(key.to_vec()).or_insert(lost);
            *known = lost.max(*known);
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

    pub(super) fn take_floor(&mut self, key: &[u8], body: &[u8]) -> Decoded<()> {
        let queue = QueueId(u32::from_be_bytes(be(key, 1)?));
        let known = self.found.floors.entry(queue).or_default();
        *known = known.highest(Floor::decode(body)?);
        Ok(())
    }

    /// A page was written anew: what it had before and has no more was removed from it. What was split off
    /// it belongs to another page, which was written before.
    pub(super) fn forget_missing(&mut self, seen: &Seen<'_>, page: &Page<'_>) {
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

    pub(super) fn put(&mut self, newest: Newest, key: &[u8]) {
        let known = self.found.keys.entry(key.to_vec()).or_insert(newest);
        if known.lsn <= newest.lsn {
            *known = newest;
        }
    }
}
