//! `[[proxy]]`: plain devices between two endpoints.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::addresses::Taken;
use super::error::ConfigError;
use super::file::Source;
use super::{bad, checked_bind};
use crate::model::{Proxy, ProxyKind, QueueName};

/// Devices of one broker: each has three sockets, and a bound of its own on what waits in them.
const MAX_PROXIES: usize = 16;

/// One as a file may set it.
#[derive(Debug, Deserialize)]
pub(super) struct Table {
    name: toml::Spanned<String>,
    kind: ProxyKind,
    frontend: toml::Spanned<String>,
    backend: toml::Spanned<String>,
    capture: Option<toml::Spanned<String>>,
}

pub(super) const KEYS: &[&str] = &["name", "kind", "frontend", "backend", "capture"];

pub(super) fn check(
    tables: Vec<Table>,
    source: &Source<'_>,
    taken: &mut Taken,
) -> Result<Vec<Proxy>, ConfigError> {
    let mut names = BTreeSet::new();
    let mut proxies = Vec::new();
    for table in tables {
        let place = source.place(table.name.span());
        let name = table.name.into_inner();
        // Its name is shown as queues' are.
        QueueName::new(&name).map_err(|error| {
            bad(&place, format!("proxy name: {}", error.to_string().trim_start_matches("queue ")))
        })?;
        if !names.insert(name.clone()) {
            return Err(bad(&place, format!("there are two proxies {name:?}; give each its name")));
        }
        if names.len() > MAX_PROXIES {
            return Err(bad(&place, format!("at most {MAX_PROXIES} proxies are allowed")));
        }
        let mut address = |end: &str, setting: &toml::Spanned<String>| {
            let setting = (setting.get_ref().clone(), source.place(setting.span()));
            let key = format!("proxy.{name}.{end}");
            let address = checked_bind(&setting, &key)?;
            taken.take(&key, &address, &setting.1)?;
            Ok(address)
        };
        let capture = table.capture.filter(|capture| !capture.get_ref().is_empty());
        proxies.push(Proxy {
            kind: table.kind,
            frontend: address("frontend", &table.frontend)?,
            backend: address("backend", &table.backend)?,
            capture: capture.map(|capture| address("capture", &capture)).transpose()?,
            name,
        });
    }
    Ok(proxies)
}
