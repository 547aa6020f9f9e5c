//! Answers to requests.

use super::{
    Effects, acts, command, difference, edit, follow, patterns, repair, review, schema, undo,
};
use crate::admin::dto::{MessageView, QueueName, RepairVerb, Seq};
use crate::console::action::{Failure, Reply};
use crate::console::command::Screen;
use crate::console::model::{MessageRef, Model, Overlay, Purpose};

/// What an answer of another kind than was asked for counts as.
fn mismatch() -> Failure {
    Failure::Unknown("the broker answered something else than was asked".to_owned())
}

macro_rules! expect_reply {
    ($reply:expr, $variant:ident) => {
        match $reply {
            Ok(Reply::$variant(value)) => Ok(value),
            Ok(_) => Err(mismatch()),
            Err(failure) => Err(failure),
        }
    };
}

/// Takes an answer.
pub(super) fn take(
    model: &mut Model,
    fx: &mut Effects,
    purpose: Purpose,
    reply: Result<Reply, Failure>,
) {
    match purpose {
        Purpose::Page(queue, from) => page(model, &queue, from, reply),
        Purpose::Keys(queue, from) => {
            let page = expect_reply!(reply, Keys);
            if let Some(screen) = model.queue.as_mut().filter(|screen| screen.name == queue) {
                match page {
                    Ok(page) => screen.keys.take(from, page),
                    Err(failure) => screen.keys.fail(failure.text()),
                }
            }
        }
        // Without them the workers are shown as they are; a viewer of some queues may not see them.
        Purpose::Pools => {
            if let Ok(pools) = expect_reply!(reply, Pools) {
                model.workers.pools = pools;
            }
        }
        Purpose::Locate(id) => match expect_reply!(reply, Located) {
            Ok(found) => {
                let message = MessageRef { queue: found.queue, seq: found.seq };
                // Who is in the middle of something is not taken away from it.
                if model.edit.is_none() && matches!(model.overlay, Overlay::None) {
                    command::open_message(model, message);
                } else {
                    model.acts.note(format!("{id} is {message}"));
                }
            }
            Err(Failure::Refused(problem)) if problem.status == 404 => {
                let why = "no message has this whole id; by its end: list its queue";
                model.acts.refuse(format!("find {id}"), why);
            }
            Err(failure) => model.acts.refuse(format!("find {id}"), failure.text()),
        },
        Purpose::Show(message) => {
            let view = expect_reply!(reply, Message);
            show(model, fx, &message, view);
        }
        Purpose::Beside(message) => beside(model, &message, expect_reply!(reply, Message)),
        Purpose::Undo(message) => {
            let view = expect_reply!(reply, Message);
            undo::read(model, fx, message, view.as_deref().map_err(Clone::clone));
        }
        Purpose::Follow(message) => {
            let view = expect_reply!(reply, Message);
            follow::read(model, &message, view.as_deref().map_err(Clone::clone));
        }
        Purpose::RetryHead(message) => {
            let view = expect_reply!(reply, Message);
            retry_head(model, fx, message, view.as_deref().map_err(Clone::clone));
        }
        Purpose::Compare(message, revision) => {
            let bytes = expect_reply!(reply, Payload);
            difference::read(model, fx, &message, revision, bytes);
        }
        Purpose::Journal(before) => match expect_reply!(reply, Journal) {
            Ok(page) => {
                if before.is_none() || before == model.journal.next_before {
                    model.journal.next_before = page.next_before;
                    model.journal.older_removed = page.older_removed;
                }
                model.journal.trouble = None;
                model.journal.merge(page.entries);
            }
            Err(failure) => model.journal.trouble = Some(failure.text()),
        },
        Purpose::Patterns(read) => patterns::take(model, read, expect_reply!(reply, Patterns)),
        Purpose::Schema(queue) => {
            let text = expect_reply!(reply, Schema);
            schema::read(model, &queue, text);
        }
        Purpose::Hold(message) => {
            let held = expect_reply!(reply, Held);
            edit::held(model, fx, &message, held.map(drop));
        }
        Purpose::Release(message) => {
            let screen = model.message.as_mut().filter(|screen| screen.message == message);
            if let Some(screen) = screen {
                // What was asked before it may be answered after it, and says then who held it before.
                screen.stirred = true;
                // What is known of the hold is as old as the message; a refused release tells nothing new.
                if let (Some(view), Ok(Reply::Held(hold))) = (&mut screen.view, reply) {
                    view.hold = hold;
                }
            }
        }
        Purpose::Repair(message) => {
            let outcome = expect_reply!(reply, Repaired);
            repair::answered(model, fx, &message, outcome);
        }
        Purpose::Outcome(message) => {
            let outcome = expect_reply!(reply, Outcome);
            repair::outcome_known(model, fx, &message, outcome);
        }
        Purpose::SetPaused(queue, paused) => {
            let done = match reply {
                Ok(Reply::Done) => Ok(()),
                Ok(_) => Err(mismatch()),
                Err(failure) => Err(failure),
            };
            repair::paused(model, queue, paused, done);
        }
        Purpose::PatternAct(act) => patterns::done(model, &act, reply),
    }
}

fn page(model: &mut Model, queue: &QueueName, from: Option<Seq>, reply: Result<Reply, Failure>) {
    let Some(screen) = model.queue.as_mut().filter(|screen| screen.name == *queue) else { return };
    let opens = std::mem::take(&mut screen.open_when_read);
    match expect_reply!(reply, Page) {
        Ok(page) => screen.merge(from, page),
        Err(failure) => screen.trouble = Some(failure.text()),
    }
    // Not if the operator went elsewhere meanwhile.
    let is_there = model.screen == Screen::Queue && matches!(model.overlay, Overlay::None);
    if opens
        && is_there
        && let Some(message) = model.selected_message()
    {
        command::open_message(model, message);
    }
}

fn show(
    model: &mut Model,
    fx: &mut Effects,
    message: &MessageRef,
    view: Result<Box<MessageView>, Failure>,
) {
    let Some(screen) = model.message.as_mut().filter(|screen| screen.message == *message) else {
        return;
    };
    match view {
        Ok(view) => {
            screen.show(view);
            let wanted = screen.edit_when_read.take();
            // Not if the operator went elsewhere meanwhile.
            let is_there = model.screen == Screen::Message
                && matches!(model.overlay, Overlay::None)
                && model.selected_message().as_ref() == Some(message);
            if let Some(place) = wanted.filter(|_| is_there) {
                edit::begin(model, fx, place);
            }
            edit::shown(model, message);
        }
        Err(Failure::Refused(problem)) if problem.status == 404 => {
            screen.edit_when_read = None;
            screen.gone = Some("is no longer in its queue: done, or taken out".to_owned());
        }
        Err(failure) => {
            screen.edit_when_read = None;
            // A broker that says no says it again; else what is shown would stay as it was before its change.
            screen.unread = !matches!(failure, Failure::Refused(_));
            // What was read stays; only if there is nothing to show the trouble is shown.
            if screen.view.is_none() {
                screen.gone = Some(failure.text());
            }
        }
    }
    review::open_if_asked(model, fx);
}

/// What stands around the message that is shown. The message itself is read as such if it is another than that.
fn beside(model: &mut Model, message: &MessageRef, view: Result<Box<MessageView>, Failure>) {
    let Some(screen) = model.message.as_mut().filter(|screen| screen.message == *message) else {
        return;
    };
    match (view, &mut screen.view) {
        (Ok(new), Some(known)) if known.summary == new.summary => {
            (known.behind, known.hold) = (new.behind, new.hold);
            (known.lease, known.undo) = (new.lease, new.undo);
        }
        (Ok(_), _) => screen.outdated = true,
        (Err(Failure::Refused(_)), _) => screen.outdated = true,
        (Err(Failure::NotSent(_) | Failure::Unknown(_)), _) => screen.stirred = true,
    }
}

/// The head was read for its revision: it is retried if it is still a failed one.
fn retry_head(
    model: &mut Model,
    fx: &mut Effects,
    message: MessageRef,
    view: Result<&MessageView, Failure>,
) {
    let what = format!("retry {message}");
    match view {
        Ok(view) if acts::is_retriable(view.summary.state) => {
            let wanted = repair::Wanted::plain(RepairVerb::Retry, view.summary.revision);
            repair::send(model, fx, message, wanted);
        }
        Ok(view) => {
            let why = format!("it is {} now; only what failed is retried", view.summary.state);
            model.acts.refuse(what, why);
        }
        Err(failure) => model.acts.refuse(what, failure.text()),
    }
}
