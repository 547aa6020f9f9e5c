//! `mubroker message bulk`: repairs of many messages that the broker goes on with by itself.

use clap::{Args, Subcommand};

use super::many::{Form, end, follow, progress, tell_results};
use crate::admin::client::AdminClient;
use crate::admin::dto::{BulkView, IdempotencyKey};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{Column, age, json, print, table};

/// Repairs of many messages: those that run, and the last ones that did
#[derive(Debug, Args)]
pub(super) struct BulkArgs {
    #[command(subcommand)]
    command: BulkCommand,
}

#[derive(Debug, Subcommand)]
enum BulkCommand {
    /// List them, the newest first
    Ls {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Follow one to its end; then what came of each message
    Show {
        /// Its key
        key: IdempotencyKey,
        /// One JSON object for each message
        #[arg(long)]
        json: bool,
        /// Lines with tabs between what they say, uncut
        #[arg(long, conflicts_with = "json")]
        plain: bool,
    },
    /// Stop one: what is done stays, nothing more is begun
    Stop {
        /// Its key
        key: IdempotencyKey,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(client: &AdminClient, args: BulkArgs) -> Result<Exit, Failure> {
    match args.command {
        BulkCommand::Ls { json: true } => json(&client.bulks().await?)?,
        BulkCommand::Ls { json: false } => {
            let (bulks, now) = (client.bulks().await?, client.overview().await?.now);
            print(&list(&bulks, |view| age(now.since_ms(view.started_at))))?;
        }
        BulkCommand::Show { key, json, plain } => {
            let view = follow(client, &key).await?;
            tell_results(client, &view, Form::of(json, plain)).await?;
            return end(&view);
        }
        BulkCommand::Stop { key, json: as_json } => {
            client.stop_bulk(&key).await?;
            let view = follow(client, &key).await?;
            if as_json { json(&view)? } else { print(&format!("{}\n", progress(&view)))? }
        }
    }
    Ok(Exit::Done)
}

fn list(bulks: &[BulkView], age: impl Fn(&BulkView) -> String) -> String {
    if bulks.is_empty() {
        return "no bulk repair since the broker's start\n".to_owned();
    }
    let columns = [
        Column("KEY", 36),
        Column("AGE", 5),
        Column("QUEUE", 16),
        Column("ACTION", 11),
        Column("PROGRESS", 80),
    ];
    let row = |view: &BulkView| {
        vec![
            view.key.to_string(),
            age(view),
            view.queue.to_string(),
            view.action.as_str().to_owned(),
            progress(view),
        ]
    };
    table(&columns, &bulks.iter().map(row).collect::<Vec<_>>())
}
