//! Many messages through a queue that stays short, in the mailbox alone: what the disk holds meanwhile.
//!
//! Through the broker one FIFO queue takes a flush for each message; what the store keeps doesn't depend
//! on who commits, so its commits are made here, with the tidying up that the broker does between them.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::samples::Samples;
use super::{BenchError, Row, folder, store};
use crate::mailbox::Mailbox;
use crate::model::{Finish, Op, Seq};

/// Messages of one commit; as many are finished by it.
const BATCH: usize = 256;
/// As the broker does under load: after so many commits so many steps of tidying up, unless the store has
/// nothing more to do.
const MAINTAIN_EVERY: u64 = 8;
const MAINTAIN_STEPS: u32 = 4;
/// Between two looks at the disk.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is measured.
pub(super) struct Steady {
    pub(super) row: Row,
    /// The most that the disk held over 1.3 times what waited, in bytes.
    pub(super) most_over: u64,
}

/// Sends `messages` through a queue of at most `depth`.
pub(super) fn measure(
    at: &Path,
    messages: u64,
    depth: u64,
    payload_bytes: usize,
) -> Result<Steady, BenchError> {
    let scratch = super::scratch(at)?;
    let path = scratch.path().join("steady");
    let mailbox = store::open(&path)?;
    let payload = Bytes::from(vec![b'x'; payload_bytes]);
    let (mut next, mut floor, mut commits, mut most_over) = (Seq(1), Seq(1), 0_u64, 0);
    let mut samples = Samples::default();
    let (began, mut looked) = (Instant::now(), Instant::now());
    while next.0 <= messages {
        let mut ops = store::appends(&mut next, BATCH, &payload);
        while next.0 - floor.0 > depth {
            ops.push(Op::Finish { queue: store::QUEUE, seq: floor, how: Finish::Done });
            floor = floor.next();
        }
        samples.add(store::commit(&mailbox, ops)?);
        commits += 1;
        let mut steps = if commits.is_multiple_of(MAINTAIN_EVERY) { MAINTAIN_STEPS } else { 0 };
        while steps > 0 && mailbox.maintain()? {
            steps -= 1;
        }
        if looked.elapsed() >= LOOK_EVERY || next.0 > messages {
            looked = Instant::now();
            let on_disk = folder::bytes(&path);
            let on_disk = on_disk.map_err(|source| BenchError::io("the store's folder", source))?;
            let waiting = (next.0 - floor.0) * payload_bytes as u64;
            most_over = most_over.max(over(on_disk, waiting));
        }
    }
    let row = Row::new("steady: append + finish", BATCH, 1, next.0 - 1, began.elapsed(), samples);
    Ok(Steady { row, most_over })
}

/// What is on the disk beyond 1.3 times what waits, in bytes.
fn over(on_disk: u64, waiting: u64) -> u64 {
    on_disk.saturating_sub(waiting.saturating_mul(13) / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_may_take_thirty_percent_more() {
        assert_eq!(over(130, 100), 0);
        assert_eq!(over(131, 100), 1);
        assert_eq!(over(7, 0), 7);
        assert_eq!(over(0, u64::MAX), 0);
    }

    #[test]
    fn a_short_run_keeps_its_queue_short_and_its_disk_small() {
        let folder = tempfile::tempdir().unwrap();
        let steady = measure(folder.path(), 2_000, 300, 100).unwrap();
        assert_eq!(steady.row.messages, 2_048, "whole commits");
        assert!(steady.most_over > 0, "an empty sled takes more than its messages");
        assert!(folder.path().read_dir().unwrap().next().is_none(), "nothing is left");
    }
}
