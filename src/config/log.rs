//! `[log]`: how the log is written, and how much of it is kept.

use serde::Deserialize;

use super::error::ConfigError;
use super::file::Source;

/// A file's size in MiB at most: what an editor still opens.
const MAX_MB: u64 = 4096;
/// Files at most: each time one is full, all of them are renamed.
const MAX_FILES: u32 = 1000;

/// `[log]`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// A JSON object a line, rather than text.
    pub json: bool,
    /// How large a file becomes, in MiB.
    pub max_mb: u64,
    /// How many there are.
    pub files: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { json: false, max_mb: 64, files: 8 }
    }
}

impl Log {
    /// How large a file becomes, in bytes.
    pub const fn max_bytes(&self) -> u64 {
        self.max_mb.saturating_mul(1024 * 1024)
    }
}

/// `[log]` as a file may set it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Table {
    format: Option<toml::Spanned<String>>,
    max_mb: Option<toml::Spanned<i64>>,
    files: Option<toml::Spanned<i64>>,
}

pub(super) const KEYS: &[&str] = &["format", "max_mb", "files"];

impl Table {
    pub(super) fn check(self, source: &Source<'_>) -> Result<Log, ConfigError> {
        let default = Log::default();
        let json = match self.format.as_ref().map(|format| format.get_ref().as_str()) {
            None => default.json,
            Some("text") => false,
            Some("json") => true,
            Some(other) => {
                let place = source.place(self.format.as_ref().map_or(0..0, toml::Spanned::span));
                let reason = format!("log.format {other:?} is unknown; give \"text\" or \"json\"");
                return Err(super::bad(&place, reason));
            }
        };
        let number = |key: &str, set: Option<toml::Spanned<i64>>, most: u64| {
            let Some(set) = set else { return Ok(None) };
            let number = u64::try_from(*set.get_ref()).unwrap_or_default();
            if (1..=most).contains(&number) {
                return Ok(Some(number));
            }
            let place = source.place(set.span());
            Err(super::bad(&place, format!("log.{key} must be a number from 1 to {most}")))
        };
        let max_mb = number("max_mb", self.max_mb, MAX_MB)?.unwrap_or(default.max_mb);
        let files = number("files", self.files, u64::from(MAX_FILES))?;
        let files = files.and_then(|files| u32::try_from(files).ok()).unwrap_or(default.files);
        Ok(Log { json, max_mb, files })
    }
}
