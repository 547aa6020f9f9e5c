//! Peers that are slow, or send too much, at a small server behind the same limits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::admin::request::Body;
use crate::auth::{Grants, Secret, Token};

/// A limit that is meant to be reached.
const SHORT: Duration = Duration::from_millis(20);
/// A bound on each wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// Only the limit that is tested is short.
fn long() -> AdminLimits {
    AdminLimits { head: PATIENCE, body: PATIENCE, stranger: PATIENCE, ..AdminLimits::default() }
}

struct Server {
    stream: TcpStream,
    shown: Arc<Mutex<Option<Arc<Token>>>>,
    access: Arc<Access>,
}

/// A connection to a server with these limits; what `shown` holds counts as the token of each request.
async fn connect(limits: AdminLimits, tokens: Vec<Token>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let stream =
        TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
    let (accepted, _) = listener.accept().await.expect("accepted");
    let file = std::path::PathBuf::from("/proc/none/revoked");
    let access = Arc::new(Access::open(tokens, file).expect("no file"));
    let shown: Arc<Mutex<Option<Arc<Token>>>> = Arc::default();
    let of_request = Arc::clone(&shown);
    let show = move |request: &axum::extract::Request| {
        let token = of_request.lock().expect("no panic").clone();
        if let (Some(token), Some(Peer::Remote(remote))) =
            (token, request.extensions().get::<Peer>())
        {
            remote.shows(token);
        }
    };
    let app = Router::new()
        .route("/", post(|Body(_): Body<Value>| async { StatusCode::NO_CONTENT }))
        .route("/", get(|| async { StatusCode::NO_CONTENT }))
        .layer(axum::middleware::map_request(move |request: axum::extract::Request| {
            show(&request);
            std::future::ready(request)
        }));
    let serving = Serving { app, access: Arc::clone(&access), limits, tls: None };
    let remote = Remote::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
    tokio::spawn(serving.tcp(accepted, remote));
    Server { stream, shown, access }
}

impl Server {
    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("written");
    }

    /// All that comes until the connection ends, which it must.
    async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut text)).await.expect("it ends");
        // Closed with bytes unread is an end, too.
        let _ = read;
        String::from_utf8(text).expect("ASCII")
    }

    async fn answer(&mut self) -> String {
        let mut part = [0; 1024];
        let read = timeout(PATIENCE, self.stream.read(&mut part)).await.expect("in time");
        String::from_utf8_lossy(&part[..read.expect("readable")]).into_owned()
    }
}

const HEAD: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_and_the_connection_ends() {
    let mut server = connect(AdminLimits { body: SHORT, ..long() }, Vec::new()).await;
    server.say(HEAD).await;
    server.say("{").await;
    let answer = server.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("did not come in time"), "{answer}");
}

#[tokio::test]
async fn headers_that_do_not_end_end_the_connection() {
    let mut server = connect(AdminLimits { head: SHORT, ..long() }, Vec::new()).await;
    server.say("GET / HTTP/1.1\r\nx-slow: 1\r\n").await;
    let answer = server.rest().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn more_headers_than_allowed_are_refused_unread() {
    let mut server = connect(AdminLimits { head_bytes: 8192, ..long() }, Vec::new()).await;
    server.say(&format!("GET / HTTP/1.1\r\nx-large: {}", "x".repeat(20_000))).await;
    let answer = server.rest().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut server = connect(AdminLimits { headers: 4, ..long() }, Vec::new()).await;
    server.say(&format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(5))).await;
    let answer = server.rest().await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn who_shows_no_token_does_not_stay_and_who_does_stays_until_it_is_revoked() {
    let mut server = connect(AdminLimits { stranger: SHORT, ..long() }, Vec::new()).await;
    server.rest().await;

    let hash = Secret::new().expect("randomness").hash();
    let token = Token { name: "anna".to_owned(), hash, curve_key: None, grants: Grants::all() };
    let limits = AdminLimits { stranger: SHORT, ..long() };
    let mut server = connect(limits, vec![token.clone()]).await;
    *server.shown.lock().expect("no panic") = Some(Arc::new(token));
    for _ in 0..3 {
        server.say(HEAD).await;
        server.say("{}").await;
        assert!(server.answer().await.starts_with("HTTP/1.1 204 "));
        // Longer than a stranger stays.
        let passed = timeout(2 * SHORT, server.stream.readable()).await;
        assert!(passed.is_err(), "it is not closed");
    }
    // The file can't be written here, which doesn't matter to the connection.
    let _ = server.access.revoke("anna");
    assert_eq!(server.rest().await, "");
}
