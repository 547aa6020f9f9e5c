//! Follows a retried message to its end: running, head advanced, or failed again.

use super::{Effects, undo};
use crate::admin::dto::{JournalKind, MessageState, MessageView, Notice, QueueView};
use crate::console::action::Failure;
use crate::console::effect::Request;
use crate::console::model::{MessageRef, Model, Purpose, Stage, Undoable};

/// The lists and the message screen read `message` again.
pub(super) fn read_again(model: &mut Model, message: &MessageRef) {
    if let Some(queue) = model.queue.as_mut().filter(|queue| queue.name == message.queue) {
        queue.outdated = true;
    }
    if let Some(screen) = model.message.as_mut().filter(|screen| screen.message == *message) {
        screen.outdated = true;
    }
}

/// Something was heard of a message.
fn heard(model: &mut Model, message: &MessageRef, journal: Option<u64>, stage: Stage) {
    if model.acts.followed() == Some(message) {
        model.acts.stage(message, stage);
    } else if let Some(flight) = model.acts.in_flight.get_mut(message) {
        flight.heard = Some((journal, stage));
    }
    read_again(model, message);
}

/// Takes a notice.
pub(super) fn notice(model: &mut Model, notice: &Notice) {
    match notice {
        Notice::Recovered { queue, seq, .. } => {
            let message = MessageRef { queue: queue.clone(), seq: *seq };
            heard(model, &message, None, Stage::Advanced);
        }
        Notice::AttemptFailed { queue, seq, error, retry_in_ms, .. } => {
            let message = MessageRef { queue: queue.clone(), seq: *seq };
            let error = format!(
                "{}: {} (again in {} s)",
                error.code,
                error.message,
                retry_in_ms.div_ceil(1_000)
            );
            heard(model, &message, None, Stage::FailedAgain { error });
        }
        Notice::Journal { entry } => {
            let Some(seq) = entry.seq else { return };
            let message = MessageRef { queue: entry.queue.clone(), seq };
            if entry.kind == JournalKind::Blocked {
                let stage = Stage::FailedAgain { error: entry.reason.clone() };
                heard(model, &message, Some(entry.number), stage);
            } else {
                read_again(model, &message);
            }
        }
        // The journal and the queue's view say the same.
        Notice::Unblocked { .. }
        | Notice::DeadLettered { .. }
        | Notice::Refused { .. }
        | Notice::FilterFailed { .. }
        | Notice::TakenOver { .. }
        | Notice::WorkerReady { .. }
        | Notice::WorkerGone { .. }
        | Notice::WorkerSilent { .. }
        | Notice::WorkerExited { .. }
        | Notice::RestartLimit { .. }
        | Notice::WorkerAlert { .. }
        | Notice::SagaStarted { .. }
        | Notice::SagaCompensating { .. }
        | Notice::SagaParked { .. }
        | Notice::SagaEnded { .. }
        | Notice::GatherStarted { .. }
        | Notice::GatherEnded { .. }
        | Notice::Stale { .. }
        | Notice::Alert { .. }
        | Notice::StoreDown { .. }
        | Notice::StoreFull { .. }
        | Notice::StoreHasRoom
        | Notice::Missed { .. }
        | Notice::StoreUp => {}
    }
}

/// Takes a queue's new state.
pub(super) fn queue(model: &mut Model, view: &QueueView) {
    let before = model.queues.rows.get(&view.name).map(|row| row.view.clone());
    let head = view.head.as_ref();
    if let Some(message) = model.acts.followed().filter(|message| message.queue == view.name) {
        let message = message.clone();
        match head {
            Some(head) if head.seq == message.seq => {
                if head.state == MessageState::Leased {
                    model.acts.stage(&message, Stage::Running);
                }
            }
            Some(head) if head.seq < message.seq => {}
            Some(_) | None => model.acts.stage(&message, Stage::Advanced),
        }
    }
    let head_of =
        |view: &QueueView| view.head.as_ref().map(|head| (head.seq, head.state, head.attempt));
    let head_changed = before.as_ref().is_none_or(|old| head_of(old) != head_of(view));
    let depth_changed = before.is_none_or(|old| old.depth != view.depth);
    if let Some(queue) = model.queue.as_mut().filter(|queue| queue.name == view.name)
        && (head_changed || depth_changed)
    {
        queue.outdated = true;
        match head {
            Some(head) => queue.finished_before(head.seq),
            None => queue.rows.clear(),
        }
    }
    if let Some(screen) = model.message.as_mut().filter(|screen| screen.message.queue == view.name)
        && screen.gone.is_none()
    {
        screen.stirred = true;
        screen.outdated |= head_changed && head.is_none_or(|head| head.seq >= screen.message.seq);
    }
}

/// The message of an act, as it is now.
pub(super) fn read(model: &mut Model, message: &MessageRef, result: Result<&MessageView, Failure>) {
    let undo = model.acts.undo.as_ref();
    let offer = undo.zip(result.as_ref().ok()).and_then(|(undo, view)| undo::offer(undo, view));
    if let Some(undo) = model.acts.undo.as_mut().filter(|undo| undo.message() == Some(message)) {
        undo.take_offer(offer);
    }
    if model.acts.followed() != Some(message) {
        return;
    }
    match result {
        Ok(view) => match view.summary.state {
            MessageState::Leased => model.acts.stage(message, Stage::Running),
            MessageState::Done => model.acts.stage(message, Stage::Advanced),
            MessageState::Blocked | MessageState::Waiting => {
                let error = view.summary.error.as_ref();
                let error =
                    error.map_or_else(String::new, |e| format!("{}: {}", e.code, e.message));
                model.acts.stage(message, Stage::FailedAgain { error });
            }
            MessageState::Scheduled | MessageState::Ready | MessageState::Cancelled => {}
        },
        // A followed message that is gone is done: only a cancel takes it out otherwise.
        Err(Failure::Refused(problem)) if problem.status == 404 => {
            model.acts.stage(message, Stage::Advanced);
        }
        Err(_) => {}
    }
}

/// Reads the followed message again, after notices may have been missed.
pub(super) fn catch_up(model: &mut Model, fx: &mut Effects) {
    let mut messages: Vec<MessageRef> = model.acts.followed().cloned().into_iter().collect();
    let undo = model.acts.undo.as_ref().and_then(Undoable::message);
    if let Some(message) = undo.filter(|message| !messages.contains(message)) {
        messages.push(message.clone());
    }
    for message in messages {
        let purpose = Purpose::Follow(message.clone());
        if !model.awaits(&purpose) {
            model.ask(fx, purpose, Request::Message(message));
        }
    }
}
