//! `Enter` on the screens.

use super::command::{go_to, open_message};
use super::{go, page, patterns};
use crate::admin::dto::QueueName;
use crate::console::command::{Command, Screen};
use crate::console::model::{Leads, MessageRef, Model, PatternTab};
use crate::console::text::clean::clean;

/// Into what is under the cursor.
pub(super) fn open(model: &mut Model) {
    match model.screen {
        Screen::Queues if model.queues.selected().is_none() => nothing_chosen(model),
        Screen::Queues => go_to(model, Screen::Queue),
        Screen::Queue => match (model.selected_message(), &mut model.queue) {
            (Some(message), Some(queue)) if queue.by_key => open_message(model, message),
            // Who knows the way types ahead of a slow link.
            (None, Some(queue)) if !queue.loaded && !queue.by_key => {
                queue.open_when_read = true;
                model.acts.note("reading the messages; the first one is opened");
            }
            (None, _) => nothing_chosen(model),
            (Some(_), _) => go_to(model, Screen::Message),
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

/// Says why there is no row for a key.
pub(super) fn nothing_chosen(model: &mut Model) {
    let is_filtered = model.filter().is_some_and(|filter| !filter.is_empty());
    let clears = model.setup.keys.hint(model.mode(), Command::Back, "; {} clears it");
    let text = match model.screen {
        _ if is_filtered => format!("nothing that was read passes the filter{clears}"),
        Screen::Queues if !model.queues.loaded => "the queues were not read yet".to_owned(),
        Screen::Queues => {
            "there is no queue yet: mubroker send --queue orders '{\"hello\":1}'".to_owned()
        }
        Screen::Queue
        | Screen::Message
        | Screen::Workers
        | Screen::Journal
        | Screen::Events
        | Screen::Patterns => "there is nothing here to do that to".to_owned(),
    };
    model.acts.note(text);
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
