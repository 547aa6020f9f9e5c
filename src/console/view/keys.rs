//! Screen 2 by order key: which keys stand, and how much waits behind each.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::{Cell, Column, fixed, growing, heads, instead, number, put, row};
use super::{nth_row, under, words};
use crate::admin::dto::{KeyView, Timestamp};
use crate::console::command::{Command, Mode, Screen};
use crate::console::model::{Model, QueueScreen};
use crate::console::text::clean::clean;
use crate::console::theme::{Role, Theme};

const COLUMNS: &[Column] = &[
    fixed("STATE", 11, 0),
    growing("ORDER KEY", 12, 1, 0),
    number("BEHIND", 6, 0),
    fixed("", 10, 4),
    number("HELD BY", 9, 1),
    number("NEXT TRY", 8, 3),
    growing("ERROR", 14, 3, 2),
];
/// Columns of the bar that compares how much waits.
const BAR: u16 = 10;

/// Draws the screen.
pub(super) fn draw(model: &Model, queue: &QueueScreen, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let Some(first) = nth_row(area, 0) else { return };
    put(buffer, first, &lead(queue), theme.style(Role::Title), false);
    let area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let Some(head) = nth_row(area, 0) else { return };
    heads(buffer, head, COLUMNS, theme.style(Role::Title));
    let shown = queue.keys.shown(&queue.filter);
    if shown.is_empty() {
        return empty(model, queue, buffer, area);
    }
    let now = model.broker_now();
    let most = queue.keys.rows.iter().map(|row| row.behind).max().unwrap_or(0);
    let cursor = queue.keys.cursor;
    for (n, key) in shown.iter().enumerate().skip(cursor.top) {
        let Some(place) = nth_row(area, n + 1 - cursor.top) else { break };
        let under = under(model, Screen::Queue, n == cursor.at);
        row(buffer, place, COLUMNS, &cells(theme, key, most, now), under);
    }
}

/// `3 order keys stand, 41 messages wait behind them, 7 not looked at yet`
fn lead(queue: &QueueScreen) -> String {
    let keys = &queue.keys;
    if !keys.loaded {
        return "order keys".to_owned();
    }
    let plus = if keys.has_more() { "+" } else { "" };
    let (count, behind) = (keys.rows.len(), words::count(keys.behind()));
    let unseen = match keys.unseen {
        0 => String::new(),
        n => format!(", {} not looked at yet", words::count(n)),
    };
    format!("{count}{plus} order keys stand, {behind}{plus} messages wait behind them{unseen}")
}

fn cells(theme: Theme, key: &KeyView, most: u64, now: Option<Timestamp>) -> Vec<Cell> {
    let (glyph, role) = theme.message(key.state);
    let text = theme.style(Role::Text);
    let name = match &key.key {
        Some(key) => clean(key).into_owned(),
        None => "(no key: holds nobody)".to_owned(),
    };
    let due = match (now, key.due) {
        (Some(now), Some(due)) => words::coarse_age(due.since_ms(now)),
        (_, _) => String::new(),
    };
    let error = key.error.as_ref().map_or(String::new(), |error| {
        format!("{}: {}", clean(&error.code), clean(&error.message))
    });
    let bar = if most > 0 { theme.bar(key.behind, most, BAR) } else { String::new() };
    vec![
        Cell::new(format!("{glyph} {}", key.state), theme.style(role)),
        Cell::new(name, text),
        Cell::new(words::count(key.behind), text),
        Cell::new(bar, theme.style(role)),
        Cell::new(format!("#{}", key.seq), text),
        Cell::new(due, text),
        Cell::new(error, theme.style(role)),
    ]
}

fn empty(model: &Model, queue: &QueueScreen, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let hint = |command, text| model.setup.keys.hint(Mode::Queue, command, text);
    let (text, role) = if let Some(trouble) = &queue.keys.trouble {
        let again = hint(Command::Refresh, "; {} tries again");
        (format!("can't be read: {}{again}", clean(trouble)), Role::Bad)
    } else if !queue.keys.loaded {
        (format!("reading the order keys of {}", queue.name), Role::Dim)
    } else if !queue.filter.is_empty() {
        let clears = hint(Command::Back, "; {} clears it");
        (format!("no order key that was read passes the filter{clears}"), Role::Text)
    } else {
        let messages = hint(Command::Keys, " {} shows the messages.");
        (format!("No order key stands: all of them go on.{messages}"), Role::Good)
    };
    instead(buffer, area, &[&text], theme.style(role));
}
