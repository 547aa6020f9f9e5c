//! SIGHUP: what of the configuration counts anew while the broker runs.

use super::config_args::ConfigArgs;
use super::embedded::Embedded;
use crate::config::Config;
use crate::model::with_causes;

/// The settings that the broker runs with, and where they come from.
pub(super) struct Settings {
    args: ConfigArgs,
    config: Config,
}

impl Settings {
    pub(super) fn new(args: ConfigArgs, config: Config) -> Self {
        Self { args, config }
    }

    /// Reads the configuration again: tokens and certificates count from now on, for the rest it is said that it needs a
    /// restart. What can't be read or used changes nothing.
    pub(super) fn reload(&mut self, broker: &Embedded) {
        let config = match self.args.load() {
            Ok(config) => config,
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(error, "SIGHUP: the configuration is refused, all stays as it was");
                return;
            }
        };
        if let Err(error) = broker.reload(&config) {
            let error = with_causes(&error);
            tracing::warn!(error, "SIGHUP: the certificate stays as it was");
        }
        let waiting = differences(&self.config, &config);
        if !waiting.is_empty() {
            let changed = waiting.join(", ");
            tracing::warn!(changed, "SIGHUP: these settings count after a restart only");
        }
        self.config.auth.tokens = config.auth.tokens;
        tracing::info!(
            tokens = self.config.auth.tokens.len(),
            "SIGHUP: the configuration is reloaded"
        );
    }
}

/// What is new and can't be taken over, by its names in the file.
fn differences(old: &Config, new: &Config) -> Vec<&'static str> {
    let Config {
        data_dir,
        clients,
        workers,
        admin,
        metrics,
        auth,
        curve_key_file,
        doors,
        connections,
        proxies,
        log,
        store,
        redis,
        queues,
        templates,
        topics,
        sagas,
        gathers,
        alerts,
        workers_kept,
    } = new;
    let parts = [
        ("data_dir", old.data_dir == *data_dir),
        ("listen.clients", old.clients == *clients),
        ("listen.workers", old.workers == *workers),
        ("listen.admin", old.admin == *admin),
        ("auth.clients", old.auth.clients == auth.clients),
        ("auth.workers", old.auth.workers == auth.workers),
        ("auth.curve_clients", old.auth.curve_clients == auth.curve_clients),
        ("auth.curve_workers", old.auth.curve_workers == auth.curve_workers),
        ("listen.curve_key_file", old.curve_key_file == *curve_key_file),
        ("listen.metrics", old.metrics == *metrics),
        ("listen.push, live, feed, pull", old.doors == *doors),
        ("listen.connections", old.connections == *connections),
        ("proxy", old.proxies == *proxies),
        ("log", old.log == *log),
        ("store", old.store == *store),
        ("redis", old.redis == *redis),
        ("queues", (&old.queues, &old.templates) == (queues, templates)),
        ("topics", old.topics == *topics),
        ("sagas", old.sagas == *sagas),
        ("gathers", old.gathers == *gathers),
        ("alerts", old.alerts == *alerts),
        ("workers", old.workers_kept == *workers_kept),
    ];
    parts.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
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
