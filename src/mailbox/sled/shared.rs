//! Payloads that several messages of one commit share: an event that went to many queues. Such messages are in
//! segments of their own, whose parts hold the payload once; so they live, move and go as any segment does.

use std::collections::HashMap;

use super::layout::MAX_SEGMENT_BYTES;
use super::segment::Entry;

/// A shorter payload is written with each message, in bytes: about as long as its header.
const MIN_PAYLOAD_BYTES: usize = 1024;
/// Less saved is not worth a segment and a part, in bytes. It is also why a segment that is written so never counts
/// as a small one, which the compactor would write again and again.
const MIN_SAVED_BYTES: usize = 64 * 1024;

/// Where a payload is in RAM: while both live, two messages with the same one have the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PayloadAt {
    start: usize,
    len: usize,
}

impl PayloadAt {
    /// `None` if the payload is too short to be shared.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let payload = &entry.content.payload;
        let at = Self { start: payload.as_ptr().addr(), len: payload.len() };
        (at.len >= MIN_PAYLOAD_BYTES).then_some(at)
    }
}

/// The payloads among `entries` that are to be shared, numbered from 1 in the order in which they come first.
pub(super) fn shared_payloads(entries: &[Entry]) -> HashMap<PayloadAt, usize> {
    let mut copies: HashMap<PayloadAt, usize> = HashMap::new();
    let of_entries = || entries.iter().filter_map(PayloadAt::of);
    of_entries().for_each(|at| *copies.entry(at).or_default() += 1);
    copies.retain(|at, copies| (*copies - 1).saturating_mul(at.len) >= MIN_SAVED_BYTES);
    let mut ranks = HashMap::with_capacity(copies.len());
    for at in of_entries().filter(|at| copies.contains_key(at)) {
        let next = ranks.len() + 1;
        ranks.entry(at).or_insert(next);
    }
    ranks
}

/// The messages of each segment that shares a payload: as many as fit, without the payload.
pub(super) fn shared_segments(
    entries: &[Entry],
    ranks: &HashMap<PayloadAt, usize>,
) -> Vec<Vec<Entry>> {
    let mut segments: Vec<Vec<Entry>> = Vec::new();
    // By rank: the newest segment of each payload, and its room.
    let mut open: Vec<Option<(usize, usize)>> = vec![None; ranks.len() + 1];
    for entry in entries {
        let Some(&rank) = PayloadAt::of(entry).and_then(|at| ranks.get(&at)) else { continue };
        let needed = entry.own_bytes();
        let (at, room) = match open[rank] {
            Some((at, room)) if room >= needed => (at, room),
            Some(_) | None => {
                segments.push(Vec::new());
                (segments.len() - 1, MAX_SEGMENT_BYTES)
            }
        };
        segments[at].push(entry.clone());
        open[rank] = Some((at, room.saturating_sub(needed)));
    }
    segments
}
