//! `GET /v1/events`: the broker's events as server-sent events, to follow and to resume.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, stream};
use serde::Deserialize;

use super::failure::Failure;
use super::peer::Caller;
use super::request::Asked;
use crate::auth::Right;
use crate::broker::{BrokerHandle, Events};
use crate::model::{BrokerEvent, EVENT_TYPES, EventId, Notice, QueueName};

/// How long nothing may be said: a client takes five seconds of silence for a broken connection.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsAsked {
    after: Option<EventId>,
    /// With commas between them.
    r#type: Option<String>,
    queue: Option<QueueName>,
}

struct Following {
    events: Events,
    types: Vec<String>,
    queue: Option<QueueName>,
    caller: Caller,
}

/// What happens from now on, or after the event that `after` or the header `Last-Event-ID` names: `id`, `event` (its
/// type) and `data` (a [`BrokerEvent`]). Who missed some is told by one of type `missed`, whatever is asked for.
pub(super) async fn events(
    State(broker): State<BrokerHandle>,
    caller: Caller,
    headers: HeaderMap,
    Asked(asked): Asked<EventsAsked>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let after = match asked.after {
        Some(after) => Some(after),
        None => last_seen(&headers)?,
    };
    let types = types(asked.r#type.as_deref().unwrap_or_default())?;
    if let Some(queue) = &asked.queue {
        caller.may_in(Right::Read, queue)?;
    }
    let events = broker.events(after).await?;
    let following = Following { events, types, queue: asked.queue, caller };
    let events = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(server_sent(&event)), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn last_seen(headers: &HeaderMap) -> Result<Option<EventId>, Failure> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    text.parse().map(Some).map_err(|error: String| Failure::invalid(error))
}

fn types(asked: &str) -> Result<Vec<String>, Failure> {
    let asked = asked.split(',').filter(|name| !name.is_empty());
    asked
        .map(|name| match EVENT_TYPES.iter().find(|(known, _)| *known == name) {
            Some(_) => Ok(name.to_owned()),
            None => {
                let known: Vec<&str> = EVENT_TYPES.iter().map(|(known, _)| *known).collect();
                let known = known.join(", ");
                Err(Failure::invalid(format!("there is no event type {name:?}; there are {known}")))
            }
        })
        .collect()
}

impl Following {
    async fn next(&mut self) -> Option<Arc<BrokerEvent>> {
        loop {
            let event = self.events.next().await?;
            if matches!(event.what, Notice::Missed { .. }) || self.wants(&event.what) {
                return Some(event);
            }
        }
    }

    fn wants(&self, what: &Notice) -> bool {
        let of_type = self.types.is_empty() || self.types.iter().any(|name| name == what.kind());
        of_type
            && self.caller.sees_entry(what.queue())
            && self.queue.as_ref().is_none_or(|queue| what.queue() == Some(queue))
    }
}

fn server_sent(event: &BrokerEvent) -> Event {
    let sent = Event::default().id(event.event_id.to_string()).event(event.what.kind());
    sent.json_data(event).expect("an event is plain data")
}
