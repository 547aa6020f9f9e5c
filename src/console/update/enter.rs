//! `Enter` on the screens.

use super::command::{go_to, open_message};
use super::{go, page, patterns};
use crate::admin::dto::QueueName;
use crate::console::command::Screen;
use crate::console::model::{Leads, MessageRef, Model, PatternTab};
use crate::console::text::clean::clean;

/// Into what is under the cursor.
pub(super) fn open(model: &mut Model) {
    match model.screen {
        Screen::Queues => go_to(model, Screen::Queue),
        Screen::Queue => match (model.selected_message(), &mut model.queue) {
            (Some(message), Some(queue)) if queue.by_key => open_message(model, message),
            // Who knows the way types ahead of a slow link.
            (None, Some(queue)) if !queue.loaded && !queue.by_key => {
                queue.open_when_read = true;
                model.acts.note("reading the messages; the first one is opened");
            }
            (_, _) => go_to(model, Screen::Message),
        },
        Screen::Message => {}
        Screen::Workers => {
            let lease = model.workers.selected().and_then(|worker| worker.in_flight.first());
            let Some(message) =
                lease.map(|lease| MessageRef { queue: lease.queue.clone(), seq: lease.seq })
            else {
                return model.acts.note("this worker holds no message now");
            };
            open_message(model, message);
        }
        Screen::Journal => {
            let Some(entry) = model.journal.selected() else { return };
            match entry.seq {
                Some(seq) => {
                    let message = MessageRef { queue: entry.queue.clone(), seq };
                    open_message(model, message);
                }
                None => {
                    let queue = entry.queue.clone();
                    show_queue(model, queue);
                }
            }
        }
        Screen::Events => enter_event(model),
        Screen::Patterns => patterns::enter(model),
    }
}

/// Shows a queue's messages.
pub(super) fn show_queue(model: &mut Model, queue: QueueName) {
    page::open_queue(model, queue);
    go(model, Screen::Queue);
}

fn enter_event(model: &mut Model) {
    let Some(leads) = model.events.selected().map(|row| row.leads.clone()) else { return };
    match leads {
        Leads::Message(message) => open_message(model, message),
        Leads::Queue(queue) => show_queue(model, queue),
        Leads::Worker(name) => {
            if model.workers.select(&name) {
                go(model, Screen::Workers);
            } else {
                model.acts.note(format!("{} is not connected now", clean(&name)));
            }
        }
        Leads::Gather(id) => {
            model.patterns.show(PatternTab::Gathers, id);
            go(model, Screen::Patterns);
        }
        Leads::Saga(id) => {
            model.patterns.show(PatternTab::Sagas, id);
            go(model, Screen::Patterns);
        }
        Leads::Nowhere => model.acts.note("there is nothing behind this event"),
    }
}
