//! `mubroker worker`: run one, list all.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use super::failure::Failure;
use super::output::{Column, age, json, note, print, table};
use super::target::Target;
use crate::admin::dto::{QueueName, Timestamp, WorkerView};
use crate::console::text::clean::clean;
use crate::model::limits::MAX_CREDIT;
use crate::model::{WorkerInfo, with_causes};
use crate::worker::exec::Exec;
use crate::worker::{self, Pace, WorkerEvent, WorkerOptions};

/// The longest execution that can be asked for, in milliseconds: one day.
const MAX_EXECUTION_MS: u64 = 86_400_000;

/// Run a command for each message of a queue, or list the workers
///
/// The payload is the command's standard input, the header its MUBROKER_* environment. Exit status 0
/// acknowledges the message with standard output as the reply; anything else is a failure with the end
/// of standard error. SIGTERM and SIGINT let running messages end. After a kill -9 of the worker itself
/// its command may run on, while the message is delivered again: at least once.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct WorkerArgs {
    #[command(subcommand)]
    command: Option<WorkerCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum WorkerCommand {
    /// List the connected workers
    Ls {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A queue to serve; may be given several times
    #[arg(long, short, required = true)]
    queue: Vec<QueueName>,
    /// The command and its arguments; all that follows belongs to it
    #[arg(long, value_name = "CMD", required = true, num_args = 1.., allow_hyphen_values = true)]
    exec: Vec<OsString>,
    /// How many messages at once
    #[arg(long, default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CREDIT)))]
    credit: u32,
    /// How long one message may take, in milliseconds; then its process group is ended
    #[arg(long, value_name = "MS", default_value_t = 60_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_EXECUTION_MS))]
    max_execution_ms: u64,
    /// How long running messages may still take when the worker is told to stop, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    stop_grace_ms: u64,
    /// The name that operators see [default: the command's]
    #[arg(long)]
    name: Option<String>,
    /// Tell what happens as JSON, one line an event
    #[arg(long)]
    json: bool,
    /// Where the broker takes workers, e.g. tcp://127.0.0.1:5556 [default: as the running broker says]
    #[arg(long, value_name = "ENDPOINT")]
    broker: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(args: WorkerArgs) -> Result<Exit, Failure> {
    match args.command {
        Some(WorkerCommand::Ls { json }) => list(json, &args.run.target).await,
        None => serve(args.run).await,
    }
}

async fn list(as_json: bool, target: &Target) -> Result<Exit, Failure> {
    let client = target.admin()?;
    let workers = client.workers().await?;
    if as_json {
        json(&workers)?;
    } else if workers.is_empty() {
        print("no workers; `mubroker worker --queue NAME --exec COMMAND` runs one\n")?;
    } else {
        print(&rows(&workers, client.overview().await?.now))?;
    }
    Ok(Exit::Done)
}

fn rows(workers: &[WorkerView], now: Timestamp) -> String {
    let columns = [
        Column("WORKER", 20),
        Column("STATE", 8),
        Column("BUSY", 9),
        Column("ACKED", 9),
        Column("NACKED", 9),
        Column("HEARD", 6),
        Column("QUEUES", 80),
    ];
    let rows: Vec<_> = workers
        .iter()
        .map(|worker| {
            let queues = worker.queues.iter().map(|queue| match worker.standby.contains(queue) {
                true => format!("{queue} (stands by)"),
                false => queue.to_string(),
            });
            let queues: Vec<_> = queues.collect();
            vec![
                worker.name.clone(),
                worker.state.to_string(),
                format!("{}/{}", worker.in_flight.len(), worker.credit),
                worker.acked.to_string(),
                worker.nacked.to_string(),
                age(now.since_ms(worker.heard_at)),
                queues.join(" "),
            ]
        })
        .collect();
    table(&columns, &rows)
}

async fn serve(args: RunArgs) -> Result<Exit, Failure> {
    let name = args.name.clone().unwrap_or_else(|| command_name(&args.exec));
    let handler = Exec::new(args.exec).map_err(|error| Failure::new(error.to_string()))?;
    let options = WorkerOptions {
        endpoint: args.target.workers(args.broker.as_ref()).await?,
        queues: args.queue,
        credit: args.credit,
        info: WorkerInfo {
            name,
            pid: Some(std::process::id()),
            host: nix::unistd::gethostname().ok().map(|host| host.to_string_lossy().into_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            max_execution_ms: Some(args.max_execution_ms),
            ..WorkerInfo::default()
        },
        max_execution: Duration::from_millis(args.max_execution_ms),
        stop_grace: Duration::from_millis(args.stop_grace_ms),
        pace: Pace::new(fastrand::u64(..)),
    };
    let failed = |error| Failure::io("signals can't be heard", &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let endpoint = options.endpoint.clone();
    let observe = move |event: WorkerEvent| {
        if args.json {
            // When nobody reads the events any more the work goes on all the same.
            let _nobody = json(&event_json(&event));
        } else {
            note(&clean(&event_text(&event, &endpoint)));
        }
    };
    match worker::run(options, handler, stop, observe).await {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Failure::new(with_causes(&error)).exit(Exit::Usage)),
    }
}

fn command_name(command: &[OsString]) -> String {
    let program = command.first().map(std::path::Path::new).and_then(|path| path.file_name());
    program.map_or_else(|| "worker".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn event_text(event: &WorkerEvent, endpoint: &str) -> String {
    match event {
        WorkerEvent::Ready => format!("ready at {endpoint}"),
        WorkerEvent::Away { reason, pause } => {
            format!("not connected: {reason}; trying again in {} ms", pause.as_millis())
        }
        WorkerEvent::Started { queue, seq, id, attempt, .. } => {
            format!("{queue} {seq} started, attempt {attempt}, id {id}")
        }
        WorkerEvent::Finished { queue, seq, took, error: None, .. } => {
            format!("{queue} {seq} done in {} ms", took.as_millis())
        }
        WorkerEvent::Finished { queue, seq, took, error: Some(error), .. } => {
            let ms = took.as_millis();
            format!("{queue} {seq} failed after {ms} ms: {}: {}", error.code, error.message)
        }
        WorkerEvent::Stale { delivery } => {
            format!("delivery {delivery} was over; its answer changes nothing")
        }
        WorkerEvent::Rejected(rejection) => format!("refused: {}", rejection.reason),
        WorkerEvent::Stopping { running } => format!("stopping; {running} messages still run"),
    }
}

fn event_json(event: &WorkerEvent) -> serde_json::Value {
    match event {
        WorkerEvent::Ready => json!({"event": "ready"}),
        WorkerEvent::Away { reason, pause } => {
            json!({"event": "away", "reason": reason, "pause_ms": millis(*pause)})
        }
        WorkerEvent::Started { delivery, queue, seq, id, attempt } => {
            json!({"event": "started", "delivery": delivery, "queue": queue, "seq": seq, "id": id,
                   "attempt": attempt})
        }
        WorkerEvent::Finished { delivery, queue, seq, took, error } => {
            json!({"event": "finished", "delivery": delivery, "queue": queue, "seq": seq,
                   "took_ms": millis(*took), "error": error})
        }
        WorkerEvent::Stale { delivery } => json!({"event": "stale", "delivery": delivery}),
        WorkerEvent::Rejected(rejection) => json!({"event": "rejected", "rejection": rejection}),
        WorkerEvent::Stopping { running } => json!({"event": "stopping", "running": running}),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
