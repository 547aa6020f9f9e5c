//! What operators do to sagas, and see of them.

use super::{Saga, Step, key_of};
use crate::engine::control::refused;
use crate::engine::journal::Entry;
use crate::engine::process::{ProcessNumber, page};
use crate::engine::queues::QueueIndex;
use crate::engine::{Effect, Effects, Engine};
use crate::model::{
    Actor, JournalKind, MessageId, Origin, Payload, RepairRefusal, SagaAct, SagaDetail, SagaOrder,
    SagaPage, SagaState, SagaView, StepState, StepView, WorkError, limits,
};

impl Engine {
    /// An operator wants something of a saga.
    pub(in crate::engine) fn handle_saga_act(
        &mut self,
        origin: Origin,
        actor: Actor,
        id: MessageId,
        order: SagaOrder,
        reason: String,
        out: &mut Effects,
    ) {
        match self.saga_act(actor, &id, order, reason, out) {
            Ok(()) => out.effects.push(Effect::Done { origin }),
            Err(reason) => {
                out.effects.push(refused(origin, RepairRefusal::Invalid { reason }));
            }
        }
    }

    fn saga_act(
        &mut self,
        actor: Actor,
        id: &MessageId,
        SagaOrder { act, expect_state }: SagaOrder,
        reason: String,
        out: &mut Effects,
    ) -> Result<(), String> {
        if reason.len() > limits::MAX_REASON_BYTES {
            return Err(format!("the reason is longer than {} bytes", limits::MAX_REASON_BYTES));
        }
        let number = self.processes.find(&key_of(id)).ok_or_else(|| {
            format!("there is no saga {id}; it has ended long ago, or never began")
        })?;
        let saga = self.sagas.sagas.get(&number).ok_or("the saga's records can't be read")?;
        let state = saga.state;
        if let Some(expected) = expect_state.filter(|expected| *expected != state) {
            let (expected, state) = (expected.as_str(), state.as_str());
            return Err(format!("the saga is {state}, not {expected} any more: look again"));
        }
        let Some(at) = saga.current() else {
            return Err(format!("the saga is {}: nothing can be done to it", state.as_str()));
        };
        let kind = match (act, state) {
            (SagaAct::Retry, SagaState::Parked) => JournalKind::SagaRetried,
            (SagaAct::Skip, SagaState::Parked) => JournalKind::SagaSkipped,
            (SagaAct::Abort, _) => JournalKind::SagaAborted,
            (
                SagaAct::Retry | SagaAct::Skip,
                SagaState::Running
                | SagaState::Compensating
                | SagaState::Completed
                | SagaState::Compensated
                | SagaState::Aborted,
            ) => {
                return Err(format!(
                    "the saga is {}: only a parked one can be retried or skipped; a step's message that blocks is \
                     repaired in its queue",
                    state.as_str()
                ));
            }
        };
        let entry = Entry { reason, ..Entry::new(kind, actor) };
        if let Some((queue, entry)) = self.saga_entry(number, at, entry) {
            self.write_journal(queue, entry, out);
        }
        match act {
            SagaAct::Retry => self.retry_compensation(number, at, out),
            SagaAct::Skip => self.skip_compensation(number, at, out),
            SagaAct::Abort => self.abort_saga(number, at, out),
        }
        Ok(())
    }

    /// The journal's line, in the journal of the step's queue.
    pub(super) fn saga_entry(
        &self,
        number: ProcessNumber,
        at: usize,
        entry: Entry,
    ) -> Option<(QueueIndex, Entry)> {
        let saga = self.sagas.sagas.get(&number)?;
        let definition = saga.definition.steps.get(at)?;
        let queue = definition.compensate.as_ref().unwrap_or(&definition.queue);
        let queue =
            [queue, &definition.queue].into_iter().find_map(|name| self.queues.by_name(name))?;
        let what = format!("saga {} {}", saga.definition.name, saga.id);
        let reason = match entry.reason.as_str() {
            "" => what,
            reason => format!("{what}: {reason}"),
        };
        Some((queue, Entry { reason, ..entry }))
    }

    fn retry_compensation(&mut self, number: ProcessNumber, at: usize, out: &mut Effects) {
        self.unpark(number, at, |step| {
            step.state = StepState::Compensating;
            step.forgiven = step.attempts;
        });
        self.continue_saga(number, out);
    }

    fn skip_compensation(&mut self, number: ProcessNumber, at: usize, out: &mut Effects) {
        self.unpark(number, at, |step| step.state = StepState::Skipped);
        self.continue_saga(number, out);
    }

    fn unpark(&mut self, number: ProcessNumber, at: usize, change: impl FnOnce(&mut Step)) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        saga.state = SagaState::Compensating;
        if let Some(step) = saga.steps.get_mut(at) {
            change(step);
        }
    }

    fn abort_saga(&mut self, number: ProcessNumber, at: usize, out: &mut Effects) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        let state = saga.state;
        let Some(step) = saga.steps.get_mut(at) else { return };
        let place = step.place.take();
        (step.due, step.refused_since) = (None, None);
        if let Some(place) = place {
            self.leave_message(number, at, place, out);
        }
        if state != SagaState::Running {
            return self.end_saga(number, SagaState::Aborted, out);
        }
        let error = WorkError::new("aborted", "an operator has aborted the saga");
        self.give_step_up(number, at, error, out);
    }

    /// Sagas in the order in which they began in this run, those from before it first: those after `after`, at most
    /// `limit`, in one state or all.
    pub fn saga_page(&self, after: u64, limit: usize, state: Option<SagaState>) -> SagaPage {
        let wanted = |saga: &Saga| state.is_none_or(|state| state == saga.state);
        let view = |_, saga: &Saga| self.saga_view(saga);
        let (sagas, next) = page(&self.sagas.sagas, (after, limit), wanted, view);
        SagaPage { sagas, next }
    }

    /// One saga.
    pub fn saga_detail(&self, id: &MessageId) -> Option<SagaDetail> {
        let number = self.processes.find(&key_of(id))?;
        let saga = self.sagas.sagas.get(&number)?;
        let context = Payload::from_bytes(&saga.context());
        Some(SagaDetail { saga: self.saga_view(saga), context })
    }

    fn saga_view(&self, saga: &Saga) -> SagaView {
        let view = |(definition, step): (&crate::model::SagaStep, &Step)| {
            let undoes = match step.state {
                StepState::Compensating | StepState::Compensated | StepState::Stuck => true,
                StepState::Pending
                | StepState::Running
                | StepState::Done
                | StepState::Failed
                | StepState::Unknown
                | StepState::Skipped => false,
            };
            let queue = definition.compensate.as_ref().filter(|_| undoes);
            StepView {
                name: definition.name.clone(),
                state: step.state,
                attempts: step.attempts,
                queue: queue.unwrap_or(&definition.queue).clone(),
                seq: step.place.map(|(_, seq)| seq),
                due: step.due,
                error: step.error.clone(),
            }
        };
        SagaView {
            id: saga.id.clone(),
            saga: saga.definition.name.clone(),
            version: saga.definition.version,
            state: saga.state,
            started_at: saga.started_at,
            changed_at: saga.changed_at,
            error: saga.error.clone(),
            steps: saga.definition.steps.iter().zip(&saga.steps).map(view).collect(),
        }
    }
}
