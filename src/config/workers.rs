//! `[workers."name"]`

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::error::{ConfigError, Place};
use super::file::Source;
use super::{Queues, bad, known_queue};
use crate::https;
use crate::model::limits::{MAX_CREDIT, MAX_EXECUTION_MS, MAX_POOL_COUNT, MAX_WORKER_QUEUES};
use crate::model::{RestartPolicy, WorkedBy, WorkerPool};

/// The broker sets variables of this prefix: by one of them a worker's processes are found when it has ended.
const OWN_VARIABLES: &str = "MUBROKER_";

pub(super) const KEYS: &[&str] = &[
    "queue",
    "queues",
    "exec",
    "stdio",
    "framing",
    "http",
    "command",
    "count",
    "credit",
    "max_execution_ms",
    "overrun_grace_ms",
    "stop_grace_ms",
    "env",
    "cwd",
    "health",
    "restart",
];
pub(super) const RESTART_KEYS: &[&str] =
    &["backoff_initial_ms", "backoff_max_ms", "max_restarts", "within_ms"];

/// A name goes into lists, logs and a variable.
const MAX_NAME_BYTES: usize = 64;

pub(super) type Tables = BTreeMap<toml::Spanned<String>, Table>;

/// A pool as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Table {
    queue: Option<toml::Spanned<String>>,
    queues: Vec<toml::Spanned<String>>,
    exec: Vec<String>,
    stdio: Vec<String>,
    framing: Option<toml::Spanned<String>>,
    http: Option<String>,
    command: Vec<String>,
    count: u32,
    credit: u32,
    max_execution_ms: u64,
    overrun_grace_ms: u64,
    stop_grace_ms: u64,
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    health: bool,
    restart: RestartPolicy,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            queue: None,
            queues: Vec::new(),
            exec: Vec::new(),
            stdio: Vec::new(),
            framing: None,
            http: None,
            command: Vec::new(),
            count: 1,
            credit: 1,
            max_execution_ms: 60_000,
            overrun_grace_ms: 2_000,
            stop_grace_ms: 10_000,
            env: BTreeMap::new(),
            cwd: None,
            health: true,
            restart: RestartPolicy::default(),
        }
    }
}

/// Checks all pools; `queues` are those of the same file.
pub(super) fn check(
    tables: Tables,
    source: &Source<'_>,
    queues: &Queues,
) -> Result<Vec<WorkerPool>, ConfigError> {
    let each = tables.into_iter().map(|(name, table)| {
        let place = source.place(name.span());
        pool(name.into_inner(), table, &place, source, queues)
    });
    each.collect()
}

fn pool(
    name: String,
    table: Table,
    place: &Place,
    source: &Source<'_>,
    known: &Queues,
) -> Result<WorkerPool, ConfigError> {
    let wrong = |reason: String| bad(place, format!("workers.{name:?}: {reason}"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_plain) {
        let rule = "a name has 1 to 64 letters, digits, `-`, `_` and `.`";
        return Err(wrong(rule.to_owned()));
    }
    let mut queues = Vec::new();
    for queue in table.queue.iter().chain(&table.queues) {
        let found = known_queue(known, queue.get_ref());
        queues.push(found.map_err(|reason| bad(&source.place(queue.span()), reason))?);
    }
    if queues.is_empty() || queues.len() > MAX_WORKER_QUEUES {
        return Err(wrong(format!("`queue` (or `queues`, up to {MAX_WORKER_QUEUES}) is needed")));
    }
    let by = by(&table, source).map_err(&wrong)?;
    for (key, value, most) in [
        ("count", table.count, MAX_POOL_COUNT),
        ("credit", table.credit.saturating_sub(1), MAX_CREDIT - 1),
    ] {
        if value > most {
            return Err(wrong(format!("{key} is too large")));
        }
    }
    if table.credit == 0 || table.max_execution_ms == 0 {
        return Err(wrong("credit and max_execution_ms are at least 1".to_owned()));
    }
    for (key, value) in
        [("max_execution_ms", table.max_execution_ms), ("overrun_grace_ms", table.overrun_grace_ms)]
    {
        if value > MAX_EXECUTION_MS {
            return Err(wrong(format!("{key} is at most {MAX_EXECUTION_MS}, a day")));
        }
    }
    let bad_name = |key: &&String| key.is_empty() || key.contains(['=', '\0']);
    if let Some(key) = table.env.keys().find(bad_name) {
        return Err(wrong(format!("env: {key:?} can't name a variable")));
    }
    if let Some(key) = table.env.keys().find(|key| key.starts_with(OWN_VARIABLES)) {
        return Err(wrong(format!("env: {key} is the broker's to set")));
    }
    let Table { count, credit, max_execution_ms, overrun_grace_ms, stop_grace_ms, .. } = table;
    Ok(WorkerPool {
        queues,
        by,
        count,
        credit,
        max_execution_ms,
        overrun_grace_ms,
        stop_grace_ms,
        env: table.env,
        cwd: table.cwd,
        health: table.health,
        restart: table.restart,
        name,
    })
}

/// Exactly one of the four ways.
fn by(table: &Table, source: &Source<'_>) -> Result<WorkedBy, String> {
    let framing = table.framing.as_ref().map(|framing| framing.get_ref().as_str());
    let by_length = match framing {
        None | Some("lines") => false,
        Some("length") => true,
        Some(_) => {
            let place = table.framing.as_ref().map(|framing| source.place(framing.span()));
            let place = place.map_or_else(String::new, |place| format!("{place}: "));
            return Err(format!("{place}framing is \"lines\" or \"length\""));
        }
    };
    if let Some(url) = &table.http {
        https::uri(url).map_err(|error| format!("http: {error}"))?;
    }
    let command = |words: &Vec<String>| Some(words.clone()).filter(|words| !words.is_empty());
    let ways = [
        command(&table.exec).map(WorkedBy::Exec),
        command(&table.stdio).map(|words| WorkedBy::Stdio(words, by_length)),
        table.http.clone().map(WorkedBy::Http),
        command(&table.command).map(WorkedBy::Command),
    ];
    let mut ways = ways.into_iter().flatten();
    match (ways.next(), ways.next()) {
        (Some(way), None) => Ok(way),
        (None, _) => Err("one of exec, stdio, http and command is needed".to_owned()),
        (Some(_), Some(_)) => Err("exec, stdio, http and command exclude each other".to_owned()),
    }
}
