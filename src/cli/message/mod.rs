//! `mubroker message`

mod act;
mod address;
mod agree;
mod bulk;
mod choose;
mod edit;
mod list;
mod many;
mod rework;
mod schema;
mod show;
mod transfer;

use clap::{Args, Subcommand};

use super::Exit;
use super::failure::Failure;
use super::target::Target;
use crate::admin::dto::{MessageSummary, QueueName, RepairVerb};

/// See messages, and repair them
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mubroker message ls invoices --state blocked\n  mubroker message show invoices 7\n  mubroker message edit invoices 7 --file fixed.json --retry\n  mubroker message cancel invoices 7 --reason 'sent twice'\n  mubroker message export invoices --state blocked --output blocked.jsonl"
)]
pub struct MessageArgs {
    #[command(subcommand)]
    command: MessageCommand,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum MessageCommand {
    /// List a queue's unfinished messages, in their order
    #[command(after_help = list::LS_HELP)]
    Ls(list::LsArgs),
    /// Count the errors that a queue's messages failed last with, in groups
    #[command(after_help = list::GROUPS_HELP)]
    Groups(list::GroupsArgs),
    /// Show one message: header, payload, attempts, revisions, journal
    Show(show::ShowArgs),
    /// Change a message's payload: from a file, standard input or $EDITOR; or of many, by jq or a JSON Patch
    #[command(after_help = edit::HELP)]
    Edit(Box<edit::EditArgs>),
    /// Make blocked or waiting messages ready again
    #[command(after_help = act::MANY_HELP)]
    Retry(act::ActArgs),
    /// Take messages out of their queue; needs --reason
    #[command(after_help = act::MANY_HELP)]
    Cancel(act::ActArgs),
    /// Put cancelled messages back in their places, while their successors have not been delivered
    #[command(after_help = act::MANY_HELP)]
    Restore(act::ActArgs),
    /// Send messages to their queue's dead-letter queue
    #[command(after_help = act::MANY_HELP)]
    DeadLetter(act::ActArgs),
    /// Send messages to the end of another queue, or dead letters back to where they came from
    #[command(after_help = act::MANY_HELP)]
    Move(act::MoveArgs),
    /// Take the last edit back, while the message is not with a worker
    #[command(after_help = act::MANY_HELP)]
    Undo(act::ActArgs),
    /// Repairs of many messages, which the broker goes on with by itself: list, follow or stop them
    Bulk(bulk::BulkArgs),
    /// Write a queue's unfinished messages as JSON lines
    #[command(after_help = transfer::EXPORT_HELP)]
    Export(transfer::ExportArgs),
    /// Send what `export` wrote, each line as a message
    #[command(after_help = transfer::IMPORT_HELP)]
    Import(transfer::ImportArgs),
}

pub(super) async fn run(args: MessageArgs) -> Result<Exit, Failure> {
    let client = args.target.admin()?;
    match args.command {
        MessageCommand::Import(import) => transfer::import(args.target, import).await,
        MessageCommand::Ls(ls) => list::ls(&client, ls).await,
        MessageCommand::Groups(groups) => list::groups(&client, groups).await,
        MessageCommand::Bulk(bulk) => bulk::run(&client, bulk).await,
        MessageCommand::Export(export) => transfer::export(&client, export).await,
        MessageCommand::Show(show) => show::run(&client, show).await,
        MessageCommand::Edit(edit) => edit::run(&client, *edit).await,
        MessageCommand::Retry(act) => act::run(&client, act, RepairVerb::Retry, None).await,
        MessageCommand::Cancel(act) => act::run(&client, act, RepairVerb::Cancel, None).await,
        MessageCommand::Restore(act) => act::run(&client, act, RepairVerb::Restore, None).await,
        MessageCommand::DeadLetter(act) => {
            act::run(&client, act, RepairVerb::DeadLetter, None).await
        }
        MessageCommand::Move(to) => act::run(&client, to.act, RepairVerb::Move, to.to).await,
        MessageCommand::Undo(act) => act::run(&client, act, RepairVerb::UndoSave, None).await,
    }
}

/// Why it failed, or why it is a dead letter; not of one that is back in its queue.
fn what_is_wrong(message: &MessageSummary, queue: &QueueName) -> Option<String> {
    if let Some(error) = &message.error {
        return Some(format!("{}: {}", error.code, error.message));
    }
    let dead = message.dead_letter.as_ref().filter(|dead| dead.queue != queue.as_str())?;
    let error = dead.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    Some(format!("{} in {}{error}", dead.reason, dead.queue))
}
