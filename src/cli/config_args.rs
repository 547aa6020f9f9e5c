//! The flags of every command that runs a broker.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, Sources};

/// Where settings come from. Flags override the environment, which overrides the file.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// The configuration file; see `mubroker config show` for what it may hold.
    #[arg(long, value_name = "FILE", env = "MUBROKER_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Where messages, journal and logs are kept.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where clients connect: tcp://HOST:PORT or ipc://PATH.
    #[arg(long, value_name = "ADDRESS")]
    pub clients: Option<String>,
    /// Where workers connect: tcp://HOST:PORT or ipc://PATH.
    #[arg(long, value_name = "ADDRESS")]
    pub workers: Option<String>,
    /// The admin API: unix:PATH, or with TCP too: unix:PATH,tcp://HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
}

impl ConfigArgs {
    /// Reads and checks all settings.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let Self { config, data_dir, clients, workers, admin } = self.clone();
        Config::load(&Sources { data_dir, clients, workers, admin, ..Sources::of_process(config) })
    }
}
