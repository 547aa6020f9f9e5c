//! Screen 1: all queues, blocked first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::{Cell, Column, fixed, growing, heads, number, put, row};
use super::{nth_row, under, words};
use crate::admin::dto::QueueView;
use crate::console::command::{Command, Mode, Screen};
use crate::console::model::{Model, QueueRow, Rate};
use crate::console::text::clean::clean;
use crate::console::theme::{Role, Theme};

const COLUMNS: &[Column] = &[
    fixed("STATE", 10, 0),
    growing("QUEUE", 12, 2, 0),
    number("DEPTH", 6, 0),
    fixed("PER SECOND", 12, 3),
    number("/S", 5, 4),
    number("OLDEST", 6, 2),
    growing("HEAD", 10, 5, 1),
];

/// Draws the screen.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let mut area = area;
    if let Some(banner) = model.banner()
        && let Some(first) = nth_row(area, 0)
    {
        put(buffer, first, &clean(banner), theme.style(Role::Warn), false);
        area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    let Some(head) = nth_row(area, 0) else { return };
    heads(buffer, head, COLUMNS, theme.style(Role::Title));
    if model.queues.shown_len() == 0 {
        return empty(model, buffer, area);
    }
    let now = model.broker_now();
    for (n, queue) in model.queues.shown().enumerate().skip(model.queues.cursor.top) {
        let Some(place) = nth_row(area, n + 1 - model.queues.cursor.top) else { break };
        let oldest = match (now, queue.view.oldest_at) {
            (Some(now), Some(at)) => words::coarse_age(now.since_ms(at)),
            (_, _) => String::new(),
        };
        let cells = cells(theme, queue, oldest);
        row(
            buffer,
            place,
            COLUMNS,
            &cells,
            under(model, Screen::Queues, n == model.queues.cursor.at),
        );
    }
}

fn cells(theme: Theme, queue: &QueueRow, oldest: String) -> Vec<Cell> {
    let view = &queue.view;
    let (glyph, role) = theme.queue(view.state);
    let text = theme.style(Role::Text);
    vec![
        Cell::new(format!("{glyph} {}", view.state), theme.style(role)),
        Cell::new(view.name.as_str(), text),
        Cell::new(words::count(view.depth), text),
        Cell::new(sparkline(theme, &queue.rate), theme.style(Role::Busy)),
        Cell::new(words::count(queue.rate.now()), text),
        Cell::new(oldest, text),
        head(theme, view),
    ]
}

fn head(theme: Theme, view: &QueueView) -> Cell {
    if let Some(stop) = view.paused.as_ref().or(view.draining.as_ref()) {
        let why = if stop.reason.is_empty() { "" } else { ": " };
        let text = format!("by {}{why}{}", clean(&stop.by.name), clean(&stop.reason));
        return Cell::new(text, theme.style(Role::Warn));
    }
    let is_blocked = view.head.as_ref().is_some_and(|head| head.error.is_some());
    if let Some(reason) = view.unreachable.as_ref().filter(|_| !is_blocked) {
        let text = format!("Redis away: {}", clean(reason));
        return Cell::new(text, theme.style(Role::Warn));
    }
    let Some(head) = &view.head else { return Cell::new("", theme.style(Role::Dim)) };
    match &head.error {
        Some(error) => {
            let more = match view.more_blocked() {
                0 => String::new(),
                more => format!("+{more} "),
            };
            let text =
                format!("{more}#{} {}: {}", head.seq, clean(&error.code), clean(&error.message));
            let (_, role) = theme.message(head.state);
            Cell::new(text, theme.style(role))
        }
        None => Cell::new(format!("#{} {}", head.seq, head.state), theme.style(Role::Dim)),
    }
}

/// The rate's samples as steps of the most of them.
fn sparkline(theme: Theme, rate: &Rate) -> String {
    let most = rate.samples.iter().copied().max().unwrap_or(0);
    let steps = theme.spark();
    rate.samples
        .iter()
        .map(|&sample| {
            let step = (sample * 7).div_ceil(most.max(1));
            steps[usize::try_from(step).unwrap_or(0).min(7)]
        })
        .collect()
}

fn empty(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let clears = model.setup.keys.hint(Mode::Queues, Command::Back, "; {} clears it");
    let hidden = format!("no queue passes the filter{clears}");
    let lines: &[&str] = if !model.queues.filter.is_empty() {
        &[&hidden]
    } else if !model.queues.loaded {
        &["waiting for the broker"]
    } else {
        &[
            "No queue yet. Send a first message from another terminal:",
            "",
            "  mubroker send --queue orders '{\"hello\":1}'",
            "",
            "and let something work on it:",
            "",
            "  mubroker worker --queue orders --exec cat",
        ]
    };
    for (n, line) in lines.iter().enumerate() {
        let Some(place) = nth_row(area, n + 2) else { break };
        let place = Rect { x: place.x + 2, width: place.width.saturating_sub(2), ..place };
        put(buffer, place, line, theme.style(Role::Text), false);
    }
    if !model.queues.loaded
        && let Some(place) = nth_row(area, 3)
    {
        let place = Rect { x: place.x + 2, width: place.width.saturating_sub(2), ..place };
        put(buffer, place, &clean(&model.setup.endpoint), theme.style(Role::Dim), false);
    }
}
