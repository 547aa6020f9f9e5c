//! Lists of a queue's messages, and of the errors that they failed with.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::dto::{ErrorGroupPage, MessageFilter, MessagePage};
use super::failure::Failure;
use super::request::{Asked, Path, page};
use crate::broker::BrokerHandle;
use crate::model::{ErrorGroupId, Filter, HeaderTest, MessageState, PathTest, Seq};

pub(super) fn routes() -> Router<BrokerHandle> {
    Router::new()
        .route("/v1/queues/{queue}/messages", get(messages))
        .route("/v1/queues/{queue}/errors", get(errors))
}

/// A page, and a [`MessageFilter`]: in one piece, since serde's `flatten` makes a text of each number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessagesAsked {
    from: Option<u64>,
    limit: Option<usize>,
    state: Option<MessageState>,
    header: Option<HeaderTest>,
    path: Option<PathTest>,
    filter: Option<Filter>,
    group: Option<ErrorGroupId>,
    older_ms: Option<u64>,
    newer_ms: Option<u64>,
}

async fn messages(
    State(broker): State<BrokerHandle>,
    path: Path,
    Asked(asked): Asked<MessagesAsked>,
) -> Result<Json<MessagePage>, Failure> {
    let MessagesAsked {
        from,
        limit,
        state,
        header,
        path: place,
        filter,
        group,
        older_ms,
        newer_ms,
    } = asked;
    let (queue, limit) = (path.queue()?, page(limit)?);
    let filter = MessageFilter { state, header, path: place, filter, group, older_ms, newer_ms };
    Ok(Json(broker.messages(&queue, Seq(from.unwrap_or(1)), limit, &filter).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorsAsked {
    from: Option<u64>,
}

async fn errors(
    State(broker): State<BrokerHandle>,
    path: Path,
    Asked(asked): Asked<ErrorsAsked>,
) -> Result<Json<ErrorGroupPage>, Failure> {
    Ok(Json(broker.error_groups(&path.queue()?, Seq(asked.from.unwrap_or(1))).await?))
}
