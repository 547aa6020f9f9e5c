//! Routes of sagas.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::dto::{SagaAct, SagaActRequest, SagaDetail, SagaPage, SagaState};
use super::failure::Failure;
use super::peer::{Acting, Caller};
use super::request::{Asked, BegunAsked, Body, Path, page};
use crate::auth::Right;
use crate::broker::BrokerHandle;
use crate::model::SagaOrder;

type Answer<T> = Result<Json<T>, Failure>;

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new()
        .route("/v1/sagas", get(sagas))
        .route("/v1/sagas/{id}", get(saga))
        .route("/v1/sagas/{id}/act", post(act))
}

async fn sagas(
    State(broker): State<BrokerHandle>,
    Asked(asked): Asked<BegunAsked<SagaState>>,
) -> Answer<SagaPage> {
    let after = asked.after.unwrap_or(0);
    Ok(Json(broker.sagas(after, page(asked.limit)?, asked.state).await?))
}

async fn saga(State(broker): State<BrokerHandle>, path: Path) -> Answer<SagaDetail> {
    Ok(Json(broker.saga(&path.id()?).await?))
}

/// The saga as it is then.
async fn act(
    State(broker): State<BrokerHandle>,
    path: Path,
    caller: Caller,
    Acting(actor): Acting,
    Body(request): Body<SagaActRequest>,
) -> Answer<SagaDetail> {
    caller.may_all(match request.act {
        SagaAct::Retry => Right::Retry,
        SagaAct::Skip | SagaAct::Abort => Right::Cancel,
    })?;
    let id = path.id()?;
    let order = SagaOrder { act: request.act, expect_state: request.expect_state };
    broker.saga_act(actor, id.clone(), order, request.reason).await?;
    Ok(Json(broker.saga(&id).await?))
}
