//! Hidden commands: what a worker starts so that nothing outlives it, and what runs an operator's expression.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Exit;
use super::failure::Failure;
use crate::console::sandbox;
use crate::worker::process::{self, Launcher, Mark};

/// This very program, also when its file has been replaced meanwhile.
const OWN: &str = "/proc/self/exe";

/// Starts processes that end with this one, through these commands.
pub(super) fn launcher() -> io::Result<Launcher> {
    Launcher::new(&own_program()?)
}

pub(super) fn own_program() -> io::Result<PathBuf> {
    let own = Path::new(OWN);
    if own.exists() { Ok(own.to_owned()) } else { std::env::current_exe() }
}

/// Become another command, which ends with its parent
#[derive(Debug, Args)]
pub struct BecomeArgs {
    /// Who must be the parent
    parent: i32,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Wait for the parent's end, then end what it has left
#[derive(Debug, Args)]
pub struct KeepArgs {
    /// By what that is found
    mark: String,
}

/// Change payloads from standard input by a program from there
#[derive(Debug, Args)]
pub struct ReworkArgs {
    /// What the program's values may take, in bytes
    memory: u64,
}

/// Ends the process itself, but where it can't begin.
pub(super) fn rework(args: &ReworkArgs) -> Exit {
    match sandbox::child::serve(args.memory, io::stdin().lock(), io::stdout()) {
        Ok(()) => Exit::Done,
        Err(error) => Failure::io("the program's process", &error).tell(),
    }
}

pub(super) fn become_command(args: &BecomeArgs) -> Exit {
    let Some((program, arguments)) = args.command.split_first() else { return Exit::Usage };
    let error = process::become_command(args.parent, program, arguments);
    let what = format!("{} can't be started", program.display());
    Failure::io(&what, &error).exit(Exit::NotStarted).tell()
}

pub(super) fn keep(args: &KeepArgs) -> Exit {
    process::keep(&Mark::named(&args.mark));
    Exit::Done
}
