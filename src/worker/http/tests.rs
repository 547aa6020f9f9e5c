//! A real server: axum.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Redirect};
use axum::routing::post;
use serde_json::json;

use super::*;
use crate::https::testing::serve;
use crate::worker::sample;

const LONG: Duration = Duration::from_secs(60);

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn server() -> (String, Seen) {
    let seen = Seen::default();
    let echo = |State(seen): State<Seen>, request: Request<Body>| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        seen.lock().expect("free").push((head.headers, body.clone()));
        body
    };
    let busy = || async {
        let headers = [("retry-after", "3"), ("mubroker-action", "dead-letter")];
        (StatusCode::SERVICE_UNAVAILABLE, headers, "\nno room\n".to_owned() + &"x".repeat(9_000))
    };
    let app = Router::new()
        .route("/echo", post(echo))
        .route("/busy", post(busy))
        .route("/moved", post(|| async { Redirect::permanent("/echo").into_response() }))
        .route("/large", post(|| async { vec![0; MAX_PAYLOAD_BYTES + 1] }))
        .route("/slow", post(std::future::pending::<()>))
        .with_state(Arc::clone(&seen));
    (serve(app).await, seen)
}

async fn post_to(url: &str, payload: &'static [u8], limit: Duration) -> Result<Bytes, Failure> {
    let header = json!({
        "id": "m1", "type": "order.created", "content_type": "text/plain; charset=utf-8", "key": "Köln",
        "traceparent": "00-a-b-01", "tracestate": "a=b", "headers": {"X_Tenant": "fr"},
    });
    let delivery = sample::delivery(&header, Bytes::from_static(payload));
    Http::new(url).expect("a URL").handle(delivery, Work::unheard(limit)).await
}

#[tokio::test]
async fn a_message_is_posted_with_its_header_and_the_body_is_the_reply() {
    let (url, seen) = server().await;
    let reply = post_to(&format!("{url}/echo"), b"\x00\xffbytes", LONG).await;
    assert_eq!(reply.expect("200"), &b"\x00\xffbytes"[..]);
    let (headers, body) = seen.lock().expect("free").pop().expect("one request");
    assert_eq!(body, &b"\x00\xffbytes"[..]);
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("mubroker-id", "m1"),
        ("mubroker-queue", "orders"),
        ("mubroker-seq", "7"),
        ("mubroker-attempt", "2"),
        ("mubroker-delivery", "1.a"),
        ("mubroker-limit-ms", "60000"),
        ("mubroker-type", "order.created"),
        ("mubroker-key", "K%C3%B6ln"),
        ("mubroker-headers-x-tenant", "fr"),
        ("traceparent", "00-a-b-01"),
        ("tracestate", "a=b"),
    ] {
        assert_eq!(headers.get(name).map(|it| it.to_str().expect("text")), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_status_that_is_not_2xx_is_a_failure_with_the_bodys_beginning() {
    let (url, _) = server().await;
    let failure = post_to(&format!("{url}/busy"), b"", LONG).await.expect_err("503");
    assert_eq!(failure.error.code, "http-503");
    assert_eq!(failure.error.message, "503 Service Unavailable: no room");
    assert_eq!(failure.error.detail.len(), BODY_START_BYTES);
    assert_eq!((failure.action, failure.delay_ms), (NackAction::DeadLetter, Some(3_000)));
    let failure = post_to(&format!("{url}/moved"), b"", LONG).await.expect_err("308");
    assert_eq!(failure.error.code, "http-308", "a redirect isn't followed");
}

#[tokio::test]
async fn an_answer_that_is_too_large_or_too_late_and_a_server_that_is_away_are_failures() {
    let (url, _) = server().await;
    let code = |failed: Result<Bytes, Failure>| failed.expect_err("a failure").error.code;
    assert_eq!(code(post_to(&format!("{url}/large"), b"", LONG).await), "reply-too-large");
    let short = Duration::from_millis(100);
    assert_eq!(code(post_to(&format!("{url}/slow"), b"", short).await), "timeout");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    assert_eq!(code(post_to(&format!("http://{address}/"), b"", LONG).await), "connect");
    let url = format!("http://me:secret@{address}/path?token=secret");
    let told = post_to(&url, b"", LONG).await.expect_err("nobody listens").error;
    assert!(told.message.contains(&format!("http://{address}/path: ")), "{told:?}");
    assert!(!format!("{told:?}").contains("secret"), "{told:?}");
}

#[test]
fn what_is_no_url_is_refused_at_the_start() {
    for url in ["", "localhost:80", "ftp://a/b", "/work", "http://"] {
        assert!(matches!(Http::new(url), Err(HttpError::Url { .. })), "{url}");
    }
}
