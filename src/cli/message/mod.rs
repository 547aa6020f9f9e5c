//! `mubroker message`

mod act;
mod address;
mod edit;
mod show;
mod transfer;

use clap::{Args, Subcommand};

use super::Exit;
use super::failure::Failure;
use super::output::{Column, age, json, print, table};
use super::target::Target;
use crate::admin::client::MessageQuery;
use crate::admin::dto::{
    MessagePage, MessageState, MessageSummary, QueueName, RepairVerb, Seq, Timestamp,
};
use crate::model::limits::MAX_PAGE;

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
    Ls(LsArgs),
    /// Show one message: header, payload, attempts, revisions, journal
    Show(show::ShowArgs),
    /// Change a message's payload: from a file, standard input or $EDITOR
    Edit(edit::EditArgs),
    /// Make a blocked or waiting message ready again
    Retry(act::ActArgs),
    /// Take a message out of its queue; needs --reason
    Cancel(act::ActArgs),
    /// Put a cancelled message back in its place, while its successor has not been delivered
    Restore(act::ActArgs),
    /// Send a message to its queue's dead-letter queue
    DeadLetter(act::ActArgs),
    /// Send a message to the end of another queue, or a dead letter back to where it came from
    Move(act::MoveArgs),
    /// Take the last edit back, while the message is not with a worker
    Undo(act::ActArgs),
    /// Write a queue's unfinished messages as JSON lines
    #[command(after_help = transfer::EXPORT_HELP)]
    Export(transfer::ExportArgs),
    /// Send what `export` wrote, each line as a message
    #[command(after_help = transfer::IMPORT_HELP)]
    Import(transfer::ImportArgs),
}

#[derive(Debug, Args)]
struct LsArgs {
    /// The queue
    #[arg(add = crate::cli::completions::queues())]
    queue: QueueName,
    /// From this place on
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// How many
    #[arg(long, default_value_t = 50,
          value_parser = clap::value_parser!(u16).range(1..=MAX_PAGE as i64))]
    limit: u16,
    /// In this state only: ready, leased, waiting, blocked, cancelled
    #[arg(long, value_parser = state)]
    state: Option<MessageState>,
    /// As one JSON object: messages, and next for the next page
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: MessageArgs) -> Result<Exit, Failure> {
    let client = args.target.admin()?;
    match args.command {
        MessageCommand::Import(import) => transfer::import(args.target, import).await,
        MessageCommand::Ls(ls) => {
            let query = MessageQuery {
                from: ls.from.map(Seq),
                limit: Some(usize::from(ls.limit)),
                state: ls.state,
            };
            let page = client.messages(&ls.queue, &query).await?;
            if ls.json {
                json(&page)?;
            } else {
                print(&list(&page, &ls.queue, client.overview().await?.now))?;
            }
            Ok(Exit::Done)
        }
        MessageCommand::Export(export) => transfer::export(&client, export).await,
        MessageCommand::Show(show) => show::run(&client, show).await,
        MessageCommand::Edit(edit) => edit::run(&client, edit).await,
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

fn state(text: &str) -> Result<MessageState, String> {
    let all = [
        MessageState::Scheduled,
        MessageState::Ready,
        MessageState::Leased,
        MessageState::Waiting,
        MessageState::Blocked,
        MessageState::Cancelled,
    ];
    all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
        let words: Vec<_> = all.iter().map(|state| state.as_str()).collect();
        format!("one of {} is needed", words.join(", "))
    })
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

fn list(page: &MessagePage, queue: &QueueName, now: Timestamp) -> String {
    if page.messages.is_empty() {
        return "no such messages\n".to_owned();
    }
    let columns = [
        Column("SEQ", 10),
        Column("STATE", 9),
        Column("TRY", 4),
        Column("REV", 4),
        Column("AGE", 5),
        Column("ID", 20),
        Column("ERROR OR PAYLOAD", 80),
    ];
    let rows: Vec<_> = page
        .messages
        .iter()
        .map(|message| {
            vec![
                message.seq.to_string(),
                message.state.to_string(),
                message.attempt.to_string(),
                message.revision.to_string(),
                age(now.since_ms(message.accepted_at)),
                message.id.to_string(),
                what_is_wrong(message, queue).unwrap_or_else(|| message.preview.clone()),
            ]
        })
        .collect();
    let more = page.next.map_or(String::new(), |seq| format!("more: --from {seq}\n"));
    table(&columns, &rows) + &more
}
