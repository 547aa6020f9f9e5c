//! `GET /v1/stream`: what happens, as server-sent events.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::{Stream, stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::dto::{QueueView, StreamEvent};
use super::failure::Failure;
use super::listing::Listing;
use super::peer::Caller;
use crate::broker::{BrokerHandle, Shared, Sight};

struct Following {
    /// What comes before all else.
    first: VecDeque<StreamEvent>,
    /// Then all queues.
    listing: Option<Listing>,
    /// Then these.
    listed: VecDeque<StreamEvent>,
    next: Receiver<Arc<Shared>>,
    caller: Caller,
}

/// Everything as it is, then what changes. A watcher who reads slowly misses the oldest and hears how many.
pub(super) async fn stream(
    State(broker): State<BrokerHandle>,
    caller: Caller,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Failure> {
    let watch = broker.watch().await?;
    let following = Following {
        first: [StreamEvent::Overview(watch.overview)].into(),
        // It holds the broker's handle, and lets it go when all are listed.
        listing: Some(Listing::new(broker, caller.clone())),
        listed: [StreamEvent::Listed, StreamEvent::Workers(caller.workers(watch.workers))].into(),
        next: watch.next,
        caller,
    };
    Ok(Sse::new(stream::unfold(following, |mut following| async move {
        let event = following.next_event().await?;
        Some((event, following))
    })))
}

impl Following {
    async fn next_event(&mut self) -> Option<Result<Event, axum::Error>> {
        match self.next_own().await? {
            Told::Own(event) => Some(Event::default().json_data(event)),
            Told::AsAll(sight) => Some(Ok(Event::default().data(sight.text(written)))),
        }
    }

    async fn next_own(&mut self) -> Option<Told> {
        if let Some(event) = self.first.pop_front() {
            return Some(Told::Own(Box::new(event)));
        }
        if let Some(listing) = &mut self.listing {
            // An error says that the broker stops: so does the stream.
            if let Some(page) = listing.next_page().await.ok()? {
                return Some(Told::Own(Box::new(StreamEvent::Queues(page))));
            }
            self.listing = None;
        }
        if let Some(event) = self.listed.pop_front() {
            return Some(Told::Own(Box::new(event)));
        }
        loop {
            match self.next.recv().await {
                Ok(sight) if self.caller.sees_all() => return Some(Told::AsAll(sight)),
                Ok(sight) => match self.caller.event(sight.sight()) {
                    Some(event) => return Some(Told::Own(Box::new(event))),
                    None => continue,
                },
                Err(RecvError::Lagged(missed)) => {
                    return Some(Told::Own(Box::new(StreamEvent::Lagged { missed })));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// What a watcher is told next.
enum Told {
    /// By itself.
    Own(Box<StreamEvent>),
    /// As all who may see all of it are.
    AsAll(Arc<Shared>),
}

/// A sight as the stream has it.
fn written(sight: &Sight) -> String {
    let event = match sight.clone() {
        Sight::Overview(overview) => StreamEvent::Overview(overview),
        Sight::Queues(queues) => StreamEvent::Queues(queues),
        Sight::Workers(workers) => StreamEvent::Workers(workers),
        Sight::Happened(event) => StreamEvent::Notice(Arc::unwrap_or_clone(event)),
    };
    serde_json::to_string(&event).expect("an event is plain data")
}

impl Caller {
    /// What one who doesn't see all queues sees of it, if anything.
    fn event(&self, sight: &Sight) -> Option<StreamEvent> {
        match sight {
            Sight::Overview(overview) => Some(StreamEvent::Overview(overview.clone())),
            Sight::Queues(queues) => {
                let seen = queues.iter().filter(|queue| self.sees(&queue.name));
                let queues: Vec<QueueView> = seen.cloned().collect();
                (!queues.is_empty()).then_some(StreamEvent::Queues(queues))
            }
            Sight::Workers(workers) => Some(StreamEvent::Workers(self.workers(workers.clone()))),
            Sight::Happened(event) => {
                let event = self.sees_entry(event.what.queue()).then_some(event)?;
                Some(StreamEvent::Notice(event.as_ref().clone()))
            }
        }
    }
}
