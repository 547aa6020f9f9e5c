//! Which step comes next, and the end.

use super::step::{is_passing, refused};
use super::{Saga, record};
use crate::engine::process::ProcessNumber;
use crate::engine::send::FULL_RETRY_MS;
use crate::engine::{Effect, Effects, Engine};
use crate::model::{Content, Notice, SagaState, StepState, reply_to};

/// What a saga does next.
enum Next {
    /// Sends this step's message.
    Send(usize),
    /// Waits.
    Wait,
    /// Comes to its end.
    End(SagaState),
}

impl Saga {
    fn next(&self) -> Next {
        let end = match self.state {
            SagaState::Running => SagaState::Completed,
            SagaState::Compensating => SagaState::Compensated,
            SagaState::Parked
            | SagaState::Completed
            | SagaState::Compensated
            | SagaState::Aborted => return Next::Wait,
        };
        self.current().map_or(Next::End(end), Next::Send)
    }

    /// The step that is worked on, or stuck; none once it is at its end.
    pub(super) fn current(&self) -> Option<usize> {
        match self.state {
            SagaState::Running => self.steps.iter().position(|step| step.state != StepState::Done),
            SagaState::Compensating | SagaState::Parked => self.to_take_back(),
            SagaState::Completed | SagaState::Compensated | SagaState::Aborted => None,
        }
    }

    /// The newest step that has an effect which can be taken back.
    fn to_take_back(&self) -> Option<usize> {
        let steps = self.steps.iter().zip(&self.definition.steps).enumerate().rev();
        let mut open = steps.filter(|(_, (step, definition))| match step.state {
            StepState::Compensating | StepState::Stuck => true,
            StepState::Done | StepState::Unknown => definition.compensate.is_some(),
            StepState::Pending
            | StepState::Running
            | StepState::Failed
            | StepState::Compensated
            | StepState::Skipped => false,
        });
        open.next().map(|(at, _)| at)
    }

    /// The message that was sent last of a step, as it was sent.
    pub(super) fn sent(&mut self, at: usize) -> Option<Content> {
        let step = self.steps.get_mut(at)?;
        let attempts = step.attempts;
        step.attempts = attempts.saturating_sub(1);
        let message = self.message(at);
        self.steps.get_mut(at)?.attempts = attempts;
        message.ok().map(|(_, content)| content)
    }
}

impl Engine {
    /// Goes on with a saga whose current step has come to an end, or that has just begun.
    pub(super) fn continue_saga(&mut self, number: ProcessNumber, out: &mut Effects) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        match saga.next() {
            // It saves.
            Next::Send(at) => self.send_step(number, at, out),
            Next::Wait => self.save_saga(number, out),
            Next::End(state) => self.end_saga(number, state, out),
        }
    }

    /// A saga comes to its end. It can still be seen for a while.
    pub(super) fn end_saga(&mut self, number: ProcessNumber, state: SagaState, out: &mut Effects) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        saga.state = state;
        let (id, name) = (saga.id.clone(), saga.definition.name.clone());
        out.effects.push(Effect::Notice(Box::new(Notice::SagaEnded { id, saga: name, state })));
        self.process_due(number, None);
        self.tell_end(number, out);
    }

    /// Tells `reply_to` of the end; what that can't take now it is told later.
    pub(super) fn tell_end(&mut self, number: ProcessNumber, out: &mut Effects) {
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        saga.reply_due = None;
        let header = &saga.input.header;
        let to = if header.has_reply_to() { reply_to(&header.to_map()).ok() } else { None };
        let message = to.map(|to| saga.end_message().map(|content| (to, content)));
        let sent =
            message.map(|made| made.and_then(|(to, content)| self.process_sends(to, content, out)));
        let now = self.now;
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        if let Some(Err(rejection)) = sent {
            if is_passing(rejection.code) {
                let due = now.plus_ms(rejection.retry_after_ms.unwrap_or(FULL_RETRY_MS));
                saga.reply_due = Some(due);
                self.process_due(number, Some(due));
                return self.save_saga(number, out);
            }
            saga.error.get_or_insert_with(|| refused(&rejection));
        }
        self.note_ended(number);
        self.save_saga(number, out);
        self.forget_ended(out);
    }

    /// Keeps how far a saga is.
    pub(super) fn save_saga(&mut self, number: ProcessNumber, out: &mut Effects) {
        let now = self.now;
        let Some(saga) = self.sagas.sagas.get_mut(&number) else { return };
        saga.changed_at = now;
        let Some(saga) = self.sagas.sagas.get(&number) else { return };
        let body = record::progress(saga, |at| self.queue(at).record.id);
        self.put_process(number, record::PROGRESS, body, out);
    }
}
