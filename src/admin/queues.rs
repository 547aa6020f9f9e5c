//! Routes that make, change and empty queues.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value};

use super::dto::{PurgePage, PurgeRequest, SchemaView, SettingsRequest};
use super::failure::Failure;
use super::peer::Acting;
use super::request::{Body, Path, page};
use crate::broker::{BrokerHandle, PurgeOrder};
use crate::model::{Seq, SettingChange};

type Answer<T> = Result<T, Failure>;

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new()
        .route("/v1/queues/{queue}/create", post(create))
        .route("/v1/queues/{queue}/settings", post(settings))
        .route("/v1/queues/{queue}/schema", get(schema))
        .route("/v1/queues/{queue}/purge", post(purge))
}

/// `null` is what the configuration says.
fn changes(set: Map<String, Value>) -> Vec<SettingChange> {
    let change = |(key, value): (String, Value)| {
        let value = Some(value).filter(|value| !value.is_null());
        SettingChange { key, value }
    };
    set.into_iter().map(change).collect()
}

async fn create(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<SettingsRequest>,
) -> Answer<StatusCode> {
    broker.create_queue(actor, path.queue()?, changes(request.set), request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn settings(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<SettingsRequest>,
) -> Answer<StatusCode> {
    if request.set.is_empty() {
        return Err(Failure::invalid("`set` is empty: name at least one setting"));
    }
    broker.set_queue(actor, path.queue()?, changes(request.set), request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn schema(State(broker): State<BrokerHandle>, path: Path) -> Answer<Json<SchemaView>> {
    let text = broker.schema(&path.queue()?).await?;
    Ok(Json(SchemaView { text: text.as_str().to_owned() }))
}

async fn purge(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<PurgeRequest>,
) -> Answer<Json<PurgePage>> {
    let order = PurgeOrder {
        actor,
        queue: path.queue()?,
        from: request.from.unwrap_or(Seq(1)),
        until: request.until,
        limit: page(request.limit)?,
        reason: request.reason,
    };
    Ok(Json(broker.purge(order).await?))
}
