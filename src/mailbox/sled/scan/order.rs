//! Which segments sled would replay, and in which order.

use std::collections::BTreeMap;

use super::super::raw::SegmentStart;

/// Segments that sled may have begun to write beyond the last one whose header is there, with room to spare.
const SEGMENTS_AHEAD: u64 = 64;

/// The segments that sled would replay.
pub(in crate::mailbox::sled) struct Order {
    pub(super) segment_bytes: u64,
    pub(in crate::mailbox::sled) segments: BTreeMap<u64, SegmentStart>,
    /// Those that its snapshot covers wholly.
    pub(super) earlier: Vec<SegmentStart>,
    /// Those whose header is bad: sled doesn't see them.
    pub(in crate::mailbox::sled) without_header: Vec<SegmentStart>,
    /// Those that have zeroes for a header: sled takes them for free ones.
    pub(in crate::mailbox::sled) blank: Vec<SegmentStart>,
    /// Messages of later segments are not believed.
    pub(in crate::mailbox::sled) max_number: u64,
    /// sled replays from here on.
    pub(super) first: u64,
    /// From here on sled takes a bad place for the end.
    pub(super) tail: u64,
    pub(super) same_lsn: Option<u64>,
}

impl Order {
    pub(in crate::mailbox::sled) fn of(
        starts: Vec<SegmentStart>,
        stable_lsn: u64,
        segment_bytes: u64,
    ) -> Self {
        let first = stable_lsn / segment_bytes * segment_bytes;
        let mut order = Self {
            segment_bytes,
            segments: BTreeMap::new(),
            earlier: Vec::new(),
            without_header: Vec::new(),
            blank: Vec::new(),
            max_number: 0,
            first,
            tail: first,
            same_lsn: None,
        };
        for start in starts {
            let Some(header) = start.header else {
                match start.is_blank {
                    true => order.blank.push(start),
                    false => order.without_header.push(start),
                }
                continue;
            };
            order.max_number = order.max_number.max(header.lsn / segment_bytes);
            if header.lsn < first {
                order.earlier.push(start);
                continue;
            }
            order.tail = order.tail.max(header.stable_lsn / segment_bytes * segment_bytes);
            if order.segments.insert(header.lsn, start).is_some() {
                order.same_lsn = Some(header.lsn);
            }
        }
        order.max_number += SEGMENTS_AHEAD;
        order
    }
}
