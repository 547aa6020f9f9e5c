//! Screen 1: all queues, blocked first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::{Cell, Column, fixed, growing, heads, instead, number, put, row};
use super::{nth_row, under, words};
use crate::admin::dto::{QueueState, QueueView};
use crate::console::command::{Command, Mode, Screen};
use crate::console::model::{Model, QueueRow, Rate};
use crate::console::text::clean::clean;
use crate::console::theme::{Role, Theme};

const COLUMNS: &[Column] = &[
    fixed("STATE", 10, 0),
    growing("QUEUE", 12, 2, 0),
    number("DEPTH", 6, 0),
    fixed("DONE PER SEC", 12, 3),
    number("DONE/S", 6, 4),
    number("OLDEST", 6, 2),
    growing("HEAD", 10, 5, 1),
];

/// Draws the screen.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let mut area = area;
    for line in model.banner_lines() {
        let Some(first) = nth_row(area, 0) else { return };
        put(buffer, first, &line, theme.style(Role::Warn), false);
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
    let (mut glyph, mut role) = theme.queue(view.state);
    // Others of its messages go on, but row 1 counts it.
    if view.is_hurt() && view.state != QueueState::Blocked {
        (glyph, role) = (theme.glyph("▲", "^"), Role::Bad);
    }
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

/// What the head is; before that, of a queue that isn't blocked as a whole, how many messages are.
fn head(theme: Theme, view: &QueueView) -> Cell {
    let head = of_head(theme, view);
    match view.state {
        QueueState::Blocked => head,
        _ if view.blocked == 0 => head,
        _ => {
            head.after(&format!("{} blocked: ", words::count(view.blocked)), theme.style(Role::Bad))
        }
    }
}

fn of_head(theme: Theme, view: &QueueView) -> Cell {
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
                // The whole number stands before it.
                _ if view.state != QueueState::Blocked => String::new(),
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
    instead(buffer, area, lines, theme.style(Role::Text));
    if !model.queues.loaded
        && let Some(place) = nth_row(area, 3)
    {
        let place = Rect { x: place.x + 2, width: place.width.saturating_sub(2), ..place };
        put(buffer, place, &clean(&model.setup.endpoint), theme.style(Role::Dim), false);
    }
}
