//! A change of several messages: the form, what would be done, how far it is, and what came of each.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::table::put;
use super::{difference, nth_row, words};
use crate::console::many::{Found, Progress};
use crate::console::model::{
    Campaign, ManyAct, ManyField, ManyForm, ManyStage, Model, OVER_ROWS, Over, Ready, Scope,
};
use crate::console::text::clean::{self, clean};
use crate::console::theme::{Role, Theme};

/// Draws it; tells where its cursor is.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) -> Option<Position> {
    let theme = model.setup.theme;
    let campaign = model.many.campaign.as_ref()?;
    let first = nth_row(area, 0)?;
    put(buffer, first, &title(campaign), theme.style(Role::Title), false);
    let rest = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    match &campaign.stage {
        ManyStage::Form => form(theme, &campaign.form, buffer, rest),
        ManyStage::Looking(progress) => {
            looking(theme, progress, buffer, rest);
            None
        }
        ManyStage::Ready(state) => ready(theme, campaign, state, buffer, rest),
        ManyStage::Running { progress, stopping } => {
            running(theme, progress, *stopping, buffer, rest);
            None
        }
        ManyStage::Over(over) => {
            results(theme, over, buffer, rest);
            None
        }
    }
}

fn title(campaign: &Campaign) -> String {
    match campaign.stage {
        ManyStage::Form => format!("SEVERAL of {}", campaign.queue),
        ManyStage::Looking(_) => format!("{}: looking what would be done", campaign.title()),
        ManyStage::Ready(_) => format!("{}: nothing is done yet", campaign.title()),
        ManyStage::Running { .. } => format!("{}: running", campaign.title()),
        ManyStage::Over(_) => format!("{}: what came of each", campaign.title()),
    }
}

fn text(theme: Theme, buffer: &mut Buffer, area: Rect, n: usize, text: &str, role: Role) {
    if let Some(row) = nth_row(area, n) {
        put(buffer, row, text, theme.style(role), false);
    }
}

fn form(theme: Theme, form: &ManyForm, buffer: &mut Buffer, area: Rect) -> Option<Position> {
    acts(theme, form, buffer, nth_row(area, 0)?);
    let fields = form.act.fields();
    // Below the list: its note, the lines that are typed, and what is missing or what Enter does.
    let room = usize::from(area.height).saturating_sub(fields.len() + 4).max(1);
    let list =
        Rect { y: area.y + 2, height: u16::try_from(room).unwrap_or(1), ..area }.intersection(area);
    let top = (form.at + 1).saturating_sub(room);
    for (n, (scope, count)) in form.scopes.iter().enumerate().skip(top) {
        let Some(row) = nth_row(list, n - top) else { break };
        let count = count.map_or(String::new(), words::count);
        let line = format!(" {count:>7}  {}", scope_text(scope));
        let style = theme.style(if n == form.at { Role::Selected } else { Role::Text });
        buffer.set_style(row, style);
        put(buffer, row, &line, style, false);
    }
    let after = room + 2;
    let note = match &form.groups {
        Ok(false) => "reading the groups of errors".to_owned(),
        Err(why) => format!("the groups of errors can't be read: {}", clean(why)),
        Ok(true) if form.scopes.len() > room => {
            format!("{} of {} choices", form.at + 1, form.scopes.len())
        }
        Ok(true) => String::new(),
    };
    if let Some(row) = nth_row(area, 1) {
        put(buffer, row, &note, theme.style(Role::Dim), false);
    }
    let cursor = lines(theme, form, buffer, area, after);
    let (last, role) = match &form.complaint {
        Some(complaint) => (clean(complaint).into_owned(), Role::Bad),
        None => {
            ("Enter looks what would be done to each; nothing is changed by it".into(), Role::Dim)
        }
    };
    text(theme, buffer, area, after + fields.len(), &last, role);
    cursor
}

/// The lines that are typed, from row `after` on; tells where the cursor is.
fn lines(
    theme: Theme,
    form: &ManyForm,
    buffer: &mut Buffer,
    area: Rect,
    after: usize,
) -> Option<Position> {
    let mut cursor = None;
    for (n, &field) in form.act.fields().iter().enumerate() {
        let Some(row) = nth_row(area, after + n) else { break };
        let (label, hint) = label(form.act, field);
        let typed = clean(form.text(field)).into_owned();
        let chosen = form.field == field;
        let style = theme.style(if chosen { Role::Key } else { Role::Text });
        put(buffer, row, &format!("{label}{typed}"), style, false);
        if typed.is_empty() {
            let x =
                row.x.saturating_add(u16::try_from(label.len() + 1).unwrap_or(0)).min(row.right());
            let place = Rect { x, width: row.right().saturating_sub(x), ..row };
            put(buffer, place, hint, theme.style(Role::Dim), false);
        }
        if chosen {
            let x = clean::width(label) + clean::width(&typed);
            let x = row.x.saturating_add(u16::try_from(x).unwrap_or(u16::MAX));
            cursor = Some(Position { x: x.min(row.right().saturating_sub(1)), y: row.y });
        }
    }
    cursor
}

/// What can be done; where not all have room, the first are left out so that the chosen one is seen.
fn acts(theme: Theme, form: &ManyForm, buffer: &mut Buffer, row: Rect) {
    let word = |act: ManyAct| match act == form.act {
        true => format!("[{}]", act.title()),
        false => format!(" {} ", act.title()),
    };
    let chosen = ManyAct::CHOICE.iter().position(|act| *act == form.act).unwrap_or(0);
    let wide = |from: usize| -> usize {
        ManyAct::CHOICE[from..=chosen].iter().map(|act| word(*act).len() + 1).sum()
    };
    let first = (0..=chosen).find(|from| wide(*from) <= usize::from(row.width) + 1);
    let mut x = row.x;
    for act in ManyAct::CHOICE.into_iter().skip(first.unwrap_or(chosen)) {
        let style = theme.style(if act == form.act { Role::Title } else { Role::Dim });
        let word = word(act);
        put(buffer, Rect { x, width: row.right().saturating_sub(x), ..row }, &word, style, false);
        x = x.saturating_add(u16::try_from(word.len() + 1).unwrap_or(0)).min(row.right());
    }
}

fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::Marked => "marked".to_owned(),
        Scope::Blocked => "all that are blocked".to_owned(),
        Scope::Waiting => "all that wait for another attempt".to_owned(),
        Scope::All => "all in the queue".to_owned(),
        Scope::Undone(_) => "those that were done".to_owned(),
        Scope::Group(group) => format!("{}  {}", group.id, clean(&group.pattern)),
    }
}

const fn label(act: ManyAct, field: ManyField) -> (&'static str, &'static str) {
    match (field, act) {
        (ManyField::To, _) => ("queue       ", "where they go; empty: dead letters go back"),
        (ManyField::Jq, _) => ("jq          ", ".total |= tonumber"),
        (ManyField::Reason, ManyAct::Cancel) => ("reason      ", "needed; for the journal"),
        (ManyField::Reason, _) => ("reason      ", "if you like; for the journal"),
        (ManyField::Rate, _) => ("per second  ", "as fast as the store takes them"),
    }
}

fn looking(theme: Theme, progress: &Progress, buffer: &mut Buffer, area: Rect) {
    let of = progress.of.map_or(String::new(), |of| format!(" of {of}"));
    text(theme, buffer, area, 1, &format!("{}{of} looked at", progress.tried), Role::Text);
    if let Some(note) = &progress.note {
        text(theme, buffer, area, 2, &clean(note), Role::Warn);
    }
    text(theme, buffer, area, 4, "Esc goes back; nothing is changed by looking", Role::Dim);
}

fn ready(
    theme: Theme,
    campaign: &Campaign,
    state: &Ready,
    buffer: &mut Buffer,
    area: Rect,
) -> Option<Position> {
    let refused = state.refused().count();
    let same = match state.same() {
        0 => String::new(),
        same => format!(", {same} stay as they are"),
    };
    let cut = if state.frozen.is_cut { "; there are more: repeat it for them" } else { "" };
    let counts = format!("{} would be done, {refused} can't be{same}{cut}", state.count);
    text(theme, buffer, area, 0, &counts, if refused > 0 { Role::Warn } else { Role::Text });
    let height = area.height.saturating_sub(5);
    let list = Rect { y: area.y + 2, height, ..area }.intersection(area);
    let edited = state.edited().count();
    if edited > 0 {
        if let Some(item) = state.edited().nth(state.at) {
            let place = state.pane.place().map_or(String::new(), |rows| format!("  rows {rows}"));
            let line = format!(
                "difference {} of {edited}: #{} {}{place}",
                state.at + 1,
                item.row.item.seq,
                clean(item.row.id.as_str())
            );
            text(theme, buffer, area, 1, &line, Role::Title);
        }
        difference::pane(theme, &state.pane, buffer, list);
    } else {
        list_found(theme, state, buffer, list);
    }
    let last = usize::from(area.height);
    let row = nth_row(area, last.saturating_sub(2))?;
    let label = format!("type {} to {} them: ", state.count, campaign.form.act.title());
    let typed = clean(&state.typed);
    put(buffer, row, &format!("{label}{typed}"), theme.style(Role::Key), false);
    let (hint, role) = match &state.complaint {
        Some(complaint) => (clean(complaint).into_owned(), Role::Bad),
        None => (
            "the list is as it was looked at; what changes meanwhile is left alone".into(),
            Role::Dim,
        ),
    };
    text(theme, buffer, area, last.saturating_sub(1), &hint, role);
    let x = clean::width(&label) + clean::width(&typed);
    let x = row.x.saturating_add(u16::try_from(x).unwrap_or(u16::MAX));
    Some(Position { x: x.min(row.right().saturating_sub(1)), y: row.y })
}

/// What can't be done first, then what would be.
fn list_found(theme: Theme, state: &Ready, buffer: &mut Buffer, area: Rect) {
    let refused = state.refused().map(|(row, why)| (row, clean(why).into_owned(), Role::Bad));
    let possible = state.frozen.items.iter().filter(|item| item.found == Found::Possible);
    let possible = possible.map(|item| (&item.row, "would be done".to_owned(), Role::Text));
    for (n, (row, what, role)) in refused.chain(possible).skip(state.scroll).enumerate() {
        let line = format!("{:>8}  {}  {what}", row.item.seq, clean(row.id.as_str()));
        if nth_row(area, n).is_none() {
            break;
        }
        text(theme, buffer, area, n, &line, role);
    }
}

/// A bar as wide as the area; its word tells the same without it.
fn bar(theme: Theme, tried: u64, of: u64, width: u16) -> String {
    let cells = u64::from(width.saturating_sub(2));
    let full = (tried.min(of) * cells).checked_div(of).unwrap_or(0);
    let (on, off) = (theme.glyph("█", "#"), theme.glyph("░", "."));
    let repeat = |glyph: &str, n: u64| glyph.repeat(usize::try_from(n).unwrap_or(0));
    format!("[{}{}]", repeat(on, full), repeat(off, cells - full))
}

fn running(theme: Theme, progress: &Progress, stopping: bool, buffer: &mut Buffer, area: Rect) {
    let of = progress.of.unwrap_or(progress.tried);
    let percent = (progress.tried * 100).checked_div(of).unwrap_or(0);
    let line =
        format!("{} of {of} tried ({percent} %), {} refused", progress.tried, progress.failed);
    text(theme, buffer, area, 1, &line, Role::Text);
    text(theme, buffer, area, 2, &bar(theme, progress.tried, of, area.width), Role::Busy);
    if stopping {
        text(theme, buffer, area, 4, "stopping: what is under way is finished", Role::Warn);
    } else if let Some(note) = &progress.note {
        text(theme, buffer, area, 4, &clean(note), Role::Warn);
    }
    text(theme, buffer, area, 6, "s stops it; Esc closes this and it goes on", Role::Dim);
}

fn results(theme: Theme, over: &Over, buffer: &mut Buffer, area: Rect) {
    let role = if over.failed() > 0 || over.can_go_on() { Role::Bad } else { Role::Good };
    text(theme, buffer, area, 0, &clean(&over.summary()), role);
    let shown = over.shown();
    let room = usize::from(area.height + 1).saturating_sub(OVER_ROWS);
    if shown.len() > room {
        let end = (over.scroll + room).min(shown.len());
        let place = format!("{}-{end} of {}", over.scroll + 1, shown.len());
        if let Some(row) = nth_row(area, 1) {
            put(buffer, row, &place, theme.style(Role::Dim), true);
        }
    }
    if over.failed_only {
        text(theme, buffer, area, 1, "only what failed; f lists all", Role::Dim);
    }
    let list = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    for (n, outcome) in shown.iter().skip(over.scroll).enumerate() {
        if nth_row(list, n).is_none() {
            break;
        }
        let (word, what, role) = match &outcome.result {
            Ok((_, what)) => (theme.glyph("✓ done", "+ done"), what, Role::Text),
            Err(why) => (theme.glyph("■ NOT ", "! NOT "), why, Role::Bad),
        };
        let row = &outcome.row;
        let line =
            format!("{:>8}  {word}  {}  {}", row.item.seq, clean(row.id.as_str()), clean(what));
        text(theme, buffer, list, n, &line, role);
    }
}
