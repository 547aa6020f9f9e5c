//! `mubroker message show`

use std::fmt::Write as _;

use clap::Args;

use super::address::Address;
use crate::admin::client::AdminClient;
use crate::admin::dto::{MessageView, Payload, Revision, WorkError};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::journal::entries;
use crate::cli::output::{json, print, print_bytes};
use crate::console::text::clean::{clean, clean_lines};

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    message: Address,
    /// Print only the payload, its bytes as they are
    #[arg(long, conflicts_with = "json")]
    payload: bool,
    /// The payload of this revision; 0 is what was sent
    #[arg(long, requires = "payload")]
    revision: Option<u32>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(client: &AdminClient, args: ShowArgs) -> Result<Exit, Failure> {
    let (queue, seq) = args.message.find(client).await?;
    if args.payload {
        let revision = args.revision.map(Revision);
        print_bytes(&client.payload(&queue, seq, revision).await?)?;
        return Ok(Exit::Done);
    }
    let message = client.message(&queue, seq).await?;
    if args.json {
        json(&message)?;
    } else {
        print(&text(&message))?;
    }
    Ok(Exit::Done)
}

/// Everything, cleaned.
fn text(message: &MessageView) -> String {
    let row = &message.summary;
    let mut out = String::new();
    let mut line = |name: &str, text: &str| {
        writeln!(out, "{name:<10} {}", clean(text)).expect("a String takes all");
    };
    line("message", &format!("{} {}", message.queue, row.seq));
    line("id", row.id.as_str());
    line("state", &format!("{}, {} deliveries, revision {}", row.state, row.attempt, row.revision));
    line("accepted", &row.accepted_at.to_string());
    if let Some(due) = row.due {
        let name =
            if row.state == crate::model::MessageState::Scheduled { "due" } else { "next try" };
        line(name, &due.to_string());
    }
    line("behind it", &format!("{} messages wait for it", message.behind));
    if let Some(lease) = &message.lease {
        line("with", &format!("{} until {}", lease.worker, lease.deadline));
    }
    if let Some(hold) = &message.hold {
        line("edited by", &format!("{} until {}", hold.by.name, hold.until));
    }
    if let Some(undo) = &message.undo {
        line("undo", undo);
    }
    if let Some(error) = &row.error {
        error_lines(&mut out, error);
    }
    let header = serde_json::to_string_pretty(&message.header).expect("a JSON map is JSON");
    section(&mut out, "header", &clean_lines(&header));
    section(&mut out, &format!("payload, {} bytes", row.payload_bytes), &payload(&message.payload));
    if !message.attempts.is_empty() {
        section(&mut out, "failed attempts", &attempts(message));
    }
    if !message.revisions.is_empty() {
        section(&mut out, "revisions", &revisions(message));
    }
    if !message.history.is_empty() {
        let title = if message.history_cut { "journal, newest entries" } else { "journal" };
        section(&mut out, title, &entries(&message.history));
    }
    out
}

fn error_lines(out: &mut String, error: &WorkError) {
    let text = format!("{}: {}", error.code, error.message);
    writeln!(out, "{:<10} {}", "error", clean(&text)).expect("a String takes all");
    for line in clean_lines(&error.detail).trim_end().lines() {
        writeln!(out, "{:<10} {line}", "").expect("a String takes all");
    }
}

fn section(out: &mut String, title: &str, text: &str) {
    writeln!(out, "\n{title}").expect("a String takes all");
    for line in text.lines() {
        writeln!(out, "  {line}").expect("a String takes all");
    }
}

fn payload(payload: &Payload) -> String {
    match payload {
        Payload::Utf8(text) => clean_lines(text).into_owned(),
        Payload::Base64(_) => "not UTF-8; `--payload` prints the bytes as they are".to_owned(),
    }
}

fn attempts(message: &MessageView) -> String {
    let line = |attempt: &crate::admin::dto::Attempt| {
        format!(
            "{} {} by {}, revision {}: {}: {}",
            attempt.number,
            attempt.ended_at,
            attempt.worker,
            attempt.revision,
            attempt.error.code,
            attempt.error.message
        )
    };
    message.attempts.iter().map(|attempt| clean(&line(attempt)).into_owned() + "\n").collect()
}

fn revisions(message: &MessageView) -> String {
    let line = |revision: &crate::admin::dto::RevisionView| {
        format!(
            "{} {} by {}, {} bytes {}",
            revision.revision,
            revision.at,
            revision.by.name,
            revision.payload_bytes,
            revision.reason
        )
    };
    message.revisions.iter().map(|revision| clean(&line(revision)).into_owned() + "\n").collect()
}
