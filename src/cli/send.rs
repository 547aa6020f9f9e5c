//! `mubroker send`

use std::collections::VecDeque;
use std::io::BufRead;

use clap::Args;

use super::Exit;
use super::failure::Failure;
use super::input::{HeaderArgs, PayloadArgs};
use super::output::{json, note, print};
use super::target::ClientsDoor;
use crate::client::Confirm;
use crate::model::limits::MAX_PAYLOAD_BYTES;
use crate::model::{Accepted, QueueName};

/// Lines under way at once: enough to fill a commit, little enough to know what a lost connection costs.
const WINDOW: usize = 256;

/// Send a message; returns when it is durable
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mubroker send -q invoices '{\"number\": 7}'\n  mubroker send -q invoices --id invoice-7 --key customer-3 --header tenant=fr --file invoice.json\n  mubroker send -q invoices --lines --file invoices.jsonl"
)]
pub struct SendArgs {
    /// The queue
    #[arg(long, short, add = crate::cli::completions::queues())]
    queue: QueueName,
    #[command(flatten)]
    payload: PayloadArgs,
    #[command(flatten)]
    header: HeaderArgs,
    /// Send each line as a message of its own
    #[arg(long)]
    lines: bool,
    /// Print what the broker answered as JSON, one line a message
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: ClientsDoor,
}

pub(super) async fn run(args: SendArgs) -> Result<Exit, Failure> {
    if args.lines && args.header.has_id() {
        let text = "--lines sends many messages; they can't share one --id";
        return Err(Failure::new(text).exit(Exit::Usage));
    }
    if args.lines {
        let input = args.payload.open()?;
        return send_lines(&args, input).await;
    }
    let content = args.header.message(args.payload.read()?)?;
    let client = args.door.connect().await?;
    let id = content.id().clone();
    let accepted = client.send(&args.queue, content).await.map_err(|error| {
        let unknown = error.outcome_unknown();
        let failure = Failure::from(error);
        if unknown {
            failure.advice(format!("the message may have been accepted: repeat it with --id {id}"))
        } else {
            failure
        }
    })?;
    tell(&args, &accepted)?;
    Ok(Exit::Done)
}

fn tell(args: &SendArgs, accepted: &Accepted) -> Result<(), Failure> {
    if args.json {
        return json(accepted);
    }
    let again = if accepted.duplicate { " (had been accepted before)" } else { "" };
    print(&format!("{} {} {}{again}\n", accepted.queue, accepted.seq, accepted.id))
}

async fn send_lines(args: &SendArgs, mut input: Box<dyn BufRead>) -> Result<Exit, Failure> {
    let client = args.door.connect().await?;
    let mut under_way = VecDeque::new();
    let mut sent = 0u64;
    while let Some(line) = read_line(&mut input, sent + 1)? {
        if under_way.len() >= WINDOW {
            confirm(args, &mut under_way).await?;
        }
        let content = args.header.message(line)?;
        sent += 1;
        under_way.push_back((sent, client.submit(&args.queue, content).await?));
    }
    while !under_way.is_empty() {
        confirm(args, &mut under_way).await?;
    }
    if !args.json {
        note(&format!("{sent} messages are durable in {}", args.queue));
    }
    Ok(Exit::Done)
}

/// Waits for the oldest; what was confirmed before it is durable whatever comes.
async fn confirm(args: &SendArgs, under_way: &mut VecDeque<(u64, Confirm)>) -> Result<(), Failure> {
    let Some((line, confirm)) = under_way.pop_front() else { return Ok(()) };
    match confirm.accepted().await {
        Ok(accepted) if args.json => json(&accepted),
        Ok(_) => Ok(()),
        Err(error) => {
            let failure = Failure::from(error);
            let advice = format!("lines 1 to {} are durable; later ones may be", line - 1);
            Err(Failure { text: format!("line {line}: {}", failure.text), ..failure }
                .advice(advice))
        }
    }
}

/// A line without its end; bytes as they are, bounded.
fn read_line(input: &mut dyn BufRead, number: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    // One byte for the line's end, one more shows that there is more.
    let mut bounded = std::io::Read::take(input, MAX_PAYLOAD_BYTES as u64 + 2);
    let read = bounded.read_until(b'\n', &mut line);
    if read.map_err(|error| Failure::io(&format!("line {number}"), &error))? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() > MAX_PAYLOAD_BYTES {
        let text = format!("line {number}: a payload has at most {MAX_PAYLOAD_BYTES} bytes");
        return Err(Failure::new(text));
    }
    Ok(Some(line))
}
