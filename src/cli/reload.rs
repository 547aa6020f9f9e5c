//! SIGHUP: what of the configuration counts anew while the broker runs.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::config_args::ConfigArgs;
use super::embedded::Embedded;
use crate::admin::dto::ConfigView;
use crate::broker::BrokerHandle;
use crate::config::Config;
use crate::model::{Actor, with_causes};

/// How long queues are waited for: a store that is slow must not keep the process from hearing other signals.
const QUEUES_LIMIT: Duration = Duration::from_secs(5);

/// The settings that the broker runs with, and where they come from.
pub(super) struct Settings {
    args: ConfigArgs,
    config: Config,
}

impl Settings {
    pub(super) fn new(args: ConfigArgs, config: Config) -> Self {
        Self { args, config }
    }

    /// Reads the configuration again. Tokens, certificates, alerts and queues count from now on; of the rest each key that has
    /// changed is named. What can't be read or used changes nothing.
    pub(super) async fn reload(&mut self, broker: &Embedded) {
        let config = match self.args.load() {
            Ok(config) => config,
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(error, "SIGHUP: the configuration is refused, all stays as it was");
                return;
            }
        };
        broker.replace_tokens(&config);
        self.config.auth.tokens.clone_from(&config.auth.tokens);
        if let Err(error) = broker.reload_certificate() {
            let error = with_causes(&error);
            tracing::warn!(error, "SIGHUP: the certificate stays as it was");
        }
        if self.config.alerts != config.alerts {
            match broker.replace_alerts(&config) {
                Ok(()) => self.config.alerts = config.alerts.clone(),
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::warn!(error, "SIGHUP: alerts stay as they were");
                }
            }
        }
        if timeout(QUEUES_LIMIT, self.take_queues(&config, broker.handle())).await.is_err() {
            tracing::warn!("SIGHUP: queues wait for the store; some have their settings not yet");
        }
        let waiting = differences(&self.config, &config);
        if !waiting.is_empty() {
            let changed = waiting.join(", ");
            tracing::warn!(changed, "SIGHUP: these settings count after a restart only");
        }
        broker.show(ConfigView { settings: self.config.shown(), waiting });
        tracing::info!(
            tokens = self.config.auth.tokens.len(),
            "SIGHUP: the configuration is reloaded"
        );
    }

    /// Makes queues that are new, and gives the others their settings, but for the keys that an operator has set. Another
    /// mailbox waits for a restart.
    async fn take_queues(&mut self, config: &Config, broker: &BrokerHandle) {
        for (name, settings) in &config.queues {
            let known = self.config.queues.iter().position(|(known, _)| known == name);
            let before = match known {
                Some(at) => Some(self.config.queues[at].1.clone()),
                // It may have been made on the fly.
                None => broker.queue(name).await.ok().map(|queue| queue.settings),
            };
            let is_elsewhere = match &before {
                Some(before) => before.mailbox != settings.mailbox,
                None => settings.needs_redis() && self.config.redis != config.redis,
            };
            if is_elsewhere || (known.is_some() && before.as_ref() == Some(settings)) {
                continue;
            }
            let actor = Actor { name: "configuration".to_owned(), via: "reload".to_owned() };
            match broker.put_queue(actor, name.clone(), settings.clone()).await {
                Ok(()) => match known {
                    Some(at) => self.config.queues[at].1.clone_from(settings),
                    None => self.config.queues.push((name.clone(), settings.clone())),
                },
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::warn!(%name, error, "SIGHUP: a queue's settings stay as they were");
                }
            }
        }
    }
}

/// What is new and can't be taken over, each key by its name in the file.
fn differences(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    unlike("", &Value::Object(old.shown()), &Value::Object(new.shown()), &mut keys);
    // What isn't shown.
    let hidden = [
        ("redis", old.redis == new.redis),
        ("alerts", old.alerts == new.alerts),
        ("traces", old.traces == new.traces),
        ("gathers", old.gathers == new.gathers),
        ("workers", old.workers_kept == new.workers_kept),
    ];
    for (section, _) in hidden.into_iter().filter(|(_, is_same)| !is_same) {
        if !keys.iter().any(|key| key.starts_with(section)) {
            keys.push(section.to_owned());
        }
    }
    keys
}

/// The keys under which two values are not the same.
fn unlike(at: &str, old: &Value, new: &Value, keys: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        if old != new {
            keys.push(at.to_owned());
        }
        return;
    };
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    for key in new.keys().chain(gone) {
        let is_bare = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let name = if is_bare { key.clone() } else { format!("{key:?}") };
        let name = if at.is_empty() { name } else { format!("{at}.{name}") };
        match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) => unlike(&name, old, new, keys),
            _ => keys.push(name),
        }
    }
}

/// What an operator should know of who can come in.
pub(super) fn warn(config: &Config) {
    let open = config.admin.tcp.as_ref().filter(|tcp| !tcp.is_loopback && tcp.tls.is_none());
    if let Some(tcp) = open {
        tracing::warn!(
            "listen.admin tcp://{} is not encrypted: whoever is on the way reads tokens and messages; set \
             admin_cert_file and admin_key_file, or let only a proxy that encrypts reach it",
            tcp.address
        );
    }
    for (setting, address, mends) in &config.auth.in_clear {
        tracing::warn!("{setting} {address} {IN_CLEAR}; set {mends} = true, and give peers keys");
    }
}

/// What is to be known of a door that other machines reach, and that doesn't speak CURVE alone.
pub(super) const IN_CLEAR: &str =
    "takes tokens in clear from other machines (HELLO, PLAIN): whoever is on the way reads them";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_key_that_is_not_the_same_is_named_as_in_the_file() {
        let mut keys = Vec::new();
        let old = json!({
            "data_dir": "/a", "listen": { "clients": "x", "push": null },
            "queues": { "eu.bills": { "lease_ms": 1, "ack": "after-work" }, "gone": {} },
        });
        let new = json!({
            "data_dir": "/b", "listen": { "clients": "x", "push": "y" },
            "queues": { "eu.bills": { "lease_ms": 2, "ack": "after-work" }, "new*": {} },
        });
        unlike("", &old, &new, &mut keys);
        assert_eq!(
            keys,
            [
                "data_dir",
                "listen.push",
                r#"queues."eu.bills".lease_ms"#,
                r#"queues."new*""#,
                "queues.gone"
            ]
        );
    }
}
