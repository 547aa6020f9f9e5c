//! The difference between any two revisions of a message.

use bytes::Bytes;

use super::{Effects, review};
use crate::admin::dto::Revision;
use crate::console::action::Failure;
use crate::console::command::{Command, Mode};
use crate::console::effect::Request;
use crate::console::model::{DiffPane, Difference, MessageRef, Model, Overlay, Purpose};

/// `d`: from the revision before to the newest.
pub(super) fn open(model: &mut Model, fx: &mut Effects) {
    let Some(screen) = &model.message else { return };
    let Some(view) = &screen.view else { return model.acts.note("the message is not read yet") };
    let newest = view.summary.revision;
    if newest == Revision(0) {
        return model.acts.note("nobody has edited this message: it is what the producer sent");
    }
    let difference = Difference {
        message: screen.message.clone(),
        old: Revision(newest.0 - 1),
        new: newest,
        newest,
        texts: [(newest, screen.payload.clone())].into(),
        pane: DiffPane::default(),
    };
    model.overlay = Overlay::Difference(difference);
    make(model, fx);
}

/// From the original instead of the revision before, and back.
pub(super) fn toggle(model: &mut Model, fx: &mut Effects) {
    let Overlay::Difference(shown) = &mut model.overlay else { return };
    let before = Revision(shown.new.0.saturating_sub(1));
    shown.old = if shown.old == Revision(0) { before } else { Revision(0) };
    make(model, fx);
}

/// Another revision on one of the sides; the old one stays older.
pub(super) fn step(model: &mut Model, fx: &mut Effects, command: Command) {
    let Overlay::Difference(shown) = &mut model.overlay else { return };
    let (old, new) = (shown.old.0, shown.new.0);
    let (old, new) = match command {
        Command::Left => (old.saturating_sub(1), new),
        Command::Right => ((old + 1).min(new.saturating_sub(1)), new),
        Command::NewerBefore => (old, new.saturating_sub(1).max(old + 1)),
        Command::NewerAfter => (old, (new + 1).min(shown.newest.0)),
        _ => return,
    };
    let sides = (Revision(old), Revision(new));
    if sides != (shown.old, shown.new) {
        (shown.old, shown.new) = sides;
        return make(model, fx);
    }
    let is_first = shown.old == Revision(0);
    let hint = |command, text| model.setup.keys.hint(Mode::Difference, command, text);
    let text = match command {
        Command::Left => "the left side is the original: nothing is older".to_owned(),
        Command::NewerAfter => "the right side is the newest revision".to_owned(),
        Command::Right => {
            let first = hint(Command::NewerAfter, "; {} first, for a newer one on the right");
            format!("the left side is just before the right one{first}")
        }
        _ if is_first => "these are the two oldest".to_owned(),
        _ => {
            let first = hint(Command::Left, "; {} first, for an older one on the left");
            format!("the right side is just after the left one{first}")
        }
    };
    model.acts.note(text);
}

/// Compares, or asks for what is missing.
fn make(model: &mut Model, fx: &mut Effects) {
    let unsendable = model.why_unsendable();
    let Overlay::Difference(shown) = model.overlay.below() else { return };
    let sides = [shown.old, shown.new];
    // Two texts at most are kept: each may have 16 MiB.
    shown.texts.retain(|revision, _| sides.contains(revision));
    if let [Some(old), Some(new)] = sides.map(|side| shown.texts.get(&side).cloned()) {
        let pane = review::compare(model, fx, old, new);
        if let Overlay::Difference(shown) = model.overlay.below() {
            shown.pane = pane;
        }
        return;
    }
    if let Some(why) = unsendable {
        shown.pane = DiffPane::ready(Err(why));
        return;
    }
    shown.pane = DiffPane::default();
    let message = shown.message.clone();
    let missing: Vec<Revision> =
        sides.into_iter().filter(|side| !shown.texts.contains_key(side)).collect();
    for revision in missing {
        let purpose = Purpose::Compare(message.clone(), revision);
        if !model.awaits(&purpose) {
            model.ask(fx, purpose, Request::Payload(message.clone(), revision));
        }
    }
}

/// A revision's text has come.
pub(super) fn read(
    model: &mut Model,
    fx: &mut Effects,
    message: &MessageRef,
    revision: Revision,
    bytes: Result<Bytes, Failure>,
) {
    let Overlay::Difference(shown) = model.overlay.below() else { return };
    if shown.message != *message || ![shown.old, shown.new].contains(&revision) {
        return;
    }
    match bytes {
        Ok(bytes) => {
            shown.texts.insert(revision, bytes);
            make(model, fx);
        }
        Err(failure) => shown.pane = DiffPane::ready(Err(failure.text())),
    }
}
