//! Drafts: what is typed is on disk within a second, and comes back from there.

use bytes::Bytes;

use super::{Effects, edit};
use crate::console::effect::{Effect, SavedDraft};
use crate::console::model::{EditSession, MessageRef, Model};

/// Writes the draft if something in it is not on disk yet.
pub(super) fn save_now(model: &mut Model, fx: &mut Effects) {
    let Some(edit) = model.edit.as_mut().filter(|edit| edit.must_save()) else { return };
    edit.draft.saving = Some(edit.draft.version);
    fx.push(Effect::SaveDraft {
        message: edit.message.clone(),
        version: edit.draft.version,
        draft: edit.saved_form(),
    });
}

/// The disk has answered for a draft from before.
pub(super) fn loaded(
    model: &mut Model,
    message: &MessageRef,
    draft: Result<Option<SavedDraft>, String>,
) {
    let Some(edit) = model.edit.as_mut().filter(|edit| edit.message == *message && edit.loading)
    else {
        return;
    };
    edit.loading = false;
    match draft {
        Ok(Some(draft)) if draft.bytes != edit.base_bytes => {
            if let Err(why) = edit.recall(&draft) {
                edit.notice = Some(format!("a draft from before can't be shown: {why}"));
            }
        }
        Ok(_) => {}
        Err(why) => edit.notice = Some(format!("drafts can't be read: {why}")),
    }
}

/// The disk has answered for a draft that was to be written.
pub(super) fn saved(
    model: &mut Model,
    message: &MessageRef,
    version: u64,
    result: Result<(), String>,
) {
    let open = model.edit.as_mut().filter(|edit| edit.message == *message);
    let state = match open {
        Some(edit) => &mut edit.draft,
        None => match model.parked.get_mut(message) {
            Some(parked) => &mut parked.draft,
            None => return,
        },
    };
    if state.saving == Some(version) {
        state.saving = None;
    }
    match result {
        Ok(()) => {
            state.saved = state.saved.max(version);
            state.trouble = None;
        }
        Err(why) => state.trouble = Some(why),
    }
}

/// A file's bytes take the place of the text; nothing is sent before the review.
pub(super) fn file_read(
    model: &mut Model,
    fx: &mut Effects,
    message: &MessageRef,
    result: Result<Bytes, String>,
) {
    let what = format!("replace the payload of {message}");
    let bytes = match result {
        Ok(bytes) => bytes,
        Err(why) => return model.acts.refuse(what, why),
    };
    let Some(screen) = model.message.as_ref().filter(|screen| screen.message == *message) else {
        return model.acts.refuse(what, "another message is shown now");
    };
    let Some(view) = &screen.view else { return };
    // The message itself need not be text; what replaces it is typed over nothing.
    let shown = if screen.is_text() { screen.payload.clone() } else { Bytes::new() };
    match EditSession::open(message.clone(), view, &shown, None) {
        Ok(mut session) => {
            let draft = SavedDraft { bytes, base: session.base };
            if let Err(why) = session.recall(&draft) {
                return model.acts.refuse(what, why.to_string());
            }
            session.loading = false;
            session.touched();
            session.notice = Some("read from the file; ^S shows the difference".to_owned());
            model.edit = Some(session);
            edit::take_hold(model, fx);
            save_now(model, fx);
        }
        Err(why) => model.acts.refuse(what, why.to_string()),
    }
}
