//! `mubroker worker`: run one, list all.

mod events;
mod handler;
mod list;
mod run;

use clap::{Args, Subcommand};

use super::Exit;
use super::failure::Failure;

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
    /// List the connected workers
    Ls {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: WorkerArgs) -> Result<Exit, Failure> {
    match args.command {
        Some(WorkerCommand::Ls { json }) => list::list(json, &args.run.target).await,
        None => run::serve(args.run).await,
    }
}
