//! `mubroker queue redrive`

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::admin::client::AdminClient;
use crate::admin::dto::{IdempotencyKey, QueueName, RedriveRequest, Redriven, Seq};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{json, note, print};
use crate::console::text::clean::clean;

/// Messages that one request looks at.
const PAGE: usize = 100;

pub(super) const HELP: &str = "\
Only what is there when it begins is looked at, so that what fails again is not brought back a second time. Messages \
keep their ids, and `dead_letter` in their headers counts how often they have been dead letters.

  mubroker queue redrive invoices.dead --dry-run
  mubroker queue redrive invoices.dead --reason 'the VAT service is back'
  mubroker queue redrive invoices.dead --filter \"header.dead_letter.reason == 'attempts'\" --rate 20
  mubroker queue redrive invoices.dead --filter \"body.country == 'FR'\" --to invoices.fr";

/// Bring dead letters back to the queues that they came from
#[derive(Debug, Args)]
pub(super) struct RedriveArgs {
    /// The dead-letter queue
    #[arg(add = crate::cli::completions::queues())]
    queue: QueueName,
    /// Which, as a subscription's filter: an expression in CEL over header and body [default: all]
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
    /// All go to this queue instead
    #[arg(long, value_name = "QUEUE")]
    to: Option<QueueName>,
    /// How many messages at most
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// How many a second at most; 0: as fast as the store takes them
    #[arg(long, value_name = "PER SECOND", default_value_t = 100)]
    rate: u32,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Why; the journal keeps it
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Names this redrive: each message goes once under it [default: a new one]
    #[arg(long, value_name = "KEY")]
    key: Option<IdempotencyKey>,
    /// One JSON object for each message
    #[arg(long)]
    json: bool,
}

/// How many went and how many stay.
#[derive(Debug, Default)]
struct Tally {
    went: u64,
    stay: u64,
}

pub(super) async fn run(client: &AdminClient, args: RedriveArgs) -> Result<Exit, Failure> {
    let key = args.key.as_ref().map_or_else(|| Uuid::now_v7().to_string(), ToString::to_string);
    let mut request = RedriveRequest {
        key: key.clone(),
        from: Some(Seq(1)),
        filter: args.filter.clone(),
        to: args.to.clone(),
        dry_run: args.dry_run,
        reason: args.reason.clone(),
        ..RedriveRequest::default()
    };
    let begun = Instant::now();
    let mut tally = Tally::default();
    loop {
        let left = args.limit.map(|limit| limit.saturating_sub(tally.went));
        if left == Some(0) {
            break;
        }
        let size = usize::try_from(left.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).min(PAGE);
        let size = if args.rate == 0 { size } else { size.min(args.rate as usize) };
        request.limit = Some(size);
        let page = client.redrive(&args.queue, &request).await.map_err(|error| {
            let advice = format!("go on with --key {key}: what went does not go again");
            let failure = Failure::from(error);
            if tally.went > 0 { failure.advice(advice) } else { failure }
        })?;
        for message in &page.messages {
            tell(&args, message, &mut tally)?;
        }
        let Some(next) = page.next else { break };
        (request.from, request.until) = (Some(next), Some(page.until));
        if args.rate > 0 && !args.dry_run {
            let due = Duration::from_secs_f64(tally.went as f64 / f64::from(args.rate));
            sleep_until(begun + due).await;
        }
    }
    let would = if args.dry_run { "would go" } else { "went" };
    note(&format!("{} {would}, {} stay", tally.went, tally.stay));
    Ok(if tally.stay == 0 { Exit::Done } else { Exit::Refused })
}

fn tell(args: &RedriveArgs, message: &Redriven, tally: &mut Tally) -> Result<(), Failure> {
    let stays = !message.reason.is_empty();
    *(if stays { &mut tally.stay } else { &mut tally.went }) += 1;
    if args.json {
        return json(message);
    }
    let what = match &message.moved {
        Some(to) => format!("is {} {} now", to.queue, to.seq),
        None if stays => format!("stays: {}", message.reason),
        None => "would go".to_owned(),
    };
    print(&format!(
        "{}\n",
        clean(&format!("{} {} ({}) {what}", args.queue, message.seq, message.id))
    ))
}
