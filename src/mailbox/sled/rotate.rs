//! Rotation: from a generation that has become large to a new one, a little at a time.
//!
//! The next generation is made by the keeper's thread. Then `state` is copied into it between commits, in
//! the order of keys; what a commit writes to a key that has been copied already is written to the copy
//! too. Once all is copied both generations are synced, and the manifest names the new one: that is the
//! moment of the change. Before it a crash leaves the old one and a folder that is not listed.

use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use super::commit::{LogEnd, small_commit};
use super::generation::Generation;
use super::keeper::{Job, Next};
use super::layout::{CHANGES, SLED_SEGMENT_BYTES};
use super::manifest::{GenerationEntry, folder_name};
use super::sealed::Removed;
use super::segment::encode_changes;
use super::store::{Active, Store};
use crate::mailbox::MailboxError;

/// Keys copied in one step, and their bytes: a millisecond or two.
const MAX_KEYS_A_STEP: usize = 128;
const MAX_BYTES_A_STEP: usize = 96 * 1024;

/// `state` is copied each time: only after so many times its size has been written.
const WRITTEN_PER_COPIED: u64 = 4;

/// sled's file may be longer than what was written by so much (it takes 8 MiB at a time, and keeps old pages
/// until it has a use for their place); beyond, the generation is left behind all the same.
const FILE_SLACK_BYTES: u64 = 64 * 1024 * 1024;

/// The next generation is made when this part of a generation's size is written: `1 - 1 / this`.
const AHEAD: u64 = 4;

/// What a new generation takes beside the copy of `state`: sled's first segments, which it fills one by one.
const NEW_GENERATION_BYTES: u64 = 2 * SLED_SEGMENT_BYTES as u64;

/// How far the change to the next generation is.
#[derive(Debug, Default)]
pub(super) enum Rotation {
    #[default]
    Resting,
    /// The last try failed; not before so much is written in all.
    Failed {
        not_before: u64,
    },
    /// The next generation is being made.
    Making,
    /// It is there, and waits for its time.
    Ready(Arc<Generation>),
    Copying(Copy),
    /// All is copied; the keeper's thread syncs most of it.
    Syncing(Copy),
}

/// The copy of `state`.
#[derive(Debug)]
pub(super) struct Copy {
    next: Arc<Generation>,
    /// All keys before this have been copied.
    from: Vec<u8>,
    copied: u64,
}

/// What a step of upkeep says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is nothing to do.
    Idle,
    /// There is more to do.
    More,
    /// Something else must be over first.
    Waiting,
    /// From this log id on, a new generation is written.
    Rotated(u64),
}

/// Is the key in every generation's `state`? The ids are in their segment's, and the changes of the newest
/// small commit are done by then.
fn is_copied(key: &[u8]) -> bool {
    key != CHANGES && key.first() != Some(&b'i')
}

impl Store {
    /// The generation into which a write of `key` has to go as well.
    pub(super) fn copy_of(&self, key: &[u8]) -> Option<Arc<Generation>> {
        let rotation = self.rotation.lock().unwrap_or_else(PoisonError::into_inner);
        match &*rotation {
            Rotation::Copying(copy) | Rotation::Syncing(copy) => {
                (key < copy.from.as_slice() && is_copied(key)).then(|| Arc::clone(&copy.next))
            }
            Rotation::Resting | Rotation::Failed { .. } | Rotation::Making | Rotation::Ready(_) => {
                None
            }
        }
    }

    /// One step, between two commits.
    pub(super) fn rotate_step(&self, log_end: &mut LogEnd) -> Result<Step, MailboxError> {
        let size = self.size()?;
        let mut rotation = self.rotation.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, step) = match std::mem::take(&mut *rotation) {
            Rotation::Failed { not_before } if size < not_before => {
                (Rotation::Failed { not_before }, Step::Idle)
            }
            Rotation::Resting | Rotation::Failed { .. } => self.ask_for_next(size),
            Rotation::Making => self.take_made(size),
            Rotation::Ready(next) if !self.can_spare(self.next_bytes()) => {
                self.hold_back(next, size)
            }
            Rotation::Copying(copy) if !self.can_spare(MAX_BYTES_A_STEP as u64) => {
                self.hold_back(copy.next, size)
            }
            Rotation::Ready(next) if size < self.limit() => (Rotation::Ready(next), Step::Idle),
            Rotation::Ready(next) => {
                (Rotation::Copying(Copy { next, from: Vec::new(), copied: 0 }), Step::More)
            }
            Rotation::Copying(copy) => self.copy_step(copy)?,
            Rotation::Syncing(copy) => match self.keeper.take_next() {
                Next::Working => (Rotation::Syncing(copy), Step::Waiting),
                Next::Failed(error) => self.give_up(&error, Some(copy.next), size),
                Next::None | Next::Made(_) | Next::Synced => {
                    let first_id = self.change_over(copy, log_end)?;
                    (Rotation::Resting, Step::Rotated(first_id))
                }
            },
        };
        *rotation = next;
        Ok(step)
    }

    /// Bytes written to the active generation, about.
    fn size(&self) -> Result<u64, MailboxError> {
        let active = self.active()?;
        let file = active.generation.file_bytes().saturating_sub(FILE_SLACK_BYTES);
        // Where `state` is large a restart alone must not lead to its being copied.
        let before = active.bytes_before.min(self.options.rotate_bytes);
        Ok(file.max(before + active.generation.written()))
    }

    /// The active generation is left at this size.
    fn limit(&self) -> u64 {
        let manifest = self.manifest();
        self.options.rotate_bytes.max(WRITTEN_PER_COPIED * manifest.active().copied)
    }

    /// What the next generation takes before this one can go: `state` may have grown by a quarter since it was copied
    /// last.
    fn next_bytes(&self) -> u64 {
        let copied = self.manifest().active().copied;
        NEW_GENERATION_BYTES + copied + copied / 4
    }

    fn next_number(&self) -> u64 {
        self.manifest().active().number + 1
    }

    fn ask_for_next(&self, size: u64) -> (Rotation, Step) {
        let limit = self.limit();
        if size < limit - limit / AHEAD
            || !self.can_spare(self.next_bytes())
            || !self.keeper.ask_next(Job::Make(self.next_number()))
        {
            return (Rotation::Resting, Step::Idle);
        }
        (Rotation::Making, Step::Waiting)
    }

    fn take_made(&self, size: u64) -> (Rotation, Step) {
        match self.keeper.take_next() {
            Next::Working => (Rotation::Making, Step::Waiting),
            Next::Made(next) => (Rotation::Ready(next), Step::More),
            Next::Failed(error) => self.give_up(&error, None, size),
            Next::None | Next::Synced => (Rotation::Resting, Step::More),
        }
    }

    /// The active generation grows on; it is tried again when it has grown by a part of its size.
    fn give_up(
        &self,
        error: &MailboxError,
        next: Option<Arc<Generation>>,
        size: u64,
    ) -> (Rotation, Step) {
        tracing::warn!(%error, "the store can't begin a new part; it goes on with the present one");
        if let Some(next) = next {
            self.delete_next(next);
        }
        self.try_later(size)
    }

    /// The disk is low: what the next generation takes is for acks.
    fn hold_back(&self, next: Arc<Generation>, size: u64) -> (Rotation, Step) {
        tracing::info!("the disk is low: the store goes on with its present part");
        self.delete_next(next);
        self.try_later(size)
    }

    fn delete_next(&self, next: Arc<Generation>) {
        let folder = self.path.join(folder_name(self.next_number()));
        self.keeper.ask_surely(Job::Delete(Removed { folder, generation: Some(next) }));
    }

    fn try_later(&self, size: u64) -> (Rotation, Step) {
        (Rotation::Failed { not_before: size + self.limit() / AHEAD }, Step::Idle)
    }

    fn copy_step(&self, mut copy: Copy) -> Result<(Rotation, Step), MailboxError> {
        let active = self.active()?.generation;
        let rest = |from: &[u8]| {
            let from = Bound::Included(from.to_vec());
            active.state.range((from, Bound::<Vec<u8>>::Unbounded))
        };
        let mut items = rest(&copy.from);
        let mut bytes = 0;
        for _ in 0..MAX_KEYS_A_STEP {
            let Some((key, value)) = active.read(|| items.next().transpose())? else {
                // Before every key: all that is written from now on is written twice.
                copy.from = vec![u8::MAX];
                if !self.keeper.ask_next(Job::Sync(Arc::clone(&copy.next))) {
                    return Ok((Rotation::Copying(copy), Step::Waiting));
                }
                return Ok((Rotation::Syncing(copy), Step::Waiting));
            };
            if key.first() == Some(&b'i') {
                copy.from = b"j".to_vec();
                items = rest(&copy.from);
                continue;
            }
            if is_copied(&key) {
                bytes += key.len() + value.len();
                self.write("copying", || copy.next.insert(&copy.next.state, &key, value))?;
            }
            copy.from = [&key, [0].as_slice()].concat();
            if bytes >= MAX_BYTES_A_STEP {
                break;
            }
        }
        copy.copied += bytes as u64;
        Ok((Rotation::Copying(copy), Step::More))
    }

    /// Seals the active generation and goes on with the copy; returns its first log id.
    fn change_over(&self, copy: Copy, log_end: &mut LogEnd) -> Result<u64, MailboxError> {
        let Active { generation: old, first_id: old_first_id, .. } = self.active()?;
        self.write("syncing", || old.sync())?;
        // Without it a scan that finds the first commit torn can't tell what came before it.
        let marker = small_commit(log_end.commit, &encode_changes(&[], log_end.commit));
        self.write("copying", || copy.next.insert(&copy.next.state, CHANGES, marker))?;
        self.write("syncing", || copy.next.sync())?;
        // Every generation has an id, so that they are told apart by it.
        let first_id = log_end.next_id.max(old_first_id + 1);
        let number = copy.next.number;
        let mut manifest = self.manifest();
        let sealed = manifest.active().clone();
        let mut changed = manifest.clone();
        changed.generations.push(GenerationEntry {
            number,
            folder: folder_name(number),
            first_id,
            commit: log_end.commit,
            copied: copy.copied,
        });
        self.write_manifest(&changed)?;
        *manifest = changed;
        let last_commit = manifest.sealed().next_back().map_or(0, |(_, last_commit)| last_commit);
        self.sealed.add(&sealed, last_commit, old);
        self.set_active(Active { first_id, generation: copy.next, bytes_before: 0 });
        if self.sealed.has_surplus() {
            self.keeper.ask_to_close();
        }
        log_end.next_id = first_id;
        log_end.reserved = first_id;
        log_end.newest_first_id = first_id;
        tracing::debug!(number, first_id, "the store writes a new generation");
        Ok(first_id)
    }
}
