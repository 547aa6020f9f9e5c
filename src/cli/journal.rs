//! `mubroker journal`

use clap::Args;

use super::Exit;
use super::failure::Failure;
use super::output::{json, note, print};
use super::target::Target;
use crate::admin::client::JournalQuery;
use crate::admin::dto::{JournalEntry, QueueName, Seq};
use crate::console::text::clean::clean;
use crate::model::limits::MAX_PAGE;

/// Who did what, when, why; newest first
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mubroker journal -q invoices\n  mubroker journal -q invoices --seq 7 --json"
)]
pub struct JournalArgs {
    /// Of this queue only
    #[arg(long, short, add = crate::cli::completions::queues())]
    queue: Option<QueueName>,
    /// Of this message only
    #[arg(long, requires = "queue")]
    seq: Option<u64>,
    /// Entries before this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// How many
    #[arg(long, default_value_t = 50,
          value_parser = clap::value_parser!(u16).range(1..=MAX_PAGE as i64))]
    limit: u16,
    /// As one JSON object: entries, next_before for the next page, and older_removed if the oldest are gone
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(args: JournalArgs) -> Result<Exit, Failure> {
    let query = JournalQuery {
        before: args.before,
        limit: Some(usize::from(args.limit)),
        queue: args.queue,
        seq: args.seq.map(Seq),
    };
    let page = args.target.admin()?.journal(&query).await?;
    if args.json {
        json(&page)?;
        return Ok(Exit::Done);
    }
    if page.entries.is_empty() {
        note("no journal entries");
    }
    print(&entries(&page.entries))?;
    if let Some(before) = page.next_before {
        print(&format!("older: --before {before}\n"))?;
    }
    if page.older_removed {
        note("the journal's oldest entries are gone, as [store] journal_entries says");
    }
    Ok(Exit::Done)
}

/// A line an entry, and one with its reason where it has one: a reason is worth more than columns.
pub(super) fn entries(entries: &[JournalEntry]) -> String {
    let mut out = String::new();
    for entry in entries {
        let JournalEntry { number, at, actor, kind, queue, .. } = entry;
        let seq = entry.seq.map_or(String::new(), |seq| format!(" {seq}"));
        let kind = kind.as_str();
        let to = entry.to.as_ref().map_or(String::new(), |to| format!(" to {to}"));
        let line =
            format!("{number:<5} {at} {kind:<17} {queue}{seq}{to} by {}/{}", actor.name, actor.via);
        out.push_str(&clean(&line));
        out.push('\n');
        if !entry.reason.is_empty() {
            out.push_str(&format!("      {}\n", clean(&entry.reason)));
        }
    }
    out
}
