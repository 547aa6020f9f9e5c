//! The kinds of problems that the API tells (RFC 9457), each under an address of its own.

use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::dto::{Problem, ProblemKind};
use super::failure::Failure;
use super::request::Path;
use crate::broker::BrokerHandle;

/// Where they are; a problem's `type` is this and its code.
pub(super) const PROBLEMS_PATH: &str = "/v1/problems/";

/// Code, title, and what to do: all that the API tells.
pub(super) const KINDS: &[(&str, &str, &str)] = &[
    ("invalid", "The request can't be done as it is", "Read `detail`, and change the request."),
    (
        "too_large",
        "The body is too large",
        "A payload has at most 16 MiB; leave out what isn't needed.",
    ),
    ("not_found", "There is no such thing", "Look at the list that it should be in."),
    (
        "no_such_queue",
        "There is no queue of this name",
        "`GET /v1/queues` has those that there are; one is made by its first message if [queues] allows.",
    ),
    (
        "no_such_topic",
        "There is no topic of this name",
        "`GET /v1/topics` has those that there are; a subscription makes one.",
    ),
    (
        "changed",
        "The message has changed since it was looked at",
        "Read it again, and repair the revision that is there now; `refusal` says who changed it.",
    ),
    (
        "state",
        "Its state doesn't allow that",
        "`refusal` has the state that it is in, and what can be done then.",
    ),
    (
        "held",
        "Somebody else edits the message",
        "Ask who is in `refusal`, or wait until the hold is over.",
    ),
    (
        "schema",
        "The payload is not as its queue's schema says",
        "`detail` says where it isn't. A repair with a reason is done all the same.",
    ),
    ("full", "The queue is full", "Work it off, or let it hold more; then send the message again."),
    (
        "draining",
        "The queue takes nothing new",
        "Send it elsewhere, or wait until it is let go on.",
    ),
    (
        "unroutable",
        "No subscription takes the event",
        "Subscribe a queue, or leave `mandatory` out.",
    ),
    ("key_reused", "The key was used for another repair", "Each repair needs a key of its own."),
    (
        "store_unavailable",
        "The store can't be used now",
        "Nothing was changed. The broker opens it again by itself; try again, and look at its log.",
    ),
    (
        "busy",
        "Too much waits already, or too many requests failed",
        "Nothing was changed. Try again in a second, or when `retry-after` says.",
    ),
    (
        "unauthorized",
        "There is no token, or none that counts",
        "Over TCP each request needs `Authorization: Bearer TOKEN`; `mubroker token new` makes one.",
    ),
    (
        "forbidden",
        "The token may not do that",
        "`detail` says which right or queue is missing; a token with it can.",
    ),
    ("stopping", "The broker stops", "Nothing was changed. Try again when it is back."),
    (
        "not_ready",
        "No messages are accepted now",
        "`detail` says why; it goes on by itself when that is over.",
    ),
    (
        "not_live",
        "The broker's loop stands still",
        "If it lasts, start the broker again: what was accepted is kept.",
    ),
    (
        "internal",
        "The broker broke down meanwhile",
        "Nobody knows whether it was done. Look, or repeat it with the same key.",
    ),
];

/// The title of a kind.
pub(super) fn title(code: &str) -> Option<&'static str> {
    KINDS.iter().find(|(known, _, _)| *known == code).map(|(_, title, _)| *title)
}

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new().route("/v1/problems", get(problems)).route("/v1/problems/{code}", get(problem))
}

fn view((code, title, help): &(&str, &str, &str)) -> ProblemKind {
    ProblemKind {
        kind: format!("{PROBLEMS_PATH}{code}"),
        code: (*code).to_owned(),
        title: (*title).to_owned(),
        help: (*help).to_owned(),
    }
}

async fn problems() -> Json<Vec<ProblemKind>> {
    Json(KINDS.iter().map(view).collect())
}

async fn problem(path: Path) -> Result<Json<ProblemKind>, Failure> {
    let code = path.code();
    let found = KINDS.iter().find(|(known, _, _)| *known == code);
    found.map(|found| Json(view(found))).ok_or_else(|| {
        let detail = format!("there is no kind of problem {code:?}; GET /v1/problems has all");
        Failure::new(axum::http::StatusCode::NOT_FOUND, "not_found", detail)
    })
}

/// Puts into each problem where it occurred: the request's path and query.
pub(super) async fn with_instance(request: Request, next: Next) -> Response {
    let asked = request.uri().path_and_query().map(ToString::to_string);
    let mut response = next.run(request).await;
    let Some(mut problem) = response.extensions_mut().remove::<Problem>() else { return response };
    if let Some(instance) = asked {
        problem.instance = instance;
    }
    let mut told = Failure::of(problem).into_response();
    // What it asks for, like `www-authenticate`.
    let mut beside = std::mem::take(response.headers_mut());
    beside.remove(CONTENT_LENGTH);
    told.headers_mut().extend(beside);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_there_once_with_a_title_and_help() {
        for (at, (code, title, help)) in KINDS.iter().enumerate() {
            assert!(KINDS.iter().skip(at + 1).all(|(other, _, _)| other != code), "{code}");
            assert!(!title.ends_with('.') && help.ends_with('.'), "{code}");
        }
    }
}
