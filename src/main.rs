//! The binary: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use mubroker::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
