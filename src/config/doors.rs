//! `[listen]`: the doors beside clients', workers' and the admin API's. Each is off unless it has an address.

use std::collections::BTreeMap;

use super::addresses::Taken;
use super::error::{ConfigError, Place};
use super::file::{Listen, Source};
use super::{Sources, checked_bind, from_file};
use crate::model::QueueName;

/// Where the other doors are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doors {
    /// PULL, for PUSH clients.
    pub push: Option<String>,
    /// XPUB, for SUB clients.
    pub live: Option<String>,
    /// XSUB, for PUB sockets.
    pub feed: Option<String>,
    /// PUSH, for PULL sinks: each with the queue that it drains.
    pub pulls: Vec<(QueueName, String)>,
}

/// `listen.pull` as a file may set it: addresses by queue.
pub(super) type Pulls = BTreeMap<toml::Spanned<String>, toml::Spanned<String>>;

pub(super) fn check(
    listen: Listen,
    source: &Source<'_>,
    sources: &Sources,
    taken: &mut Taken,
) -> Result<Doors, ConfigError> {
    let mut door = |key: &str, in_file: &Option<toml::Spanned<String>>| {
        let variable = format!("MUBROKER_LISTEN__{}", key.to_uppercase());
        let set = sources.env.iter().find(|(name, _)| *name == variable);
        let set = set.map(|(_, value)| (value.clone(), Place::Env(variable)));
        match set.or_else(|| from_file(source, in_file)) {
            Some(setting) if !setting.0.is_empty() => {
                let key = format!("listen.{key}");
                let address = checked_bind(&setting, &key)?;
                taken.take(&key, &address, &setting.1)?;
                Ok(Some(address))
            }
            Some(_) | None => Ok(None),
        }
    };
    let (push, live, feed) =
        (door("push", &listen.push)?, door("live", &listen.live)?, door("feed", &listen.feed)?);
    let mut pulls = Vec::new();
    for (queue, address) in listen.pull {
        let place = source.place(queue.span());
        let name = QueueName::new(queue.get_ref())
            .map_err(|error| super::bad(&place, error.to_string()))?;
        let setting = (address.get_ref().clone(), source.place(address.span()));
        let key = format!("listen.pull.{name:?}");
        let address = checked_bind(&setting, &key)?;
        taken.take(&key, &address, &setting.1)?;
        pulls.push((name, address));
    }
    Ok(Doors { push, live, feed, pulls })
}
