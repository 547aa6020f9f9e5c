//! What is asked for before something is done on screen 7.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::nth_row;
use super::overlay::{after, open_box};
use super::table::put;
use crate::console::model::{Model, PatternForm};
use crate::console::text::clean::{self, clean};
use crate::console::theme::Role;

/// Draws it; tells where its cursor is.
pub(super) fn draw(
    model: &Model,
    form: &PatternForm,
    buffer: &mut Buffer,
    body: Rect,
) -> Option<Position> {
    let theme = model.setup.theme;
    let height = 6 + u16::try_from(form.fields.len()).unwrap_or(4);
    let title = format!(" {} ", clean(&form.title));
    let inside = open_box(model, buffer, body, (76, height), &title);
    for (n, says) in form.says.iter().enumerate() {
        put(buffer, nth_row(inside, n)?, &clean(says), theme.style(Role::Text), false);
    }
    let mut cursor = None;
    for (n, field) in form.fields.iter().enumerate() {
        let Some(row) = nth_row(inside, n + 3) else { break };
        let chosen = n == form.at;
        let style = theme.style(if chosen { Role::Key } else { Role::Text });
        let typed = clean(&field.typed);
        put(buffer, row, &format!("{}{typed}", field.label), style, false);
        if typed.is_empty() {
            let wide = u16::try_from(clean::width(field.label) + 1).unwrap_or(0);
            let x = row.x.saturating_add(wide).min(row.right());
            let place = Rect { x, width: row.right().saturating_sub(x), ..row };
            put(buffer, place, field.hint, theme.style(Role::Dim), false);
        }
        if chosen {
            cursor = Some(after(row, field.label, &field.typed));
        }
    }
    if let (Some(complaint), Some(row)) = (&form.complaint, nth_row(inside, form.fields.len() + 3))
    {
        put(buffer, row, &clean(complaint), theme.style(Role::Bad), false);
    }
    cursor
}
