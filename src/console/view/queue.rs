//! Screen 2: a queue's unfinished messages.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::{Cell, Column, fixed, growing, heads, instead, number, row};
use super::{nth_row, under, words};
use crate::admin::dto::{MessageSummary, Timestamp};
use crate::console::command::{Command, Mode, Screen};
use crate::console::model::{MessageRef, Model, QueueScreen, short_id};
use crate::console::text::clean::clean;
use crate::console::theme::{Role, Theme};

const COLUMNS: &[Column] = &[
    number("#", 8, 0),
    fixed("STATE", 11, 0),
    number("TRY", 3, 3),
    number("REV", 3, 4),
    number("AGE", 6, 2),
    number("SIZE", 9, 6),
    fixed("ID", 6, 5),
    fixed("TYPE", 14, 7),
    fixed("KEY", 10, 8),
    growing("ERROR OR PAYLOAD", 34, 1, 0),
];

/// Draws the screen.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    if let Some(queue) = model.queue.as_ref().filter(|queue| queue.by_key) {
        return super::keys::draw(model, queue, buffer, area);
    }
    let Some(head) = nth_row(area, 0) else { return };
    heads(buffer, head, COLUMNS, theme.style(Role::Title));
    let Some(queue) = &model.queue else { return };
    let shown = queue.shown();
    if shown.is_empty() {
        return empty(model, queue, buffer, area);
    }
    let now = model.broker_now();
    for (n, summary) in shown.iter().enumerate().skip(queue.cursor.top) {
        let Some(place) = nth_row(area, n + 1 - queue.cursor.top) else { break };
        let marked = model.many.marks.get(&queue.name).is_some_and(|m| m.has(summary.seq));
        let cells = cells(theme, queue, summary, now, marked);
        row(buffer, place, COLUMNS, &cells, under(model, Screen::Queue, n == queue.cursor.at));
    }
}

fn cells(
    theme: Theme,
    queue: &QueueScreen,
    summary: &MessageSummary,
    now: Option<Timestamp>,
    marked: bool,
) -> Vec<Cell> {
    let mark = if marked { theme.glyph("✓", "*") } else { "" };
    let (glyph, role) = theme.message(summary.state);
    let text = theme.style(Role::Text);
    let age = now.map_or(String::new(), |now| words::coarse_age(now.since_ms(summary.accepted_at)));
    let message = MessageRef { queue: queue.name.clone(), seq: summary.seq };
    let last = match &summary.error {
        Some(error) => Cell::new(
            format!("{}: {}", clean(&error.code), clean(&error.message)),
            theme.style(role),
        ),
        None => Cell::new(clean(&summary.preview).into_owned(), theme.style(Role::Dim)),
    };
    vec![
        Cell::new(format!("{mark}{}", summary.seq), text),
        Cell::new(format!("{glyph} {}", summary.state), theme.style(role)),
        Cell::new(summary.attempt.to_string(), text),
        Cell::new(summary.revision.to_string(), text),
        Cell::new(age, text),
        Cell::new(words::size(summary.payload_bytes), text),
        Cell::new(short_id(&message, &summary.id), text),
        Cell::new(clean(summary.kind.as_deref().unwrap_or("")).into_owned(), text),
        Cell::new(clean(summary.key.as_deref().unwrap_or("")).into_owned(), text),
        last,
    ]
}

fn empty(model: &Model, queue: &QueueScreen, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let hint = |command, text| model.setup.keys.hint(Mode::Queue, command, text);
    let (text, role) = if let Some(trouble) = &queue.trouble {
        let again = hint(Command::Refresh, "; {} tries again");
        (format!("can't be read: {}{again}", clean(trouble)), Role::Bad)
    } else if !queue.loaded {
        (format!("reading {}", queue.name), Role::Dim)
    } else if !queue.filter.is_empty() {
        let clears = hint(Command::Back, "; {} clears it");
        (format!("no message that was read passes the filter{clears}"), Role::Text)
    } else {
        let text = format!("{0} is empty: mubroker send --queue {0} '{{\"hello\":1}}'", queue.name);
        (text, Role::Text)
    };
    instead(buffer, area, &[&text], theme.style(role));
}
