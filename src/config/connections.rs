//! `[listen]`: how many connections its doors take.

use super::error::ConfigError;
use super::file::{Listen, Source};
use crate::model::limits::{DEFAULT_CONNECTIONS, MAX_CONNECTIONS};

/// How many connections each door takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// In all.
    pub most: usize,
    /// From one address.
    pub per_address: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self::of(DEFAULT_CONNECTIONS)
    }
}

impl Connections {
    /// Three quarters may be of one address, so that no host locks all others out.
    fn of(most: usize) -> Self {
        Self { most, per_address: most - most / 4 }
    }

    pub(super) fn check(listen: &Listen, source: &Source<'_>) -> Result<Self, ConfigError> {
        let checked = |key: &str, set: &Option<toml::Spanned<i64>>, most: usize| {
            let Some(set) = set else { return Ok(None) };
            let number = usize::try_from(*set.get_ref()).unwrap_or_default();
            if (1..=most).contains(&number) {
                return Ok(Some(number));
            }
            let place = source.place(set.span());
            Err(super::bad(&place, format!("listen.{key} must be a number from 1 to {most}")))
        };
        let most = checked("connections", &listen.connections, MAX_CONNECTIONS)?;
        let all = most.map_or_else(Self::default, Self::of);
        let key = "connections_per_address";
        let per_address = checked(key, &listen.connections_per_address, all.most)?;
        Ok(Self { per_address: per_address.unwrap_or(all.per_address), ..all })
    }
}
