//! Before each request: who asks, and whether he may.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

use super::failure::Failure;
use super::peer::{Caller, Peer, Remote};
use super::rules::{Rule, rule};
use crate::auth::{Access, Failures, Grants, Right, Token};
use crate::model::QueueName;

/// What there is to know of tokens.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    pub(super) access: Arc<Access>,
    pub(super) failures: Failures,
}

/// Why somebody doesn't come in.
enum Stranger {
    Unauthorized(&'static str),
    TooMany(Duration),
}

pub(super) async fn gate(
    State(doorkeeper): State<Arc<Doorkeeper>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().cloned();
    let caller = match peer.expect("the server puts the peer into every request") {
        Peer::User(name) => Caller { name, grants: Grants::all(), token: None },
        Peer::Remote(remote) => match doorkeeper.holder(&remote, &parts.headers) {
            Ok(token) => Caller::with(token),
            Err(stranger) => return stranger.into_response(),
        },
    };
    if let Err(failure) = check(&caller, &mut parts).await {
        return failure.into_response();
    }
    parts.extensions.insert(caller);
    next.run(Request::from_parts(parts, body)).await
}

async fn check(caller: &Caller, parts: &mut Parts) -> Result<(), Failure> {
    let path = parts.extensions.get::<MatchedPath>().cloned();
    match rule(&parts.method, path.as_ref().map(MatchedPath::as_str)) {
        Rule::Some(right) => caller.may(right),
        Rule::All(right) => caller.may_all(right),
        Rule::Queue(right) => of_queue(caller, right, parts).await,
        Rule::OneOf(rights) => {
            of_queue(caller, Right::Read, parts).await?;
            match rights.iter().any(|&right| caller.grants.has(right)) {
                true => Ok(()),
                // Which of them is only known from the body, which isn't read for who has none.
                false => Err(caller.has_none(rights)),
            }
        }
    }
}

async fn of_queue(caller: &Caller, right: Right, parts: &mut Parts) -> Result<(), Failure> {
    match queue_of(parts).await {
        Some(queue) => caller.may_in(right, &queue),
        // A name that is none: the handler says what is wrong with it.
        None => caller.may(right),
    }
}

async fn queue_of(parts: &mut Parts) -> Option<QueueName> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let queue = params.iter().find(|(name, _)| *name == "queue").map(|(_, value)| value)?;
    QueueName::new(queue).ok()
}

impl Doorkeeper {
    fn holder(&self, remote: &Remote, headers: &HeaderMap) -> Result<Arc<Token>, Stranger> {
        let shown = match secret(headers) {
            Some(secret) => self.access.holder(secret).ok_or("no token has this text, or no more"),
            None => Err("no token came along"),
        };
        shown.inspect(|token| remote.shows(Arc::clone(token))).map_err(|why| {
            // What was shown is not told: it may be right elsewhere.
            let address = Some(remote.address);
            match self.failures.failed_at("the admin API was asked", address, Instant::now()) {
                None => Stranger::Unauthorized(why),
                Some(wait) => Stranger::TooMany(wait),
            }
        })
    }
}

/// `Authorization: Bearer TOKEN`
fn secret(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

impl Stranger {
    /// The connection ends with it.
    fn into_response(self) -> Response {
        let close = (CONNECTION, HeaderValue::from_static("close"));
        match self {
            Self::Unauthorized(why) => {
                let detail = format!(
                    "{why}; over TCP each request needs the header `Authorization: Bearer TOKEN`, and `mubroker \
                     token new` makes one"
                );
                let failure = Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
                let scheme = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                ([close, scheme], failure).into_response()
            }
            Self::TooMany(wait) => {
                let seconds = wait.as_secs().saturating_add(1);
                let detail = format!(
                    "there were too many requests without a token that counts from this address; wait {seconds} s"
                );
                let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail);
                ([close, (RETRY_AFTER, HeaderValue::from(seconds))], failure).into_response()
            }
        }
    }
}
