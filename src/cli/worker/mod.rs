//! `mubroker worker`: run one, list all.

mod alerts;
mod events;
mod handler;
mod list;
mod pools;
mod run;

use clap::{Args, Subcommand};

use super::Exit;
use super::failure::Failure;
use crate::admin::dto::PoolAct;

/// Do the messages of a queue by a command or an HTTP server, or list the workers
///
/// With --exec, a command is run once a message: the payload is its standard input, the header its MUBROKER_*
/// environment. Exit status 0 acknowledges the message with standard output as the reply; anything else is a failure with
/// the end of standard error. With --stdio, a command stays and is given one message after the other (README, "Workers"). With --http,
/// messages are POSTed: 2xx acknowledges with the body as the reply, anything else is a failure. SIGTERM and SIGINT let
/// running messages end. However the worker itself ends, what it started ends with it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct WorkerArgs {
    #[command(subcommand)]
    command: Option<WorkerCommand>,
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Debug, Subcommand)]
enum WorkerCommand {
    /// List the connected workers, and those that the broker supervises
    Ls {
        /// The connected ones, as a JSON array
        #[arg(long)]
        json: bool,
        /// The supervised ones only
        #[arg(long)]
        supervised: bool,
    },
    /// Let each process of a supervised worker, or connected workers, end what they have, and start them anew
    Restart(pools::PoolArgs),
    /// The same, and start none until restart or scale; connected workers end
    Drain(pools::PoolArgs),
    /// Keep so many processes of a supervised worker running, until the broker stops
    Scale {
        #[command(flatten)]
        pool: pools::PoolArgs,
        /// How many
        count: u32,
    },
}

pub(super) async fn run(args: WorkerArgs) -> Result<Exit, Failure> {
    let target = &args.run.target;
    match args.command {
        Some(WorkerCommand::Ls { json, supervised: false }) => list::list(json, target).await,
        Some(WorkerCommand::Ls { json, supervised: true }) => list::pools(json, target).await,
        Some(WorkerCommand::Restart(pool)) => pool.act(PoolAct::Restart, target).await,
        Some(WorkerCommand::Drain(pool)) => pool.act(PoolAct::Drain, target).await,
        Some(WorkerCommand::Scale { pool, count }) => pool.act(PoolAct::Scale(count), target).await,
        None => run::serve(args.run).await,
    }
}
