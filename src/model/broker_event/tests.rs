//! All types of events in JSON.

use super::*;
use crate::model::{
    Actor, GatherName, GatherStatus, IdempotencyKey, JournalEntry, JournalKind, MessageId, OnError,
    QueueName, RejectCode, Revision, SagaName, SagaState, Seq, TopicName, WorkError,
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
        QueuePurged,
        SettingsChanged,
        Paused,
        Draining,
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
            seq: Some(seq),
            topic: None,
            id: id.clone(),
            reason: "expired".to_owned(),
            to: QueueName::new("invoices.dead").unwrap(),
            to_seq: Seq(1),
        },
        Notice::DeadLettered {
            queue: QueueName::new("t.dead").unwrap(),
            seq: None,
            topic: Some(TopicName::new("t").unwrap()),
            id: id.clone(),
            reason: "unroutable".to_owned(),
            to: QueueName::new("t.dead").unwrap(),
            to_seq: Seq(2),
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
        Notice::GatherStarted { id: id.clone(), gather: None, recipients: 3 },
        Notice::GatherEnded {
            id: id.clone(),
            gather: Some(GatherName::new("quotes").unwrap()),
            status: GatherStatus::Partial,
            replied: 2,
            missing: 1,
        },
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
    seen.dedup();
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
