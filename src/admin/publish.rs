//! Messages over HTTP: the same rules, bounds and answers as by the clients' door.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::dto::{Accepted, EventRequest, MAX_PAYLOAD_BYTES, MessageRequest, Published};
use super::failure::Failure;
use super::peer::Caller;
use super::request::{Body, MAX_BODY_BYTES, Path};
use crate::broker::{BrokerHandle, OperatorError};
use crate::model::{Content, Header, MessageId, RejectCode, Rejection};

type Answer<T> = Result<Json<T>, Failure>;

/// Bodies that are read and worked on at a time, in all: two of the largest, or thousands of small ones. Beside them a
/// message takes what one by the clients' door does.
const ROOM_BYTES: usize = 256 * 1024 * 1024;
/// A permit of that room.
const ROOM_UNIT_BYTES: usize = 1024;
/// When to try again if there is no room, in milliseconds.
const ROOM_RETRY_MS: u64 = 250;

/// The gate has looked at the right to send before a body is read.
pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new()
        .route("/v1/queues/{queue}/publish", post(send))
        .route("/v1/topics/{topic}/publish", post(publish))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::new(Semaphore::new(ROOM_BYTES / ROOM_UNIT_BYTES)), in_room))
}

/// Takes room for a body before it is read, as long as it says that it is; the longest if it doesn't.
async fn in_room(State(room): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(MAX_BODY_BYTES);
    let units = u32::try_from(length.min(MAX_BODY_BYTES).div_ceil(ROOM_UNIT_BYTES));
    let Ok(_room) = room.try_acquire_many_owned(units.unwrap_or(u32::MAX)) else {
        let reason = "other large messages are just being read; send it again in a moment";
        let busy = Rejection::new(RejectCode::Busy, reason).retry_after(ROOM_RETRY_MS);
        return Failure::from(OperatorError::Rejected(busy)).into_response();
    };
    next.run(request).await
}

async fn send(
    State(broker): State<BrokerHandle>,
    path: Path,
    caller: Caller,
    Body(request): Body<MessageRequest>,
) -> Answer<Accepted> {
    let queue = path.queue()?;
    caller.may_say(&request.header, None)?;
    Ok(Json(broker.send_message(queue, content(request)?).await?))
}

async fn publish(
    State(broker): State<BrokerHandle>,
    path: Path,
    Body(request): Body<EventRequest>,
) -> Answer<Published> {
    let EventRequest { header, payload, json, mandatory } = request;
    let content = content(MessageRequest { header, payload, json })?;
    Ok(Json(broker.publish(path.topic()?, content, mandatory).await?))
}

/// What is to be sent; one without an id gets one.
fn content(request: MessageRequest) -> Result<Content, Failure> {
    let MessageRequest { header, payload, json } = request;
    let payload = match (payload, json) {
        (Some(_), Some(_)) => {
            return Err(Failure::invalid(
                "`payload` and `json` are two payloads; give one of them",
            ));
        }
        (Some(payload), None) => payload.into_bytes().map_err(Failure::invalid)?,
        // As it was written, byte for byte.
        (None, Some(json)) => Bytes::from(Box::<str>::from(json).into_string()),
        (None, None) => {
            let detail = "there is no payload; give `json`, or `payload` with its encoding and data (which may be empty)";
            return Err(Failure::invalid(detail));
        }
    };
    if payload.len() > MAX_PAYLOAD_BYTES {
        let reason =
            format!("the payload has {} bytes; {MAX_PAYLOAD_BYTES} are allowed", payload.len());
        return Err(OperatorError::Rejected(Rejection::new(RejectCode::TooLarge, reason)).into());
    }
    let text = serde_json::to_vec(&header).map_err(|error| Failure::invalid(error.to_string()))?;
    let new_id = || MessageId::new(&Uuid::now_v7().to_string()).ok();
    let (header, []) = Header::from_wire(&text, [], new_id)
        .map_err(|error| Failure::invalid(format!("`header`: {error}")))?;
    Ok(Content { header, payload })
}
