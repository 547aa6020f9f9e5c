//! Marks on a queue's messages.

use super::Effects;
use crate::admin::dto::MAX_BULK_ITEMS;
use crate::console::command::{Command, Mode, Screen};
use crate::console::model::{Marks, Model, Motion};

/// Messages of the queue on the screen are marked.
pub(super) fn has_marks(model: &Model) -> bool {
    model.selected_queue().is_some_and(|queue| model.many.marked(&queue) > 0)
}

/// There is more than one message for it on the screen.
pub(in crate::console) fn is_worth_several(model: &Model) -> bool {
    let Some(queue) = model.selected_queue() else { return false };
    let view = model.queues.rows.get(&queue).map(|row| &row.view);
    model.many.marked(&queue) > 0 || view.is_some_and(|view| view.blocked + view.waiting > 1)
}

/// `Space`, `V`, `U`.
pub(super) fn mark(model: &mut Model, fx: &mut Effects, command: Command) {
    let Some(queue) = &model.queue else { return };
    if command == Command::Unmark {
        let name = queue.name.clone();
        model.many.marks.remove(&name);
        return model.acts.note("nothing is marked");
    }
    if queue.by_key {
        let lists = model.setup.keys.hint(Mode::Queue, Command::Keys, "; {} lists them");
        return model.acts.note(format!("marks are for messages{lists}"));
    }
    let Some(row) = queue.selected().cloned() else { return };
    let marks = model.many.marks.entry(queue.name.clone()).or_default();
    let note = match command {
        Command::Mark if !marks.toggle(&row) => {
            format!("{MAX_BULK_ITEMS} are marked: more are not taken at once")
        }
        Command::Mark => String::new(),
        _ => {
            marks.range(&row);
            match marks.has_range() {
                true => {
                    let hint = |command, text| model.setup.keys.hint(Mode::Queue, command, text);
                    let (then, leaves) = (
                        hint(Command::MarkRange, ", then {}"),
                        hint(Command::Back, "; {} leaves it"),
                    );
                    format!("move to the range's other end{then}{leaves}")
                }
                false => format!("{} marked", marks.len()),
            }
        }
    };
    if !note.is_empty() {
        model.acts.note(note);
    }
    model.many.marks.retain(|_, marks| !marks.is_empty());
    if command == Command::Mark {
        super::page::go(model, fx, Motion::Rows(1));
    }
}

/// After each action: the range goes from its anchor to the cursor.
pub(super) fn follow(model: &mut Model) {
    let Some(queue) = &model.queue else { return };
    let Some(marks) = model.many.marks.get_mut(&queue.name) else { return };
    let Some(at) = queue.selected().map(|row| row.seq).filter(|_| marks.has_range()) else {
        return;
    };
    marks.follow(at, queue.shown().into_iter());
}

/// `Esc` on a queue with a range: the range goes, the marks stay. False: there is none.
pub(super) fn leave_range(model: &mut Model) -> bool {
    let queue = model.queue.as_ref().filter(|_| model.screen == Screen::Queue);
    let marks = queue.and_then(|queue| model.many.marks.get_mut(&queue.name));
    let left = marks.is_some_and(Marks::drop_range);
    model.many.marks.retain(|_, marks| !marks.is_empty());
    left
}
