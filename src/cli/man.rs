//! `mubroker man DIR`

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::failure::Failure;
use super::output::note;
use super::{Cli, Exit};

/// Write the manual pages, one a command, into a folder
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mubroker man ~/.local/share/man/man1\n  man mubroker-send")]
pub struct ManArgs {
    /// The folder; it is made if it isn't there
    dir: PathBuf,
}

pub(super) fn run(args: &ManArgs) -> Result<Exit, Failure> {
    let dir = &args.dir;
    let named = |error| Failure::io(&dir.display().to_string(), &error);
    std::fs::create_dir_all(dir).map_err(named)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(named)?;
    note(&format!("the pages are in {}", dir.display()));
    Ok(Exit::Done)
}
