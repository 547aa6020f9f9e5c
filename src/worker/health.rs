//! A worker's health over HTTP, for orchestrators and people.
//!
//! `/livez`: 200 while the process answers. `/readyz`: 200 while it takes messages, else 503. `/healthz`: 200, or 500 once a message is
//! over its maximum execution time. `/work`: what it does now (JSON). `/metrics`: counts (Prometheus text).

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::status::{Snapshot, Status};

/// Connections at once: probes and a person or two. Beyond, they wait.
const MAX_CONNECTIONS: usize = 16;
/// How long a request's head may take.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may stay in all: one that is held open must not take a place for ever.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// The type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// Answers until it is dropped.
#[derive(Debug)]
pub struct HealthServer {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl HealthServer {
    /// Listens at `address`, port 0 for a free one.
    pub async fn bind(address: SocketAddr, status: Status) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, router(status)));
        Ok(Self { address, _serving: serving })
    }

    /// Where it answers, with the port that was taken.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn accept(listener: TcpListener, app: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        // What has ended is forgotten, so that the set stays as small as the places.
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, mostly: others end meanwhile.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = TowerToHyperService::new(app.clone());
        connections.spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
            let served = server.serve_connection(TokioIo::new(stream), service);
            // How a probe's connection ends is of no interest.
            let _ended = tokio::time::timeout(CONNECTION_LIMIT, served).await;
            drop(place);
        });
    }
}

fn router(status: Status) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/healthz", get(healthz))
        .route("/work", get(work))
        .route("/metrics", get(metrics))
        .with_state(status)
}

async fn readyz(State(status): State<Status>) -> (StatusCode, &'static str) {
    let now = status.snapshot();
    let why_not = match (now.is_stopping, now.is_connected, now.is_paused) {
        (true, _, _) => "stopping\n",
        (false, false, _) => "not connected to a broker\n",
        (false, true, true) => "given nothing by the broker for now\n",
        (false, true, false) => return (StatusCode::OK, "ready\n"),
    };
    (StatusCode::SERVICE_UNAVAILABLE, why_not)
}

async fn healthz(State(status): State<Status>) -> Response {
    let now = status.snapshot();
    if now.is_healthy() {
        return "healthy\n".into_response();
    }
    (StatusCode::INTERNAL_SERVER_ERROR, Json(seen(&now))).into_response()
}

async fn work(State(status): State<Status>) -> Json<Value> {
    Json(seen(&status.snapshot()))
}

fn seen(now: &Snapshot) -> Value {
    let work: Vec<Value> = now
        .work
        .iter()
        .map(|(delivery, current)| {
            let left = current.left(now.at);
            json!({
                "delivery": delivery, "queue": current.queue, "seq": current.seq, "id": current.id,
                "attempt": current.attempt, "running_ms": millis(now.at.duration_since(current.since)),
                "limit_ms": millis(current.limit), "left_ms": millis(left),
                "overrun": left.is_zero(), "note": current.note,
            })
        })
        .collect();
    json!({
        "healthy": now.is_healthy(), "ready": now.is_ready(), "connected": now.is_connected,
        "paused": now.is_paused, "stopping": now.is_stopping, "up_ms": millis(now.up), "work": work,
    })
}

async fn metrics(State(status): State<Status>) -> impl IntoResponse {
    let now = status.snapshot();
    let counts = now.counts;
    let oldest = now.work.iter().map(|(_, current)| now.at.duration_since(current.since)).max();
    let seconds = |duration: Duration| format!("{:.3}", duration.as_secs_f64());
    let flag = |is: bool| u8::from(is).to_string();
    let rows = [
        ("done_total", "counter", "Messages done.", counts.done.to_string()),
        ("failed_total", "counter", "Messages that failed.", counts.failed.to_string()),
        ("overruns_total", "counter", "Messages over their limit.", counts.overruns.to_string()),
        ("stale_total", "counter", "Answers that came too late.", counts.stale.to_string()),
        ("away_total", "counter", "Connections lost or not made.", counts.away.to_string()),
        ("busy_seconds_total", "counter", "All work together.", seconds(counts.busy)),
        ("running", "gauge", "Messages being worked on.", now.work.len().to_string()),
        (
            "oldest_seconds",
            "gauge",
            "How long the oldest runs.",
            seconds(oldest.unwrap_or_default()),
        ),
        ("up_seconds", "gauge", "How long the worker runs.", seconds(now.up)),
        ("healthy", "gauge", "1: no message is over its limit.", flag(now.is_healthy())),
        ("ready", "gauge", "1: it takes messages.", flag(now.is_ready())),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        let name = format!("mubroker_worker_{name}");
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
            .expect("writing to a String does not fail");
    }
    ([(CONTENT_TYPE, METRICS_TYPE)], text)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeliveryId, Generation, MessageId, QueueName, Seq};
    use crate::worker::{Overrun, WorkerEvent};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(server: &HealthServer, path: &str) -> (String, String) {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        (head.split_whitespace().nth(1).expect("a status").to_owned(), body.to_owned())
    }

    fn started(limit: Duration) -> WorkerEvent {
        WorkerEvent::Started {
            delivery: delivery(),
            queue: QueueName::new("orders").expect("valid"),
            seq: Seq(7),
            id: MessageId::new("m1").expect("valid"),
            attempt: 2,
            limit,
        }
    }

    fn delivery() -> DeliveryId {
        DeliveryId { generation: Generation(1), number: 10 }
    }

    #[tokio::test]
    async fn it_is_ready_while_it_takes_messages_and_alive_always() {
        let status = Status::default();
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = HealthServer::bind(local, status.clone()).await.expect("a free port");
        let codes = async || (get(&server, "/livez").await.0, get(&server, "/readyz").await.0);
        assert_eq!(codes().await, ("200".to_owned(), "503".to_owned()));
        status.apply(&WorkerEvent::Ready);
        assert_eq!(codes().await, ("200".to_owned(), "200".to_owned()));
        status.apply(&WorkerEvent::Paused { reason: "it is silent".to_owned() });
        assert_eq!(codes().await, ("200".to_owned(), "503".to_owned()));
        status.apply(&WorkerEvent::Resumed { reason: "it was heard".to_owned() });
        assert_eq!(codes().await, ("200".to_owned(), "200".to_owned()));
        status.apply(&WorkerEvent::Stopping { running: 0 });
        assert_eq!(codes().await, ("200".to_owned(), "503".to_owned()));
        assert_eq!(get(&server, "/other").await.0, "404");
    }

    fn finished(took: Duration) -> WorkerEvent {
        let queue = QueueName::new("orders").expect("valid");
        WorkerEvent::Finished { delivery: delivery(), queue, seq: Seq(7), took, error: None }
    }

    #[tokio::test]
    async fn a_message_over_its_limit_is_500_until_it_ends() {
        let status = Status::default();
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = HealthServer::bind(local, status.clone()).await.expect("a free port");
        status.apply(&WorkerEvent::Ready);
        status.apply(&started(Duration::from_secs(3_600)));
        status.apply(&WorkerEvent::Progress { delivery: delivery(), note: "half".to_owned() });
        assert_eq!(get(&server, "/healthz").await.0, "200");
        let work: Value = serde_json::from_str(&get(&server, "/work").await.1).expect("JSON");
        let one = &work["work"][0];
        assert_eq!((one["queue"].as_str(), one["seq"].as_u64()), (Some("orders"), Some(7)));
        assert_eq!((one["note"].as_str(), one["overrun"].as_bool()), (Some("half"), Some(false)));
        let ran_and_left = one["running_ms"].as_u64().zip(one["left_ms"].as_u64());
        let all = ran_and_left.map(|(ran, left)| ran + left).expect("numbers");
        assert!((3_599_999..=3_600_000).contains(&all), "{all}");

        status.apply(&finished(Duration::from_secs(4)));
        status.apply(&started(Duration::ZERO));
        let (code, body) = get(&server, "/healthz").await;
        assert_eq!(code, "500");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["work"][0]["overrun"], true);
        status.apply(&WorkerEvent::Overrun(Overrun {
            delivery: delivery(),
            queue: QueueName::new("orders").expect("valid"),
            seq: Seq(7),
            id: MessageId::new("m1").expect("valid"),
            limit: Duration::ZERO,
        }));
        status.apply(&finished(Duration::from_secs(7)));
        assert_eq!(get(&server, "/healthz").await.0, "200");
        let counts = status.snapshot().counts;
        assert_eq!((counts.done, counts.failed, counts.overruns), (2, 0, 1));
        assert_eq!(counts.busy, Duration::from_secs(11));
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let status = Status::default();
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = HealthServer::bind(local, status.clone()).await.expect("a free port");
        status.apply(&started(Duration::from_secs(10)));
        let (code, text) = get(&server, "/metrics").await;
        assert_eq!(code, "200");
        for line in [
            "mubroker_worker_running 1",
            "mubroker_worker_healthy 1",
            "# TYPE mubroker_worker_done_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
