//! The binary: parse, run, exit code.

use std::process::ExitCode;

use mubroker::cli;
use tikv_jemallocator::Jemalloc;

/// Gives back what isn't needed any more (`Cargo.toml` says why it is this one).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // A shell that asks for completions gets them, and nothing else is done.
    cli::complete();
    cli::run(cli::parse())
}
