//! Reads paths, queries and bodies; what is wrong with them is told as a problem.

use std::error::Error;
use std::io;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::model::limits::{MAX_PAGE, MAX_PAYLOAD_BYTES};
use crate::model::{IdempotencyKey, MessageId, QueueName, Seq, TopicName, in_plain_words};

/// A body in bytes: JSON may make six bytes of one of the payload, and the rest is small.
pub(super) const MAX_BODY_BYTES: usize = 6 * MAX_PAYLOAD_BYTES + 1024 * 1024;
/// The body of what has no payload: the longest is a redrive's with its filter.
pub(super) const MAX_SMALL_BODY_BYTES: usize = 1024 * 1024;
/// Rows of a page when the request doesn't say.
const DEFAULT_PAGE: usize = 100;

/// The variable parts of the path.
pub(super) struct Path(RawPathParams);

impl Path {
    pub(super) fn queue(&self) -> Result<QueueName, Failure> {
        self.parse("queue")
    }

    /// A supervised worker's.
    pub(super) fn name(&self) -> String {
        self.text("name").to_owned()
    }

    pub(super) fn topic(&self) -> Result<TopicName, Failure> {
        self.parse("topic")
    }

    pub(super) fn seq(&self) -> Result<Seq, Failure> {
        let text = self.text("seq");
        text.parse().map(Seq).map_err(|_| {
            Failure::invalid(format!("{text:?} is not a message's place; give a whole number"))
        })
    }

    pub(super) fn key(&self) -> Result<IdempotencyKey, Failure> {
        self.parse("key")
    }

    pub(super) fn id(&self) -> Result<MessageId, Failure> {
        self.parse("id")
    }

    /// A kind of problem.
    pub(super) fn code(&self) -> &str {
        self.text("code")
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T, Failure> {
        self.text(name).parse().map_err(|e: T::Err| Failure::invalid(e.to_string()))
    }

    fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value).expect("the route has this part")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        params.map(Self).map_err(|e| Failure::invalid(e.body_text()))
    }
}

/// The query, strictly: an unknown name is an error, not ignored.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|e| Failure::invalid(e.body_text()))
    }
}

/// A JSON body; an empty one counts as `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = Bytes::from_request(request, state).await.map_err(|e| {
            let status = e.status();
            match status {
                StatusCode::PAYLOAD_TOO_LARGE => Failure::new(status, "too_large", e.body_text()),
                _ if is_late(&e) => {
                    let detail = "the request's body did not come in time; send it again";
                    Failure::new(StatusCode::REQUEST_TIMEOUT, "invalid", detail)
                }
                _ => Failure::new(status, "invalid", e.body_text()),
            }
        })?;
        let json: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        // serde_json's text ends with line and column.
        serde_json::from_slice(json).map(Self).map_err(|e| {
            let why = in_plain_words(&e, "an object");
            Failure::invalid(format!("the body can't be read: {why}"))
        })
    }
}

/// Whether the body's own time was over.
fn is_late(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A page of what has places or is counted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageAsked {
    pub(super) from: Option<u64>,
    pub(super) limit: Option<usize>,
}

/// A page of what is listed in the order in which it began, in one state or all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BegunAsked<S> {
    pub(super) after: Option<u64>,
    pub(super) limit: Option<usize>,
    pub(super) state: Option<S>,
}

/// How many rows a page has.
pub(super) fn page(limit: Option<usize>) -> Result<usize, Failure> {
    match limit {
        None => Ok(DEFAULT_PAGE),
        Some(limit) if (1..=MAX_PAGE).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(Failure::invalid(format!("limit is {limit}; it must be from 1 to {MAX_PAGE}")))
        }
    }
}
