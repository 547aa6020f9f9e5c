//! Upkeep: rotation, and giving back what is not needed any more, a little at a time.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::SledMailbox;
use super::cool::{AFTER_BYTES, AT_REST_BYTES};
use super::keeper::Job;
use super::layout::{directory_key, ids_key};
use super::rotate::Step;
use crate::mailbox::MailboxError;

/// Directories removed in one step.
const MAX_DIRECTORIES_A_STEP: usize = 64;

/// After so many rests, ten seconds, the active generation is opened anew, if so many bytes of it were written or read:
/// nobody waits, and what sled holds of them goes, with the gaps between. It takes as long as reading them.
const OPEN_ANEW_RESTS: u32 = 20;
const OPEN_ANEW_BYTES: u64 = 8 * 1024 * 1024;
/// Not while so many bytes of it are read from rest to rest: who pages through a backlog would wait for it again and again.
const READ_AT_REST_BYTES: u64 = 64 * 1024;

/// Upkeep that finds nothing to do.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// What had been written of the active generation at the last one, in bytes; none: there was something to do.
    written: Option<u64>,
    /// How many since then, with nothing written.
    times: u32,
    /// What had been read of it by then, in bytes.
    read: u64,
}

impl SledMailbox {
    /// One step of a few milliseconds; `true` if there is more to do at once.
    pub(super) fn maintain_step(&self) -> Result<bool, MailboxError> {
        self.store.keeper.ask_late();
        let mut compactor = self.compactor();
        let mut log_end = self.log_end();
        let step = self.store.rotate_step(&mut log_end)?;
        let newest_first_id = log_end.newest_first_id;
        drop(log_end);
        if let Step::Rotated(first_id) = step {
            self.index_mut().generations.insert(first_id, Default::default());
        }
        let has_removed = self.remove_unneeded(newest_first_id)?;
        let has_deleted = self.delete_generations()?;
        let compacted = match step {
            // One thing at a time: what is written again would have to be copied too.
            Step::More | Step::Rotated(_) => Step::Idle,
            Step::Idle | Step::Waiting => self.compact_step(&mut compactor)?,
        };
        let waits = step == Step::Waiting || compacted == Step::Waiting;
        self.is_waiting.store(waits, Ordering::Relaxed);
        let has_more = [step, compacted].iter().any(|step| match step {
            Step::More | Step::Rotated(_) => true,
            Step::Idle | Step::Waiting => false,
        });
        let has_more = has_more || has_removed || has_deleted;
        let rests = self.rests(has_more || waits)?;
        // Also while `state` is copied: with many segments that takes as long as writing dozens of MB.
        let is_warm = self.cool_step(if rests > 0 { AT_REST_BYTES } else { AFTER_BYTES })?;
        if rests > 0 {
            self.index_mut().pack();
        }
        if rests > 0 && self.store.sealed.mark_read() {
            self.store.keeper.ask_to_close();
        }
        let is_being_read = self.is_being_read()?;
        if rests >= OPEN_ANEW_RESTS
            && !is_being_read
            && self.store.active()?.generation.is_used(OPEN_ANEW_BYTES)
        {
            // No commit comes between its sync and its closing.
            let _no_commit = self.log_end();
            self.store.open_anew()?;
        }
        Ok(has_more || is_warm)
    }

    /// How often in a row there was nothing to do, and nothing was written since that was so the time before: half a
    /// second ago, or whenever upkeep is called where there is nothing to do.
    fn rests(&self, is_busy: bool) -> Result<u32, MailboxError> {
        let written = self.store.active()?.generation.written();
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = !is_busy && rest.written == Some(written);
        rest.times = if goes_on { rest.times.saturating_add(1) } else { 0 };
        rest.written = (!is_busy).then_some(written);
        Ok(rest.times)
    }

    /// Has somebody read much of the active generation since this was asked last?
    fn is_being_read(&self) -> Result<bool, MailboxError> {
        let read = self.store.active()?.generation.bytes_read();
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut rest.read, read);
        Ok(read > before + READ_AT_REST_BYTES)
    }

    /// Removes directories and ids that no queue needs. Nothing of it must be durable: after a crash it is
    /// done again.
    fn remove_unneeded(&self, newest_first_id: u64) -> Result<bool, MailboxError> {
        let unneeded = self.take_unneeded(newest_first_id);
        let first_id = self.store.active()?.first_id;
        for &id in &unneeded {
            self.store.remove_state(&directory_key(id))?;
            // Those of a sealed generation go with it.
            if id >= first_id {
                self.store.remove_state(&ids_key(id))?;
            }
            self.cache.forget(id);
        }
        Ok(!unneeded.is_empty())
    }

    /// Segments of which nothing is needed. The newest commit's stay: opening finds the log's end by them.
    fn take_unneeded(&self, newest_first_id: u64) -> Vec<u64> {
        let mut index = self.index_mut();
        let mut taken = Vec::new();
        for _ in 0..index.unneeded.len() {
            let Some(id) = index.unneeded.pop_front() else { break };
            if id >= newest_first_id {
                index.unneeded.push_back(id);
                continue;
            }
            index.forget_segment(id);
            taken.push(id);
            if taken.len() == MAX_DIRECTORIES_A_STEP {
                break;
            }
        }
        taken
    }

    /// Deletes sealed generations of which nothing is needed. Their directories are gone from `state` by
    /// then; the manifest no longer names them before the first of their files goes.
    fn delete_generations(&self) -> Result<bool, MailboxError> {
        let active = self.store.active()?.first_id;
        let unneeded = {
            let index = self.index();
            let sealed = index.generations.range(..active);
            let unneeded = sealed.filter(|(_, used)| used.segments == 0).map(|(&id, _)| id);
            unneeded.filter(|&id| !self.store.sealed.is_pinned(id)).collect::<Vec<_>>()
        };
        if unneeded.is_empty() {
            return Ok(false);
        }
        // A crash must not bring back a directory whose segment is gone.
        self.store.sync()?;
        let mut manifest = self.store.manifest();
        let mut changed = manifest.clone();
        changed.generations.retain(|entry| !unneeded.contains(&entry.first_id));
        self.store.write_manifest(&changed)?;
        *manifest = changed;
        drop(manifest);
        for first_id in unneeded {
            self.index_mut().generations.remove(&first_id);
            self.store.keeper.ask_surely(Job::DeleteSealed(first_id));
        }
        Ok(true)
    }
}
