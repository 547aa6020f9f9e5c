//! Routes of the store.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::dto::{BackupRequest, DiskView, StoreView, Timed};
use super::failure::Failure;
use super::peer::Acting;
use super::request::Body;
use crate::broker::BrokerHandle;
use crate::model::{DiskFigures, HistogramView};

type Answer<T> = Result<T, Failure>;

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new().route("/v1/store", get(store)).route("/v1/store/backup", post(backup))
}

async fn store(State(broker): State<BrokerHandle>) -> Answer<Json<StoreView>> {
    let figures = broker.figures().await?;
    let disk = broker.disk_figures().await?;
    let overview = figures.overview;
    Ok(Json(StoreView {
        data_dir: overview.data_dir,
        generation: overview.generation,
        health: overview.store,
        disk: disk.map(|DiskFigures { store_bytes, free_bytes, total_bytes }| DiskView {
            store_bytes,
            free_bytes,
            total_bytes,
        }),
        commits: timed(&figures.store.commit_nanos),
        syncs: timed(&figures.store.sync_nanos),
        operations: figures.store.batch_ops.sum,
    }))
}

fn timed(histogram: &HistogramView) -> Timed {
    Timed { count: histogram.counts.iter().sum(), sum_ms: histogram.sum / 1_000_000 }
}

async fn backup(
    State(broker): State<BrokerHandle>,
    Acting(actor): Acting,
    Body(request): Body<BackupRequest>,
) -> Answer<StatusCode> {
    let to = request.to;
    if !to.is_absolute() {
        let detail = format!("`to` is {}; it must be an absolute path", to.display());
        return Err(Failure::invalid(detail));
    }
    tracing::info!(to = %to.display(), by = %actor.name, "a backup is made");
    broker.backup(to).await?;
    Ok(StatusCode::NO_CONTENT)
}
