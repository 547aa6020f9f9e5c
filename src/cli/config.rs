//! `mubroker config check|show`

use clap::{Args, Subcommand};

use super::config_args::ConfigArgs;
use super::failure::Failure;
use super::output::json;
use super::target::Target;
use super::{Exit, complain};
use crate::config::{Admin, EXAMPLE};

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
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub(super) fn run(args: &ConfigCommandArgs) -> Exit {
    match &args.command {
        ConfigCommand::Check(args) => match args.load().and_then(|config| {
            super::console::checked(&config)?;
            Ok(config)
        }) {
            Ok(config) => {
                println!("data_dir = {:?}", config.data_dir);
                println!("listen.clients = {:?}", config.clients);
                println!("listen.workers = {:?}", config.workers);
                println!("listen.admin = {:?}", admin(&config.admin));
                if let Some(address) = config.metrics {
                    println!("listen.metrics = {:?}", format!("tcp://{address}"));
                }
                for token in &config.auth.tokens {
                    let (name, grants) = (&token.name, &token.grants);
                    println!("token {name}: {} of {}", grants.role, grants.queues);
                }
                for (name, _) in &config.queues {
                    println!("queue {name}");
                }
                for template in &config.templates {
                    println!("queues {}*", template.prefix);
                }
                for topic in &config.topics {
                    println!("topic {}: {} subscriptions", topic.name, topic.subscriptions.len());
                }
                for saga in &config.sagas {
                    println!(
                        "saga {} version {}: {} steps",
                        saga.name,
                        saga.version,
                        saga.steps.len()
                    );
                }
                for gather in &config.gathers {
                    println!("gather {}", gather.name);
                }
                Exit::Done
            }
            Err(error) => complain(&error, Exit::Config),
        },
        ConfigCommand::Show(ShowArgs { live: true, target }) => super::asked(live(target)),
        ConfigCommand::Show(_) => {
            print!("{EXAMPLE}");
            Exit::Done
        }
    }
}

/// As the configuration has it.
fn admin(admin: &Admin) -> String {
    let socket = format!("unix:{}", admin.socket.display());
    match &admin.tcp {
        Some(tcp) => format!("{socket}, tcp://{}", tcp.address),
        None => socket,
    }
}
