//! Row 1, and the two rows above the last one.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::table::put;
use super::words;
use crate::admin::dto::{StoreHealth, WorkError};
use crate::console::command::{Command, Mode, Screen};
use crate::console::keymap::Keymap;
use crate::console::model::{
    EditSession, FileUse, ManyStage, Model, Overlay, SortBy, Stage, Standing, Status, Verdict,
};
use crate::console::text::clean::{self, clean};
use crate::console::theme::{Role, Theme};

/// Draws pieces from the left until the row is full; tells where they end.
pub(super) fn pieces(buffer: &mut Buffer, row: Rect, pieces: &[(String, Style)]) -> u16 {
    let mut x = row.x;
    for (text, style) in pieces {
        let left = row.right().saturating_sub(x);
        put(buffer, Rect { x, width: left, ..row }, text, *style, false);
        x = x.saturating_add(u16::try_from(clean::width(text)).unwrap_or(left)).min(row.right());
    }
    x
}

/// Columns of row 1 for why the store is down: what else stands there must not be pushed out.
const STORE_COLUMNS: usize = 30;

/// Columns of row 1 for what a list is filtered by.
const FILTER_COLUMNS: usize = 16;

/// Row 1: `mubroker ● live 0.4s  RW  BLOCKED 3 queues`, and where one is.
pub(super) fn header(model: &Model, buffer: &mut Buffer, row: Rect) {
    let theme = model.setup.theme;
    // What is about the operator's own text is told before how long it takes to connect again.
    let tail = header_tail(model, theme);
    let wide: usize = tail.iter().map(|(text, _)| clean::width(text)).sum();
    let (text, role) = connection(model, theme);
    let room = usize::from(row.width).saturating_sub(wide + 9);
    let text = clean::truncate(&text, room).into_owned();
    let mut parts =
        vec![("mubroker ".to_owned(), theme.style(Role::Title)), (text, theme.style(role))];
    parts.extend(tail);
    let end = pieces(buffer, row, &parts);
    // Where there is no room for all of it, its beginning: the screen's number and title.
    let place = place(model);
    let room = usize::from(row.right().saturating_sub(end.saturating_add(2)));
    let number = place.split(' ').next().map_or(0, clean::width);
    if number <= room {
        // A title of which less than a few letters would be left is left out.
        let shown = match room < number + 4 {
            true => clean::truncate(&place[..number], number),
            false => clean::truncate(&place, room),
        };
        put(buffer, row, &shown, theme.style(Role::Dim), true);
    }
}

fn header_tail(model: &Model, theme: Theme) -> Vec<(String, Style)> {
    let rights = if model.setup.read_only { "  RO" } else { "  RW" };
    let mut parts = vec![(rights.to_owned(), theme.style(Role::Text))];
    let blocked = model.queues.rows.values().filter(|row| row.view.is_hurt()).count();
    if blocked > 0 {
        let of = if blocked == 1 { "queue" } else { "queues" };
        parts.push((format!("  BLOCKED {blocked} {of}"), theme.style(Role::Bad)));
    } else if model.queues.loaded {
        parts.push(("  none blocked".to_owned(), theme.style(Role::Dim)));
    }
    let health = model.connection.overview.as_ref().map(|overview| &overview.store);
    let store = match health {
        Some(StoreHealth::Unavailable { reason }) => Some(("STORE DOWN", reason)),
        Some(StoreHealth::Full { reason }) => Some(("DISK FULL", reason)),
        Some(StoreHealth::Ok) | None => None,
    };
    if let Some((word, reason)) = store {
        let reason = clean(reason);
        let reason = clean::truncate(&reason, STORE_COLUMNS);
        parts.push((format!("  {word} {reason}"), theme.style(Role::Bad)));
    }
    if let Some(text) = several(model) {
        parts.push((text, theme.style(Role::Busy)));
    }
    let drafts = model.drafts().count();
    if drafts > 0 {
        parts.push((format!("  drafts {drafts}"), theme.style(Role::Warn)));
    }
    parts
}

/// How far a change of several messages is, also while it isn't looked at; else how many are marked.
fn several(model: &Model) -> Option<String> {
    let stage = model.many.campaign.as_ref().map(|campaign| &campaign.stage);
    if let Some(ManyStage::Running { progress, .. }) = stage {
        let of = progress.of.map_or(String::new(), |of| format!("/{of}"));
        return Some(format!("  SEVERAL {}{of}", progress.tried));
    }
    let queue = model.queue.as_ref().filter(|_| model.screen == Screen::Queue)?;
    match model.many.marked(&queue.name) {
        0 => None,
        marked => Some(format!("  marked {marked}")),
    }
}

fn connection(model: &Model, theme: Theme) -> (String, Role) {
    let (glyph, text, role) = match model.connection.status(model.now) {
        Status::Connecting => (theme.glyph("○", "o"), "connecting".to_owned(), Role::Warn),
        Status::Live { age_ms } => {
            (theme.glyph("●", "*"), format!("live {}", words::age(age_ms)), Role::Good)
        }
        Status::Stale { age_ms } => {
            (theme.glyph("◐", "~"), format!("STALE {}", words::age(age_ms)), Role::Warn)
        }
        Status::Reconnecting { failures, next_in_ms, age_ms } => {
            let next = match next_in_ms {
                0 => "trying".to_owned(),
                ms => format!("next try in {}s", ms.div_ceil(1_000)),
            };
            let age =
                age_ms.map_or(String::new(), |ms| format!(", data {} old", words::coarse_age(ms)));
            (theme.glyph("○", "o"), format!("RECONNECTING ({failures}, {next}{age})"), Role::Bad)
        }
        Status::Refused { reason } => {
            (theme.glyph("×", "x"), format!("REFUSED {}", clean(&reason)), Role::Bad)
        }
    };
    (format!("{glyph} {text}"), role)
}

/// Which screen, of what.
fn place(model: &Model) -> String {
    let number = Screen::ALL.iter().position(|screen| *screen == model.screen).unwrap_or(0) + 1;
    let of = match model.screen {
        Screen::Queue => model.queue.as_ref().map(|queue| match queue.by_key {
            true => format!("{} by order key", queue.name),
            false => queue.name.to_string(),
        }),
        Screen::Message => model.message.as_ref().map(|screen| screen.message.to_string()),
        Screen::Patterns => Some(model.patterns.tab.title().to_owned()),
        Screen::Queues if model.queues.sort != SortBy::default() => {
            Some(model.queues.sort.title().to_owned())
        }
        Screen::Queues | Screen::Workers | Screen::Journal | Screen::Events => None,
    };
    let of = of.map_or(String::new(), |of| format!(" {of}"));
    // A list that hides something says so.
    let filter = match model.filter().filter(|filter| !filter.is_empty()) {
        Some(filter) => format!("  /{}", clean::truncate(&clean(filter.typed()), FILTER_COLUMNS)),
        None => String::new(),
    };
    format!("{number} {}{of}{filter}", model.screen.title())
}

/// The selected row's error; in the editor, where the JSON is broken.
pub(super) fn error(model: &Model, buffer: &mut Buffer, row: Rect) {
    let theme = model.setup.theme;
    if let Some(edit) = &model.edit {
        let (text, role) = match (edit.editor.fault(), edit.json) {
            (Some(fault), true) => {
                let text = format!("not JSON at {fault}");
                let keys = model.setup.keys;
                let hint = keys.hint(Mode::Editor, Command::GoToFault, "   {} goes there");
                let fits = clean::width(&clean(&text)) + hint.len() <= usize::from(row.width);
                (if fits { text + &hint } else { text }, Role::Bad)
            }
            (None, _) if edit.editor.is_checked() && !edit.schema.shown.is_empty() => {
                of_schema(model.setup.keys, edit, row.width.into())
            }
            (_, false) if edit.binary => {
                ("the payload was not UTF-8: anything may take its place".to_owned(), Role::Dim)
            }
            (_, false) => ("not JSON by its content_type: any text goes".to_owned(), Role::Dim),
            (None, true) if edit.editor.is_checked() => ("JSON ok".to_owned(), Role::Good),
            (None, true) => ("JSON is checked when you pause".to_owned(), Role::Dim),
        };
        return put(buffer, row, &clean(&text), theme.style(role), false);
    }
    // What lies on top is about several, not about the row under the cursor.
    if matches!(model.overlay, Overlay::Many) {
        return;
    }
    let text = |error: &WorkError| {
        format!("{} {}: {}", theme.glyph("■", "!"), clean(&error.code), clean(&error.message))
    };
    let line = match model.screen {
        Screen::Queues => {
            model.queues.selected().and_then(|row| row.view.head.as_ref()?.error.as_ref()).map(text)
        }
        Screen::Queue => model.queue.as_ref().and_then(|queue| {
            let error = match queue.by_key {
                true => queue.keys.selected(&queue.filter)?.error.as_ref(),
                false => queue.selected()?.error.as_ref(),
            };
            error.map(text)
        }),
        Screen::Message => model
            .message
            .as_ref()
            .filter(|screen| screen.is_open())
            .and_then(|screen| screen.view.as_ref()?.summary.error.as_ref())
            .map(text),
        Screen::Workers => {
            model.workers.selected().and_then(|worker| super::workers::trouble(model, worker))
        }
        Screen::Journal => model
            .journal
            .selected()
            .filter(|entry| !entry.reason.is_empty())
            .map(|entry| clean(&entry.reason).into_owned()),
        Screen::Events => model.events.selected().map(|row| clean(&row.text).into_owned()),
        Screen::Patterns => super::patterns::trouble(model),
    };
    let role = match model.screen {
        Screen::Events => model.events.selected().map_or(Role::Text, |row| Role::of(row.weight)),
        _ => Role::Bad,
    };
    if let Some(line) = line {
        put(buffer, row, &line, theme.style(role), false);
    }
}

/// What the queue's schema says of what is edited.
fn of_schema(keys: Keymap, edit: &EditSession, width: usize) -> (String, Role) {
    match edit.schema.standing(edit.draft.version) {
        Standing::NoSchema => ("JSON ok".to_owned(), Role::Good),
        Standing::Asking => ("the queue's schema is being asked".to_owned(), Role::Dim),
        Standing::Told(Verdict::Fits) => {
            ("JSON ok, and as the queue's schema says".to_owned(), Role::Good)
        }
        Standing::Told(Verdict::Unknown(why)) => {
            (format!("the queue's schema could not be asked: {}", clean(why)), Role::Warn)
        }
        Standing::Told(Verdict::Misses(miss)) => {
            let text = format!("misses the schema at {}", clean(&miss.to_string()));
            let hint = keys.hint(Mode::Editor, Command::GoToFault, "   {} goes there");
            let fits = clean::width(&text) + hint.len() <= width && !miss.path.is_empty();
            (if fits { text + &hint } else { text }, Role::Bad)
        }
    }
}

/// The outcome of the last act, or the line that is being typed; then also where its cursor is.
pub(super) fn outcome(model: &Model, buffer: &mut Buffer, row: Rect) -> Option<Position> {
    let theme = model.setup.theme;
    let prompt = match &model.overlay {
        Overlay::Filter { typed, .. } => Some(("filter /", typed)),
        Overlay::Find { typed } => Some(("find ", typed)),
        Overlay::File(prompt) => match prompt.what {
            FileUse::Replace(_) => Some(("replace from file ", &prompt.typed)),
            FileUse::Save(_) => Some(("save to new file ", &prompt.typed)),
            FileUse::Draft(_) => Some(("save the draft to new file ", &prompt.typed)),
            FileUse::Failed => Some(("save what failed to new file ", &prompt.typed)),
        },
        Overlay::None
        | Overlay::Help { .. }
        | Overlay::Palette(_)
        | Overlay::Leave(_)
        | Overlay::Pattern(_)
        | Overlay::Reason(_)
        | Overlay::Throw(_)
        | Overlay::Review(_)
        | Overlay::Difference(_)
        | Overlay::Many
        | Overlay::Quit(_) => None,
    };
    if let Some((label, typed)) = prompt {
        let parts = [
            (label.to_owned(), theme.style(Role::Key)),
            (clean(typed).into_owned(), theme.style(Role::Text)),
        ];
        let x = pieces(buffer, row, &parts);
        return Some(Position { x: x.min(row.right().saturating_sub(1)), y: row.y });
    }
    if matches!(model.overlay, Overlay::Quit(_)) {
        let (text, role) = match model.draft_trouble() {
            Some(why) => (
                format!("DRAFT NOT SAVED, quitting loses it. Quit? y / n  ({})", clean(why)),
                Role::Bad,
            ),
            None if model.edit.is_none() => {
                let text =
                    "Payloads are being saved one by one; quitting ends it there. Quit?  y / n";
                (text.to_owned(), Role::Warn)
            }
            None => {
                let text = "An edit is open; its draft is kept on disk. Quit?  y / n";
                (text.to_owned(), Role::Warn)
            }
        };
        put(buffer, row, &text, theme.style(role), false);
        return None;
    }
    if let Some(lesson) = model.lesson() {
        put(buffer, row, &lesson, theme.style(Role::Warn), false);
        return None;
    }
    if let Some(notice) = model.edit.as_ref().and_then(|edit| edit.notice.as_ref()) {
        put(buffer, row, &clean(notice), theme.style(Role::Warn), false);
        return None;
    }
    let act = model.acts.last.as_ref()?;
    if let Stage::Unknown { why } = &act.stage {
        let line = unknown(&clean(&act.what), &clean(why), row.width.into());
        put(buffer, row, &line, theme.style(Role::Bad), false);
        return None;
    }
    let (word, more, role) = stage(theme, &act.stage);
    let line = if word.is_empty() {
        clean(&act.what).into_owned()
    } else {
        format!("{}: {word}{}", clean(&act.what), clean(&more))
    };
    put(buffer, row, &line, theme.style(role), false);
    None
}

/// No answer yet: as much as there is room for, and nothing cut.
fn unknown(what: &str, why: &str, width: usize) -> String {
    let long = format!("UNKNOWN ({why}); asking for its outcome, nothing is sent again");
    let all = [
        long.as_str(),
        "UNKNOWN; asking for its outcome, nothing is sent again",
        "UNKNOWN; asking, nothing is sent again",
        "UNKNOWN; asking for it",
        "UNKNOWN",
    ];
    let mut lines = all.map(|text| format!("{what}: {text}")).into_iter();
    // Of a name that fills the row by itself only the beginning is shown.
    lines.find(|line| clean::width(line) <= width).unwrap_or_else(|| format!("UNKNOWN: {what}"))
}

/// A stage as a word, what more there is to say, and its role.
fn stage(theme: Theme, stage: &Stage) -> (String, String, Role) {
    let arrow = theme.glyph("→", "->");
    let tail = |text: &str| format!(" {text}");
    match stage {
        Stage::Sending => ("sending".to_owned(), String::new(), Role::Busy),
        Stage::Unknown { why } => ("UNKNOWN".to_owned(), tail(why), Role::Bad),
        Stage::Accepted => ("accepted, waits for its worker".to_owned(), String::new(), Role::Busy),
        Stage::Running => (format!("accepted {arrow} running"), String::new(), Role::Busy),
        Stage::Advanced => {
            (format!("accepted {arrow} done {arrow} HEAD ADVANCED"), String::new(), Role::Good)
        }
        Stage::FailedAgain { error } => ("FAILED AGAIN".to_owned(), tail(error), Role::Bad),
        Stage::Done { text } => ("done,".to_owned(), tail(text), Role::Good),
        Stage::Refused { text } => ("NOT DONE,".to_owned(), tail(text), Role::Bad),
        Stage::Changed { text } => ("CHANGED MEANWHILE,".to_owned(), tail(text), Role::Bad),
        Stage::Note => (String::new(), String::new(), Role::Text),
    }
}
