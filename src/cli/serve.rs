//! `mubroker serve`: the headless daemon.

use std::io;
use std::process;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config_args::ConfigArgs;
use super::embedded::{Embedded, EmbeddedError, make_data_dir};
use super::notify::Notify;
use super::reload::{self, Settings};
use super::{Exit, complain};
use crate::broker::Ended;
use crate::telemetry::{self, LogOptions};

/// Exit code after a second signal, as a shell shows a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Runs the broker until SIGTERM or SIGINT.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints one line when clients can connect; warnings go to standard error, all else into the log.
#[expect(clippy::print_stdout, reason = "the line that says where it listens")]
pub(super) fn run(args: &ServeArgs) -> Exit {
    let config = match args.config.load() {
        Ok(config) => config,
        Err(error) => return complain(&error, Exit::Config),
    };
    if let Err(error) = make_data_dir(&config) {
        return complain(&error, Exit::Failed);
    }
    let logs = LogOptions {
        dir: config.log_dir(),
        filter: std::env::var("MUBROKER_LOG").ok(),
        json: config.log.json,
        max_bytes: config.log.max_bytes(),
        max_files: config.log.files,
        warn_on_stderr: true,
    };
    let _logs = match telemetry::start(&logs) {
        Ok(logs) => logs,
        Err(error) => return complain(&error, Exit::Failed),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, Exit::Failed),
    };
    // Before the broker starts: a signal meanwhile must not end the process halfway.
    let _in_runtime = runtime.enter();
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return complain(&error, Exit::Failed),
    };
    if let Err(error) = config.check_files() {
        return complain(&error, Exit::Config);
    }
    let broker = match Embedded::start(&config) {
        Ok(broker) => broker,
        Err(error @ EmbeddedError::Held { .. }) => return complain(&error, Exit::StoreHeld),
        Err(error) => return complain(&error, Exit::Failed),
    };
    let (clients, workers) = (broker.clients(), broker.workers());
    let metrics = broker.metrics().map(|address| format!(", metrics http://{address}/metrics"));
    let (admin, store) = (broker.admin().path().display(), config.data_dir.display());
    let url = broker.admin().url();
    let over_tcp = url.map(|url| format!(", admin at {url}")).unwrap_or_default();
    println!(
        "mubroker listens: clients {clients}, workers {workers}, admin unix:{admin}{over_tcp}, store {store}{}",
        metrics.unwrap_or_default()
    );
    tracing::info!(clients, workers, %admin, url, %store, version = env!("CARGO_PKG_VERSION"), "started");
    reload::warn(&config);
    let settings = Settings::new(args.config.clone(), config.clone());
    let notify = Notify::of_environment();
    notify.ready(clients, workers);
    let ended = runtime.block_on(until_stopped(broker, &notify, &mut signals, settings));
    tracing::info!(?ended, "stopped");
    match ended {
        Ended::Clean => Exit::Done,
        Ended::StoreUnavailable { reason } => {
            let text = format!("stopped while the store could not be written: {reason}");
            complain(&*Box::<dyn std::error::Error>::from(text), Exit::Failed)
        }
        Ended::TimedOut => {
            let text = "the store or a socket did not finish in time; what was accepted is kept";
            complain(&*Box::<dyn std::error::Error>::from(text), Exit::Failed)
        }
        Ended::StoreLost { reason } => {
            let text = format!("the store broke down, start again to open it: {reason}");
            complain(&*Box::<dyn std::error::Error>::from(text), Exit::Failed)
        }
        Ended::Crashed => {
            let text = "the broker broke down; the log says why";
            complain(&*Box::<dyn std::error::Error>::from(text), Exit::Failed)
        }
    }
}

/// What a daemon hears.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Until the first signal to stop, then until the broker has stopped; the second one ends the process at once. SIGHUP reads the
/// configuration again.
async fn until_stopped(
    broker: Embedded,
    notify: &Notify,
    signals: &mut Signals,
    mut settings: Settings,
) -> Ended {
    let Signals { terminate, interrupt, hangup } = signals;
    loop {
        tokio::select! {
            ended = broker.ended() => return ended,
            _ = hangup.recv() => settings.reload(&broker).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = notify.watch(broker.handle()) => {}
        }
    }
    notify.stopping();
    tokio::select! {
        ended = broker.shut_down() => ended,
        _ = terminate.recv() => process::exit(INTERRUPTED),
        _ = interrupt.recv() => process::exit(INTERRUPTED),
    }
}
