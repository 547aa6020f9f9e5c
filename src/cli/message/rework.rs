//! `mubroker message edit --jq` and `--patch`: one or many messages changed by a program, after their differences were seen.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use super::act::{Unrepaired, attempt};
use super::agree::{agreed, messages};
use super::choose::{Chosen, Row};
use super::edit::{EditArgs, difference};
use super::many::{Form, tell, tell_more};
use super::schema::{self, Asked};
use crate::admin::client::{AdminClient, AdminError};
use crate::admin::dto::{
    BulkItem, BulkOutcome, BulkResult, IdempotencyKey, Payload, QueueName, RepairOutcome,
    RepairRefusal, RepairRequest, RepairVerb,
};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::input::read_file;
use crate::cli::output::{note, print};
use crate::cli::processes::own_program;
use crate::console::sandbox::{Limits, Sandbox, SandboxError, Source};
use crate::console::text::clean::clean;
use crate::model::bulk_key;
use crate::model::limits::MAX_BULK_KEY_BYTES;

/// Payloads that are read at once.
const AT_ONCE: usize = 8;
/// New payloads in bytes, which wait in RAM until they are agreed to.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// The program on the command line, if there is one, in a process of its own.
pub(super) async fn program(args: &EditArgs) -> Result<Option<Sandbox>, Failure> {
    let patch;
    let source = match (&args.jq, &args.patch) {
        (Some(expression), _) => Source::Jq(expression),
        (None, Some(path)) => {
            patch = read_file(path)?;
            Source::Patch(&patch)
        }
        (None, None) => return Ok(None),
    };
    let limits = Limits { time: Duration::from_secs(args.time_limit), ..Limits::default() };
    let own_program = own_program().map_err(|error| Failure::io("this program", &error))?;
    match Sandbox::start(&own_program, source, limits).await {
        Ok(program) => Ok(Some(program)),
        Err(error @ SandboxError::NoProgram(_)) => {
            Err(Failure::new(error.to_string()).exit(Exit::Usage))
        }
        Err(error) => Err(Failure::new(format!("{error}; nothing saved"))),
    }
}

/// What comes of a message before anything is saved.
enum Plan {
    Save(Vec<u8>),
    Same,
    Refused(RepairRefusal),
    /// Under this key it has been done.
    Done(RepairOutcome),
}

struct Counts {
    change: usize,
    same: usize,
    refused: usize,
    done: usize,
}

pub(super) async fn run(
    client: &AdminClient,
    args: &EditArgs,
    mut program: Sandbox,
) -> Result<Exit, Failure> {
    let form = Form::of(args.repair.json, args.many.plain);
    let key = args.repair.key();
    if key.as_str().len() > MAX_BULK_KEY_BYTES {
        let text = format!("--key has at most {MAX_BULK_KEY_BYTES} bytes here");
        return Err(Failure::new(text).exit(Exit::Usage));
    }
    let chosen = choose(client, args).await?;
    if chosen.messages.is_empty() {
        note("no such messages");
        return Ok(Exit::Done);
    }
    let schema = Asked::of(client, &chosen.queue).await?;
    let edit = Edit { client, args, key, form, schema };
    let plans = edit.plan(&chosen, &mut program).await?;
    // While somebody reads the differences, it has nothing to do.
    drop(program);
    let counts = count(&plans);
    let Counts { change, same, refused, done } = counts;
    let before = if done > 0 { format!(", {done} were edited before") } else { String::new() };
    note(&format!(
        "{change} would change, {same} have nothing to change, {refused} can't be edited{before}"
    ));
    tell_more(chosen.more_from);
    let ends = if refused > 0 { Exit::Refused } else { Exit::Done };
    if args.many.dry_run || change == 0 {
        return Ok(ends);
    }
    let verb = if args.retry { "Save and retry" } else { "Save" };
    let what = format!("{verb} {} of {}", messages(change), chosen.queue);
    if !agreed(&what, change, args.yes)? {
        return Err(Failure::new("nothing saved"));
    }
    let failed = edit.save(&chosen, plans).await?;
    note(&format!("{} saved, {} refused", change - failed, failed + refused));
    Ok(if failed > 0 { Exit::Refused } else { ends })
}

async fn choose(client: &AdminClient, args: &EditArgs) -> Result<Chosen, Failure> {
    if args.many.is_meant(&args.message) {
        return args.many.choose(client, &args.message).await;
    }
    let (queue, seq) = args.message.find(client).await?;
    let view = client.message(&queue, seq).await?;
    args.repair.check_revision(&queue, seq, view.summary.revision)?;
    let messages = vec![Row::new(&view.summary, &queue)];
    Ok(Chosen { queue, messages, more_from: None })
}

fn count(plans: &[Plan]) -> Counts {
    let of = |is: fn(&Plan) -> bool| plans.iter().filter(|plan| is(plan)).count();
    Counts {
        change: of(|plan| matches!(plan, Plan::Save(_))),
        same: of(|plan| matches!(plan, Plan::Same)),
        refused: of(|plan| matches!(plan, Plan::Refused(_))),
        done: of(|plan| matches!(plan, Plan::Done(_))),
    }
}

/// The outcome of a repair that was done before, or what was read.
type Read = (Option<RepairOutcome>, Result<Bytes, AdminError>);

struct Edit<'a> {
    client: &'a AdminClient,
    args: &'a EditArgs,
    key: IdempotencyKey,
    form: Form,
    schema: Asked,
}

impl Edit<'_> {
    /// Reads each message, changes it and shows the difference.
    async fn plan(&self, chosen: &Chosen, program: &mut Sandbox) -> Result<Vec<Plan>, Failure> {
        let queue = &chosen.queue;
        let (mut plans, mut bytes) = (Vec::with_capacity(chosen.messages.len()), 0);
        // None is read while the program runs, which may take longer than an answer may.
        for rows in chosen.messages.chunks(AT_ONCE) {
            let read = join_all(rows.iter().map(|row| self.read(queue, row))).await;
            for (row, found) in rows.iter().zip(read) {
                let (done, payload) = found?;
                let plan = match (done, payload) {
                    (Some(outcome), _) => Plan::Done(outcome),
                    (None, Ok(payload)) => self.change(program, queue, row, &payload).await?,
                    (None, Err(error)) => match refusal(error) {
                        Ok(refusal) => Plan::Refused(refusal),
                        Err(failure) => return Err(failure),
                    },
                };
                match &plan {
                    Plan::Save(new) => bytes += new.len(),
                    Plan::Refused(refusal) => self.tell(queue, row, refused(refusal.clone()))?,
                    Plan::Done(outcome) => self.tell(queue, row, done_before(outcome.clone()))?,
                    Plan::Same => {}
                }
                if bytes > MAX_BYTES {
                    let text = format!(
                        "the new payloads have more than {MAX_BYTES} bytes together; nothing saved"
                    );
                    return Err(
                        Failure::new(text).advice("take fewer at once, with --limit or a filter")
                    );
                }
                plans.push(plan);
            }
        }
        Ok(plans)
    }

    /// What came of it before, or else its payload.
    async fn read(&self, queue: &QueueName, row: &Row) -> Result<Read, Failure> {
        if self.args.repair.key.is_some()
            && let Some(outcome) = self.client.repair_outcome(&self.key_of(row)).await?
        {
            return Ok((Some(outcome), Ok(Bytes::new())));
        }
        let revision = Some(row.item.revision);
        Ok((None, self.client.payload(queue, row.item.seq, revision).await))
    }

    async fn change(
        &self,
        program: &mut Sandbox,
        queue: &QueueName,
        row: &Row,
        old: &[u8],
    ) -> Result<Plan, Failure> {
        let made = program.apply(old, self.args.force).await.map_err(|error| {
            let text = format!("at {queue} {}: {error}; nothing saved", row.item.seq);
            Failure::new(text)
        })?;
        let new = match made {
            Ok(new) => new,
            Err(reason) => return Ok(Plan::Refused(RepairRefusal::Invalid { reason })),
        };
        if new == old {
            return Ok(Plan::Same);
        }
        let head =
            format!("{queue} {} ({}), revision {}:", row.item.seq, row.id, row.item.revision);
        let text = format!("{}\n{}", clean(&head), difference(old, &new));
        // What programs read is what came of it.
        if self.form == Form::Text {
            print(&text)?
        } else {
            note(text.trim_end())
        }
        if let Some(miss) = self.schema.miss(&new).await? {
            if self.args.repair.reason.trim().is_empty() {
                return Ok(Plan::Refused(schema::refusal(miss)));
            }
            let miss = clean(&miss.to_string()).into_owned();
            note(&format!(
                "it is not as the queue's schema says: {miss}; the reason lets it through"
            ));
        }
        Ok(Plan::Save(new))
    }

    fn key_of(&self, row: &Row) -> IdempotencyKey {
        bulk_key(&self.key, row.item.seq).expect("a bulk's key has room for a place behind it")
    }

    /// Saves what changes; how many were refused. Ctrl-C ends it between two.
    async fn save(&self, chosen: &Chosen, plans: Vec<Plan>) -> Result<usize, Failure> {
        let (begun, mut saved, mut failed) = (Instant::now(), 0u32, 0);
        let rate = self.args.many.rate;
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        for (row, plan) in chosen.messages.iter().zip(plans) {
            let Plan::Save(new) = plan else { continue };
            let next = async {
                if rate > 0 {
                    sleep_until(
                        begun + Duration::from_secs_f64(f64::from(saved) / f64::from(rate)),
                    )
                    .await;
                }
                self.save_one(&chosen.queue, row, &new).await
            };
            let outcome = tokio::select! {
                outcome = next => outcome?,
                _ = &mut interrupted => {
                    let text = format!("{saved} were saved; the next one may be, too, and none after it");
                    let failure = Failure::new(text).exit(Exit::Interrupted);
                    return Err(failure.advice(self.how_to_go_on()));
                }
            };
            saved += 1;
            failed += usize::from(matches!(outcome, BulkOutcome::Refused { .. }));
            self.tell(&chosen.queue, row, outcome)?;
        }
        Ok(failed)
    }

    async fn save_one(
        &self,
        queue: &QueueName,
        row: &Row,
        new: &[u8],
    ) -> Result<BulkOutcome, Failure> {
        let request = RepairRequest {
            key: self.key_of(row),
            expect_revision: row.item.revision,
            action: if self.args.retry { RepairVerb::SaveAndRetry } else { RepairVerb::Save },
            payload: Some(Payload::from_bytes(new)),
            header: None,
            to: None,
            reason: self.args.repair.reason.clone(),
        };
        match attempt(self.client, queue, row.item.seq, &request).await {
            Ok(outcome) => Ok(outcome.into()),
            Err(Unrepaired::Refused(error)) => match refusal(error) {
                Ok(refusal) => Ok(refused(refusal)),
                Err(failure) => Err(failure.advice(self.how_to_go_on())),
            },
            Err(Unrepaired::Unknown(error)) => {
                let text = format!("UNKNOWN whether {queue} {} was saved: {error}", row.item.seq);
                Err(Failure::new(text).advice(self.how_to_go_on()))
            }
        }
    }

    fn how_to_go_on(&self) -> String {
        format!("repeat the same command with --key {}: what was saved isn't saved again", self.key)
    }

    fn tell(&self, queue: &QueueName, row: &Row, outcome: BulkOutcome) -> Result<(), Failure> {
        let BulkItem { seq, revision } = row.item;
        tell(queue, &BulkResult { seq, revision, outcome }, self.form)
    }
}

/// A message's own refusal; what would meet the others too ends it all.
fn refusal(error: AdminError) -> Result<RepairRefusal, Failure> {
    let AdminError::Problem(problem) = error else { return Err(error.into()) };
    match (problem.refusal.clone(), problem.code.as_str()) {
        (Some(RepairRefusal::StoreUnavailable { .. } | RepairRefusal::NoSuchQueue { .. }), _) => {
            Err(AdminError::Problem(problem).into())
        }
        (Some(refusal), _) => Ok(refusal),
        (None, "not_found" | "forbidden") => Ok(RepairRefusal::Invalid { reason: problem.detail }),
        (None, _) => Err(AdminError::Problem(problem).into()),
    }
}

fn refused(refusal: RepairRefusal) -> BulkOutcome {
    BulkOutcome::Refused { refusal, now: None }
}

fn done_before(outcome: RepairOutcome) -> BulkOutcome {
    RepairOutcome { repeated: true, ..outcome }.into()
}
