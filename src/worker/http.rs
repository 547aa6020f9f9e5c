//! A handler that POSTs messages to a URL.
//!
//! A status of 2xx acknowledges, with the body as the reply; any other is a failure with the status and the beginning of
//! the body. The header goes along as `mubroker-…` fields. README, "Workers", has the table.

mod request;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Response, StatusCode, Uri};
use tokio::time::timeout;

use super::handler::{Failure, Handler, Work};
use crate::https::{self, HttpClient, HttpError};
use crate::model::limits::MAX_PAYLOAD_BYTES;
use crate::model::{NackAction, WorkError, with_causes};
use crate::wire::Delivery;

/// How much of a failure's body is kept: its beginning, where the reason stands.
const BODY_START_BYTES: usize = 4 * 1024;
/// A failure's one line for the operator, in characters.
const MAX_LINE_CHARS: usize = 200;
/// With this field of its answer a server asks for `block` or `dead-letter`, as a worker does in NACK.
const ACTION: &str = "mubroker-action";

/// POSTs messages to a URL.
#[derive(Debug)]
pub struct Http {
    uri: Uri,
    /// The URL in failures, which operators and logs see.
    shown: String,
    client: HttpClient,
}

impl Http {
    /// A handler that posts to `url`. Connects to nothing yet; connections are kept between messages.
    pub fn new(url: &str) -> Result<Self, HttpError> {
        let (uri, client) = https::client(url)?;
        Ok(Self { uri, shown: https::shown(url), client })
    }
}

impl Handler for Http {
    async fn handle(&self, delivery: Delivery, work: Work) -> Result<Bytes, Failure> {
        let request = request::post(&self.uri, &delivery, work.limit())
            .map_err(|error| Failure::of("request", error.to_string()))?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|error| {
                let code = if error.is_connect() { "connect" } else { "connection" };
                Failure::of(code, format!("{}: {}", self.shown, with_causes(&error)))
            })?;
            read(response).await
        };
        timeout(work.limit() + work.grace(), answered).await.unwrap_or_else(|_elapsed| {
            let ms = work.limit().as_millis();
            Err(Failure::of("timeout", format!("{} did not answer within {ms} ms", self.shown)))
        })
    }
}

async fn read(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let status = response.status();
    let (head, mut body) = response.into_parts();
    if status.is_success() {
        let read = beginning(&mut body, MAX_PAYLOAD_BYTES).await;
        let (bytes, is_all) = read.map_err(|error| {
            Failure::of("connection", format!("the answer broke off: {}", with_causes(&error)))
        })?;
        if !is_all {
            let message = format!("more than {MAX_PAYLOAD_BYTES} bytes of answer");
            return Err(Failure::of("reply-too-large", message));
        }
        return Ok(bytes);
    }
    // What can't be read of a failure's body is not missed.
    let detail = match beginning(&mut body, BODY_START_BYTES).await {
        Ok((bytes, _)) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    };
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let action = match header(ACTION) {
        Some("block") => NackAction::Block,
        Some("dead-letter") => NackAction::DeadLetter,
        Some(_) | None => NackAction::Retry,
    };
    let delay_ms = header("retry-after")
        .and_then(|seconds| seconds.trim().parse::<u64>().ok())
        .map(|seconds| seconds.saturating_mul(1_000));
    let error = WorkError {
        code: format!("http-{}", status.as_u16()),
        message: line(status, &detail),
        detail,
    };
    Err(Failure { error, action, delay_ms })
}

/// Up to `most` bytes, and whether that is all.
async fn beginning(body: &mut Incoming, most: usize) -> Result<(Bytes, bool), hyper::Error> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = most - bytes.len();
        if data.len() > room {
            bytes.extend_from_slice(&data[..room]);
            return Ok((bytes.freeze(), false));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), true))
}

/// The status and the first line that says something.
fn line(status: StatusCode, body: &str) -> String {
    match body.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!("{status}: {line}").chars().take(MAX_LINE_CHARS).collect(),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests;
