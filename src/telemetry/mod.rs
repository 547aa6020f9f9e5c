//! Logs: into files of a bounded size and number, written by a thread of their own. Never on the console's screen. And metrics.

pub mod alert;
pub mod datadog;
#[cfg(feature = "otlp")]
pub mod otlp;
mod rolling;
pub mod standing;
pub mod webhook;

use std::io;
use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

use rolling::RollingFile;

/// What is logged when nobody says: what an operator asks about the next day.
const DEFAULT_FILTER: &str = "info";

/// Lines that may wait for the disk; their places are allocated at once, and the crate's own 128,000
/// take megabytes of an idle broker.
const MAX_LINES: usize = 8_192;

/// How logs are written.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The folder; must be there.
    pub dir: PathBuf,
    /// What is logged, as `MUBROKER_LOG` says it (`debug`, `mubroker::net=debug,info`, …).
    pub filter: Option<String>,
    /// Whether warnings and errors go to standard error, too. Not under a console.
    pub warn_on_stderr: bool,
    /// A JSON object a line, rather than text.
    pub json: bool,
    /// How large a file becomes, in bytes.
    pub max_bytes: u64,
    /// How many files are kept.
    pub max_files: u32,
}

/// Why nothing is logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The folder can't be made.
    #[error("cannot make the log folder {}", dir.display())]
    Dir {
        /// Which.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file can't be made.
    #[error("cannot write logs into {}", dir.display())]
    File {
        /// Where.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The filter is not one.
    #[error(
        "MUBROKER_LOG={filter:?} is not a filter; try `info`, `debug` or `mubroker::net=debug,info`"
    )]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Logs go somewhere else already.
    #[error("logs were set up twice")]
    Twice(#[from] TryInitError),
}

/// Keeps logs going; what is still to be written is written when this is dropped.
#[derive(Debug)]
#[must_use = "logs end when this is dropped"]
pub struct Logs {
    _writer: WorkerGuard,
}

/// Sends the program's logs to a file, for as long as the answer lives. Once a process.
///
/// When more is logged than the disk takes, lines are dropped rather than the broker slowed.
pub fn start(options: &LogOptions) -> Result<Logs, LogError> {
    let dir: &Path = &options.dir;
    std::fs::create_dir_all(dir).map_err(|source| LogError::Dir { dir: dir.to_owned(), source })?;
    let appender = RollingFile::open(dir, options.max_bytes, options.max_files)
        .map_err(|source| LogError::File { dir: dir.to_owned(), source })?;
    let text = options.filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(text)
        .map_err(|source| LogError::Filter { filter: text.to_owned(), source })?;
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(MAX_LINES).finish(appender);
    // It writes whole URLs down, with what is secret in them.
    let is_mute = |target: &str| target.starts_with("hyper_util::client");
    let filter = filter.and(filter_fn(move |metadata| !is_mute(metadata.target())));
    let file = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let file: Box<dyn Layer<Registry> + Send + Sync> = match options.json {
        true => file.json().flatten_event(true).boxed(),
        false => file.boxed(),
    };
    let stderr = options.warn_on_stderr.then(|| {
        tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(io::stderr)
            .with_filter(LevelFilter::WARN)
    });
    tracing_subscriber::registry().with(file.with_filter(filter)).with(stderr).try_init()?;
    log_panics();
    Ok(Logs { _writer: guard })
}

/// A thread that breaks down says so in the log, too, before whatever else was to be done about it.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!(%panic, thread = std::thread::current().name(), "a thread broke down");
        before(panic);
    }));
}
