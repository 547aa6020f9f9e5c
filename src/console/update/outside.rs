//! The operator's own editor: it gets the text, and what it leaves is reviewed as anything that is typed here.

use bytes::Bytes;

use super::{Effects, draft};
use crate::console::command::{Command, Mode};
use crate::console::effect::Effect;
use crate::console::model::{EditIn, MessageRef, Model, Outside};

/// Payloads beyond this are handed out at once where there is an editor: here each key costs time with the text's length.
const LARGE_BYTES: usize = 256 * 1024;

/// The editor was opened: `E`, or a payload that is large, goes on outside.
pub(super) fn want(model: &mut Model, fx: &mut Effects, place: EditIn) {
    let has_editor = model.setup.editor.is_some();
    let Some(edit) = &mut model.edit else { return };
    let size = edit.base_bytes.len();
    let is_large = size > LARGE_BYTES;
    if is_large && !has_editor {
        edit.notice = Some(format!(
            "{} KiB: set $EDITOR to edit it outside; here it is checked when you pause",
            size / 1024
        ));
    } else if is_large && place == EditIn::Console {
        edit.notice = Some(format!("{} KiB: handed to $EDITOR", size / 1024));
    }
    if (is_large && has_editor) || place == EditIn::Outside {
        edit.outside = Some(Outside::Wanted);
        if !edit.loading {
            hand(model, fx);
        }
    }
}

/// The disk has said whether there is a draft.
pub(super) fn loaded(model: &mut Model, fx: &mut Effects, message: &MessageRef) {
    let wanted = model.edit.as_ref().is_some_and(|edit| {
        edit.message == *message && !edit.loading && edit.outside == Some(Outside::Wanted)
    });
    if wanted {
        hand(model, fx);
    }
}

/// `^O`: gives the text to the editor.
pub(super) fn hand(model: &mut Model, fx: &mut Effects) {
    draft::save_now(model, fx);
    let has_editor = model.setup.editor.is_some();
    let saves = model.setup.keys.hint(Mode::Message, Command::Palette, "; {} saves it to a file");
    let Some(edit) = model.edit.as_mut().filter(|edit| !edit.loading) else { return };
    if edit.outside == Some(Outside::Has) {
        return;
    }
    edit.outside = None;
    if !has_editor {
        edit.notice = Some("neither $VISUAL nor $EDITOR is set; start the console with one".into());
    } else if edit.raw.is_some() || edit.binary {
        edit.notice = Some(format!("what is no text is not edited{saves}"));
    } else {
        edit.outside = Some(Outside::Has);
        fx.push(Effect::EditOutside(edit.message.clone(), edit.bytes()));
    }
}

/// The editor has ended.
pub(super) fn back(
    model: &mut Model,
    fx: &mut Effects,
    message: &MessageRef,
    result: Result<Bytes, String>,
) {
    let shows = model.setup.keys.hint(Mode::Editor, Command::Review, ": {} shows the difference");
    let Some(edit) = model.edit.as_mut().filter(|edit| edit.message == *message) else { return };
    if edit.outside.take() != Some(Outside::Has) {
        return;
    }
    let had = edit.bytes();
    let text = match &result {
        Ok(bytes) => std::str::from_utf8(bytes).map_err(|_| "what it left is not UTF-8".to_owned()),
        Err(why) => Err(why.clone()),
    };
    let text = match text {
        Ok(text) => text,
        Err(why) => return edit.notice = Some(format!("$EDITOR: {why}")),
    };
    // Most editors end a file with a newline that nobody typed.
    let added = !had.ends_with(b"\n") && text.ends_with('\n');
    let text = if added { text.strip_suffix('\n').unwrap_or(text) } else { text };
    let note = if added { "; the newline that it put at the end is left out" } else { "" };
    match edit.editor.set(text) {
        Ok(true) => {
            edit.notice = Some(format!("back from $EDITOR{shows}{note}"));
            model.touched();
            draft::save_now(model, fx);
        }
        Ok(false) => edit.notice = Some("back from $EDITOR: nothing was changed".to_owned()),
        Err(why) => edit.notice = Some(format!("$EDITOR: {why}")),
    }
}
