//! Routes of gathers.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::dto::{GatherDetail, GatherName, GatherPage, GatherState};
use super::failure::Failure;
use super::request::{Asked, BegunAsked, Path, page};
use crate::broker::BrokerHandle;

type Answer<T> = Result<Json<T>, Failure>;

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new().route("/v1/gathers", get(gathers)).route("/v1/gathers/{id}", get(gather))
}

async fn gathers(
    State(broker): State<BrokerHandle>,
    Asked(asked): Asked<BegunAsked<GatherState>>,
) -> Answer<GatherPage> {
    let after = asked.after.unwrap_or(0);
    Ok(Json(broker.gathers(after, page(asked.limit)?, asked.state).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatherAsked {
    gather: Option<GatherName>,
}

async fn gather(
    State(broker): State<BrokerHandle>,
    path: Path,
    Asked(asked): Asked<GatherAsked>,
) -> Answer<GatherDetail> {
    Ok(Json(broker.gather(&path.id()?, asked.gather).await?))
}
