//! `mubroker start`

use clap::Args;

use super::Exit;
use super::failure::Failure;
use super::input::{HeaderArgs, PayloadArgs};
use super::output::{json, print};
use super::target::ClientsDoor;
use crate::model::SagaName;

/// Start a saga; returns when it is durable, with its first step's message
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mubroker start -s trip '{\"to\": \"Lyon\"}'")]
pub struct StartArgs {
    /// The saga, as the configuration names it
    #[arg(long, short)]
    saga: SagaName,
    #[command(flatten)]
    payload: PayloadArgs,
    #[command(flatten)]
    header: HeaderArgs,
    /// Print what the broker answered as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: ClientsDoor,
}

pub(super) async fn run(args: StartArgs) -> Result<Exit, Failure> {
    let input = args.header.message(args.payload.read()?)?;
    let client = args.door.connect().await?;
    let id = input.id().clone();
    let started = client.start_saga(&args.saga, input).await.map_err(|error| {
        let unknown = error.outcome_unknown();
        let failure = Failure::from(error);
        if unknown {
            failure.advice(format!("it may have begun: repeat it with --id {id}"))
        } else {
            failure
        }
    })?;
    if args.json {
        json(&started)?;
    } else {
        let again = if started.duplicate { " (had begun before)" } else { "" };
        print(&format!("{} {}{again}\n", started.saga, started.id))?;
    }
    Ok(Exit::Done)
}
