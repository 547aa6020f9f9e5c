//! An event in words, as screen 6 has it.

use super::{Leads, Weight};
use crate::admin::dto::{
    GatherState, JournalEntry, JournalKind, MessageId, Notice, QueueName, SagaState, Seq, WorkError,
};
use crate::console::model::MessageRef;

/// What an event tells; not cleaned.
pub(super) struct Told {
    pub(super) weight: Weight,
    pub(super) on: String,
    pub(super) text: String,
    pub(super) leads: Leads,
}

impl Told {
    fn message(weight: Weight, queue: &QueueName, seq: Seq, text: String) -> Self {
        let message = MessageRef { queue: queue.clone(), seq };
        Self { weight, on: message.to_string(), text, leads: Leads::Message(message) }
    }

    fn queue(weight: Weight, queue: &QueueName, text: String) -> Self {
        Self { weight, on: queue.to_string(), text, leads: Leads::Queue(queue.clone()) }
    }

    fn worker(weight: Weight, name: &str, text: String) -> Self {
        Self { weight, on: name.to_owned(), text, leads: Leads::Worker(name.to_owned()) }
    }

    fn saga(weight: Weight, saga: &str, id: &MessageId, text: String) -> Self {
        Self { weight, on: named(saga, id), text, leads: Leads::Saga(id.clone()) }
    }

    fn broker(weight: Weight, text: String) -> Self {
        Self { weight, on: "the broker".to_owned(), text, leads: Leads::Nowhere }
    }
}

/// A process by its name and the end of its id: ids of one time begin alike.
fn named(name: &str, id: &MessageId) -> String {
    const TAIL_CHARS: usize = 8;
    let id = id.as_str();
    match id.char_indices().rev().nth(TAIL_CHARS - 1) {
        Some((at, _)) if at > 0 => format!("{name} …{}", &id[at..]),
        Some(_) | None => format!("{name} {id}"),
    }
}

/// In words.
pub(super) fn told(what: &Notice) -> Told {
    match what {
        Notice::Journal { entry } => journal(entry),
        Notice::AttemptFailed { .. }
        | Notice::Recovered { .. }
        | Notice::Unblocked { .. }
        | Notice::DeadLettered { .. }
        | Notice::TakenOver { .. }
        | Notice::FilterFailed { .. }
        | Notice::Refused { .. } => of_queue(what),
        Notice::WorkerReady { .. }
        | Notice::WorkerGone { .. }
        | Notice::WorkerSilent { .. }
        | Notice::WorkerExited { .. }
        | Notice::RestartLimit { .. }
        | Notice::WorkerAlert { .. }
        | Notice::Stale { .. } => of_worker(what),
        Notice::SagaStarted { .. }
        | Notice::SagaCompensating { .. }
        | Notice::SagaParked { .. }
        | Notice::SagaEnded { .. }
        | Notice::GatherStarted { .. }
        | Notice::GatherEnded { .. } => of_process(what),
        Notice::Alert { .. }
        | Notice::StoreDown { .. }
        | Notice::StoreUp
        | Notice::StoreFull { .. }
        | Notice::StoreHasRoom
        | Notice::Missed { .. } => of_broker(what),
    }
}

/// How a journal entry is drawn, there and among the events.
pub(in crate::console) const fn weight_of(kind: JournalKind) -> Weight {
    match kind {
        JournalKind::Blocked | JournalKind::Dropped => Weight::Bad,
        JournalKind::Cancelled
        | JournalKind::SentToDeadLetters
        | JournalKind::Moved
        | JournalKind::WorkerFenced
        | JournalKind::SagaParked
        | JournalKind::QueueDeleted
        | JournalKind::QueuePurged
        | JournalKind::Draining
        | JournalKind::Paused => Weight::Warn,
        JournalKind::Retried | JournalKind::SavedAndRetried | JournalKind::Resumed => Weight::Good,
        JournalKind::QueueCreated
        | JournalKind::SettingsChanged
        | JournalKind::Saved
        | JournalKind::SagaRetried
        | JournalKind::SagaSkipped
        | JournalKind::SagaAborted
        | JournalKind::Subscribed
        | JournalKind::Unsubscribed
        | JournalKind::Restored
        | JournalKind::RevisionUndone => Weight::Plain,
    }
}

fn journal(entry: &JournalEntry) -> Told {
    let by = match entry.actor.via.as_str() {
        "" => entry.actor.name.clone(),
        via => format!("{} ({via})", entry.actor.name),
    };
    let colon = if entry.reason.is_empty() { "" } else { ": " };
    let text = format!("by {by}{colon}{}", entry.reason);
    let weight = weight_of(entry.kind);
    match entry.seq {
        Some(seq) => Told::message(weight, &entry.queue, seq, text),
        None => Told::queue(weight, &entry.queue, text),
    }
}

fn error_text(error: &WorkError) -> String {
    format!("{}: {}", error.code, error.message)
}

fn of_queue(what: &Notice) -> Told {
    match what {
        Notice::AttemptFailed { queue, seq, attempt, error, retry_in_ms, .. } => {
            let error = error_text(error);
            let again = retry_in_ms.div_ceil(1_000);
            let text = format!("attempt {attempt} failed, again in {again}s: {error}");
            Told::message(Weight::Warn, queue, *seq, text)
        }
        Notice::Recovered { queue, seq, .. } => {
            Told::message(Weight::Good, queue, *seq, "the head advanced".to_owned())
        }
        Notice::Unblocked { queue } => {
            Told::queue(Weight::Good, queue, "nothing is blocked any more".to_owned())
        }
        Notice::DeadLettered { queue, seq, topic, reason, to, to_seq, .. } => {
            let of = topic.as_ref().map_or(String::new(), |topic| format!("topic {topic}, "));
            let text = format!("{of}{reason}: now {to} #{to_seq}");
            let now = MessageRef { queue: to.clone(), seq: *to_seq };
            let told = match seq {
                Some(seq) => Told::message(Weight::Warn, queue, *seq, text),
                None => Told::queue(Weight::Warn, queue, text),
            };
            Told { leads: Leads::Message(now), ..told }
        }
        Notice::TakenOver { queue, name } => {
            Told::queue(Weight::Plain, queue, format!("{name} is its active worker now"))
        }
        Notice::FilterFailed { topic, failed, queue, error, on_error, .. } => {
            let on_error = on_error.as_str();
            let text = format!("topic {topic}, {failed} filters, then {on_error}: {error}");
            Told::queue(Weight::Bad, queue, text)
        }
        Notice::Refused { door, queue, reason, to, count, .. } => {
            let to = to.as_ref().map_or("; it is lost".to_owned(), |to| format!("; now in {to}"));
            let text = format!("{count} at {door}: {reason}{to}");
            match queue {
                Some(queue) => Told::queue(Weight::Bad, queue, text),
                None => Told::broker(Weight::Bad, text),
            }
        }
        other => unsorted(other),
    }
}

fn of_worker(what: &Notice) -> Told {
    match what {
        Notice::WorkerReady { name, queues } => {
            let queues: Vec<&str> = queues.iter().map(|queue| queue.as_str()).collect();
            Told::worker(Weight::Plain, name, format!("serves {}", queues.join(", ")))
        }
        Notice::WorkerGone { name, reason, lost } => {
            let weight = if *lost > 0 { Weight::Warn } else { Weight::Plain };
            Told::worker(weight, name, format!("{reason}, {lost} leases lost"))
        }
        Notice::WorkerSilent { name, silent_ms, lost } => {
            let text = format!("not heard for {} s, {lost} leases lost", silent_ms / 1_000);
            Told::worker(Weight::Bad, name, text)
        }
        Notice::WorkerExited { name, how, again_in_ms } => {
            let again = match again_in_ms {
                Some(ms) => format!("started again in {} s", ms.div_ceil(1_000)),
                None => "not started again".to_owned(),
            };
            Told::worker(Weight::Warn, name, format!("{how}, {again}"))
        }
        Notice::RestartLimit { name, restarts, within_ms, how } => {
            let within = within_ms / 1_000;
            let text =
                format!("ended {restarts} times in {within} s, its queues are paused: {how}");
            Told::worker(Weight::Bad, name, text)
        }
        Notice::WorkerAlert { name, alert, message } => {
            Told::worker(Weight::Bad, name, format!("{alert}: {message}"))
        }
        Notice::Stale { name } => {
            Told::worker(Weight::Warn, name, "a late answer, which changed nothing".to_owned())
        }
        other => unsorted(other),
    }
}

fn of_process(what: &Notice) -> Told {
    match what {
        Notice::SagaStarted { id, saga } => {
            Told::saga(Weight::Plain, saga.as_str(), id, "has begun".to_owned())
        }
        Notice::SagaCompensating { id, saga, error } => {
            let text = format!("takes back what was done: {}", error_text(error));
            Told::saga(Weight::Warn, saga.as_str(), id, text)
        }
        Notice::SagaParked { id, saga, step, error } => {
            let text = format!("{step} can't be taken back: {}", error_text(error));
            Told::saga(Weight::Bad, saga.as_str(), id, text)
        }
        Notice::SagaEnded { id, saga, state } => {
            let weight = match state {
                SagaState::Completed => Weight::Good,
                SagaState::Compensated | SagaState::Aborted => Weight::Warn,
                SagaState::Running | SagaState::Compensating | SagaState::Parked => Weight::Plain,
            };
            Told::saga(weight, saga.as_str(), id, state.as_str().to_owned())
        }
        Notice::GatherStarted { id, gather, recipients } => {
            let on = gather.as_ref().map_or("gather", |name| name.as_str());
            let (on, leads) = (named(on, id), Leads::Gather(id.clone()));
            Told { weight: Weight::Plain, on, text: format!("asks {recipients}"), leads }
        }
        Notice::GatherEnded { id, gather, status, replied, missing } => {
            let on = gather.as_ref().map_or("gather", |name| name.as_str());
            let weight = match GatherState::from(Some(*status)) {
                GatherState::Running => Weight::Plain,
                GatherState::Complete | GatherState::Quorum => Weight::Good,
                GatherState::Partial => Weight::Warn,
            };
            let text = format!("{}, {replied} replied, {missing} missing", status.as_str());
            Told { weight, on: named(on, id), text, leads: Leads::Gather(id.clone()) }
        }
        other => unsorted(other),
    }
}

fn of_broker(what: &Notice) -> Told {
    match what {
        Notice::Alert { rule, subject, queue, message, kept_back } => {
            let more = match kept_back {
                0 => String::new(),
                n => format!(" ({n} kept back)"),
            };
            let text = format!("{rule}: {message}{more}");
            match queue {
                Some(queue) => Told::queue(Weight::Bad, queue, text),
                None if subject.is_empty() => Told::broker(Weight::Bad, text),
                None => Told { on: subject.clone(), ..Told::broker(Weight::Bad, text) },
            }
        }
        Notice::StoreDown { reason } => {
            Told::broker(Weight::Bad, format!("the store can't be written: {reason}"))
        }
        Notice::StoreUp => Told::broker(Weight::Good, "the store is written again".to_owned()),
        Notice::StoreFull { reason } => {
            Told::broker(Weight::Bad, format!("publishing is refused: {reason}"))
        }
        Notice::StoreHasRoom => Told::broker(Weight::Good, "publishing goes on".to_owned()),
        Notice::Missed { events } => {
            let events = events.map_or("all".to_owned(), |n| n.to_string());
            Told::broker(Weight::Warn, format!("{events} events before this were missed"))
        }
        other => unsorted(other),
    }
}

/// What another of these functions tells; there is nothing to add to its type.
fn unsorted(what: &Notice) -> Told {
    Told::broker(Weight::Plain, what.kind().to_owned())
}
