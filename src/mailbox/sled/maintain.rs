//! Giving back what is not needed any more, a little at a time.

use super::SledMailbox;
use super::layout::{FILLER_SLOTS, VALUE_SLOT, directory_key, ids_key, log_key};
use crate::mailbox::MailboxError;

/// Log values removed in one step: a few milliseconds between two commits.
const MAX_VALUES_A_STEP: u64 = 32;
/// Directories removed in one step.
const MAX_DIRECTORIES_A_STEP: usize = 64;

impl SledMailbox {
    /// Removes the values of segments whose messages are all finished, and the directories and ids of those
    /// that no window needs. Nothing of it must be durable: after a crash it is done again. A compactor
    /// that rewrites mostly finished segments finds them by [`super::index::Use`]: few live messages,
    /// while its values are there.
    pub(super) fn maintain_step(&self) -> Result<bool, MailboxError> {
        let newest_first_id = self.log_end().newest_first_id;
        let dead = self.take_dead(newest_first_id);
        for &(id, parts) in &dead {
            for id in id..=id + u64::from(parts) {
                self.store.remove(&self.store.log, log_key(id, VALUE_SLOT))?;
            }
        }
        // Fillers last: as long as they are there, sled has no reason to merge pages that have values.
        for &(id, parts) in &dead {
            for id in id..=id + u64::from(parts) {
                for slot in FILLER_SLOTS {
                    self.store.remove(&self.store.log, log_key(id, slot))?;
                }
            }
            self.cache.forget(id);
        }
        let unneeded = self.take_unneeded(newest_first_id);
        for &id in &unneeded {
            self.store.remove(&self.store.state, ids_key(id))?;
            self.store.remove(&self.store.state, directory_key(id))?;
        }
        Ok(!dead.is_empty() || !unneeded.is_empty())
    }

    /// Segments whose values go now. The newest commit's stay: opening needs them.
    fn take_dead(&self, newest_first_id: u64) -> Vec<(u64, u32)> {
        let mut index = self.index_mut();
        let mut taken = Vec::new();
        let mut values = 0;
        for _ in 0..index.dead.len() {
            let Some(id) = index.dead.pop_front() else { break };
            if id >= newest_first_id {
                index.dead.push_back(id);
                continue;
            }
            if let Some(needed) = index.segments.get_mut(&id) {
                needed.has_values = false;
                taken.push((id, needed.parts));
                values += 1 + u64::from(needed.parts);
            }
            if values >= MAX_VALUES_A_STEP {
                break;
            }
        }
        taken
    }

    /// Segments of which nothing is needed and whose values are gone.
    fn take_unneeded(&self, newest_first_id: u64) -> Vec<u64> {
        let mut index = self.index_mut();
        let mut taken = Vec::new();
        for _ in 0..index.unneeded.len() {
            let Some(id) = index.unneeded.pop_front() else { break };
            let has_values = index.segments.get(&id).is_some_and(|needed| needed.has_values);
            if id >= newest_first_id || has_values {
                index.unneeded.push_back(id);
                continue;
            }
            index.segments.remove(&id);
            taken.push(id);
            if taken.len() == MAX_DIRECTORIES_A_STEP {
                break;
            }
        }
        taken
    }
}
