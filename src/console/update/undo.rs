//! `u`: the last act is undone, while it is still the last one; else the reason why it can't be.

use super::{Effects, many, repair};
use crate::admin::dto::{JournalKind, MessageState, MessageView, RepairVerb, Revision};
use crate::console::action::Failure;
use crate::console::command::Screen;
use crate::console::effect::Request;
use crate::console::model::{MessageRef, Model, Purpose, Undoable};

/// HTTP: a message that is done, or was taken out and has a delivered successor.
const NOT_FOUND: u16 = 404;

/// Undoes the last act, or asks whether that can be done.
pub(super) fn undo(model: &mut Model, fx: &mut Effects) {
    match model.acts.undo.clone() {
        Some(Undoable::Several { act, rows, last, .. }) => {
            many::undo(model, fx, act, rows, last.queue);
        }
        Some(Undoable::Paused(queue, was)) => repair::set_paused(model, fx, queue, !was),
        Some(Undoable::Repair { message, .. }) => ask(model, fx, message),
        None => {
            let is_there = model.screen == Screen::Message;
            let shown = model.message.as_ref().filter(|screen| is_there && screen.can_undo());
            match shown.map(|screen| screen.message.clone()) {
                Some(message) => ask(model, fx, message),
                None => model.acts.note("there is nothing to undo"),
            }
        }
    }
}

/// Whether it can still be undone is known by the broker alone: the message is read first.
fn ask(model: &mut Model, fx: &mut Effects, message: MessageRef) {
    if let Some(why) = model.why_unsendable() {
        return model.acts.refuse("undo", why);
    }
    let purpose = Purpose::Undo(message.clone());
    if !model.awaits(&purpose) {
        model.ask(fx, purpose, Request::Message(message));
    }
}

/// The message that `u` was pressed for.
pub(super) fn read(
    model: &mut Model,
    fx: &mut Effects,
    message: MessageRef,
    view: Result<&MessageView, Failure>,
) {
    let own = own_act(model.acts.undo.as_ref(), &message);
    let (verb, revision) = match view {
        Ok(view) => match way_back(view, own) {
            Ok(verb) => (verb, view.summary.revision),
            Err(why) => return too_late(model, &message, why),
        },
        Err(Failure::Refused(problem)) if problem.status == NOT_FOUND => {
            let why = match own {
                Some(Own { verb: RepairVerb::Cancel, .. }) => {
                    "it can't be undone any more, the next is delivered"
                }
                Some(_) | None => "it can't be undone any more, it has left its queue",
            };
            return too_late(model, &message, why.to_owned());
        }
        Err(failure) => {
            return model.acts.refuse(format!("undo on {message}"), failure.text());
        }
    };
    repair::send(model, fx, message, repair::Wanted::plain(verb, revision));
}

fn too_late(model: &mut Model, message: &MessageRef, why: String) {
    model.acts.undo = None;
    model.acts.refuse(format!("undo on {message}"), why);
}

/// What this console did to a message last: the revision that it left, and the journal's entry of it.
#[derive(Clone, Copy)]
struct Own {
    verb: RepairVerb,
    revision: Revision,
    journal: u64,
}

fn own_act(undo: Option<&Undoable>, message: &MessageRef) -> Option<Own> {
    match undo? {
        Undoable::Repair { message: of, verb, revision, journal, .. } if of == message => {
            Some(Own { verb: *verb, revision: *revision, journal: *journal })
        }
        Undoable::Repair { .. } | Undoable::Several { .. } | Undoable::Paused(..) => None,
    }
}

/// What the broker offers for the last act, if that is still the last one.
pub(super) fn offer(undo: &Undoable, view: &MessageView) -> Option<String> {
    let message = undo.message()?;
    way_back(view, own_act(Some(undo), message)).ok().and(view.undo.clone())
}

/// What undoes it, or why nothing does. Of an act of this console only that act is undone, not what others did after it.
fn way_back(view: &MessageView, own: Option<Own>) -> Result<RepairVerb, String> {
    let summary = &view.summary;
    if let Some(own) = own {
        if summary.revision > own.revision {
            return Err(changed_since(view));
        }
        let newest = |kind| view.history.iter().rev().find(|entry| entry.kind == kind);
        let is_cancelled = summary.state == MessageState::Cancelled;
        let is_own_cancel = own.verb == RepairVerb::Cancel;
        if is_own_cancel && !is_cancelled {
            let by = newest(JournalKind::Restored);
            let by =
                by.map_or(String::new(), |entry| format!(", {} put it back", entry.actor.name));
            return Err(format!("it is not cancelled any more{by}"));
        }
        // A cancel leaves the revision as it is.
        let cancel = newest(JournalKind::Cancelled);
        let is_since = cancel.is_some_and(|entry| entry.number > own.journal);
        if is_cancelled && (is_since || !is_own_cancel) {
            return Err(match cancel {
                Some(entry) => format!("{} has cancelled it since", entry.actor.name),
                None => "it was cancelled since".to_owned(),
            });
        }
    }
    match (summary.state, view.undo.is_some()) {
        (MessageState::Cancelled, true) => Ok(RepairVerb::Restore),
        (_, true) => Ok(RepairVerb::UndoSave),
        (MessageState::Leased, false) => {
            Err("a worker has it: what was handed out can't be taken back".to_owned())
        }
        (MessageState::Done, false) => Err("it is done".to_owned()),
        (MessageState::Cancelled, false) => {
            Err("it can't be undone any more, the next is delivered".to_owned())
        }
        (
            MessageState::Scheduled
            | MessageState::Ready
            | MessageState::Waiting
            | MessageState::Blocked,
            false,
        ) => Err(match summary.revision {
            Revision(0) => "it was never edited".to_owned(),
            _ => "its last edit is undone already".to_owned(),
        }),
    }
}

/// Who has changed the text after this console did.
fn changed_since(view: &MessageView) -> String {
    let newest = view.summary.revision;
    let change = view.history.iter().rev().find_map(|entry| match entry.kind {
        JournalKind::RevisionUndone => Some((entry, "has undone it already")),
        JournalKind::Saved | JournalKind::SavedAndRetried => Some((entry, "has changed it since")),
        _ => None,
    });
    match change {
        Some((entry, what)) => format!("{} {what}: revision {newest}", entry.actor.name),
        None => format!("it was changed since: revision {newest}"),
    }
}
