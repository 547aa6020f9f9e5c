//! Screen 5: who did what, when and why.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::{Cell, Column, fixed, growing, heads, instead, number, put, row};
use super::{nth_row, under};
use crate::admin::dto::JournalEntry;
use crate::console::command::{Command, Mode, Screen};
use crate::console::model::{Model, weight_of};
use crate::console::text::clean::clean;
use crate::console::theme::{Role, Theme};

const COLUMNS: &[Column] = &[
    fixed("TIME UTC", 8, 0),
    fixed("WHAT", 17, 0),
    growing("ON", 9, 2, 0),
    growing("WHO", 10, 1, 1),
    fixed("VIA", 8, 3),
    number("REV", 3, 4),
    growing("WHY", 12, 4, 0),
];

/// Draws the screen.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let Some(head) = nth_row(area, 0) else { return };
    heads(buffer, head, COLUMNS, theme.style(Role::Title));
    let shown = model.journal.shown();
    if shown.is_empty() {
        let hint = |command, text| model.setup.keys.hint(Mode::Journal, command, text);
        let text = match (&model.journal.trouble, model.journal.filter.is_empty()) {
            (Some(trouble), _) => {
                let again = hint(Command::Refresh, "; {} tries again");
                format!("can't be read: {}{again}", clean(trouble))
            }
            (None, true) => {
                "nothing yet: repairs, pauses and blocked queues are written here".into()
            }
            (None, false) => {
                format!("no entry passes the filter{}", hint(Command::Back, "; {} clears it"))
            }
        };
        return instead(buffer, area, &[&text], theme.style(Role::Text));
    }
    for (n, entry) in shown.iter().enumerate().skip(model.journal.cursor.top) {
        let Some(place) = nth_row(area, n + 1 - model.journal.cursor.top) else { break };
        let under = under(model, Screen::Journal, n == model.journal.cursor.at);
        row(buffer, place, COLUMNS, &cells(theme, entry), under);
    }
    if model.journal.ends_early()
        && let Some(place) = nth_row(area, shown.len() + 1 - model.journal.cursor.top)
    {
        let text = "the journal's oldest entries are gone, as [store] journal_entries says";
        put(buffer, place, text, theme.style(Role::Dim), false);
    }
}

fn cells(theme: Theme, entry: &JournalEntry) -> Vec<Cell> {
    let text = theme.style(Role::Text);
    let role = Role::of(weight_of(entry.kind));
    let on = match entry.seq {
        Some(seq) => format!("{} #{seq}", entry.queue),
        None => entry.queue.to_string(),
    };
    // 2023-11-14T22:13:20.120Z
    let at = entry.at.to_string();
    let clock = at.get(11..19).unwrap_or(&at).to_owned();
    vec![
        Cell::new(clock, text),
        Cell::new(entry.kind.as_str(), theme.style(role)),
        Cell::new(on, text),
        Cell::new(clean(&entry.actor.name).into_owned(), text),
        Cell::new(clean(&entry.actor.via).into_owned(), text),
        Cell::new(entry.revision.map_or(String::new(), |revision| revision.to_string()), text),
        Cell::new(clean(&entry.reason).into_owned(), text),
    ]
}
