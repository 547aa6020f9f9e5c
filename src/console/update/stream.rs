//! What comes over the event stream.

use super::{Effects, edit, follow, page, repair};
use crate::admin::dto::{JournalKind, Notice, QueueView, StreamEvent};
use crate::console::action::Action;
use crate::console::model::{Link, Model, Purpose, Undoable};

/// An action that changes nothing on the screen but the age in row 1.
pub(super) fn is_heartbeat(action: &Action) -> bool {
    matches!(action, Action::Stream(event) if matches!(**event, StreamEvent::Overview(_)))
}

/// Takes one event.
pub(super) fn take(model: &mut Model, fx: &mut Effects, event: StreamEvent) {
    model.connection.link = Link::Up;
    model.connection.heard_at = Some(model.now);
    match event {
        StreamEvent::Overview(overview) => {
            let restarted = model.connection.overview.as_ref().is_some_and(|known| {
                known.generation != overview.generation || known.pid != overview.pid
            });
            let visible = model.connection.overview.as_ref().is_none_or(|known| {
                known.store != overview.store || known.blocked_count != overview.blocked_count
            });
            model.redraw |= visible;
            model.connection.overview = Some(overview);
            model.connection.overview_at = model.now;
            if restarted {
                page::outdate(model);
                model.journal.loaded = false;
            }
        }
        StreamEvent::Queues(views) => queues(model, fx, views),
        StreamEvent::Listed => model.queues.listed(),
        StreamEvent::Workers(workers) => model.workers.all = workers,
        StreamEvent::Notice(event) => {
            model.events.push(&event);
            let notice = event.what;
            model.patterns.notice(&notice);
            model.workers.notice(&notice);
            if let Notice::Journal { entry } = &notice
                && entry.kind == JournalKind::QueueDeleted
            {
                model.queues.forget(&entry.queue);
            }
            follow::notice(model, &notice);
            edit::notice(model, &notice);
            if let Notice::Journal { entry } = &notice
                && model.journal.loaded
            {
                model.journal.merge(vec![entry.clone()]);
            }
        }
        StreamEvent::Lagged { missed } => {
            let why = format!("{missed} were missed: this console was too slow");
            model.events.gap(&why, model.setup.keys);
            page::outdate(model);
            model.journal.loaded = false;
            follow::catch_up(model, fx);
        }
    }
}

fn queues(model: &mut Model, fx: &mut Effects, views: Vec<QueueView>) {
    for view in &views {
        follow::queue(model, view);
    }
    let undo = model.acts.undo.as_ref().and_then(Undoable::message);
    let undo_touched = undo.is_some_and(|of| views.iter().any(|view| view.name == of.queue));
    model.queues.merge(views);
    // While an undo is offered it must be true.
    if undo_touched {
        follow::catch_up(model, fx);
    }
}

/// The event stream is there again: what is shown is read again, and what has no answer is asked for.
pub(super) fn reconnected(model: &mut Model, fx: &mut Effects) {
    if model.connection.heard_at.is_some() {
        let why = "connected again: what happened meanwhile is not here";
        model.events.gap(why, model.setup.keys);
    }
    model.queues.named = Some(Default::default());
    model.forget_reads();
    page::outdate(model);
    if let Some(queue) = &mut model.queue {
        queue.trouble = None;
    }
    model.journal.loaded = false;
    follow::catch_up(model, fx);
    repair::ask_outcomes(model, fx, 0);
    edit::reconnected(model, fx);
}

/// An answer to this purpose may be dropped: it is asked for again.
pub(in crate::console) fn is_read(purpose: &Purpose) -> bool {
    match purpose {
        Purpose::Page(..)
        | Purpose::Keys(..)
        | Purpose::Pools
        | Purpose::Show(_)
        | Purpose::Beside(_)
        | Purpose::Follow(_)
        | Purpose::Journal(_)
        | Purpose::Patterns(_)
        | Purpose::Schema(_)
        | Purpose::Hold(_)
        | Purpose::Release(_)
        | Purpose::Outcome(_) => true,
        // The operator waits for these, and the runner answers each.
        Purpose::Compare(..)
        | Purpose::Locate(_)
        | Purpose::Undo(_)
        | Purpose::RetryHead(_)
        | Purpose::Repair(_)
        | Purpose::SetPaused(..)
        | Purpose::PatternAct(_) => false,
    }
}
