//! Keys in sled's changes are without their page's prefix; the page may be lost.

use std::collections::BTreeMap;

use super::super::raw::{Item, Update};
use super::lsn_of;

/// Prefixes that are tried for a key whose page's own is lost.
const MAX_PREFIXES_TRIED: usize = 4096;

/// Each page's prefix over time: keys in changes are without it.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    by_page: BTreeMap<u64, Vec<(u64, Vec<u8>)>>,
    all: Vec<Vec<u8>>,
}

impl Prefixes {
    pub(super) fn take(&mut self, item: Item<'_>, segment_bytes: u64) {
        let Item::Message { offset, message } = item else { return };
        if let Some(Update::Page(page)) = Update::decode(&message) {
            let times = self.by_page.entry(message.page).or_default();
            if times.last().is_none_or(|(_, last)| last != page.prefix) {
                times.push((lsn_of(&message, offset, segment_bytes), page.prefix.to_vec()));
            }
        }
    }

    pub(super) fn settle(&mut self) {
        for times in self.by_page.values_mut() {
            times.sort_by_key(|&(lsn, _)| lsn);
            self.all.extend(times.iter().map(|(_, prefix)| prefix.clone()));
        }
        self.all.push(Vec::new());
        self.all.sort_unstable();
        self.all.dedup();
        self.all.truncate(MAX_PREFIXES_TRIED);
    }

    /// The one that is most likely, then all others.
    pub(super) fn candidates(&self, page: u64, lsn: u64) -> impl Iterator<Item = &[u8]> {
        let times = self.by_page.get(&page).map_or(&[][..], Vec::as_slice);
        let at = times.partition_point(|&(then, _)| then <= lsn);
        let own = times[..at].iter().rev().chain(&times[at..]).map(|(_, prefix)| prefix);
        own.chain(&self.all).map(Vec::as_slice)
    }
}
