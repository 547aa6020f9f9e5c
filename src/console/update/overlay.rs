//! Prompts, the palette, the help, the review and the difference: what lies on top of a screen.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::path::PathBuf;

use super::command::motion;
use super::{
    Effects, command as commands, difference, draft, edit, many, page, patterns, repair, review,
    schema,
};
use crate::console::command::{Command, Screen};
use crate::console::effect::{Effect, Request};
use crate::console::layout;
use crate::console::model::{
    FileUse, LeaveField, MessageRef, Model, Motion, Overlay, Palette, PaletteEntry, Purpose,
};
use crate::console::text::editor::EditorInput;
use crate::console::{help, keymap};

/// What is typed into one line, in characters: more than any filter, name or reason needs.
const MAX_TYPED_CHARS: usize = 1_000;

/// A command while something lies on top.
pub(super) fn command(model: &mut Model, fx: &mut Effects, command: Command) {
    if command == Command::ClearLine {
        if let Some(typed) = typed_line(model) {
            typed.clear();
            typed_changed(model);
        }
        return;
    }
    if matches!(model.overlay, Overlay::Many) {
        return many::command(model, fx, command);
    }
    match command {
        Command::Dismiss => dismiss(model),
        Command::Accept => accept(model, fx),
        Command::NextField => next_field(model, fx),
        Command::Left if matches!(model.overlay, Overlay::Review(_)) => {
            if let Overlay::Review(review) = &mut model.overlay {
                review.button = review.button.step(-1);
            }
        }
        Command::Left | Command::Right | Command::NewerBefore | Command::NewerAfter => {
            difference::step(model, fx, command);
        }
        Command::Palette => model.overlay = palette(model),
        other => {
            if let Some(motion) = motion(other) {
                scroll(model, motion);
            }
        }
    }
}

fn dismiss(model: &mut Model) {
    if let Overlay::Filter { before, .. } = &model.overlay {
        let before = before.clone();
        page::set_filter(model, &before);
    }
    model.overlay = match std::mem::take(&mut model.overlay) {
        Overlay::File(prompt) if prompt.what == FileUse::Failed => Overlay::Many,
        Overlay::Quit(below) => *below,
        _ => Overlay::None,
    };
}

fn accept(model: &mut Model, fx: &mut Effects) {
    match std::mem::take(&mut model.overlay) {
        Overlay::None
        | Overlay::Many
        | Overlay::Help { .. }
        | Overlay::Difference(_)
        | Overlay::Filter { .. } => {}
        Overlay::Quit(_) => fx.push(Effect::Quit),
        Overlay::Find { typed } => {
            if let Some(edit) = &mut model.edit {
                if !edit.editor.find(&typed) && !typed.is_empty() {
                    edit.notice = Some(format!("{typed:?} is not in the text"));
                }
            } else if let Some(screen) = &mut model.message
                && !screen.search(&typed)
                && !typed.is_empty()
            {
                model.acts.note(format!("{typed:?} is not in the payload"));
            }
        }
        Overlay::Palette(palette) => {
            if let Some(entry) = palette.matches().get(palette.at).cloned() {
                choose(model, fx, entry);
            }
        }
        Overlay::File(prompt) => {
            if !prompt.typed.is_empty() {
                use_file(model, fx, prompt.what, PathBuf::from(&prompt.typed));
            }
        }
        open @ Overlay::Review(_) => {
            model.overlay = open;
            review::press(model, fx);
        }
        Overlay::Pattern(form) => patterns::accept(model, fx, form),
        Overlay::Reason(form) => schema::accept(model, fx, form),
        Overlay::Throw(form) => draft::throw_away(model, fx, form),
        Overlay::Leave(mut form) => match form.check() {
            Err((field, complaint)) => {
                (form.field, form.complaint) = (field, Some(complaint));
                model.overlay = Overlay::Leave(form);
            }
            Ok(to) => {
                let wanted = repair::Wanted {
                    verb: form.leaving.verb(),
                    expect: form.revision,
                    to,
                    reason: form.reason.trim().to_owned(),
                    submitted: None,
                };
                repair::send(model, fx, form.message, wanted);
            }
        },
    }
}

fn use_file(model: &mut Model, fx: &mut Effects, what: FileUse, path: PathBuf) {
    match what {
        FileUse::Replace(message) => fx.push(Effect::ReadFile(message, path)),
        FileUse::Save(message) => {
            if let Some(screen) = model.message.as_ref().filter(|it| it.message == message) {
                fx.push(Effect::WriteFile(path, screen.payload.clone()));
            }
        }
        FileUse::Draft(message) => draft::copy(model, fx, message, path),
        FileUse::Failed => many::save_failed(model, fx, path),
    }
}

fn choose(model: &mut Model, fx: &mut Effects, entry: PaletteEntry) {
    match entry {
        PaletteEntry::Command(row) => commands::run(model, fx, row.command),
        PaletteEntry::Elsewhere(row) => {
            let key = row.keys.first().map_or(String::new(), |key| format!(": {}", key.name()));
            model.acts.note(format!("{} works on {}{key}", row.label, keymap::places(row)));
        }
        PaletteEntry::Queue(queue) => {
            page::open_queue(model, queue.clone());
            model.queues.at = Some(queue);
            super::go(model, Screen::Queue);
        }
        PaletteEntry::Message(message, _)
        | PaletteEntry::Place(message)
        | PaletteEntry::Draft(message) => {
            commands::open_message(model, message);
        }
        PaletteEntry::Locate(id) => {
            if let Some(why) = model.why_unsendable() {
                return model.acts.refuse(format!("find {id}"), why);
            }
            model.acts.note(format!("asking for {id}"));
            model.ask(fx, Purpose::Locate(id.clone()), Request::Locate(id));
        }
        PaletteEntry::Panic => commands::run(model, fx, Command::Panic),
    }
}

fn next_field(model: &mut Model, fx: &mut Effects) {
    match &mut model.overlay {
        Overlay::Review(review) => review.button = review.button.step(1),
        Overlay::Leave(form) => form.next_field(),
        Overlay::Pattern(form) => form.next_field(),
        Overlay::Difference(_) => difference::toggle(model, fx),
        Overlay::None
        | Overlay::Help { .. }
        | Overlay::Palette(_)
        | Overlay::Filter { .. }
        | Overlay::Find { .. }
        | Overlay::Reason(_)
        | Overlay::Throw(_)
        | Overlay::File(_)
        | Overlay::Many
        | Overlay::Quit(_) => {}
    }
}

fn scroll(model: &mut Model, motion: Motion) {
    let area = layout::main_area(model.size);
    let height = usize::from(area.height);
    let (here, read_only) = (model.screen.mode(), model.setup.read_only);
    let keys = model.setup.keys;
    match &mut model.overlay {
        Overlay::Help { scroll } => {
            let last =
                help::lines(keys, here, read_only, area.width.into()).len().saturating_sub(height);
            *scroll = motion.scrolled(*scroll, height).min(last);
        }
        Overlay::Review(review) => review.pane.go(motion),
        Overlay::Difference(difference) => difference.pane.go(motion),
        Overlay::Palette(palette) => {
            let last = palette.matches().len().saturating_sub(1);
            let by = if let Motion::Rows(n) = motion { n } else { 0 };
            palette.at = palette.at.saturating_add_signed(by).min(last);
        }
        Overlay::None
        | Overlay::Filter { .. }
        | Overlay::Find { .. }
        | Overlay::Leave(_)
        | Overlay::Pattern(_)
        | Overlay::Reason(_)
        | Overlay::Throw(_)
        | Overlay::File(_)
        | Overlay::Many
        | Overlay::Quit(_) => {}
    }
}

/// The palette of this screen.
pub(super) fn palette(model: &Model) -> Overlay {
    let (keys, mode) = (model.setup.keys, model.screen.mode());
    let here = keys.palette(mode).map(PaletteEntry::Command);
    let elsewhere = keys.elsewhere(mode).map(PaletteEntry::Elsewhere);
    let drafts = model.drafts().cloned().map(PaletteEntry::Draft);
    let queues = model.queues.rows.keys().cloned().map(PaletteEntry::Queue);
    let of = model.queue.iter().flat_map(|queue| {
        let at = |seq| MessageRef { queue: queue.name.clone(), seq };
        queue.rows.values().map(move |row| PaletteEntry::Message(at(row.seq), row.id.clone()))
    });
    // Of the queues that are not listed, the heads: who comes with a short id comes for one of these mostly.
    let listed = model.queue.as_ref().map(|queue| &queue.name);
    let others = model.queues.rows.iter().filter(|(name, _)| Some(*name) != listed);
    let heads = others.filter_map(|(name, row)| {
        let head = row.view.head.as_ref()?;
        let at = MessageRef { queue: name.clone(), seq: head.seq };
        Some(PaletteEntry::Message(at, head.id.clone()?))
    });
    let panic = model.setup.debug_panic.then_some(PaletteEntry::Panic);
    let all = here.chain(elsewhere).chain(drafts).chain(queues).chain(of).chain(heads).chain(panic);
    Overlay::Palette(Palette::new(all))
}

/// A key that is text.
pub(super) fn input(model: &mut Model, _fx: &mut Effects, key: KeyEvent) {
    if matches!(model.overlay, Overlay::None) {
        return edit::key(model, key);
    }
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return;
    }
    if matches!(key.code, KeyCode::Char(_)) {
        many::replace_preset(&mut model.many, &model.overlay);
    }
    let Some(typed) = typed_line(model) else { return };
    match key.code {
        KeyCode::Char(c) if typed.chars().count() < MAX_TYPED_CHARS => typed.push(c),
        KeyCode::Backspace => {
            typed.pop();
        }
        _ => return,
    }
    typed_changed(model);
}

/// Text that was pasted: into the line that is typed, or the editor; elsewhere it is no command.
pub(super) fn paste(model: &mut Model, text: &str) {
    if matches!(model.overlay, Overlay::None) {
        return edit::type_in(model, EditorInput::Paste(text.to_owned()));
    }
    many::replace_preset(&mut model.many, &model.overlay);
    let Some(typed) = typed_line(model) else { return };
    let room = MAX_TYPED_CHARS.saturating_sub(typed.chars().count());
    typed.extend(text.chars().filter(|c| !c.is_control()).take(room));
    typed_changed(model);
}

fn typed_line(model: &mut Model) -> Option<&mut String> {
    match &mut model.overlay {
        Overlay::Many => many::typed_line(&mut model.many),
        Overlay::Filter { typed, .. } | Overlay::Find { typed } => Some(typed),
        Overlay::Palette(palette) => Some(&mut palette.typed),
        Overlay::File(prompt) => Some(&mut prompt.typed),
        Overlay::Leave(form) => Some(form.typed()),
        Overlay::Pattern(form) => form.typed(),
        Overlay::Reason(form) => Some(&mut form.typed),
        Overlay::Throw(form) => Some(&mut form.typed),
        Overlay::None
        | Overlay::Help { .. }
        | Overlay::Review(_)
        | Overlay::Difference(_)
        | Overlay::Quit(_) => None,
    }
}

fn typed_changed(model: &mut Model) {
    match &mut model.overlay {
        Overlay::Filter { typed, .. } => {
            let typed = typed.clone();
            page::set_filter(model, &typed);
        }
        Overlay::Palette(palette) => palette.search(),
        Overlay::Many => many::typed_changed(&mut model.many),
        Overlay::Pattern(form) => form.was_typed(),
        Overlay::Reason(form) => form.complains = false,
        Overlay::Throw(form) => form.complains = false,
        Overlay::Leave(form) => {
            form.complaint = None;
            // Typing goes on with the next line once the id is right.
            if form.field == LeaveField::Id && form.typed_id == form.short_id {
                form.next_field();
            }
        }
        Overlay::None
        | Overlay::Help { .. }
        | Overlay::Find { .. }
        | Overlay::File(_)
        | Overlay::Review(_)
        | Overlay::Difference(_)
        | Overlay::Quit(_) => {}
    }
}
