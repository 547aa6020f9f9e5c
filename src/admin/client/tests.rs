//! The client against a small server that says what it was asked.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request as Asked, State};
use axum::response::{IntoResponse, Response as Answer};
use futures_util::{StreamExt, stream};
use hyper::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;
use crate::admin::dto::{
    MessageFilter, MessageState, Notice, RepairRefusal, RepairVerb, StreamEvent, told,
};

/// A limit that is meant to be reached.
const SHORT: Duration = Duration::from_millis(20);

type Respond = fn(&str) -> Answer;

struct Server {
    client: AdminClient,
    asked: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

fn serve(respond: Respond) -> Server {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&path).expect("a socket in it");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let app = Router::new().fallback(record).with_state((Arc::clone(&asked), respond));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = AdminClient::new(Endpoint::Unix(path), "cli");
    Server { client, asked, _folder: folder }
}

async fn record(
    State((asked, respond)): State<(Arc<Mutex<Vec<String>>>, Respond)>,
    request: Asked,
) -> Answer {
    let (head, body) = request.into_parts();
    let via = head.headers.get("x-mubroker-via").map(|v| v.to_str().expect("ASCII").to_owned());
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a small body");
    let line = format!(
        "{} {} [{}] {}",
        head.method,
        head.uri,
        via.unwrap_or_default(),
        String::from_utf8_lossy(&body)
    );
    asked.lock().expect("no panic while held").push(line.trim_end().to_owned());
    respond(head.uri.path())
}

fn json_answer(status: u16, value: &Value) -> Answer {
    let body = Body::from(value.to_string());
    (StatusCode::from_u16(status).expect("a status"), body).into_response()
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a valid name")
}

fn retry() -> RepairRequest {
    RepairRequest {
        key: IdempotencyKey::new("k/1").expect("a valid key"),
        expect_revision: Revision(2),
        action: RepairVerb::Retry,
        payload: None,
        header: None,
        to: None,
        reason: String::new(),
    }
}

fn outcome() -> Value {
    json!({"key": "k/1", "queue": "a:b", "seq": 7, "id": "m 1/ż", "revision": 2, "state": "ready",
           "journal": 3, "repeated": false})
}

#[tokio::test]
async fn paths_and_queries_are_encoded_and_say_where_they_come_from() {
    let server = serve(|path| match path {
        "/v1/journal" => json_answer(200, &json!({"entries": [], "next_before": null})),
        path if path.ends_with("/messages") => {
            json_answer(200, &json!({"messages": [], "next": null}))
        }
        path if path.ends_with("/payload") => Body::from(&b"\xff\0raw"[..]).into_response(),
        path if path.contains("/repair") => json_answer(200, &outcome()),
        path if path.starts_with("/v1/messages/") => {
            json_answer(200, &json!({"queue": "a:b", "seq": 7, "state": "blocked"}))
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    });
    let (client, a_b) = (&server.client, queue("a:b"));
    let filter = MessageFilter {
        path: Some("$.a=b c".parse().expect("a path")),
        older_ms: Some(5),
        ..MessageFilter::in_state(MessageState::Blocked)
    };
    let page = MessageQuery { from: Some(Seq(3)), limit: Some(20), filter };
    client.messages(&a_b, &page).await.expect("a page");
    let bytes = client.payload(&a_b, Seq(7), Some(Revision(0))).await.expect("bytes");
    assert_eq!(&bytes[..], b"\xff\0raw");
    client.repair(&a_b, Seq(7), &retry()).await.expect("an outcome");
    let key = retry().key;
    assert_eq!(client.repair_outcome(&key).await.expect("known").expect("done").journal, 3);
    client.locate(&MessageId::new("m 1/ż").expect("valid")).await.expect("found");
    client.pause(&queue(".."), "night").await.expect("paused");
    assert_eq!(client.hold(&a_b, Seq(7), 0).await.expect("given back"), None);
    client
        .journal(&JournalQuery { queue: Some(a_b), seq: Some(Seq(7)), ..JournalQuery::default() })
        .await
        .expect("a page");
    assert_eq!(
        *server.asked.lock().expect("no panic while held"),
        [
            "GET /v1/queues/a%3Ab/messages?from=3&limit=20&state=blocked&path=%24.a%3Db%20c&older_ms=5 [cli]",
            "GET /v1/queues/a%3Ab/messages/7/payload?revision=0 [cli]",
            "POST /v1/queues/a%3Ab/messages/7/repair [cli] \
             {\"key\":\"k/1\",\"expect_revision\":2,\"action\":\"retry\"}",
            "GET /v1/repairs/k%2F1 [cli]",
            "GET /v1/messages/m%201%2F%C5%BC [cli]",
            "POST /v1/queues/%2E%2E/pause [cli] {\"reason\":\"night\"}",
            "POST /v1/queues/a%3Ab/messages/7/hold [cli] {\"for_ms\":0}",
            "GET /v1/journal?queue=a%3Ab&seq=7 [cli]",
        ]
    );
}

#[tokio::test]
async fn a_refusal_comes_whole_and_is_not_an_unknown_outcome() {
    let server = serve(|_| {
        json_answer(
            409,
            &json!({"code": "changed", "status": 409, "title": "Changed", "detail": "revision 3",
                    "refusal": {"code": "changed",
                                "data": {"expected": 2, "current": 3, "by": null}}}),
        )
    });
    let error = server.client.repair(&queue("q"), Seq(1), &retry()).await.expect_err("refused");
    assert!(!error.outcome_unknown());
    let AdminError::Problem(problem) = error else { panic!("{error:?}") };
    assert_eq!(
        problem.refusal,
        Some(RepairRefusal::Changed { expected: Revision(2), current: Revision(3), by: None })
    );
}

#[tokio::test]
async fn an_unknown_repair_key_is_none() {
    let server = serve(|_| {
        json_answer(
            404,
            &json!({"code": "not_found", "status": 404, "title": "Not found", "detail": "no key"}),
        )
    });
    assert_eq!(server.client.repair_outcome(&retry().key).await.expect("answered"), None);
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let endpoint = Endpoint::Unix(folder.path().join("none.sock"));
    let error = AdminClient::new(endpoint, "cli").overview().await.expect_err("nobody there");
    assert!(matches!(error, AdminError::Unreachable { .. }), "{error:?}");
    assert!(!error.outcome_unknown());
}

/// A listener that does `act` with each connection once a request has come in.
async fn rude(act: impl Fn(tokio::net::UnixStream) + Send + 'static) -> (AdminClient, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&path).expect("a socket in it");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.readable().await.expect("a request");
            act(stream);
        }
    });
    (AdminClient::new(Endpoint::Unix(path), "cli"), folder)
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_unknown() {
    let (client, _folder) = rude(drop).await;
    let error = client.repair(&queue("q"), Seq(1), &retry()).await.expect_err("lost");
    assert!(matches!(error, AdminError::Lost { .. }), "{error:?}");
    assert!(error.outcome_unknown());
}

#[tokio::test]
async fn no_answer_in_time_leaves_the_outcome_unknown() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (client, _folder) =
        rude(move |stream| kept.lock().expect("no panic while held").push(stream)).await;
    let client = client.with_limits(SHORT, SHORT);
    let error = client.repair(&queue("q"), Seq(1), &retry()).await.expect_err("no answer");
    assert!(matches!(error, AdminError::Timeout { sent: true, .. }), "{error:?}");
    assert!(error.outcome_unknown());
}

#[tokio::test]
async fn the_stream_gives_events_and_then_says_that_it_ended() {
    let server = serve(|_| {
        let down = told(Notice::StoreDown { reason: "disk\nfull".to_owned() });
        let lagged = StreamEvent::Lagged { missed: 4 };
        let event = |name: &str, event: &StreamEvent| {
            let data = serde_json::to_string(event).expect("events are JSON");
            Ok::<_, Infallible>(format!("event: {name}\ndata: {data}\n\n"))
        };
        let parts =
            [event("notice", &down), Ok(": alive\n\n".to_owned()), event("lagged", &lagged)];
        Body::from_stream(stream::iter(parts)).into_response()
    });
    let mut events = server.client.stream().await.expect("a stream");
    let first = events.next().await.expect("one").expect("an event");
    assert_eq!(first, told(Notice::StoreDown { reason: "disk\nfull".to_owned() }));
    let second = events.next().await.expect("two").expect("an event");
    assert_eq!(second, StreamEvent::Lagged { missed: 4 });
    let end = events.next().await.expect("three").expect_err("the end");
    assert!(matches!(end, AdminError::StreamEnded { .. }), "{end:?}");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_silent_stream_is_given_up() {
    let server = serve(|_| {
        Body::from_stream(stream::pending::<Result<String, io::Error>>()).into_response()
    });
    let client = server.client.clone().with_limits(ANSWER_LIMIT, SHORT);
    let mut events = client.stream().await.expect("a stream");
    let error = events.next().await.expect("one").expect_err("silence");
    assert!(matches!(error, AdminError::Timeout { .. }), "{error:?}");
}
