//! What each command does on the screens.

use super::{
    Effects, acts, difference, draft, edit, enter, go, many, marks, overlay, page, patterns, undo,
};
use crate::console::command::{Command, Mode, Screen};
use crate::console::effect::Effect;
use crate::console::layout;
use crate::console::model::{
    EditIn, EditSession, FilePrompt, FileUse, Leaving, ManyAct, MessageRef, MessageScreen, Model,
    Motion, Overlay, QueueScreen,
};

/// Does `command`, or says why not.
pub(super) fn run(model: &mut Model, fx: &mut Effects, command: Command) {
    // These work whatever lies on top.
    match command {
        Command::Quit => return quit(model, fx),
        Command::Redraw => return fx.push(Effect::Redraw),
        Command::Suspend => return fx.push(Effect::Suspend),
        Command::Panic => panic!("a panic on purpose, asked for by --debug-panic-key"),
        _ => {}
    }
    if let Some(why) = model.why_off(command) {
        model.acts.refuse(name(model.mode(), command), why);
        return;
    }
    match model.mode() {
        Mode::Queues
        | Mode::Queue
        | Mode::Message
        | Mode::Workers
        | Mode::Journal
        | Mode::Events
        | Mode::Patterns => browse(model, fx, command),
        Mode::Editor => edit::command(model, fx, command),
        Mode::Find
        | Mode::Review
        | Mode::Difference
        | Mode::Filter
        | Mode::Palette
        | Mode::Leave
        | Mode::Many
        | Mode::Agree
        | Mode::Bulk
        | Mode::File
        | Mode::Quit
        | Mode::Help => overlay::command(model, fx, command),
    }
}

fn name(mode: Mode, command: Command) -> &'static str {
    crate::console::keymap::TABLE
        .iter()
        .find(|row| row.command == command && row.modes.contains(&mode))
        .map_or("this", |row| row.label)
}

fn quit(model: &mut Model, fx: &mut Effects) {
    let asking = matches!(model.overlay, Overlay::Quit(_));
    let open = model.edit.as_ref().is_some_and(EditSession::is_dirty);
    draft::save_now(model, fx);
    let saving = model.many.campaign.as_ref().is_some_and(|many| many.needs_console());
    if !asking && (open || saving || model.draft_trouble().is_some()) {
        let below = std::mem::take(&mut model.overlay);
        model.overlay = Overlay::Quit(Box::new(below));
        return;
    }
    fx.push(Effect::Quit);
}

/// The movement that a command is.
pub(super) const fn motion(command: Command) -> Option<Motion> {
    match command {
        Command::Down => Some(Motion::Rows(1)),
        Command::Up => Some(Motion::Rows(-1)),
        Command::HalfDown => Some(Motion::Halves(1)),
        Command::HalfUp => Some(Motion::Halves(-1)),
        Command::PageDown => Some(Motion::Pages(1)),
        Command::PageUp => Some(Motion::Pages(-1)),
        Command::Top => Some(Motion::First),
        Command::Bottom => Some(Motion::Last),
        _ => None,
    }
}

fn browse(model: &mut Model, fx: &mut Effects, command: Command) {
    if let Some(motion) = motion(command) {
        return page::go(model, fx, motion);
    }
    match command {
        Command::Enter => enter::open(model),
        Command::Back => back(model),
        Command::NextPane => next_pane(model),
        Command::Left => step_tab(model, -1),
        Command::Right => step_tab(model, 1),
        Command::Go(screen) => go_to(model, screen),
        Command::Workers => go_to(model, Screen::Workers),
        Command::Journal => go_to(model, Screen::Journal),
        Command::Filter => {
            let before = model.filter().map_or("", |filter| filter.typed()).to_owned();
            model.overlay = Overlay::Filter { typed: before.clone(), before };
        }
        Command::Sort => {
            model.queues.sort = model.queues.sort.next();
            model.acts.note(format!("queues: {}", model.queues.sort.title()));
        }
        Command::Keys => page::show_keys(model),
        Command::Help => model.overlay = Overlay::Help { scroll: 0 },
        Command::Palette => model.overlay = overlay::palette(model),
        Command::Refresh => page::refresh(model, fx),
        Command::Copy => acts::copy(model, fx),
        Command::Edit => edit::begin(model, fx, EditIn::Console),
        Command::EditOutside => edit::begin(model, fx, EditIn::Outside),
        Command::Retry => acts::retry(model, fx),
        Command::Cancel => acts::begin_leaving(model, fx, Leaving::Cancel),
        Command::DeadLetter => acts::begin_leaving(model, fx, Leaving::DeadLetter),
        Command::Move => acts::begin_leaving(model, fx, Leaving::Move),
        Command::RetryMany => many::begin(model, fx, ManyAct::Retry),
        Command::EditMany => many::begin(model, fx, ManyAct::EditAndRetry),
        Command::LastMany => many::show_last(model),
        Command::Mark | Command::MarkRange | Command::Unmark => marks::mark(model, fx, command),
        Command::Undo => undo::undo(model, fx),
        Command::PauseResume => acts::pause_or_resume(model, fx),
        Command::Subscribe | Command::RetrySaga | Command::SkipSaga | Command::EndPattern => {
            patterns::begin(model, fx, command);
        }
        Command::Difference => difference::open(model, fx),
        Command::Find => model.overlay = Overlay::Find { typed: String::new() },
        Command::BodyForm
        | Command::Fold
        | Command::FoldAll
        | Command::FindNext
        | Command::FindBefore => body(model, command),
        Command::SavePayload | Command::ReplacePayload => {
            if let Some(message) = model.selected_message() {
                let what = match command {
                    Command::ReplacePayload => FileUse::Replace(message),
                    _ => FileUse::Save(message),
                };
                model.overlay = Overlay::File(FilePrompt { what, typed: String::new() });
            }
        }
        Command::SaveDraft | Command::ThrowDraftAway => draft::begin(model, command),
        _ => {}
    }
}

fn back(model: &mut Model) {
    if marks::leave_range(model) {
        return;
    }
    if let Some(filter) = model.filter()
        && !filter.is_empty()
    {
        return page::set_filter(model, "");
    }
    match model.screen {
        Screen::Queues => {
            let quits = model.setup.keys.hint(Mode::Queues, Command::Quit, "; {} quits");
            model.acts.note(format!("this is the first screen{quits}"));
        }
        Screen::Queue if model.queue.as_ref().is_some_and(|queue| queue.by_key) => {
            page::show_keys(model);
        }
        Screen::Queue => go(model, Screen::Queues),
        Screen::Message => go(model, Screen::Queue),
        Screen::Workers | Screen::Journal | Screen::Events | Screen::Patterns => {
            let before = model.before;
            go(model, before);
        }
    }
    // The list behind a message must be that of its queue.
    if model.screen == Screen::Queue
        && let Some(queue) = model.message.as_ref().map(|screen| screen.message.queue.clone())
    {
        page::open_queue(model, queue);
    }
}

fn next_pane(model: &mut Model) {
    if layout::is_wide(model.size) {
        let middle = if model.message.is_some() && model.before == Screen::Message {
            Screen::Message
        } else {
            Screen::Queue
        };
        let next = match model.screen {
            Screen::Queues => middle,
            Screen::Queue | Screen::Message | Screen::Patterns => Screen::Workers,
            Screen::Workers => Screen::Events,
            Screen::Journal | Screen::Events => Screen::Queues,
        };
        return go_to(model, next);
    }
    if model.screen == Screen::Message {
        return step_tab(model, 1);
    }
    let next = match model.screen {
        Screen::Queues | Screen::Queue | Screen::Message => Screen::Workers,
        Screen::Workers => Screen::Journal,
        Screen::Journal => Screen::Events,
        Screen::Events => Screen::Patterns,
        Screen::Patterns => Screen::Queues,
    };
    go_to(model, next);
}

/// Keys of a message's payload.
fn body(model: &mut Model, command: Command) {
    let Some(screen) = model.message.as_mut().filter(|screen| screen.view.is_some()) else {
        return;
    };
    match command {
        Command::BodyForm => {
            screen.next_form();
            if !screen.is_text() {
                model.acts.note("the payload is no text: hex is its only form");
            }
        }
        Command::Fold | Command::FoldAll if screen.shows_tree() => {
            screen.fold(command == Command::FoldAll);
        }
        Command::Fold | Command::FoldAll => model.acts.note("v shows the payload as a tree"),
        _ if screen.query.is_empty() => model.acts.note("/ searches the payload"),
        _ => {
            if !screen.search_on(command == Command::FindNext) {
                let query = screen.query.clone();
                model.acts.note(format!("{query:?} is not in the payload"));
            }
        }
    }
}

fn step_tab(model: &mut Model, by: isize) {
    if model.screen == Screen::Patterns {
        model.patterns.tab = model.patterns.tab.step(by);
        return;
    }
    if let Some(screen) = &mut model.message {
        screen.open(screen.tab.step(by));
    }
}

/// A screen by its digit: of what is under the cursor where that makes sense.
pub(super) fn go_to(model: &mut Model, screen: Screen) {
    match screen {
        Screen::Queues | Screen::Workers | Screen::Journal | Screen::Events | Screen::Patterns => {
            go(model, screen)
        }
        Screen::Queue => {
            let chosen = match model.screen {
                Screen::Queues => model.selected_queue(),
                Screen::Queue
                | Screen::Message
                | Screen::Workers
                | Screen::Journal
                | Screen::Events
                | Screen::Patterns => None,
            };
            if let Some(queue) = chosen {
                page::open_queue(model, queue);
            }
            if model.queue.is_some() {
                go(model, Screen::Queue);
            } else {
                model
                    .acts
                    .note("there is no queue yet: mubroker send --queue orders '{\"hello\":1}'");
            }
        }
        Screen::Message => {
            if let Some(message) =
                model.selected_message().filter(|_| model.screen == Screen::Queue)
            {
                open_message(model, message);
            } else if model.message.is_some() {
                go(model, Screen::Message);
            } else {
                let keys = model.setup.keys;
                let queue = Command::Go(Screen::Queue);
                let how = keys.hint(model.screen.mode(), queue, ": {}")
                    + &keys.hint(Mode::Queue, Command::Enter, ", then {}");
                model.acts.note(format!("choose a message first{how}"));
            }
        }
    }
}

/// Shows a message.
pub(super) fn open_message(model: &mut Model, message: MessageRef) {
    if model.queue.as_ref().is_none_or(|queue| queue.name != message.queue) {
        model.queue = Some(QueueScreen::new(message.queue.clone()));
    }
    if model.message.as_ref().is_none_or(|screen| screen.message != message) {
        model.message = Some(MessageScreen::new(message));
    }
    if let Some(screen) = &mut model.message {
        screen.outdated = true;
    }
    go(model, Screen::Message);
}
