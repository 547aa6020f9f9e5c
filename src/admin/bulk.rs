//! Repairs of many messages. Each is a resource that goes on by itself, whoever is still there to look at it.

mod job;
mod jobs;
mod run;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::dto::{BulkItem, BulkRequest, BulkResultPage, BulkVerb, BulkView};
use super::failure::Failure;
use super::peer::{Acting, Caller};
use super::request::{Asked, Body, Path, page};
use crate::auth::{Access, Right};
use crate::broker::{Act, BrokerHandle};
use crate::model::QueueName;
use crate::model::limits::{MAX_BULK_ITEMS, MAX_BULK_KEY_BYTES, MAX_REASON_BYTES, MAX_REPAIR_KEYS};

use job::Job;
use jobs::Jobs;

type Answer<T> = Result<T, Failure>;

/// Each action's own; who has none of them is refused before the body is read.
pub(super) const RIGHTS: &[Right] =
    &[Right::Retry, Right::Edit, Right::Cancel, Right::DeadLetter, Right::Move];

/// What the routes share.
#[derive(Clone)]
pub(super) struct Bulk {
    broker: BrokerHandle,
    access: Arc<Access>,
    jobs: Arc<Jobs>,
}

impl Bulk {
    pub(super) fn new(broker: BrokerHandle, access: Arc<Access>) -> Self {
        Self { broker, access, jobs: Arc::default() }
    }
}

pub(super) fn routes() -> Router<Bulk> {
    Router::new()
        .route("/v1/queues/{queue}/bulk", post(begin))
        .route("/v1/bulk", get(list))
        .route("/v1/bulk/{key}", get(show))
        .route("/v1/bulk/{key}/results", get(results))
        .route("/v1/bulk/{key}/stop", post(stop))
}

/// Begins it, or finds the one that was begun by the same request.
async fn begin(
    State(bulk): State<Bulk>,
    path: Path,
    caller: Caller,
    Acting(actor): Acting,
    Body(request): Body<BulkRequest>,
) -> Answer<impl IntoResponse> {
    let queue = path.queue()?;
    check(&request)?;
    may(&caller, &queue, request.action, request.to.as_ref())?;
    // Refuses a queue that isn't there.
    bulk.broker.queue(&queue).await?;
    let started_at = bulk.broker.now().await?;
    let job = Job::new(queue, actor, caller, request, started_at);
    let job = match bulk.jobs.put(job)? {
        jobs::Put::Known(job) => job,
        jobs::Put::New(job) => {
            tokio::spawn(run::run(Arc::clone(&job), bulk.broker, bulk.access));
            job
        }
    };
    let place = format!("/v1/bulk/{}", super::client::percent_encode(job.request.key.as_str()));
    let place = HeaderValue::try_from(place).expect("what is percent-encoded is ASCII");
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], Json(job.view())))
}

/// What is wrong with the request itself.
fn check(request: &BulkRequest) -> Answer<()> {
    let key = request.key.as_str();
    let fault = match (&request.items, &request.filter) {
        _ if key.len() > MAX_BULK_KEY_BYTES => {
            let len = key.len();
            format!("`key` has {len} bytes; at most {MAX_BULK_KEY_BYTES} are allowed")
        }
        (Some(_), Some(_)) => "give `items` or `filter`, not both".to_owned(),
        (None, None) => "`items` or `filter` is missing; `\"filter\": {}` takes all".to_owned(),
        (Some(items), None) if items.len() > MAX_BULK_ITEMS => {
            let len = items.len();
            format!("`items` has {len} messages; at most {MAX_BULK_ITEMS} are allowed")
        }
        (Some(items), None) if has_twice(items) => {
            "`items` has a message twice; name each once".to_owned()
        }
        (Some(_), None) if request.expect.is_some() => {
            "`expect` is for `filter` only; `items` are counted".to_owned()
        }
        _ if request.rate == Some(0) => {
            "`rate` is 0; leave it out for as fast as the store takes them".to_owned()
        }
        _ if request.to.is_some() && request.action != BulkVerb::Move => {
            "`to` is for `move` only".to_owned()
        }
        _ if request.action == BulkVerb::Cancel && request.reason.trim().is_empty() => {
            "a cancel needs a `reason`".to_owned()
        }
        _ if request.reason.len() > MAX_REASON_BYTES => {
            format!("the reason is longer than {MAX_REASON_BYTES} bytes; shorten it")
        }
        _ => return Ok(()),
    };
    Err(Failure::invalid(fault))
}

fn has_twice(items: &[BulkItem]) -> bool {
    let mut places: Vec<_> = items.iter().map(|item| item.seq).collect();
    places.sort_unstable();
    places.windows(2).any(|pair| pair[0] == pair[1])
}

/// Each action has its right, as for one message, and messages go to the caller's queues only.
fn may(caller: &Caller, queue: &QueueName, verb: BulkVerb, to: Option<&QueueName>) -> Answer<()> {
    let right = match verb {
        BulkVerb::Retry => Right::Retry,
        BulkVerb::UndoSave => Right::Edit,
        BulkVerb::Cancel | BulkVerb::Restore => Right::Cancel,
        BulkVerb::DeadLetter => Right::DeadLetter,
        BulkVerb::Move => Right::Move,
    };
    caller.may_in(right, queue)?;
    to.map_or(Ok(()), |to| caller.may_in(Right::Move, to))
}

fn act(verb: BulkVerb, to: Option<QueueName>) -> Act {
    match verb {
        BulkVerb::Retry => Act::Retry,
        BulkVerb::Cancel => Act::Cancel,
        BulkVerb::Restore => Act::Restore,
        BulkVerb::UndoSave => Act::UndoSave,
        BulkVerb::DeadLetter => Act::DeadLetter,
        BulkVerb::Move => Act::Move(to),
    }
}

/// Those of the caller's queues, the newest first.
async fn list(State(bulk): State<Bulk>, caller: Caller) -> Json<Vec<BulkView>> {
    let jobs = bulk.jobs.all();
    Json(jobs.iter().filter(|job| caller.sees(&job.queue)).map(|job| job.view()).collect())
}

fn find(bulk: &Bulk, path: &Path, caller: &Caller) -> Answer<Arc<Job>> {
    let key = path.key()?;
    bulk.jobs.find(&key).filter(|job| caller.sees(&job.queue)).ok_or_else(|| {
        let detail = format!(
            "there is no bulk repair with the key {key}: newer ones took its place, or the broker was restarted \
             since; sent again under the same key, it repairs nothing twice that is among the newest \
             {MAX_REPAIR_KEYS} repairs"
        );
        Failure::new(StatusCode::NOT_FOUND, "not_found", detail)
    })
}

async fn show(State(bulk): State<Bulk>, path: Path, caller: Caller) -> Answer<Json<BulkView>> {
    Ok(Json(find(&bulk, &path, &caller)?.view()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultsAsked {
    from: Option<u64>,
    limit: Option<usize>,
    refused: Option<bool>,
}

async fn results(
    State(bulk): State<Bulk>,
    path: Path,
    caller: Caller,
    Asked(asked): Asked<ResultsAsked>,
) -> Answer<Json<BulkResultPage>> {
    let (job, limit) = (find(&bulk, &path, &caller)?, page(asked.limit)?);
    Ok(Json(job.results(asked.from.unwrap_or(0), limit, asked.refused)))
}

/// Nothing more is begun; what is under way is done.
async fn stop(
    State(bulk): State<Bulk>,
    path: Path,
    caller: Caller,
    Acting(actor): Acting,
) -> Answer<Json<BulkView>> {
    let job = find(&bulk, &path, &caller)?;
    may(&caller, &job.queue, job.request.action, None)?;
    job.ask_to_stop(format!("{} stopped it", actor.name));
    Ok(Json(job.view()))
}
