//! Callers that wait.

use super::rig::{Rig, delivered};
use crate::engine::{Effect, Event};
use crate::model::{
    CallReply, CallStatus, Origin, QueueSettings, RejectCode, RepairAction, WorkError,
};

fn ends(effects: &[Effect]) -> Vec<(u64, CallStatus, String)> {
    let mut ends = Vec::new();
    for effect in effects {
        if let Effect::CallEnded { origin, reply } = effect {
            let CallReply { status, error, payload, .. } = reply.clone();
            let text = error.map_or_else(
                || String::from_utf8_lossy(&payload).into_owned(),
                |WorkError { code, .. }| code,
            );
            ends.push((origin.0, status, text));
        }
    }
    ends
}

fn end(origin: u64, status: CallStatus, text: &str) -> Vec<(u64, CallStatus, String)> {
    vec![(origin, status, text.to_owned())]
}

#[test]
fn a_caller_gets_the_workers_reply() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    assert_eq!(ends(&rig.ack(&a)), end(7, CallStatus::Ok, "reply"));
    assert!(ends(&rig.pass(5_000)).is_empty());
}

#[test]
fn a_duplicate_call_waits_for_the_same_message() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    assert!(rig.call(8, "a", 1_000).is_empty());
    let told = ends(&rig.ack(&a));
    assert_eq!(told.len(), 2);
    assert_eq!(ends(&rig.call(9, "a", 1_000)), end(9, CallStatus::Failed, "already-done"));
}

#[test]
fn a_call_that_takes_too_long_times_out_and_its_reply_is_counted() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    assert_eq!(ends(&rig.pass(1_000)), end(7, CallStatus::Timeout, "timeout"));
    assert_eq!(rig.view("q").depth, 1, "the message stays");
    assert!(ends(&rig.ack(&a)).is_empty());
    assert_eq!(rig.engine.counts().late_replies, 1);
}

#[test]
fn a_caller_that_went_away_is_forgotten() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    rig.run(Event::OriginGone { origin: Origin(7) });
    assert!(ends(&rig.ack(&a)).is_empty());
    assert_eq!(rig.engine.counts().late_replies, 1);
}

#[test]
fn a_call_ends_when_its_message_blocks() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.ready(1, &["q"], 1);
    let a = delivered(&rig.call(7, "a", 1_000));
    assert_eq!(ends(&rig.nack(&a)), end(7, CallStatus::Blocked, "exit-1"));
    assert_eq!(ends(&rig.call(8, "a", 1_000)), end(8, CallStatus::Blocked, "exit-1"));
}

#[test]
fn a_call_fails_when_its_message_is_cancelled() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.call(7, "a", 1_000);
    let told = ends(&rig.repair("k", 1, 0, RepairAction::Cancel));
    assert_eq!(told, end(7, CallStatus::Failed, "cancelled"));
}

#[test]
fn callers_are_told_when_the_broker_stops() {
    let mut rig = Rig::new(QueueSettings::default());
    rig.call(7, "a", 1_000);
    match rig.run(Event::Shutdown).as_slice() {
        [Effect::Rejected { origin: Origin(7), rejection }] => {
            assert_eq!(rejection.code, RejectCode::Draining);
        }
        other => panic!("{other:?}"),
    }
}
