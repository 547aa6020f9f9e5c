//! `mubroker` and `mubroker console`: the terminal console.

use clap::Args;
use etcetera::BaseStrategy as _;
use std::error::Error;
use std::path::PathBuf;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

use super::config_args::ConfigArgs;
use super::embedded::{Embedded, EmbeddedError, make_data_dir};
use super::failure::Failure;
use super::processes::own_program;
use super::remote::RemoteArgs;
use super::{Exit, complain};
use crate::admin::client::{AdminClient, Endpoint};
use crate::broker::Ended;
use crate::config::{Config, ConfigError, ConsoleKeys};
use crate::console::keymap::{KeyChange, Keymap};
use crate::console::{self, Colours, ConsoleOptions, Starting, Theme};
use crate::telemetry::{self, LogOptions, Logs};

/// What the journal says of where an act came from.
const VIA: &str = "console";

/// Open the console on the broker that runs on this store
#[derive(Debug, Clone, Default, Args)]
pub struct ConsoleArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Look, but change nothing.
    #[arg(long)]
    read_only: bool,
    /// Draw with ASCII only.
    #[arg(long)]
    ascii: bool,
    /// How it looks: default, light, sixteen (colours) or plain (none); NO_COLOR overrides it.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(Colours::NAMES))]
    theme: Option<String>,
    /// The palette gets a command `panic`, for tests.
    #[arg(long, hide = true)]
    debug_panic_key: bool,
}

/// `mubroker console`: attaches to a broker; it may also come later.
pub(super) fn attach(args: &ConsoleArgs) -> Exit {
    let (config, keys) = match load(args) {
        Ok(loaded) => loaded,
        Err(error) => return complain(&error, Exit::Config),
    };
    match elsewhere(args) {
        Ok(Some(client)) => show(options(args, &config, keys, client), None),
        Ok(None) => show(options(args, &config, keys, here(&config)), None),
        Err(failure) => failure.tell(),
    }
}

/// A broker elsewhere, if one is meant.
fn elsewhere(args: &ConsoleArgs) -> Result<Option<AdminClient>, Failure> {
    let is_named = args.config.data_dir.is_some() || args.config.admin.is_some();
    args.remote.admin(is_named, VIA)
}

/// The broker of the configuration.
pub(super) fn here(config: &Config) -> AdminClient {
    AdminClient::new(Endpoint::Unix(config.admin.socket.clone()), VIA)
}

/// `mubroker`: with a broker inside, unless another process holds the store: then attached to that one.
pub(super) fn open(args: &ConsoleArgs) -> Exit {
    let (config, keys) = match load(args) {
        Ok(loaded) => loaded,
        Err(error) => return complain(&error, Exit::Config),
    };
    match elsewhere(args) {
        Ok(Some(client)) => return show(options(args, &config, keys, client), None),
        Ok(None) => {}
        Err(failure) => return failure.tell(),
    }
    if let Err(error) = make_data_dir(&config) {
        return complain(&error, Exit::Failed);
    }
    let (tell, starting) = oneshot::channel();
    let options = options(args, &config, keys, here(&config));
    // The screen doesn't wait for the store.
    let broker = std::thread::spawn(move || {
        let started = start(&config);
        let word = if started.is_ok() { Starting::Ready } else { Starting::Failed };
        // Nobody hears it if the operator has quit.
        let _ = tell.send(word);
        started
    });
    show(ConsoleOptions { starting: Some(starting), ..options }, Some(broker))
}

/// A broker inside with its log; none if another process has the store: the console is for that one then.
fn start(config: &Config) -> Result<Option<Inside>, Box<dyn Error + Send + Sync>> {
    let broker = match Embedded::start(config) {
        Ok(broker) => broker,
        Err(EmbeddedError::Held { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let logs = telemetry::start(&LogOptions {
        dir: config.log_dir(),
        filter: std::env::var("MUBROKER_LOG").ok(),
        json: config.log.json,
        max_bytes: config.log.max_bytes(),
        max_files: config.log.files,
        // The screen is the console's.
        warn_on_stderr: false,
    })?;
    Ok(Some(Inside { broker, _logs: logs }))
}

/// A broker in this process.
struct Inside {
    broker: Embedded,
    /// Written to its end.
    _logs: Logs,
}

/// A thread that starts a broker.
type Beginning = JoinHandle<Result<Option<Inside>, Box<dyn Error + Send + Sync>>>;

/// Where drafts are kept: with the user, whoever's broker it is.
pub(super) fn drafts_dir(config: &Config) -> PathBuf {
    match etcetera::choose_base_strategy() {
        Ok(base) => base.data_dir().join("mubroker").join("drafts"),
        Err(_) => config.data_dir.join("drafts"),
    }
}

/// What the configuration says of the console: its keys and its theme. What is wrong with them is told with its place.
pub(super) fn checked(config: &Config) -> Result<Keymap, ConfigError> {
    let console = &config.console;
    if let (None, Some(place)) = (Colours::named(&console.theme), &console.theme_place) {
        let known = Colours::NAMES.map(|name| format!("{name:?}")).join(", ");
        let reason = format!("console.theme {:?} is unknown; give one of {known}", console.theme);
        return Err(ConfigError::Value { place: place.clone(), reason });
    }
    keys(config)
}

/// The colours of this name, as far as the terminal has them; none under `NO_COLOR`.
pub(super) fn theme(name: &str, ascii: bool) -> Theme {
    let of = |name| std::env::var(name).unwrap_or_default();
    // https://no-color.org: set and not empty.
    let colours = match of("NO_COLOR").is_empty() {
        true => Colours::named(name).expect("names were checked"),
        false => Colours::Plain,
    };
    Theme::of(colours.on(&of("TERM"), &of("COLORTERM")), ascii)
}

fn keys(config: &Config) -> Result<Keymap, ConfigError> {
    let lines = &config.console.keys;
    let change =
        |line: &ConsoleKeys| KeyChange { name: line.name.clone(), keys: line.keys.clone() };
    let changes: Vec<KeyChange> = lines.iter().map(change).collect();
    Keymap::changed(&changes).map_err(|problem| {
        let place = lines[problem.line].place.clone();
        ConfigError::Value { place, reason: format!("console.keys: {problem}") }
    })
}

/// Settings, and the keys in them.
fn load(args: &ConsoleArgs) -> Result<(Config, Keymap), ConfigError> {
    let config = args.config.load()?;
    let keys = checked(&config)?;
    Ok((config, keys))
}

fn options(
    args: &ConsoleArgs,
    config: &Config,
    keys: Keymap,
    client: AdminClient,
) -> ConsoleOptions {
    let name = args.theme.as_deref().unwrap_or(&config.console.theme);
    ConsoleOptions {
        client,
        banner: None,
        read_only: args.read_only,
        theme: theme(name, args.ascii || config.console.ascii),
        keys,
        mouse: config.console.mouse,
        starting: None,
        // Where there is none, who starts it says so.
        own_program: own_program().unwrap_or_default(),
        drafts_dir: drafts_dir(config),
        debug_panic: args.debug_panic_key,
    }
}

/// Runs the console on this thread, then stops the broker inside, if there is one.
fn show(options: ConsoleOptions, broker: Option<Beginning>) -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Answers are read beside the keys, so that a large one doesn't hold them up.
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, Exit::Failed),
    };
    let shown = runtime.block_on(console::run(options));
    // The terminal is given back; a store that is still being opened is waited for, so that it is closed well.
    let started = broker.map(|broker| {
        broker.join().unwrap_or_else(|_| Err("the broker panicked while it started".into()))
    });
    let (ended, failed) = match started {
        Some(Ok(Some(inside))) => (Some(runtime.block_on(inside.broker.shut_down())), None),
        Some(Err(error)) => (None, Some(error)),
        Some(Ok(None)) | None => (None, None),
    };
    // A disk that hangs doesn't hold up the shell.
    runtime.shutdown_background();
    if let Some(error) = failed {
        return complain(&*error, Exit::Failed);
    }
    match (shown, ended) {
        (Err(error), _) => complain(&error, Exit::Failed),
        (Ok(()), Some(Ended::StoreLost { reason } | Ended::StoreUnavailable { reason })) => {
            let text = format!("the broker had stopped, its store broke down: {reason}");
            complain(&*Box::<dyn std::error::Error>::from(text), Exit::Failed)
        }
        (Ok(()), Some(Ended::Clean | Ended::TimedOut | Ended::Crashed) | None) => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_theme_that_nobody_has_named_is_one_of_those_that_there_are() {
        let default = crate::config::Console::default();
        assert!(default.theme_place.is_none() && Colours::named(&default.theme).is_some());
    }
}
