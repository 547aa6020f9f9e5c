//! `mubroker call`

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Exit;
use super::failure::Failure;
use super::input::{HeaderArgs, PayloadArgs};
use super::output::{json, print_bytes};
use super::target::ClientsDoor;
use crate::admin::dto::Payload;
use crate::console::text::clean::clean;
use crate::model::limits::{DEFAULT_CALL_TIMEOUT_MS, MAX_CALL_TIMEOUT_MS};
use crate::model::{
    CallPart, CallReply, CallStatus, MessageId, MessageState, QueueName, StatusReport,
};

/// Send a message and wait for the worker's reply, which is printed as it is, its parts as they come
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  mubroker call -q prices '{\"sku\": \"A-1\"}'")]
pub struct CallArgs {
    /// The queue
    #[arg(long, short, add = crate::cli::completions::queues())]
    queue: QueueName,
    #[command(flatten)]
    payload: PayloadArgs,
    #[command(flatten)]
    header: HeaderArgs,
    /// Send nothing: print the reply to the message with this id, which was called before, if it is kept
    #[arg(long, value_name = "ID")]
    reply_of: Option<MessageId>,
    /// How long to wait, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_CALL_TIMEOUT_MS,
          value_parser = clap::value_parser!(u64).range(1..=MAX_CALL_TIMEOUT_MS))]
    timeout_ms: u64,
    /// Print each part, and then id, status, error and payload, as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: ClientsDoor,
}

pub(super) async fn run(args: CallArgs) -> Result<Exit, Failure> {
    if let Some(id) = &args.reply_of {
        let client = args.door.connect().await?;
        let reply = match client.reply_of(id, Some(&args.queue)).await? {
            (_, Some(reply)) => reply,
            (report, None) => return Err(not_kept(&report)),
        };
        return show(&args, &reply);
    }
    let content = args.header.message(args.payload.read()?)?;
    let client = args.door.connect().await?;
    let wait = Duration::from_millis(args.timeout_ms);
    let mut printed = Ok(());
    let on_part = |part: CallPart| {
        if printed.is_ok() {
            printed = show_part(&args, &part);
        }
    };
    let reply = client.call_in_parts(&args.queue, content, wait, on_part).await?;
    printed?;
    show(&args, &reply)
}

fn show_part(args: &CallArgs, part: &CallPart) -> Result<(), Failure> {
    if args.json {
        let payload = Payload::from_bytes(&part.payload);
        return json(&json!({"part": part.part, "attempt": part.attempt, "payload": payload}));
    }
    print_bytes(&part.payload)
}

fn show(args: &CallArgs, reply: &CallReply) -> Result<Exit, Failure> {
    if args.json {
        json(&json!({
            "id": reply.id,
            "status": reply.status,
            "error": reply.error,
            "payload": Payload::from_bytes(&reply.payload),
        }))?;
        return Ok(if reply.status == CallStatus::Ok { Exit::Done } else { Exit::Refused });
    }
    match reply.status {
        CallStatus::Ok => print_bytes(&reply.payload).map(|()| Exit::Done),
        CallStatus::Failed | CallStatus::Timeout | CallStatus::Blocked => {
            Err(ended_badly(&args.queue, reply))
        }
    }
}

fn not_kept(report: &StatusReport) -> Failure {
    let id = clean(report.id.as_str());
    let what = match report.state {
        MessageState::Done | MessageState::Cancelled => {
            format!("message {id} is at its end, and its reply is not kept any more")
        }
        MessageState::Scheduled
        | MessageState::Ready
        | MessageState::Leased
        | MessageState::Waiting
        | MessageState::Blocked => {
            format!("message {id} in {} is not at its end: it is {}", report.queue, report.state)
        }
    };
    Failure::new(what).exit(Exit::Refused)
}

fn ended_badly(queue: &QueueName, reply: &CallReply) -> Failure {
    let id = clean(reply.id.as_str());
    let why = reply.error.as_ref().map_or(String::new(), |e| format!(": {}", clean(&e.message)));
    let (what, advice) = match reply.status {
        CallStatus::Ok => unreachable!("told apart by the caller"),
        CallStatus::Failed => (format!("failed{why}"), None),
        CallStatus::Timeout => (
            "had no reply in time".to_owned(),
            Some(format!("it stays in its queue; `mubroker message show {id}` says how it is")),
        ),
        CallStatus::Blocked => (
            format!("failed and blocks its queue{why}"),
            Some(format!("`mubroker message show {id}` says why; edit, retry or cancel it")),
        ),
    };
    Failure {
        advice,
        ..Failure::new(format!("message {id} in {queue} {what}")).exit(Exit::Refused)
    }
}
