//! `[sagas."name"]`

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::error::{ConfigError, Place};
use super::file::Source;
use super::{Queues, bad, known_queue};
use crate::model::limits::{MAX_SAGA_STEPS, MAX_STEP_NAME_BYTES};
use crate::model::{QueueName, SagaDefinition, SagaName, SagaStep};

/// Keys of a saga and of a step.
pub(super) const KEYS: &[&str] = &["version", "steps"];
pub(super) const STEP_KEYS: &[&str] =
    &["name", "queue", "compensate", "timeout_ms", "attempts", "retry_ms"];

pub(super) type Tables = BTreeMap<toml::Spanned<String>, Table>;

/// A saga as it stands in the file.
#[derive(Debug, Deserialize)]
pub(super) struct Table {
    #[serde(default = "one")]
    version: u32,
    #[serde(default)]
    steps: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: toml::Spanned<String>,
    queue: toml::Spanned<String>,
    #[serde(default)]
    compensate: Option<toml::Spanned<String>>,
    #[serde(default = "timeout_ms")]
    timeout_ms: toml::Spanned<u64>,
    #[serde(default = "attempts")]
    attempts: toml::Spanned<u32>,
    #[serde(default = "retry_ms")]
    retry_ms: u64,
}

const fn one() -> u32 {
    1
}

fn timeout_ms() -> toml::Spanned<u64> {
    toml::Spanned::new(0..0, SagaStep::TIMEOUT_MS)
}

fn attempts() -> toml::Spanned<u32> {
    toml::Spanned::new(0..0, 1)
}

const fn retry_ms() -> u64 {
    SagaStep::RETRY_MS
}

/// Checks all sagas; `queues` are those of the same file.
pub(super) fn check(
    tables: Tables,
    source: &Source<'_>,
    queues: &Queues,
) -> Result<Vec<SagaDefinition>, ConfigError> {
    let each = tables.into_iter().map(|(name, table)| {
        let place = source.place(name.span());
        let name = SagaName::new(name.get_ref()).map_err(|error| bad(&place, error.to_string()))?;
        Checker { name, source, queues }.saga(table, &place)
    });
    each.collect()
}

struct Checker<'a> {
    name: SagaName,
    source: &'a Source<'a>,
    queues: &'a Queues,
}

impl Checker<'_> {
    fn saga(self, table: Table, place: &Place) -> Result<SagaDefinition, ConfigError> {
        let Table { version, steps: rows } = table;
        if rows.is_empty() || rows.len() > MAX_SAGA_STEPS {
            let count = rows.len();
            let reason = format!("steps: there are {count}; from 1 to {MAX_SAGA_STEPS} are needed");
            return Err(self.wrong(place, &reason));
        }
        let mut known = BTreeSet::new();
        let mut steps = Vec::with_capacity(rows.len());
        for row in rows {
            let place = self.source.place(row.name.span());
            let step = self.step(row)?;
            if !known.insert(step.name.clone()) {
                let reason = format!("two steps are called {}; results go by name", step.name);
                return Err(self.wrong(&place, &reason));
            }
            steps.push(step);
        }
        Ok(SagaDefinition { name: self.name, version, steps })
    }

    fn step(&self, row: Row) -> Result<SagaStep, ConfigError> {
        let name = row.name.get_ref();
        let is_name = !name.is_empty()
            && name.len() <= MAX_STEP_NAME_BYTES
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !is_name {
            let reason = format!(
                "steps.name: letters, digits, '.', '_' and '-' are needed, at most {MAX_STEP_NAME_BYTES}"
            );
            return Err(self.wrong(&self.source.place(row.name.span()), &reason));
        }
        if *row.timeout_ms.get_ref() == 0 {
            let place = self.source.place(row.timeout_ms.span());
            return Err(
                self.wrong(&place, "steps.timeout_ms: a step needs some time; give at least 1")
            );
        }
        if *row.attempts.get_ref() == 0 {
            let place = self.source.place(row.attempts.span());
            return Err(self.wrong(&place, "steps.attempts: it must be at least 1"));
        }
        let queue = self.queue("steps.queue", &row.queue)?;
        let compensate = row.compensate.filter(|queue| !queue.get_ref().is_empty());
        let compensate =
            compensate.map(|queue| self.queue("steps.compensate", &queue)).transpose()?;
        Ok(SagaStep {
            name: name.clone(),
            queue,
            compensate,
            timeout_ms: row.timeout_ms.into_inner(),
            attempts: row.attempts.into_inner(),
            retry_ms: row.retry_ms,
        })
    }

    fn queue(&self, key: &str, text: &toml::Spanned<String>) -> Result<QueueName, ConfigError> {
        let place = self.source.place(text.span());
        known_queue(self.queues, text.get_ref())
            .map_err(|reason| self.wrong(&place, &format!("{key}: {reason}")))
    }

    fn wrong(&self, place: &Place, reason: &str) -> ConfigError {
        bad(place, format!("sagas.\"{}\": {reason}", self.name))
    }
}
