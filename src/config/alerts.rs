//! `[alerts]`

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::error::ConfigError;
use super::file::Source;
use super::{bad, expand};
use crate::https;
use crate::model::EVENT_TYPES;

pub(super) const KEYS: &[&str] = &[
    "datadog",
    "webhook",
    "webhook_secret_file",
    "webhook_events",
    "dedup_ms",
    "oldest_age_ms",
    "dead_letters",
    "disk_low_mb",
];

/// Whom to tell of what.
#[derive(Clone, PartialEq, Eq)]
pub struct Alerts {
    /// DogStatsD: `udp://HOST:PORT` or `unix:///PATH`; empty: none.
    pub datadog: String,
    /// A URL; empty: none.
    pub webhook: String,
    /// A file with the key of the webhook's signatures.
    pub webhook_secret_file: Option<PathBuf>,
    /// Types of events that go to the webhook, too, each as it is in the stream.
    pub webhook_events: Vec<String>,
    /// The same rule speaks of the same thing once in so many milliseconds.
    pub dedup_ms: u64,
    /// Older messages are worth an alert, in milliseconds; 0: none is.
    pub oldest_age_ms: u64,
    /// So many dead letters of one queue within `dedup_ms` are; 0: none are.
    pub dead_letters: u64,
    /// Less than so many MiB free on the data folder's disk is; 0: only that it is full.
    pub disk_low_mb: u64,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            datadog: String::new(),
            webhook: String::new(),
            webhook_secret_file: None,
            webhook_events: Vec::new(),
            dedup_ms: 300_000,
            oldest_age_ms: 0,
            dead_letters: 0,
            disk_low_mb: 1024,
        }
    }
}

/// Without the webhook's address, which is a secret of many services.
impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            datadog,
            webhook,
            webhook_secret_file,
            webhook_events,
            dedup_ms,
            oldest_age_ms,
            dead_letters,
            disk_low_mb,
        } = self;
        f.debug_struct("Alerts")
            .field("datadog", datadog)
            .field("has_webhook", &!webhook.is_empty())
            .field("key_file", webhook_secret_file)
            .field("webhook_events", webhook_events)
            .field("dedup_ms", dedup_ms)
            .field("oldest_age_ms", oldest_age_ms)
            .field("dead_letters", dead_letters)
            .field("disk_low_mb", disk_low_mb)
            .finish()
    }
}

/// `[alerts]` as a file may set it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Table {
    datadog: Option<toml::Spanned<String>>,
    webhook: Option<toml::Spanned<String>>,
    webhook_secret_file: Option<toml::Spanned<String>>,
    webhook_events: Option<Vec<toml::Spanned<String>>>,
    dedup_ms: Option<toml::Spanned<u64>>,
    oldest_age_ms: Option<u64>,
    dead_letters: Option<u64>,
    disk_low_mb: Option<u64>,
}

impl Table {
    pub(super) fn check(self, source: &Source<'_>) -> Result<Alerts, ConfigError> {
        let defaults = Alerts::default();
        let address = |value: Option<toml::Spanned<String>>, check: Check, key: &str| {
            let Some(value) = value else { return Ok(String::new()) };
            match check(value.get_ref()) {
                Err(reason) if !value.get_ref().is_empty() => {
                    Err(bad(&source.place(value.span()), format!("alerts.{key}: {reason}")))
                }
                Ok(()) | Err(_) => Ok(value.into_inner()),
            }
        };
        let datadog = address(self.datadog, datadog, "datadog")?;
        let webhook = address(self.webhook, webhook, "webhook")?;
        let webhook_secret_file = match self.webhook_secret_file {
            Some(file) if !file.get_ref().is_empty() => {
                Some(expand(file.get_ref(), &source.place(file.span()))?)
            }
            Some(_) | None => None,
        };
        let webhook_events = self.webhook_events.unwrap_or_default();
        for name in &webhook_events {
            event_type(name.get_ref(), !webhook.is_empty()).map_err(|reason| {
                bad(&source.place(name.span()), format!("alerts.webhook_events: {reason}"))
            })?;
        }
        if let Some(dedup) = self.dedup_ms.as_ref().filter(|dedup| *dedup.get_ref() == 0) {
            let reason = "alerts.dedup_ms is at least 1: each failing message would be an alert";
            return Err(bad(&source.place(dedup.span()), reason));
        }
        Ok(Alerts {
            datadog,
            webhook,
            webhook_secret_file,
            webhook_events: webhook_events.into_iter().map(toml::Spanned::into_inner).collect(),
            dedup_ms: self.dedup_ms.map_or(defaults.dedup_ms, toml::Spanned::into_inner),
            oldest_age_ms: self.oldest_age_ms.unwrap_or(defaults.oldest_age_ms),
            dead_letters: self.dead_letters.unwrap_or(defaults.dead_letters),
            disk_low_mb: self.disk_low_mb.unwrap_or(defaults.disk_low_mb),
        })
    }
}

type Check = fn(&str) -> Result<(), String>;

fn datadog(address: &str) -> Result<(), String> {
    match ["udp://", "unix:/"].iter().any(|scheme| address.starts_with(scheme)) {
        true => Ok(()),
        false => Err("it begins with udp:// or unix:/".to_owned()),
    }
}

fn event_type(name: &str, has_webhook: bool) -> Result<(), String> {
    if !has_webhook {
        return Err("there is no webhook; give its URL, or leave this out".to_owned());
    }
    if name == "alert" {
        return Err("alerts go to the webhook anyway; leave \"alert\" out".to_owned());
    }
    match EVENT_TYPES.iter().any(|(known, _)| *known == name) {
        true => Ok(()),
        false => {
            Err(format!("there is no event type {name:?}; `mubroker events --list-types` has all"))
        }
    }
}

/// Its path is a secret of many services.
fn webhook(url: &str) -> Result<(), String> {
    https::uri(url).map(drop).map_err(|_| "give http://HOST:PORT/PATH or https://…".to_owned())
}
