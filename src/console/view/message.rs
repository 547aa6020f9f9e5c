//! Screen 3: a message and its tabs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::table::put;
use super::{nth_row, words};
use crate::admin::dto::{AttemptEnd, MessageView, Timestamp};
use crate::console::command::{Command, Mode};
use crate::console::model::{BodyForm, MessageScreen, Model, Tab, places, wrap_words};
use crate::console::text::clean::{self, clean, clean_lines};
use crate::console::theme::{Role, Theme};

/// Draws the screen.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let Some(screen) = &model.message else { return };
    let Some(first) = nth_row(area, 0) else { return };
    title(model, screen, buffer, first);
    if let Some(row) = nth_row(area, 1) {
        tabs(model, screen, buffer, row);
    }
    let lines = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    let Some(view) = &screen.view else {
        let text = screen.gone.as_deref().unwrap_or("reading");
        if let Some(row) = nth_row(lines, 1) {
            put(buffer, row, &clean(text), theme.style(Role::Warn), false);
        }
        return;
    };
    match screen.tab {
        Tab::Body => body(theme, screen, buffer, lines),
        Tab::Headers | Tab::Error | Tab::Attempts | Tab::History => {
            let width = usize::from(area.width);
            let all = match screen.tab {
                Tab::Headers => headers(theme, view, width),
                Tab::Error => error(theme, view, width),
                Tab::Attempts => attempts(theme, view, width),
                Tab::Body | Tab::History => history(theme, view, width),
            };
            for (n, (text, style)) in all.iter().skip(screen.scroll).enumerate() {
                let Some(row) = nth_row(lines, n) else { break };
                put(buffer, row, text, *style, false);
            }
        }
    }
}

/// State, attempts, revision, age, what waits behind it, who holds it.
fn title(model: &Model, screen: &MessageScreen, buffer: &mut Buffer, row: Rect) {
    let theme = model.setup.theme;
    let draft = if model.has_draft(&screen.message) { "  YOUR DRAFT" } else { "" };
    let Some(view) = &screen.view else {
        let text = format!("{}{draft}", screen.message);
        return put(buffer, row, &text, theme.style(Role::Title), false);
    };
    let summary = &view.summary;
    let (glyph, role) = theme.message(summary.state);
    let age = model.broker_now().map_or(String::new(), |now| {
        format!("  {} old", words::coarse_age(now.since_ms(summary.accepted_at)))
    });
    let revision = match summary.revision.0 {
        0 => String::new(),
        n => format!("  revision {n}"),
    };
    if let Some(gone) = &screen.gone {
        let text = format!("#{}  {}{draft}", summary.seq, clean(gone));
        return put(buffer, row, &text, theme.style(Role::Warn), false);
    }
    let held = view
        .hold
        .as_ref()
        .map_or(String::new(), |hold| format!("  held by {}", clean(&hold.by.name)));
    let text = format!(
        "{glyph} {}  #{}  attempt {}{revision}{draft}{age}  {}  {} behind{held}  {}",
        summary.state,
        summary.seq,
        summary.attempt,
        words::size(summary.payload_bytes),
        view.behind,
        clean(summary.id.as_str()),
    );
    put(buffer, row, &text, theme.style(role), false);
}

fn tabs(model: &Model, screen: &MessageScreen, buffer: &mut Buffer, row: Rect) {
    let theme = model.setup.theme;
    let mut x = row.x;
    for tab in Tab::ALL {
        let chosen = tab == screen.tab;
        let text = if chosen { format!("[{}]", tab.title()) } else { format!(" {} ", tab.title()) };
        let style = theme.style(if chosen { Role::Title } else { Role::Dim });
        put(buffer, Rect { x, width: row.right().saturating_sub(x), ..row }, &text, style, false);
        x = x.saturating_add(u16::try_from(text.len() + 1).unwrap_or(0)).min(row.right());
    }
    let hint = |command, text| model.setup.keys.hint(Mode::Message, command, text);
    let note = match (screen.tab, screen.form_note, screen.cut) {
        (Tab::Body, _, true) => {
            format!("the beginning{}", hint(Command::Edit, "; {} opens all"))
        }
        (Tab::Body, Some(BodyForm::Tree), false) => {
            format!("tree{}", hint(Command::Fold, ": {} folds"))
        }
        (Tab::Body, Some(form), false) => form.note().to_owned(),
        (_, _, _) => return,
    };
    let rest = Rect { x, width: row.right().saturating_sub(x), ..row };
    if clean::width(&note) <= usize::from(rest.width) {
        put(buffer, rest, &note, theme.style(Role::Dim), true);
    }
}

fn body(theme: Theme, screen: &MessageScreen, buffer: &mut Buffer, area: Rect) {
    if screen.shows_tree() {
        return tree(theme, screen, buffer, area);
    }
    if screen.text.is_empty()
        && let Some(row) = nth_row(area, 0)
    {
        return put(buffer, row, "(an empty payload)", theme.style(Role::Dim), false);
    }
    for (n, range) in screen.wrapped.iter().skip(screen.scroll).enumerate() {
        let Some(row) = nth_row(area, n) else { break };
        put(buffer, row, &screen.text[range.clone()], theme.style(Role::Text), false);
        mark(theme, screen, range, buffer, row);
    }
}

/// What is searched for stands out; the place where it was found last, most.
fn mark(
    theme: Theme,
    screen: &MessageScreen,
    range: &std::ops::Range<usize>,
    buffer: &mut Buffer,
    row: Rect,
) {
    let line = &screen.text[range.clone()];
    for found in places(line, &screen.query) {
        let columns = |bytes: &str| u16::try_from(clean::width(bytes)).unwrap_or(u16::MAX);
        let x = row.x.saturating_add(columns(&line[..found.start]));
        let here = screen.found_at() == Some(range.start + found.start);
        let role = if here { Role::Selected } else { Role::Key };
        let place = Rect { x, width: columns(&line[found]), ..row }.intersection(row);
        buffer.set_style(place, theme.style(role).add_modifier(Modifier::UNDERLINED));
    }
}

/// A branch folds: its mark says whether it has, and how much is in it.
fn tree(theme: Theme, screen: &MessageScreen, buffer: &mut Buffer, area: Rect) {
    for at in screen.cursor.top..screen.tree.len() {
        let (Some(row), Some(line)) = (nth_row(area, at - screen.cursor.top), screen.tree.line(at))
        else {
            break;
        };
        let mark = match line.folded {
            Some(true) => theme.glyph("▸", "+"),
            Some(false) => theme.glyph("▾", "-"),
            None => " ",
        };
        let label = if line.label.is_empty() { String::new() } else { format!("{}: ", line.label) };
        let value = match (line.inside, line.value) {
            (Some(0) | None, value) => value.to_owned(),
            (Some(n), brackets) => {
                let mut ends = brackets.chars();
                let open = ends.next().unwrap_or(' ');
                format!("{open} {n} {}", ends.next().unwrap_or(' '))
            }
        };
        let style = theme.style(if line.inside.is_some() { Role::Dim } else { Role::Text });
        if at == screen.cursor.at {
            buffer.set_style(row, theme.style(Role::Selected));
        }
        let lead = format!("{}{mark} {label}", "  ".repeat(line.inset));
        put(buffer, row, &lead, Style::new(), false);
        let x = row.x.saturating_add(u16::try_from(clean::width(&lead)).unwrap_or(u16::MAX));
        let rest = Rect { x: x.min(row.right()), width: row.right().saturating_sub(x), ..row };
        put(buffer, rest, &value, style, false);
    }
}

type Lines = Vec<(String, Style)>;

/// Adds hostile text under a label, over as many lines as it takes.
fn block(lines: &mut Lines, label: &str, text: &str, width: usize, style: Style) {
    let text = clean_lines(text);
    let indent = clean::width(label);
    let room = width.saturating_sub(indent).max(8);
    for (n, range) in wrap_words(&text, room).into_iter().enumerate() {
        let lead = if n == 0 { label.to_owned() } else { " ".repeat(indent) };
        lines.push((format!("{lead}{}", &text[range]), style));
    }
}

fn headers(theme: Theme, view: &MessageView, width: usize) -> Lines {
    let mut lines = Lines::new();
    let mut rows = Vec::new();
    fields(&view.header, "", &mut rows);
    // One column for the names, as wide as the longest but for very long ones.
    let names = rows.iter().map(|(name, _)| clean::width(name)).max().unwrap_or(0);
    let column = names.clamp(8, (width / 3).max(8));
    for (name, text) in rows {
        let gap = column.saturating_sub(clean::width(&name)) + 2;
        let label = format!("{name}{}", " ".repeat(gap));
        block(&mut lines, &label, &text, width, theme.style(Role::Text));
    }
    lines
}

/// The header's fields, those of the producer's own `headers` as `headers.name`; cleaned.
fn fields(
    header: &serde_json::Map<String, serde_json::Value>,
    path: &str,
    rows: &mut Vec<(String, String)>,
) {
    for (name, value) in header {
        let name = format!("{path}{}", clean(name));
        match value {
            serde_json::Value::String(text) => rows.push((name, clean(text).into_owned())),
            serde_json::Value::Object(inside) if path.is_empty() && !inside.is_empty() => {
                fields(inside, &format!("{name}."), rows);
            }
            other => rows.push((name, clean(&other.to_string()).into_owned())),
        }
    }
}

fn error(theme: Theme, view: &MessageView, width: usize) -> Lines {
    let mut lines = Lines::new();
    let Some(error) = &view.summary.error else {
        lines.push(("this message has not failed".to_owned(), theme.style(Role::Dim)));
        return lines;
    };
    block(&mut lines, "code     ", &clean(&error.code), width, theme.style(Role::Bad));
    block(&mut lines, "message  ", &clean(&error.message), width, theme.style(Role::Bad));
    if !error.detail.is_empty() {
        lines.push((String::new(), Style::new()));
        block(&mut lines, "", &error.detail, width, theme.style(Role::Text));
    }
    lines
}

fn attempts(theme: Theme, view: &MessageView, width: usize) -> Lines {
    let mut lines = Lines::new();
    if let Some(lease) = &view.lease {
        let text = format!("now: attempt {} until {}", lease.attempt, lease.deadline);
        lines.push((text, theme.style(Role::Busy)));
    }
    for attempt in view.attempts.iter().rev() {
        let end = match attempt.end {
            AttemptEnd::Nack => "refused",
            AttemptEnd::LeaseOver => "lease over",
            AttemptEnd::WorkerLost => "worker lost",
        };
        let took = words::age(attempt.ended_at.since_ms(attempt.started_at));
        let text = format!(
            "{}  {}  {end} by {} after {took}, revision {}",
            attempt.number,
            clock(attempt.ended_at),
            clean(&attempt.worker),
            attempt.revision
        );
        lines.push((text, theme.style(Role::Title)));
        let error = format!("{}: {}", clean(&attempt.error.code), clean(&attempt.error.message));
        block(&mut lines, "   ", &error, width, theme.style(Role::Bad));
    }
    if lines.is_empty() {
        lines.push(("no attempt has failed".to_owned(), theme.style(Role::Dim)));
    }
    lines
}

fn history(theme: Theme, view: &MessageView, width: usize) -> Lines {
    let mut lines = Lines::new();
    let accepted = format!("{}  accepted", clock(view.summary.accepted_at));
    lines.push((accepted, theme.style(Role::Text)));
    if view.history_cut {
        lines.push(("there are or were older entries".to_owned(), theme.style(Role::Dim)));
    }
    for entry in &view.history {
        let revision = entry.revision.map_or(String::new(), |revision| format!(" r{revision}"));
        let label = format!("{}  {}{revision}  ", clock(entry.at), entry.kind.as_str());
        let text = format!(
            "{} ({})  {}",
            clean(&entry.actor.name),
            clean(&entry.actor.via),
            clean(&entry.reason)
        );
        block(&mut lines, &label, &text, width, theme.style(Role::Text));
    }
    lines
}

/// Date and time to the second, UTC.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}
