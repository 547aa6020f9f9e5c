//! The command line: one file a command. The only place that prints.

pub mod bench;
mod config;
mod config_args;
pub mod embedded;
mod exit;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use config_args::ConfigArgs;
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
pub enum Command {
    /// Run the broker as a daemon, until SIGTERM or SIGINT.
    Serve(serve::ServeArgs),
    /// Check the configuration, or show all that it may hold.
    Config(config::ConfigCommandArgs),
}

/// Runs what the command line asks for.
pub fn run(cli: Cli) -> ExitCode {
    let exit = match cli.command {
        None => Exit::Usage,
        Some(command) => match command {
            Command::Serve(args) => serve::run(&args),
            Command::Config(args) => config::run(&args),
        },
    };
    exit.into()
}

/// Tells an error with its causes on standard error.
#[expect(clippy::print_stderr, reason = "where a user looks for what went wrong")]
pub(crate) fn complain(error: &dyn std::error::Error, exit: Exit) -> Exit {
    eprint!("mubroker: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    exit
}
