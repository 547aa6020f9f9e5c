//! `mubroker events`

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;

use super::Exit;
use super::failure::Failure;
use super::output::{json, print};
use super::target::Target;
use crate::admin::client::EventQuery;
use crate::admin::dto::{BrokerEvent, EVENT_TYPES, EventId, QueueName};
use crate::console::text::clean::clean;

/// Follow what happens: blocked, repaired, dead-lettered, workers, the store
///
/// A line an event, as it happens, until it is interrupted. Who is too slow, or comes back too late, is told how many
/// it missed. What is kept for --after are the newest 512 events since the broker started; the journal keeps more.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mubroker events --type blocked,dead-lettered\n  mubroker events -q invoices --json --limit 10"
)]
pub struct EventsArgs {
    /// Of these types only, with commas between them
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// About this queue only
    #[arg(long, short, add = crate::cli::completions::queues())]
    queue: Option<QueueName>,
    /// From after this event on (event_id in --json); from now on if absent
    #[arg(long, value_name = "RUN-NUMBER")]
    after: Option<EventId>,
    /// End after so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// List the types and what each tells, and end
    #[arg(long)]
    list_types: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(args: EventsArgs) -> Result<Exit, Failure> {
    let EventsArgs { types, queue, after, limit, json: as_json, list_types, target } = args;
    if list_types {
        let lines = EVENT_TYPES.iter().map(|(kind, text)| format!("{kind:<17} {text}\n"));
        print(&lines.collect::<String>())?;
        return Ok(Exit::Done);
    }
    let mut events = target.admin()?.events(&EventQuery { after, types, queue }).await?;
    let mut left = limit.unwrap_or(u64::MAX);
    while left > 0
        && let Some(event) = events.next().await
    {
        let event = event?;
        if as_json {
            json(&event)?;
        } else {
            print(&line(&event))?;
        }
        left -= 1;
    }
    Ok(Exit::Done)
}

/// When, what, on what, and its details as `name=value`.
fn line(event: &BrokerEvent) -> String {
    let json = serde_json::to_value(event).unwrap_or_default();
    let mut out = format!("{} {:<17}", event.time, event.what.kind());
    for name in ["queue", "seq"] {
        if let Some(value) = json.get(name) {
            out.push_str(&format!(" {}", plain(value)));
        }
    }
    if let Some(details) = json.get("details") {
        tell(&mut out, "", details);
    }
    format!("{}\n", clean(&out))
}

fn tell(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                tell(out, &format!("{name}{dot}{key}"), value);
            }
        }
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            out.push_str(&format!(" {name}={}", plain(value)));
        }
    }
}

/// A text as it is, unless it could be taken for several words.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains([' ', '"', '=']) => text.clone(),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::dto::{Actor, JournalEntry, JournalKind, Notice, Seq, Timestamp};

    #[test]
    fn an_event_is_one_line_without_control_bytes() {
        let entry = JournalEntry {
            number: 7,
            at: Timestamp(1_700_000_000_000),
            actor: Actor { name: "anna".to_owned(), via: "cli".to_owned() },
            kind: JournalKind::Cancelled,
            queue: QueueName::new("orders").unwrap(),
            seq: Some(Seq(3)),
            id: None,
            to: None,
            revision: None,
            reason: "sent\ntwice \u{1b}[2J".to_owned(),
            key: None,
        };
        let event_id = EventId { run: 1, number: 2 };
        let event = BrokerEvent { event_id, time: entry.at, what: Notice::Journal { entry } };
        let text = line(&event);
        let begin = "2023-11-14T22:13:20.000Z cancelled         orders 3 actor.name=anna actor.via=cli reason=";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.ends_with(" journal=7\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains('\u{1b}'));
    }
}
