//! What is typed into an editor before the disk has said whether there is a draft from before.

use crate::console::action::Action;
use crate::console::command::{Command, Mode};
use crate::console::model::{MessageRef, Model};

/// Keys that wait at most: a disk takes milliseconds, a person some keys a second, and a paste is one.
const MAX_AHEAD: usize = 1_024;

/// Keeps an action for later if it is for a text that isn't there yet; gives all others back.
pub(super) fn put_off(model: &mut Model, action: Action) -> Option<Action> {
    if model.mode() != Mode::Editor {
        return Some(action);
    }
    let Some(edit) = model.edit.as_mut().filter(|edit| edit.loading) else { return Some(action) };
    let is_for_text = match &action {
        Action::Input(_) | Action::Paste(_) => true,
        // Who types and leaves at once finds it in the draft.
        Action::Do(Command::Back) => !edit.ahead.is_empty(),
        Action::Do(command) => matches!(
            command,
            Command::Review
                | Command::EditUndo
                | Command::EditRedo
                | Command::Format
                | Command::Find
                | Command::FindNext
                | Command::GoToFault
        ),
        _ => false,
    };
    if !is_for_text {
        return Some(action);
    }
    if edit.ahead.len() < MAX_AHEAD {
        if let Action::Do(Command::Back) = action {
            let why = "the disk hasn't said whether there is a draft; what was typed waits for it";
            edit.notice = Some(why.to_owned());
        }
        edit.ahead.push(action);
    } else {
        edit.notice = Some("the disk doesn't answer; what is typed now is not taken".to_owned());
    }
    None
}

/// What waited for a message's text, which is there now.
pub(super) fn take_up(model: &mut Model, message: &MessageRef) -> Vec<Action> {
    let edit = model.edit.as_mut().filter(|edit| edit.message == *message);
    edit.map(|edit| std::mem::take(&mut edit.ahead)).unwrap_or_default()
}

/// What a key means now that those before it were taken.
pub(super) fn meant(model: &Model, action: Action) -> Action {
    match action {
        Action::Input(key) => {
            model.setup.keys.command(model.mode(), &key).map_or(Action::Input(key), Action::Do)
        }
        other => other,
    }
}
