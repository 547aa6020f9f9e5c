//! `GET /metrics`: the broker for Prometheus and those who speak its text form.

mod exposition;
mod names;
mod page;
mod process;

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

pub use exposition::{Kind, Metric};
pub use names::METRICS;

use super::failure::Failure;
use crate::broker::{BrokerHandle, OperatorError, QUEUES_PAGE};
use crate::model::{DiskFigures, Figures, PoolView, QueueFigures, QueueId};
use page::Sums;

/// Queues with series of their own: those that were made first, so that who is among them doesn't change from one look to
/// the next. Each has some 16 series, a page some 2 MB; ten thousand would cost Prometheus more than the broker.
pub const MAX_QUEUE_SERIES: usize = 1_000;
/// How long a page may take: as long as Prometheus waits by default. A disk that hangs takes the loop longer.
const LIMIT: Duration = Duration::from_secs(10);

/// Everything that a page is made of.
struct Looked {
    figures: Figures,
    disk: Option<DiskFigures>,
    pools: Vec<PoolView>,
    /// At most [`MAX_QUEUE_SERIES`].
    queues: Vec<QueueFigures>,
    sums: Sums,
    process: process::Process,
}

pub(super) async fn metrics(State(broker): State<BrokerHandle>) -> Result<Response, Failure> {
    let looked = tokio::time::timeout(LIMIT, look(&broker)).await.map_err(|_| {
        let detail = format!("the broker had no figures within {} s", LIMIT.as_secs());
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    })??;
    let text = page::write(&looked);
    Ok(([(CONTENT_TYPE, exposition::CONTENT_TYPE)], text).into_response())
}

async fn look(broker: &BrokerHandle) -> Result<Looked, OperatorError> {
    let figures = broker.figures().await?;
    let pools = broker.pools(None, None).await?;
    let disk = broker.disk_figures().await?;
    let (mut queues, mut sums) = (Vec::new(), Sums::default());
    let mut last = QueueId(0);
    loop {
        let (page, next) = broker.queue_figures(last).await?;
        last = next;
        let is_over = page.len() < QUEUES_PAGE;
        for queue in page {
            let is_shown = queues.len() < MAX_QUEUE_SERIES;
            sums.add(&queue, is_shown);
            if is_shown {
                queues.push(queue);
            }
        }
        if is_over {
            break;
        }
    }
    let process = process::Process::now();
    Ok(Looked { figures, disk, pools, queues, sums, process })
}
