//! Sending repairs: one in flight for a message, each with the revision that was seen and a key, none
//! sent again blindly.

use super::{Effects, draft, follow};
use crate::admin::dto::{Payload, QueueName, RepairOutcome, RepairRequest, RepairVerb, Revision};
use crate::console::action::Failure;
use crate::console::command::{Command, Mode};
use crate::console::effect::Request;
use crate::console::model::{
    Act, InFlight, Link, MessageRef, Model, Purpose, Stage, Submitted, Undoable, verb_text,
};

/// A repair without an answer is asked about this often.
const ASK_AGAIN_MS: u64 = 2_000;
/// A request's own time limit is 12 s; one that is older was lost inside the console.
const LOST_AFTER_MS: u64 = 20_000;
/// How often the broker must say that it doesn't know a key before the repair counts as not done: the
/// first request may still be on its way through a broker that stood still.
const DENIALS: u32 = 3;

/// A repair that is wanted.
pub(super) struct Wanted {
    pub(super) verb: RepairVerb,
    pub(super) expect: Revision,
    /// Where it goes, if it moves.
    pub(super) to: Option<QueueName>,
    pub(super) reason: String,
    pub(super) submitted: Option<Submitted>,
}

impl Wanted {
    /// Without a reason or a new content.
    pub(super) fn plain(verb: RepairVerb, expect: Revision) -> Self {
        Self { verb, expect, to: None, reason: String::new(), submitted: None }
    }
}

/// Sends a repair, or says why not. True if it was sent.
pub(super) fn send(
    model: &mut Model,
    fx: &mut Effects,
    message: MessageRef,
    wanted: Wanted,
) -> bool {
    let what = format!("{} {message}", verb_text(wanted.verb));
    if let Some(why) = model.why_unsendable() {
        model.acts.refuse(what, why);
        return false;
    }
    if model.acts.in_flight.contains_key(&message) {
        model.acts.refuse(what, "another repair of it has no answer yet");
        return false;
    }
    let request = RepairRequest {
        key: model.next_key(),
        expect_revision: wanted.expect,
        action: wanted.verb,
        payload: wanted.submitted.as_ref().map(|s| Payload::from_bytes(&s.bytes)),
        header: None,
        to: wanted.to,
        reason: wanted.reason,
    };
    model.acts.begin(what, Some(message.clone()));
    let flight = InFlight {
        request: request.clone(),
        submitted: wanted.submitted,
        sent_at: model.now,
        asked_at: model.now,
        unknown: false,
        denials: 0,
        heard: None,
    };
    model.acts.in_flight.insert(message.clone(), flight);
    let purpose = Purpose::Repair(message.clone());
    model.ask(fx, purpose, Request::Repair(message, Box::new(request)));
    true
}

/// The answer to a repair.
pub(super) fn answered(
    model: &mut Model,
    fx: &mut Effects,
    message: &MessageRef,
    result: Result<RepairOutcome, Failure>,
) {
    if !model.acts.in_flight.contains_key(message) {
        return;
    }
    match result {
        Ok(outcome) => done(model, fx, message, &outcome),
        Err(Failure::Refused(problem)) => {
            model.acts.in_flight.remove(message);
            let stage = if problem.code == "changed" {
                let text = format!("{} Nothing was sent; your draft stays.", problem.detail);
                Stage::Changed { text }
            } else {
                Stage::Refused { text: problem.detail }
            };
            model.acts.stage(message, stage);
            follow::read_again(model, message);
        }
        Err(Failure::NotSent(reason)) => {
            model.acts.in_flight.remove(message);
            let text = format!("{reason}; nothing was sent");
            model.acts.stage(message, Stage::Refused { text });
        }
        Err(Failure::Unknown(why)) => {
            unknown(model, message, why);
            ask_outcome(model, fx, message);
        }
    }
}

/// The answer to the question what came of a repair.
pub(super) fn outcome_known(
    model: &mut Model,
    fx: &mut Effects,
    message: &MessageRef,
    result: Result<Option<RepairOutcome>, Failure>,
) {
    let (now, is_under_way) = (model.now, model.awaits(&Purpose::Repair(message.clone())));
    let Some(flight) = model.acts.in_flight.get_mut(message) else { return };
    match result {
        Ok(Some(outcome)) => done(model, fx, message, &outcome),
        // The request itself has not come to its end: it may still reach the broker.
        Ok(None) if is_under_way && now.since(flight.sent_at) < LOST_AFTER_MS => {}
        Ok(None) => {
            flight.denials += 1;
            if flight.denials >= DENIALS {
                model.acts.in_flight.remove(message);
                let text = "the broker never got it: nothing was done".to_owned();
                model.acts.stage(message, Stage::Refused { text });
            }
        }
        // Asked again at the next tick.
        Err(_) => {}
    }
}

fn done(model: &mut Model, fx: &mut Effects, message: &MessageRef, outcome: &RepairOutcome) {
    let Some(flight) = model.acts.in_flight.remove(message) else { return };
    let verb = flight.request.action;
    let stage = match verb {
        RepairVerb::Retry | RepairVerb::SaveAndRetry => match flight.heard {
            Some((journal, stage)) if journal.is_none_or(|n| n > outcome.journal) => stage,
            Some(_) | None => Stage::Accepted,
        },
        RepairVerb::Save | RepairVerb::UndoSave => Stage::Done {
            text: format!(
                "revision {} is the newest; the message is {}",
                outcome.revision, outcome.state
            ),
        },
        RepairVerb::Cancel => {
            let text = "; {} puts it back until the next one is delivered";
            let undo = model.setup.keys.hint(Mode::Queue, Command::Undo, text);
            Stage::Done { text: format!("cancelled{undo}") }
        }
        RepairVerb::Restore => {
            Stage::Done { text: format!("back in its place, {}", outcome.state) }
        }
        RepairVerb::DeadLetter | RepairVerb::Move => {
            let to = outcome.moved.as_ref();
            let to = to.map_or(String::new(), |to| format!("; it is {} {} now", to.queue, to.seq));
            Stage::Done { text: format!("moved{to}") }
        }
    };
    model.acts.stage(message, stage);
    model.acts.undo = match verb {
        RepairVerb::Save | RepairVerb::SaveAndRetry | RepairVerb::Cancel => {
            let (message, revision) = (message.clone(), outcome.revision);
            let journal = outcome.journal;
            Some(Undoable::Repair { message, verb, revision, journal, offer: None })
        }
        // What was undone is not undone again, and a retry or a move can't be.
        RepairVerb::Retry
        | RepairVerb::Restore
        | RepairVerb::UndoSave
        | RepairVerb::DeadLetter
        | RepairVerb::Move => None,
    };
    if let Some(submitted) = &flight.submitted
        && let Some(parked) = model.parked.get(message)
        && parked.bytes == submitted.bytes
    {
        model.parked.remove(message);
        draft::delete(model, fx, message.clone());
    }
    release(model, fx, message);
    follow::read_again(model, message);
    model.ask(fx, Purpose::Follow(message.clone()), Request::Message(message.clone()));
}

/// Gives a hold back, unless the message is being edited.
pub(super) fn release(model: &mut Model, fx: &mut Effects, message: &MessageRef) {
    if model.edit.as_ref().is_none_or(|edit| edit.message != *message)
        && model.connection.link == Link::Up
    {
        model.ask(fx, Purpose::Release(message.clone()), Request::Hold(message.clone(), 0));
    }
}

/// The connection is gone: what was sent may or may not be done, and what was only to be sent is not.
pub(super) fn lost(model: &mut Model) {
    let in_flight = model.acts.in_flight.iter();
    let open = in_flight.filter(|(_, flight)| !flight.unknown).map(|(message, _)| message.clone());
    for message in open.collect::<Vec<_>>() {
        unknown(model, &message, "the connection was lost".to_owned());
    }
    for message in model.forget_heads() {
        let text = "no connection to the broker: nothing was sent".to_owned();
        model.acts.stage(&message, Stage::Refused { text });
    }
}

fn unknown(model: &mut Model, message: &MessageRef, why: String) {
    if let Some(flight) = model.acts.in_flight.get_mut(message) {
        flight.unknown = true;
        flight.asked_at = model.now;
    }
    model.acts.stage(message, Stage::Unknown { why });
}

fn ask_outcome(model: &mut Model, fx: &mut Effects, message: &MessageRef) {
    let Some(flight) = model.acts.in_flight.get_mut(message) else { return };
    flight.asked_at = model.now;
    let request = Request::Outcome(flight.request.key.clone());
    let purpose = Purpose::Outcome(message.clone());
    if model.connection.link == Link::Up && !model.awaits(&purpose) {
        model.ask(fx, purpose, request);
    }
}

/// Asks for the outcome of every repair that has no answer.
pub(super) fn ask_outcomes(model: &mut Model, fx: &mut Effects, not_before_ms: u64) {
    let now = model.now;
    let due: Vec<MessageRef> = model
        .acts
        .in_flight
        .iter()
        .filter(|(_, flight)| flight.unknown && now.since(flight.asked_at) >= not_before_ms)
        .map(|(message, _)| message.clone())
        .collect();
    for message in due {
        ask_outcome(model, fx, &message);
    }
}

/// A second has passed.
pub(super) fn tick(model: &mut Model, fx: &mut Effects) {
    let now = model.now;
    let lost: Vec<MessageRef> = model
        .acts
        .in_flight
        .iter()
        .filter(|(_, flight)| !flight.unknown && now.since(flight.asked_at) >= LOST_AFTER_MS)
        .map(|(message, _)| message.clone())
        .collect();
    for message in lost {
        unknown(model, &message, "no answer came".to_owned());
    }
    ask_outcomes(model, fx, ASK_AGAIN_MS);
}

/// Pauses or resumes a queue.
pub(super) fn set_paused(model: &mut Model, fx: &mut Effects, queue: QueueName, paused: bool) {
    let what = format!("{} {queue}", if paused { "pause" } else { "resume" });
    if let Some(why) = model.why_unsendable() {
        return model.acts.refuse(what, why);
    }
    if model.awaits_any(|purpose| matches!(purpose, Purpose::SetPaused(name, _) if *name == queue))
    {
        return model.acts.refuse(what, "the last pause or resume has no answer yet");
    }
    model.acts.begin(what, None);
    let purpose = Purpose::SetPaused(queue.clone(), paused);
    model.ask(fx, purpose, Request::SetPaused { queue, paused });
}

/// The answer to a pause or a resume.
pub(super) fn paused(
    model: &mut Model,
    queue: QueueName,
    paused: bool,
    result: Result<(), Failure>,
) {
    let what = format!("{} {queue}", if paused { "pause" } else { "resume" });
    let stage = match result {
        Ok(()) => {
            model.acts.undo = Some(Undoable::Paused(queue, paused));
            let text = if paused {
                let hint = |command, text| model.setup.keys.hint(Mode::Queues, command, text);
                let resume = hint(Command::PauseResume, " until {}");
                let or = if resume.is_empty() { " until {}" } else { " or {}" };
                format!("nothing is delivered from it{resume}{}", hint(Command::Undo, or))
            } else {
                "deliveries go on".to_owned()
            };
            Stage::Done { text }
        }
        Err(Failure::Unknown(why)) => Stage::Refused {
            text: format!("UNKNOWN, {why}: the queue's state tells once the broker is back"),
        },
        Err(failure) => Stage::Refused { text: failure.text() },
    };
    model.acts.last = Some(Act { what, stage, message: None });
}
