//! Drafts: what is typed is on disk within a second, and comes back from there.

use std::path::PathBuf;

use bytes::Bytes;

use super::{Effects, edit, repair};
use crate::console::command::{Command, Mode};
use crate::console::effect::{Effect, SavedDraft};
use crate::console::model::{
    DraftState, EditSession, FilePrompt, FileUse, MessageRef, Model, Overlay, ThrowForm,
};

/// Writes every draft of which something is neither on disk nor on its way there. The runner keeps their
/// order, and of the versions of one draft that wait only the newest.
pub(super) fn save_now(model: &mut Model, fx: &mut Effects) {
    if let Some(edit) = model.edit.as_mut().filter(|e| e.is_dirty() && e.draft.is_unsaved()) {
        let draft = edit.saved_form();
        fx.push(save(&edit.message, &mut edit.draft, draft));
    }
    for (message, parked) in model.parked.iter_mut().filter(|(_, p)| p.draft.is_unsaved()) {
        let draft = SavedDraft { bytes: parked.bytes.clone(), base: parked.base };
        fx.push(save(message, &mut parked.draft, draft));
    }
}

fn save(message: &MessageRef, state: &mut DraftState, draft: SavedDraft) -> Effect {
    state.saving = Some(state.version);
    Effect::SaveDraft { message: message.clone(), version: state.version, draft }
}

/// The disk has answered for a draft from before.
pub(super) fn loaded(
    model: &mut Model,
    fx: &mut Effects,
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
            if let Err(why) = edit.recall(&draft, model.setup.keys) {
                edit.notice = Some(format!("a draft from before can't be shown: {why}"));
            }
        }
        Ok(_) => {}
        Err(why) => edit.notice = Some(format!("drafts can't be read: {why}")),
    }
    // Nothing can be typed over bytes that are no text.
    if edit.binary && !edit.is_dirty() {
        model.edit = None;
        let text = "; {} can save it to a file or replace it";
        let palette = model.setup.keys.hint(Mode::Message, Command::Palette, text);
        model.acts.refuse(format!("edit {message}"), format!("not UTF-8{palette}"));
        repair::release(model, fx, message);
    }
}

/// Another console of this user edits the message, too: each has a draft of its own.
pub(super) fn elsewhere(model: &mut Model, message: &MessageRef) {
    if let Some(edit) = model.edit.as_mut().filter(|edit| edit.message == *message) {
        edit.notice = Some(match edit.notice.take() {
            // What is in the editor counts more.
            Some(notice) => format!("{notice}; another console edits it"),
            None => "another console of yours edits it too; its draft is not touched".to_owned(),
        });
    }
}

/// What it held is at the broker, or was thrown away.
pub(super) fn delete(model: &mut Model, fx: &mut Effects, message: MessageRef) {
    model.kept.remove(&message);
    fx.push(Effect::DeleteDraft(message));
}

/// The disk has answered for a draft that was to be removed. A message may have others: of a console that has ended since,
/// or an older one. They are told of, and offered when it is edited again.
pub(super) fn removed(
    model: &mut Model,
    message: MessageRef,
    left: Result<bool, String>,
    by_hand: bool,
) {
    match left {
        Ok(left) => {
            if by_hand {
                let more = if left { "; there is another one" } else { "" };
                model.acts.note(format!("the draft of {message} is thrown away{more}"));
            }
            if left {
                model.kept.insert(message);
            } else {
                model.kept.remove(&message);
            }
        }
        Err(why) => {
            model.acts.note(why);
            model.kept.insert(message);
        }
    }
}

/// What was typed for a message is to be written to a file, or thrown away: asks to which, or for its place.
pub(super) fn begin(model: &mut Model, command: Command) {
    let Some(message) = model.selected_message() else { return };
    if !model.has_draft(&message) {
        return model.acts.note(format!("there is no draft of {message}"));
    }
    let typed = String::new();
    if command == Command::SaveDraft {
        let what = FileUse::Draft(message);
        model.overlay = Overlay::File(FilePrompt { what, typed });
    } else if model.acts.in_flight.contains_key(&message) {
        let why = "a repair of it has no answer yet";
        model.acts.refuse(format!("throw the draft of {message} away"), why);
    } else {
        model.overlay = Overlay::Throw(ThrowForm { message, typed, complains: false });
    }
}

/// The place was typed, or something else.
pub(super) fn throw_away(model: &mut Model, fx: &mut Effects, form: ThrowForm) {
    if !form.is_right() {
        model.overlay = Overlay::Throw(ThrowForm { complains: true, ..form });
        return;
    }
    let message = form.message;
    // What is in memory is this console's, whether it is on disk or not: another one's isn't thrown away for it.
    if model.parked.remove(&message).is_some() {
        model.acts.note(format!("the draft of {message} is thrown away"));
        return delete(model, fx, message);
    }
    model.kept.remove(&message);
    fx.push(Effect::ThrowDraftAway(message));
}

/// Into a file: what is in memory is the newest.
pub(super) fn copy(model: &Model, fx: &mut Effects, message: MessageRef, path: PathBuf) {
    fx.push(match model.parked.get(&message) {
        Some(parked) => Effect::WriteFile(path, parked.bytes.clone()),
        None => Effect::CopyDraft(message, path),
    });
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
            // It is done with: it was removed after this, or will be.
            None => return,
        },
    };
    if result.is_ok() {
        model.kept.insert(message.clone());
    }
    if state.saving == Some(version) {
        state.saving = None;
    }
    match result {
        Ok(()) => {
            state.saved = state.saved.max(version);
            // What an older version's answer says is no comfort for a newer one that failed.
            if state.saved >= state.version {
                state.trouble = None;
            }
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
    // What is typed meanwhile is neither replaced nor sent as the file.
    if model.edit.as_ref().is_some_and(|edit| edit.message == *message) {
        return model.acts.refuse(what, "it is being edited: leave that first (the draft stays)");
    }
    let Some(view) = &screen.view else { return };
    let parked = model.parked.get(message);
    let keys = model.setup.keys;
    let opened = EditSession::open(message.clone(), view, &screen.payload, parked, keys);
    let mut session = match opened {
        Ok(session) => session,
        Err(why) => return model.acts.refuse(what, why.to_string()),
    };
    if let Err(why) = session.replace(&bytes, view.summary.revision, keys) {
        return model.acts.refuse(what, why.to_string());
    }
    model.edit = Some(session);
    model.touched();
    edit::take_hold(model, fx);
    save_now(model, fx);
}
