//! `mubroker worker --queue …`: serves queues.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::alerts::Alerts;
use super::events::{event_json, event_text};
use crate::admin::dto::QueueName;
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{json, note};
use crate::cli::target::Target;
use crate::console::text::clean::clean;
use crate::model::limits::{MAX_CREDIT, MAX_EXECUTION_MS};
use crate::model::{WorkerInfo, with_causes};
use crate::worker::health::HealthServer;
use crate::worker::process::Mark;
use crate::worker::seen::{Idempotent, Seen};
use crate::worker::status::Status;
use crate::worker::{self, Pace, WorkerEvent, WorkerOptions};

/// How a worker is run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A queue to serve; may be given several times
    #[arg(long, short, required = true, add = crate::cli::completions::queues())]
    queue: Vec<QueueName>,
    #[command(flatten)]
    by: super::handler::ByArgs,
    /// How many messages at once
    #[arg(long, default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CREDIT)))]
    credit: u32,
    /// How long one message may take, in milliseconds; then its process group is ended
    #[arg(long, value_name = "MS", default_value_t = 60_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_EXECUTION_MS))]
    max_execution_ms: u64,
    /// How long a message that has taken too long is let end by itself, in milliseconds, before it is ended
    #[arg(long, value_name = "MS", default_value_t = 2_000,
          value_parser = clap::value_parser!(u64).range(0..=MAX_EXECUTION_MS))]
    overrun_grace_ms: u64,
    /// How long running messages may still take when the worker is told to stop, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    stop_grace_ms: u64,
    /// Answer health checks over HTTP: /livez, /readyz, /healthz, /work, /metrics; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true,
          default_missing_value = "127.0.0.1:0")]
    health: Option<SocketAddr>,
    /// Keep the ids of messages that were done in this folder, and do none of them again
    #[arg(long, value_name = "DIR")]
    seen: Option<PathBuf>,
    /// How many ids --seen keeps at least
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    seen_last: usize,
    /// Tell Datadog of messages that take too long: udp://HOST:8125 or unix:///PATH
    #[arg(long, value_name = "ADDRESS")]
    datadog: Option<String>,
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
    pub(super) target: Target,
}

pub(super) async fn serve(args: RunArgs) -> Result<Exit, Failure> {
    let name = args.name.clone().unwrap_or_else(|| args.by.name());
    let handler = args.by.handler()?;
    let status = Status::default();
    let health = match args.health {
        Some(address) => {
            if !address.ip().is_loopback() {
                note(&format!(
                    "--health {address}: whoever reaches it reads what this worker does; nothing is asked of them"
                ));
            }
            Some(HealthServer::bind(address, status.clone()).await.map_err(|error| {
                Failure::io(&format!("health checks can't be answered at {address}"), &error)
            })?)
        }
        None => None,
    };
    let alerts = args.datadog.as_deref().map(|address| Alerts::new(address, &name)).transpose()?;
    let options = WorkerOptions {
        endpoint: args.target.workers(args.broker.as_ref()).await?,
        token: args.target.token()?,
        queues: args.queue,
        credit: args.credit,
        info: WorkerInfo {
            name,
            pid: Some(std::process::id()),
            host: nix::unistd::gethostname().ok().map(|host| host.to_string_lossy().into_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            health_url: health.as_ref().map(HealthServer::url),
            max_execution_ms: Some(args.max_execution_ms),
            spawn_id: Mark::inherited().map(|mark| mark.as_str().to_owned()),
            ..WorkerInfo::default()
        },
        max_execution: Duration::from_millis(args.max_execution_ms),
        overrun_grace: Duration::from_millis(args.overrun_grace_ms),
        stop_grace: Duration::from_millis(args.stop_grace_ms),
        pace: Pace::new(fastrand::u64(..)),
    };
    let stop = stop()?;
    let endpoint = options.endpoint.clone();
    let observe = move |event: WorkerEvent| {
        status.apply(&event);
        if let Some(alerts) = &alerts {
            alerts.tell(&event);
        }
        if args.json {
            // When nobody reads the events any more the work goes on all the same.
            let _nobody = json(&event_json(&event));
        } else {
            note(&clean(&event_text(&event, &endpoint)));
        }
    };
    let ended = match args.seen {
        Some(folder) => {
            let seen = Seen::open(&folder, args.seen_last).map_err(|error| {
                Failure::io(&format!("ids can't be kept in {}", folder.display()), &error)
            })?;
            worker::run(options, Idempotent::new(handler, seen), stop, observe).await
        }
        None => worker::run(options, handler, stop, observe).await,
    };
    match ended {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Failure::new(with_causes(&error)).exit(Exit::Usage)),
    }
}

/// SIGTERM or SIGINT.
fn stop() -> Result<impl Future<Output = ()> + Send, Failure> {
    let failed = |error| Failure::io("signals can't be heard", &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
