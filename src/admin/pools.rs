//! Routes of supervised workers.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::dto::{DrainRequest, Drained, PoolView, ScaleRequest};
use super::failure::Failure;
use super::peer::Acting;
use super::request::{Body, Path};
use crate::broker::{BrokerHandle, DrainOrder};
use crate::model::{Actor, PoolAct};

type Answer<T> = Result<Json<T>, Failure>;

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new()
        .route("/v1/workers/{name}/restart", post(restart_worker))
        .route("/v1/workers/{name}/drain", post(drain_worker))
        .route("/v1/pools", get(pools))
        .route("/v1/pools/{name}", get(pool))
        .route("/v1/pools/{name}/restart", post(restart))
        .route("/v1/pools/{name}/drain", post(drain))
        .route("/v1/pools/{name}/scale", post(scale))
}

async fn pools(State(broker): State<BrokerHandle>) -> Answer<Vec<PoolView>> {
    Ok(Json(broker.pools(None, None).await?))
}

async fn pool(State(broker): State<BrokerHandle>, path: Path) -> Answer<PoolView> {
    one(broker.pools(Some(path.name()), None).await?)
}

async fn restart(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
) -> Answer<PoolView> {
    act(broker, &path, &actor, PoolAct::Restart).await
}

async fn drain(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
) -> Answer<PoolView> {
    act(broker, &path, &actor, PoolAct::Drain).await
}

async fn scale(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<ScaleRequest>,
) -> Answer<PoolView> {
    act(broker, &path, &actor, PoolAct::Scale(request.count)).await
}

async fn restart_worker(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<DrainRequest>,
) -> Answer<Drained> {
    tell(broker, &path, &actor, true, request).await
}

async fn drain_worker(
    State(broker): State<BrokerHandle>,
    path: Path,
    Acting(actor): Acting,
    Body(request): Body<DrainRequest>,
) -> Answer<Drained> {
    tell(broker, &path, &actor, false, request).await
}

async fn tell(
    broker: BrokerHandle,
    path: &Path,
    actor: &Actor,
    anew: bool,
    request: DrainRequest,
) -> Answer<Drained> {
    let name = path.name();
    tracing::info!(worker = name, anew, by = actor.name, via = actor.via, "workers are drained");
    let order = DrainOrder { anew, reason: request.reason };
    Ok(Json(Drained { told: broker.drain_workers(&name, order).await? }))
}

async fn act(broker: BrokerHandle, path: &Path, actor: &Actor, act: PoolAct) -> Answer<PoolView> {
    let name = path.name();
    tracing::info!(pool = name, ?act, by = actor.name, via = actor.via, "supervised workers");
    one(broker.pools(Some(name), Some(act)).await?)
}

fn one(pools: Vec<PoolView>) -> Answer<PoolView> {
    let one = pools.into_iter().next();
    one.map(Json).ok_or_else(|| Failure::invalid("the supervisor named no pool"))
}
