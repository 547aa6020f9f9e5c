//! Who sends and who works in the demo.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::connector;
use super::samples::{self, QUEUES, Sample};
use crate::client::{Client, ClientError, NewMessage};
use crate::model::{QueueName, WorkerInfo};
use crate::wire::Delivery;
use crate::worker::{self, Failure, Handler, Pace, Work, WorkerOptions};

/// Orders that come at once, so that a queue is blocked within seconds.
const RUSH: u64 = 8;
/// Between two orders after that.
const PACE: Duration = Duration::from_millis(1500);
/// Orders in all: half an hour's worth.
const ORDERS: u64 = 1200;
/// How long a message takes a worker: long enough to be seen in its hands.
const WORK: Duration = Duration::from_millis(250);
/// How long a worker may take for one.
const MAX_EXECUTION: Duration = Duration::from_secs(10);
/// The workers' names, in the order of the queues.
const WORKERS: [&str; 3] = ["order-desk", "erp-connector", "mailer"];

/// Sends order after order until all are sent.
pub(super) async fn feed(clients: &str) -> Result<(), ClientError> {
    let client = Client::connect(clients).await?;
    for n in 0..ORDERS {
        for Sample { queue, id, kind, payload } in samples::order(n) {
            let message = NewMessage::new(payload).id(&id).kind(kind).field("source", "shop");
            let message = message.build().expect("the demo's headers are few and short");
            client.send(&name(queue), message).await?;
        }
        if n >= RUSH {
            sleep(PACE).await;
        }
    }
    Ok(())
}

/// One worker for each queue, until dropped.
pub(super) async fn work(workers: &str) -> Result<(), worker::WorkerError> {
    let run = |at: usize| {
        let options = WorkerOptions {
            endpoint: workers.to_owned(),
            token: None,
            queues: vec![name(QUEUES[at])],
            credit: 1,
            info: WorkerInfo {
                name: WORKERS[at].to_owned(),
                pid: Some(std::process::id()),
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                ..WorkerInfo::default()
            },
            max_execution: MAX_EXECUTION,
            overrun_grace: Duration::ZERO,
            stop_grace: Duration::ZERO,
            pace: Pace::new(at as u64),
        };
        worker::run(options, Connector, std::future::pending(), |_| {})
    };
    tokio::try_join!(run(0), run(1), run(2)).map(|_| ())
}

struct Connector;

impl Handler for Connector {
    async fn handle(&self, delivery: Delivery, _work: Work) -> Result<Bytes, Failure> {
        sleep(WORK).await;
        connector::work(delivery.queue.as_str(), &delivery.content.payload).map_err(Failure::new)
    }
}

fn name(queue: &str) -> QueueName {
    QueueName::new(queue).expect("the demo's queues have plain names")
}
