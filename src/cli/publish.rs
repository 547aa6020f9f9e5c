//! `mubroker publish`

use clap::Args;

use super::Exit;
use super::failure::Failure;
use super::input::{HeaderArgs, PayloadArgs};
use super::output::{json, print};
use super::target::ClientsDoor;
use crate::model::TopicName;

/// Publish an event; returns when it is durable in every queue that takes it
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mubroker publish -t order.created '{\"total\": 120}'")]
pub struct PublishArgs {
    /// The topic
    #[arg(long, short, add = crate::cli::completions::topics())]
    topic: TopicName,
    #[command(flatten)]
    payload: PayloadArgs,
    #[command(flatten)]
    header: HeaderArgs,
    /// Refuse it if no subscription takes it
    #[arg(long)]
    mandatory: bool,
    /// Print what the broker answered as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: ClientsDoor,
}

pub(super) async fn run(args: PublishArgs) -> Result<Exit, Failure> {
    let content = args.header.message(args.payload.read()?)?;
    let client = args.door.connect().await?;
    let id = content.id().clone();
    let published =
        client.publish(&args.topic, content, args.mandatory).await.map_err(|error| {
            let unknown = error.outcome_unknown();
            let failure = Failure::from(error);
            if unknown {
                failure
                    .advice(format!("the event may have been accepted: repeat it with --id {id}"))
            } else {
                failure
            }
        })?;
    if args.json {
        json(&published)?;
    } else {
        let again = if published.duplicate { " (had been accepted before)" } else { "" };
        let queues = published.queues;
        print(&format!("{} {} to {queues} queues{again}\n", published.topic, published.id))?;
    }
    Ok(Exit::Done)
}
