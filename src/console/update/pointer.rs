//! The mouse, where the configuration has it: the wheel moves, a click selects. It never does what a key would ask about.

use ratatui::layout::Position;

use super::{Effects, command, go, overlay, page};
use crate::console::action::Pointed;
use crate::console::command::{Command, Screen};
use crate::console::layout;
use crate::console::model::{Cursor, Model, Motion, Overlay};

/// Rows of a turn of the wheel.
const WHEEL_ROWS: isize = 3;

/// Takes what the mouse did at a column and a row.
pub(super) fn take(model: &mut Model, fx: &mut Effects, what: Pointed, x: u16, y: u16) {
    let wheel = match what {
        Pointed::Down => Some(WHEEL_ROWS),
        Pointed::Up => Some(-WHEEL_ROWS),
        Pointed::Click => None,
    };
    match (&model.overlay, model.edit.is_some()) {
        (Overlay::None, false) => {}
        // What lies on top has its keys; the wheel is one of them.
        (Overlay::Help { .. } | Overlay::Review(_) | Overlay::Difference(_), _) => {
            let down = wheel.map(|rows| if rows > 0 { Command::Down } else { Command::Up });
            for _ in 0..WHEEL_ROWS {
                down.into_iter().for_each(|way| overlay::command(model, fx, way));
            }
            return;
        }
        (_, _) => return,
    }
    if !layout::fits(model.size) {
        return;
    }
    let at = Position { x, y };
    let under = Screen::ALL.into_iter().find(|&screen| {
        layout::pane(model.size, screen, model.screen).is_some_and(|pane| pane.contains(at))
    });
    let Some(screen) = under else { return };
    if let Some(rows) = wheel {
        if screen == model.screen {
            page::go(model, fx, Motion::Rows(rows));
        }
        return;
    }
    let Some(pane) = layout::pane(model.size, screen, model.screen) else { return };
    let shown = model.list_height(screen);
    if screen != model.screen {
        match screen {
            Screen::Queue | Screen::Message => command::go_to(model, screen),
            Screen::Queues
            | Screen::Workers
            | Screen::Journal
            | Screen::Events
            | Screen::Patterns => go(model, screen),
        }
    }
    // Heads and what else stands above the rows; below them are details.
    let above = usize::from(y - pane.y);
    let lead = lead(model, screen);
    let (Some(row), Some(cursor)) = (above.checked_sub(lead), cursor(model, screen)) else {
        return;
    };
    if row < shown {
        let to = (cursor.top + row).cast_signed();
        page::go(model, fx, Motion::Rows(to - cursor.at.cast_signed()));
    }
}

/// Rows of a pane above its list.
fn lead(model: &Model, screen: Screen) -> usize {
    let heads = 1;
    heads + model.rows_above(screen)
}

/// The cursor of a screen that is a list.
fn cursor(model: &Model, screen: Screen) -> Option<Cursor> {
    match screen {
        Screen::Queues => Some(model.queues.cursor),
        Screen::Queue => model.queue.as_ref().map(|queue| match queue.by_key {
            true => queue.keys.cursor,
            false => queue.cursor,
        }),
        Screen::Message => None,
        Screen::Workers => Some(model.workers.cursor),
        Screen::Journal => Some(model.journal.cursor),
        Screen::Events => Some(model.events.cursor),
        Screen::Patterns => Some(model.patterns.cursor()),
    }
}
