//! What the operator looks at: a word about it goes when they look at something else.

use crate::console::action::Action;
use crate::console::command::Screen;
use crate::console::model::{MessageRef, Model, PatternTab};

/// What is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standpoint {
    screen: Screen,
    queue: Option<String>,
    message: Option<MessageRef>,
    tab: PatternTab,
    /// The row under the cursor, where words are about it; absent when rows move by themselves.
    row: Option<usize>,
}

/// Whether an action is the operator's own: else rows that move under the cursor are no step away.
pub(super) const fn moves(action: &Action) -> bool {
    matches!(action, Action::Do(_) | Action::Input(_) | Action::Pointed { .. })
}

/// What is looked at now.
pub(super) fn of(model: &Model, moves: bool) -> Standpoint {
    let row = match model.screen {
        // A range of messages is marked by a word on how to go on, and then by moving.
        Screen::Queues | Screen::Queue | Screen::Message => 0,
        Screen::Workers => model.workers.cursor.at,
        Screen::Journal => model.journal.cursor.at,
        Screen::Events => model.events.cursor.at,
        Screen::Patterns => model.patterns.cursor().at,
    };
    Standpoint {
        screen: model.screen,
        queue: match model.screen {
            Screen::Queue => model.queue.as_ref().map(|queue| queue.name.to_string()),
            _ => None,
        },
        message: match model.screen {
            Screen::Message => model.message.as_ref().map(|screen| screen.message.clone()),
            _ => None,
        },
        tab: model.patterns.tab,
        row: moves.then_some(row),
    }
}
