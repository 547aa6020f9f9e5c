//! What is done from a screen to what is under its cursor.

use super::enter::nothing_chosen;
use super::{Effects, many, marks, repair};
use crate::admin::dto::{MessageState, RepairVerb, Revision};
use crate::console::clipboard::MAX_COPY_BYTES;
use crate::console::command::{Command, Screen};
use crate::console::effect::{Effect, Request};
use crate::console::model::{
    LeaveForm, Leaving, ManyAct, MessageRef, Model, Overlay, Purpose, verb_text,
};

/// `y`: hands the payload, or the row's name or id, to the terminal.
pub(super) fn copy(model: &mut Model, fx: &mut Effects) {
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
pub(super) fn retry(model: &mut Model, fx: &mut Effects) {
    match model.screen {
        Screen::Queues => {
            let Some(row) = model.queues.selected() else { return nothing_chosen(model) };
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
            let Some(message) = model.selected_message() else { return nothing_chosen(model) };
            model.acts.begin(format!("retry {message}"), Some(message.clone()));
            model.ask(fx, Purpose::RetryHead(message.clone()), Request::Message(message));
        }
        Screen::Queue | Screen::Message => {
            let Some((message, state, revision)) = seen(model) else {
                return nothing_chosen(model);
            };
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
fn seen(model: &Model) -> Option<(MessageRef, MessageState, Revision)> {
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

pub(super) fn begin_leaving(model: &mut Model, fx: &mut Effects, leaving: Leaving) {
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

pub(super) fn pause_or_resume(model: &mut Model, fx: &mut Effects) {
    let Some(queue) = model.selected_queue() else {
        if model.screen != Screen::Patterns {
            return nothing_chosen(model);
        }
        return model.acts.note("choose a queue first; of a topic, one of its subscriptions");
    };
    let Some(row) = model.queues.rows.get(&queue) else { return };
    let paused = row.view.paused.is_none() && row.view.draining.is_none();
    repair::set_paused(model, fx, queue, paused);
}
