//! The disk's own limit: records appended to a plain file, `fdatasync` after each batch.

use std::fs::OpenOptions;
use std::io::{Result, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Row;
use super::samples::Samples;

/// A file may take this much, in bytes: a measurement must not fill the disk.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Appends batches of `batch` records of `record_bytes` for `time`; the samples are whole flushes.
pub(super) fn measure(
    folder: &Path,
    batch: usize,
    record_bytes: usize,
    time: Duration,
) -> Result<Row> {
    let path = folder.join("disk-limit");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let bytes = vec![b'x'; batch * record_bytes];
    let mut samples = Samples::default();
    let (began, mut batches, mut written) = (Instant::now(), 0_u64, 0_u64);
    while began.elapsed() < time && written < MAX_FILE_BYTES {
        let from = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        samples.add(from.elapsed());
        batches += 1;
        written += bytes.len() as u64;
    }
    let elapsed = began.elapsed();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(Row::new("disk: append + fdatasync", batch, 1, batches * batch as u64, elapsed, samples))
}
