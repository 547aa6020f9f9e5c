//! Reads the TOML file: first its keys, so that a wrong one is told with its place and the nearest right
//! one, then its values.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::{
    alerts, auth, console, doors, gathers, log, proxies, redis, sagas, store, topics, traces,
    workers, wrong_value,
};
use crate::model::{QueueSettings, SCHEMA, in_plain_words};

/// What a file may set; all of it optional.
#[derive(Debug, Default, Deserialize)]
pub(super) struct File {
    pub(super) data_dir: Option<toml::Spanned<String>>,
    #[serde(default)]
    pub(super) listen: Listen,
    #[serde(default)]
    pub(super) auth: auth::Table,
    #[serde(default)]
    pub(super) log: log::Table,
    #[serde(default)]
    pub(super) console: console::Table,
    #[serde(default)]
    pub(super) store: store::Table,
    #[serde(default)]
    pub(super) redis: redis::Table,
    #[serde(default)]
    pub(super) alerts: alerts::Table,
    #[serde(default)]
    pub(super) traces: traces::Table,
    #[serde(default)]
    pub(super) proxy: Vec<proxies::Table>,
    #[serde(default)]
    pub(super) topics: topics::Tables,
    #[serde(default)]
    pub(super) sagas: sagas::Tables,
    #[serde(default)]
    pub(super) gathers: gathers::Tables,
    #[serde(default)]
    pub(super) workers: workers::Tables,
    pub(super) queues: Option<BTreeMap<toml::Spanned<String>, toml::Spanned<QueueSettings>>>,
    /// By the name of a queue's table, `max_queues` and where it stands.
    #[serde(skip)]
    pub(super) max_queues: BTreeMap<String, (u64, Place)>,
    /// The same of `schema`: a file.
    #[serde(skip)]
    pub(super) schemas: BTreeMap<String, (String, Place)>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Listen {
    pub(super) clients: Option<toml::Spanned<String>>,
    pub(super) workers: Option<toml::Spanned<String>>,
    pub(super) admin: Option<toml::Spanned<String>>,
    pub(super) admin_cert_file: Option<toml::Spanned<String>>,
    pub(super) admin_key_file: Option<toml::Spanned<String>>,
    pub(super) curve_key_file: Option<toml::Spanned<String>>,
    pub(super) push: Option<toml::Spanned<String>>,
    pub(super) live: Option<toml::Spanned<String>>,
    pub(super) feed: Option<toml::Spanned<String>>,
    pub(super) metrics: Option<toml::Spanned<String>>,
    pub(super) connections: Option<toml::Spanned<i64>>,
    pub(super) connections_per_address: Option<toml::Spanned<i64>>,
    #[serde(default)]
    pub(super) pull: doors::Pulls,
}

/// Keys of one table: those of this version, and those of design.md 7 that come later.
struct Keys {
    known: &'static [&'static str],
    later: &'static [&'static str],
}

const ROOT: Keys = Keys {
    known: &[
        "data_dir", "listen", "log", "console", "auth", "store", "redis", "queues", "topics",
        "gathers", "sagas", "proxy", "workers", "alerts", "traces",
    ],
    later: &[],
};
const LISTEN: Keys = Keys {
    known: &[
        "clients",
        "workers",
        "admin",
        "admin_cert_file",
        "admin_key_file",
        "curve_key_file",
        "push",
        "live",
        "feed",
        "metrics",
        "pull",
        "connections",
        "connections_per_address",
    ],
    later: &[],
};
const AUTH: Keys = Keys { known: auth::KEYS, later: &[] };
const AUTH_TOKEN: Keys = Keys { known: auth::TOKEN_KEYS, later: &[] };
const PROXY: Keys = Keys { known: proxies::KEYS, later: &[] };
const CONSOLE: Keys = Keys { known: console::KEYS, later: &[] };
const LOG: Keys = Keys { known: log::KEYS, later: &[] };
const STORE: Keys = Keys { known: store::KEYS, later: &[] };
const ALERTS: Keys = Keys { known: alerts::KEYS, later: &[] };
const TRACES: Keys = Keys { known: traces::KEYS, later: &[] };
const REDIS: Keys = Keys { known: redis::KEYS, later: &[] };
const QUEUE: Keys = Keys {
    known: &[
        "mailbox",
        "memory_messages",
        "spill",
        "ordering",
        "priority",
        "on_failure",
        "retry",
        "lease_ms",
        "ack",
        "consumers",
        "ttl_ms",
        "max_messages",
        "max_bytes",
        "overflow",
        "dedup",
        "resend",
        "dead_letter",
        "delete_on_idle_ms",
        SCHEMA,
        MAX_QUEUES,
    ],
    later: &[],
};
const TOPIC: Keys = Keys { known: topics::KEYS, later: &[] };
const GATHER: Keys = Keys { known: gathers::KEYS, later: &[] };
const SUBSCRIPTION: Keys = Keys { known: topics::SUBSCRIPTION_KEYS, later: &[] };
const SAGA: Keys = Keys { known: sagas::KEYS, later: &[] };
const STEP: Keys = Keys { known: sagas::STEP_KEYS, later: &[] };
const WORKER: Keys = Keys { known: workers::KEYS, later: &[] };
const RESTART: Keys = Keys { known: workers::RESTART_KEYS, later: &[] };
const RETRY: Keys =
    Keys { known: &["attempts", "backoff", "initial_ms", "max_ms", "jitter"], later: &[] };
const RESEND: Keys = Keys { known: &["keep_ms"], later: &[] };
const DEDUP: Keys = Keys { known: &["by", "last", "window_ms"], later: &[] };

/// Of a template: how many queues it makes.
const MAX_QUEUES: &str = "max_queues";

/// Values of design.md 7 that come later.
const LATER_VALUES: [(&str, &[&str]); 1] = [("mailbox", &["replicated"])];

/// How alike two keys must be for one to be meant by the other (1: the same).
const ALIKE: f64 = 0.7;

/// A file's text, to say where in it something is.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
        let line = before.matches('\n').count() + 1;
        Place::File { path: self.path.to_owned(), line, column }
    }

    /// Checks keys, then values.
    pub(super) fn read(&self) -> Result<File, ConfigError> {
        let mut table = DeTable::parse(self.text).map_err(|error| self.value(&error))?;
        self.check_root(table.get_ref())?;
        let max_queues = self.take_from_queues(table.get_mut(), MAX_QUEUES)?;
        let schemas = self.take_from_queues(table.get_mut(), SCHEMA)?;
        let file = File::deserialize(toml::Deserializer::from(table));
        Ok(File { max_queues, schemas, ..file.map_err(|error| self.value(&error))? })
    }

    /// What stands among a queue's settings and is none of them, or is something else there.
    fn take_from_queues<T: for<'de> Deserialize<'de>>(
        &self,
        root: &mut DeTable<'_>,
        key: &str,
    ) -> Result<BTreeMap<String, (T, Place)>, ConfigError> {
        let mut found = BTreeMap::new();
        let queues = root.get_mut("queues").map(toml::Spanned::get_mut);
        let Some(DeValue::Table(queues)) = queues else { return Ok(found) };
        for (name, queue) in queues.iter_mut() {
            let DeValue::Table(queue) = queue.get_mut() else { continue };
            let Some(value) = queue.remove(key) else { continue };
            let place = self.place(value.span());
            let value = T::deserialize(value.into_deserializer());
            let value = value.map_err(|error| self.value(&error))?;
            found.insert(name.get_ref().to_string(), (value, place));
        }
        Ok(found)
    }

    fn value(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().trim().replace('\n', "; ");
        let message = in_plain_words(&message, "a table");
        let reason = match wrong_value::key_at(self.text, &span) {
            // What stands there may be a password.
            Some(key) if may_be_secret(&key) => {
                format!(
                    "{key} has a value of the wrong type; config.example.toml shows the right one"
                )
            }
            Some(key) => format!("{key}: {message}"),
            None => message,
        };
        ConfigError::Value { place: self.place(span), reason }
    }

    fn check_root(&self, root: &DeTable<'_>) -> Result<(), ConfigError> {
        self.check_keys(root, "", &ROOT)?;
        if let Some(listen) = table(root, "listen") {
            self.check_keys(listen, "listen.", &LISTEN)?;
        }
        if let Some(auth) = table(root, "auth") {
            self.check_keys(auth, "auth.", &AUTH)?;
            self.check_rows(auth, "tokens", "auth.tokens.", &AUTH_TOKEN)?;
        }
        if let Some(log) = table(root, "log") {
            self.check_keys(log, "log.", &LOG)?;
        }
        if let Some(console) = table(root, "console") {
            self.check_keys(console, "console.", &CONSOLE)?;
        }
        if let Some(store) = table(root, "store") {
            self.check_keys(store, "store.", &STORE)?;
        }
        if let Some(redis) = table(root, "redis") {
            self.check_keys(redis, "redis.", &REDIS)?;
        }
        if let Some(alerts) = table(root, "alerts") {
            self.check_keys(alerts, "alerts.", &ALERTS)?;
        }
        if let Some(traces) = table(root, "traces") {
            self.check_keys(traces, "traces.", &TRACES)?;
        }
        for (name, queue) in table(root, "queues").into_iter().flatten() {
            let Some(queue) = queue.get_ref().as_table() else { continue };
            let path = format!("queues.{:?}.", name.get_ref());
            self.check_keys(queue, &path, &QUEUE)?;
            if let Some(retry) = table(queue, "retry") {
                self.check_keys(retry, &format!("{path}retry."), &RETRY)?;
            }
            if let Some(resend) = table(queue, "resend") {
                self.check_keys(resend, &format!("{path}resend."), &RESEND)?;
            }
            if let Some(dedup) = table(queue, "dedup") {
                self.check_keys(dedup, &format!("{path}dedup."), &DEDUP)?;
            }
            self.check_values(queue, &path)?;
        }
        for (name, worker) in table(root, "workers").into_iter().flatten() {
            let Some(worker) = worker.get_ref().as_table() else { continue };
            let path = format!("workers.{:?}.", name.get_ref());
            self.check_keys(worker, &path, &WORKER)?;
            if let Some(restart) = table(worker, "restart") {
                self.check_keys(restart, &format!("{path}restart."), &RESTART)?;
            }
        }
        self.check_rows(root, "proxy", "proxy.", &PROXY)?;
        self.check_lists(root, "topics", &TOPIC, ("subscriptions", &SUBSCRIPTION))?;
        self.check_lists(root, "gathers", &GATHER, ("recipients", &SUBSCRIPTION))?;
        self.check_lists(root, "sagas", &SAGA, ("steps", &STEP))
    }

    /// Tables by name, each with a list of tables.
    fn check_lists(
        &self,
        root: &DeTable<'_>,
        of: &str,
        keys: &Keys,
        (list, row_keys): (&str, &Keys),
    ) -> Result<(), ConfigError> {
        for (name, named) in table(root, of).into_iter().flatten() {
            let Some(named) = named.get_ref().as_table() else { continue };
            let path = format!("{of}.{:?}.", name.get_ref());
            self.check_keys(named, &path, keys)?;
            self.check_rows(named, list, &format!("{path}{list}."), row_keys)?;
        }
        Ok(())
    }

    /// A list of tables.
    fn check_rows(
        &self,
        of: &DeTable<'_>,
        list: &str,
        path: &str,
        keys: &Keys,
    ) -> Result<(), ConfigError> {
        let rows = of.get(list).and_then(|rows| rows.get_ref().as_array());
        for row in rows.into_iter().flat_map(|rows| rows.iter()) {
            if let Some(row) = row.get_ref().as_table() {
                self.check_keys(row, path, keys)?;
            }
        }
        Ok(())
    }

    fn check_keys(&self, table: &DeTable<'_>, path: &str, keys: &Keys) -> Result<(), ConfigError> {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if keys.known.contains(&name) {
                continue;
            }
            let place = self.place(key.span());
            let full = format!("{path}{name}");
            if keys.later.contains(&name) {
                return Err(ConfigError::Later { place, what: format!("`{full}`") });
            }
            let nearest = nearest(name, keys.known).map(|known| format!("{path}{known}"));
            return Err(ConfigError::UnknownKey { place, key: full, nearest });
        }
        Ok(())
    }

    fn check_values(&self, queue: &DeTable<'_>, path: &str) -> Result<(), ConfigError> {
        for (key, later) in LATER_VALUES {
            let Some(value) = queue.get(key) else { continue };
            let Some(word) = value.get_ref().as_str() else { continue };
            if later.contains(&word) {
                let what = format!("`{path}{key} = {word:?}`");
                return Err(ConfigError::Later { place: self.place(value.span()), what });
            }
        }
        Ok(())
    }
}

fn may_be_secret(key: &str) -> bool {
    ["auth", "redis", "alerts", "traces"].contains(&key.split('.').next().unwrap_or_default())
}

fn table<'a, 'i>(parent: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    parent.get(key).map(toml::Spanned::get_ref).and_then(DeValue::as_table)
}

fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let alike = |known: &'static str| (strsim::jaro_winkler(name, known), known);
    let best = known.iter().copied().map(alike).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}
