//! Making sled drop what its cache holds of a large `state`.
//!
//! sled's cache has 256 parts by page number. A part looks for what to drop only when it has noted 64 accesses,
//! and keeps the pages of all of them until then: with 100,000 queues, or as many segments, that is nearly all of
//! `state`, and all that was written to `log`. So a few keys on many pages are read again and again, once enough
//! was written: each part then looks, and drops what is beyond its share.

use std::sync::atomic::Ordering;

use super::SledMailbox;
use super::garbage::free_replaced;
use super::index::Index;
use super::layout::{directory_key, queue_key};
use crate::mailbox::MailboxError;
use crate::model::QueueId;

/// With fewer queues and segments `state` is small, and its pages are not in all parts of the cache.
const MIN_KEYS: usize = 8 * 1024;
/// Keys that are read, far from each other: some four in each part of the cache.
const KEYS: usize = 1024;
/// How often each is read: more than 64 accesses in nearly every part.
const READS: usize = 24;
/// Keys of one step: about a millisecond.
const KEYS_A_STEP: usize = 32;
/// It is done again when so many bytes have been written: then it takes a few percent of the time that they took.
pub(super) const AFTER_BYTES: u64 = 24 * 1024 * 1024;
/// The same when there is nothing else to do.
pub(super) const AT_REST_BYTES: u64 = 1024 * 1024;

impl SledMailbox {
    /// One step, if `after` bytes have been written; `true` if there is more to do.
    pub(super) fn cool_step(&self, after: u64) -> Result<bool, MailboxError> {
        let generation = self.store.active()?.generation;
        let from = self.cooling.load(Ordering::Relaxed);
        if from == 0 && !generation.is_warm(after) {
            return Ok(false);
        }
        let mut keys = self.index().far_keys(from);
        if from == 0 {
            if keys.is_empty() {
                return Ok(false);
            }
            generation.set_cooled();
        }
        let next = if keys.len() > KEYS_A_STEP { keys.pop() } else { None };
        for (_, key) in keys {
            for _ in 0..READS {
                generation.read(|| generation.state.get(&key))?;
            }
        }
        free_replaced();
        self.cooling.store(next.as_ref().map_or(0, |&(id, _)| id), Ordering::Relaxed);
        Ok(next.is_some())
    }
}

impl Index {
    /// The next keys from id `from` on, and the one after them: of queues or segments, whatever there is more of.
    fn far_keys(&self, from: u64) -> Vec<(u64, Vec<u8>)> {
        let (queues, segments) = (self.queues.len(), self.segments.len());
        if queues.max(segments) < MIN_KEYS {
            return Vec::new();
        }
        let (stride, most) = (queues.max(segments) / KEYS, KEYS_A_STEP + 1);
        if queues > segments {
            let from = QueueId(u32::try_from(from).unwrap_or(u32::MAX));
            let far = self.queues.range(from..).step_by(stride).take(most);
            far.map(|(&id, _)| (u64::from(id.0), queue_key(id))).collect()
        } else {
            let far = self.segments.range(from..).step_by(stride).take(most);
            far.map(|(&id, _)| (id, directory_key(id))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SledMailbox, SledOptions};
    use super::*;
    use crate::mailbox::Mailbox as _;
    use crate::mailbox::conformance::sample::{append, batch, put_queue};

    #[test]
    fn many_queues_are_cooled_once_for_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = SledMailbox::open(folder.path(), SledOptions::default()).unwrap();
        let write = |messages: std::ops::Range<u64>| {
            let ops = messages.map(|seq| append(QueueId(1), seq, vec![0; 80_000]));
            mailbox.append(&batch(ops)).unwrap();
        };
        let steps = || {
            std::iter::repeat_with(|| mailbox.cool_step(AFTER_BYTES).unwrap())
                .position(|more| !more)
        };
        let few = (1..MIN_KEYS as u32).map(|queue| put_queue(QueueId(queue), 1));
        mailbox.append(&batch(few)).unwrap();
        write(1..330);
        assert_eq!(steps(), Some(0), "few queues");
        mailbox.append(&batch([put_queue(QueueId(MIN_KEYS as u32), 1)])).unwrap();
        assert_eq!(steps(), Some(KEYS / KEYS_A_STEP - 1));
        write(330..600);
        assert_eq!(steps(), Some(0), "too little was written");
        write(600..700);
        assert_eq!(steps(), Some(KEYS / KEYS_A_STEP - 1));
    }
}
