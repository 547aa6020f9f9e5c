//! Settings: the file, then the environment, then flags (design.md 7).

mod addresses;
mod admin;
mod alerts;
mod auth;
mod connections;
mod console;
mod doors;
mod error;
mod file;
mod gathers;
mod log;
mod metrics;
mod proxies;
mod queues;
mod redis;
mod sagas;
mod schemas;
mod shown;
mod store;
mod topics;
mod traces;
mod workers;
mod wrong_value;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use addresses::Taken;
pub use admin::{Admin, AdminTcp};
pub use alerts::Alerts;
pub use auth::Auth;
pub use connections::Connections;
pub use console::{Console, Keys as ConsoleKeys};
pub use doors::Doors;
pub use error::{ConfigError, Place};
use file::Source;
pub use log::Log;
use queues::{Queues, known_queue};
pub use redis::Redis;
pub use store::Store;
pub use traces::Traces;

use crate::auth::{Right, Role};
use crate::model::{
    ConfiguredGather, ConfiguredTopic, Proxy, QueueName, QueueSettings, QueueTemplate,
    SagaDefinition, WorkerPool,
};

/// The file that shows every key with its default, and what the program starts from without one.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");
/// How the example is called in errors.
const EXAMPLE_PATH: &str = "config.example.toml";

const DATA_DIR: &str = "data_dir";
const CLIENTS: &str = "listen.clients";
const WORKERS: &str = "listen.workers";
const ADMIN: &str = "listen.admin";
/// The variables that override a setting in a table of the file.
const VARIABLES: [&str; 8] = [
    "MUBROKER_LISTEN__CLIENTS",
    "MUBROKER_LISTEN__WORKERS",
    "MUBROKER_LISTEN__ADMIN",
    "MUBROKER_LISTEN__METRICS",
    "MUBROKER_LISTEN__PUSH",
    "MUBROKER_LISTEN__LIVE",
    "MUBROKER_LISTEN__FEED",
    redis::URL,
];

/// What the variables begin with by which a worker's command is given its message's headers.
const HEADER_VARIABLE: &str = "MUBROKER_HEADERS_";

/// The variable by which commands are given a token.
pub const TOKEN: &str = "MUBROKER_TOKEN";

/// What a broker is run with: checked, with everything filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where messages, journal and logs are kept.
    pub data_dir: PathBuf,
    /// Where clients connect.
    pub clients: String,
    /// Where workers connect.
    pub workers: String,
    /// Health and metrics for scrapers.
    pub metrics: Option<SocketAddr>,
    /// Where the admin API is.
    pub admin: Admin,
    /// Who may come in.
    pub auth: Auth,
    /// The file with the broker's secret key for CURVE.
    pub curve_key_file: Option<PathBuf>,
    /// The other doors.
    pub doors: Doors,
    /// How many connections each door takes.
    pub connections: Connections,
    /// Plain devices.
    pub proxies: Vec<Proxy>,
    /// How the console looks.
    pub console: Console,
    /// How the log is written.
    pub log: Log,
    /// What the store keeps beside messages.
    pub store: Store,
    /// Where payloads of `redis` queues are.
    pub redis: Redis,
    /// Queues with settings of their own.
    pub queues: Vec<(QueueName, QueueSettings)>,
    /// Settings for queues made on the fly.
    pub templates: Vec<QueueTemplate>,
    /// Topics with their subscriptions.
    pub topics: Vec<ConfiguredTopic>,
    /// Sagas that may begin.
    pub sagas: Vec<SagaDefinition>,
    /// Gathers.
    pub gathers: Vec<ConfiguredGather>,
    /// Whom to tell of what.
    pub alerts: Alerts,
    /// Where spans go.
    pub traces: Traces,
    /// Workers that the broker keeps running.
    pub workers_kept: Vec<WorkerPool>,
}

/// Where settings come from, the last one first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file; the example if absent.
    pub file: Option<PathBuf>,
    /// Environment variables, of which those that are settings are taken.
    pub env: Vec<(String, String)>,
    /// `--data-dir`
    pub data_dir: Option<String>,
    /// `--clients`
    pub clients: Option<String>,
    /// `--workers`
    pub workers: Option<String>,
    /// `--admin`
    pub admin: Option<String>,
}

impl Sources {
    /// The file given, and this process's environment.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            // Not what is secret: it is no setting.
            .filter(|(name, _)| name.starts_with("MUBROKER_") && name != TOKEN)
            .collect();
        Self { file, env, ..Self::default() }
    }

    /// A variable that looks like a setting is one, or a mistake.
    fn check_variables(&self) -> Result<(), ConfigError> {
        // A handler's message has its headers in variables, under names that a producer has chosen.
        let is_setting = |name: &str| name.contains("__") && !name.starts_with(HEADER_VARIABLE);
        let unknown = |name: &&String| is_setting(name) && !VARIABLES.contains(&name.as_str());
        match self.env.iter().map(|(name, _)| name).find(unknown) {
            None => Ok(()),
            Some(name) => {
                let known = VARIABLES.join(", ");
                let reason = format!("no setting is given so; those that can be: {known}");
                Err(bad(&Place::Env(name.clone()), reason))
            }
        }
    }

    /// The setting by flag or environment.
    fn override_of(
        &self,
        flag: &Option<String>,
        flag_name: &'static str,
        variable: &str,
    ) -> Option<(String, Place)> {
        if let Some(value) = flag {
            return Some((value.clone(), Place::Flag(flag_name)));
        }
        let found = self.env.iter().find(|(name, _)| name == variable)?;
        Some((found.1.clone(), Place::Env(variable.to_owned())))
    }
}

impl Config {
    /// Reads and checks all settings. Touches nothing but the file.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        match &sources.file {
            None => Self::from_text(Path::new(EXAMPLE_PATH), EXAMPLE, sources),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
                Self::from_text(path, &text, sources)
            }
        }
    }

    /// Can the files be read that it names? Only who runs a broker must be able to.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let tls = self.admin.tcp.iter().filter_map(|tcp| tcp.tls.as_ref());
        let named = [
            ("listen.curve_key_file", &self.curve_key_file),
            ("alerts.webhook_secret_file", &self.alerts.webhook_secret_file),
            ("redis.password_file", &self.redis.password_file),
            ("redis.ca_file", &self.redis.ca_file),
        ];
        let named = named.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
        let tls = tls.flat_map(|(cert, key)| {
            [("listen.admin_cert_file", cert), ("listen.admin_key_file", key)]
        });
        for (key, path) in named.chain(tls) {
            readable(path).map_err(|source| ConfigError::File {
                key,
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    fn from_text(path: &Path, text: &str, sources: &Sources) -> Result<Self, ConfigError> {
        let source = Source { path, text };
        sources.check_variables()?;
        let mut file = source.read()?;
        let data_dir = sources
            .override_of(&sources.data_dir, "--data-dir", "MUBROKER_DATA_DIR")
            .or_else(|| from_file(&source, &file.data_dir));
        let data_dir = match data_dir {
            Some((text, place)) => expand(&text, &place)?,
            None => default_data_dir()?,
        };
        let clients =
            sources.override_of(&sources.clients, "--clients", "MUBROKER_LISTEN__CLIENTS");
        let clients = or_file(clients, &source, &file.listen.clients, CLIENTS, default::CLIENTS);
        let workers =
            sources.override_of(&sources.workers, "--workers", "MUBROKER_LISTEN__WORKERS");
        let workers = or_file(workers, &source, &file.listen.workers, WORKERS, default::WORKERS);
        let admin = sources.override_of(&sources.admin, "--admin", "MUBROKER_LISTEN__ADMIN");
        let admin = or_file(admin, &source, &file.listen.admin, ADMIN, default::ADMIN);
        let has_key =
            file.listen.curve_key_file.as_ref().is_some_and(|it| !it.get_ref().is_empty());
        file.auth.check_curve(&source, has_key, !file.workers.is_empty())?;
        let mut auth = std::mem::take(&mut file.auth).check(&source)?;
        let asked = (auth.clients, Right::Send, Role::Producer);
        let clients = auth::door(&clients, CLIENTS, &auth, asked)?;
        let asked = (auth.workers, Right::Consume, Role::Worker);
        let place = workers.1.clone();
        let workers = auth::door(&workers, WORKERS, &auth, asked)?;
        auth.note_doors(&clients, &workers);
        let mut taken = Taken::default();
        taken.take(CLIENTS, &clients.address, &place)?;
        taken.take(WORKERS, &workers.address, &place)?;
        let place = admin.1.clone();
        let admin = admin::check(&admin, &data_dir, &file.listen, &source, &auth)?;
        admin.take(&mut taken, &place)?;
        let curve_key_file = from_file(&source, &file.listen.curve_key_file)
            .filter(|(path, _)| !path.is_empty())
            .map(|(path, place)| expand(&path, &place))
            .transpose()?;
        let connections = Connections::check(&file.listen, &source)?;
        let metrics = metrics::check(&file.listen, &source, sources, &mut taken)?;
        let listen = std::mem::take(&mut file.listen);
        let doors = doors::check(listen, &source, sources, &mut taken)?;
        let proxies = proxies::check(std::mem::take(&mut file.proxy), &source, &mut taken)?;
        let redis = std::mem::take(&mut file.redis).check(&source, sources)?;
        let log = std::mem::take(&mut file.log).check(&source)?;
        let console = std::mem::take(&mut file.console).check(&source);
        let store = std::mem::take(&mut file.store).check(&source)?;
        let alerts = std::mem::take(&mut file.alerts).check(&source)?;
        let traces = std::mem::take(&mut file.traces).check(&source)?;
        let topics = std::mem::take(&mut file.topics);
        let sagas = std::mem::take(&mut file.sagas);
        let gathers = std::mem::take(&mut file.gathers);
        let workers_kept = std::mem::take(&mut file.workers);
        let queues = queues::check(&source, file, !redis.url.is_empty())?;
        let topics = topics::check(topics, &source, &queues)?;
        let gathers = gathers::check(gathers, &source, &queues)?;
        let sagas = sagas::check(sagas, &source, &queues)?;
        let workers_kept = workers::check(workers_kept, &source, &queues)?;
        let (queues, templates) = queues;
        Ok(Self {
            clients: clients.address,
            workers: workers.address,
            metrics,
            admin,
            auth,
            curve_key_file,
            doors,
            connections,
            proxies,
            data_dir,
            console,
            log,
            store,
            redis,
            queues,
            templates,
            topics,
            sagas,
            gathers,
            alerts,
            traces,
            workers_kept,
        })
    }

    /// Where logs are.
    pub fn log_dir(&self) -> PathBuf {
        self.data_dir.join("log")
    }
}

/// The defaults, as the code has them; a test holds them against the example.
mod default {
    pub(super) const CLIENTS: &str = "tcp://127.0.0.1:5555";
    pub(super) const WORKERS: &str = "tcp://127.0.0.1:5556";
    pub(super) const ADMIN: &str = "unix:{data_dir}/admin.sock";
}

type Setting = (String, Place);

fn from_file(source: &Source<'_>, value: &Option<toml::Spanned<String>>) -> Option<Setting> {
    value.as_ref().map(|value| (value.get_ref().clone(), source.place(value.span())))
}

fn or_file(
    set: Option<Setting>,
    source: &Source<'_>,
    in_file: &Option<toml::Spanned<String>>,
    key: &'static str,
    default: &str,
) -> Setting {
    set.or_else(|| from_file(source, in_file))
        .unwrap_or_else(|| (default.to_owned(), Place::Default(key)))
}

fn bad(place: &Place, reason: impl Into<String>) -> ConfigError {
    ConfigError::Value { place: place.clone(), reason: reason.into() }
}

/// To open a pipe would wait for who writes to it.
fn readable(path: &Path) -> std::io::Result<()> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    std::fs::File::open(path).map(drop)
}

fn default_data_dir() -> Result<PathBuf, ConfigError> {
    let strategy = etcetera::choose_base_strategy().map_err(|_| ConfigError::NoHome)?;
    Ok(strategy.data_dir().join("mubroker"))
}

/// `~` is the home folder, at the beginning only.
fn expand(text: &str, place: &Place) -> Result<PathBuf, ConfigError> {
    if text.is_empty() {
        return Err(bad(place, format!("{DATA_DIR} is empty; give a folder")));
    }
    match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = etcetera::home_dir().map_err(|_| ConfigError::NoHome)?;
            Ok(home.join(rest.trim_start_matches('/')))
        }
        Some(_) | None => Ok(PathBuf::from(text)),
    }
}

/// Only this machine may connect: peers of these sockets have no way to show a token.
fn checked_bind(setting: &Setting, key: &str) -> Result<String, ConfigError> {
    let (text, place) = setting;
    if text.starts_with("ipc://") {
        return Ok(text.clone());
    }
    let (host, address) = tcp_address(text, key, place)?;
    if !is_loopback(&host) {
        let port = address.rsplit_once(':').map_or("", |(_, port)| port);
        let reason = format!(
            "{key} {text:?} lets other machines connect, and peers of such sockets can't show a \
             token; give a loopback address (tcp://127.0.0.1:{port}) or ipc://PATH, and an SSH \
             tunnel for who is elsewhere"
        );
        return Err(bad(place, reason));
    }
    Ok(text.clone())
}

/// Host, without brackets, and `HOST:PORT` of `tcp://HOST:PORT`.
fn tcp_address(text: &str, key: &str, place: &Place) -> Result<(String, String), ConfigError> {
    let form = || {
        let other = if key == ADMIN { "unix:PATH" } else { "ipc://PATH" };
        bad(place, format!("{key} {text:?} is not an address; give tcp://HOST:PORT or {other}"))
    };
    let address = text.strip_prefix("tcp://").ok_or_else(form)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(form)?;
    if port.parse::<u16>().is_err() {
        return Err(form());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), address.to_owned()))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
