//! The routes. Each is one call of the broker's handle; `client` has the same table from the other side.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use bytes::Bytes;
use serde::Deserialize;

use super::bulk::Bulk;
use super::config::ShownConfig;
use super::dto::{
    DeleteRequest, DoorView, HoldRequest, JournalPage, KeyPage, Located, MessageView, Overview,
    PauseRequest, QueueView, RedrivePage, RedriveRequest, RepairOutcome, WorkerView,
};
use super::failure::Failure;
use super::gate::{Doorkeeper, gate};
use super::listing;
use super::peer::{Acting, Caller};
use super::request::{Asked, Body, MAX_SMALL_BODY_BYTES, PageAsked, Path, page};
use super::stream::stream;
use crate::auth::Right;
use crate::broker::{BrokerHandle, JournalQuery, RedriveOrder};
use crate::model::{Filter, QueueId, QueueName, Revision, Seq};

type Answer<T> = Result<T, Failure>;

/// Every route of this version.
pub(super) fn router(
    broker: BrokerHandle,
    config: ShownConfig,
    doorkeeper: Arc<Doorkeeper>,
) -> Router {
    Router::new()
        .route("/v1/overview", get(overview))
        .route("/v1/queues", get(queues))
        .route("/v1/queues/{queue}", get(queue))
        .route("/v1/queues/{queue}/delete", post(delete))
        .route("/v1/queues/{queue}/pause", post(pause))
        .route("/v1/queues/{queue}/drain", post(drain))
        .route("/v1/queues/{queue}/resume", post(resume))
        .route("/v1/queues/{queue}/keys", get(keys))
        .route("/v1/queues/{queue}/messages/{seq}", get(message))
        .route("/v1/queues/{queue}/messages/{seq}/payload", get(payload))
        .route("/v1/queues/{queue}/messages/{seq}/hold", post(hold))
        .route("/v1/queues/{queue}/redrive", post(redrive))
        .route("/v1/repairs/{key}", get(repair_outcome))
        .route("/v1/messages/{id}", get(locate))
        .merge(super::messages::routes())
        .merge(super::queues::routes())
        .merge(super::repairs::routes())
        .merge(super::publish::routes())
        .merge(super::store::routes())
        .merge(super::sagas::routes())
        .merge(super::gathers::routes())
        .merge(super::topics::routes())
        .merge(super::pools::routes())
        .merge(super::health::routes())
        .merge(super::openapi::routes())
        .merge(super::problems::routes())
        .route("/v1/workers", get(workers))
        .route("/v1/doors", get(doors))
        .route("/v1/journal", get(journal))
        .route("/v1/events", get(super::events::events))
        .route("/v1/stream", get(stream))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_SMALL_BODY_BYTES))
        .with_state(broker.clone())
        .merge(super::bulk::routes().with_state(Bulk::new(broker, Arc::clone(&doorkeeper.access))))
        .merge(super::config::routes().with_state(config))
        .merge(super::tokens::routes().with_state(Arc::clone(&doorkeeper)))
        .layer(middleware::from_fn_with_state(doorkeeper, gate))
        .layer(middleware::from_fn(super::problems::with_instance))
}

async fn overview(State(broker): State<BrokerHandle>) -> Answer<Json<Overview>> {
    Ok(Json(broker.overview().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueuesAsked {
    prefix: Option<String>,
    after: Option<u32>,
    limit: Option<usize>,
}

/// All, unless some are asked for.
async fn queues(
    State(broker): State<BrokerHandle>,
    caller: Caller,
    Asked(asked): Asked<QueuesAsked>,
) -> Answer<Response> {
    let QueuesAsked { prefix: None, after: None, limit: None } = asked else {
        let (prefix, limit) = (asked.prefix.unwrap_or_default(), page(asked.limit)?);
        let after = QueueId(asked.after.unwrap_or(0));
        let found = listing::named(&broker, &caller, &prefix, after, limit).await?;
        return Ok(Json(found).into_response());
    };
    Ok(listing::array(broker, caller).await?)
}

async fn queue(State(broker): State<BrokerHandle>, path: Path) -> Answer<Json<QueueView>> {
    Ok(Json(broker.queue(&path.queue()?).await?))
}

async fn workers(
    State(broker): State<BrokerHandle>,
    caller: Caller,
) -> Answer<Json<Vec<WorkerView>>> {
    Ok(Json(caller.workers(broker.workers().await?)))
}

async fn doors(State(broker): State<BrokerHandle>) -> Answer<Json<Vec<DoorView>>> {
    Ok(Json(broker.doors().await?))
}

async fn pause(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<PauseRequest>,
) -> Answer<StatusCode> {
    broker.set_paused(actor, path.queue()?, true, request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn drain(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<PauseRequest>,
) -> Answer<StatusCode> {
    broker.drain_queue(actor, path.queue()?, request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn resume(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<PauseRequest>,
) -> Answer<StatusCode> {
    broker.set_paused(actor, path.queue()?, false, request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<DeleteRequest>,
) -> Answer<StatusCode> {
    broker.delete_queue(actor, path.queue()?, request.purge, request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The order keys that stand.
async fn keys(
    State(broker): State<BrokerHandle>,
    path: Path,
    Asked(asked): Asked<PageAsked>,
) -> Answer<Json<KeyPage>> {
    let (queue, limit) = (path.queue()?, page(asked.limit)?);
    Ok(Json(broker.keys(&queue, Seq(asked.from.unwrap_or(1)), limit).await?))
}

async fn message(State(broker): State<BrokerHandle>, path: Path) -> Answer<Json<MessageView>> {
    Ok(Json(broker.message(&path.queue()?, path.seq()?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayloadAsked {
    revision: Option<u32>,
}

/// The payload's bytes as they are. Whatever they are, nobody must run them: no type, no sniffing.
async fn payload(
    State(broker): State<BrokerHandle>,
    path: Path,
    Asked(asked): Asked<PayloadAsked>,
) -> Answer<([(HeaderName, &'static str); 1], Bytes)> {
    let revision = asked.revision.map(Revision);
    let content = broker.content(&path.queue()?, path.seq()?, revision).await?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], content.payload))
}

async fn redrive(
    State(broker): State<BrokerHandle>,
    path: Path,
    caller: Caller,
    Acting(actor): Acting,
    Body(request): Body<RedriveRequest>,
) -> Answer<Json<RedrivePage>> {
    if let Some(to) = &request.to {
        caller.may_in(Right::Move, to)?;
    }
    let filter = request.filter.as_deref().map(Filter::new).transpose();
    let order = RedriveOrder {
        key: request.key.parse().map_err(|e| Failure::invalid(format!("`key`: {e}")))?,
        actor,
        queue: path.queue()?,
        from: request.from.unwrap_or(Seq(1)),
        until: request.until,
        limit: page(request.limit)?,
        filter: filter.map_err(|error| Failure::invalid(error.to_string()))?,
        to: request.to,
        into: caller.grants.queues,
        dry_run: request.dry_run,
        reason: request.reason,
    };
    Ok(Json(broker.redrive(order).await?))
}

/// The hold as it is now; no content when nobody holds the message.
async fn hold(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<HoldRequest>,
) -> Answer<Response> {
    let held = broker.hold(actor, path.queue()?, path.seq()?, request.for_ms).await?;
    Ok(match held {
        Some(view) => Json(view).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

async fn repair_outcome(
    State(broker): State<BrokerHandle>,
    path: Path,
    caller: Caller,
) -> Answer<Json<RepairOutcome>> {
    let key = path.key()?;
    let outcome = broker.repair_outcome(key.clone()).await?;
    outcome.filter(|outcome| caller.sees(&outcome.queue)).map(Json).ok_or_else(|| {
        let detail = format!("no repair with the key {key} has been done, or it is long ago");
        Failure::new(StatusCode::NOT_FOUND, "not_found", detail)
    })
}

async fn locate(
    State(broker): State<BrokerHandle>,
    path: Path,
    caller: Caller,
) -> Answer<Json<Located>> {
    let (queue, seq, state) = broker.locate(&path.id()?).await?;
    caller.may_in(Right::Read, &queue)?;
    Ok(Json(Located { queue, seq, state }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalAsked {
    before: Option<u64>,
    limit: Option<usize>,
    queue: Option<QueueName>,
    seq: Option<u64>,
}

/// Who sees some queues only gets pages without the others' entries.
async fn journal(
    State(broker): State<BrokerHandle>,
    caller: Caller,
    Asked(asked): Asked<JournalAsked>,
) -> Answer<Json<JournalPage>> {
    if asked.seq.is_some() && asked.queue.is_none() {
        return Err(Failure::invalid("`seq` needs `queue`: places are counted in each queue"));
    }
    let query = JournalQuery {
        before: asked.before,
        limit: page(asked.limit)?,
        queue: asked.queue,
        seq: asked.seq.map(Seq),
    };
    if let Some(queue) = &query.queue {
        caller.may_in(Right::Read, queue)?;
    }
    let mut page = broker.journal(query).await?;
    page.entries.retain(|entry| caller.sees(&entry.queue));
    Ok(Json(page))
}

/// Likewise.
pub(super) async fn unknown(uri: Uri, _read: Result<Bytes, BytesRejection>) -> Failure {
    let detail = format!("there is nothing at {}; this API begins at /v1/overview", uri.path());
    Failure::new(StatusCode::NOT_FOUND, "not_found", detail)
}

/// What came along is read: an answer before that would end the connection, and may be lost with it.
pub(super) async fn wrong_method(
    method: Method,
    uri: Uri,
    _read: Result<Bytes, BytesRejection>,
) -> Failure {
    let detail = format!("{} can't be asked with {method}", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "invalid", detail)
}
