//! The editor: its hold and its keys. Whatever happens, what was typed stays.

use bytes::Bytes;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effects, command as commands, draft, outside, repair, review};
use crate::admin::dto::{JournalKind, MAX_HOLD_MS, MessageState, Notice};
use crate::console::action::Failure;
use crate::console::command::{Command, Mode, Screen};
use crate::console::effect::{Effect, Request};
use crate::console::model::{
    EditIn, EditSession, HoldState, Link, MessageRef, Model, Overlay, Purpose, Standing, Verdict,
};
use crate::console::text::editor::{Editor, EditorInput};

/// A hold is renewed this long after it was taken: a third of its life, so that two renewals may be lost.
const RENEW_AFTER_MS: u64 = MAX_HOLD_MS / 3;

/// Edits that were left and are kept in memory as well as on disk: each may hold 16 MiB.
const MAX_PARKED: usize = 8;

/// `e`, `E`: opens the editor on the selected message; reads it first if it was not read yet.
pub(super) fn begin(model: &mut Model, fx: &mut Effects, place: EditIn) {
    let Some(message) = model.selected_message() else { return };
    if model.screen != Screen::Message {
        commands::open_message(model, message.clone());
    }
    let Some(screen) = &mut model.message else { return };
    if let Some(why) = &screen.gone {
        let why = why.clone();
        return refuse(model, &message, why);
    }
    let Some(view) = &screen.view else {
        screen.edit_when_read = Some(place);
        return model.acts.note(format!("reading {message} for the editor"));
    };
    if model.acts.in_flight.contains_key(&message) {
        let why = "a repair of it has no answer yet";
        return model.acts.refuse(format!("edit {message}"), why);
    }
    match view.summary.state {
        MessageState::Done | MessageState::Cancelled => {
            let why = format!("it is {}", view.summary.state);
            return refuse(model, &message, why);
        }
        MessageState::Scheduled
        | MessageState::Ready
        | MessageState::Leased
        | MessageState::Waiting
        | MessageState::Blocked => {}
    }
    let parked = model.parked.get(&message);
    match EditSession::open(message.clone(), view, &screen.payload, parked, model.setup.keys) {
        Ok(session) => {
            if session.loading {
                fx.push(Effect::LoadDraft(message.clone()));
            }
            model.acts.note(format!("editing {message}; nothing is sent before the review"));
            model.edit = Some(session);
            model.overlay = Overlay::None;
            take_hold(model, fx);
            outside::want(model, fx, place);
        }
        Err(why) => model.acts.refuse(format!("edit {message}"), why.to_string()),
    }
}

/// It can't be edited any more; what was typed for it before is not lost.
fn refuse(model: &mut Model, message: &MessageRef, why: String) {
    let text = "type {} draft to save its draft or throw it away; ";
    let keeps = match model.has_draft(message) {
        true => model.setup.keys.hint(Mode::Message, Command::Palette, text),
        false => String::new(),
    };
    // Why it can't stands in the message's first line as well.
    model.acts.refuse(format!("edit {message}"), keeps + &why);
}

pub(super) fn take_hold(model: &mut Model, fx: &mut Effects) {
    if model.connection.link != Link::Up || model.setup.read_only {
        return;
    }
    let now = model.now;
    let Some(edit) = &mut model.edit else { return };
    // While a hold is renewed it still holds.
    if edit.hold == HoldState::Free {
        edit.hold = HoldState::Asked(now);
    }
    let message = edit.message.clone();
    let purpose = Purpose::Hold(message.clone());
    if !model.awaits(&purpose) {
        model.ask(fx, purpose, Request::Hold(message, MAX_HOLD_MS));
    }
}

/// The answer to a hold.
pub(super) fn held(
    model: &mut Model,
    fx: &mut Effects,
    message: &MessageRef,
    result: Result<(), Failure>,
) {
    let now = model.now;
    match model.edit.as_mut().filter(|edit| edit.message == *message) {
        Some(edit) => {
            edit.hold = match result {
                Ok(()) => HoldState::Held(now),
                Err(Failure::Refused(problem)) => HoldState::Refused(problem.detail),
                Err(Failure::NotSent(_) | Failure::Unknown(_)) => HoldState::Free,
            };
        }
        // The editor was left before the hold was there.
        None if result.is_ok() => repair::release(model, fx, message),
        None => {}
    }
}

/// The connection is gone, and with it what is known of the hold.
pub(super) fn lost(model: &mut Model) {
    if let Some(edit) = &mut model.edit {
        edit.hold = HoldState::Free;
    }
}

/// The connection is back.
pub(super) fn reconnected(model: &mut Model, fx: &mut Effects) {
    if model.edit.is_some() {
        take_hold(model, fx);
    }
}

/// A second has passed: the hold is renewed, the text checked, the draft written.
pub(super) fn tick(model: &mut Model, fx: &mut Effects) {
    let now = model.now;
    let Some(edit) = &mut model.edit else { return };
    edit.editor.recheck();
    let renew = match &edit.hold {
        HoldState::Held(at) => now.since(*at) >= RENEW_AFTER_MS,
        HoldState::Asked(at) => now.since(*at) >= RENEW_AFTER_MS,
        HoldState::Free => true,
        HoldState::Refused(_) => false,
    };
    if renew {
        take_hold(model, fx);
    }
    draft::save_now(model, fx);
}

/// The message under the editor was read again: somebody may have changed it.
pub(super) fn shown(model: &mut Model, message: &MessageRef) {
    let both = model.setup.keys.hint(Mode::Editor, Command::Review, "; {} shows both");
    let Some(edit) = model.edit.as_mut().filter(|edit| edit.message == *message) else { return };
    let Some(view) = model.message.as_ref().and_then(|screen| screen.view.as_ref()) else { return };
    if view.summary.revision > edit.base
        && let Some(newest) = view.revisions.last()
    {
        edit.notice = Some(format!(
            "changed meanwhile: {} saved revision {}, you began from {}{both}",
            newest.by.name, newest.revision, edit.base
        ));
    }
}

/// Somebody did something to the message under the editor.
pub(super) fn notice(model: &mut Model, notice: &Notice) {
    let Notice::Journal { entry } = notice else { return };
    let Some(edit) = &mut model.edit else { return };
    if entry.seq != Some(edit.message.seq) || entry.queue != edit.message.queue {
        return;
    }
    let what = match entry.kind {
        JournalKind::Saved | JournalKind::SavedAndRetried | JournalKind::RevisionUndone => {
            "changed"
        }
        JournalKind::Retried => "retried",
        JournalKind::Cancelled => "cancelled",
        JournalKind::SentToDeadLetters => "dead-lettered",
        JournalKind::Moved => "moved to another queue",
        JournalKind::Dropped
        | JournalKind::QueueCreated
        | JournalKind::QueueDeleted
        | JournalKind::QueuePurged
        | JournalKind::SettingsChanged
        | JournalKind::Paused
        | JournalKind::Draining
        | JournalKind::Resumed
        | JournalKind::Blocked
        | JournalKind::SagaRetried
        | JournalKind::SagaSkipped
        | JournalKind::SagaAborted
        | JournalKind::SagaParked
        | JournalKind::Subscribed
        | JournalKind::Unsubscribed
        | JournalKind::WorkerFenced
        | JournalKind::Restored => return,
    };
    let who = &entry.actor;
    let both = model.setup.keys.hint(Mode::Editor, Command::Review, ", {} shows both");
    edit.notice =
        Some(format!("{what} meanwhile by {} ({}); your text stays{both}", who.name, who.via));
}

/// A command of the editor.
pub(super) fn command(model: &mut Model, fx: &mut Effects, command: Command) {
    match command {
        Command::Back => leave(model, fx),
        Command::Review => review::open(model, fx),
        Command::EditUndo => type_in(model, EditorInput::Undo),
        Command::EditRedo => type_in(model, EditorInput::Redo),
        Command::Format => type_in(model, EditorInput::Format),
        Command::FindNext => type_in(model, EditorInput::FindNext),
        Command::Find => model.overlay = Overlay::Find { typed: String::new() },
        Command::GoToFault => {
            if let Some(edit) = &mut model.edit {
                edit.editor.recheck();
                let version = edit.draft.version;
                if !edit.editor.jump_to_fault()
                    && let Standing::Told(Verdict::Misses(miss)) = edit.schema.standing(version)
                {
                    edit.editor.jump_to_value(&miss.path);
                }
            }
        }
        Command::Discard => discard(model),
        Command::EditOutside => outside::hand(model, fx),
        _ => {}
    }
}

/// A key that is text, or that moves.
pub(super) fn key(model: &mut Model, key: KeyEvent) {
    if let Some(input) = editor_input(key) {
        type_in(model, input);
    }
}

/// Types, moves, undoes.
pub(super) fn type_in(model: &mut Model, input: EditorInput) {
    let discards = model.setup.keys.hint(Mode::Editor, Command::Discard, "; {} discards it");
    let Some(edit) = model.edit.as_mut().filter(|edit| !edit.loading) else { return };
    if edit.raw.is_some() {
        edit.notice = Some(format!("a file that is no text is not typed in{discards}"));
        return;
    }
    let edits = changes_text(&input);
    match edit.editor.input(input) {
        Ok(true) if edits => model.touched(),
        Ok(_) => {}
        Err(why) => edit.notice = Some(why.to_string()),
    }
}

fn changes_text(input: &EditorInput) -> bool {
    match input {
        EditorInput::Char(_)
        | EditorInput::Newline
        | EditorInput::Tab
        | EditorInput::Paste(_)
        | EditorInput::Backspace
        | EditorInput::Delete
        | EditorInput::DeleteWord
        | EditorInput::DeleteToLineEnd
        | EditorInput::Undo
        | EditorInput::Redo
        | EditorInput::Format => true,
        EditorInput::Left
        | EditorInput::Right
        | EditorInput::Up
        | EditorInput::Down
        | EditorInput::WordLeft
        | EditorInput::WordRight
        | EditorInput::LineStart
        | EditorInput::LineEnd
        | EditorInput::PageUp
        | EditorInput::PageDown
        | EditorInput::Top
        | EditorInput::Bottom
        | EditorInput::FindNext
        | EditorInput::FindPrevious => false,
    }
}

fn editor_input(key: KeyEvent) -> Option<EditorInput> {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    Some(match (key.code, ctrl || alt) {
        (KeyCode::Char('a'), true) => EditorInput::LineStart,
        (KeyCode::Char('e'), true) => EditorInput::LineEnd,
        (KeyCode::Char('k'), true) => EditorInput::DeleteToLineEnd,
        (KeyCode::Char('w'), true) | (KeyCode::Backspace, true) => EditorInput::DeleteWord,
        (KeyCode::Left, true) => EditorInput::WordLeft,
        (KeyCode::Right, true) => EditorInput::WordRight,
        (KeyCode::Home, true) => EditorInput::Top,
        (KeyCode::End, true) => EditorInput::Bottom,
        (KeyCode::Char(c), false) => EditorInput::Char(c),
        (KeyCode::Enter, _) => EditorInput::Newline,
        (KeyCode::Tab, _) => EditorInput::Tab,
        (KeyCode::Backspace, false) => EditorInput::Backspace,
        (KeyCode::Delete, _) => EditorInput::Delete,
        (KeyCode::Left, false) => EditorInput::Left,
        (KeyCode::Right, false) => EditorInput::Right,
        (KeyCode::Up, _) => EditorInput::Up,
        (KeyCode::Down, _) => EditorInput::Down,
        (KeyCode::Home, false) => EditorInput::LineStart,
        (KeyCode::End, false) => EditorInput::LineEnd,
        (KeyCode::PageUp, _) => EditorInput::PageUp,
        (KeyCode::PageDown, _) => EditorInput::PageDown,
        _ => return None,
    })
}

/// `Esc`: back to the message; the draft stays, in memory and on disk, and the hold is given back.
fn leave(model: &mut Model, fx: &mut Effects) {
    draft::save_now(model, fx);
    let is_known = model.edit.as_ref().is_some_and(|edit| !edit.loading);
    let Some(message) = park(model) else { return };
    if model.parked.contains_key(&message) {
        let on = model.setup.keys.hint(Mode::Message, Command::Edit, "; {} goes on with it");
        model.acts.note(format!("the draft of {message} stays{on}"));
    } else if is_known {
        model.acts.note(format!("{message} is as it was"));
        draft::delete(model, fx, message.clone());
    }
    repair::release(model, fx, &message);
}

/// Closes the editor; what was typed is kept.
pub(super) fn park(model: &mut Model) -> Option<MessageRef> {
    let edit = model.edit.take()?;
    let message = edit.message.clone();
    if edit.is_dirty() {
        model.parked.insert(message.clone(), edit.park());
        forget_saved(model, &message);
    } else if !edit.loading {
        model.parked.remove(&message);
    }
    Some(message)
}

/// Keeps memory bounded: of many edits that were left, those that are on disk are read from there again.
fn forget_saved(model: &mut Model, latest: &MessageRef) {
    while model.parked.len() > MAX_PARKED {
        let on_disk = model.parked.iter().find(|(message, parked)| {
            *message != latest
                && parked.draft.saved == parked.draft.version
                && !model.acts.in_flight.contains_key(message)
        });
        let Some(message) = on_disk.map(|(message, _)| message.clone()) else { return };
        model.parked.remove(&message);
    }
}

/// `F8`: the broker's text in the draft's place; again: the draft.
fn discard(model: &mut Model) {
    let back = "; {} brings your draft back";
    let back = model.setup.keys.hint(Mode::Editor, Command::Discard, back);
    let Some(edit) = model.edit.as_mut().filter(|edit| !edit.loading) else { return };
    let Some(screen) = &model.message else { return };
    let Some(view) = &screen.view else { return };
    let other = match edit.other.take() {
        Some(draft) => {
            edit.notice = Some("your draft again".to_owned());
            draft
        }
        None => match Editor::from_bytes(edit.text_of(&screen.payload)) {
            Ok(editor) => {
                edit.base = view.summary.revision;
                edit.base_bytes = Bytes::copy_from_slice(edit.text_of(&screen.payload));
                edit.notice = Some(format!("the message as the broker has it{back}"));
                (editor, None)
            }
            Err(why) => return edit.notice = Some(why.to_string()),
        },
    };
    let editor = std::mem::replace(&mut edit.editor, other.0);
    edit.other = Some((editor, std::mem::replace(&mut edit.raw, other.1)));
    model.touched();
}
