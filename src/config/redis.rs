//! `[redis]`: where streams of `redis` queues are.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::error::{ConfigError, Place};
use super::file::Source;
use super::{Sources, bad, expand, from_file};

pub(super) const URL: &str = "MUBROKER_REDIS__URL";
/// The longest answer that may be waited for, in milliseconds: every queue waits so long when Redis stops
/// answering.
const MAX_TIMEOUT_MS: u64 = 5_000;
/// The shortest: a busy Redis may take as long for a few megabytes.
const MIN_TIMEOUT_MS: u64 = 10;
/// A prefix in bytes: it stands before each queue's name.
const MAX_PREFIX_BYTES: usize = 128;

/// `[redis]`, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Redis {
    /// `redis://`, `rediss://` or `unix://`; empty: there is none.
    pub url: String,
    /// A file with the password.
    pub password_file: Option<PathBuf>,
    /// What streams' keys begin with.
    pub prefix: String,
    /// The certificate of the authority that signed the server's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// How long an answer is waited for, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: String::new(),
            password_file: None,
            prefix: "mubroker:".to_owned(),
            ca_file: None,
            timeout_ms: 500,
        }
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, password_file, prefix, ca_file, timeout_ms } = self;
        f.debug_struct("Redis")
            .field("is_configured", &!url.is_empty())
            .field("password_file", password_file)
            .field("prefix", prefix)
            .field("ca_file", ca_file)
            .field("timeout_ms", timeout_ms)
            .finish()
    }
}

/// `[redis]` as a file may set it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Table {
    url: Option<toml::Spanned<String>>,
    password_file: Option<toml::Spanned<String>>,
    prefix: Option<toml::Spanned<String>>,
    ca_file: Option<toml::Spanned<String>>,
    timeout_ms: Option<toml::Spanned<u64>>,
}

pub(super) const KEYS: &[&str] = &["url", "password_file", "prefix", "ca_file", "timeout_ms"];

impl Table {
    pub(super) fn check(
        self,
        source: &Source<'_>,
        sources: &Sources,
    ) -> Result<Redis, ConfigError> {
        let mut redis = Redis::default();
        if let Some((url, place)) =
            sources.override_of(&None, "", URL).or_else(|| from_file(source, &self.url))
        {
            check_url(&url, &place)?;
            redis.url = url;
        }
        if let Some((prefix, place)) = from_file(source, &self.prefix) {
            if prefix.len() > MAX_PREFIX_BYTES {
                let reason = format!("redis.prefix is longer than {MAX_PREFIX_BYTES} bytes");
                return Err(bad(&place, reason));
            }
            redis.prefix = prefix;
        }
        if let Some(timeout) = self.timeout_ms {
            let place = source.place(timeout.span());
            redis.timeout_ms = timeout.into_inner();
            if !(MIN_TIMEOUT_MS..=MAX_TIMEOUT_MS).contains(&redis.timeout_ms) {
                let reason = format!(
                    "redis.timeout_ms is {}; it must be from {MIN_TIMEOUT_MS} to {MAX_TIMEOUT_MS}",
                    redis.timeout_ms
                );
                return Err(bad(&place, reason));
            }
        }
        redis.password_file = path(source, &self.password_file)?;
        redis.ca_file = path(source, &self.ca_file)?;
        Ok(redis)
    }
}

/// An empty path is none.
fn path(
    source: &Source<'_>,
    value: &Option<toml::Spanned<String>>,
) -> Result<Option<PathBuf>, ConfigError> {
    let set = from_file(source, value).filter(|(text, _)| !text.is_empty());
    set.map(|(text, place)| expand(&text, &place)).transpose()
}

/// The text is not shown: it may hold a password.
fn check_url(url: &str, place: &Place) -> Result<(), ConfigError> {
    let known = ["redis://", "rediss://", "unix://"].iter().any(|form| url.starts_with(form));
    if known || url.is_empty() {
        return Ok(());
    }
    let forms = "redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix:///PATH";
    Err(bad(place, format!("redis.url is not an address; give {forms}")))
}
