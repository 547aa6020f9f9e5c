//! What each command does on the screens.

use super::{
    Effects, difference, draft, edit, enter, go, many, marks, overlay, page, patterns, repair,
};
use crate::admin::dto::{MessageState, RepairVerb};
use crate::console::clipboard::MAX_COPY_BYTES;
use crate::console::command::{Command, Mode, Screen};
use crate::console::effect::{Effect, Request};
use crate::console::layout;
use crate::console::model::{
    EditIn, EditSession, FilePrompt, FileUse, LeaveForm, Leaving, ManyAct, MessageRef,
    MessageScreen, Model, Motion, Overlay, Purpose, QueueScreen, verb_text,
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
        Command::Copy => copy(model, fx),
        Command::Edit => edit::begin(model, fx, EditIn::Console),
        Command::EditOutside => edit::begin(model, fx, EditIn::Outside),
        Command::Retry => retry(model, fx),
        Command::Cancel => begin_leaving(model, fx, Leaving::Cancel),
        Command::DeadLetter => begin_leaving(model, fx, Leaving::DeadLetter),
        Command::Move => begin_leaving(model, fx, Leaving::Move),
        Command::RetryMany => many::begin(model, fx, ManyAct::Retry),
        Command::EditMany => many::begin(model, fx, ManyAct::EditAndRetry),
        Command::LastMany => many::show_last(model),
        Command::Mark | Command::MarkRange | Command::Unmark => marks::mark(model, fx, command),
        Command::Undo => repair::undo(model, fx),
        Command::PauseResume => pause_or_resume(model, fx),
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
        Command::BodyForm => screen.next_form(),
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

fn copy(model: &mut Model, fx: &mut Effects) {
    let (what, text) = match model.screen {
        Screen::Message => {
            let Some(screen) = model.message.as_ref().filter(|screen| screen.view.is_some()) else {
                return model.acts.note("nothing to copy yet");
            };
            match std::str::from_utf8(&screen.payload) {
                Ok(text) => ("the payload", text.to_owned()),
                Err(_) => return model.acts.refuse("copy", "the payload is not UTF-8"),
            }
        }
        Screen::Queue if model.queue.as_ref().is_some_and(|queue| queue.by_key) => {
            let queue = model.queue.as_ref();
            let key = queue.and_then(|queue| queue.keys.selected(&queue.filter)?.key.clone());
            match key {
                Some(key) => ("the order key", key),
                None => return model.acts.note("nothing to copy"),
            }
        }
        Screen::Queue => match model.queue.as_ref().and_then(|queue| queue.selected()) {
            Some(row) => ("the id", row.id.to_string()),
            None => return model.acts.note("nothing to copy"),
        },
        Screen::Patterns => match model.patterns.copied() {
            Some(copied) => copied,
            None => return model.acts.note("nothing to copy"),
        },
        Screen::Queues | Screen::Workers | Screen::Journal | Screen::Events => {
            match model.selected_queue() {
                Some(queue) => ("the queue's name", queue.to_string()),
                None => return model.acts.note("nothing to copy"),
            }
        }
    };
    if text.len() > MAX_COPY_BYTES {
        let why = format!("{} bytes are too many for a terminal; save it to a file", text.len());
        return model.acts.refuse("copy", why);
    }
    model.acts.note(format!("handed {what} to the terminal's clipboard (OSC 52)"));
    fx.push(Effect::Copy(text));
}

/// An unedited retry needs no question.
fn retry(model: &mut Model, fx: &mut Effects) {
    match model.screen {
        Screen::Queues => {
            let Some(row) = model.queues.selected() else { return };
            let queue = row.view.name.clone();
            let head = row.view.head.as_ref();
            let Some(head) = head.filter(|head| is_retriable(head.state)) else {
                return model.acts.refuse(format!("retry in {queue}"), "its head has not failed");
            };
            let message = MessageRef { queue, seq: head.seq };
            model.acts.begin(format!("retry {message}"), Some(message.clone()));
            model.ask(fx, Purpose::RetryHead(message.clone()), Request::Message(message));
        }
        Screen::Queue if model.queue.as_ref().is_some_and(|queue| queue.by_key) => {
            let Some(message) = model.selected_message() else { return };
            model.acts.begin(format!("retry {message}"), Some(message.clone()));
            model.ask(fx, Purpose::RetryHead(message.clone()), Request::Message(message));
        }
        Screen::Queue | Screen::Message => {
            let Some((message, state, revision)) = seen(model) else { return };
            if !is_retriable(state) {
                let why = format!("it is {state}; only what failed is retried");
                return model.acts.refuse(format!("retry {message}"), why);
            }
            repair::send(model, fx, message, repair::Wanted::plain(RepairVerb::Retry, revision));
        }
        Screen::Workers | Screen::Journal | Screen::Events | Screen::Patterns => {}
    }
}

/// Blocked and waiting messages can be retried, and scheduled ones sent on at once.
pub(in crate::console) const fn is_retriable(state: MessageState) -> bool {
    match state {
        MessageState::Blocked | MessageState::Waiting | MessageState::Scheduled => true,
        MessageState::Ready
        | MessageState::Leased
        | MessageState::Done
        | MessageState::Cancelled => false,
    }
}

/// The selected message with the state and the revision that are on the screen.
fn seen(model: &Model) -> Option<(MessageRef, MessageState, crate::admin::dto::Revision)> {
    let message = model.selected_message()?;
    let summary = match model.screen {
        Screen::Message => &model.message.as_ref()?.view.as_ref()?.summary,
        Screen::Queue => model.queue.as_ref().filter(|queue| !queue.by_key)?.selected()?,
        Screen::Queues | Screen::Workers | Screen::Journal | Screen::Events | Screen::Patterns => {
            return None;
        }
    };
    Some((message, summary.state, summary.revision))
}

fn begin_leaving(model: &mut Model, fx: &mut Effects, leaving: Leaving) {
    if model.screen == Screen::Queue && marks::has_marks(model) {
        let act = match leaving {
            Leaving::Cancel => ManyAct::Cancel,
            Leaving::DeadLetter => ManyAct::DeadLetter,
            Leaving::Move => ManyAct::Move,
        };
        return many::begin(model, fx, act);
    }
    let Some((message, state, revision)) = seen(model) else {
        let how = model.setup.keys.hint(model.mode(), Command::Enter, ": {}");
        return model.acts.note(format!("open the message first{how}"));
    };
    let id = match model.screen {
        Screen::Message => {
            model.message.as_ref().and_then(|m| m.view.as_ref()).map(|v| v.summary.id.clone())
        }
        _ => model.queue.as_ref().and_then(|q| q.selected()).map(|row| row.id.clone()),
    };
    let Some(id) = id else { return };
    if matches!(state, MessageState::Done | MessageState::Cancelled) {
        let what = format!("{} {message}", verb_text(leaving.verb()));
        return model.acts.refuse(what, format!("it is {state} already"));
    }
    model.overlay = Overlay::Leave(LeaveForm::new(message, id, revision, leaving));
}

fn pause_or_resume(model: &mut Model, fx: &mut Effects) {
    let Some(queue) = model.selected_queue() else {
        return model.acts.note("choose a queue first; of a topic, one of its subscriptions");
    };
    let Some(row) = model.queues.rows.get(&queue) else { return };
    let paused = row.view.paused.is_none() && row.view.draining.is_none();
    repair::set_paused(model, fx, queue, paused);
}
