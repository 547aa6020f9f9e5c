//! Repairs: retry, cancel, restore, undo; and how any repair is sent until its outcome is known.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::address::Addresses;
use super::choose::ManyArgs;
use super::many::{self, Many};
use crate::admin::client::{AdminClient, AdminError};
use crate::admin::dto::{
    BulkVerb, IdempotencyKey, QueueName, RepairOutcome, RepairRequest, RepairVerb, Revision, Seq,
};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{json, note, print};
use crate::console::text::clean::clean;

/// How long an unknown outcome is asked for: a broker that was restarted has opened its store by then.
pub(super) const ASK_FOR: Duration = Duration::from_secs(15);
/// Between two questions.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(300);

/// What every repair can be told.
#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    /// Why; the journal keeps it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    /// The revision that you saw; another one now: refused [default: the one just read]
    #[arg(long, value_name = "REVISION")]
    pub(super) expect_revision: Option<u32>,
    /// Names this repair: sent twice, it acts once [default: a new one]
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<IdempotencyKey>,
    /// Print the outcome as a JSON object; null if there was nothing to do
    #[arg(long)]
    pub(super) json: bool,
}

impl RepairArgs {
    /// What came of this repair, if its key was given and it has been done: then nothing is looked at or
    /// sent, since the message may be done by now.
    pub(super) async fn done_before(
        &self,
        client: &AdminClient,
    ) -> Result<Option<RepairOutcome>, Failure> {
        let Some(key) = &self.key else { return Ok(None) };
        let outcome = client.repair_outcome(key).await?;
        Ok(outcome.map(|outcome| RepairOutcome { repeated: true, ..outcome }))
    }

    /// Refused at once, as the broker would: before an editor opens on another text than the one that
    /// was seen.
    pub(super) fn check_revision(
        &self,
        queue: &QueueName,
        seq: Seq,
        found: Revision,
    ) -> Result<(), Failure> {
        match self.expect_revision.map(Revision) {
            Some(seen) if seen != found => {
                let text = format!(
                    "the message changed meanwhile: revision {found} is there, {seen} was seen"
                );
                Err(changed(Failure::new(text).exit(Exit::Refused), queue, seq))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The given key, or a new one.
    pub(super) fn key(&self) -> IdempotencyKey {
        self.key.clone().unwrap_or_else(|| {
            IdempotencyKey::new(&Uuid::now_v7().to_string()).expect("a UUID is a valid key")
        })
    }

    /// Tells the outcome.
    pub(super) fn tell(&self, outcome: &RepairOutcome) -> Result<(), Failure> {
        if self.json {
            return json(outcome);
        }
        let RepairOutcome { queue, seq, state, revision, journal, repeated, .. } = outcome;
        let again = if *repeated { " (this repair had been done before)" } else { "" };
        let what = match &outcome.moved {
            Some(to) => format!("is {} {} now", to.queue, to.seq),
            None => format!("is {state}, revision {revision}"),
        };
        print(&format!("{queue} {seq} {what}; journal entry {journal}{again}\n"))
    }
}

pub(super) const MANY_HELP: &str = "\
Over many messages: say which, see what would be done with --dry-run, and type their number (or give it: --yes COUNT). Each is \
repaired as it was listed: one that changed since stays as it is, and is told. The broker goes on by itself, also when the \
connection is lost; `mubroker message bulk` follows or stops it. What came of each is printed; the exit code is 6 if any was refused.

  mubroker message retry invoices --state blocked --dry-run
  mubroker message retry invoices --group 3f2a9c01b7de --rate 20 --yes 117
  mubroker message cancel invoices --path '$.test=true' --reason 'test data'
  mubroker message move invoices 7 9 12 --to invoices.later";

/// Where a message goes.
#[derive(Debug, Args)]
pub(super) struct MoveArgs {
    #[command(flatten)]
    pub(super) act: ActArgs,
    /// The queue, at whose end it stands then; without it a dead letter goes back to where it came from
    #[arg(long, value_name = "QUEUE")]
    pub(super) to: Option<QueueName>,
}

#[derive(Debug, Args)]
pub(super) struct ActArgs {
    #[command(flatten)]
    message: Addresses,
    #[command(flatten)]
    repair: RepairArgs,
    #[command(flatten)]
    many: ManyArgs,
    /// Don't ask; so many messages are meant
    #[arg(long, value_name = "COUNT", help_heading = "Over many")]
    yes: Option<u64>,
}

pub(super) async fn run(
    client: &AdminClient,
    args: ActArgs,
    action: RepairVerb,
    to: Option<QueueName>,
) -> Result<Exit, Failure> {
    if action == RepairVerb::Cancel && args.repair.reason.is_empty() {
        let failure = Failure::new("a cancelled message needs a reason").exit(Exit::Usage);
        return Err(failure.advice("say why with --reason"));
    }
    if args.many.is_meant(&args.message) {
        let action = bulk_verb(action);
        let (repair, many) = (&args.repair, &args.many);
        return many::run(client, &args.message, Many { repair, many, yes: args.yes, action, to })
            .await;
    }
    if args.many.dry_run || args.many.plain || args.yes.is_some() {
        let text = "--dry-run, --plain and --yes are for many messages";
        let advice = "say which: --all, --state or another of them, or several places";
        return Err(Failure::new(text).advice(advice).exit(Exit::Usage));
    }
    if let Some(outcome) = args.repair.done_before(client).await? {
        args.repair.tell(&outcome)?;
        return Ok(Exit::Done);
    }
    let (queue, seq) = args.message.find(client).await?;
    let expect_revision = match args.repair.expect_revision {
        Some(revision) => Revision(revision),
        None => client.message(&queue, seq).await?.summary.revision,
    };
    let request = RepairRequest {
        key: args.repair.key(),
        expect_revision,
        action,
        payload: None,
        header: None,
        to,
        reason: args.repair.reason.clone(),
    };
    let outcome = repair(client, &queue, seq, &request).await?;
    args.repair.tell(&outcome)?;
    Ok(Exit::Done)
}

fn bulk_verb(action: RepairVerb) -> BulkVerb {
    match action {
        RepairVerb::Retry => BulkVerb::Retry,
        RepairVerb::Cancel => BulkVerb::Cancel,
        RepairVerb::Restore => BulkVerb::Restore,
        RepairVerb::UndoSave => BulkVerb::UndoSave,
        RepairVerb::DeadLetter => BulkVerb::DeadLetter,
        RepairVerb::Move => BulkVerb::Move,
        RepairVerb::Save | RepairVerb::SaveAndRetry => {
            unreachable!("`message edit` has its own way")
        }
    }
}

/// Sends a repair. When its answer got lost, asks what came of its key before anything is said; the
/// repair is only sent again under the same key, so that it acts once.
pub(super) async fn repair(
    client: &AdminClient,
    queue: &QueueName,
    seq: Seq,
    request: &RepairRequest,
) -> Result<RepairOutcome, Failure> {
    attempt(client, queue, seq, request).await.map_err(|unrepaired| match unrepaired {
        Unrepaired::Refused(error) => refused(error, queue, seq),
        Unrepaired::Unknown(error) => {
            let text = format!("UNKNOWN whether the repair was done: {error}");
            let advice = format!(
                "repeat the same command with --key {}: if it was done, it isn't done again",
                request.key
            );
            Failure::new(text).advice(advice)
        }
    })
}

/// Why a repair isn't known to be done.
pub(super) enum Unrepaired {
    /// It isn't.
    Refused(AdminError),
    /// Nobody could say, for long enough.
    Unknown(AdminError),
}

/// The same, for who tells of many.
pub(super) async fn attempt(
    client: &AdminClient,
    queue: &QueueName,
    seq: Seq,
    request: &RepairRequest,
) -> Result<RepairOutcome, Unrepaired> {
    let mut error = match client.repair(queue, seq, request).await {
        Ok(outcome) => return Ok(outcome),
        Err(error) if !error.outcome_unknown() => return Err(Unrepaired::Refused(error)),
        Err(error) => error,
    };
    note(&clean(&format!("{error}; asking what came of it")));
    let until = Instant::now() + ASK_FOR;
    while Instant::now() < until {
        match client.repair_outcome(&request.key).await {
            Ok(Some(outcome)) => return Ok(outcome),
            // It may still be on its way inside the broker: the same key again can't act twice.
            Ok(None) => match client.repair(queue, seq, request).await {
                Ok(outcome) => return Ok(outcome),
                Err(refusal @ AdminError::Problem(_)) if !refusal.outcome_unknown() => {
                    return Err(Unrepaired::Refused(refusal));
                }
                Err(other) => error = other,
            },
            Err(other) => error = other,
        }
        sleep(ASK_EVERY).await;
    }
    Err(Unrepaired::Unknown(error))
}

fn refused(error: AdminError, queue: &QueueName, seq: Seq) -> Failure {
    let is_changed = matches!(&error, AdminError::Problem(problem) if problem.code == "changed");
    let failure = Failure::from(error);
    if is_changed { changed(failure, queue, seq) } else { failure }
}

fn changed(failure: Failure, queue: &QueueName, seq: Seq) -> Failure {
    failure.advice(format!("see what is there now: `mubroker message show {queue} {seq}`"))
}
