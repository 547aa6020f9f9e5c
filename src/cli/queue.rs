//! `mubroker queue`

mod purge;
mod redrive;

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::Exit;
use super::failure::Failure;
use super::input::read_file;
use super::output::{Column, age, json, print, table};
use super::target::Target;
use crate::admin::dto::{
    DeleteRequest, KeyPage, QueueName, QueueSettings, QueueView, Seq, SettingsRequest, Timestamp,
};
use crate::console::text::clean::clean;
use crate::model::{MailboxKind, Ordering, Overflow, PauseRecord, SCHEMA, SettingChange};

/// See queues, make them, stop and start their delivery
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
        #[arg(add = crate::cli::completions::queues())]
        queue: QueueName,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the order keys of a queue that stand, and how many messages wait behind each
    Keys {
        /// The queue
        #[arg(add = crate::cli::completions::queues())]
        queue: QueueName,
        /// From this message on
        #[arg(long, value_name = "SEQ", default_value_t = 1)]
        from: u64,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    #[command(after_help = redrive::HELP)]
    Redrive(redrive::RedriveArgs),
    /// Stop delivery; publishing goes on
    Pause(Act),
    /// Accept nothing new; what waits is delivered
    #[command(after_help = DRAIN_HELP)]
    Drain(Act),
    /// Let delivery go on, and accept again what a drain refused
    Resume(Act),
    /// Make a queue, before its first message comes
    #[command(after_help = CREATE_HELP)]
    Create {
        #[command(flatten)]
        act: Make,
        /// Settings by their keys in the configuration
        #[arg(value_name = "KEY=VALUE", value_parser = change)]
        changes: Vec<SettingChange>,
    },
    #[command(after_help = purge::HELP)]
    Purge(purge::PurgeArgs),
    /// Delete a queue that is empty
    #[command(after_help = DELETE_HELP)]
    Delete {
        /// The queue
        #[arg(add = crate::cli::completions::queues())]
        queue: QueueName,
        /// With the messages that wait in it: they are gone, and nobody is told; needs --reason
        #[arg(long, requires = "reason")]
        purge: bool,
        /// Why; the journal keeps it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Change settings; they stay until they are set to `default`
    #[command(after_help = SET_HELP)]
    Set {
        #[command(flatten)]
        act: Act,
        /// Settings by their keys in the configuration
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = change)]
        changes: Vec<SettingChange>,
    },
}

const DRAIN_HELP: &str = "\
Who sends to it is refused with `draining`, and may send again later; a duplicate of what was accepted is answered as ever. A publish to \
a topic is refused as a whole while one of its queues is drained. Answers to requests that were accepted before still come, and what other programs put \
into its Redis stream waits there. It stays so over a restart, until `queue resume`.

  mubroker queue drain invoices --reason 'moves to the new host'
  mubroker queue show invoices
  mubroker queue resume invoices";

const CREATE_HELP: &str = "\
It gets what the configuration says of its name, or the default settings, and these instead where they are given; they stay as with \
`queue set`. It is refused if the queue is there.

  mubroker queue create invoices
  mubroker queue create thumbnails ordering=none retry.attempts=3 --reason 'for the shop'";

const DELETE_HELP: &str = "\
A queue stays while a worker has a message of it, a caller, gather or saga waits for one, it is subscribed to a topic, the \
configuration names it, or its dead-letter queue has messages. With it go its settings and the ids that it \
remembers; its journal stays. Workers that serve it wait until it is made again. With delete_on_idle_ms in a template, \
queues go by themselves.

  mubroker queue delete folder.2024
  mubroker queue delete folder.2024 --purge --reason 'a test run, not needed'";

const SET_HELP: &str = "\
A value is written as in the configuration, but for a schema, which is the file's text (schema= is none); `default` is what that says of the queue. A queue moves to another \
mailbox while it is paused, or empty: what it has in memory is on disk before this returns when the new one is \
durable.

  mubroker queue pause invoices
  mubroker queue set invoices mailbox=mixed memory_messages=5000
  mubroker queue resume invoices
  mubroker queue set invoices lease_ms=60000 retry.attempts=3
  mubroker queue set invoices lease_ms=default
  mubroker queue set invoices schema=@invoice.schema.json";

#[derive(Debug, Args)]
struct Make {
    /// The queue's name
    queue: QueueName,
    /// Why; the journal keeps it
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Print the queue as it is then, as a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Act {
    /// The queue
    #[arg(add = crate::cli::completions::queues())]
    queue: QueueName,
    /// Why; the journal keeps it
    #[arg(long, default_value = "", hide_default_value = true)]
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
            queues.sort_by_key(|queue| (!queue.is_hurt(), queue.name.clone()));
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
        QueueCommand::Keys { queue, from, limit, json: as_json } => {
            let page = client.keys(&queue, Some(Seq(from)), Some(limit)).await?;
            if as_json { json(&page)? } else { print(&keys(&page))? }
        }
        QueueCommand::Redrive(args) => return redrive::run(&client, args).await,
        QueueCommand::Pause(act) => {
            client.pause(&act.queue, &act.reason).await?;
            tell(&act, &client.queue(&act.queue).await?)?;
        }
        QueueCommand::Drain(act) => {
            client.drain(&act.queue, &act.reason).await?;
            tell(&act, &client.queue(&act.queue).await?)?;
        }
        QueueCommand::Resume(act) => {
            client.resume(&act.queue, &act.reason).await?;
            tell(&act, &client.queue(&act.queue).await?)?;
        }
        QueueCommand::Create { act: Make { queue, reason, json }, changes } => {
            client.create_queue(&queue, &request(changes, reason)?).await?;
            tell_settings(&client.queue(&queue).await?, json)?;
        }
        QueueCommand::Purge(args) => return purge::run(&client, args).await,
        QueueCommand::Delete { queue, purge, reason } => {
            client.delete_queue(&queue, &DeleteRequest { purge, reason }).await?;
            print(&format!("{queue} is deleted\n"))?;
        }
        QueueCommand::Set { act, changes } => {
            client.set_queue(&act.queue, &request(changes, act.reason)?).await?;
            tell_settings(&client.queue(&act.queue).await?, act.json)?;
        }
    }
    Ok(Exit::Done)
}

/// Files that hold schemas are read here.
fn request(changes: Vec<SettingChange>, reason: String) -> Result<SettingsRequest, Failure> {
    let mut set = Map::new();
    for SettingChange { key, value } in changes {
        let file = value.as_ref().filter(|_| key == SCHEMA).and_then(Value::as_str);
        let value = match file.and_then(|value| value.strip_prefix('@')) {
            Some(path) => {
                let text = String::from_utf8(read_file(Path::new(path))?);
                let text = text.map_err(|_| Failure::new(format!("{path} is not UTF-8")))?;
                Value::String(text)
            }
            None => value.unwrap_or_default(),
        };
        set.insert(key, value);
    }
    Ok(SettingsRequest { set, reason })
}

fn tell_settings(queue: &QueueView, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return json(queue);
    }
    print(&format!("{}: {}\n", queue.name, clean(&settings(queue))))
}

/// A value as in the configuration: TOML, or a bare word.
fn change(text: &str) -> Result<SettingChange, String> {
    let (key, value) = text.split_once('=').ok_or("give KEY=VALUE, or KEY=default")?;
    let (key, value) = (key.trim(), value.trim());
    if key == SCHEMA && value != "default" {
        if !(value.is_empty() || value.starts_with(['@', '{'])) {
            return Err("give schema=@FILE, schema= for none, or schema=default".to_owned());
        }
        return Ok(SettingChange { key: key.to_owned(), value: Some(value.into()) });
    }
    if key.is_empty() || value.is_empty() {
        return Err("give KEY=VALUE, or KEY=default".to_owned());
    }
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| serde_json::to_value(table.remove("value")?).ok());
    let value = match value {
        "default" => None,
        word => Some(parsed.unwrap_or_else(|| Value::String(word.to_owned()))),
    };
    Ok(SettingChange { key: key.to_owned(), value })
}

fn settings(queue: &QueueView) -> String {
    let QueueSettings { mailbox, memory_messages, retry, lease_ms, .. } = &queue.settings;
    let mailbox = match mailbox {
        MailboxKind::Mixed => format!("mixed (up to {memory_messages} messages in memory)"),
        MailboxKind::Memory | MailboxKind::File | MailboxKind::Redis => mailbox.as_str().to_owned(),
    };
    let mut text = format!("mailbox {mailbox}, lease {lease_ms} ms, {} attempts", retry.attempts);
    match (queue.settings.ordering, queue.settings.priority) {
        (Ordering::Queue, _) => {}
        (ordering, true) => {
            text.push_str(&format!(", ordering {}, by priority", ordering.as_str()))
        }
        (ordering, false) => text.push_str(&format!(", ordering {}", ordering.as_str())),
    }
    if !queue.settings.schema.is_empty() {
        text.push_str(&format!(", schema ({})", queue.settings.schema.as_str()));
    }
    if !queue.overrides.is_empty() {
        text.push_str(&format!("; set by an operator: {}", queue.overrides.join(", ")));
    }
    text
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
        Some(error) if queue.more_blocked() > 0 => {
            let more = queue.more_blocked();
            format!("{} {} (+{more}): {}", head.seq, head.state, error.message)
        }
        Some(error) => format!("{} {}: {}", head.seq, head.state, error.message),
        None => format!("{} {}", head.seq, head.state),
    }
}

fn keys(page: &KeyPage) -> String {
    let columns =
        [Column("KEY", 28), Column("HELD BY", 24), Column("BEHIND", 8), Column("ERROR", 80)];
    let rows: Vec<_> = page
        .keys
        .iter()
        .map(|key| {
            vec![
                key.key.clone().unwrap_or_else(|| "(no key)".to_owned()),
                format!("{} {}", key.seq, key.state),
                key.behind.to_string(),
                key.error.as_ref().map_or(String::new(), |error| error.message.clone()),
            ]
        })
        .collect();
    let mut text =
        if rows.is_empty() { "no order key stands\n".to_owned() } else { table(&columns, &rows) };
    if page.unseen > 0 {
        let unseen = page.unseen;
        text.push_str(&format!("{unseen} messages at the end have not been looked at yet\n"));
    }
    if let Some(next) = page.next {
        text.push_str(&format!("more: --from {next}\n"));
    }
    text
}

fn show(queue: &QueueView, now: Timestamp) -> String {
    let mut lines = vec![
        ("queue", queue.name.to_string()),
        ("state", queue.state.to_string()),
        (
            "depth",
            format!(
                "{} ({} leased, {} waiting, {} scheduled, {} blocked), {} bytes",
                queue.depth,
                queue.leased,
                queue.waiting,
                queue.scheduled,
                queue.blocked,
                queue.bytes
            ),
        ),
        (
            "workers",
            match &queue.active_worker {
                Some(active) => format!("{}, of which {active} is active", queue.workers),
                None => queue.workers.to_string(),
            },
        ),
        (
            "since start",
            format!(
                "{} accepted, {} done, {} failed attempts, {} duplicates, {} dead-lettered, {} dropped, {} re-sent",
                queue.accepted,
                queue.done,
                queue.failed,
                queue.duplicates,
                queue.dead_lettered,
                queue.dropped,
                queue.resent
            ),
        ),
    ];
    if let Some(at) = queue.oldest_at {
        lines.push(("oldest", format!("{} ago, {at}", age(now.since_ms(at)))));
    }
    let by = |stop: &PauseRecord| format!("{} at {} {}", stop.by.name, stop.at, stop.reason);
    lines.extend(queue.paused.as_ref().map(|pause| ("paused by", by(pause))));
    lines.extend(queue.draining.as_ref().map(|drain| ("drained by", by(drain))));
    if let Some(reason) = &queue.unreachable {
        let what = if queue.settings.needs_redis() { "refuses" } else { "waits" };
        lines.push((what, format!("Redis can't be reached: {reason}")));
    }
    if let Some(head) = &queue.head {
        let id = head.id.as_ref().map_or(String::new(), |id| format!(", id {id}"));
        lines.push(("head", format!("{} {}, attempt {}{id}", head.seq, head.state, head.attempt)));
        if let Some(error) = &head.error {
            lines.push(("error", format!("{}: {}", error.code, error.message)));
        }
    }
    lines.push(("settings", settings(queue)));
    let settings = &queue.settings;
    let bounds = [
        settings.message_bound().map(|max| format!("{max} messages")),
        settings.byte_bound().map(|max| format!("{max} bytes")),
    ];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    if !bounds.is_empty() {
        let then = match (settings.overflow, settings.dead_letter_of(&queue.name)) {
            (Overflow::DeadLetterOldest, Ok(target)) => format!("oldest to {target}"),
            (overflow, _) => overflow.as_str().to_owned(),
        };
        lines.push(("at most", format!("{}, then: {then}", bounds.join(", "))));
    }
    lines.iter().map(|(name, text)| format!("{name:<12} {}\n", clean(text))).collect()
}
