//! The binary: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use mubroker::cli::{self, Cli};
use tikv_jemallocator::Jemalloc;

/// Gives back what isn't needed any more (`Cargo.toml` says why it is this one).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
