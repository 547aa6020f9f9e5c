//! `update`: an action changes the model and asks for effects. No I/O, no clock: `now` comes in.

mod acts;
mod ahead;
mod command;
mod difference;
mod draft;
mod edit;
mod enter;
mod follow;
mod many;
mod marks;
mod outside;
mod overlay;
mod page;
mod patterns;
mod pointer;
mod repair;
mod reply;
mod review;
mod schema;
mod standpoint;
mod stream;
mod told;
mod undo;

use super::action::Action;
use super::command::Screen;
use super::effect::Effect;
use super::model::{Link, Millis, Model, Overlay, SortBy, Status};

pub(in crate::console) use acts::is_retriable;
pub(in crate::console) use marks::is_worth_several;
pub(in crate::console) use stream::is_read;

/// Effects in the order in which they are to be done.
type Effects = Vec<Effect>;

/// Takes one action at `now`.
pub fn update(model: &mut Model, now: Millis, action: Action) -> Vec<Effect> {
    let mut fx = Vec::new();
    model.now = model.now.max(now);
    // A sign of life alone changes nothing but row 1, which is drawn once a second.
    model.redraw |= !stream::is_heartbeat(&action);
    let moves = standpoint::moves(&action);
    let (notes, before) = (model.acts.notes, standpoint::of(model, moves));
    if let Some(edit) = model.edit.as_mut().filter(|_| moves || matches!(action, Action::Paste(_)))
    {
        edit.review_when_read = false;
    }
    if let Some(action) = ahead::put_off(model, action) {
        take(model, &mut fx, action);
    }
    model.settle();
    if notes == model.acts.notes && before != standpoint::of(model, moves) {
        model.acts.forget_note();
    }
    marks::follow(model);
    page::read_what_is_shown(model, &mut fx);
    schema::follow(model, &mut fx);
    fx
}

fn take(model: &mut Model, fx: &mut Effects, action: Action) {
    match action {
        Action::Do(command) => command::run(model, fx, command),
        Action::Input(key) => overlay::input(model, fx, key),
        Action::Paste(text) => overlay::paste(model, &text),
        Action::Pointed { what, x, y } => pointer::take(model, fx, what, x, y),
        Action::Resize { width, height } => model.size = (width, height),
        Action::Tick => tick(model, fx),
        Action::Connected => {
            model.connection.link = Link::Up;
            stream::reconnected(model, fx);
        }
        Action::Stream(event) => stream::take(model, fx, *event),
        Action::Lost { reason, failures, retry_in_ms, refused } => {
            let next_at = model.now.plus(retry_in_ms);
            model.connection.link = Link::Down { reason, failures, next_at, refused };
            edit::lost(model);
            repair::lost(model);
        }
        Action::Reply { request, reply } => {
            if let Some(purpose) = model.answered(request) {
                reply::take(model, fx, purpose, reply);
            }
        }
        Action::DraftLoaded { message, draft } => {
            draft::loaded(model, fx, &message, draft);
            outside::loaded(model, fx, &message);
            for action in ahead::take_up(model, &message) {
                let action = ahead::meant(model, action);
                take(model, fx, action);
            }
        }
        Action::DraftElsewhere { message } => draft::elsewhere(model, &message),
        Action::DraftsFound { messages } => model.kept.extend(messages),
        Action::DraftSaved { message, version, result } => {
            draft::saved(model, &message, version, result);
        }
        Action::DraftRemoved { message, left, by_hand } => {
            draft::removed(model, message, left, by_hand);
        }
        Action::Compared { request, lines } => review::compared(model, request, lines),
        Action::SchemaChecked { request, result } => schema::checked(model, request, result),
        Action::FileWritten { result } => match result {
            Ok(text) => model.acts.note(text),
            Err(why) => model.acts.refuse("the file was not written", why),
        },
        Action::EditedOutside { message, result } => outside::back(model, fx, &message, result),
        Action::FileRead { message, result } => draft::file_read(model, fx, &message, result),
        Action::Many { run, told } => told::take(model, fx, run, *told),
        Action::Trouble(text) => model.acts.note(text),
    }
}

/// A second has passed.
fn tick(model: &mut Model, fx: &mut Effects) {
    if matches!(model.connection.status(model.now), Status::Live { .. }) {
        for row in model.queues.rows.values_mut() {
            row.rate.sample(row.view.done);
        }
        // The only order that time changes by itself.
        if model.queues.sort == SortBy::Rate {
            model.queues.outdate();
        }
    }
    if model.screen == Screen::Patterns {
        model.patterns.tick(model.now);
    }
    if let Some(screen) = &mut model.message {
        screen.outdated |= std::mem::take(&mut screen.unread);
    }
    edit::tick(model, fx);
    repair::tick(model, fx);
    page::read_beside(model, fx);
}

/// Shows another screen.
fn go(model: &mut Model, screen: Screen) {
    if screen == model.screen {
        return;
    }
    if !model.screen.is_aside() {
        model.before = model.screen;
    }
    model.screen = screen;
    model.overlay = Overlay::None;
}
