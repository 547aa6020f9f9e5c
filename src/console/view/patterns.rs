//! Screen 7: topics with their subscriptions, gathers with progress, sagas with their steps.

mod details;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::{Cell, Column, fixed, growing, heads, instead, number, put, row, width_of};
use super::{nth_row, under, words};
use crate::admin::dto::{
    GatherView, RecipientState, SagaState, SagaView, SubscriptionView, Timestamp, WorkError,
};
use crate::console::command::{Command, Mode, Screen};
use crate::console::layout;
use crate::console::model::{Model, PatternTab, Process as _, Sought, TopicLine, TopicRow};
use crate::console::text::clean::{self, clean};
use crate::console::theme::{Role, Theme};

const TOPICS: &[Column] = &[
    growing("TOPIC, QUEUES BELOW", 20, 1, 0),
    growing("FILTER", 14, 4, 1),
    number("TAKEN", 7, 2),
    number("ERRORS", 6, 3),
    fixed("MADE", 12, 4),
];
const GATHERS: &[Column] = &[
    fixed("STATE", 10, 0),
    growing("GATHER", 10, 2, 0),
    fixed("PROGRESS", 10, 1),
    number("REPLIED", 7, 0),
    number("LEFT", 6, 2),
    growing("WAITS FOR", 10, 3, 3),
];
const SAGAS: &[Column] = &[
    fixed("STATE", 14, 0),
    growing("SAGA", 10, 2, 1),
    growing("STEPS", 20, 5, 0),
    number("AGE", 6, 2),
    fixed("ID", 8, 3),
];
/// Which of the columns has the steps.
const STEPS: usize = 2;
/// Columns of a gather's bar.
const BAR: u16 = 10;

/// Draws the screen.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) {
    let Some(first) = nth_row(area, 0) else { return };
    tabs(model, buffer, first);
    let below = layout::details_height(area.height);
    let rows = Rect { y: area.y + 1, height: area.height.saturating_sub(1 + below), ..area };
    let is_empty = match model.patterns.tab {
        PatternTab::Topics => topics(model, buffer, rows),
        PatternTab::Gathers => gathers(model, buffer, rows),
        PatternTab::Sagas => sagas(model, buffer, rows),
    };
    if is_empty {
        return empty(model, buffer, rows);
    }
    if below > 0 {
        let area = Rect { y: rows.bottom(), height: below, ..area };
        details::draw(model, buffer, area);
    }
}

/// `Topics 4   Gathers 2   Sagas 3, 1 PARKED`
fn tabs(model: &Model, buffer: &mut Buffer, row: Rect) {
    let theme = model.setup.theme;
    let patterns = &model.patterns;
    let mut x = row.x;
    for tab in PatternTab::ALL {
        let (count, more, loaded) = match tab {
            PatternTab::Topics => {
                let list = &patterns.topics;
                (list.len(), list.has_more(), list.loaded)
            }
            PatternTab::Gathers => {
                let list = &patterns.gathers;
                (list.rows.len(), list.has_more(), list.loaded)
            }
            PatternTab::Sagas => {
                let list = &patterns.sagas;
                (list.rows.len(), list.has_more(), list.loaded)
            }
        };
        let plus = if more { "+" } else { "" };
        let count = if loaded { format!(" {count}{plus}") } else { String::new() };
        let parked = match patterns.parked() {
            n if n > 0 && tab == PatternTab::Sagas => format!(", {n} PARKED"),
            _ => String::new(),
        };
        let role = match (tab == patterns.tab, parked.is_empty()) {
            (true, _) => Role::Selected,
            (false, true) => Role::Dim,
            (false, false) => Role::Bad,
        };
        let text = format!(" {}{count}{parked} ", tab.title());
        let place = Rect { x, width: row.right().saturating_sub(x), ..row };
        put(buffer, place, &text, theme.style(role), false);
        x = x.saturating_add(u16::try_from(clean::width(&text)).unwrap_or(row.width) + 1);
        if x >= row.right() {
            break;
        }
    }
}

fn topics(model: &Model, buffer: &mut Buffer, area: Rect) -> bool {
    let list = &model.patterns.topics;
    let lines = list.shown(&model.patterns.filter);
    let theme = model.setup.theme;
    let cells = lines.iter().map(|line| match line {
        TopicLine::Topic(topic) => topic_cells(theme, topic),
        TopicLine::Subscription(_, of) => subscription_cells(theme, of),
    });
    table(model, buffer, area, TOPICS, cells, (list.cursor.top, list.cursor.at));
    lines.is_empty()
}

fn topic_cells(theme: Theme, topic: &TopicRow) -> Vec<Cell> {
    let view = &topic.view;
    let bold = theme.style(Role::Title);
    let text = theme.style(Role::Text);
    let otherwise = view.settings.otherwise.as_ref();
    let otherwise = otherwise.map_or(String::new(), |queue| format!(", else {queue}"));
    let unmatched = match view.unmatched {
        0 => String::new(),
        n => format!(", {} taken by none", words::count(n)),
    };
    let more = if topic.more { ", the first of them below" } else { "" };
    let first = if view.settings.matching.as_str() == "first" { ", first match only" } else { "" };
    let says = format!("{} subscriptions{first}{otherwise}{unmatched}{more}", view.subscriptions);
    let bad = if view.filter_errors > 0 { Role::Bad } else { Role::Dim };
    let made = if view.configured { "configured" } else { "at run time" };
    vec![
        Cell::new(view.name.as_str(), bold),
        Cell::new(says, theme.style(Role::Dim)),
        Cell::new(words::count(view.published), text),
        Cell::new(words::count(view.filter_errors), theme.style(bad)),
        Cell::new(made, theme.style(Role::Dim)),
    ]
}

fn subscription_cells(theme: Theme, of: &SubscriptionView) -> Vec<Cell> {
    let text = theme.style(Role::Text);
    let filter = of.filter.as_deref().unwrap_or("all of them");
    let bad = if of.filter_errors > 0 { Role::Bad } else { Role::Dim };
    let made = if of.configured { "configured" } else { "at run time" };
    vec![
        Cell::new(format!("  {} {}", theme.glyph("→", ">"), of.queue), text),
        Cell::new(clean(filter).into_owned(), theme.style(Role::Dim)),
        Cell::new(words::count(of.matched), text),
        Cell::new(words::count(of.filter_errors), theme.style(bad)),
        Cell::new(made, theme.style(Role::Dim)),
    ]
}

fn gathers(model: &Model, buffer: &mut Buffer, area: Rect) -> bool {
    let list = &model.patterns.gathers;
    let rows = list.shown(&model.patterns.filter);
    let (theme, now) = (model.setup.theme, model.broker_now());
    let cells = rows.iter().map(|gather| gather_cells(theme, gather, now));
    table(model, buffer, area, GATHERS, cells, (list.cursor.top, list.cursor.at));
    rows.is_empty()
}

fn gather_cells(theme: Theme, gather: &GatherView, now: Option<Timestamp>) -> Vec<Cell> {
    let (glyph, role) = theme.gather(gather.state);
    let text = theme.style(Role::Text);
    let all = gather.recipients.len() as u64;
    let replied = of_state(gather, RecipientState::Replied).count() as u64;
    let left = match (now, gather.until) {
        (Some(now), Some(until)) if gather.is_open() => words::coarse_age(until.since_ms(now)),
        (_, _) => String::new(),
    };
    let waits: Vec<String> = gather
        .recipients
        .iter()
        .filter(|recipient| recipient.state != RecipientState::Replied)
        .map(|recipient| format!("{} {}", theme.recipient(recipient.state).0, recipient.queue))
        .collect();
    let hurt = of_state(gather, RecipientState::Blocked).next().is_some();
    let name = match &gather.gather {
        Some(name) => name.to_string(),
        None => clean(gather.id.as_str()).into_owned(),
    };
    vec![
        Cell::new(format!("{glyph} {}", gather.state.as_str()), theme.style(role)),
        Cell::new(name, text),
        Cell::new(theme.bar(replied, all, BAR), theme.style(role)),
        Cell::new(format!("{replied}/{all}"), text),
        Cell::new(left, text),
        Cell::new(waits.join(", "), theme.style(if hurt { Role::Bad } else { Role::Dim })),
    ]
}

fn of_state(gather: &GatherView, state: RecipientState) -> impl Iterator<Item = ()> {
    gather.recipients.iter().filter(move |recipient| recipient.state == state).map(|_| ())
}

fn sagas(model: &Model, buffer: &mut Buffer, area: Rect) -> bool {
    let list = &model.patterns.sagas;
    let rows = list.shown(&model.patterns.filter);
    let (theme, now) = (model.setup.theme, model.broker_now());
    let room = width_of(SAGAS, STEPS, area.width);
    let cells = rows.iter().map(|saga| saga_cells(theme, saga, now, room));
    table(model, buffer, area, SAGAS, cells, (list.cursor.top, list.cursor.at));
    rows.is_empty()
}

fn saga_cells(theme: Theme, saga: &SagaView, now: Option<Timestamp>, room: usize) -> Vec<Cell> {
    let (glyph, role) = theme.saga(saga.state);
    let text = theme.style(Role::Text);
    let age = now.map_or(String::new(), |now| words::coarse_age(now.since_ms(saga.started_at)));
    let id = clean(saga.id.as_str());
    let tail = id.char_indices().rev().nth(7).map_or(&*id, |(at, _)| &id[at..]);
    vec![
        Cell::new(format!("{glyph} {}", saga.state.as_str()), theme.style(role)),
        Cell::new(saga.saga.as_str(), text),
        Cell::new(steps(theme, saga, room), theme.style(role)),
        Cell::new(age, text),
        Cell::new(tail, text),
    ]
}

/// A saga's steps as a line of states in `room` columns: with their names, or if that is too long their glyphs
/// and the name of the one that it is at.
pub(super) fn steps(theme: Theme, saga: &SagaView, room: usize) -> String {
    let arrow = theme.glyph(" → ", " > ");
    let named: Vec<String> = saga
        .steps
        .iter()
        .map(|step| format!("{} {}", theme.step(step.state).0, clean(&step.name)))
        .collect();
    let named = named.join(arrow);
    if clean::width(&named) <= room {
        return named;
    }
    let glyphs: String = saga.steps.iter().map(|step| theme.step(step.state).0).collect();
    let at = details::step_at(saga)
        .map_or(String::new(), |step| format!("  {} {}", clean(&step.name), step.state.as_str()));
    format!("{glyphs}{at}")
}

/// Draws heads and rows from `top` on, the cursor on row `at`.
fn table(
    model: &Model,
    buffer: &mut Buffer,
    area: Rect,
    columns: &[Column],
    cells: impl Iterator<Item = Vec<Cell>>,
    (top, at): (usize, usize),
) {
    let theme = model.setup.theme;
    let Some(head) = nth_row(area, 0) else { return };
    heads(buffer, head, columns, theme.style(Role::Title));
    for (n, cells) in cells.enumerate().skip(top) {
        let Some(place) = nth_row(area, n + 1 - top) else { break };
        row(buffer, place, columns, &cells, under(model, Screen::Patterns, n == at));
    }
}

fn empty(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let patterns = &model.patterns;
    let (loaded, trouble) = match patterns.tab {
        PatternTab::Topics => (patterns.topics.loaded, &patterns.topics.trouble),
        PatternTab::Gathers => (patterns.gathers.loaded, &patterns.gathers.trouble),
        PatternTab::Sagas => (patterns.sagas.loaded, &patterns.sagas.trouble),
    };
    let hint = |command, text| model.setup.keys.hint(Mode::Patterns, command, text);
    let unread = format!("can't be read{}", hint(Command::Refresh, "; {} tries again"));
    let clears = hint(Command::Back, "; {} clears it");
    let hidden = format!("nothing that was read passes the filter{clears}");
    let lines: &[&str] = match (trouble, loaded, patterns.tab) {
        // The line below the screen says why.
        (Some(_), ..) => &[&unread],
        (None, false, _) => &["reading"],
        _ if !patterns.filter.is_empty() => &[&hidden],
        (None, true, PatternTab::Topics) => &[
            "No topic yet. An event goes to each queue that subscribed to its topic:",
            "",
            "  mubroker topic subscribe order.created billing",
            "  mubroker publish -t order.created '{\"total\":120}'",
        ],
        (None, true, PatternTab::Gathers) => &[
            "No gather. One message to several queues, their replies as one answer:",
            "",
            "  mubroker gather --recipients prices-a,prices-b '{\"sku\":1}'",
        ],
        (None, true, PatternTab::Sagas) => &[
            "No saga. Steps one after the other, taken back when one fails:",
            "define one as [sagas.\"name\"] in the configuration, then",
            "",
            "  mubroker start --saga name '{\"order\":1}'",
        ],
    };
    instead(buffer, area, lines, theme.style(Role::Text));
}

fn error_text(theme: Theme, error: &WorkError) -> String {
    format!("{} {}: {}", theme.glyph("■", "!"), clean(&error.code), clean(&error.message))
}

/// What is wrong with what is under the cursor, for the line below the screen.
pub(super) fn trouble(model: &Model) -> Option<String> {
    let theme = model.setup.theme;
    let patterns = &model.patterns;
    let filter = &patterns.filter;
    let unread = match patterns.tab {
        PatternTab::Topics => &patterns.topics.trouble,
        PatternTab::Gathers => &patterns.gathers.trouble,
        PatternTab::Sagas => &patterns.sagas.trouble,
    };
    if let Some(why) = unread {
        return Some(format!("can't be read: {}", clean(why)));
    }
    let sought = match patterns.tab {
        PatternTab::Topics => None,
        PatternTab::Gathers => patterns.gathers.sought(),
        PatternTab::Sagas => patterns.sagas.sought(),
    };
    match sought {
        Some(Sought::For(id)) => return Some(format!("looking for {id}")),
        Some(Sought::InVain(id)) => return Some(format!("{id} is not among them any more")),
        None => {}
    }
    match patterns.tab {
        PatternTab::Topics => match patterns.topics.selected(filter)? {
            TopicLine::Topic(_) => None,
            TopicLine::Subscription(_, of) => {
                of.last_error.as_deref().map(|error| clean(error).into_owned())
            }
        },
        PatternTab::Gathers => {
            let gather = patterns.gathers.selected(filter)?;
            let error = gather.recipients.iter().find_map(|recipient| recipient.error.as_ref());
            error.map(|error| error_text(theme, error))
        }
        PatternTab::Sagas => {
            let saga = patterns.sagas.selected(filter)?;
            let of_step = saga.steps.iter().find_map(|step| step.error.as_ref());
            saga.error.as_ref().or(of_step).map(|error| error_text(theme, error))
        }
    }
}

/// Whether there is something to do it to.
pub(super) fn offers(model: &Model, command: Command) -> bool {
    let patterns = &model.patterns;
    let saga = || match patterns.tab {
        PatternTab::Sagas => patterns.sagas.selected(&patterns.filter),
        PatternTab::Topics | PatternTab::Gathers => None,
    };
    match command {
        Command::Subscribe => patterns.tab == PatternTab::Topics,
        Command::RetrySaga | Command::SkipSaga => {
            saga().is_some_and(|saga| saga.state == SagaState::Parked)
        }
        Command::EndPattern if patterns.tab == PatternTab::Topics => matches!(
            patterns.topics.selected(&patterns.filter),
            Some(TopicLine::Subscription(_, of)) if !of.configured
        ),
        Command::EndPattern => saga().is_some_and(|saga| !saga.state.is_end()),
        _ => true,
    }
}

/// Whether `Enter` opens something.
pub(super) fn leads_somewhere(model: &Model) -> bool {
    let patterns = &model.patterns;
    let filter = &patterns.filter;
    match patterns.tab {
        PatternTab::Topics => match patterns.topics.selected(filter) {
            Some(TopicLine::Subscription(..)) => true,
            Some(TopicLine::Topic(topic)) => topic.view.settings.otherwise.is_some(),
            None => false,
        },
        PatternTab::Gathers => {
            patterns.gathers.selected(filter).is_some_and(|gather| gather.message().is_some())
        }
        PatternTab::Sagas => {
            patterns.sagas.selected(filter).is_some_and(|saga| saga.message().is_some())
        }
    }
}
