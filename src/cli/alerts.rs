//! Alerts of an embedded broker: its events and its queues' ages, by rules, to Datadog, a webhook and the event stream.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::broker::{BrokerHandle, Clock, Events, QUEUES_PAGE};
use crate::config::Alerts;
use crate::mailbox::Disk;
use crate::model::limits::MAX_PAGE;
use crate::model::{BrokerEvent, Notice, QueueId, QueueName, QueueView, SagaState};
use crate::telemetry::alert::{Alert, Dedup};
use crate::telemetry::datadog::{Datadog, DatadogError, Level};
use crate::telemetry::standing;
use crate::telemetry::webhook::{Webhook, WebhookOptions};

/// At most this share of the disk is wanted free, twice that below which publishing is refused: `disk_low_mb` is
/// for a large one.
const DISK_LOW_SHARE: u64 = 4;

/// Between two looks at how old the queues' oldest messages are, at the disk, at what was kept back, and at what events that
/// were missed would have told.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why there are no alerts.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// The DogStatsD address.
    #[error("[alerts] datadog")]
    Datadog(#[from] DatadogError),
    /// The webhook's URL.
    #[error("[alerts] webhook")]
    Webhook(#[from] crate::https::HttpError),
    /// The webhook's secret can't be read.
    #[error("[alerts] webhook_secret_file {file}")]
    Secret {
        /// Which.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// With an empty one anybody could sign.
    #[error("[alerts] webhook_secret_file {}: it is empty; write a secret into it", .0.display())]
    NoSecret(std::path::PathBuf),
    /// No thread, or no runtime.
    #[error("a thread for alerts")]
    Thread(#[from] io::Error),
}

/// What tells; nothing is told once it is dropped.
#[derive(Debug)]
pub(super) struct Alerting {
    /// Absent if nothing is configured.
    _stop: Option<oneshot::Sender<()>>,
}

/// Starts telling, on a thread of its own, until the broker has stopped. Nothing is started if nothing is configured.
pub(super) fn start(
    config: &Alerts,
    data: &Path,
    broker: BrokerHandle,
) -> Result<Alerting, AlertsError> {
    if *config == Alerts::default() {
        return Ok(Alerting { _stop: None });
    }
    let secret = match &config.webhook_secret_file {
        None => None,
        Some(file) => {
            let unread = |source| AlertsError::Secret { file: file.display().to_string(), source };
            let secret = std::fs::read(file).map_err(unread)?.trim_ascii_end().to_vec();
            if secret.is_empty() {
                return Err(AlertsError::NoSecret(file.clone()));
            }
            Some(secret)
        }
    };
    let datadog = Some(&config.datadog).filter(|address| !address.is_empty());
    let datadog = datadog.map(|address| Datadog::new(address)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let webhook = {
        let _in_runtime = runtime.enter();
        let url = Some(config.webhook.clone()).filter(|url| !url.is_empty());
        let now = || Clock::start().now().0 / 1_000;
        url.map(|url| Webhook::start(WebhookOptions::new(url, secret, now))).transpose()?
    };
    let teller = Teller { datadog, webhook, ..Teller::new(config, data, broker) };
    let (stop, stopped) = oneshot::channel();
    let run = move || {
        runtime.block_on(async {
            let telling = async {
                if let Ok(events) = teller.broker.events(None).await {
                    teller.run(events, LOOK_EVERY).await;
                }
            };
            tokio::select! {
                () = telling => {}
                _ = stopped => {}
            }
        });
    };
    thread::Builder::new().name("alerts".to_owned()).spawn(run)?;
    Ok(Alerting { _stop: Some(stop) })
}

struct Teller {
    config: Alerts,
    /// On the disk that may get full.
    data: PathBuf,
    broker: BrokerHandle,
    datadog: Option<Datadog>,
    webhook: Option<Webhook>,
    dedup: Dedup,
    /// By dead-letter queue, since `since`.
    dead_letters: BTreeMap<QueueName, u64>,
    since: Instant,
    /// Events since the last look that came too fast.
    missed: Option<u64>,
}

impl Teller {
    fn new(config: &Alerts, data: &Path, broker: BrokerHandle) -> Self {
        Self {
            config: config.clone(),
            data: data.to_owned(),
            broker,
            datadog: None,
            webhook: None,
            dedup: Dedup::new(Duration::from_millis(config.dedup_ms)),
            dead_letters: BTreeMap::new(),
            since: Instant::now(),
            missed: None,
        }
    }

    async fn run(mut self, mut events: Events, look_every: Duration) {
        let mut look = interval(look_every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.next() => {
                    let Some(event) = event else { return };
                    self.pass_on(&event);
                    if let Notice::DeadLettered { to, .. } = &event.what {
                        self.dead_lettered(to).await;
                    }
                    if let Notice::Missed { events } = &event.what {
                        let missed = self.missed.unwrap_or_default();
                        self.missed = Some(missed.saturating_add(events.unwrap_or_default()));
                    }
                    if let Some(alert) = Alert::of_event(&event.what) {
                        self.tell(alert).await;
                    }
                }
                _ = look.tick() => {
                    for (alert, kept_back) in self.dedup.due(Instant::now()) {
                        self.say(alert, kept_back).await;
                    }
                    if self.look().await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// Tells what no event tells; `None` once the broker has stopped.
    async fn look(&mut self) -> Option<()> {
        if let Some(missed) = self.missed.take() {
            self.catch_up(missed).await?;
        }
        // One that can't be looked at is in the log already, by the store.
        let disk = Disk::of(&self.data).ok();
        if let Some(alert) = disk.and_then(|disk| disk_low(&self.config, &self.data, disk)) {
            self.tell(alert).await;
        }
        let most = self.config.oldest_age_ms;
        if most == 0 {
            return Some(());
        }
        let now = self.broker.overview().await.ok()?.now;
        let is_old = |queue: &QueueView, _: &Dedup| {
            let age = queue.oldest_at.map_or(0, |at| now.since_ms(at));
            (age > most).then(|| {
                let (name, depth, seconds) = (&queue.name, queue.depth, age / 1_000);
                let text = format!("{name}: the oldest of {depth} messages waits for {seconds} s");
                Alert::of_queue("oldest-age", Level::Warning, name, text)
            })
        };
        self.each_queue(is_old).await
    }

    /// Tells what stands, since events that would have told it were missed; `None` once the broker has stopped.
    async fn catch_up(&mut self, missed: u64) -> Option<()> {
        let store = self.broker.overview().await.ok()?.store;
        let workers = self.broker.workers().await.ok()?;
        let sagas = self.broker.sagas(0, MAX_PAGE, Some(SagaState::Parked)).await.ok()?.sagas;
        // The supervisor may have ended before the broker.
        let pools = self.broker.pools(None, None).await.unwrap_or_default();
        let standing = (workers.iter().filter_map(standing::of_worker))
            .chain(pools.iter().filter_map(standing::of_pool))
            .chain(sagas.iter().filter_map(standing::of_saga))
            .chain(standing::of_store(&store));
        for alert in [standing::of_missed(missed)].into_iter().chain(standing) {
            self.tell(alert).await;
        }
        self.each_queue(standing::of_queue).await
    }

    async fn each_queue(
        &mut self,
        alert: impl Fn(&QueueView, &Dedup) -> Option<Alert>,
    ) -> Option<()> {
        let mut after = QueueId(0);
        loop {
            let (page, last) = self.broker.queues(after).await.ok()?;
            let alerts: Vec<Alert> =
                page.iter().filter_map(|queue| alert(queue, &self.dedup)).collect();
            for alert in alerts {
                self.tell(alert).await;
            }
            after = last;
            if page.len() < QUEUES_PAGE {
                return Some(());
            }
        }
    }

    async fn dead_lettered(&mut self, to: &QueueName) {
        let most = self.config.dead_letters;
        if most == 0 {
            return;
        }
        if self.since.elapsed() >= Duration::from_millis(self.config.dedup_ms) {
            self.dead_letters.clear();
            self.since = Instant::now();
        }
        let count = self.dead_letters.entry(to.clone()).or_default();
        *count += 1;
        if *count >= most {
            let seconds = self.since.elapsed().as_secs();
            let text = format!("{to}: {count} dead letters came within {seconds} s");
            self.tell(Alert::of_queue("dead-letters", Level::Warning, to, text)).await;
        }
    }

    /// Hands an event to the webhook, if the configuration asks for its type.
    fn pass_on(&self, event: &BrokerEvent) {
        let kind = event.what.kind();
        if self.config.webhook_events.iter().any(|asked| asked == kind) {
            let body = serde_json::to_value(event).expect("an event has JSON");
            self.post(kind, event.event_id.to_string(), &body);
        }
    }

    fn post(&self, what: &str, id: String, body: &Value) {
        let Some(webhook) = &self.webhook else { return };
        if !webhook.tell(id, Bytes::from(body.to_string())) {
            tracing::warn!(what, "too much waits for the webhook; this is left out");
        }
    }

    async fn tell(&mut self, alert: Alert) {
        if let Some(kept_back) = self.dedup.pass(&alert, Instant::now()) {
            self.say(alert, kept_back).await;
        }
    }

    async fn say(&mut self, alert: Alert, kept_back: u64) {
        let Alert { rule, level, subject, queue, text } = alert;
        tracing::warn!(rule, subject, kept_back, text, "alert");
        if let Some(datadog) = &self.datadog {
            let tags = [("rule", rule), ("subject", subject.as_str())];
            // A subject may be any queue or saga: each would be a series of its own.
            datadog.count("alert", &[("rule", rule)]);
            datadog.event(level, rule, &format!("mubroker: {rule} {subject}"), &text, &tags);
        }
        let body = json!({
            "rule": rule, "level": level.as_str(), "subject": subject, "queue": queue,
            "text": text, "kept_back": kept_back,
        });
        self.post(rule, uuid::Uuid::now_v7().to_string(), &body);
        let rule = rule.to_owned();
        let notice = Notice::Alert { rule, subject, queue, message: text, kept_back };
        // The broker has stopped: nobody follows any more.
        let _stopped = self.broker.tell(notice).await;
    }
}

/// Of a disk that is nearly full: what waits is safe, but soon nothing new is accepted.
pub(super) fn disk_low(config: &Alerts, data: &Path, disk: Disk) -> Option<Alert> {
    const MIB: u64 = 1024 * 1024;
    let wanted = config.disk_low_mb.saturating_mul(MIB).min(disk.total / DISK_LOW_SHARE);
    let (free, wanted_mib) = (disk.free / MIB, wanted / MIB);
    let text = format!(
        "{}: {free} MiB are free on its disk, less than {wanted_mib} MiB; publishing is refused once it is full",
        data.display()
    );
    (disk.free < wanted).then(|| Alert::of("disk-low", Level::Warning, "", text))
}

#[cfg(test)]
mod tests;
