//! The editor, the review and the difference.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};

use super::table::put;
use super::{difference, nth_row};
use crate::admin::dto::{Ordering, Revision};
use crate::console::command::{Command, Mode};
use crate::console::model::{Button, EditSession, HoldState, Model, Review, Standing, Verdict};
use crate::console::text::clean::{self, clean};
use crate::console::text::editor::EditorStyles;
use crate::console::text::hex;
use crate::console::theme::{Role, Theme};

/// Draws the editor; tells where its cursor is.
pub(super) fn draw(
    model: &Model,
    session: &EditSession,
    buffer: &mut Buffer,
    area: Rect,
) -> Option<Position> {
    let theme = model.setup.theme;
    let first = nth_row(area, 0)?;
    let (line, column) = session.editor.cursor();
    let hold = match &session.hold {
        HoldState::Held(_) => "held: no automatic retry".to_owned(),
        HoldState::Asked(_) => "asking for the hold".to_owned(),
        HoldState::Free => "NOT HELD: no broker".to_owned(),
        HoldState::Refused(why) => format!("NOT HELD: {}", clean(why)),
    };
    let draft = match (&session.draft.trouble, session.is_dirty()) {
        (Some(why), _) => format!("DRAFT NOT SAVED: {}", clean(why)),
        (None, false) => "unchanged".to_owned(),
        (None, true) if session.draft.saved == session.draft.version => "draft saved".to_owned(),
        (None, true) => "changed".to_owned(),
    };
    let text = format!("EDIT {}  {line}:{column}  {draft}  {hold}", session.message);
    put(buffer, first, &text, theme.style(Role::Title), false);
    let area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    if session.loading {
        let row = nth_row(area, 0)?;
        put(buffer, row, "looking for a draft", theme.style(Role::Dim), false);
        return None;
    }
    if let Some(raw) = &session.raw {
        let per_row = hex::bytes_per_row(usize::from(area.width));
        for (n, line) in hex::rows(raw, per_row, 0, area.height.into()).iter().enumerate() {
            put(buffer, nth_row(area, n)?, line, theme.style(Role::Text), false);
        }
        return None;
    }
    session.editor.render(area, buffer, &styles(theme))
}

fn styles(theme: Theme) -> EditorStyles {
    EditorStyles {
        cursor: Style::new(),
        fault: theme.style(Role::Bad).add_modifier(Modifier::UNDERLINED),
        bad: theme.style(Role::Bad),
        string: theme.style(Role::Good),
        number: theme.style(Role::Busy),
        literal: theme.style(Role::Warn),
        ..EditorStyles::plain()
    }
}

/// Draws the review: the difference, what hangs on it, and the buttons.
pub(super) fn review(model: &Model, review: &Review, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let Some(session) = &model.edit else { return };
    let Some(first) = nth_row(area, 0) else { return };
    let against = match review.against {
        Revision(0) => "the original".to_owned(),
        revision => format!("revision {revision}"),
    };
    let text = format!("REVIEW {}: what changes from {against}", session.message);
    put(buffer, first, &text, theme.style(Role::Title), false);
    let warnings = model.review_warnings(review);
    let rows = warnings.iter().map(|text| (clean(text).into_owned(), Role::Bad));
    let rows = rows.chain([(facts(model, session, review), Role::Text)]);
    for (n, (text, role)) in rows.enumerate() {
        if let Some(row) = nth_row(area, n + 1) {
            put(buffer, row, &text, theme.style(role), false);
        }
    }
    let above = u16::try_from(warnings.len()).unwrap_or(0) + 2;
    let lines = Rect { y: area.y + above, height: area.height.saturating_sub(above + 2), ..area };
    difference::pane(theme, &review.pane, buffer, lines);
    let last = usize::from(area.height.saturating_sub(1));
    let place = review.pane.place().map_or(String::new(), |place| {
        let hint = |command, text| model.setup.keys.hint(Mode::Review, command, text);
        let (down, up) = (hint(Command::Down, " {}"), hint(Command::Up, " {}"));
        let keys = if down.is_empty() && up.is_empty() { "" } else { ":" };
        format!("rows {place}{keys}{down}{up}")
    });
    if let (Standing::Told(Verdict::Misses(miss)), Some(row)) =
        (session.schema.standing(session.draft.version), nth_row(area, last.saturating_sub(1)))
        && !review.unchanged
    {
        let text =
            format!("MISSES THE SCHEMA, a reason is asked for: {}", clean(&miss.to_string()));
        // Below it stands whole; here it ends where the rows' numbers begin.
        let taken = if place.is_empty() { 0 } else { clean::width(&place) + 2 };
        let width = row.width.saturating_sub(u16::try_from(taken).unwrap_or(row.width));
        put(buffer, Rect { width, ..row }, &text, theme.style(Role::Bad), false);
    }
    if let Some(row) = nth_row(area, last.saturating_sub(1)) {
        put(buffer, row, &place, theme.style(Role::Warn), true);
    }
    if let Some(row) = nth_row(area, last) {
        buttons(theme, review.button, model.why_unsendable().is_some(), buffer, row);
    }
}

/// What hangs on the message: what waits behind it, who holds it as far as the broker knows, its headers.
fn facts(model: &Model, session: &EditSession, review: &Review) -> String {
    let view = model.message.as_ref().and_then(|screen| screen.view.as_ref());
    let row = model.queues.rows.get(&session.message.queue);
    let by_key = row.is_some_and(|row| row.view.settings.ordering == Ordering::Key);
    let behind = match (view.map_or(0, |view| view.behind), by_key) {
        (0, _) => "no message waits behind it".to_owned(),
        (1, false) => "1 message waits behind it".to_owned(),
        (1, true) => "1 of its key waits behind".to_owned(),
        (n, false) => format!("{n} messages wait behind it"),
        (n, true) => format!("{n} of its key wait behind"),
    };
    let holder = view.and_then(|view| view.hold.as_ref()).map(|hold| clean(&hold.by.name));
    let hold = match (&session.hold, holder) {
        (HoldState::Held(_), _) => "held by you".to_owned(),
        (HoldState::Refused(why), None) => clean(why).into_owned(),
        (_, Some(name)) => format!("held by {name}"),
        (HoldState::Free | HoldState::Asked(_), None) => "held by nobody".to_owned(),
    };
    let headers = if review.pane.has_lead() { "changed meanwhile, kept" } else { "unchanged" };
    format!("{behind}  {hold}  headers: {headers}")
}

/// `off`: what would send is dimmed; the reason stands above.
fn buttons(theme: Theme, chosen: Button, off: bool, buffer: &mut Buffer, row: Rect) {
    let mut x = row.x + 1;
    for button in Button::ALL {
        let is_off = off && button != Button::Back;
        let (text, style) = if button == chosen {
            (format!("[> {} <]", button.title()), theme.style(Role::Selected))
        } else if is_off {
            (format!("[  {}  ]", button.title()), theme.style(Role::Dim))
        } else {
            (format!("[  {}  ]", button.title()), theme.style(Role::Text))
        };
        let left = row.right().saturating_sub(x);
        put(buffer, Rect { x, width: left, ..row }, &text, style, false);
        x = x.saturating_add(u16::try_from(text.len() + 2).unwrap_or(0)).min(row.right());
    }
}
