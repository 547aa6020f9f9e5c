//! `view`: draws the model, changes nothing.

mod difference;
mod edit;
mod events;
mod footer;
mod journal;
mod keys;
mod many;
mod message;
mod overlay;
mod pattern_form;
mod patterns;
mod queue;
mod queues;
mod status;
mod table;
mod words;
mod workers;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Clear, Paragraph, Wrap};

use super::command::Screen;
use super::layout;
use super::model::{Model, Overlay};
use super::theme::Role;

/// Draws everything.
pub fn view(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let size = (area.width, area.height);
    frame.render_widget(Clear, area);
    if !layout::fits(size) {
        return enlarge(frame, size);
    }
    let rows = layout::rows(size);
    status::header(model, frame.buffer_mut(), rows.header);
    let cursor = body(model, frame.buffer_mut(), size);
    status::error(model, frame.buffer_mut(), rows.error);
    let typed = status::outcome(model, frame.buffer_mut(), rows.outcome);
    footer::draw(model, frame.buffer_mut(), rows.keys);
    if model.setup.theme.is_ascii() {
        to_ascii(frame.buffer_mut());
    }
    if let Some(position) = typed.or(cursor) {
        frame.set_cursor_position(position);
    }
}

/// `--ascii` is for terminals that can't show more: payloads, names and errors may have anything.
fn to_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let shown = match cell.symbol() {
                "…" | "⋯" => "~",
                "·" => ".",
                "→" | "▶" | "»" => ">",
                // The pictures of control characters, as `clean` draws them.
                picture if picture.chars().all(|c| ('\u{2400}'..='\u{2424}').contains(&c)) => "^",
                _ => "?",
            };
            cell.set_symbol(shown);
        }
    }
}

fn enlarge(frame: &mut Frame<'_>, (width, height): (u16, u16)) {
    let (least_width, least_height) = layout::MIN_SIZE;
    let text = format!(
        "enlarge: {width}x{height}, at least {least_width}x{least_height}\nnothing typed is lost"
    );
    let paragraph = Paragraph::new(text).alignment(Alignment::Center).wrap(Wrap { trim: true });
    frame.render_widget(paragraph, frame.area());
}

fn body(model: &Model, buffer: &mut Buffer, size: (u16, u16)) -> Option<Position> {
    let main = layout::main_area(size);
    let covered = match &model.overlay {
        Overlay::Help { .. } | Overlay::Review(_) | Overlay::Difference(_) | Overlay::Many => true,
        Overlay::None
        | Overlay::Palette(_)
        | Overlay::Filter { .. }
        | Overlay::Find { .. }
        | Overlay::Leave(_)
        | Overlay::Pattern(_)
        | Overlay::Reason(_)
        | Overlay::Throw(_)
        | Overlay::File(_)
        | Overlay::Quit(_) => model.edit.is_some(),
    };
    for screen in Screen::ALL {
        let Some(area) = layout::pane(size, screen, model.screen) else { continue };
        if covered && area.intersects(main) {
            continue;
        }
        match screen {
            Screen::Queues => queues::draw(model, buffer, area),
            Screen::Queue => queue::draw(model, buffer, area),
            Screen::Message => message::draw(model, buffer, area),
            Screen::Workers => workers::draw(model, buffer, area),
            Screen::Journal => journal::draw(model, buffer, area),
            Screen::Events => events::draw(model, buffer, area),
            Screen::Patterns => patterns::draw(model, buffer, area),
        }
    }
    rules(model, buffer, size, covered);
    if model.connection.dimmed(model.now) {
        buffer.set_style(layout::rows(size).body, Style::new().add_modifier(Modifier::DIM));
    }
    let cursor = match &model.overlay {
        Overlay::Review(review) => {
            edit::review(model, review, buffer, main);
            None
        }
        Overlay::Difference(shown) => {
            difference::draw(model, shown, buffer, main);
            None
        }
        Overlay::Many => many::draw(model, buffer, main),
        Overlay::Help { scroll } => {
            overlay::keys(model, *scroll, buffer, main);
            None
        }
        _ => model.edit.as_ref().and_then(|session| edit::draw(model, session, buffer, main)),
    };
    overlay::boxes(model, buffer, layout::rows(size).body).or(cursor)
}

/// The lines between panes that stand side by side or below each other.
fn rules(model: &Model, buffer: &mut Buffer, size: (u16, u16), covered: bool) {
    let theme = model.setup.theme;
    let style = theme.style(Role::Dim);
    let (main, body) = (layout::main_area(size), layout::rows(size).body);
    for y in main.top()..main.bottom() {
        if main.right() < body.right() {
            buffer.set_string(main.right(), y, theme.glyph("│", "|"), style);
        }
    }
    for screen in Screen::ALL {
        let Some(lower) = layout::pane(size, screen, model.screen) else { continue };
        if lower.y > body.y && !(covered && lower.intersects(main)) {
            let rule = theme.glyph("─", "-").repeat(usize::from(lower.width));
            buffer.set_string(lower.x, lower.y - 1, rule, style);
        }
    }
}

/// The row `n` of an area; nothing beyond it.
fn nth_row(area: Rect, n: usize) -> Option<Rect> {
    let n = u16::try_from(n).ok()?;
    (n < area.height).then(|| Rect { y: area.y + n, height: 1, ..area })
}

/// The style under the row of a list: the cursor's, which is bright only where the keys go.
fn under(model: &Model, screen: Screen, selected: bool) -> Style {
    match (selected, model.screen == screen) {
        (true, true) => model.setup.theme.style(Role::Selected),
        (true, false) => Style::new().add_modifier(Modifier::UNDERLINED),
        (false, _) => Style::new(),
    }
}
