//! The broker's events as one stream: what happened, when, in which order, in one JSON form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::journal::JournalKind;
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
    ("queue-created", "a queue was made; `actor`"),
    (
        "queue-deleted",
        "a queue was deleted, by an operator or since it was idle; `actor`, `reason`",
    ),
    ("settings-changed", "an operator changed a queue's settings; `actor`, `reason`"),
    ("paused", "an operator stopped a queue's delivery; `actor`, `reason`"),
    ("resumed", "and let it go on; `actor`, `reason`"),
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
    ("dead-lettered", "a message went to its dead-letter queue; `reason`, `to`, `to_seq`"),
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
        let is_journal = JournalKind::deserialize(&kind).is_ok();
        let what = if is_journal {
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
mod tests {
    use super::*;
    use crate::model::{
        Actor, IdempotencyKey, JournalEntry, MessageId, OnError, QueueName, RejectCode, Revision,
        SagaName, SagaState, Seq, TopicName, WorkError,
    };

    fn queue() -> QueueName {
        QueueName::new("invoices").unwrap()
    }

    fn id() -> MessageId {
        MessageId::new("m-1").unwrap()
    }

    fn entry(kind: JournalKind) -> Notice {
        let actor = Actor { name: "anna".to_owned(), via: "cli".to_owned() };
        let (seq, id, revision) = (Some(Seq(4)), Some(id()), Some(Revision(2)));
        let key = Some(IdempotencyKey::new("k").unwrap());
        let at = Timestamp(1_700_000_000_120);
        let reason = "wrong".to_owned();
        let queue = queue();
        let entry = JournalEntry {
            number: 12,
            at,
            actor,
            kind,
            queue,
            seq,
            id,
            to: None,
            revision,
            reason,
            key,
        };
        Notice::Journal { entry }
    }

    /// One of each.
    fn all() -> Vec<Notice> {
        use JournalKind::*;
        let name = || "w".to_owned();
        let text = || "why".to_owned();
        let journal = [
            QueueCreated,
            QueueDeleted,
            SettingsChanged,
            Paused,
            Resumed,
            Blocked,
            Dropped,
            Saved,
            Retried,
            SavedAndRetried,
            Cancelled,
            SentToDeadLetters,
            Moved,
            Restored,
            SagaRetried,
            SagaSkipped,
            SagaAborted,
            RevisionUndone,
            Subscribed,
            Unsubscribed,
            WorkerFenced,
        ];
        let mut all: Vec<Notice> = journal.map(entry).into();
        let (queue, seq, id) = (queue(), Seq(4), id());
        let saga = SagaName::new("trip").unwrap();
        let error = WorkError { code: "c".to_owned(), ..WorkError::default() };
        all.extend([
            Notice::AttemptFailed {
                queue: queue.clone(),
                seq,
                id: id.clone(),
                attempt: 2,
                error: error.clone(),
                retry_in_ms: 1_000,
            },
            Notice::Recovered { queue: queue.clone(), seq, id: id.clone() },
            Notice::Unblocked { queue: queue.clone() },
            Notice::DeadLettered {
                queue: queue.clone(),
                seq,
                id: id.clone(),
                reason: "expired".to_owned(),
                to: QueueName::new("invoices.dead").unwrap(),
                to_seq: Seq(1),
            },
            Notice::TakenOver { queue: queue.clone(), name: name() },
            Notice::WorkerReady { name: name(), queues: vec![queue.clone()] },
            Notice::WorkerGone { name: name(), reason: "bye".to_owned(), lost: 3 },
            Notice::WorkerSilent { name: name(), silent_ms: 4_500, lost: 1 },
            Notice::WorkerExited { name: name(), how: text(), again_in_ms: Some(500) },
            Notice::RestartLimit { name: name(), restarts: 6, within_ms: 60_000, how: text() },
            Notice::WorkerAlert { name: name(), alert: text(), message: text() },
            Notice::Alert {
                rule: "blocked".to_owned(),
                subject: text(),
                queue: Some(queue.clone()),
                message: text(),
                kept_back: 2,
            },
            Notice::Stale { name: name() },
            Notice::SagaStarted { id: id.clone(), saga: saga.clone() },
            Notice::SagaCompensating { id: id.clone(), saga: saga.clone(), error: error.clone() },
            Notice::SagaParked {
                id: id.clone(),
                saga: saga.clone(),
                step: text(),
                error: error.clone(),
            },
            Notice::SagaEnded { id: id.clone(), saga, state: SagaState::Compensated },
            Notice::FilterFailed {
                topic: TopicName::new("t").unwrap(),
                id,
                failed: 2,
                queue,
                error: text(),
                on_error: OnError::Skip,
            },
            Notice::Refused {
                door: "push".to_owned(),
                queue: None,
                id: MessageId::new("m-2").unwrap(),
                code: RejectCode::Malformed,
                reason: text(),
                to: Some(QueueName::new("push.dead").unwrap()),
                count: 1,
            },
            Notice::StoreDown { reason: text() },
            Notice::StoreUp,
            Notice::StoreFull { reason: text() },
            Notice::StoreHasRoom,
            Notice::Missed { events: Some(3) },
        ]);
        all
    }

    fn event(what: Notice) -> BrokerEvent {
        let event_id = EventId { run: 1_795_806_362_000, number: 17 };
        BrokerEvent { event_id, time: Timestamp(1_700_000_000_120), what }
    }

    #[test]
    fn every_event_has_a_documented_type_and_comes_back_from_json_as_it_was() {
        let mut seen = Vec::new();
        for what in all() {
            let event = event(what);
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<BrokerEvent>(&json).unwrap(), event, "{json}");
            let value: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(value["type"], event.what.kind(), "{json}");
            assert_eq!(value["queue"].as_str(), event.what.queue().map(QueueName::as_str));
            seen.push(event.what.kind());
        }
        let mut documented: Vec<&str> = EVENT_TYPES.iter().map(|(kind, _)| *kind).collect();
        documented.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, documented);
    }

    #[test]
    fn the_json_is_the_documented_one() {
        let buried = all().into_iter().find(|it| it.kind() == "dead-lettered").unwrap();
        for (what, json) in [
            (
                buried,
                r#"{"event_id":"1795806362000-17","time":"2023-11-14T22:13:20.120Z","type":"dead-lettered","queue":"invoices","seq":4,"id":"m-1","details":{"reason":"expired","to":"invoices.dead","to_seq":1}}"#,
            ),
            (
                entry(JournalKind::Cancelled),
                r#"{"event_id":"1795806362000-17","time":"2023-11-14T22:13:20.120Z","type":"cancelled","queue":"invoices","seq":4,"id":"m-1","details":{"actor":{"name":"anna","via":"cli"},"revision":2,"reason":"wrong","key":"k","journal":12}}"#,
            ),
            (
                Notice::StoreUp,
                r#"{"event_id":"1795806362000-17","time":"2023-11-14T22:13:20.120Z","type":"store-up"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&event(what)).unwrap(), json);
        }
    }

    #[test]
    fn an_unknown_number_of_missed_events_is_null() {
        let json = serde_json::to_value(event(Notice::Missed { events: None })).unwrap();
        assert_eq!(json["details"], serde_json::json!({ "events": null }));
        let back: BrokerEvent = serde_json::from_value(json).unwrap();
        assert_eq!(back.what, Notice::Missed { events: None });
    }

    #[test]
    fn an_id_that_is_none_is_refused() {
        for text in ["", "17", "a-b", "1-2-3", "-1"] {
            assert!(text.parse::<EventId>().unwrap_err().contains("RUN-NUMBER"), "{text}");
        }
    }
}
