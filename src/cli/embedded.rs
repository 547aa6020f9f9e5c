//! A whole broker inside this process: store, sockets, admin API. For `serve`, the console and the demo.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::alerts::{self, Alerting, AlertsError};
use super::curve::{self, KeyFileError};
use super::descriptors;
use super::pools::Pools;
#[cfg(feature = "otlp")]
use super::traces::{self, TracesError};
use crate::admin::dto::ConfigView;
use crate::admin::{
    AdminLimits, AdminOptions, AdminServer, ScrapeServer, ServeError, ShownConfig, TcpOptions,
    TlsError,
};
use crate::auth::{Access, AccessError, CurveSecret, Failures, Grants, NoToken, Role};
use crate::broker::{self, BrokerHandle, BrokerOptions, Ended, OpenStore, Running, StartError};
use crate::config::{AdminTcp, Config, Redis};
use crate::engine::EngineOptions;
use crate::mailbox::{
    MailboxError, MemoryMailbox, RedisConfigError, RedisMailbox, RedisOptions, RoutedMailbox,
    SledMailbox, SledOptions, Streams, part_bytes,
};
use crate::model::Hidden;
use crate::net::{DoorAuth, DoorOptions, NetLimits, NetOptions};
#[cfg(feature = "otlp")]
use crate::telemetry::otlp::Otlp;

/// The store's folder in the data folder.
pub const STORE: &str = "store";
/// The file in the data folder that remembers which tokens were revoked.
const REVOKED: &str = "revoked-tokens";
/// How long the last spans may take at the end.
#[cfg(feature = "otlp")]
const SPANS_LIMIT: Duration = Duration::from_secs(1);
/// Operators' requests for supervised workers that may wait.
const MAX_ASKED: usize = 64;

/// Why a broker does not run in this process.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Another process runs a broker on this store: attach to its admin socket instead.
    #[error(
        "the store in {} is held by process {pid}; stop it, or choose another data_dir",
        data_dir.display()
    )]
    Held {
        /// The data folder.
        data_dir: PathBuf,
        /// Who, as far as the store's lock says.
        pid: String,
    },
    /// The data folder can't be made or written in.
    #[error(
        "the data folder {} can't be used; let this user write there, or choose another data_dir",
        data_dir.display()
    )]
    DataDir {
        /// Which.
        data_dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Redis can't be used as it is configured.
    #[error("the broker does not start")]
    Redis(#[source] RedisConfigError),
    /// The broker does not start.
    #[error("the broker does not start")]
    Broker(#[source] StartError),
    /// Nobody can be alerted as it is configured.
    #[error("the broker does not start")]
    Alerts(#[source] AlertsError),
    /// Nothing can be traced as it is configured.
    #[cfg(feature = "otlp")]
    #[error("the broker does not start")]
    Traces(#[source] TracesError),
    /// Workers can't be supervised.
    #[error("supervised workers can't be started")]
    Workers(#[source] io::Error),
    /// It isn't known which tokens were revoked.
    #[error("the broker does not start")]
    Access(#[source] AccessError),
    /// The key for CURVE can't be used.
    #[error("the broker does not start")]
    Curve(#[source] KeyFileError),
    /// There is no token for supervised workers.
    #[error("the broker does not start")]
    Token(#[source] NoToken),
    /// The admin API can't be served.
    #[error("the broker does not start")]
    Admin(#[source] ServeError),
    /// Metrics can't be served.
    #[error("cannot listen on listen.metrics tcp://{address}")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A broker that runs on threads of its own. Dropping it asks the broker to stop and doesn't wait; to
/// stop it well, see [`Embedded::shut_down`].
#[derive(Debug)]
pub struct Embedded {
    admin: AdminServer,
    metrics: Option<ScrapeServer>,
    access: Arc<Access>,
    shown: ShownConfig,
    alerting: Mutex<Alerting>,
    #[cfg(feature = "otlp")]
    otlp: Option<Otlp>,
    pools: Option<Pools>,
    running: Running,
}

impl Embedded {
    /// Makes the data folder, opens store and sockets, serves the admin API. Blocks until clients can
    /// connect: not for an async task.
    pub fn start(config: &Config) -> Result<Self, EmbeddedError> {
        make_data_dir(config)?;
        let access = Access::open(config.auth.tokens.clone(), config.data_dir.join(REVOKED));
        let access = Arc::new(access.map_err(EmbeddedError::Access)?);
        let limits = net_limits(config);
        let streams = streams(config)?;
        let open = open_store(config, Arc::clone(&streams));
        let curve = config.curve_key_file.as_deref().map(curve::read_key).transpose();
        let curve = curve.map_err(EmbeddedError::Curve)?.map(Arc::new);
        let net = NetOptions { limits, ..net_options(config, &access, curve.as_ref()) };
        #[cfg(feature = "otlp")]
        let (spans, otlp) = traces::start(&config.traces).map_err(EmbeddedError::Traces)?.unzip();
        #[cfg(not(feature = "otlp"))]
        let spans = None;
        let options = BrokerOptions { spans, ..options(config, net, streams) };
        let running = broker::start(options, open).map_err(|error| start_error(error, config))?;
        let alerting = alerts::start(&config.alerts, &config.data_dir, running.handle().clone())
            .map_err(EmbeddedError::Alerts)?;
        let (pools, handle) = pools(config, &running, &access)?;
        let metrics = match config.metrics {
            Some(address) => Some(
                ScrapeServer::start(address, handle.clone())
                    .map_err(|source| EmbeddedError::Metrics { address, source })?,
            ),
            None => None,
        };
        let shown = ShownConfig::default();
        shown.show(ConfigView { settings: config.shown(), waiting: Vec::new() });
        let options = admin_options(config, &access, shown.clone());
        let admin = AdminServer::start(options, handle);
        let admin = admin.map_err(EmbeddedError::Admin)?;
        let alerting = Mutex::new(alerting);
        Ok(Self {
            admin,
            metrics,
            access,
            shown,
            alerting,
            #[cfg(feature = "otlp")]
            otlp,
            pools,
            running,
        })
    }

    /// The broker's handle.
    pub fn handle(&self) -> &BrokerHandle {
        self.running.handle()
    }

    /// The admin API.
    pub fn admin(&self) -> &AdminServer {
        &self.admin
    }

    /// Lets these tokens count, and no others.
    pub fn replace_tokens(&self, config: &Config) {
        self.access.replace(config.auth.tokens.clone());
    }

    /// Reads the certificate's files again.
    pub fn reload_certificate(&self) -> Result<(), TlsError> {
        self.admin.reload_certificate()
    }

    /// Tells others, or of other things, from now on. With an error all stays as it was.
    pub fn replace_alerts(&self, config: &Config) -> Result<(), AlertsError> {
        let broker = self.running.handle().clone();
        let alerting = alerts::start(&config.alerts, &config.data_dir, broker)?;
        *self.alerting.lock().unwrap_or_else(PoisonError::into_inner) = alerting;
        Ok(())
    }

    /// What the admin API shows of the configuration from now on.
    pub fn show(&self, config: ConfigView) {
        self.shown.show(config);
    }

    /// Where health and metrics are served beside the admin API, with the port that was taken.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(ScrapeServer::address)
    }

    /// Where clients connect, with the port that was taken.
    pub fn clients(&self) -> &str {
        self.running.clients()
    }

    /// Where workers connect, with the port that was taken.
    pub fn workers(&self) -> &str {
        self.running.workers()
    }

    /// Waits until the broker has stopped, for whatever reason. Cancel safe.
    pub async fn ended(&self) -> Ended {
        self.running.ended().await
    }

    /// Stops: supervised workers end what they hold, nothing new is accepted, leases are given back, the store is flushed and closed. Within
    /// five seconds, unless the disk hangs.
    pub async fn shut_down(self) -> Ended {
        #[cfg(feature = "otlp")]
        let otlp = self.otlp;
        let Self { admin, metrics, pools, running, .. } = self;
        let mut stopping = match pools {
            Some(pools) => Some(pools.stop().await),
            None => None,
        };
        if let Some(stopping) = &mut stopping {
            stopping.drained().await;
        }
        running.handle().shut_down();
        let ended = running.ended().await;
        if let Some(stopping) = stopping {
            stopping.ended().await;
        }
        #[cfg(feature = "otlp")]
        if let Some(otlp) = otlp {
            otlp.finish(SPANS_LIMIT).await;
        }
        drop((admin, metrics));
        ended
    }
}

/// The supervisor of configured workers, and a handle that knows it.
fn pools(
    config: &Config,
    running: &Running,
    access: &Access,
) -> Result<(Option<Pools>, BrokerHandle), EmbeddedError> {
    let handle = running.handle().clone();
    if config.workers_kept.is_empty() {
        return Ok((None, handle));
    }
    let (asked, asking) = mpsc::channel(MAX_ASKED);
    let endpoint = running.workers().to_owned();
    let (kept, broker) = (config.workers_kept.clone(), handle.clone());
    let token = supervised(config, access)?;
    let datadog = config.alerts.datadog.clone();
    let pools = Pools::start(kept, endpoint, token, datadog, broker, asking);
    Ok((Some(pools.map_err(EmbeddedError::Workers)?), handle.with_pools(asked)))
}

/// What workers that the broker starts show, where a token is asked for.
fn supervised(config: &Config, access: &Access) -> Result<Option<Hidden>, EmbeddedError> {
    if !config.auth.workers {
        return Ok(None);
    }
    let grants = Grants { role: Role::Worker, ..Grants::all() };
    let secret = access.own("supervised", grants).map_err(EmbeddedError::Token)?;
    Ok(Some(Hidden(secret.reveal().to_owned())))
}

/// Makes the data folder (0700) and the log folder in it. Fine if they are there.
pub fn make_data_dir(config: &Config) -> Result<(), EmbeddedError> {
    let data_dir = config.data_dir.clone();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(config.log_dir())
        .map_err(|source| EmbeddedError::DataDir { data_dir, source })
}

fn admin_options(config: &Config, access: &Arc<Access>, shown: ShownConfig) -> AdminOptions {
    let tcp = config.admin.tcp.clone();
    AdminOptions {
        socket: config.admin.socket.clone(),
        tcp: tcp.map(|AdminTcp { address, tls, .. }| TcpOptions { address, tls }),
        access: Arc::clone(access),
        config: shown,
        limits: AdminLimits::default(),
    }
}

/// Connects to nothing.
fn streams(config: &Config) -> Result<Arc<Streams>, EmbeddedError> {
    let Redis { url, password_file, prefix, ca_file, timeout_ms } = config.redis.clone();
    let timeout = Duration::from_millis(timeout_ms);
    let options = RedisOptions { url, password_file, prefix, ca_file, timeout };
    Streams::new(options).map(Arc::new).map_err(EmbeddedError::Redis)
}

fn options(config: &Config, net: NetOptions, streams: Arc<Streams>) -> BrokerOptions {
    BrokerOptions {
        engine: EngineOptions {
            templates: config.templates.clone(),
            configured: config.queues.clone(),
            topics: config.topics.clone(),
            live: config.doors.live.is_some(),
            sagas: config.sagas.clone(),
            gathers: config.gathers.clone(),
            redis: !config.redis.url.is_empty(),
            seed: fastrand::u64(..),
            ..EngineOptions::default()
        },
        net,
        data_dir: config.data_dir.display().to_string(),
        store_dir: Some(config.data_dir.join(STORE)),
        queues: config.queues.clone(),
        streams: Some(streams),
        spans: None,
    }
}

fn net_options(
    config: &Config,
    access: &Arc<Access>,
    curve: Option<&Arc<CurveSecret>>,
) -> NetOptions {
    let failures = Arc::<Failures>::default();
    let auth = |is_needed, is_curve_only| DoorAuth {
        access: Arc::clone(access),
        failures: Arc::clone(&failures),
        curve: curve.cloned(),
        is_needed,
        is_curve_only,
    };
    NetOptions {
        proxies: config.proxies.clone(),
        doors: DoorOptions {
            push: config.doors.push.clone(),
            live: config.doors.live.clone(),
            feed: config.doors.feed.clone(),
            pulls: config.doors.pulls.clone(),
        },
        client_auth: Some(auth(config.auth.clients, config.auth.curve_clients)),
        worker_auth: Some(auth(config.auth.workers, config.auth.curve_workers)),
        ..NetOptions::new(&config.clients, &config.workers)
    }
}

/// The bounds of the sockets; raises this process's limit of open files for them. What there is for all doors is not for one
/// of them alone, nor for one address: an eighth stays for other doors, another for other addresses.
fn net_limits(config: &Config) -> NetLimits {
    let processes = config.workers_kept.iter().map(|pool| u64::from(pool.count)).sum();
    let together = descriptors::connections(config.connections.most, processes);
    let of_all = together.connections();
    let of_door = of_all - of_all / 8;
    NetLimits {
        connections: config.connections.most.min(of_door),
        connections_per_address: config.connections.per_address.min(of_door - of_all / 8),
        together,
        ..NetLimits::default()
    }
}

fn open_store(config: &Config, streams: Arc<Streams>) -> OpenStore {
    let data_dir = &config.data_dir;
    let journal_entries = match config.store.journal_entries {
        0 => u64::MAX,
        entries => entries,
    };
    let path = data_dir.join(STORE);
    let memory = Arc::<MemoryMailbox>::default();
    let defaults = SledOptions::default();
    let rotate_bytes = part_bytes(data_dir, defaults.rotate_bytes);
    let compact_slack_bytes = part_bytes(data_dir, defaults.compact_slack_bytes);
    let options = SledOptions { rotate_bytes, compact_slack_bytes, ..defaults };
    Box::new(move || {
        let durable = SledMailbox::open(&path, options.clone())?;
        let durable = RedisMailbox::new(durable, Arc::clone(&streams));
        let mailbox = RoutedMailbox::reopened(durable, Arc::clone(&memory));
        Ok(Arc::new(mailbox.keeping_journal(journal_entries)))
    })
}

fn start_error(error: StartError, config: &Config) -> EmbeddedError {
    match error {
        StartError::Store(MailboxError::Held { pid, .. }) => {
            EmbeddedError::Held { data_dir: config.data_dir.clone(), pid }
        }
        error => EmbeddedError::Broker(error),
    }
}
