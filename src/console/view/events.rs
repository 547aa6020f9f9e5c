//! Screen 6: what happens, as it happens, the newest last.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::{Cell, Column, fixed, growing, heads, instead, put, row};
use super::{nth_row, under};
use crate::console::command::{Command, Mode, Screen};
use crate::console::model::{EventRow, Model};
use crate::console::text::clean::clean;
use crate::console::theme::{Role, Theme};

const COLUMNS: &[Column] = &[
    fixed("TIME UTC", 8, 0),
    fixed("WHAT", 20, 1),
    growing("ON", 14, 2, 0),
    growing("", 20, 5, 2),
];

/// Draws the screen.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let Some(first) = nth_row(area, 0) else { return };
    let (state, role) = state(model, theme);
    put(buffer, first, &state, theme.style(role), false);
    let area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let Some(head) = nth_row(area, 0) else { return };
    heads(buffer, head, COLUMNS, theme.style(Role::Title));
    let shown = model.events.shown();
    if shown.is_empty() {
        return empty(model, buffer, area);
    }
    for (n, event) in shown.iter().enumerate().skip(model.events.cursor.top) {
        let Some(place) = nth_row(area, n + 1 - model.events.cursor.top) else { break };
        let under = under(model, Screen::Events, n == model.events.cursor.at);
        row(buffer, place, COLUMNS, &cells(theme, event), under);
    }
}

/// Whether the list goes on or stands still, and what it has not.
fn state(model: &Model, theme: Theme) -> (String, Role) {
    let list = &model.events;
    let kept = if list.is_full() { ", older ones dropped" } else { "" };
    match list.paused() {
        Some(below) => {
            let glyph = theme.glyph("‖", "=");
            let on = model.setup.keys.hint(Mode::Events, Command::Bottom, "; {} goes on");
            (format!("{glyph} STANDS STILL, {below} below{on}{kept}"), Role::Warn)
        }
        None => {
            let glyph = theme.glyph("▼", "v");
            (format!("{glyph} follows, {} events{kept}", list.len()), Role::Dim)
        }
    }
}

fn cells(theme: Theme, event: &EventRow) -> Vec<Cell> {
    let style = theme.style(Role::of(event.weight));
    let text = theme.style(Role::Text);
    // 2023-11-14T22:13:20.120Z
    let at = event.at.map_or_else(String::new, |at| at.to_string());
    let clock = at.get(11..19).unwrap_or_default().to_owned();
    let what = format!("{} {}", theme.event(event.weight), event.kind);
    vec![
        Cell::new(clock, text),
        Cell::new(what, style),
        Cell::new(clean(&event.on).into_owned(), text),
        Cell::new(clean(&event.text).into_owned(), theme.style(Role::Dim)),
    ]
}

fn empty(model: &Model, buffer: &mut Buffer, area: Rect) {
    let keys = model.setup.keys;
    let journal = keys.hint(Mode::Events, Command::Go(Screen::Journal), " ({})");
    let before = format!("What was before: the journal{journal}, or in a shell: mubroker events");
    let clears = keys.hint(Mode::Events, Command::Back, "; {} clears it");
    let hidden = format!("no event passes the filter{clears}");
    let lines: &[&str] = if model.events.is_empty() {
        &[
            "Nothing has happened since this console connected.",
            "",
            "What comes here: blocked and repaired messages, failed attempts, \
             dead letters, workers that come and go, sagas, gathers, alerts.",
            &before,
        ]
    } else {
        &[&hidden]
    };
    instead(buffer, area, lines, model.setup.theme.style(Role::Text));
}
