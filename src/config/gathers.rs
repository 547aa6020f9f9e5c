//! `[gathers."name"]`

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::error::{ConfigError, Place};
use super::file::Source;
use super::topics::Row;
use super::{Queues, bad, known_queue};
use crate::model::limits::{DEFAULT_GATHER_TIMEOUT_MS, MAX_CALL_TIMEOUT_MS, MAX_GATHER_RECIPIENTS};
use crate::model::{
    Aggregate, Completion, ConfiguredGather, GatherName, GatherSettings, OnError, Recipients,
    Subscription, TopicName,
};

/// Keys of a gather.
pub(super) const KEYS: &[&str] = &["recipients", "topic", "complete", "timeout_ms", "aggregate"];

pub(super) type Tables = BTreeMap<toml::Spanned<String>, Table>;

/// A gather as it stands in the file.
#[derive(Debug, Deserialize)]
pub(super) struct Table {
    #[serde(default)]
    recipients: Vec<Row>,
    #[serde(default)]
    topic: Option<toml::Spanned<String>>,
    #[serde(default)]
    complete: Option<toml::Spanned<toml::Value>>,
    #[serde(default)]
    timeout_ms: Option<toml::Spanned<u64>>,
    #[serde(default)]
    aggregate: Aggregate,
}

/// Checks all gathers; `queues` are those of the same file.
pub(super) fn check(
    tables: Tables,
    source: &Source<'_>,
    queues: &Queues,
) -> Result<Vec<ConfiguredGather>, ConfigError> {
    let each = tables.into_iter().map(|(name, table)| {
        let place = source.place(name.span());
        let name =
            GatherName::new(name.get_ref()).map_err(|error| bad(&place, error.to_string()))?;
        Checker { name, source, queues }.gather(table, &place)
    });
    each.collect()
}

struct Checker<'a> {
    name: GatherName,
    source: &'a Source<'a>,
    queues: &'a Queues,
}

impl Checker<'_> {
    fn gather(self, table: Table, place: &Place) -> Result<ConfiguredGather, ConfigError> {
        let Table { recipients: rows, topic, complete, timeout_ms, aggregate } = table;
        let recipients = match (&topic, rows.is_empty()) {
            (Some(topic), true) => {
                let at = self.source.place(topic.span());
                let topic = TopicName::new(topic.get_ref());
                Recipients::Topic(topic.map_err(|error| self.wrong(&at, &error.to_string()))?)
            }
            (None, false) => Recipients::Fixed(self.recipients(&rows, place)?),
            (Some(_), false) => {
                return Err(
                    self.wrong(place, "it has `recipients` and a `topic`; give one of them")
                );
            }
            (None, true) => {
                return Err(
                    self.wrong(place, "nobody is asked: `recipients`, or a `topic`, is missing")
                );
            }
        };
        let complete = match &complete {
            None => Completion::All,
            Some(complete) => self.complete(complete, rows.len())?,
        };
        let timeout_ms = match timeout_ms {
            None => DEFAULT_GATHER_TIMEOUT_MS,
            Some(ms) if (1..=MAX_CALL_TIMEOUT_MS).contains(ms.get_ref()) => ms.into_inner(),
            Some(ms) => {
                let reason = format!("timeout_ms: from 1 to {MAX_CALL_TIMEOUT_MS}");
                return Err(self.wrong(&self.source.place(ms.span()), &reason));
            }
        };
        let settings = GatherSettings { recipients, complete, timeout_ms, aggregate };
        Ok(ConfiguredGather { name: self.name, settings })
    }

    fn recipients(&self, rows: &[Row], place: &Place) -> Result<Vec<Subscription>, ConfigError> {
        if rows.len() > MAX_GATHER_RECIPIENTS {
            let reason =
                format!("{} recipients; at most {MAX_GATHER_RECIPIENTS} are allowed", rows.len());
            return Err(self.wrong(place, &reason));
        }
        let mut known = BTreeSet::new();
        let mut recipients = Vec::with_capacity(rows.len());
        for row in rows {
            let wrong = |place: &Place, reason: &str| self.wrong(place, reason);
            let at = self.source.place(row.queue.span());
            let queue = known_queue(self.queues, row.queue.get_ref())
                .map_err(|reason| wrong(&at, &format!("queue: {reason}")))?;
            if !known.insert(queue.clone()) {
                return Err(wrong(&at, &format!("{queue} is asked twice")));
            }
            if row.on_error == Some(OnError::DeadLetter) {
                let reason = "on_error = \"dead-letter\" is a topic's; here it is \"reject\", \
                              \"deliver\" or \"skip\"";
                return Err(wrong(&at, reason));
            }
            let filter = row.filter(self.source, wrong)?;
            let on_error = row.on_error.unwrap_or(OnError::Reject);
            recipients.push(Subscription { queue, filter, on_error });
        }
        Ok(recipients)
    }

    fn complete(
        &self,
        value: &toml::Spanned<toml::Value>,
        recipients: usize,
    ) -> Result<Completion, ConfigError> {
        let place = self.source.place(value.span());
        let complete = match value.get_ref() {
            toml::Value::Integer(count) => Completion::count((*count).into()),
            toml::Value::String(text) => Completion::text(text),
            toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => Err(crate::model::CompletionError::Kind),
        };
        let complete =
            complete.map_err(|error| self.wrong(&place, &format!("complete: {error}")))?;
        if let Completion::Count(count) = complete
            && recipients > 0
            && count as usize > recipients
        {
            let reason = format!("complete: {count} replies of {recipients} recipients");
            return Err(self.wrong(&place, &reason));
        }
        Ok(complete)
    }

    fn wrong(&self, place: &Place, reason: &str) -> ConfigError {
        bad(place, format!("gathers.\"{}\": {reason}", self.name))
    }
}
