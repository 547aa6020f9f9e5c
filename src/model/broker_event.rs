//! The broker's events as one stream: what happened, when, in which order, in one JSON form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::notice::Notice;
use super::time::Timestamp;

/// Fields that stand beside `details`, so that every consumer finds them at the same place.
const COMMON: [&str; 3] = ["queue", "seq", "id"];
/// A notice is plain data with text keys.
const PLAIN: &str = "a notice becomes an object";

/// An event's place in the stream. Written `RUN-NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId {
    /// When this broker started, in milliseconds since the Unix epoch: numbers begin anew with it.
    pub run: u64,
    /// From 1, each one more than the one before.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.number)
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('-')
            .and_then(|(run, number)| Some((run.parse().ok()?, number.parse().ok()?)));
        match parsed {
            Some((run, number)) => Ok(Self { run, number }),
            None => Err(format!("{text:?} is not an event's id; give RUN-NUMBER as it was shown")),
        }
    }
}

impl TryFrom<String> for EventId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.to_string()
    }
}

/// One event of the broker. In JSON:
///
/// ```json
/// {"event_id": "1795806362000-17", "time": "2026-11-21T19:06:02.000Z", "type": "dead-lettered",
///  "queue": "invoices", "seq": 4, "id": "…", "details": {"reason": "expired", "to": "invoices.dead", "to_seq": 1}}
/// ```
///
/// `type` is one of [`EVENT_TYPES`]; `queue`, `seq` and `id` (the message's) are there where the event is about one. A
/// later version may add types, and fields to `details`; those that are there stay as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub struct BrokerEvent {
    /// Its place in the stream.
    pub event_id: EventId,
    /// When it was told; a journal entry's own time.
    pub time: Timestamp,
    /// What happened.
    pub what: Notice,
}

/// Every type of event, with what it tells and what its details are.
pub const EVENT_TYPES: &[(&str, &str)] = &[
    ("queue-created", "a queue was made; `actor`, `reason`"),
    (
        "queue-deleted",
        "a queue was deleted, by an operator or since it was idle; `actor`, `reason`",
    ),
    ("queue-purged", "an operator took out messages that waited; `actor`, `reason`"),
    ("settings-changed", "an operator changed a queue's settings; `actor`, `reason`"),
    ("paused", "an operator stopped a queue's delivery; `actor`, `reason`"),
    ("draining", "an operator closed a queue to new messages; `actor`, `reason`"),
    ("resumed", "an operator let a queue go on; `actor`, `reason`"),
    ("blocked", "a message failed for good, its queue or order key stops; `reason`"),
    ("dropped", "a message failed for good and ended, as its queue's `on_failure` says; `reason`"),
    ("unblocked", "no message of the queue is blocked any more"),
    ("attempt-failed", "an attempt failed and another follows; `attempt`, `error`, `retry_in_ms`"),
    ("saved", "an operator saved a new revision; `actor`, `revision`, `reason`"),
    ("retried", "an operator made a message ready again; `actor`, `reason`"),
    ("saved-and-retried", "both; `actor`, `revision`, `reason`"),
    ("cancelled", "an operator took a message out; `actor`, `reason`"),
    ("sent-to-dead-letters", "an operator did that to a message; `actor`, `to`, `reason`"),
    (
        "moved",
        "an operator moved a message, or brought a dead letter back; `actor`, `to`, `reason`",
    ),
    ("restored", "and put it back in its place; `actor`, `reason`"),
    ("revision-undone", "the last saved revision was taken back; `actor`, `revision`"),
    ("recovered", "a message that an operator had retried is done"),
    (
        "dead-lettered",
        "a message went to its dead-letter queue, or an event of `topic` that a filter can't decide or that nobody takes; \
         `reason`, `to`, `to_seq`",
    ),
    ("subscribed", "a queue gets a topic's events from now on; `actor`, `reason`"),
    ("unsubscribed", "and does so no more; `actor`, `reason`"),
    ("filter-failed", "filters can't decide; `topic`, `failed` (how many), `error`, `on_error`"),
    ("refused", "a door without answers refused; `door`, `code`, `reason`, `to`, `count`"),
    ("saga-started", "a saga has begun; `saga`"),
    ("saga-compensating", "a step has failed, what was done is taken back; `saga`, `error`"),
    ("saga-parked", "a compensation has failed, an operator is needed; `saga`, `step`, `error`"),
    ("saga-ended", "a saga is at its end; `saga`, `state`"),
    ("saga-retried", "an operator let a parked saga try again; `actor`, `reason`"),
    ("saga-skipped", "an operator said that a step needs no compensation; `actor`, `reason`"),
    ("saga-aborted", "an operator aborted a saga; `actor`, `reason`"),
    ("gather-started", "a gather has asked; `gather`, `recipients` (how many)"),
    (
        "gather-ended",
        "all have replied, enough have, or its time is over; `gather`, `status`, `replied`, `missing` (how many)",
    ),
    ("taken-over", "another worker is active in an exclusive queue; `worker`"),
    ("worker-ready", "a worker is there; `worker`, `queues`"),
    ("worker-gone", "a worker went away; `worker`, `reason`, `lost` (leases)"),
    (
        "worker-silent",
        "a worker isn't heard, others get what it held; `worker`, `silent_ms`, `lost`",
    ),
    ("worker-fenced", "a worker held a message for too long; `reason`"),
    ("worker-exited", "a supervised worker's process ended; `worker`, `how`, `again_in_ms`"),
    (
        "restart-limit",
        "it ended too often, its queues are paused; `worker`, `restarts`, `within_ms`, `how`",
    ),
    ("worker-alert", "a worker raised an alert; `worker`, `alert`, `message`"),
    ("alert", "a rule of `[alerts]` speaks; `rule`, `subject`, `message`, `kept_back` (how often)"),
    ("stale", "a late answer to a lease that was over; `worker`"),
    ("store-down", "the store can't be written, publishing is refused; `reason`"),
    ("store-up", "the store was recovered, publishing goes on"),
    ("store-full", "the disk has too little room, publishing is refused; `reason`"),
    ("store-has-room", "the disk has room again, publishing goes on"),
    ("missed", "you were too slow, or came back too late; `events` (how many, or null)"),
];

/// What stands in JSON.
#[derive(Serialize, Deserialize)]
struct Line {
    event_id: EventId,
    time: Timestamp,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    queue: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    seq: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    id: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty", default)]
    details: Map<String, Value>,
}

impl From<BrokerEvent> for Line {
    fn from(event: BrokerEvent) -> Self {
        let BrokerEvent { event_id, time, what } = event;
        let kind = what.kind().to_owned();
        let mut details = match what {
            Notice::Journal { entry } => {
                let mut fields = fields(serde_json::to_value(entry).expect(PLAIN));
                fields.shift_remove("kind");
                fields.shift_remove("at");
                rename(&mut fields, "number", "journal");
                fields
            }
            what => fields(serde_json::to_value(what).expect(PLAIN))
                .shift_remove("details")
                .map(fields)
                .unwrap_or_default(),
        };
        let [queue, seq, id] = COMMON.map(|name| details.shift_remove(name));
        Self { event_id, time, r#type: kind, queue, seq, id, details }
    }
}

impl TryFrom<Line> for BrokerEvent {
    type Error = serde_json::Error;

    fn try_from(line: Line) -> Result<Self, Self::Error> {
        let Line { event_id, time, r#type: kind, queue, seq, id, mut details } = line;
        for (name, value) in COMMON.into_iter().zip([queue, seq, id]) {
            if let Some(value) = value {
                details.insert(name.to_owned(), value);
            }
        }
        let kind = Value::String(kind);
        // By its number, not by its kind: what has an event of its own may be in the journal, too.
        let what = if details.contains_key("journal") {
            rename(&mut details, "journal", "number");
            details.insert("kind".to_owned(), kind);
            details.insert("at".to_owned(), Value::String(time.to_string()));
            Notice::Journal { entry: serde_json::from_value(Value::Object(details))? }
        } else {
            let mut notice = Map::new();
            notice.insert("type".to_owned(), kind);
            if !details.is_empty() {
                notice.insert("details".to_owned(), Value::Object(details));
            }
            serde_json::from_value(Value::Object(notice))?
        };
        Ok(Self { event_id, time, what })
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.shift_remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
