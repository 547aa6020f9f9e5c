//! `mubroker gather`: asks.

use clap::Args;
use serde_json::json;

use crate::admin::dto::Payload;
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::input::{HeaderArgs, PayloadArgs};
use crate::cli::output::{json, note, print, print_bytes};
use crate::cli::target::ClientsDoor;
use crate::console::text::clean::clean;
use crate::model::limits::MAX_CALL_TIMEOUT_MS;
use crate::model::{
    Aggregate, Completion, GatherName, GatherReply, GatherRequest, GatherStatus, QueueName,
};

#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// A gather of the configuration: [gathers."NAME"]
    #[arg(long, short, value_name = "NAME")]
    gather: Option<GatherName>,
    /// Whom to ask, instead of whom the configuration says: queues, with commas between
    #[arg(long, value_delimiter = ',', value_name = "QUEUE")]
    recipients: Vec<QueueName>,
    /// When it is over: all, a number of replies, or a condition like 'size(parts) > 1'
    #[arg(long, value_name = "WHEN", value_parser = completion)]
    complete: Option<Completion>,
    /// One JSON object of all replies, instead of each for itself
    #[arg(long)]
    object: bool,
    /// How long to wait, in milliseconds
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=MAX_CALL_TIMEOUT_MS))]
    timeout_ms: Option<u64>,
    #[command(flatten)]
    payload: PayloadArgs,
    #[command(flatten)]
    header: HeaderArgs,
    /// Print status, parts and who is missing as one JSON value
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) door: ClientsDoor,
}

fn completion(text: &str) -> Result<Completion, String> {
    let completion = match text.parse::<i128>() {
        Ok(count) => Completion::count(count),
        Err(_) => Completion::text(text),
    };
    completion.map_err(|error| error.to_string())
}

pub(super) async fn ask(args: AskArgs) -> Result<Exit, Failure> {
    let content = args.header.message(args.payload.read()?)?;
    let is_answered_later = content.header.has_reply_to();
    let request = GatherRequest {
        gather: args.gather,
        content,
        recipients: (!args.recipients.is_empty()).then_some(args.recipients),
        complete: args.complete,
        timeout_ms: args.timeout_ms,
        aggregate: args.object.then_some(Aggregate::Object),
    };
    let client = args.door.connect().await?;
    if is_answered_later {
        let accepted = client.gather_later(request).await?;
        if args.json {
            json(&accepted)?;
        } else {
            let again = if accepted.duplicate { " (had been accepted before)" } else { "" };
            print(&format!("{} to {} queues{again}\n", accepted.id, accepted.recipients))?;
        }
        return Ok(Exit::Done);
    }
    let reply = client.gather(request, None).await?;
    if args.json {
        json(&json!({
            "id": reply.id,
            "status": reply.status,
            "parts": reply.parts,
            "missing": reply.missing,
            "condition_error": reply.condition_error,
            "payloads": reply.payloads.iter().map(|payload| Payload::from_bytes(payload)).collect::<Vec<_>>(),
        }))?;
    } else {
        show(&reply)?;
    }
    Ok(match reply.status {
        GatherStatus::Complete | GatherStatus::Quorum => Exit::Done,
        GatherStatus::Partial => Exit::Refused,
    })
}

/// Payloads as they are, each under its queue's name; who is missing goes to standard error.
fn show(reply: &GatherReply) -> Result<(), Failure> {
    let is_list = reply.payloads.len() == reply.parts.len();
    for (at, payload) in reply.payloads.iter().enumerate() {
        if let Some(queue) = reply.parts.get(at).filter(|_| is_list) {
            print(&format!("== {queue}\n"))?;
        }
        print_bytes(payload)?;
        if !payload.ends_with(b"\n") {
            print("\n")?;
        }
    }
    for missing in &reply.missing {
        let (queue, seq) = (&missing.queue, missing.seq);
        note(&format!(
            "missing: {queue} {seq}: {}: {}",
            clean(&missing.code),
            clean(&missing.message)
        ));
    }
    if let Some(error) = &reply.condition_error {
        note(&format!("the condition could not be told: {}", clean(error)));
    }
    note(reply.status.as_str());
    Ok(())
}
