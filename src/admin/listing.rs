//! All queues, page by page: neither the broker's loop nor its memory is taken for a whole list at once.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use super::dto::QueueView;
use super::peer::Caller;
use crate::broker::{BrokerHandle, OperatorError, QUEUES_PAGE};
use crate::model::QueueId;

/// Where a list goes on.
pub(super) struct Listing {
    broker: BrokerHandle,
    caller: Caller,
    /// The number of the last queue that was listed.
    listed: QueueId,
    is_over: bool,
}

impl Listing {
    /// Of the caller's queues.
    pub(super) fn new(broker: BrokerHandle, caller: Caller) -> Self {
        Self { broker, caller, listed: QueueId(0), is_over: false }
    }

    /// The next queues; the first page may be empty, any other has some. `None`: those were all.
    pub(super) async fn next_page(&mut self) -> Result<Option<Vec<QueueView>>, OperatorError> {
        while !self.is_over {
            let (mut page, last) = self.broker.queues(self.listed).await?;
            let is_first = self.listed == QueueId(0);
            self.listed = last;
            self.is_over = page.len() < QUEUES_PAGE;
            page.retain(|queue| self.caller.sees(&queue.name));
            if is_first || !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }
}

/// A JSON array of all queues. An error after the first page ends the answer before its end.
pub(super) async fn array(broker: BrokerHandle, caller: Caller) -> Result<Response, OperatorError> {
    let mut listing = Listing::new(broker, caller);
    let first = listing.next_page().await?.unwrap_or_default();
    let opening = [b"[".as_slice(), &items(&first)].concat();
    let rest = stream::unfold(Some(listing), |listing| async {
        let mut listing = listing?;
        match listing.next_page().await {
            Ok(Some(page)) => Some((Ok([b",".as_slice(), &items(&page)].concat()), Some(listing))),
            Ok(None) => Some((Ok(b"]".to_vec()), None)),
            Err(error) => Some((Err(error), None)),
        }
    });
    let pieces = futures_util::StreamExt::chain(stream::iter([Ok(opening)]), rest);
    let bytes = futures_util::TryStreamExt::map_ok(pieces, Bytes::from);
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(bytes)).into_response())
}

/// Those whose names begin with `prefix`, the first `limit` that were made after the one with this number. Few enough for
/// one answer; fewer than `limit` are the last ones.
pub(super) async fn named(
    broker: &BrokerHandle,
    caller: &Caller,
    prefix: &str,
    after: QueueId,
    limit: usize,
) -> Result<Vec<QueueView>, OperatorError> {
    // A page of which the caller may see little is looked through at once.
    let most = if caller.sees_all() { limit } else { QUEUES_PAGE };
    let mut found = Vec::new();
    let mut next = Some(after);
    while let Some(after) = next.filter(|_| found.len() < limit) {
        let (page, more) = broker.queues_named(prefix.to_owned(), after, most).await?;
        found.extend(page.into_iter().filter(|queue| caller.sees(&queue.name)));
        next = more;
    }
    found.truncate(limit);
    Ok(found)
}

/// The page's items, without the brackets around them.
fn items(page: &[QueueView]) -> Vec<u8> {
    let mut json = serde_json::to_vec(page).expect("a view is JSON");
    json.pop();
    json.split_off(1)
}
