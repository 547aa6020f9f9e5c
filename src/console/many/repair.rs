//! A repair that is the same for all: a resource of the broker's, which goes on whoever looks at it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::task::{PAUSE, Task, not_begun, with_cause};
use super::{Ending, Found, How, Item, Order, Outcome, Progress, Row};
use crate::admin::client::AdminError;
use crate::admin::dto::{
    BulkItem, BulkOutcome, BulkRequest, BulkResult, BulkState, BulkVerb, BulkView, IdempotencyKey,
    MAX_PAGE, QueueName, Seq,
};

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What would come of each.
pub(super) async fn rehearse(
    task: &Task,
    order: &Order,
    rows: Vec<Row>,
    verb: BulkVerb,
    to: &Option<QueueName>,
) -> Result<Vec<Item>, String> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let key = format!("{}-look", order.key);
    let key = IdempotencyKey::new(&key).map_err(|error| error.to_string())?;
    let items = rows.iter().map(|row| row.item).collect();
    let request = BulkRequest { dry_run: true, rate: None, ..request(order, key, items, verb, to) };
    let text = |error: AdminError| with_cause(&error);
    task.client.begin_bulk(&order.queue, &request).await.map_err(text)?;
    let view = loop {
        let view = task.client.bulk(&request.key).await.map_err(text)?;
        if view.state.is_over() {
            break view;
        }
        if task.is_stopped() {
            task.client.stop_bulk(&request.key).await.map_err(text)?;
        }
        task.progress(progress(&view)).await;
        task.pause(LOOK_EVERY).await;
    };
    if view.state != BulkState::Done {
        return Err(view.note.unwrap_or_else(|| "the dry run was not done".to_owned()));
    }
    let found = results(task, &request.key).await.map_err(text)?;
    let mut found: BTreeMap<Seq, BulkOutcome> =
        found.into_iter().map(|result| (result.seq, result.outcome)).collect();
    let item = |row: Row| {
        let found = match found.remove(&row.item.seq) {
            Some(BulkOutcome::Refused { refusal, .. }) => Found::Refused(refusal.to_string()),
            Some(BulkOutcome::Possible | BulkOutcome::Done { .. }) => Found::Possible,
            None => Found::Refused("the dry run says nothing of it".to_owned()),
        };
        Item { row, found }
    };
    Ok(rows.into_iter().map(item).collect())
}

/// Begins it, or finds it begun, and follows it to its end.
pub(super) async fn carry_out(
    task: &Task,
    order: &Order,
    items: Vec<Item>,
    verb: BulkVerb,
    to: Option<QueueName>,
) -> Ending {
    let rows: Vec<Row> =
        items.into_iter().filter(|item| item.found.counts()).map(|item| item.row).collect();
    let places = rows.iter().map(|row| row.item).collect();
    let request = request(order, order.key.clone(), places, verb, &to);
    if let Err(ending) = begin(task, &order.queue, &request).await {
        return ending;
    }
    match follow(task, &request.key).await {
        Ok((view, results)) => {
            let mut rows: BTreeMap<Seq, Row> =
                rows.into_iter().map(|row| (row.item.seq, row)).collect();
            let outcomes = results
                .into_iter()
                .filter_map(|result| Some(outcome(rows.remove(&result.seq)?, result.outcome)))
                .collect();
            Ending { outcomes, how: how(view) }
        }
        Err(why) => Ending { outcomes: Vec::new(), how: How::Lost(why) },
    }
}

fn request(
    order: &Order,
    key: IdempotencyKey,
    items: Vec<BulkItem>,
    action: BulkVerb,
    to: &Option<QueueName>,
) -> BulkRequest {
    BulkRequest {
        key,
        action,
        items: Some(items),
        filter: None,
        expect: None,
        to: to.clone(),
        rate: order.rate,
        dry_run: false,
        reason: order.reason.clone(),
    }
}

/// Sends it until its answer is known: under its key it is begun once.
async fn begin(task: &Task, queue: &QueueName, request: &BulkRequest) -> Result<(), Ending> {
    let mut is_unknown = false;
    loop {
        let error = match task.client.begin_bulk(queue, request).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // A refusal says nothing of what was sent before.
        is_unknown |= error.outcome_unknown();
        let why = with_cause(&error);
        if !is_unknown {
            return Err(not_begun(format!("{why}; nothing was done")));
        }
        let why = format!("UNKNOWN whether it was begun: {why}");
        if task.is_stopped() {
            return Err(Ending { outcomes: Vec::new(), how: How::Lost(why) });
        }
        let of = request.items.as_ref().map(|items| items.len() as u64);
        task.progress(Progress { of, note: Some(why), ..Progress::default() }).await;
        task.pause(PAUSE).await;
    }
}

/// Until it is over. The connection may come and go: nothing depends on it.
async fn follow(task: &Task, key: &IdempotencyKey) -> Result<(BulkView, Vec<BulkResult>), String> {
    let mut is_asked_to_stop = false;
    let mut last = Progress::default();
    loop {
        if task.is_stopped() && !is_asked_to_stop {
            is_asked_to_stop = task.client.stop_bulk(key).await.is_ok();
        }
        let error = match task.client.bulk(key).await {
            Ok(view) if view.state.is_over() => match results(task, key).await {
                Ok(results) => return Ok((view, results)),
                Err(error) => error,
            },
            Ok(view) => {
                last = progress(&view);
                task.progress(last.clone()).await;
                task.pause(LOOK_EVERY).await;
                continue;
            }
            Err(error) => error,
        };
        if let AdminError::Problem(problem) = &error
            && !error.outcome_unknown()
        {
            return Err(problem.detail.clone());
        }
        let note = format!("the broker goes on by itself; no word of it: {}", with_cause(&error));
        task.progress(Progress { note: Some(note), ..last.clone() }).await;
        task.pause(PAUSE).await;
    }
}

async fn results(task: &Task, key: &IdempotencyKey) -> Result<Vec<BulkResult>, AdminError> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let page = task.client.bulk_results(key, from, MAX_PAGE).await?;
        all.extend(page.results);
        match page.next.filter(|next| *next > from) {
            Some(next) => from = next,
            None => return Ok(all),
        }
    }
}

fn progress(view: &BulkView) -> Progress {
    Progress {
        tried: view.done + view.refused,
        failed: view.refused,
        of: Some(view.chosen),
        note: view.note.clone(),
    }
}

fn how(view: BulkView) -> How {
    let note = view.note.unwrap_or_default();
    match view.state {
        BulkState::Done => How::Done,
        BulkState::Stopped => How::Stopped(note),
        BulkState::Failed | BulkState::Choosing | BulkState::Running => How::Failed(note),
    }
}

fn outcome(row: Row, outcome: BulkOutcome) -> Outcome {
    let result = match outcome {
        BulkOutcome::Done { revision, state, moved, repeated, .. } => {
            let what = match moved {
                Some(to) => format!("is {} {} now", to.queue, to.seq),
                None => state.to_string(),
            };
            let again = if repeated { " (it had been done before)" } else { "" };
            Ok((revision, format!("{what}{again}")))
        }
        BulkOutcome::Possible => Err("only a dry run".to_owned()),
        BulkOutcome::Refused { refusal, now } => {
            let now = now.map(|now| format!("; now {}, revision {}", now.state, now.revision));
            Err(format!("{refusal}{}", now.unwrap_or_default()))
        }
    };
    Outcome { row, result }
}
