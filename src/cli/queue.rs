//! `mubroker queue`

use clap::{Args, Subcommand};

use super::Exit;
use super::failure::Failure;
use super::output::{Column, age, json, print, table};
use super::target::Target;
use crate::admin::dto::{QueueName, QueueState, QueueView, Timestamp};
use crate::console::text::clean::clean;

/// See queues, stop and start their delivery
#[derive(Debug, Args)]
pub struct QueueArgs {
    #[command(subcommand)]
    command: QueueCommand,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List all queues, blocked ones first
    Ls {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one queue
    Show {
        /// The queue
        queue: QueueName,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Stop delivery; publishing goes on
    Pause(Act),
    /// Let delivery go on
    Resume(Act),
}

#[derive(Debug, Args)]
struct Act {
    /// The queue
    queue: QueueName,
    /// Why; the journal keeps it
    #[arg(long, default_value = "")]
    reason: String,
    /// Print the queue as it is then, as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: QueueArgs) -> Result<Exit, Failure> {
    let client = args.target.admin()?;
    match args.command {
        QueueCommand::Ls { json: as_json } => {
            let mut queues = client.queues().await?;
            queues.sort_by_key(|queue| (queue.state != QueueState::Blocked, queue.name.clone()));
            if as_json {
                json(&queues)?;
            } else {
                print(&list(&queues, client.overview().await?.now))?;
            }
        }
        QueueCommand::Show { queue, json: as_json } => {
            let queue = client.queue(&queue).await?;
            if as_json {
                json(&queue)?;
            } else {
                print(&show(&queue, client.overview().await?.now))?;
            }
        }
        QueueCommand::Pause(act) => {
            client.pause(&act.queue, &act.reason).await?;
            tell(&act, &client.queue(&act.queue).await?)?;
        }
        QueueCommand::Resume(act) => {
            client.resume(&act.queue, &act.reason).await?;
            tell(&act, &client.queue(&act.queue).await?)?;
        }
    }
    Ok(Exit::Done)
}

fn tell(act: &Act, queue: &QueueView) -> Result<(), Failure> {
    if act.json { json(queue) } else { print(&format!("{} is {}\n", queue.name, queue.state)) }
}

fn list(queues: &[QueueView], now: Timestamp) -> String {
    if queues.is_empty() {
        return "no queues yet; `mubroker send --queue NAME PAYLOAD` makes one\n".to_owned();
    }
    let columns = [
        Column("QUEUE", 28),
        Column("STATE", 8),
        Column("DEPTH", 8),
        Column("OLDEST", 6),
        Column("WORKERS", 7),
        Column("HEAD", 80),
    ];
    let rows: Vec<_> = queues
        .iter()
        .map(|queue| {
            vec![
                queue.name.to_string(),
                queue.state.to_string(),
                queue.depth.to_string(),
                queue.oldest_at.map_or(String::new(), |at| age(now.since_ms(at))),
                queue.workers.to_string(),
                head(queue),
            ]
        })
        .collect();
    table(&columns, &rows)
}

fn head(queue: &QueueView) -> String {
    let Some(head) = &queue.head else { return String::new() };
    match &head.error {
        Some(error) => format!("{} {}: {}", head.seq, head.state, error.message),
        None => format!("{} {}", head.seq, head.state),
    }
}

fn show(queue: &QueueView, now: Timestamp) -> String {
    let mut lines = vec![
        ("queue", queue.name.to_string()),
        ("state", queue.state.to_string()),
        (
            "depth",
            format!(
                "{} ({} leased, {} waiting, {} blocked), {} bytes",
                queue.depth, queue.leased, queue.waiting, queue.blocked, queue.bytes
            ),
        ),
        ("workers", queue.workers.to_string()),
        (
            "since start",
            format!(
                "{} accepted, {} done, {} failed attempts, {} duplicates",
                queue.accepted, queue.done, queue.failed, queue.duplicates
            ),
        ),
    ];
    if let Some(at) = queue.oldest_at {
        lines.push(("oldest", format!("{} ago, {at}", age(now.since_ms(at)))));
    }
    if let Some(pause) = &queue.paused {
        let by = format!("{} at {} {}", pause.by.name, pause.at, pause.reason);
        lines.push(("paused by", by));
    }
    if let Some(head) = &queue.head {
        let id = head.id.as_ref().map_or(String::new(), |id| format!(", id {id}"));
        lines.push(("head", format!("{} {}, attempt {}{id}", head.seq, head.state, head.attempt)));
        if let Some(error) = &head.error {
            lines.push(("error", format!("{}: {}", error.code, error.message)));
        }
    }
    let retry = &queue.settings.retry;
    lines.push((
        "settings",
        format!("lease {} ms, {} attempts", queue.settings.lease_ms, retry.attempts),
    ));
    lines.iter().map(|(name, text)| format!("{name:<12} {}\n", clean(text))).collect()
}
