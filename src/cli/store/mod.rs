//! `mubroker store`

mod check;
mod copy;
mod folder;
mod transfer;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Exit;
use super::failure::Failure;
use super::target::Target;

/// Check, copy, export and compact the store
#[derive(Debug, Args)]
pub struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read all of the store and say whether it is sound; changes nothing, and no broker may run on it
    ///
    /// Ends with 0 if nothing that was confirmed is missing or damaged, with 1 if something is: opening the
    /// store then puts the damaged part aside under `quarantine`, with a text that says what is lost, and
    /// keeps what is sound.
    #[command(after_help = "Examples: mubroker store check\n\
        A backup: mubroker store check --store /backups/mubroker-2026-11-21 --json")]
    Check(Check),
    /// Copy the store into a folder, also while the broker runs
    ///
    /// The copy holds whole commits: all that was accepted when it began. What waits in the RAM of memory and
    /// mixed queues is not in it, and of redis queues the references.
    #[command(after_help = "Example: mubroker store backup /backups/mubroker-2026-11-21")]
    Backup(Backup),
    /// Put a backup in the place of a store that isn't there
    #[command(after_help = "Example: mubroker store restore /backups/mubroker-2026-11-21")]
    Restore(Restore),
    /// Write all that the store holds as JSON lines; no broker may run on it
    #[command(after_help = "Example: mubroker store export --output export.jsonl\n\
        From a backup, while the broker runs: mubroker store export --store /backups/mubroker-2026-11-21")]
    Export(Export),
    /// Make a store of an export
    #[command(after_help = "Example: mubroker store import export.jsonl --data-dir /srv/mubroker")]
    Import(Import),
    /// Copy what waits into a new store, and put it in the place of the old one; no broker may run on it
    ///
    /// A broker that runs gives disk space back by itself.
    Compact(Compact),
}

#[derive(Debug, Args)]
struct Check {
    /// The store's folder, e.g. a backup [default: the data folder's]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Backup {
    /// The folder; it is made, or is empty
    to: PathBuf,
    /// Print what was done as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Restore {
    /// A folder that `store backup` has made
    from: PathBuf,
    /// Print what is in it as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Export {
    /// Where to; must not exist yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The store's folder, e.g. a backup [default: the data folder's]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print how much there was as a JSON object, on standard error if the export goes to standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Import {
    /// The export; `-` for standard input
    from: PathBuf,
    /// Print how much there was as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Compact {
    /// Print what was done as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: StoreArgs) -> Result<Exit, Failure> {
    let StoreArgs { command, target } = args;
    match command {
        StoreCommand::Check(args) => check::check(&args, &target),
        StoreCommand::Backup(backup) => copy::backup(&backup, &target).await,
        StoreCommand::Restore(restore) => copy::restore(&restore, &target),
        StoreCommand::Export(export) => transfer::export(&export, &target),
        StoreCommand::Import(import) => transfer::import(&import, &target),
        StoreCommand::Compact(compact) => transfer::compact(&compact, &target),
    }
}
