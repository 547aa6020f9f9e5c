//! What the store's threads measure, for monitoring.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::clock::Stopwatch;
use crate::mailbox::{Mailbox, MailboxError};
use crate::model::{HistogramView, StoreMeasures};

const MS: u64 = 1_000_000;
/// From a fast disk's flush to one that hangs: three bounds in each power of ten, in nanoseconds.
const NANOS: &[u64] = &[
    MS / 4,
    MS / 2,
    MS,
    5 * MS / 2,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    1_000 * MS,
    2_500 * MS,
    5_000 * MS,
    10_000 * MS,
];
/// Up to what a batch may have (`pipeline::MAX_BATCH_OPS`).
const OPS: &[u64] = &[1, 4, 16, 64, 256, 1_024, 4_096, 16_384];
/// Up to what a batch may have (`pipeline::MAX_BATCH_BYTES`).
const BYTES: &[u64] = &[1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 23];

/// Counts values by size. Any thread may note one and any may look; a look may fall between two values.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    pub(super) fn note(&self, value: u64) {
        let at = self.bounds.partition_point(|&bound| bound < value);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    pub(super) fn view(&self) -> HistogramView {
        let counts = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        HistogramView { bounds: self.bounds, counts, sum: self.sum.load(Relaxed) }
    }
}

/// See [`StoreMeasures`].
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) commit_nanos: Histogram,
    sync_nanos: Histogram,
    pub(super) batch_ops: Histogram,
    pub(super) batch_bytes: Histogram,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            commit_nanos: Histogram::new(NANOS),
            sync_nanos: Histogram::new(NANOS),
            batch_ops: Histogram::new(OPS),
            batch_bytes: Histogram::new(BYTES),
        }
    }
}

impl Meter {
    /// Syncs the store; one that fails took its time, too.
    pub(super) fn sync(&self, mailbox: &dyn Mailbox) -> Result<(), MailboxError> {
        let since = Stopwatch::start();
        let synced = mailbox.sync();
        self.sync_nanos.note(since.nanos());
        synced
    }

    pub(super) fn view(&self) -> StoreMeasures {
        StoreMeasures {
            commit_nanos: self.commit_nanos.view(),
            sync_nanos: self.sync_nanos.view(),
            batch_ops: self.batch_ops.view(),
            batch_bytes: self.batch_bytes.view(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_at_the_first_bound_that_is_not_below_it() {
        let histogram = Histogram::new(&[1, 10]);
        for value in [0, 1, 2, 10, 11, 1_000] {
            histogram.note(value);
        }
        let view = histogram.view();
        assert_eq!((view.counts, view.sum), (vec![2, 2, 2], 1_024));
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [NANOS, OPS, BYTES] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
