//! Spans to an OpenTelemetry collector: OTLP over HTTP, as JSON. It is small enough to be written here, and costs no dependency.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::https::{self, HttpClient, HttpError};
use crate::model::{Span, SpanCounts};

/// Spans of one request: some 300 KB.
const MAX_BATCH: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long one try may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How often a batch is tried. Others wait meanwhile, and what finds no room is dropped.
const ATTEMPTS: u32 = 4;
/// The first pause between two tries; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How often the log says that spans are lost.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// Read of an answer: nothing in it is used, but a connection is kept only if it was read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The broker serves who asks it (`SPAN_KIND_SERVER`).
const SERVER: u8 = 2;
/// `STATUS_CODE_ERROR`
const ERROR: u8 = 2;

/// Where spans go.
#[derive(Debug)]
pub struct OtlpOptions {
    /// The whole URL, mostly `http://HOST:4318/v1/traces`.
    pub endpoint: String,
    /// Sent with each request; their values may be secret.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The first pause between two tries.
    pub first_pause: Duration,
}

impl OtlpOptions {
    /// With the usual pauses.
    pub fn new(endpoint: String, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { endpoint, headers, first_pause: FIRST_PAUSE }
    }
}

/// Why no spans are sent.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The URL.
    #[error("[traces] endpoint")]
    Endpoint(#[from] HttpError),
    /// No thread, or no runtime.
    #[error("a thread for traces")]
    Thread(#[from] io::Error),
}

/// Spans on their way, on a thread of its own, until the sender of them is gone.
#[derive(Debug)]
pub struct Otlp {
    ended: oneshot::Receiver<()>,
}

impl Otlp {
    /// Sends what comes.
    pub fn start(
        options: OtlpOptions,
        spans: mpsc::Receiver<Span>,
        counts: Arc<SpanCounts>,
    ) -> Result<Self, OtlpError> {
        let OtlpOptions { endpoint, headers, first_pause } = options;
        let (uri, client) = https::client(&endpoint)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let exporter = Exporter { uri, client, headers, first_pause, counts, warned: None };
        let (end, ended) = oneshot::channel();
        let run = move || {
            runtime.block_on(exporter.run(spans));
            // Nobody may wait for it.
            let _ = end.send(());
        };
        thread::Builder::new().name("traces".to_owned()).spawn(run)?;
        Ok(Self { ended })
    }

    /// Waits until the last spans are out, or for so long.
    pub async fn finish(self, limit: Duration) {
        let _late = timeout(limit, self.ended).await;
    }
}

struct Exporter {
    uri: Uri,
    client: HttpClient,
    headers: Vec<(HeaderName, HeaderValue)>,
    first_pause: Duration,
    counts: Arc<SpanCounts>,
    warned: Option<Instant>,
}

impl Exporter {
    async fn run(mut self, mut spans: mpsc::Receiver<Span>) {
        let mut batch = Vec::new();
        while spans.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let full_by = Instant::now() + GATHER;
            while batch.len() < MAX_BATCH {
                let room = MAX_BATCH - batch.len();
                match timeout_at(full_by, spans.recv_many(&mut batch, room)).await {
                    Ok(more) if more > 0 => {}
                    Ok(_) | Err(_) => break,
                }
            }
            self.export(&batch).await;
            batch.clear();
        }
    }

    async fn export(&mut self, batch: &[Span]) {
        let spans = batch.len() as u64;
        let body = Bytes::from(encode(batch).to_string());
        let mut pause = self.first_pause;
        for attempt in 1.. {
            let why = match timeout(ANSWER_LIMIT, self.try_once(&body)).await {
                Ok(Ok(())) => return self.counts.exported(spans),
                Ok(Err(Refused::ForNow(why))) if attempt < ATTEMPTS => why,
                Err(_) if attempt < ATTEMPTS => "no answer".to_owned(),
                Ok(Err(Refused::ForNow(why) | Refused::ForGood(why))) => {
                    return self.lost(spans, &why);
                }
                Err(_) => return self.lost(spans, "no answer"),
            };
            tracing::debug!(attempt, why, "the collector didn't take spans");
            sleep(pause).await;
            pause *= 2;
        }
    }

    fn lost(&mut self, spans: u64, why: &str) {
        self.counts.dropped(spans);
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            self.warned = Some(Instant::now());
            tracing::warn!(spans, why, "the collector of traces doesn't take spans; they are lost");
        }
    }

    async fn try_once(&self, body: &Bytes) -> Result<(), Refused> {
        let mut request = Request::post(&self.uri).header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.clone()));
        let request = request.map_err(|error| Refused::ForGood(error.to_string()))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| Refused::ForNow(error.to_string()))?;
        let status = answer.status();
        let _unread = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        // As the protocol names those that may be tried again.
        match status.as_u16() {
            200..=299 => Ok(()),
            429 | 502..=504 => Err(Refused::ForNow(status.to_string())),
            _ => Err(Refused::ForGood(status.to_string())),
        }
    }
}

enum Refused {
    ForGood(String),
    ForNow(String),
}

/// `ExportTraceServiceRequest` as JSON: ids in hexadecimal, 64-bit numbers as strings.
fn encode(spans: &[Span]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            text("service.name", "mubroker"),
            text("service.version", version),
        ] },
        "scopeSpans": [{
            "scope": { "name": "mubroker", "version": version },
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }] })
}

fn span(span: &Span) -> Value {
    let kind = span.kind;
    let mut attributes = vec![
        text("messaging.system", "mubroker"),
        text("messaging.operation.name", kind.name()),
        text("messaging.operation.type", kind.operation_type()),
        text("messaging.destination.name", &span.destination),
        text("messaging.message.id", span.message_id.as_str()),
    ];
    let numbers = [
        ("messaging.message.body.size", span.body_bytes),
        ("messaging.mubroker.message.seq", span.seq.map(|seq| seq.0)),
        ("messaging.mubroker.message.attempt", span.attempt.map(u64::from)),
    ];
    for (key, value) in numbers {
        attributes.extend(value.map(|value| number(key, value)));
    }
    attributes.extend(span.error.as_ref().map(|error| text("error.type", error)));
    let mut out = json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "name": format!("{} {}", kind.name(), span.destination),
        "kind": SERVER,
        "startTimeUnixNano": span.start_nanos.to_string(),
        "endTimeUnixNano": span.end_nanos.max(span.start_nanos).to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = &span.parent {
        out["parentSpanId"] = hex(parent).into();
    }
    if !span.state.is_empty() {
        out["traceState"] = span.state.as_str().into();
    }
    if let Some(error) = &span.error {
        out["status"] = json!({ "code": ERROR, "message": error });
    }
    out
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;

    use super::*;
    use crate::https::testing::serve;
    use crate::model::{MessageId, Seq, SpanKind};

    /// Longer than anything takes here.
    const LONG: Duration = Duration::from_secs(20);

    type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

    /// Answers with these, one after the other, then with 200.
    async fn collector(answers: Vec<u16>) -> (String, Seen) {
        let seen = Seen::default();
        let traces = |State((seen, answers)): State<(Seen, Vec<u16>)>,
                      headers: HeaderMap,
                      body: Bytes| async move {
            let mut seen = seen.lock().expect("free");
            seen.push((headers, body));
            let status = answers.get(seen.len() - 1).copied().unwrap_or(200);
            (StatusCode::from_u16(status).expect("a status"), "{}")
        };
        let app = Router::new().route("/v1/traces", post(traces));
        let app = app.with_state((Arc::clone(&seen), answers));
        (format!("{}/v1/traces", serve(app).await), seen)
    }

    fn publish() -> Span {
        Span {
            kind: SpanKind::Publish,
            trace_id: [0x0a; 16],
            span_id: [0x0b; 8],
            parent: Some([0x0c; 8]),
            state: "vendor=1".to_owned(),
            destination: "orders".to_owned(),
            message_id: MessageId::new("a-1").expect("an id"),
            body_bytes: Some(7),
            seq: None,
            attempt: None,
            start_nanos: 1_700_000_000_000_000_001,
            end_nanos: 1_700_000_000_002_000_000,
            error: None,
        }
    }

    async fn exported(answers: Vec<u16>, spans: Vec<Span>) -> (Arc<SpanCounts>, Seen) {
        let (url, seen) = collector(answers).await;
        let (sender, receiver) = mpsc::channel(16);
        let counts = Arc::<SpanCounts>::default();
        let key = HeaderValue::from_static("secret");
        let options = OtlpOptions {
            endpoint: url,
            headers: vec![(HeaderName::from_static("api-key"), key)],
            first_pause: Duration::from_millis(1),
        };
        let otlp = Otlp::start(options, receiver, Arc::clone(&counts)).expect("a URL");
        for span in spans {
            sender.send(span).await.expect("it takes them");
        }
        // What is gathered goes out at the end.
        drop(sender);
        otlp.finish(LONG).await;
        (counts, seen)
    }

    #[tokio::test]
    async fn spans_are_what_the_protocol_says_and_tried_again_until_they_are_taken() {
        let ack = Span {
            kind: SpanKind::Ack,
            parent: None,
            state: String::new(),
            body_bytes: None,
            seq: Some(Seq(3)),
            attempt: Some(2),
            error: Some("stale".to_owned()),
            ..publish()
        };
        let (counts, seen) = exported(vec![503, 429], vec![publish(), ack]).await;
        let seen = seen.lock().expect("free");
        assert_eq!(seen.len(), 3);
        let (headers, body) = &seen[2];
        assert_eq!(
            (&headers["api-key"], &headers["content-type"]),
            (&HeaderValue::from_static("secret"), &HeaderValue::from_static("application/json"))
        );
        assert_eq!(*body, seen[0].1);
        let request: Value = serde_json::from_slice(body).expect("JSON");
        let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
        let expected = json!({
            "traceId": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", "spanId": "0b0b0b0b0b0b0b0b",
            "name": "publish orders", "kind": 2,
            "startTimeUnixNano": "1700000000000000001", "endTimeUnixNano": "1700000000002000000",
            "attributes": [
                { "key": "messaging.system", "value": { "stringValue": "mubroker" } },
                { "key": "messaging.operation.name", "value": { "stringValue": "publish" } },
                { "key": "messaging.operation.type", "value": { "stringValue": "send" } },
                { "key": "messaging.destination.name", "value": { "stringValue": "orders" } },
                { "key": "messaging.message.id", "value": { "stringValue": "a-1" } },
                { "key": "messaging.message.body.size", "value": { "intValue": "7" } },
            ],
            "parentSpanId": "0c0c0c0c0c0c0c0c", "traceState": "vendor=1",
        });
        assert_eq!(spans[0], expected);
        assert_eq!(spans[1]["status"], json!({ "code": 2, "message": "stale" }));
        assert_eq!(spans[1]["parentSpanId"], Value::Null);
        assert_eq!(counts.totals().exported, 2);
    }

    #[tokio::test]
    async fn what_the_collector_does_not_take_is_counted() {
        for answers in [vec![400], vec![503; 4]] {
            let tries = answers.len();
            let (counts, seen) = exported(answers, vec![publish()]).await;
            assert_eq!(seen.lock().expect("free").len(), tries);
            assert_eq!((counts.totals().exported, counts.totals().dropped), (0, 1));
        }
    }
}
