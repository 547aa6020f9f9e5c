//! The journal: its lines by number, an index of them by queue, and removing what is not needed.

use super::SledMailbox;
use super::codec::be;
use super::garbage::free_replaced;
use super::layout::{journal_index_key, journal_index_prefix, journal_key};
use super::load::decode;
use crate::mailbox::{JournalFilter, MailboxError};
use crate::model::JournalEntry;

/// What removing a step's entries writes at most: sled writes a page anew after ten changes of it.
const REMOVAL_BYTES: u64 = 256 * 1024;

impl SledMailbox {
    pub(super) fn journal_page(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        let generation = self.store.active()?.generation;
        let prefix = of.queue.map_or_else(|| b"j".to_vec(), journal_index_prefix);
        let end = [prefix.as_slice(), &before.to_be_bytes()].concat();
        let mut keys = generation.state.range(prefix.clone()..end);
        let mut entries = Vec::new();
        while entries.len() < max
            && let Some((key, value)) = generation.read(|| keys.next_back().transpose())?
        {
            let number = be(&key, prefix.len()).map(u64::from_be_bytes);
            let number = number.map_err(|e| self.store.damaged(e))?;
            let value = match of.queue {
                None => Some(value),
                Some(_) => generation.get(&generation.state, &journal_key(number))?,
            };
            // An index entry whose line is not there (yet): its commit is under way.
            let Some(value) = value else { continue };
            let entry = self.journal_entry(number, &value)?;
            entries.extend(entry.filter(|entry| of.matches(entry)));
        }
        Ok(entries)
    }

    /// Oldest first, from number `from` on.
    pub(super) fn journal_page_from(
        &self,
        from: u64,
        max: usize,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        let generation = self.store.active()?.generation;
        let mut keys = generation.state.range(journal_key(from)..=journal_key(u64::MAX));
        let mut entries = Vec::new();
        while entries.len() < max
            && let Some((key, value)) = generation.read(|| keys.next().transpose())?
        {
            let number = be(&key, 1).map(u64::from_be_bytes).map_err(|e| self.store.damaged(e))?;
            entries.extend(self.journal_entry(number, &value)?);
        }
        Ok(entries)
    }

    /// `None` if it is damaged.
    fn journal_entry(
        &self,
        number: u64,
        value: &[u8],
    ) -> Result<Option<JournalEntry>, MailboxError> {
        match decode(&journal_key(number), value).map_err(|e| self.store.damaged(e)) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) => self.leave_out("a journal entry", error),
        }
    }

    /// Nothing of it must be durable: what a crash leaves is found again by its number, since the line goes after
    /// what the index has of it.
    pub(super) fn remove_entries(&self, numbers: &[u64]) -> Result<bool, MailboxError> {
        self.store.check_sound("removing")?;
        if !self.store.can_spare(REMOVAL_BYTES) {
            return Ok(false);
        }
        let _no_backup = self.compactor();
        for &number in numbers {
            for key in self.keys_of_entry(number)? {
                self.store.remove_state(&key)?;
            }
        }
        free_replaced();
        Ok(true)
    }

    /// In the order in which they are removed; none if it isn't there.
    pub(super) fn keys_of_entry(&self, number: u64) -> Result<Vec<Vec<u8>>, MailboxError> {
        let line = journal_key(number);
        let Some(value) = self.store.get_state(&line)? else { return Ok(Vec::new()) };
        let entry = self.journal_entry(number, &value)?;
        let indexed = entry.map(|entry| journal_index_key(&entry.queue, number));
        Ok(indexed.into_iter().chain([line]).collect())
    }
}
