//! What a worker tells, for people and for programs.

use std::time::Duration;

use serde_json::json;

use crate::worker::{Overrun, WorkerEvent};

pub(super) fn event_text(event: &WorkerEvent, endpoint: &str) -> String {
    match event {
        WorkerEvent::Ready => format!("ready at {endpoint}"),
        WorkerEvent::Away { reason, pause } => {
            format!("not connected: {reason}; trying again in {} ms", pause.as_millis())
        }
        WorkerEvent::Started { queue, seq, id, attempt, .. } => {
            format!("{queue} {seq} started, attempt {attempt}, id {id}")
        }
        WorkerEvent::Finished { queue, seq, took, error: None, .. } => {
            format!("{queue} {seq} done in {} ms", took.as_millis())
        }
        WorkerEvent::Finished { queue, seq, took, error: Some(error), .. } => {
            let ms = took.as_millis();
            format!("{queue} {seq} failed after {ms} ms: {}: {}", error.code, error.message)
        }
        WorkerEvent::Stale { delivery } => {
            format!("delivery {delivery} was over; its answer changes nothing")
        }
        WorkerEvent::Paused { reason } => format!("the broker gives nothing for now: {reason}"),
        WorkerEvent::Resumed { reason } => format!("the broker gives messages again: {reason}"),
        WorkerEvent::Rejected(rejection) => format!("refused: {}", rejection.reason),
        WorkerEvent::Progress { delivery, note } => format!("delivery {delivery}: {note}"),
        WorkerEvent::Overrun(Overrun { queue, seq, id, limit, .. }) => {
            format!("{queue} {seq} runs longer than {} ms, id {id}", limit.as_millis())
        }
        WorkerEvent::Stopping { running } => format!("stopping; {running} messages still run"),
    }
}

pub(super) fn event_json(event: &WorkerEvent) -> serde_json::Value {
    match event {
        WorkerEvent::Ready => json!({"event": "ready"}),
        WorkerEvent::Away { reason, pause } => {
            json!({"event": "away", "reason": reason, "pause_ms": millis(*pause)})
        }
        WorkerEvent::Started { delivery, queue, seq, id, attempt, limit } => {
            json!({"event": "started", "delivery": delivery, "queue": queue, "seq": seq, "id": id,
                   "attempt": attempt, "limit_ms": millis(*limit)})
        }
        WorkerEvent::Finished { delivery, queue, seq, took, error } => {
            json!({"event": "finished", "delivery": delivery, "queue": queue, "seq": seq,
                   "took_ms": millis(*took), "error": error})
        }
        WorkerEvent::Stale { delivery } => json!({"event": "stale", "delivery": delivery}),
        WorkerEvent::Paused { reason } => json!({"event": "paused", "reason": reason}),
        WorkerEvent::Resumed { reason } => json!({"event": "resumed", "reason": reason}),
        WorkerEvent::Rejected(rejection) => json!({"event": "rejected", "rejection": rejection}),
        WorkerEvent::Progress { delivery, note } => {
            json!({"event": "progress", "delivery": delivery, "note": note})
        }
        WorkerEvent::Overrun(Overrun { delivery, queue, seq, id, limit }) => {
            json!({"event": "overrun", "delivery": delivery, "queue": queue, "seq": seq, "id": id,
                   "limit_ms": millis(*limit)})
        }
        WorkerEvent::Stopping { running } => json!({"event": "stopping", "running": running}),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
