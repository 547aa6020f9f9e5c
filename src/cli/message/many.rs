//! The same repair of many messages, which the broker goes on with by itself; and what came of each.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::act::{ASK_EVERY, ASK_FOR, RepairArgs};
use super::address::Addresses;
use super::agree::{agreed, messages};
use super::choose::{Chosen, ManyArgs};
use crate::admin::client::{AdminClient, AdminError};
use crate::admin::dto::{
    BulkOutcome, BulkRequest, BulkResult, BulkState, BulkVerb, BulkView, IdempotencyKey, QueueName,
    Seq,
};
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{Column, json, note, print, table};
use crate::console::text::clean::clean;
use crate::model::limits::MAX_PAGE;

/// Rows of the list before it is asked whether they are meant.
const SHOWN: usize = 10;
/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two lines about that.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What is to be done.
pub(super) struct Many<'a> {
    pub(super) repair: &'a RepairArgs,
    pub(super) many: &'a ManyArgs,
    pub(super) yes: Option<u64>,
    pub(super) action: BulkVerb,
    pub(super) to: Option<QueueName>,
}

pub(super) async fn run(
    client: &AdminClient,
    message: &Addresses,
    asked: Many<'_>,
) -> Result<Exit, Failure> {
    let Many { repair, many, yes, action, to } = asked;
    if repair.expect_revision.is_some() {
        let text = "--expect-revision is for one message; of many each is done as it was listed";
        return Err(Failure::new(text).exit(Exit::Usage));
    }
    let key = repair.key();
    // After a lost connection the same command with the same key follows the one that was begun.
    let begun = match &repair.key {
        Some(key) => known(client, key).await?,
        None => None,
    };
    if let Some(begun) = &begun {
        let (queue, _) = message.queue_and_places()?;
        if begun.action != action || begun.queue != queue || begun.dry_run != many.dry_run {
            let text = format!("the key {key} was used for another repair of many messages");
            return Err(Failure::new(text).advice("give each its own").exit(Exit::Refused));
        }
    }
    if begun.is_none() {
        let chosen = many.choose(client, message).await?;
        if chosen.messages.is_empty() {
            note("no such messages");
            return Ok(Exit::Done);
        }
        let what = what(action, &chosen, to.as_ref());
        if !many.dry_run {
            show(&chosen);
            if !agreed(&what, chosen.messages.len(), yes)? {
                return Err(Failure::new("nothing was done"));
            }
        }
        let request = BulkRequest {
            key: key.clone(),
            action,
            items: Some(chosen.messages.iter().map(|row| row.item).collect()),
            filter: None,
            expect: None,
            to,
            rate: (many.rate > 0).then_some(many.rate),
            dry_run: many.dry_run,
            reason: repair.reason.clone(),
        };
        begin(client, &chosen.queue, &request).await?;
    }
    let view = follow(client, &key).await?;
    tell_results(client, &view, Form::of(repair.json, many.plain)).await?;
    end(&view)
}

async fn known(client: &AdminClient, key: &IdempotencyKey) -> Result<Option<BulkView>, Failure> {
    match client.bulk(key).await {
        Ok(view) => Ok(Some(view)),
        Err(AdminError::Problem(problem)) if problem.code == "not_found" => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As a sentence's beginning: `Retry 3 messages of bills`.
fn what(action: BulkVerb, chosen: &Chosen, to: Option<&QueueName>) -> String {
    let verb = match action {
        BulkVerb::Retry => "Retry",
        BulkVerb::Cancel => "Cancel",
        BulkVerb::Restore => "Restore",
        BulkVerb::UndoSave => "Take back the last edit of",
        BulkVerb::DeadLetter => "Dead-letter",
        BulkVerb::Move => "Move",
    };
    let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
    format!("{verb} {} of {}{to}", messages(chosen.messages.len()), chosen.queue)
}

/// What is meant, on standard error: standard output is for what came of it.
pub(super) fn show(chosen: &Chosen) {
    let columns = [Column("SEQ", 10), Column("REV", 4), Column("ID", 20), Column("STATE", 80)];
    let cells = |row: &super::choose::Row| {
        vec![
            row.item.seq.to_string(),
            row.item.revision.to_string(),
            row.id.clone(),
            row.about.clone(),
        ]
    };
    let rows: Vec<_> = chosen.messages.iter().take(SHOWN).map(cells).collect();
    note(table(&columns, &rows).trim_end());
    if let Some(more) = chosen.messages.len().checked_sub(SHOWN).filter(|&more| more > 0) {
        note(&format!("… and {more} more"));
    }
    if let Some(from) = chosen.more_from {
        note(&format!(
            "these are the first; what there is from place {from} on is for the next time"
        ));
    }
}

/// Sends it until the answer is known: under its key it is begun once.
async fn begin(
    client: &AdminClient,
    queue: &QueueName,
    request: &BulkRequest,
) -> Result<(), Failure> {
    let until = Instant::now() + ASK_FOR;
    loop {
        match client.begin_bulk(queue, request).await {
            Ok(_) => return Ok(()),
            Err(error) if !error.outcome_unknown() => return Err(error.into()),
            Err(error) if Instant::now() >= until => {
                let key = &request.key;
                let text = format!("UNKNOWN whether it was begun: {error}");
                let advice =
                    format!("repeat the same command with --key {key}: nothing is done twice");
                return Err(Failure::new(text).advice(advice));
            }
            Err(_) => sleep(ASK_EVERY).await,
        }
    }
}

/// Until it is over. Whoever goes away before (Ctrl-C) is told how to come back: the broker goes on.
pub(super) async fn follow(
    client: &AdminClient,
    key: &IdempotencyKey,
) -> Result<BulkView, Failure> {
    tokio::select! {
        view = until_over(client, key) => view,
        _ = tokio::signal::ctrl_c() => {
            let failure = Failure::new("the broker goes on with it").exit(Exit::Interrupted);
            Err(failure.advice(how_to_go_on(key)))
        }
    }
}

fn how_to_go_on(key: &IdempotencyKey) -> String {
    format!(
        "`mubroker message bulk show {key}` follows it, `mubroker message bulk stop {key}` stops it"
    )
}

async fn until_over(client: &AdminClient, key: &IdempotencyKey) -> Result<BulkView, Failure> {
    let is_watched = std::io::stderr().is_terminal();
    let mut told = Instant::now();
    let mut lost_since = None;
    loop {
        match client.bulk(key).await {
            Ok(view) if view.state.is_over() => return Ok(view),
            Ok(view) => {
                lost_since = None;
                if is_watched && told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    note(&clean(&progress(&view)));
                }
            }
            Err(error @ AdminError::Problem(_)) => {
                return Err(Failure::from(error).advice(how_to_go_on(key)));
            }
            // The connection may come back: nothing depends on it.
            Err(error) => {
                let since = *lost_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= ASK_FOR {
                    return Err(Failure::from(error).advice(how_to_go_on(key)));
                }
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// In one line.
pub(super) fn progress(view: &BulkView) -> String {
    let BulkView { chosen, done, refused, .. } = view;
    let note = view.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
    let dry = if view.dry_run { " (dry run)" } else { "" };
    match view.state {
        BulkState::Choosing => format!("{chosen} messages chosen so far{note}"),
        BulkState::Running => {
            let tried = done + refused;
            format!("{tried} of {chosen} tried, {refused} refused{dry}{note}")
        }
        BulkState::Done if view.dry_run => format!("{done} would be done, {refused} would not"),
        BulkState::Done => format!("{done} done, {refused} refused"),
        BulkState::Stopped | BulkState::Failed => {
            let left = chosen.saturating_sub(done + refused);
            format!("{done} done, {refused} refused, {left} not tried{dry}{note}")
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    Plain,
}

impl Form {
    pub(super) fn of(json: bool, plain: bool) -> Self {
        match (json, plain) {
            (true, _) => Self::Json,
            (false, true) => Self::Plain,
            (false, false) => Self::Text,
        }
    }
}

/// What came of each, page by page.
pub(super) async fn tell_results(
    client: &AdminClient,
    view: &BulkView,
    form: Form,
) -> Result<(), Failure> {
    let mut next = Some(0);
    while let Some(from) = next {
        let page = client.bulk_results(&view.key, from, MAX_PAGE).await?;
        page.results.iter().try_for_each(|result| tell(&view.queue, result, form))?;
        next = page.next;
    }
    Ok(())
}

/// What came of one message, on a line.
pub(super) fn tell(queue: &QueueName, result: &BulkResult, form: Form) -> Result<(), Failure> {
    let BulkResult { seq, outcome, .. } = result;
    match form {
        Form::Json => json(result),
        Form::Plain => print(&plain(queue, result)),
        Form::Text => {
            let what = match outcome {
                BulkOutcome::Done { id, state, revision, moved, journal, repeated } => {
                    let again = if *repeated { " (it had been done before)" } else { "" };
                    let what = match moved {
                        Some(to) => format!("is {} {} now", to.queue, to.seq),
                        None => format!("is {state}, revision {revision}"),
                    };
                    format!("({id}) {what}; journal entry {journal}{again}")
                }
                BulkOutcome::Possible => "would be done".to_owned(),
                BulkOutcome::Refused { refusal, now } => {
                    let now =
                        now.map(|now| format!("; now {}, revision {}", now.state, now.revision));
                    format!("stays as it is: {refusal}{}", now.unwrap_or_default())
                }
            };
            print(&format!("{}\n", clean(&format!("{queue} {seq} {what}"))))
        }
    }
}

/// Queue, place, what came of it, state, revision, where it is now, why not: with tabs between.
fn plain(queue: &QueueName, result: &BulkResult) -> String {
    let (word, state, revision, moved, why) = match &result.outcome {
        BulkOutcome::Done { state, revision, moved, .. } => {
            let moved = moved.as_ref().map(|to| format!("{} {}", to.queue, to.seq));
            (
                "done",
                state.to_string(),
                revision.to_string(),
                moved.unwrap_or_default(),
                String::new(),
            )
        }
        BulkOutcome::Possible => {
            ("possible", String::new(), result.revision.to_string(), String::new(), String::new())
        }
        BulkOutcome::Refused { refusal, now } => {
            let state = now.map(|now| now.state.to_string()).unwrap_or_default();
            let revision = now.map_or(result.revision, |now| now.revision).to_string();
            ("refused", state, revision, String::new(), refusal.to_string())
        }
    };
    let cells =
        [queue.to_string(), result.seq.to_string(), word.to_owned(), state, revision, moved, why];
    let cells: Vec<_> = cells.iter().map(|cell| clean(cell)).collect();
    cells.join("\t") + "\n"
}

/// That not all were looked at, if so.
pub(super) fn tell_more(from: Option<Seq>) {
    if let Some(from) = from {
        note(&format!("there are more, from place {from} on: repeat it for them"));
    }
}

/// The last line, and the exit code.
pub(super) fn end(view: &BulkView) -> Result<Exit, Failure> {
    tell_more(view.more_from);
    match view.state {
        BulkState::Stopped | BulkState::Failed => Err(Failure::new(progress(view))),
        BulkState::Choosing | BulkState::Running | BulkState::Done => {
            note(&clean(&progress(view)));
            Ok(if view.refused == 0 { Exit::Done } else { Exit::Refused })
        }
    }
}
