//! `mubroker demo`: three queues, workers of which one refuses certain messages, and the console. All of
//! it in this process, in a temporary folder that is gone afterwards.

mod connector;
mod parts;
mod samples;

use std::io;
use std::path::Path;

use clap::Args;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::embedded::{Embedded, make_data_dir};
use super::{Exit, complain};
use crate::admin::client::{AdminClient, Endpoint};
use crate::config::{Config, Sources};
use crate::console::keymap::Keymap;
use crate::console::{self, Colours, ConsoleOptions};
use crate::telemetry::{self, LogOptions};

/// What an operator reads first.
const BANNER: &str = "DEMO: invoices is blocked: Enter Enter e, mend the field, ^S Tab Enter";
/// Ports that nobody else has.
const ANY_PORT: &str = "tcp://127.0.0.1:0";

/// Show it: three queues with realistic messages, one of them blocked within seconds
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Without the console, until SIGTERM or SIGINT; prints the data folder. For tests.
    #[arg(long, hide = true)]
    headless: bool,
    /// Draw with ASCII only.
    #[arg(long)]
    ascii: bool,
    /// How it looks: default, light, sixteen (colours) or plain (none); NO_COLOR overrides it.
    #[arg(long, value_name = "NAME", default_value = "default",
        value_parser = clap::builder::PossibleValuesParser::new(Colours::NAMES))]
    theme: String,
}

/// Runs the demo until the operator quits.
pub(super) fn run(args: &DemoArgs) -> Exit {
    let folder = match tempfile::Builder::new().prefix("mubroker-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return complain(&error, Exit::Failed),
    };
    let result = run_in(args, &folder);
    // Told apart from the result: the demo has run, only its folder may be left.
    match (result, folder.close()) {
        (Err(error), _) => complain(&*error, Exit::Failed),
        (Ok(()), Err(error)) => complain(&error, Exit::Failed),
        (Ok(()), Ok(())) => Exit::Done,
    }
}

fn run_in(args: &DemoArgs, folder: &TempDir) -> Result<(), Box<dyn std::error::Error>> {
    let config = settings(folder.path())?;
    make_data_dir(&config)?;
    let _logs = telemetry::start(&LogOptions {
        dir: config.log_dir(),
        filter: None,
        json: config.log.json,
        max_bytes: config.log.max_bytes(),
        max_files: config.log.files,
        warn_on_stderr: false,
    })?;
    let broker = Embedded::start(&config)?;
    // One thread for who sends and works, this one for the console.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (clients, workers) = (broker.clients().to_owned(), broker.workers().to_owned());
    let feeding = runtime.spawn(async move { parts::feed(&clients).await });
    let working = runtime.spawn(async move { parts::work(&workers).await });
    let shown = runtime.block_on(async {
        if args.headless {
            until_signal(folder.path()).await
        } else {
            Ok(console::run(options(args, &broker, folder.path())).await?)
        }
    });
    feeding.abort();
    working.abort();
    runtime.block_on(broker.shut_down());
    shown
}

/// The default settings, whatever the environment says, in this folder.
fn settings(folder: &Path) -> Result<Config, Box<dyn std::error::Error>> {
    Ok(Config::load(&Sources {
        data_dir: Some(folder.display().to_string()),
        clients: Some(ANY_PORT.to_owned()),
        workers: Some(ANY_PORT.to_owned()),
        ..Sources::default()
    })?)
}

fn options(args: &DemoArgs, broker: &Embedded, folder: &Path) -> ConsoleOptions {
    ConsoleOptions {
        client: AdminClient::new(Endpoint::Unix(broker.admin().path().to_owned()), "console"),
        banner: Some(BANNER.to_owned()),
        read_only: false,
        theme: super::console::theme(&args.theme, args.ascii),
        keys: Keymap::default(),
        mouse: false,
        starting: None,
        // Where there is none, who starts it says so.
        own_program: super::processes::own_program().unwrap_or_default(),
        drafts_dir: folder.join("drafts"),
        debug_panic: false,
    }
}

#[expect(clippy::print_stdout, reason = "a test reads where the demo is")]
async fn until_signal(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let caught = |kind| signal(kind).map_err(|error: io::Error| Box::new(error));
    let (mut terminate, mut interrupt) =
        (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
    println!("{}", folder.display());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
