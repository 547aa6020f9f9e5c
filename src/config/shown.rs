//! What may be shown of the configuration.

use serde_json::{Map, Value, json};

use super::{Config, auth::Auth, redis::Redis};
use crate::config::{Alerts, Traces};
use crate::model::{Completion, ConfiguredGather, Recipients, Subscription, WorkedBy, WorkerPool};

/// In the place of a secret that is set.
const SECRET: &str = "(not shown)";

impl Config {
    /// Every setting by its name in the file, without secrets: hashes of tokens, addresses of Redis and the webhook, what
    /// supervised workers are started with.
    pub fn shown(&self) -> Map<String, Value> {
        let queues =
            self.queues.iter().map(|(name, settings)| (name.to_string(), json!(settings.shown())));
        let templates = self.templates.iter().map(|template| {
            let mut shown = json!(template.settings.shown());
            shown["max_queues"] = json!(template.max_queues);
            (format!("{}*", template.prefix), shown)
        });
        let topics = self.topics.iter().map(|topic| {
            let mut shown = json!(topic.settings);
            shown["subscriptions"] = topic.subscriptions.iter().map(subscription).collect();
            (topic.name.to_string(), shown)
        });
        let gathers = self.gathers.iter().map(|one| (one.name.to_string(), gather(one)));
        let workers = self.workers_kept.iter().map(|one| (one.name.clone(), worker(one)));
        let shown = [
            ("data_dir", json!(self.data_dir)),
            ("listen", self.shown_listen()),
            ("auth", auth(&self.auth)),
            ("console", self.shown_console()),
            ("log", self.shown_log()),
            ("store", json!({ "journal_entries": self.store.journal_entries })),
            ("redis", redis(&self.redis)),
            ("alerts", alerts(&self.alerts)),
            ("traces", traces(&self.traces)),
            ("queues", queues.chain(templates).collect::<Map<_, _>>().into()),
            ("topics", topics.collect::<Map<_, _>>().into()),
            ("gathers", gathers.collect::<Map<_, _>>().into()),
            ("sagas", self.sagas.iter().map(|saga| json!(saga)).collect()),
            ("workers", workers.collect::<Map<_, _>>().into()),
            ("proxy", self.shown_proxies()),
        ];
        shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn shown_listen(&self) -> Value {
        let pulls = self.doors.pulls.iter().map(|(queue, at)| (queue.to_string(), json!(at)));
        let tcp = self.admin.tcp.as_ref();
        let tls = tcp.and_then(|tcp| tcp.tls.as_ref());
        json!({
            "clients": self.clients,
            "workers": self.workers,
            "admin": { "unix": self.admin.socket, "tcp": tcp.map(|tcp| &tcp.address) },
            "admin_cert_file": tls.map(|(cert, _)| cert),
            "admin_key_file": tls.map(|(_, key)| key),
            "metrics": self.metrics,
            "curve_key_file": self.curve_key_file,
            "push": self.doors.push,
            "live": self.doors.live,
            "feed": self.doors.feed,
            "pull": pulls.collect::<Map<_, _>>(),
            "connections": self.connections.most,
            "connections_per_address": self.connections.per_address,
        })
    }

    fn shown_console(&self) -> Value {
        let console = &self.console;
        let keys = console.keys.iter().map(|line| (line.name.clone(), json!(line.keys)));
        let keys: serde_json::Map<String, Value> = keys.collect();
        json!({ "theme": console.theme, "ascii": console.ascii, "mouse": console.mouse, "keys": keys })
    }

    fn shown_log(&self) -> Value {
        let format = if self.log.json { "json" } else { "text" };
        json!({ "format": format, "max_mb": self.log.max_mb, "files": self.log.files })
    }

    fn shown_proxies(&self) -> Value {
        let shown = self.proxies.iter().map(|proxy| {
            json!({
                "name": proxy.name, "kind": proxy.kind, "frontend": proxy.frontend,
                "backend": proxy.backend, "capture": proxy.capture,
            })
        });
        shown.collect()
    }
}

fn secret(text: &str) -> Value {
    json!(if text.is_empty() { "" } else { SECRET })
}

fn auth(auth: &Auth) -> Value {
    let tokens = auth.tokens.iter().map(|token| {
        let grants = &token.grants;
        let without: Vec<&str> = grants.without.iter().map(|right| right.name()).collect();
        json!({
            "name": token.name, "role": grants.role.name(), "without": without,
            "queues": grants.queues.texts(), "curve_key": token.curve_key.is_some(),
        })
    });
    json!({
        "clients": auth.clients, "workers": auth.workers, "curve_clients": auth.curve_clients,
        "curve_workers": auth.curve_workers, "tokens": tokens.collect::<Vec<_>>(),
    })
}

fn redis(redis: &Redis) -> Value {
    json!({
        "url": secret(&redis.url), "password_file": redis.password_file, "prefix": redis.prefix,
        "ca_file": redis.ca_file, "timeout_ms": redis.timeout_ms,
    })
}

fn alerts(alerts: &Alerts) -> Value {
    json!({
        "datadog": alerts.datadog, "webhook": secret(&alerts.webhook),
        "webhook_secret_file": alerts.webhook_secret_file, "webhook_events": alerts.webhook_events,
        "dedup_ms": alerts.dedup_ms, "oldest_age_ms": alerts.oldest_age_ms,
        "dead_letters": alerts.dead_letters, "disk_low_mb": alerts.disk_low_mb,
    })
}

/// The address may have a key in it.
fn traces(traces: &Traces) -> Value {
    json!({
        "endpoint": secret(&traces.endpoint), "headers_file": traces.headers_file,
        "sample_ratio": traces.sample_ratio, "queue": traces.queue,
    })
}

fn subscription(of: &Subscription) -> Value {
    json!({ "queue": of.queue, "filter": of.filter, "on_error": of.on_error })
}

fn gather(gather: &ConfiguredGather) -> Value {
    let settings = &gather.settings;
    let (recipients, topic) = match &settings.recipients {
        Recipients::Fixed(queues) => (queues.iter().map(subscription).collect(), Value::Null),
        Recipients::Topic(topic) => (Value::Null, json!(topic)),
    };
    let complete = match &settings.complete {
        Completion::All => json!("all"),
        Completion::Count(count) => json!(count),
        Completion::When(condition) => json!(condition),
    };
    json!({
        "recipients": recipients, "topic": topic, "complete": complete,
        "timeout_ms": settings.timeout_ms, "aggregate": settings.aggregate,
    })
}

/// Without the command, the address and the variables: they may hold what is secret.
fn worker(pool: &WorkerPool) -> Value {
    let by = match &pool.by {
        WorkedBy::Exec(_) => "exec",
        WorkedBy::Stdio(..) => "stdio",
        WorkedBy::Http(_) => "http",
        WorkedBy::Command(_) => "command",
    };
    json!({
        "queues": pool.queues, "by": by, "count": pool.count, "credit": pool.credit,
        "max_execution_ms": pool.max_execution_ms, "overrun_grace_ms": pool.overrun_grace_ms,
        "stop_grace_ms": pool.stop_grace_ms, "env": pool.env.keys().collect::<Vec<_>>(),
        "health": pool.health,
    })
}
