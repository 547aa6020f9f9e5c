//! `mubroker config check|show`

use clap::{Args, Subcommand};

use super::config_args::ConfigArgs;
use super::failure::Failure;
use super::output::{json, print};
use super::target::Target;
use super::{Exit, complain};
use crate::config::{Admin, Config, EXAMPLE};

/// Looks at the configuration without starting anything.
#[derive(Debug, Args)]
pub struct ConfigCommandArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Says whether the settings are right, and what they come to.
    Check(ConfigArgs),
    /// Prints a configuration file with every key, its default and its reason.
    #[command(
        after_help = "What a running broker runs with, without secrets:\n  mubroker config show --live"
    )]
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// As JSON, what the running broker runs with, and which settings wait for its restart; without secrets
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    target: Target,
}

/// What the running broker says.
async fn live(target: &Target) -> Result<Exit, Failure> {
    json(&target.admin()?.config().await?)?;
    Ok(Exit::Done)
}

/// Prints what was asked for.
pub(super) fn run(args: &ConfigCommandArgs) -> Exit {
    let text = match &args.command {
        ConfigCommand::Check(args) => match args.load().and_then(|config| {
            super::console::checked(&config)?;
            config.check_files()?;
            Ok(config)
        }) {
            Ok(config) => told(&config),
            Err(error) => return complain(&error, Exit::Config),
        },
        ConfigCommand::Show(ShowArgs { live: true, target }) => return super::asked(live(target)),
        ConfigCommand::Show(_) => EXAMPLE.to_owned(),
    };
    match print(&text) {
        Ok(()) => Exit::Done,
        Err(failure) => failure.tell(),
    }
}

/// What a broker would be run with, a line each.
fn told(config: &Config) -> String {
    let mut lines = vec![
        format!("data_dir = {:?}", config.data_dir),
        format!("listen.clients = {:?}", config.clients),
        format!("listen.workers = {:?}", config.workers),
        format!("listen.admin = {:?}", admin(&config.admin)),
    ];
    let metrics = config.metrics.map(|address| format!("tcp://{address}"));
    lines.extend(metrics.map(|address| format!("listen.metrics = {address:?}")));
    lines.extend(config.auth.tokens.iter().map(|token| {
        let (name, grants) = (&token.name, &token.grants);
        format!("token {name}: {} of {}", grants.role, grants.queues)
    }));
    lines.extend(config.queues.iter().map(|(name, _)| format!("queue {name}")));
    lines.extend(config.templates.iter().map(|template| format!("queues {}*", template.prefix)));
    lines.extend(
        config.topics.iter().map(|topic| {
            format!("topic {}: {} subscriptions", topic.name, topic.subscriptions.len())
        }),
    );
    lines.extend(config.sagas.iter().map(|saga| {
        format!("saga {} version {}: {} steps", saga.name, saga.version, saga.steps.len())
    }));
    lines.extend(config.gathers.iter().map(|gather| format!("gather {}", gather.name)));
    lines.join("\n") + "\n"
}

/// As the configuration has it.
fn admin(admin: &Admin) -> String {
    let socket = format!("unix:{}", admin.socket.display());
    match &admin.tcp {
        Some(tcp) => format!("{socket}, tcp://{}", tcp.address),
        None => socket,
    }
}
