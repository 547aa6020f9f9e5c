//! What damaged bytes may hide.
//!
//! A damaged message may have been the newest word on a key: then an older value of it, or one that was removed,
//! seems to be the newest. So it counts as something unknown that is lost, unless
//!
//! * it is of the log's tree, where nothing is ever replaced or removed, and of whose values directories tell;
//! * it sets one key, to a value that is sound for itself or to ids, which the log values have too (all of a page also
//!   says which keys were removed);
//! * its page was written anew later. That is believed of the message's header if its number is the segment's: with
//!   another page's number in an otherwise sound message all of its values are sound.

use std::collections::{BTreeMap, BTreeSet};

use super::super::codec::unseal;
use super::super::raw::{
    Item, Kind, RawMessage, SEGMENT_HEADER_BYTES, SegmentStart, Snapshot, Update,
};
use super::super::scan::{Order, Scan};
use super::super::segment::is_value_of;
use super::{FIRST_TREE_PAGE, Gather, Seen, is_filler, log_id};

/// The page of a message with which sled fills a segment up.
const CAP_PAGE: u64 = u64::MAX;

/// Bytes that may have said something that nothing else says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hidden {
    pub(super) lsn: u64,
    /// They said it of this page; `None`: of any.
    pub(super) page: Option<u64>,
}

impl Gather {
    /// Is all that a damaged message may have said known?
    pub(super) fn is_told(&self, seen: &Seen<'_>) -> bool {
        let message = &seen.message;
        match Update::decode(message) {
            Some(Update::Page(page)) if page.is_leaf && !page.entries.is_empty() => {
                let mut entries = page.entries.iter();
                entries.all(|(key, value)| is_told_of_log(&[page.prefix, key].concat(), value))
            }
            Some(Update::Set(suffix, value)) => {
                let is_ids = |key: &[u8]| key.len() == 9 && key[0] == b'i';
                self.full_key(seen, suffix, value).is_some_and(|key| {
                    is_told_of_log(&key, value) || is_ids(&key) || unseal(&key, value).is_ok()
                })
            }
            Some(Update::Other) => match message.kind {
                Kind::Counter | Kind::Meta => message.page < FIRST_TREE_PAGE,
                Kind::Cap => message.page == CAP_PAGE,
                Kind::Canceled
                | Kind::BatchManifest
                | Kind::Free
                | Kind::Node
                | Kind::Link
                | Kind::Blob => false,
            },
            Some(Update::Page(_) | Update::Del(_) | Update::Free) | None => false,
        }
    }

    /// Something was here, perhaps this message, and not all that it said is known.
    pub(super) fn hide(&mut self, offset: u64, whole: Option<RawMessage<'_>>) {
        let place = offset % self.segment_bytes;
        let lsn = self.number.map_or(u64::MAX, |number| number * self.segment_bytes + place);
        // Of what the snapshot has it is known what is needed.
        let is_needed = self.number.is_none() || (self.stable_lsn..self.end).contains(&lsn);
        let page = whole.and_then(|message| match Update::decode(&message)? {
            Update::Page(_) | Update::Set(..) => Some(message.page),
            // The key is all that there is, and no checksum of ours covers it.
            Update::Del(_) | Update::Free | Update::Other => None,
        });
        self.pending.extend(is_needed.then_some(Hidden { lsn, page }));
    }

    /// Did any of the damaged bytes say the newest of something?
    pub(super) fn is_anything_hidden(&self) -> bool {
        self.hidden.iter().any(|hidden| {
            let anew = hidden.page.and_then(|page| self.anew.get(&page));
            anew.is_none_or(|anew| *anew <= hidden.lsn)
        })
    }

    /// Do pages have parts, as of the snapshot, that were not read and not written anew since?
    pub(super) fn is_any_missing(&self, snapshot: &Snapshot) -> bool {
        let mut parts = snapshot.needed_parts(&self.anew);
        parts.any(|part| part.page >= FIRST_TREE_PAGE && !self.read.contains(&part.offset))
    }

    /// Is there nothing of one of the pages that sled has made since its snapshot? It numbers them one by one.
    pub(super) fn is_page_missing(&self, snapshot: &Snapshot) -> bool {
        let known = (snapshot.pages.len() as u64).max(FIRST_TREE_PAGE);
        let newer: BTreeSet<u64> = self.pages.range(known..).copied().collect();
        self.last_page.is_some_and(|last| (known..=last).any(|page| !newer.contains(&page)))
    }
}

/// Is this of the log's tree, and if it is damaged, does a directory tell of it?
fn is_told_of_log(key: &[u8], value: &[u8]) -> bool {
    match log_id(key) {
        Some(id) => value.is_empty() || is_value_of(id, value) || unseal(key, value).is_ok(),
        None => is_filler(key) && value.is_empty(),
    }
}

/// The segments to be read: those that sled sees, and others if they hold something that is needed.
pub(super) fn starts(
    order: &Order,
    snapshot: &Snapshot,
    scan: &Scan,
    segment_bytes: u64,
) -> Vec<SegmentStart> {
    let in_snapshot: BTreeSet<u64> =
        snapshot.pages.iter().flatten().map(|(_, offset)| offset / segment_bytes).collect();
    let is_in_snapshot =
        |start: &&SegmentStart| in_snapshot.contains(&(start.offset / segment_bytes));
    let is_seen = |start: &&SegmentStart| !scan.is_trusted() || is_in_snapshot(start);
    // A free segment may hold what a crash has left of a log's end: that was never confirmed.
    let is_needed =
        |start: &&SegmentStart| scan.needed.contains(&start.offset) || is_in_snapshot(start);
    let starts = order.segments.values().chain(order.without_header.iter().filter(is_seen));
    let starts = starts.chain(order.blank.iter().filter(is_needed));
    starts.filter(|start| !scan.unneeded.contains(&start.offset)).copied().collect()
}

/// The numbers that the messages of segments have, by offset: as the header says, or else the first message.
#[derive(Debug, Default)]
pub(super) struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    pub(super) fn take(&mut self, start: SegmentStart, item: Item<'_>, segment_bytes: u64) {
        let number = match (start.header, item) {
            (Some(header), _) => header.lsn / segment_bytes,
            (None, Item::Message { offset, message })
                if offset == start.offset + SEGMENT_HEADER_BYTES as u64 =>
            {
                message.number
            }
            (None, _) => return,
        };
        self.0.insert(start.offset, number);
    }

    pub(super) fn get(&self, start: SegmentStart) -> Option<u64> {
        self.0.get(&start.offset).copied()
    }

    /// Where the newest segment is.
    pub(super) fn newest(&self) -> Option<u64> {
        self.0.iter().max_by_key(|(_, number)| **number).map(|(offset, _)| *offset)
    }
}
