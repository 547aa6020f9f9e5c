//! The review: what would be sent, and the three buttons.

use bytes::Bytes;

use super::{Effects, draft, edit, repair, schema};
use crate::admin::dto::RepairVerb;
use crate::console::command::{Command, Mode, Screen};
use crate::console::effect::{Effect, RequestId};
use crate::console::model::{Button, DiffPane, Model, Overlay, Purpose, Review};
use crate::console::text::diff::{self, DIFF_CONTEXT, DiffLine};

/// Both texts of a difference that is made at once; longer ones are compared beside the keys.
const AT_ONCE_BYTES: usize = 64 * 1024;

/// The difference between two texts.
pub(super) fn compare(model: &mut Model, fx: &mut Effects, old: Bytes, new: Bytes) -> DiffPane {
    if old.len() + new.len() <= AT_ONCE_BYTES {
        return DiffPane::ready(Ok(diff::unified(&old, &new, DIFF_CONTEXT)));
    }
    let request = model.next_request();
    fx.push(Effect::Compare { request, old, new });
    DiffPane::awaiting(request)
}

/// A difference that was made beside the keys.
pub(super) fn compared(
    model: &mut Model,
    request: RequestId,
    lines: Result<Vec<DiffLine>, String>,
) {
    match model.overlay.below() {
        Overlay::Review(review) => review.pane.made(request, lines),
        Overlay::Difference(shown) => shown.pane.made(request, lines),
        // A change of several goes on whatever lies on top of it.
        Overlay::None
        | Overlay::Help { .. }
        | Overlay::Palette(_)
        | Overlay::Filter { .. }
        | Overlay::Find { .. }
        | Overlay::Leave(_)
        | Overlay::Pattern(_)
        | Overlay::Reason(_)
        | Overlay::Throw(_)
        | Overlay::File(_)
        | Overlay::Many
        | Overlay::Quit(_) => super::many::compared(model, request, lines),
    }
}

/// `^S`: the difference to what the broker has now. Broken JSON isn't let through.
pub(super) fn open(model: &mut Model, fx: &mut Effects) {
    draft::save_now(model, fx);
    let is_being_read =
        model.edit.as_ref().is_some_and(|edit| model.awaits(&Purpose::Show(edit.message.clone())));
    let hint = |command, text| model.setup.keys.hint(Mode::Editor, command, text);
    let discards = hint(Command::Discard, "; {} discards it");
    let Some(edit) = model.edit.as_mut().filter(|edit| !edit.loading) else { return };
    let Some(screen) = model.message.as_ref().filter(|screen| screen.message == edit.message)
    else {
        return;
    };
    let Some(view) = &screen.view else { return };
    // The review must be of what the broker has now.
    if screen.outdated || is_being_read {
        edit.review_when_read = true;
        edit.notice = Some("it is being read again; the review opens then".to_owned());
        return;
    }
    if edit.json && edit.raw.is_some() {
        edit.notice = Some(format!("not UTF-8, so it can't be JSON{discards}"));
        return;
    }
    if edit.json
        && let Some(fault) = edit.editor.recheck().cloned()
    {
        edit.editor.jump_to_fault();
        edit.notice = Some(format!("not JSON at {fault}; mend it first"));
        return;
    }
    let (old, new) = (screen.payload.clone(), edit.bytes());
    let headers = diff::header_changes(&edit.base_header, &view.header);
    let (unchanged, against) = (old == new, view.summary.revision);
    let mut pane = compare(model, fx, old, new);
    pane.lead(
        headers.into_iter().map(|change| DiffLine::note(format!("header {change}"))).collect(),
    );
    // What stood in the way is mended.
    if let Some(edit) = &mut model.edit {
        edit.notice = None;
    }
    let button = Button::Back;
    model.overlay = Overlay::Review(Review { pane, unchanged, against, button });
}

/// The message was read again: the review that was asked for meanwhile. It waits on if there was no answer.
pub(super) fn open_if_asked(model: &mut Model, fx: &mut Effects) {
    let is_there = model.screen == Screen::Message && matches!(model.overlay, Overlay::None);
    let is_unread = model.message.as_ref().is_none_or(|screen| screen.unread);
    let Some(edit) = model.edit.as_mut().filter(|_| !is_unread) else { return };
    if std::mem::take(&mut edit.review_when_read) && is_there {
        open(model, fx);
    }
}

/// A button of the review.
pub(super) fn press(model: &mut Model, fx: &mut Effects) {
    let Overlay::Review(review) = &model.overlay else { return };
    let (button, against, unchanged) = (review.button, review.against, review.unchanged);
    // What comes of the button stands where the notice does.
    if let Some(edit) = model.edit.as_mut().filter(|_| button != Button::Back) {
        edit.notice = None;
    }
    if button != Button::Back && !review.pane.is_ready() {
        return model.acts.note("the difference is not there yet: nothing is sent unseen");
    }
    let verb = match (button, unchanged) {
        (Button::Back, _) => {
            model.overlay = Overlay::None;
            return;
        }
        (Button::Retry, false) => RepairVerb::SaveAndRetry,
        (Button::Retry, true) => RepairVerb::Retry,
        (Button::Save, false) => RepairVerb::Save,
        (Button::Save, true) => {
            model.overlay = Overlay::None;
            return model.acts.note("nothing was changed, so there is nothing to save");
        }
    };
    if !unchanged {
        return schema::submit(model, fx, verb, against);
    }
    let Some(edit) = &model.edit else { return };
    let message = edit.message.clone();
    if repair::send(model, fx, message, repair::Wanted::plain(verb, against)) {
        model.overlay = Overlay::None;
        edit::park(model);
    }
}
