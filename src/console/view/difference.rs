//! Differences: one below the other, or side by side where there is room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::nth_row;
use super::table::put;
use crate::admin::dto::Revision;
use crate::console::model::{BETWEEN_COLUMNS, DiffPane, DiffRow, Difference, Model};
use crate::console::text::clean::{self, clean};
use crate::console::text::diff::{DiffKind, DiffLine, Emphasis};
use crate::console::theme::{Role, Theme};

/// Draws what edits have changed.
pub(super) fn draw(model: &Model, shown: &Difference, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let Some(first) = nth_row(area, 0) else { return };
    let view = model.message.as_ref().and_then(|screen| screen.view.as_ref());
    let name = |revision: Revision| {
        let known = view.and_then(|view| view.revisions.iter().find(|r| r.revision == revision));
        let by = known.map_or(String::new(), |known| format!(" by {}", clean(&known.by.name)));
        match revision {
            Revision(0) => "the original".to_owned(),
            newest if newest == shown.newest => format!("revision {newest}{by}, the newest"),
            revision => format!("revision {revision}{by}"),
        }
    };
    let text =
        format!("DIFFERENCE {}: from {} to {}", shown.message, name(shown.old), name(shown.new));
    put(buffer, first, &text, theme.style(Role::Title), false);
    let lines = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    if let Some(place) = shown.pane.place() {
        put(buffer, first, &place, theme.style(Role::Dim), true);
    }
    pane(theme, &shown.pane, buffer, lines);
}

pub(super) fn pane(theme: Theme, shown: &DiffPane, buffer: &mut Buffer, area: Rect) {
    let instead = match shown.instead() {
        None => return rows(theme, shown.shown(), buffer, area),
        Some(Ok(())) => "comparing".to_owned(),
        Some(Err(why)) => format!("can't be read: {}", clean(why)),
    };
    if let Some(row) = nth_row(area, 1) {
        put(buffer, row, &instead, theme.style(Role::Warn), false);
    }
}

fn rows(theme: Theme, rows: &[DiffRow], buffer: &mut Buffer, area: Rect) {
    let half = area.width.saturating_sub(u16::try_from(BETWEEN_COLUMNS).unwrap_or(0)) / 2;
    for (n, shown) in rows.iter().enumerate() {
        let Some(row) = nth_row(area, n) else { break };
        match shown {
            DiffRow::One(drawn) => line(theme, drawn, buffer, row),
            DiffRow::Two([old, new]) => {
                let left = Rect { width: half, ..row };
                let right = Rect { x: row.right().saturating_sub(half), width: half, ..row };
                let rule = Rect { x: left.right() + 1, width: 1, ..row }.intersection(row);
                put(buffer, rule, theme.glyph("│", "|"), theme.style(Role::Dim), false);
                for (side, drawn) in [(left, old), (right, new)] {
                    if let Some(drawn) = drawn {
                        line(theme, drawn, buffer, side);
                    }
                }
            }
        }
    }
}

fn line(theme: Theme, line: &DiffLine, buffer: &mut Buffer, row: Rect) {
    let (sign, role) = match line.kind {
        DiffKind::Same => (" ", Role::Text),
        DiffKind::Removed => ("-", Role::Removed),
        DiffKind::Added => ("+", Role::Added),
        DiffKind::Gap => (" ", Role::Dim),
        DiffKind::Note => ("!", Role::Warn),
    };
    let style = theme.style(role);
    put(buffer, row, sign, style, false);
    let mut x = row.x.saturating_add(2);
    for (emphasis, text) in &line.spans {
        let style = match emphasis {
            Emphasis::Plain => style,
            Emphasis::Changed => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        };
        let left = row.right().saturating_sub(x);
        put(buffer, Rect { x, width: left, ..row }, text, style, false);
        let wide = u16::try_from(clean::width(text)).unwrap_or(left);
        x = x.saturating_add(wide).min(row.right());
    }
}
