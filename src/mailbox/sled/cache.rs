//! Segments kept decoded, so that a read that goes on where the last one ended doesn't decode again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::segment::Segment;

/// Decoded segments kept for reads that go on where the last one ended: one for each of many queues that
/// are read in turn.
const MAX_CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Small segments are looked for one after another, so there are not many.
const MAX_CACHED_SEGMENTS: usize = 64;

/// A shared payload is kept up to this length, in bytes: those who read it next share it in RAM too.
const MAX_SHARED_BYTES: usize = 1024 * 1024;

/// The segments read last, newest at the back.
#[derive(Debug, Default)]
pub(super) struct SegmentCache {
    kept: Mutex<VecDeque<Arc<Segment>>>,
    /// The payload that messages of one segment share, of the last that was read so.
    shared: Mutex<Option<(u64, Bytes)>>,
}

impl SegmentCache {
    pub(super) fn get(&self, id: u64) -> Option<Arc<Segment>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().rposition(|segment| segment.id == id)?;
        let segment = kept.remove(at)?;
        kept.push_back(Arc::clone(&segment));
        Some(segment)
    }

    pub(super) fn put(&self, segment: &Arc<Segment>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Arc::clone(segment));
        let mut bytes: usize = kept.iter().map(|segment| segment.bytes()).sum();
        while kept.len() > 1 && (kept.len() > MAX_CACHED_SEGMENTS || bytes > MAX_CACHE_BYTES) {
            bytes -= kept.pop_front().map_or(0, |segment| segment.bytes());
        }
    }

    pub(super) fn shared_payload(&self, segment: u64) -> Option<Bytes> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.as_ref().filter(|(id, _)| *id == segment).map(|(_, payload)| payload.clone())
    }

    pub(super) fn keep_shared_payload(&self, segment: u64, payload: &Bytes) {
        if payload.len() <= MAX_SHARED_BYTES {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            *shared = Some((segment, payload.clone()));
        }
    }

    pub(super) fn forget(&self, id: u64) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.take_if(|(segment, _)| *segment == id);
        drop(shared);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|segment| segment.id != id);
    }
}
