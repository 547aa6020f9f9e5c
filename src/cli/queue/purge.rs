//! `mubroker queue purge`

use clap::Args;
use serde::Serialize;

use crate::admin::client::AdminClient;
use crate::admin::dto::{PurgeRequest, QueueName, Seq, Staying};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, json, note, print};
use crate::console::text::clean::clean;
use crate::model::limits::MAX_PAGE;

pub(super) const HELP: &str = "\
What waits ends as cancelled, for good: nothing of it can be restored. Callers, sagas and `reply_to` queues are told so. What a \
worker has stays, what somebody else edits too, and what comes after the command has begun. The journal has one line \
for each 500 messages at most, with who and why. To keep a copy, `mubroker message export` first.

  mubroker queue purge folder.2024 --dry-run
  mubroker queue purge folder.2024 --reason 'a test run, not needed'
  mubroker queue purge folder.2024 --reason 'a test run, not needed' --yes";

/// Take out all messages that wait in a queue; needs --reason
#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// The queue
    #[arg(add = crate::cli::completions::queues())]
    queue: QueueName,
    /// Why; the journal keeps it
    #[arg(
        long,
        required_unless_present = "dry_run",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    /// Only say how many wait
    #[arg(long)]
    dry_run: bool,
    /// Print what came of it as a JSON object
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    queue: QueueName,
    dry_run: bool,
    removed: u64,
    stay: Vec<Staying>,
    /// How many stay; of more than `stay` lists, too.
    staying: u64,
}

/// Messages that stay are told one by one up to here: a queue without order may have as many with workers.
const MAX_TOLD: usize = 1_000;

pub(super) async fn run(client: &AdminClient, args: PurgeArgs) -> Result<Exit, Failure> {
    let view = client.queue(&args.queue).await?;
    let mut outcome = Outcome {
        queue: args.queue.clone(),
        dry_run: args.dry_run,
        removed: 0,
        stay: Vec::new(),
        staying: 0,
    };
    let waiting = view.depth.saturating_sub(view.leased);
    if args.dry_run {
        (outcome.removed, outcome.staying) = (waiting, view.leased);
        return tell(&args, &outcome);
    }
    if !agreed(&args, waiting)? {
        return Err(Failure::new("nothing was removed"));
    }
    let mut request = PurgeRequest {
        from: Some(Seq(1)),
        until: None,
        limit: Some(MAX_PAGE),
        reason: args.reason.clone(),
    };
    loop {
        let page = client.purge(&args.queue, &request).await.map_err(|error| {
            let failure = Failure::from(error);
            let removed = outcome.removed;
            if removed == 0 {
                failure
            } else {
                failure.advice(format!("{removed} messages are gone; the others wait"))
            }
        })?;
        outcome.removed += page.removed;
        outcome.staying += page.stay.len() as u64;
        let room = MAX_TOLD.saturating_sub(outcome.stay.len());
        outcome.stay.extend(page.stay.into_iter().take(room));
        let Some(next) = page.next else { break };
        (request.from, request.until) = (Some(next), Some(page.until));
    }
    tell(&args, &outcome)
}

fn tell(args: &PurgeArgs, outcome: &Outcome) -> Result<Exit, Failure> {
    let Outcome { queue, removed, staying, .. } = outcome;
    if args.json {
        json(outcome)?;
        return Ok(Exit::Done);
    }
    for Staying { seq, id, reason } in &outcome.stay {
        note(&clean(&format!("{queue} {seq} ({id}) stays: {reason}")));
    }
    let what = if args.dry_run { "would be removed" } else { "removed" };
    print(&format!("{queue}: {removed} messages {what}, {staying} stay\n"))?;
    Ok(Exit::Done)
}

/// In a terminal the operator is asked; a script must say that it means it.
fn agreed(args: &PurgeArgs, waiting: u64) -> Result<bool, Failure> {
    if args.yes {
        return Ok(true);
    }
    let queue = &args.queue;
    let question =
        format!("{waiting} messages wait in {queue}; they can't be restored. Remove them?");
    output::agreed(&question)?.ok_or_else(|| {
        let failure = Failure::new("a purge can't be undone, and there is nobody here to ask");
        failure.exit(Exit::Usage).advice("say --yes if you mean it")
    })
}
