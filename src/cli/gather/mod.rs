//! `mubroker gather`: ask, or look at those that were asked.

mod ask;
mod list;

use clap::{Args, Subcommand};

use super::Exit;
use super::failure::Failure;
use super::listing::one_of;
use crate::admin::dto::{GatherName, GatherState, MessageId};

/// Send a message to several queues and wait for their replies; or list such gathers
///
/// Each reply is printed with its queue.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct GatherArgs {
    #[command(subcommand)]
    command: Option<GatherCommand>,
    #[command(flatten)]
    ask: ask::AskArgs,
}

#[derive(Debug, Subcommand)]
enum GatherCommand {
    /// List gathers, the oldest first; those that ended stay as long as their answers are kept
    Ls {
        /// In this state only: running, complete, quorum, partial
        #[arg(long, value_parser = state)]
        state: Option<GatherState>,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one gather: who has answered what, who is missing and why, when it is over
    Show {
        /// Its id
        id: MessageId,
        /// Of several with the same id that of this name; else the newest
        #[arg(long, short, value_name = "NAME")]
        gather: Option<GatherName>,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: GatherArgs) -> Result<Exit, Failure> {
    let target = args.ask.door.target();
    match args.command {
        Some(GatherCommand::Ls { state, json }) => list::list(&target.admin()?, state, json).await,
        Some(GatherCommand::Show { id, gather, json }) => {
            list::show(&target.admin()?, &id, gather.as_ref(), json).await
        }
        None => ask::ask(args.ask).await,
    }
}

fn state(text: &str) -> Result<GatherState, String> {
    one_of(&GatherState::ALL, GatherState::as_str, text)
}
