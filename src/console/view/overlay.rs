//! The help, and the boxes that lie over a screen: palette and cancel.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::{Block, Clear, Widget as _};

use super::nth_row;
use super::table::put;
use crate::console::help::{self, HelpKind};
use crate::console::model::{
    LeaveField, LeaveForm, Leaving, Model, Overlay, Palette, PaletteEntry, ReasonForm, ThrowForm,
    verb_text, wrap,
};
use crate::console::text::clean::{self, clean};
use crate::console::theme::Role;

/// Draws all keys, by where they work.
pub(super) fn keys(model: &Model, scroll: usize, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let lines = help::lines(
        model.setup.keys,
        model.screen.mode(),
        model.setup.read_only,
        area.width.into(),
    );
    let scroll = scroll.min(lines.len().saturating_sub(usize::from(area.height)));
    for (n, (kind, text)) in lines.iter().skip(scroll).enumerate() {
        let Some(row) = nth_row(area, n) else { break };
        let role = match kind {
            HelpKind::Title => Role::Title,
            HelpKind::Key | HelpKind::Words => Role::Text,
            HelpKind::Off => Role::Dim,
        };
        put(buffer, row, text, theme.style(role), false);
    }
}

/// Draws the box on top, if there is one; tells where its cursor is.
pub(super) fn boxes(model: &Model, buffer: &mut Buffer, body: Rect) -> Option<Position> {
    match &model.overlay {
        Overlay::Palette(palette) => draw_palette(model, palette, buffer, body),
        Overlay::Leave(form) => draw_leave(model, form, buffer, body),
        Overlay::Pattern(form) => super::pattern_form::draw(model, form, buffer, body),
        Overlay::Reason(form) => draw_reason(model, form, buffer, body),
        Overlay::Throw(form) => draw_throw(model, form, buffer, body),
        Overlay::None
        | Overlay::Help { .. }
        | Overlay::Filter { .. }
        | Overlay::Find { .. }
        | Overlay::File(_)
        | Overlay::Review(_)
        | Overlay::Difference(_)
        | Overlay::Many
        | Overlay::Quit(_) => None,
    }
}

/// An empty box in the middle of `body`; the area inside.
pub(super) fn open_box(
    model: &Model,
    buffer: &mut Buffer,
    body: Rect,
    size: (u16, u16),
    title: &str,
) -> Rect {
    let theme = model.setup.theme;
    let width = size.0.min(body.width.saturating_sub(2)).max(4);
    let height = size.1.min(body.height).max(3);
    let area = Rect {
        x: body.x + body.width.saturating_sub(width) / 2,
        y: body.y + body.height.saturating_sub(height) / 3,
        width,
        height,
    }
    .intersection(buffer.area);
    Clear.render(area, buffer);
    let mut frame = Block::bordered().title(title.to_owned()).style(theme.style(Role::Text));
    if theme.is_ascii() {
        frame = frame.border_set(ASCII_BORDER);
    }
    let inside = frame.inner(area);
    frame.render(area, buffer);
    inside
}

const ASCII_BORDER: ratatui::symbols::border::Set<'static> = ratatui::symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

pub(super) fn after(row: Rect, label: &str, typed: &str) -> Position {
    let x = clean::width(label) + clean::width(&clean(typed));
    let x = row.x.saturating_add(u16::try_from(x).unwrap_or(u16::MAX));
    Position { x: x.min(row.right().saturating_sub(1)), y: row.y }
}

fn draw_palette(
    model: &Model,
    palette: &Palette,
    buffer: &mut Buffer,
    body: Rect,
) -> Option<Position> {
    let theme = model.setup.theme;
    let inside = open_box(model, buffer, body, (76, 18), " palette ");
    let (inside, below) = match inside.height {
        // What the chosen one does is said below the list, where there is room.
        8.. => (
            Rect { height: inside.height - 1, ..inside },
            nth_row(inside, usize::from(inside.height) - 1),
        ),
        _ => (inside, None),
    };
    let first = nth_row(inside, 0)?;
    let line = format!(": {}", clean(&palette.typed));
    put(buffer, first, &line, theme.style(Role::Key), false);
    let matches = palette.matches();
    if matches.is_empty()
        && let Some(row) = nth_row(inside, 1)
    {
        put(buffer, row, "nothing is called like this", theme.style(Role::Dim), false);
    }
    let room = usize::from(inside.height).saturating_sub(1).max(1);
    let top = (palette.at + 1).saturating_sub(room);
    for (n, entry) in matches.iter().enumerate().skip(top) {
        let Some(row) = nth_row(inside, n + 1 - top) else { break };
        let style = theme.style(if n == palette.at { Role::Selected } else { Role::Text });
        buffer.set_style(row, style);
        put(buffer, row, &format!(" {}", clean(&entry.text())), style, false);
        if let PaletteEntry::Command(command) = entry {
            let off = model.why_off(command.command).is_some();
            let key = command.keys.first().map_or(String::new(), |key| key.name());
            let key = if off { format!("{key} off") } else { key };
            put(buffer, row, &format!("{key} "), style, true);
        }
    }
    if let (Some(below), Some(entry)) = (below, matches.get(palette.at)) {
        let says = match entry {
            PaletteEntry::Command(row) | PaletteEntry::Elsewhere(row) => row.help,
            PaletteEntry::Queue(_) => "To this queue's messages.",
            PaletteEntry::Message(..) | PaletteEntry::Place(_) => "To this message.",
            PaletteEntry::Draft(_) => {
                "To its message, to go on with it, save it to a file or throw it away."
            }
            PaletteEntry::Locate(_) => {
                "Wherever it is; of a message that is done only the history is left."
            }
            PaletteEntry::Panic => "",
        };
        put(buffer, below, &format!(" {says}"), theme.style(Role::Dim), false);
    }
    Some(after(first, ": ", &palette.typed))
}

fn draw_leave(
    model: &Model,
    form: &LeaveForm,
    buffer: &mut Buffer,
    body: Rect,
) -> Option<Position> {
    let theme = model.setup.theme;
    let title = format!(" {} {} ", verb_text(form.leaving.verb()), form.message);
    let fields = form.leaving.fields();
    let height = 6 + u16::try_from(fields.len()).unwrap_or(3);
    let inside = open_box(model, buffer, body, (70, height), &title);
    let short = clean(&form.short_id);
    let (what, then) = match form.leaving {
        Leaving::Cancel => (
            format!("Takes it out of its queue. Type its short id {short}"),
            "and a reason for the journal. Enter sends it.",
        ),
        Leaving::DeadLetter => (
            format!("To the dead-letter queue. Type its short id {short}"),
            "and, if you like, a reason. Enter sends it.",
        ),
        Leaving::Move => (
            format!("To another queue's end. Type its short id {short}"),
            "and the queue; empty: a dead letter goes back.",
        ),
    };
    put(buffer, nth_row(inside, 0)?, &what, theme.style(Role::Text), false);
    if let Some(row) = nth_row(inside, 1) {
        put(buffer, row, then, theme.style(Role::Text), false);
    }
    let mut cursor = None;
    for (n, &field) in fields.iter().enumerate() {
        let Some(row) = nth_row(inside, n + 3) else { break };
        let (label, typed) = match field {
            LeaveField::Id => ("short id  ", &form.typed_id),
            LeaveField::To => ("queue     ", &form.to),
            LeaveField::Reason => ("reason    ", &form.reason),
        };
        let chosen = form.field == field;
        let style = theme.style(if chosen { Role::Key } else { Role::Text });
        put(buffer, row, &format!("{label}{}", clean(typed)), style, false);
        if chosen {
            cursor = Some(after(row, label, typed));
        }
    }
    if let (Some(complaint), Some(row)) = (&form.complaint, nth_row(inside, fields.len() + 3)) {
        put(buffer, row, &clean(complaint), theme.style(Role::Bad), false);
    }
    cursor
}

fn draw_reason(
    model: &Model,
    form: &ReasonForm,
    buffer: &mut Buffer,
    body: Rect,
) -> Option<Position> {
    let theme = model.setup.theme;
    let message = model.edit.as_ref().map_or(String::new(), |edit| edit.message.to_string());
    let title = format!(" {} {message} ", verb_text(form.verb));
    let inside = open_box(model, buffer, body, (74, 9), &title);
    put(
        buffer,
        nth_row(inside, 0)?,
        "It is not as the queue's schema says:",
        theme.style(Role::Text),
        false,
    );
    let miss = clean(&form.miss.to_string()).into_owned();
    for (n, line) in wrap(&miss, inside.width.into()).into_iter().take(2).enumerate() {
        put(buffer, nth_row(inside, n + 1)?, &miss[line], theme.style(Role::Bad), false);
    }
    let then = "Type why, for the journal; Enter saves it all the same, Esc goes back.";
    put(buffer, nth_row(inside, 3)?, then, theme.style(Role::Text), false);
    let (label, row) = ("reason    ", nth_row(inside, 5)?);
    put(buffer, row, &format!("{label}{}", clean(&form.typed)), theme.style(Role::Key), false);
    if form.complains
        && let Some(row) = nth_row(inside, 6)
    {
        put(buffer, row, "a reason is needed", theme.style(Role::Bad), false);
    }
    Some(after(row, label, &form.typed))
}

fn draw_throw(
    model: &Model,
    form: &ThrowForm,
    buffer: &mut Buffer,
    body: Rect,
) -> Option<Position> {
    let theme = model.setup.theme;
    let title = format!(" throw the draft of {} away ", form.message);
    let inside = open_box(model, buffer, body, (70, 7), &title);
    let what = "What was typed for it is removed for good; the message stays.";
    put(buffer, nth_row(inside, 0)?, what, theme.style(Role::Text), false);
    let then = format!("Type its place {}; Enter removes the draft.", form.message.seq);
    put(buffer, nth_row(inside, 1)?, &then, theme.style(Role::Text), false);
    let (label, row) = ("place     ", nth_row(inside, 3)?);
    put(buffer, row, &format!("{label}{}", clean(&form.typed)), theme.style(Role::Key), false);
    if form.complains
        && let Some(row) = nth_row(inside, 4)
    {
        let complaint = "the place is not the one that is asked for";
        put(buffer, row, complaint, theme.style(Role::Bad), false);
    }
    Some(after(row, label, &form.typed))
}
