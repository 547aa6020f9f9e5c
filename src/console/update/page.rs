//! Lists: moving, filtering, and reading on demand what the cursor comes near to.

use super::{Effects, patterns};
use crate::admin::dto::{Ordering, QueueName};
use crate::console::command::Screen;
use crate::console::effect::{Effect, Request};
use crate::console::filter::Filter;
use crate::console::layout;
use crate::console::model::{Link, Marks, Model, Motion, PAGE, Purpose, QueueScreen};

/// What stands around a message is asked for at most this often.
const BESIDE_MS: u64 = 1_000;
/// And once less in a second for each so many bytes: a link of an operator at night must have room for more.
const BESIDE_BYTES: u64 = 256 * 1024;

/// Moves the cursor of the current screen.
pub(super) fn go(model: &mut Model, fx: &mut Effects, motion: Motion) {
    let height = model.list_height(model.screen);
    match model.screen {
        Screen::Queues => model.queues.go(motion, height),
        Screen::Queue => go_in_queue(model, fx, motion, height),
        Screen::Message => {
            if let Some(screen) = &mut model.message {
                screen.go(motion);
            }
        }
        Screen::Workers => model.workers.go(motion, height),
        Screen::Journal => model.journal.go(motion, height),
        Screen::Events => model.events.go(motion, height),
        Screen::Patterns => model.patterns.go(motion, height),
    }
}

fn go_in_queue(model: &mut Model, fx: &mut Effects, motion: Motion, height: usize) {
    let Some(queue) = &mut model.queue else { return };
    if queue.by_key {
        return queue.keys.go(motion, &queue.filter, height);
    }
    // A range has no gap: with one the cursor goes no further than what was read.
    let has_range = model.many.marks.get(&queue.name).is_some_and(Marks::has_range);
    match motion {
        // The last message is beyond what was read: its page is read, not all the pages before it.
        Motion::Last if queue.next.is_some() && !has_range => {
            let name = queue.name.clone();
            let view = model.queues.rows.get(&name).map(|row| &row.view);
            let head = view.and_then(|view| view.head.as_ref()).map_or(1, |head| head.seq.0);
            let depth = view.map_or(0, |view| view.depth);
            let from = head.saturating_add(depth).saturating_sub(PAGE as u64 / 2).max(1);
            let from = Some(crate::admin::dto::Seq(from));
            queue.rows.clear();
            queue.earlier = true;
            queue.to_end = from;
            let purpose = Purpose::Page(name.clone(), from);
            model.ask(fx, purpose, Request::Page { queue: name, from });
        }
        Motion::First if queue.earlier => {
            queue.restart();
        }
        Motion::First | Motion::Last | Motion::Rows(_) | Motion::Halves(_) | Motion::Pages(_) => {
            queue.go(motion, height)
        }
    }
}

/// Makes `queue` the one of screen 2.
pub(super) fn open_queue(model: &mut Model, queue: QueueName) {
    if model.queue.as_ref().is_none_or(|screen| screen.name != queue) {
        model.queue = Some(QueueScreen::new(queue));
    }
}

/// Shows the queue's order keys in place of its messages, or the messages again.
pub(super) fn show_keys(model: &mut Model) {
    let Some(queue) = &mut model.queue else { return };
    let settings = model.queues.rows.get(&queue.name).map(|row| &row.view.settings);
    let ordering = settings.map_or(Ordering::Key, |settings| settings.ordering);
    if !queue.by_key && ordering != Ordering::Key {
        let text = format!("{} has ordering = {:?}: no order keys", queue.name, ordering.as_str());
        return model.acts.note(text);
    }
    queue.by_key = !queue.by_key;
    queue.filter = Filter::default();
    queue.outdated = true;
}

/// Filters the current list.
pub(super) fn set_filter(model: &mut Model, typed: &str) {
    let filter = Filter::new(typed);
    match model.screen {
        Screen::Queues => model.queues.filter = filter,
        Screen::Queue => {
            if let Some(queue) = &mut model.queue {
                queue.filter = filter;
            }
        }
        Screen::Message => {}
        Screen::Workers => model.workers.filter = filter,
        Screen::Journal => model.journal.filter = filter,
        Screen::Events => model.events.filter = filter,
        Screen::Patterns => model.patterns.filter = filter,
    }
}

/// `^R`: reads again what is shown.
pub(super) fn refresh(model: &mut Model, fx: &mut Effects) {
    if !matches!(model.connection.link, Link::Up) {
        model.acts.note("trying to connect");
        return fx.push(Effect::Reconnect);
    }
    outdate(model);
    if let Some(queue) = &mut model.queue {
        queue.trouble = None;
    }
    model.journal.loaded = false;
    model.acts.note("reading again");
}

/// What was read may not be true any more.
pub(super) fn outdate(model: &mut Model) {
    model.patterns.outdate();
    model.workers.pools_outdated = true;
    if let Some(queue) = &mut model.queue {
        queue.outdated = true;
    }
    if let Some(message) = &mut model.message {
        message.outdated = true;
    }
}

/// After each action: asks for what is on the screen and was not read yet, one request for each list at
/// a time, so that an operator who moves fast and a slow broker don't pile them up.
pub(super) fn read_what_is_shown(model: &mut Model, fx: &mut Effects) {
    if !matches!(model.connection.link, Link::Up) {
        return;
    }
    if layout::is_wide(model.size)
        && model.screen == Screen::Queues
        && let Some(queue) = model.queues.selected().map(|row| row.view.name.clone())
    {
        open_queue(model, queue);
    }
    if layout::pane(model.size, Screen::Queue, model.screen).is_some() {
        read_page(model, fx);
    }
    if layout::pane(model.size, Screen::Journal, model.screen).is_some() {
        read_journal(model, fx);
    }
    if model.screen == Screen::Patterns {
        patterns::read(model, fx);
    }
    if model.workers.pools_outdated
        && layout::pane(model.size, Screen::Workers, model.screen).is_some()
        && !model.awaits(&Purpose::Pools)
    {
        model.workers.pools_outdated = false;
        model.ask(fx, Purpose::Pools, Request::Pools);
    }
    if model.screen == Screen::Message {
        read_message(model, fx);
    }
}

fn read_page(model: &mut Model, fx: &mut Effects) {
    if model.awaits_any(|purpose| matches!(purpose, Purpose::Page(..) | Purpose::Keys(..))) {
        return;
    }
    let Some(queue) = &mut model.queue else { return };
    if queue.by_key {
        let Some(from) = queue.keys.wanted(&mut queue.outdated) else { return };
        let name = queue.name.clone();
        model.ask(fx, Purpose::Keys(name.clone(), from), Request::Keys { queue: name, from });
        return;
    }
    let Some(from) = queue.wanted() else { return };
    queue.outdated = false;
    let name = queue.name.clone();
    model.ask(fx, Purpose::Page(name.clone(), from), Request::Page { queue: name, from });
}

fn read_message(model: &mut Model, fx: &mut Effects) {
    let Some(screen) = &mut model.message else { return };
    let message = screen.message.clone();
    let outdated = screen.outdated;
    let purpose = Purpose::Show(message.clone());
    if outdated && !model.awaits(&purpose) {
        if let Some(screen) = &mut model.message {
            screen.outdated = false;
        }
        model.ask(fx, purpose, Request::Message(message));
    }
}

/// Each second: what waits behind the message on the screen, and who holds it, where its queue has changed. A message comes whole,
/// so a long one is asked for less often.
pub(super) fn read_beside(model: &mut Model, fx: &mut Effects) {
    let now = model.now;
    let is_shown = model.screen == Screen::Message && matches!(model.connection.link, Link::Up);
    let Some(screen) = model.message.as_ref().filter(|screen| is_shown && screen.stirred) else {
        return;
    };
    let pause = BESIDE_MS * (1 + screen.payload.len() as u64 / BESIDE_BYTES);
    let is_due = now.since(screen.beside_at) >= pause;
    let message = screen.message.clone();
    let purpose = Purpose::Beside(message.clone());
    let is_awaited =
        screen.outdated || model.awaits(&purpose) || model.awaits(&Purpose::Show(message.clone()));
    if !is_due || is_awaited || screen.view.is_none() || screen.gone.is_some() {
        return;
    }
    if let Some(screen) = &mut model.message {
        (screen.stirred, screen.beside_at) = (false, now);
    }
    model.ask(fx, purpose, Request::Message(message));
}

fn read_journal(model: &mut Model, fx: &mut Effects) {
    if model.awaits_any(|purpose| matches!(purpose, Purpose::Journal(_))) {
        return;
    }
    let journal = &mut model.journal;
    let near_end = journal.cursor.at + PAGE / 4 >= journal.shown().len();
    let before = if !journal.loaded {
        None
    } else if near_end && journal.next_before.is_some() && !journal.is_full() {
        journal.next_before
    } else {
        return;
    };
    journal.loaded = true;
    model.ask(fx, Purpose::Journal(before), Request::Journal { before });
}
