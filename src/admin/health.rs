//! Whether the broker lives and takes messages, for who restarts it and who sends to it; and its metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::failure::Failure;
use super::metrics::metrics;
use crate::broker::BrokerHandle;
use crate::model::{Pulse, StoreHealth};

/// How long the loop may be silent. It hears nobody while a full batch waits for the disk; what takes longer than this is
/// worth a look, and the broker itself gives a disk up after half a minute.
const LIMIT: Duration = Duration::from_secs(5);

type Answer<T> = Result<Json<T>, Failure>;

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// All is well.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Serialize)]
pub(super) struct Healthy {
    status: &'static str,
}

/// The loop turns. If it doesn't, a restart helps.
async fn livez(State(broker): State<BrokerHandle>) -> Answer<Healthy> {
    pulse(&broker).await?;
    Ok(Json(Healthy { status: "live" }))
}

/// Messages are accepted. While they aren't, a restart doesn't help.
async fn readyz(State(broker): State<BrokerHandle>) -> Answer<Healthy> {
    let Pulse { store, stopping } = pulse(&broker).await?;
    let why = match store {
        _ if stopping => "the broker stops".to_owned(),
        StoreHealth::Ok => return Ok(Json(Healthy { status: "ready" })),
        StoreHealth::Full { reason } => format!("the disk is full: {reason}"),
        StoreHealth::Unavailable { reason } => format!("the store can't be written: {reason}"),
    };
    Err(unhealthy("not_ready", why))
}

async fn pulse(broker: &BrokerHandle) -> Result<Pulse, Failure> {
    match tokio::time::timeout(LIMIT, broker.pulse()).await {
        Ok(Ok(pulse)) => Ok(pulse),
        Ok(Err(error)) => Err(unhealthy("stopping", error.to_string())),
        Err(_) => {
            let detail = format!("the broker has not answered for {} s", LIMIT.as_secs());
            Err(unhealthy("not_live", detail))
        }
    }
}

fn unhealthy(code: &str, detail: String) -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
}
