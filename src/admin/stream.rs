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
use crate::broker::{BrokerHandle, Sight};

struct Following {
    first: VecDeque<Sight>,
    next: Receiver<Arc<Sight>>,
}

/// Everything as it is, then what changes. A watcher who reads slowly misses the oldest and hears how many.
pub(super) async fn stream(
    State(broker): State<BrokerHandle>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Failure> {
    let watch = broker.watch().await?;
    drop(broker);
    let following = Following { first: watch.first.into(), next: watch.next };
    Ok(Sse::new(stream::unfold(following, |mut following| async move {
        let event = following.next_event().await?;
        Some((Event::default().json_data(event), following))
    })))
}

impl Following {
    async fn next_event(&mut self) -> Option<StreamEvent> {
        if let Some(sight) = self.first.pop_front() {
            return Some(event(sight));
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
        Sight::Notice(notice) => StreamEvent::Notice(notice),
    }
}
