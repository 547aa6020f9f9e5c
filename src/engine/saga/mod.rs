//! Sagas (design.md rule 10): steps in their order, each a message whose reply is its result. When one fails, those that
//! are done are compensated, the newest first; a compensation that fails parks the saga for an operator.
//!
//! | file | what |
//! |---|---|
//! | `record` | what the store keeps: what it began with, how far it is, each result |
//! | `message` | a step's message, and what is told at the end |
//! | `step` | sending, hearing, giving up: one step |
//! | `course` | which step comes next; the end |
//! | `operate` | what operators do and see |
//!
//! A step's message has an id made of the saga's, the step's name and the number of the attempt, and is accepted in the
//! commit that says so in the saga's record. So neither a crash nor a restart sends it a second time, and a queue that
//! has it already takes it once.

mod course;
mod message;
mod operate;
mod record;
mod step;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::limits::{MAX_ENDED_SAGAS, MAX_ENDED_SAGAS_BYTES, MAX_SAGA_ID_BYTES};
use crate::model::{
    Content, MessageId, Notice, Origin, ProcessId, ProcessKey, ProcessKind, RejectCode, Rejection,
    SagaDefinition, SagaName, SagaStarted, SagaState, StepState, Timestamp, WorkError,
};

use super::process::ProcessNumber;
use super::queues::QueueIndex;
use super::request::Place;
use super::timer::shifted_back;
use super::{Effect, Effects, Engine};

/// All sagas, and the definitions of those that may begin.
#[derive(Debug, Default)]
pub(super) struct Sagas {
    definitions: BTreeMap<SagaName, Arc<SagaDefinition>>,
    sagas: BTreeMap<ProcessNumber, Saga>,
    /// Messages that workers had when their steps were given up: they are not handed out again.
    given_up: BTreeSet<Place>,
    /// Those that are at their end, the oldest first, and the bytes that they keep.
    ended: VecDeque<ProcessNumber>,
    ended_bytes: u64,
}

/// One saga.
#[derive(Debug)]
struct Saga {
    id: MessageId,
    definition: Arc<SagaDefinition>,
    input: Content,
    started_at: Timestamp,
    changed_at: Timestamp,
    state: SagaState,
    /// Why it is not simply running or completed.
    error: Option<WorkError>,
    /// One for each of the definition's.
    steps: Vec<Step>,
    /// What `reply_to` is told at the end waits for that queue until then.
    reply_due: Option<Timestamp>,
}

/// How far one step is.
#[derive(Debug)]
struct Step {
    state: StepState,
    /// Messages sent of it; from its compensation on, of that.
    attempts: u32,
    /// Of these, those that don't count any more since an operator let it be tried again.
    forgiven: u32,
    /// The newest one's place, while it is waited for.
    place: Option<Place>,
    /// Until when it is waited for, or when it is tried again.
    due: Option<Timestamp>,
    /// Since when its queue refuses it.
    refused_since: Option<Timestamp>,
    /// A worker had it when it was given up.
    may_be_done: bool,
    /// The places of messages that workers had then.
    given_up: Vec<Place>,
    /// Its message was gone after a restart, and it was sent again under the same id.
    sent_again: bool,
    error: Option<WorkError>,
    result: Option<Bytes>,
}

impl Step {
    fn new() -> Self {
        Self {
            state: StepState::Pending,
            attempts: 0,
            forgiven: 0,
            place: None,
            due: None,
            refused_since: None,
            may_be_done: false,
            given_up: Vec::new(),
            sent_again: false,
            error: None,
            result: None,
        }
    }
}

impl Sagas {
    pub(super) fn new(definitions: Vec<SagaDefinition>) -> Self {
        let named = |it: SagaDefinition| (it.name.clone(), Arc::new(it));
        Self { definitions: definitions.into_iter().map(named).collect(), ..Self::default() }
    }
}

impl Sagas {
    /// The clock stepped back.
    pub(super) fn shift_back(&mut self, ms: u64) {
        let shift = |at: &mut Option<Timestamp>| *at = at.map(|at| shifted_back(at, ms));
        for saga in self.sagas.values_mut() {
            shift(&mut saga.reply_due);
            for step in &mut saga.steps {
                shift(&mut step.due);
                shift(&mut step.refused_since);
            }
        }
    }
}

impl Sagas {
    /// A queue is gone: what workers had of it when it was given up is not handed out again.
    pub(super) fn forget_queue(&mut self, queue: QueueIndex) {
        if self.given_up.is_empty() {
            return;
        }
        self.given_up.retain(|&(at, _)| at != queue);
        for step in self.sagas.values_mut().flat_map(|saga| &mut saga.steps) {
            step.given_up.retain(|&(at, _)| at != queue);
        }
    }
}

impl Saga {
    fn new(definition: Arc<SagaDefinition>, input: Content, now: Timestamp) -> Self {
        let steps = definition.steps.iter().map(|_| Step::new()).collect();
        Self {
            id: input.id().clone(),
            definition,
            input,
            started_at: now,
            changed_at: now,
            state: SagaState::Running,
            error: None,
            steps,
            reply_due: None,
        }
    }

    /// Input and results in bytes.
    fn bytes(&self) -> u64 {
        let results = self.steps.iter().filter_map(|step| step.result.as_ref());
        let results = results.map(|result| result.len() as u64).fold(0, u64::saturating_add);
        self.input.size_bytes().saturating_add(results)
    }
}

/// The process that a saga is.
fn key_of(id: &MessageId) -> ProcessKey {
    let id = ProcessId::new(id.as_str()).expect("a message's id is one of a process");
    ProcessKey { kind: ProcessKind::Saga, id }
}

impl Engine {
    /// Begins a saga: its record and its first step's message are one commit.
    pub(super) fn handle_start(
        &mut self,
        origin: Origin,
        name: SagaName,
        input: Content,
        out: &mut Effects,
    ) {
        let id = input.id().clone();
        if self.processes.find(&key_of(&id)).is_some() {
            let started = SagaStarted { id, saga: name, duplicate: true };
            return out.effects.push(Effect::Started { origin, started });
        }
        let saga = match self.admit_saga(&name, input) {
            Ok(saga) if self.has_begun_before(&saga) => {
                let started = SagaStarted { id, saga: name, duplicate: true };
                return out.effects.push(Effect::Started { origin, started });
            }
            Ok(saga) => saga,
            Err(rejection) => {
                return out.effects.push(Effect::Rejected { origin, rejection: rejection.of(id) });
            }
        };
        self.make_reply_queue(&saga.input, out);
        let number = self.start_process(key_of(&id), record::begin(&saga), out);
        self.sagas.sagas.insert(number, saga);
        out.effects.push(Effect::Notice(Box::new(Notice::SagaStarted {
            id: id.clone(),
            saga: name.clone(),
        })));
        let started = SagaStarted { id, saga: name, duplicate: false };
        out.effects.push(Effect::Started { origin, started });
        self.continue_saga(number, out);
    }

    /// Whether a saga of the same id has ended so long ago that it is forgotten, but its first step's queue still knows that
    /// message: its steps must not be done, or taken back, once more.
    fn has_begun_before(&self, saga: &Saga) -> bool {
        let Ok((queue, first)) = saga.message(0) else { return false };
        let queue = self.queue_named(&queue);
        queue.is_some_and(|queue| queue.duplicate_of(first.id(), self.now).is_some())
    }

    /// All sagas are recovered: those that have ended come in the order of their ends.
    pub(super) fn order_sagas(&mut self) {
        let Sagas { sagas, ended, .. } = &mut self.sagas;
        let ended_at = |number: &ProcessNumber| sagas.get(number).map(|saga| saga.changed_at);
        ended.make_contiguous().sort_by_key(|number| (ended_at(number), *number));
    }

    /// A saga that may begin: its first message would be taken, and its reply's queue is there.
    fn admit_saga(&self, name: &SagaName, input: Content) -> Result<Saga, Rejection> {
        let definition = self.sagas.definitions.get(name).ok_or_else(|| {
            let reason = format!(
                "header field `saga`: there is no saga {name}; configure [sagas.\"{name}\"]"
            );
            Rejection::new(RejectCode::Malformed, reason)
        })?;
        let id_len = input.id().as_str().len();
        if id_len > MAX_SAGA_ID_BYTES {
            let reason = format!(
                "header field `id`: a saga's id has at most {MAX_SAGA_ID_BYTES} bytes, this one has {id_len}"
            );
            return Err(Rejection::new(RejectCode::Malformed, reason));
        }
        self.admit_reply_to(&input)?;
        let saga = Saga::new(Arc::clone(definition), input, self.now);
        let first = saga.message(0)?;
        self.admit_process(record::begin(&saga).len())?;
        self.admit(&[first], false)?;
        Ok(saga)
    }

    /// A saga's time has come.
    pub(super) fn saga_due(&mut self, number: ProcessNumber, out: &mut Effects) {
        let now = self.now;
        let Some(saga) = self.sagas.sagas.get(&number) else { return };
        if !saga.state.is_end() {
            return self.step_due(number, out);
        }
        if saga.reply_due.is_some_and(|due| due <= now) {
            self.tell_end(number, out);
        }
    }

    /// A saga that the store has.
    pub(super) fn recover_saga(
        &mut self,
        number: ProcessNumber,
        parts: &crate::model::ProcessParts,
    ) -> bool {
        let Some(mut saga) = record::read(parts, |id| self.queues.by_id(id)) else {
            return false;
        };
        // The clock may show less than it did when they were set.
        for (step, definition) in saga.steps.iter_mut().zip(&saga.definition.steps) {
            let latest = self.now.plus_ms(definition.timeout_ms.max(definition.retry_ms));
            step.due = step.due.map(|due| due.min(latest));
        }
        let waits = saga.steps.iter().find_map(|step| step.place);
        let due = saga.steps.iter().find_map(|step| step.due).or(saga.reply_due);
        let is_over = saga.state.is_end() && saga.reply_due.is_none();
        let given_up = saga.steps.iter().flat_map(|step| &step.given_up);
        self.sagas.given_up.extend(given_up.copied());
        self.sagas.sagas.insert(number, saga);
        if is_over {
            self.note_ended(number);
        } else {
            // One that was cut short before anything was sent goes on at once.
            self.process_due(number, Some(due.unwrap_or(self.now)));
        }
        if let Some(place) = waits {
            self.process_waits(number, place);
        }
        true
    }

    /// A saga is at its end: the oldest of them are forgotten.
    fn note_ended(&mut self, number: ProcessNumber) {
        let Some(saga) = self.sagas.sagas.get(&number) else { return };
        self.sagas.ended_bytes = self.sagas.ended_bytes.saturating_add(saga.bytes());
        self.sagas.ended.push_back(number);
    }

    fn forget_ended(&mut self, out: &mut Effects) {
        while self.sagas.ended.len() > MAX_ENDED_SAGAS
            || self.sagas.ended_bytes > MAX_ENDED_SAGAS_BYTES
        {
            let Some(oldest) = self.sagas.ended.pop_front() else { return };
            let Some(saga) = self.sagas.sagas.remove(&oldest) else { continue };
            self.sagas.ended_bytes = self.sagas.ended_bytes.saturating_sub(saga.bytes());
            for place in saga.steps.iter().flat_map(|step| &step.given_up) {
                self.sagas.given_up.remove(place);
            }
            self.end_process(oldest, out);
        }
    }
}
