//! A jq expression over many payloads: what it makes of each, and the saving of what was seen and agreed to.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::task::{PAUSE, Task, with_cause};
use super::{Ending, Found, How, Item, Order, Outcome, Progress, Row};
use crate::admin::client::AdminError;
use crate::admin::dto::{
    IdempotencyKey, Payload, QueueName, RepairOutcome, RepairRefusal, RepairRequest, RepairVerb,
    SchemaText, Seq,
};
use crate::console::sandbox::{Limits, Sandbox, Source};
use crate::schema::Checks;

/// Payloads that are read at once.
const AT_ONCE: usize = 8;
/// Old and new payloads in bytes, which wait in RAM until they are agreed to.
const MAX_BYTES: usize = 128 * 1024 * 1024;

/// What the expression makes of each.
pub(super) async fn plan(
    task: &Task,
    order: &Order,
    rows: Vec<Row>,
    jq: &str,
) -> Result<Vec<Item>, String> {
    let program = Sandbox::start(&task.own_program, Source::Jq(jq), Limits::default());
    let mut program = program.await.map_err(|error| error.to_string())?;
    let schema = task.client.schema(&order.queue).await.map_err(|error| with_cause(&error))?;
    let checks = Checks::of_one(&order.queue, &SchemaText::new(&schema.text));
    let of = rows.len() as u64;
    let (mut items, mut bytes, mut failed) = (Vec::new(), 0, 0);
    let mut rows = rows.into_iter();
    while !rows.as_slice().is_empty() {
        let some: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
        let read = some.iter().map(|Row { item, .. }| {
            task.client.payload(&order.queue, item.seq, Some(item.revision))
        });
        // None is read while the expression runs, which may take longer than an answer may.
        let read = join_all(read).await;
        for (row, payload) in some.into_iter().zip(read) {
            if task.is_stopped() {
                return Err("stopped".to_owned());
            }
            let found = match payload {
                Err(error) => Found::Refused(of_one(error)?),
                Ok(old) => change(task, order, (&mut program, &checks), row.item.seq, old).await?,
            };
            match &found {
                Found::Edited { old, new } => bytes += old.len() + new.len(),
                Found::Refused(_) => failed += 1,
                Found::Possible | Found::Same => {}
            }
            if bytes > MAX_BYTES {
                return Err(format!(
                    "the payloads have more than {MAX_BYTES} bytes together; take fewer at once"
                ));
            }
            items.push(Item { row, found });
            let progress = Progress { tried: items.len() as u64, failed, of: Some(of), note: None };
            task.progress(progress).await;
        }
    }
    Ok(items)
}

/// What the expression makes of one payload.
async fn change(
    task: &Task,
    order: &Order,
    (program, checks): (&mut Sandbox, &Checks),
    seq: Seq,
    old: Bytes,
) -> Result<Found, String> {
    let made = tokio::select! {
        made = program.apply(&old, false) => made,
        () = task.stopped() => return Err("stopped".to_owned()),
    };
    match made.map_err(|error| format!("at #{seq}: {error}; nothing was done"))? {
        Ok(new) if new == old => Ok(Found::Same),
        Ok(new) => fitting(checks, order, old, Bytes::from(new)).await,
        Err(why) => Ok(Found::Refused(why)),
    }
}

/// What misses the queue's schema is not saved without a reason.
async fn fitting(checks: &Checks, order: &Order, old: Bytes, new: Bytes) -> Result<Found, String> {
    let missed = checks.miss(&order.queue, &new).await.map_err(|rejection| rejection.reason)?;
    Ok(match missed.filter(|_| order.reason.trim().is_empty()) {
        None => Found::Edited { old, new },
        Some(miss) => Found::Refused(format!(
            "misses the schema at {miss}; with a reason it is saved all the same"
        )),
    })
}

/// Saves each as it was seen. Nothing is saved twice: each has its own key.
pub(super) async fn save(task: &Task, order: &Order, items: Vec<Item>, retry: bool) -> Ending {
    let changes: Vec<(Row, Bytes)> = items
        .into_iter()
        .filter_map(|item| match item.found {
            Found::Edited { new, .. } => Some((item.row, new)),
            Found::Possible | Found::Same | Found::Refused(_) => None,
        })
        .collect();
    let of = changes.len() as u64;
    let begun = Instant::now();
    let (mut outcomes, mut failed) = (Vec::with_capacity(changes.len()), 0);
    for (row, new) in changes {
        if let Some(rate) = order.rate {
            let due = begun + Duration::from_secs_f64(outcomes.len() as f64 / f64::from(rate));
            task.pause(due.saturating_duration_since(Instant::now())).await;
        }
        if task.is_stopped() {
            return Ending { outcomes, how: How::Stopped("you stopped it".to_owned()) };
        }
        let so_far = Progress { tried: outcomes.len() as u64, failed, of: Some(of), note: None };
        let result = match save_one(task, order, &row, new, retry, &so_far).await {
            Ok(result) => result,
            Err(how) => return Ending { outcomes, how },
        };
        failed += u64::from(result.is_err());
        let result = result.map(|done| (done.revision, format!("{} now", done.state)));
        outcomes.push(Outcome { row, result });
        let tried = outcomes.len() as u64;
        task.progress(Progress { tried, failed, of: Some(of), note: None }).await;
    }
    Ending { outcomes, how: How::Done }
}

/// What came of one message; an error ends all.
async fn save_one(
    task: &Task,
    order: &Order,
    row: &Row,
    new: Bytes,
    retry: bool,
    so_far: &Progress,
) -> Result<Result<RepairOutcome, String>, How> {
    let queue: &QueueName = &order.queue;
    let seq = row.item.seq;
    let key = IdempotencyKey::new(&format!("{}/{seq}", order.key));
    let request = RepairRequest {
        key: key.map_err(|error| How::Failed(error.to_string()))?,
        expect_revision: row.item.revision,
        action: if retry { RepairVerb::SaveAndRetry } else { RepairVerb::Save },
        payload: Some(Payload::from_bytes(&new)),
        header: None,
        to: None,
        reason: order.reason.clone(),
    };
    let mut is_unknown = false;
    loop {
        // Under its key it acts once, however often it is sent.
        let error = match task.client.repair(queue, seq, &request).await {
            Ok(done) => return Ok(Ok(done)),
            Err(error) => error,
        };
        let refused = matches!(&error, AdminError::Problem(_)) && !error.outcome_unknown();
        is_unknown |= error.outcome_unknown();
        let why = match refused {
            true => match of_one(error) {
                Ok(why) => return Ok(Err(why)),
                // It says nothing of what was sent before.
                Err(why) if is_unknown => why,
                Err(why) => return Err(How::Failed(format!("at #{seq}: {why}"))),
            },
            false => with_cause(&error),
        };
        let note = format!("UNKNOWN whether #{seq} was saved: {why}; asking again");
        if task.is_stopped() {
            return Err(How::Lost(format!("UNKNOWN whether #{seq} was saved, none after it")));
        }
        task.progress(Progress { note: Some(note), ..so_far.clone() }).await;
        task.pause(PAUSE).await;
    }
}

/// A message's own refusal; an error is what would meet the others too.
fn of_one(error: AdminError) -> Result<String, String> {
    let AdminError::Problem(problem) = error else { return Err(with_cause(&error)) };
    match (&problem.refusal, problem.code.as_str()) {
        (Some(RepairRefusal::StoreUnavailable { .. } | RepairRefusal::NoSuchQueue { .. }), _) => {
            Err(problem.detail)
        }
        (Some(_), _) | (None, "not_found" | "forbidden") => Ok(problem.detail),
        (None, _) => Err(problem.detail),
    }
}
