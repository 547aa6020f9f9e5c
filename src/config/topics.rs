//! `[topics."name"]`

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::error::{ConfigError, Place};
use super::file::Source;
use super::{Queues, bad, known_queue};
use crate::model::limits::MAX_TOPIC_SUBSCRIPTIONS;
use crate::model::{
    ConfiguredTopic, Filter, Match, OnError, QueueName, Subscription, TopicName, TopicSettings,
    Unroutable,
};

/// Keys of a topic and of a subscription.
pub(super) const KEYS: &[&str] = &["subscriptions", "match", "otherwise", "unroutable"];
pub(super) const SUBSCRIPTION_KEYS: &[&str] = &["queue", "filter", "on_error"];

pub(super) type Tables = BTreeMap<toml::Spanned<String>, Table>;

/// A topic as it stands in the file.
#[derive(Debug, Deserialize)]
pub(super) struct Table {
    #[serde(default)]
    subscriptions: Vec<Row>,
    #[serde(default, rename = "match")]
    matching: Match,
    #[serde(default)]
    otherwise: Option<toml::Spanned<String>>,
    #[serde(default)]
    unroutable: Unroutable,
}

/// A queue and which messages it takes: a topic's subscription, a gather's recipient.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) queue: toml::Spanned<String>,
    #[serde(default)]
    pub(super) filter: Option<toml::Spanned<String>>,
    #[serde(default)]
    pub(super) on_error: Option<OnError>,
}

impl Row {
    pub(super) fn filter(
        &self,
        source: &Source<'_>,
        wrong: impl Fn(&Place, &str) -> ConfigError,
    ) -> Result<Option<Filter>, ConfigError> {
        let compiled = |text: &toml::Spanned<String>| {
            Filter::new(text.get_ref())
                .map_err(|error| wrong(&source.place(text.span()), &error.to_string()))
        };
        self.filter.as_ref().map(compiled).transpose()
    }
}

/// Checks all topics; `queues` are those of the same file.
pub(super) fn check(
    tables: Tables,
    source: &Source<'_>,
    queues: &Queues,
) -> Result<Vec<ConfiguredTopic>, ConfigError> {
    let each = tables.into_iter().map(|(name, table)| {
        let place = source.place(name.span());
        let name =
            TopicName::new(name.get_ref()).map_err(|error| bad(&place, error.to_string()))?;
        Checker { name, source, queues }.topic(table, &place)
    });
    each.collect()
}

struct Checker<'a> {
    name: TopicName,
    source: &'a Source<'a>,
    queues: &'a Queues,
}

impl Checker<'_> {
    fn topic(self, table: Table, place: &Place) -> Result<ConfiguredTopic, ConfigError> {
        let Table { subscriptions: rows, matching, otherwise, unroutable } = table;
        if rows.len() > MAX_TOPIC_SUBSCRIPTIONS {
            let reason = format!(
                "{} subscriptions; a topic has at most {MAX_TOPIC_SUBSCRIPTIONS}; make two topics of it",
                rows.len()
            );
            return Err(self.wrong(place, &reason));
        }
        let otherwise = otherwise.filter(|queue| !queue.get_ref().is_empty());
        let otherwise = otherwise.map(|queue| self.queue("otherwise", &queue)).transpose()?;
        let mut known = BTreeSet::new();
        let mut subscriptions = Vec::with_capacity(rows.len());
        for row in rows {
            let subscription = self.subscription(&row)?;
            if !known.insert(subscription.queue.clone()) {
                let place = self.source.place(row.queue.span());
                let reason =
                    format!("{} is subscribed twice; join the filters with ||", subscription.queue);
                return Err(self.wrong(&place, &reason));
            }
            subscriptions.push(subscription);
        }
        let settings = TopicSettings { matching, otherwise, unroutable };
        Ok(ConfiguredTopic { name: self.name, settings, subscriptions })
    }

    fn subscription(&self, row: &Row) -> Result<Subscription, ConfigError> {
        let queue = self.queue("queue", &row.queue)?;
        let filter = row.filter(self.source, |place, reason| self.wrong(place, reason))?;
        Ok(Subscription { queue, filter, on_error: row.on_error.unwrap_or_default() })
    }

    fn queue(&self, key: &str, text: &toml::Spanned<String>) -> Result<QueueName, ConfigError> {
        let place = self.source.place(text.span());
        known_queue(self.queues, text.get_ref())
            .map_err(|reason| self.wrong(&place, &format!("{key}: {reason}")))
    }

    fn wrong(&self, place: &Place, reason: &str) -> ConfigError {
        bad(place, format!("topics.\"{}\": {reason}", self.name))
    }
}
