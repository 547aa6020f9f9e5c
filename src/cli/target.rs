//! Which broker a command is for.

use std::path::PathBuf;

use clap::{Args, Command, FromArgMatches};

use super::Exit;
use super::failure::Failure;
use super::remote::RemoteArgs;
use crate::admin::client::{AdminClient, AdminError, Endpoint};
use crate::admin::dto::Overview;
use crate::client::Client;
use crate::config::{Config, Sources};
use crate::model::{Hidden, with_causes};

/// Which broker. Found as a broker itself finds its settings, so that a command without flags finds the
/// broker that was started without flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which broker")]
pub(super) struct Target {
    /// The broker's configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "MUBROKER_CONFIG",
        hide_env_values = true,
        global = true
    )]
    config: Option<PathBuf>,
    /// The broker's data folder
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
    /// The broker's admin API: unix:PATH
    #[arg(long, value_name = "ADDRESS", global = true)]
    admin: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

impl Target {
    /// As the environment alone says.
    pub(super) fn of_environment() -> Option<Self> {
        let command = Self::augment_args(Command::new("mubroker").no_binary_name(true));
        let matches = command.try_get_matches_from(std::iter::empty::<&str>()).ok()?;
        Self::from_arg_matches(&matches).ok()
    }

    /// A client of its admin API; nothing is connected yet.
    pub(super) fn admin(&self) -> Result<AdminClient, Failure> {
        match self.remote.admin(self.is_named(), "cli")? {
            Some(client) => Ok(client),
            None => Ok(admin_of(&self.load()?)),
        }
    }

    /// A client of the admin API on this machine, whatever names one elsewhere.
    pub(super) fn here(config: &Config) -> AdminClient {
        admin_of(config)
    }

    /// The address of a broker elsewhere, if one is meant.
    pub(super) fn elsewhere(&self) -> Option<String> {
        self.remote.url(self.is_named())
    }

    /// Where it takes clients: as given, or as the running broker says, or as the configuration does.
    pub(super) async fn clients(&self, given: Option<&String>) -> Result<String, Failure> {
        self.door(given, |overview| overview.clients, |config| config.clients).await
    }

    /// Where it takes workers, likewise.
    pub(super) async fn workers(&self, given: Option<&String>) -> Result<String, Failure> {
        self.door(given, |overview| overview.workers, |config| config.workers).await
    }

    async fn door(
        &self,
        given: Option<&String>,
        told: impl FnOnce(Overview) -> String,
        configured: impl FnOnce(Config) -> String,
    ) -> Result<String, Failure> {
        if let Some(endpoint) = given {
            return Ok(endpoint.clone());
        }
        if let Some(client) = self.remote.admin(self.is_named(), "cli")? {
            return Ok(seen_from_here(&told(client.overview().await?), client.endpoint()));
        }
        let config = self.load()?;
        match admin_of(&config).overview().await {
            Ok(overview) => Ok(told(overview)),
            // The configured address may belong to another broker than the one that is named here.
            Err(error @ AdminError::Unreachable { .. }) if self.is_named() => Err(error.into()),
            Err(AdminError::Unreachable { .. }) => Ok(configured(config)),
            Err(error) => Err(error.into()),
        }
    }

    /// What is shown in HELLO: the token that was given, if one was.
    pub(super) fn token(&self) -> Result<Option<Hidden>, Failure> {
        Ok(self.remote.token()?.map(|secret| Hidden(secret.reveal().to_owned())))
    }

    /// One broker among several is meant, not the one of the configuration.
    fn is_named(&self) -> bool {
        self.data_dir.is_some() || self.admin.is_some()
    }

    pub(super) fn load(&self) -> Result<Config, Failure> {
        let Self { config, data_dir, admin, .. } = self.clone();
        let sources = Sources { data_dir, admin, ..Sources::of_process(config) };
        Config::load(&sources).map_err(|error| Failure::new(with_causes(&error)).exit(Exit::Config))
    }
}

fn admin_of(config: &Config) -> AdminClient {
    AdminClient::new(Endpoint::Unix(config.admin.socket.clone()), "cli")
}

/// A door at all of a machine's addresses is at the one by which its admin API was found.
fn seen_from_here(door: &str, admin: &Endpoint) -> String {
    let port = ["tcp://0.0.0.0:", "tcp://[::]:"].iter().find_map(|any| door.strip_prefix(any));
    match (port, admin) {
        (Some(port), Endpoint::Tcp { host, .. }) => format!("tcp://{host}:{port}"),
        (Some(_) | None, _) => door.to_owned(),
    }
}

/// Where clients connect.
#[derive(Debug, Clone, Args)]
pub(super) struct ClientsDoor {
    /// Where the broker takes clients, e.g. tcp://127.0.0.1:5555 [default: as the running broker says]
    #[arg(long, value_name = "ENDPOINT")]
    broker: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl ClientsDoor {
    /// Of a command whose target is known already.
    pub(super) fn of(broker: Option<String>, target: Target) -> Self {
        Self { broker, target }
    }

    /// Whose clients.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// A connection to the given endpoint, or where the running broker is; HELLO with the token, if one was given.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let client = Client::connect(&self.target.clients(self.broker.as_ref()).await?).await?;
        if let Some(Hidden(token)) = self.target.token()? {
            client.hello("mubroker", Some(&token)).await?;
        }
        Ok(client)
    }
}
