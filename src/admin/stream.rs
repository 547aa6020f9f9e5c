//! `GET /v1/stream`: what happens, as server-sent events.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::{Stream, stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::dto::StreamEvent;
use super::failure::Failure;
use super::listing::Listing;
use crate::broker::{BrokerHandle, Sight};

struct Following {
    /// What comes before all else.
    first: VecDeque<StreamEvent>,
    /// Then all queues.
    listing: Option<Listing>,
    /// Then these.
    listed: VecDeque<StreamEvent>,
    next: Receiver<Arc<Sight>>,
}

/// Everything as it is, then what changes. A watcher who reads slowly misses the oldest and hears how many.
pub(super) async fn stream(
    State(broker): State<BrokerHandle>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Failure> {
    let watch = broker.watch().await?;
    let following = Following {
        first: [StreamEvent::Overview(watch.overview)].into(),
        // It holds the broker's handle, and lets it go when all are listed.
        listing: Some(Listing::new(broker)),
        listed: [StreamEvent::Listed, StreamEvent::Workers(watch.workers)].into(),
        next: watch.next,
    };
    Ok(Sse::new(stream::unfold(following, |mut following| async move {
        let event = following.next_event().await?;
        Some((Event::default().json_data(event), following))
    })))
}

impl Following {
    async fn next_event(&mut self) -> Option<StreamEvent> {
        if let Some(event) = self.first.pop_front() {
            return Some(event);
        }
        if let Some(listing) = &mut self.listing {
            // An error says that the broker stops: so does the stream.
            if let Some(page) = listing.next_page().await.ok()? {
                return Some(StreamEvent::Queues(page));
            }
            self.listing = None;
        }
        if let Some(event) = self.listed.pop_front() {
            return Some(event);
        }
        match self.next.recv().await {
            Ok(sight) => Some(event(Arc::unwrap_or_clone(sight))),
            Err(RecvError::Lagged(missed)) => Some(StreamEvent::Lagged { missed }),
            Err(RecvError::Closed) => None,
        }
    }
}

fn event(sight: Sight) -> StreamEvent {
    match sight {
        Sight::Overview(overview) => StreamEvent::Overview(overview),
        Sight::Queues(queues) => StreamEvent::Queues(queues),
        Sight::Workers(workers) => StreamEvent::Workers(workers),
        Sight::Happened(event) => StreamEvent::Notice(Arc::unwrap_or_clone(event)),
    }
}
