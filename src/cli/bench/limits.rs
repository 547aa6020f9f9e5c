//! Disk and mailbox next to each other: short slices in turn, so that what disturbs one meets the other too.

use std::path::Path;
use std::time::Duration;

use super::disk::PlainFile;
use super::report::{Bar, Figure, Row};
use super::store::Appender;
use super::{BenchError, Plan, What};

/// Records of one flush: alone, a modest and a large batch, and what the project's bars name.
const BATCHES: [usize; 4] = [1, 64, 256, 1024];
/// The bars on mailbox / disk: of which batch, and how much.
const BARS: [(usize, &str, f64); 2] = [
    (1, "mailbox / disk, batches of 1, median of slices", 0.6),
    (256, "mailbox / disk, batches of 256, median of slices", 0.35),
];
/// A slice: many flushes, and short against what a neighbour on the disk does.
const SLICE: Duration = Duration::from_millis(50);
/// What a message's header adds to a record of the store, in bytes: so much more the file's records get.
const HEADER_BYTES: usize = 40;

/// What each batch's rows and ratio are.
pub(super) fn measure(
    plan: &Plan,
    folder: &Path,
    rows: &mut Vec<Row>,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    for batch in BATCHES {
        let scratch = super::scratch(folder)?;
        let ratios = slices(plan, scratch.path(), batch, rows)?;
        let bar = BARS.iter().find(|(of, ..)| *of == batch);
        if let (Some(&(_, name, least)), Some(value)) = (bar, median(ratios)) {
            figures.push(Figure::new(name, value, "", Bar::AtLeast(least)));
        }
    }
    Ok(())
}

/// The ratios of all pairs of slices; none if only one of both is measured.
fn slices(
    plan: &Plan,
    folder: &Path,
    batch: usize,
    rows: &mut Vec<Row>,
) -> Result<Vec<f64>, BenchError> {
    let disk_failed = |source| BenchError::io("appending to a plain file", source);
    let mut file = plan
        .has(What::Disk)
        .then(|| PlainFile::create(folder, batch, plan.payload_bytes + HEADER_BYTES))
        .transpose()
        .map_err(disk_failed)?;
    let mut store = plan
        .has(What::Mailbox)
        .then(|| Appender::open(folder, batch, plan.payload_bytes, plan.messages))
        .transpose()?;
    let mut ratios = Vec::new();
    let rounds = plan.time.as_millis().div_ceil(SLICE.as_millis());
    for _ in 0..rounds {
        let of_disk = file.as_mut().map(|file| file.slice(SLICE)).transpose();
        let of_store = store.as_mut().map(|store| store.slice(SLICE)).transpose()?;
        if let (Some(disk), Some(store)) = (of_disk.map_err(disk_failed)?, of_store) {
            ratios.push(store / disk);
        }
        let is_full = file.as_ref().is_some_and(PlainFile::is_full);
        if is_full || store.as_ref().is_some_and(Appender::is_full) {
            break;
        }
    }
    rows.extend(file.map(PlainFile::row));
    rows.extend(store.map(Appender::row));
    Ok(ratios)
}

/// The middle one; of two, the lower.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    values.get(middle).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_not_moved_by_one_slice_that_was_disturbed() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![0.6]), Some(0.6));
        assert_eq!(median(vec![0.7, 0.5]), Some(0.5));
        assert_eq!(median(vec![0.6, 90.0, 0.5, 0.0, 0.7]), Some(0.6));
    }
}
