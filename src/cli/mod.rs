//! The command line: one file a command. The only place that prints.

pub mod bench;
mod exit;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;

/// A message broker that stops when something is wrong, and a console to put it right.
#[derive(Debug, Parser)]
#[command(name = "mubroker", version, after_help = EXIT_CODES, arg_required_else_help = false)]
pub struct Cli {
    /// What to do; without one, the console opens.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `--help` says of exit codes; see [`Exit`].
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the store is held by \
     another process, 4 the configuration is refused, 5 no broker answers, 6 the broker refused.";

/// One variant a command, one file a variant.
#[derive(Debug, Subcommand)]
pub enum Command {}

/// Runs what the command line asks for.
pub fn run(cli: Cli) -> ExitCode {
    let exit = match cli.command {
        None => Exit::Usage,
        Some(command) => match command {},
    };
    exit.into()
}
