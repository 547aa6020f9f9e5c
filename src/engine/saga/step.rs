//! One step at a time: its message is sent, heard of, given up.

use std::sync::Arc;

use super::{Saga, Step};
use crate::engine::journal::Entry as JournalLine;
use crate::engine::process::ProcessNumber;
use crate::engine::queues::QueueIndex;
use crate::engine::request::{CallEnd, Place};
use crate::engine::send::FULL_RETRY_MS;
use crate::engine::window::Entry;
use crate::engine::{Effects, Engine};
use crate::model::limits::MAX_SAGA_CONTEXT_BYTES;
use crate::model::{
    Actor, CallStatus, Finish, IdempotencyKey, JournalKind, Notice, RejectCode, Rejection, Repair,
    RepairAction, SagaState, Seq, StepState, WorkError,
};

/// Where results begin among a saga's parts: one for each step.
pub(super) const FIRST_RESULT: u16 = 2;

impl Engine {
    /// Sends the step's next message. What its queue can't take now is sent later; what it never takes fails.
    pub(super) fn send_step(&mut self, number: ProcessNumber, at: usize, out: &mut Effects) {
        let Some(saga) = self.sagas.sagas.get(&number) else { return };
        let sent =
            saga.message(at).and_then(|(queue, content)| self.process_sends(queue, content, out));
        let now = self.now;
        let Some((definition, step)) = self.step_of(number, at) else { return };
        match sent {
            Ok((place, _)) => {
                let due = now.plus_ms(definition.timeout_ms);
                step.note_sent();
                (step.place, step.due, step.refused_since) = (Some(place), Some(due), None);
                self.process_due(number, Some(due));
                self.process_waits(number, place);
            }
            Err(rejection) => {
                let since = *step.refused_since.get_or_insert(now);
                let passes =
                    is_passing(rejection.code) && now.since_ms(since) < definition.timeout_ms;
                let error = refused(&rejection);
                if !passes {
                    (step.refused_since, step.due) = (None, None);
                    step.error = Some(error.clone());
                    return self.give_step_up(number, at, error, out);
                }
                let due = now.plus_ms(rejection.retry_after_ms.unwrap_or(FULL_RETRY_MS));
                (step.error, step.due) = (Some(error), Some(due));
                self.process_due(number, Some(due));
            }
        }
        self.save_saga(number, out);
    }

    /// A message that a step waits for is at its end, or blocks its queue.
    pub(in crate::engine) fn saga_heard(
        &mut self,
        number: ProcessNumber,
        place: Place,
        end: CallEnd,
        out: &mut Effects,
    ) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        let Some(at) = saga.steps.iter().position(|step| step.place == Some(place)) else { return };
        let Some(step) = saga.steps.get_mut(at) else { return };
        match end.status {
            CallStatus::Blocked => {
                step.error = end.error;
                return;
            }
            CallStatus::Ok => return self.step_done(number, at, end, out),
            CallStatus::Failed | CallStatus::Timeout => {}
        }
        step.place = None;
        let error = end.error.unwrap_or_default();
        // Its worker in the other queue may do it yet.
        step.may_be_done |= error.code == "moved";
        if error.code == "already-done" {
            // It is gone without a word: it was in RAM only, or its reply was lost with a store that failed.
            step.may_be_done = true;
            if !step.sent_again {
                step.sent_again = true;
                step.attempts = step.attempts.saturating_sub(1);
                return self.send_step(number, at, out);
            }
        }
        self.step_failed(number, at, error, out);
    }

    /// A worker that had a step's message was lost, or had it for too long: it may have done it, whatever becomes of the
    /// message.
    pub(in crate::engine) fn saga_heard_lost(
        &mut self,
        number: ProcessNumber,
        place: Place,
        out: &mut Effects,
    ) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        let waiting = saga.steps.iter_mut().find(|step| step.place == Some(place));
        if let Some(step) = waiting.filter(|step| !step.may_be_done) {
            step.may_be_done = true;
            self.save_saga(number, out);
        }
    }

    fn step_done(&mut self, number: ProcessNumber, at: usize, end: CallEnd, out: &mut Effects) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        let room = (MAX_SAGA_CONTEXT_BYTES as u64).saturating_sub(saga.bytes());
        let undoes = saga.state != SagaState::Running;
        let Some(step) = saga.steps.get_mut(at) else { return };
        (step.place, step.due, step.error) = (None, None, None);
        step.state = if undoes { StepState::Compensated } else { StepState::Done };
        if !undoes && !end.reply.is_empty() {
            let len = end.reply.len();
            if len as u64 > room || !self.has_process_room(len) {
                let error = too_large(len);
                return self.give_step_up(number, at, error, out);
            }
            if let Some((_, step)) = self.step_of(number, at) {
                step.result = Some(end.reply.clone());
            }
            let part = u16::try_from(at).unwrap_or(u16::MAX).saturating_add(FIRST_RESULT);
            self.put_process(number, part, end.reply, out);
        }
        self.continue_saga(number, out);
    }

    /// The current step's time has come: it is given up, or tried again.
    pub(super) fn step_due(&mut self, number: ProcessNumber, out: &mut Effects) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        let Some(at) = saga.steps.iter().position(|step| step.due.is_some()) else {
            return self.continue_saga(number, out);
        };
        let Some((definition, step)) = self.step_of(number, at) else { return };
        let (timeout_ms, place) = (definition.timeout_ms, step.place.take());
        step.due = None;
        let Some(place) = place else { return self.send_step(number, at, out) };
        self.leave_message(number, at, place, out);
        let Some((_, step)) = self.step_of(number, at) else { return };
        let error = step.error.take().unwrap_or_else(|| {
            WorkError::new("timeout", format!("no reply within {timeout_ms} ms"))
        });
        self.step_failed(number, at, error, out);
    }

    /// Waits for a message no more. It goes out of its queue; one that a worker has may be done all the same.
    pub(super) fn leave_message(
        &mut self,
        number: ProcessNumber,
        at: usize,
        place: Place,
        out: &mut Effects,
    ) {
        self.process_waits_no_more(number, place);
        if self.withdraw(number, at, place, out) {
            return;
        }
        if let Some((_, step)) = self.step_of(number, at) {
            step.may_be_done = true;
            step.given_up.push(place);
            self.sagas.given_up.insert(place);
        }
    }

    /// Takes a message that nobody waits for any more out of its queue, unless a worker has it. `false`: one has.
    fn withdraw(
        &mut self,
        number: ProcessNumber,
        at: usize,
        place: Place,
        out: &mut Effects,
    ) -> bool {
        let (queue, seq) = place;
        // Also what is done on delivery.
        if self.queue(queue).in_flight.has(seq) {
            return false;
        }
        if !self.queue(queue).is_unfinished(seq) {
            return true;
        }
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return true };
        let Some(seen) = saga.sent(at) else { return true };
        let id = self.queue(queue).record.id;
        let repair = Repair {
            key: IdempotencyKey::new(&format!("saga-{id}-{seq}")).expect("numbers and dashes"),
            actor: Actor::broker(),
            queue: self.queue(queue).record.name.clone(),
            seq,
            expect_revision: self.queue(queue).revision_of(seq),
            seen: Some(Arc::new(seen)),
            action: RepairAction::Cancel,
            reason: format!("the saga {} has given this step up", key_text(self, number)),
        };
        // An operator who edits it right now keeps it.
        self.repair(repair, out).is_ok()
    }

    /// A message of a step that was given up while a worker had it has come back: it is cancelled instead of being handed out
    /// again, unless an operator wants that. Whether it is gone.
    pub(in crate::engine) fn withdraw_given_up(
        &mut self,
        at: QueueIndex,
        seq: Seq,
        out: &mut Effects,
    ) -> bool {
        if !self.sagas.given_up.contains(&(at, seq)) {
            return false;
        }
        let queue = self.queue(at);
        if queue.records().get(&seq).is_some_and(|record| record.retried) {
            return false;
        }
        let Some(entry) = queue.window.get(seq) else { return false };
        let entry = Entry { content: Arc::clone(&entry.content), ..*entry };
        let id = entry.content.id().clone();
        let reason = "its saga has given this step up while a worker had it".to_owned();
        let message = Some((seq, id));
        let line = JournalLine {
            message,
            reason,
            ..JournalLine::new(JournalKind::Cancelled, Actor::broker())
        };
        self.write_journal(at, line, out);
        self.retire_entry(at, entry, Finish::Cancelled, out);
        self.forget_unwanted(at, seq);
        self.touch(at);
        true
    }

    /// An attempt of a step has failed: another follows, or it is given up.
    pub(super) fn step_failed(
        &mut self,
        number: ProcessNumber,
        at: usize,
        error: WorkError,
        out: &mut Effects,
    ) {
        let now = self.now;
        let Some((definition, step)) = self.step_of(number, at) else { return };
        (step.place, step.due, step.error) = (None, None, Some(error.clone()));
        let spent = step.attempts.saturating_sub(step.forgiven);
        if spent > 0 && spent < definition.attempts {
            let due = now.plus_ms(definition.retry_ms);
            step.due = Some(due);
            self.process_due(number, Some(due));
            return self.save_saga(number, out);
        }
        self.give_step_up(number, at, error, out);
    }

    /// A step can't be done: the saga compensates. Or it can't be taken back: the saga is parked.
    pub(super) fn give_step_up(
        &mut self,
        number: ProcessNumber,
        at: usize,
        error: WorkError,
        out: &mut Effects,
    ) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        let name = saga.definition.steps.get(at).map(|step| step.name.clone()).unwrap_or_default();
        let error = WorkError { message: format!("step {name}: {}", error.message), ..error };
        saga.error = Some(error.clone());
        let said = error.message.clone();
        let (id, named) = (saga.id.clone(), saga.definition.name.clone());
        let undoes = saga.state != SagaState::Running;
        let Some(step) = saga.steps.get_mut(at) else { return };
        let notice = if undoes {
            step.state = StepState::Stuck;
            saga.state = SagaState::Parked;
            Notice::SagaParked { id, saga: named, step: name, error }
        } else {
            step.state = match step.state {
                StepState::Done => StepState::Done,
                _ if step.may_be_done => StepState::Unknown,
                StepState::Pending
                | StepState::Running
                | StepState::Failed
                | StepState::Unknown
                | StepState::Compensating
                | StepState::Compensated
                | StepState::Stuck
                | StepState::Skipped => StepState::Failed,
            };
            saga.state = SagaState::Compensating;
            Notice::SagaCompensating { id, saga: named, error }
        };
        out.effects.push(crate::engine::Effect::Notice(Box::new(notice)));
        if undoes {
            let reason = said;
            let new = JournalLine::new(JournalKind::SagaParked, Actor::broker());
            let entry = JournalLine { reason, ..new };
            if let Some((queue, entry)) = self.saga_entry(number, at, entry) {
                self.keep_in_journal(queue, entry, out);
            }
        }
        self.process_due(number, None);
        self.continue_saga(number, out);
    }

    /// A step and what is said of it.
    fn step_of(
        &mut self,
        number: ProcessNumber,
        at: usize,
    ) -> Option<(&crate::model::SagaStep, &mut Step)> {
        let Saga { definition, steps, .. } = self.sagas.sagas.get_mut(&number)?;
        definition.steps.get(at).zip(steps.get_mut(at))
    }
}

impl Step {
    /// Its next message is accepted: forward, or the first or a further one that takes it back.
    fn note_sent(&mut self) {
        match self.state {
            StepState::Pending | StepState::Running => {
                self.attempts = self.attempts.saturating_add(1);
                self.state = StepState::Running;
            }
            StepState::Done | StepState::Unknown => {
                (self.attempts, self.forgiven, self.may_be_done) = (1, 0, false);
                self.state = StepState::Compensating;
            }
            StepState::Failed
            | StepState::Compensating
            | StepState::Compensated
            | StepState::Stuck
            | StepState::Skipped => {
                self.attempts = self.attempts.saturating_add(1);
                self.state = StepState::Compensating;
            }
        }
    }
}

/// Whether what was refused may be taken later.
pub(super) const fn is_passing(code: RejectCode) -> bool {
    match code {
        RejectCode::Full
        | RejectCode::Busy
        | RejectCode::Draining
        | RejectCode::StoreUnavailable => true,
        RejectCode::Malformed
        | RejectCode::Unsupported
        | RejectCode::Unauthorized
        | RejectCode::Forbidden
        | RejectCode::NoSuchQueue
        | RejectCode::TooLarge
        | RejectCode::Schema
        | RejectCode::Expired
        | RejectCode::Unroutable
        | RejectCode::Internal => false,
    }
}

/// What its queue says of a message that it doesn't take.
pub(super) fn refused(rejection: &Rejection) -> WorkError {
    WorkError::new("refused", rejection.reason.clone())
}

fn too_large(len: usize) -> WorkError {
    WorkError::new(
        "too-large",
        format!(
            "its result has {len} bytes; a saga's input and results have {MAX_SAGA_CONTEXT_BYTES} at most"
        ),
    )
}

fn key_text(engine: &Engine, number: ProcessNumber) -> String {
    engine.sagas.sagas.get(&number).map_or_else(String::new, |saga| saga.id.to_string())
}
