//! What the store keeps of a saga. Part 0 is what it began with, with the input's payload. Part 1 says how
//! far it is, in JSON; it is written anew with each step. From part 2 on there is a result for each step.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::step::FIRST_RESULT;
use super::{Saga, Step};
use crate::engine::lined;
use crate::engine::queues::QueueIndex;
use crate::model::{
    Content, Header, ProcessParts, QueueId, SagaDefinition, SagaState, Seq, StepState, Timestamp,
    WorkError,
};

/// The part that says how far it is.
pub(super) const PROGRESS: u16 = 1;
/// The form below.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Begin {
    form: u32,
    definition: SagaDefinition,
    started_at: Timestamp,
    header: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
struct Progress {
    form: u32,
    state: SagaState,
    changed_at: Timestamp,
    error: Option<WorkError>,
    reply_due: Option<Timestamp>,
    steps: Vec<StepRecord>,
}

#[derive(Serialize, Deserialize)]
struct StepRecord {
    state: StepState,
    attempts: u32,
    forgiven: u32,
    place: Option<(QueueId, Seq)>,
    due: Option<Timestamp>,
    refused_since: Option<Timestamp>,
    may_be_done: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<(QueueId, Seq)>,
    error: Option<WorkError>,
}

/// Part 0.
pub(super) fn begin(saga: &Saga) -> Bytes {
    let header = String::from_utf8_lossy(saga.input.header.json()).into_owned();
    let begin = Begin {
        form: FORM,
        definition: (*saga.definition).clone(),
        started_at: saga.started_at,
        header: RawValue::from_string(header).expect("a header is JSON"),
    };
    lined::write(&begin, &saga.input.payload)
}

/// Part 1.
pub(super) fn progress(saga: &Saga, id_of: impl Fn(QueueIndex) -> QueueId) -> Bytes {
    let record = |step: &Step| StepRecord {
        state: step.state,
        attempts: step.attempts,
        forgiven: step.forgiven,
        place: step.place.map(|(at, seq)| (id_of(at), seq)),
        due: step.due,
        refused_since: step.refused_since,
        may_be_done: step.may_be_done,
        given_up: step.given_up.iter().map(|&(at, seq)| (id_of(at), seq)).collect(),
        error: step.error.clone(),
    };
    let progress = Progress {
        form: FORM,
        state: saga.state,
        changed_at: saga.changed_at,
        error: saga.error.clone(),
        reply_due: saga.reply_due,
        steps: saga.steps.iter().map(record).collect(),
    };
    Bytes::from(serde_json::to_vec(&progress).expect("plain data is JSON"))
}

/// A saga of its parts; `None` if they are of another form.
pub(super) fn read(
    parts: &ProcessParts,
    at_of: impl Fn(QueueId) -> Option<QueueIndex>,
) -> Option<Saga> {
    let (begin, payload): (Begin, Bytes) = lined::read(parts.get(&0)?)?;
    let header = Header::from_json(begin.header.get().as_bytes()).ok()?;
    let input = Content { header, payload };
    let mut saga = Saga::new(Arc::new(begin.definition), input, begin.started_at);
    let progress: Progress = serde_json::from_slice(parts.get(&PROGRESS)?).ok()?;
    if begin.form != FORM || progress.form != FORM || progress.steps.len() != saga.steps.len() {
        return None;
    }
    let place_of = |(id, seq)| Some((at_of(id)?, seq));
    saga.state = progress.state;
    saga.changed_at = progress.changed_at;
    saga.error = progress.error;
    saga.reply_due = progress.reply_due;
    for (number, (step, record)) in (FIRST_RESULT..).zip(saga.steps.iter_mut().zip(progress.steps))
    {
        *step = Step {
            state: record.state,
            attempts: record.attempts,
            forgiven: record.forgiven,
            place: record.place.and_then(place_of),
            due: record.due,
            refused_since: record.refused_since,
            may_be_done: record.may_be_done,
            given_up: record.given_up.into_iter().filter_map(place_of).collect(),
            sent_again: false,
            error: record.error,
            result: parts.get(&number).cloned(),
        };
    }
    Some(saga)
}
