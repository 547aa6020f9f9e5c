//! `[store]`: what the store keeps beside messages.

use serde::Deserialize;

use super::error::ConfigError;
use super::file::Source;
use crate::model::limits::JOURNAL_ENTRIES;

/// `[store]`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store {
    /// The newest entries of the journal that are kept, beside those of messages that wait; 0: all.
    pub journal_entries: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { journal_entries: JOURNAL_ENTRIES }
    }
}

/// `[store]` as a file may set it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Table {
    journal_entries: Option<toml::Spanned<i64>>,
}

pub(super) const KEYS: &[&str] = &["journal_entries"];

impl Table {
    pub(super) fn check(self, source: &Source<'_>) -> Result<Store, ConfigError> {
        let Some(entries) = self.journal_entries else { return Ok(Store::default()) };
        let place = source.place(entries.span());
        let journal_entries = u64::try_from(entries.into_inner()).map_err(|_| {
            super::bad(&place, "store.journal_entries is negative; 0 keeps all entries")
        })?;
        Ok(Store { journal_entries })
    }
}
