//! The disk's own limit: records appended to a plain file, `fdatasync` after each batch.

use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Row;
use super::samples::Samples;

/// The row's name.
pub(super) const NAME: &str = "disk: append + fdatasync";
/// A file may take this much, in bytes: a measurement must not fill the disk.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// A plain file that grows, in slices of time: what else is measured gets the slices between.
pub(super) struct PlainFile {
    file: File,
    batch: usize,
    bytes: Vec<u8>,
    batches: u64,
    elapsed: Duration,
    samples: Samples,
}

impl PlainFile {
    /// For batches of `batch` records of `record_bytes`.
    pub(super) fn create(folder: &Path, batch: usize, record_bytes: usize) -> Result<Self> {
        let path = folder.join(format!("disk-limit-{batch}"));
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        let bytes = vec![b'x'; batch * record_bytes];
        let samples = Samples::default();
        Ok(Self { file, batch, bytes, batches: 0, elapsed: Duration::ZERO, samples })
    }

    /// Appends for about `time`, at least once; records a second.
    pub(super) fn slice(&mut self, time: Duration) -> Result<f64> {
        let (mut spent, mut batches) = (Duration::ZERO, 0);
        while batches == 0 || (spent < time && !self.is_full()) {
            let from = Instant::now();
            self.file.write_all(&self.bytes)?;
            self.file.sync_data()?;
            let took = from.elapsed();
            self.samples.add(took);
            spent += took;
            batches += 1;
            self.batches += 1;
        }
        self.elapsed += spent;
        Ok(batches as f64 * self.batch as f64 / spent.as_secs_f64())
    }

    pub(super) fn is_full(&self) -> bool {
        self.batches * self.bytes.len() as u64 >= MAX_FILE_BYTES
    }

    /// The samples are whole flushes.
    pub(super) fn row(self) -> Row {
        let records = self.batches * self.batch as u64;
        Row::new(NAME, self.batch, 1, records, self.elapsed, self.samples)
    }
}
