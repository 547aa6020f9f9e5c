//! `mubroker bench`: what this machine, its disk, the mailbox and the broker can do, in one run.
//!
//! Only figures of the same run are compared: disks and neighbours differ from one minute to the next.

mod disk;
mod dispatch;
mod folder;
mod host;
mod keys;
mod limits;
mod load;
mod pages;
mod report;
mod samples;
mod scale;
mod steady;
mod store;
mod zmtp;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::Instant;

use self::host::Host;
use self::load::Load;
use self::report::{Bar, Figure, Report, Row};
use self::scale::SizeArgs;
use crate::admin::client::AdminError;

/// Windows of the publishing loads: one at a time, a modest and a large pipeline.
const WINDOWS: [usize; 3] = [1, 64, 1024];
/// Windows of the calls.
const CALL_WINDOWS: [usize; 2] = [1, 64];
/// The window of end to end: what waits in the queues and in the worker's hands.
const END_TO_END_WINDOW: usize = 1024;
/// Queues of publishing and of the backlog that it leaves.
const PUBLISH_QUEUES: usize = 64;

/// Measure publishing, end to end, calls, many queues and long backlogs, next to what disk and mailbox do
/// alone
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Measure the broker that runs (its admin socket), not one started for it. What needs a fresh store or
    /// a restart (dispatch, queues, depth, steady, keys, pages, watchers, drain) is left out then.
    #[arg(long, value_name = "SOCKET")]
    broker: Option<PathBuf>,
    /// Where the temporary folder is made: the disk that is measured.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Only these measurements.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<What>,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// At most so many messages in each measurement.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
    messages: u64,
    /// A payload's length.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    payload_bytes: u32,
    /// Queues of the loads end to end and rpc.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1024))]
    queues: u32,
    #[command(flatten)]
    sizes: SizeArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// A plain file, flushed after each batch.
    Disk,
    /// The store alone, without sockets or broker.
    Mailbox,
    /// SEND to ACCEPTED.
    Publish,
    /// Working off what publishing left.
    Backlog,
    /// SEND to the worker's hands.
    EndToEnd,
    /// CALL to REPLY.
    Rpc,
    /// A backlog to ready workers, next to a bare ROUTER-DEALER loop.
    Dispatch,
    /// Many queues: making them, their memory, a restart, a list of all.
    Queues,
    /// One long queue: its memory, a restart, the first delivery after it.
    Depth,
    /// Many messages through a queue that stays short, in the store alone: its disk.
    Steady,
    /// A queue that is ordered by key: delivery beside blocked keys.
    Keys,
    /// Pages of long queues' messages, by each filter.
    Pages,
    /// Publishing beside many who watch.
    Watchers,
    /// A backlog that is worked off: the disk that is given back.
    Drain,
}

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The operating system failed.
    #[error("{what} failed")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// No broker answers.
    #[error("no broker answers at {at}")]
    Unreachable {
        /// The admin socket.
        at: String,
        /// The cause.
        source: AdminError,
    },
    /// The broker refused an operator's request.
    #[error("the broker could not be asked for {what}")]
    Admin {
        /// What was asked for.
        what: &'static str,
        /// The cause.
        source: AdminError,
    },
    /// The mailbox failed.
    #[error("the mailbox failed")]
    Mailbox(#[from] crate::mailbox::MailboxError),
    /// The broker stopped answering.
    #[error("the broker has been silent for 30 s in the middle of a load")]
    Silent,
    /// The broker said what a load doesn't expect.
    #[error("the broker answered {what}")]
    Unexpected {
        /// What it said.
        what: String,
    },
}

impl BenchError {
    fn io(what: &'static str, source: std::io::Error) -> Self {
        Self::Io { what, source }
    }
}

/// How much of what is measured.
struct Plan {
    time: Duration,
    messages: u64,
    payload_bytes: usize,
    queues: usize,
    sizes: SizeArgs,
    only: Vec<What>,
}

impl Plan {
    fn has(&self, what: What) -> bool {
        self.only.is_empty() || self.only.contains(&what)
    }

    fn needs_broker(&self) -> bool {
        [What::Publish, What::Backlog, What::EndToEnd, What::Rpc]
            .map(|what| self.has(what))
            .contains(&true)
    }
}

/// Runs the measurements one after the other, on this thread, and prints them.
#[expect(clippy::print_stdout, reason = "the command line prints")]
pub async fn run(args: &BenchArgs) -> Result<(), BenchError> {
    let plan = Plan {
        time: Duration::from_secs(args.seconds),
        messages: args.messages,
        payload_bytes: args.payload_bytes as usize,
        queues: args.queues as usize,
        sizes: args.sizes.clone(),
        only: args.only.clone(),
    };
    let at = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    limits::measure(&plan, &at, &mut rows, &mut figures)?;
    if plan.needs_broker() {
        let host = match &args.broker {
            Some(socket) => Host::attach(socket).await?,
            None => Host::start(&at).await?,
        };
        broker_rows(&plan, &host, &mut rows).await?;
    }
    figures.extend(ratios(&rows));
    if args.broker.is_none() {
        scale::measure(&plan, &at, &mut rows, &mut figures).await?;
    }
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        debug_build: cfg!(debug_assertions),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        payload_bytes: plan.payload_bytes,
        rows,
        figures,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("figures are JSON"));
    } else {
        print!("{report}");
    }
    Ok(())
}

/// A temporary folder below `folder`, removed with the value.
fn scratch(folder: &Path) -> Result<tempfile::TempDir, BenchError> {
    tempfile::Builder::new()
        .prefix("mubroker-bench-")
        .tempdir_in(folder)
        .map_err(|source| BenchError::io("a temporary folder", source))
}

async fn broker_rows(plan: &Plan, host: &Host, rows: &mut Vec<Row>) -> Result<(), BenchError> {
    let run = format!("bench.{}", std::process::id());
    for window in WINDOWS {
        if !plan.has(What::Publish) && !plan.has(What::Backlog) {
            break;
        }
        let prefix = format!("{run}.publish{window}");
        let mut load = Load::new(plan, &host.clients, &prefix, PUBLISH_QUEUES).await?;
        rows.push(watched(host, load.publish(window)).await?);
        // A broker of our own goes with its store; one that runs is left as it was found.
        let last = window == WINDOWS[WINDOWS.len() - 1];
        if !host.is_own() || (last && plan.has(What::Backlog)) {
            let left = load.accepted();
            rows.push(watched(host, load.drain(&host.workers, left)).await?);
        }
    }
    if plan.has(What::EndToEnd) {
        let mut load = Load::new(plan, &host.clients, &format!("{run}.e2e"), plan.queues).await?;
        rows.push(watched(host, load.end_to_end(&host.workers, END_TO_END_WINDOW)).await?);
    }
    for window in CALL_WINDOWS {
        if plan.has(What::Rpc) {
            let prefix = format!("{run}.rpc{window}");
            let mut load = Load::new(plan, &host.clients, &prefix, plan.queues).await?;
            rows.push(watched(host, load.rpc(&host.workers, window)).await?);
        }
    }
    Ok(())
}

/// A row with what the broker's process used meanwhile.
async fn watched(
    host: &Host,
    measurement: impl Future<Output = Result<Row, BenchError>>,
) -> Result<Row, BenchError> {
    let (before, began) = (host.usage()?, Instant::now());
    let mut row = measurement.await?;
    let (after, elapsed) = (host.usage()?, began.elapsed());
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / elapsed.as_secs_f64();
    row.broker_cpu_percent = Some(cpu * 100.0);
    row.broker_rss_bytes = Some(after.rss);
    Ok(row)
}

/// The project's bars, as far as their figures are there.
fn ratios(rows: &[Row]) -> Vec<Figure> {
    let find = |name: &str, window| rows.iter().find(|r| r.name == name && r.window == window);
    let wide = END_TO_END_WINDOW;
    let (publish, mailbox) = (find("publish", wide), find(store::NAME, wide));
    let mut ratios = Vec::new();
    if let (Some(publish), Some(mailbox)) = (publish, mailbox) {
        let value = publish.per_second / mailbox.per_second;
        ratios.push(Figure::new(
            "publish / mailbox alone, window 1024",
            value,
            "",
            Bar::AtLeast(0.4),
        ));
        if let (Some([_, p99, _]), Some([flush, ..])) = (publish.latency_ms, mailbox.latency_ms) {
            let name = "publish p99 / mailbox flush p50, window 1024";
            ratios.push(Figure::new(name, p99 / flush, "", Bar::Below(20.0)));
        }
    }
    if let (Some(publish), Some(through)) = (publish, find("end to end", wide)) {
        let value = through.per_second / publish.per_second;
        ratios.push(Figure::new("end to end / publish, window 1024", value, "", Bar::AtLeast(0.5)));
    }
    ratios
}
