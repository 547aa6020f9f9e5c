//! Below the list, where there is room: each step of the saga, each recipient of the gather under the cursor.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::super::table::put;
use super::super::{nth_row, words};
use crate::admin::dto::{GatherView, SagaState, SagaView, StepState, StepView, Timestamp};
use crate::console::command::{Command, Mode};
use crate::console::keymap::Keymap;
use crate::console::model::{Model, PatternTab, TopicLine};
use crate::console::text::clean::clean;
use crate::console::theme::{Role, Theme};

/// A line and how it is drawn.
type Line = (String, Style);

/// Draws it.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let patterns = &model.patterns;
    let filter = &patterns.filter;
    let now = model.broker_now();
    let lines = match patterns.tab {
        PatternTab::Topics => patterns.topics.selected(filter).map(|line| topic(theme, line)),
        PatternTab::Gathers => patterns.gathers.selected(filter).map(|it| gather(theme, it)),
        PatternTab::Sagas => {
            // Only what would do something is named.
            let keys =
                Some(model.setup.keys).filter(|_| model.why_off(Command::SkipSaga).is_none());
            patterns.sagas.selected(filter).map(|it| saga(theme, it, now, keys))
        }
    };
    let Some(rule) = nth_row(area, 0) else { return };
    let line = theme.glyph("─", "-").repeat(usize::from(area.width));
    put(buffer, rule, &line, theme.style(Role::Dim), false);
    let lines = lines.unwrap_or_default();
    let room = usize::from(area.height) - 1;
    for (n, (text, style)) in lines.iter().enumerate().take(room) {
        let Some(row) = nth_row(area, n + 1) else { break };
        // The last row says what has no room.
        if n + 1 == room && lines.len() > room {
            let more = format!("and {} more", lines.len() - n);
            put(buffer, row, &more, theme.style(Role::Dim), false);
        } else {
            put(buffer, row, text, *style, false);
        }
    }
}

fn topic(theme: Theme, line: TopicLine<'_>) -> Vec<Line> {
    let text = theme.style(Role::Text);
    match line {
        TopicLine::Topic(topic) => {
            let view = &topic.view;
            let settings = &view.settings;
            let made = if view.configured { "configured" } else { "at run time" };
            let otherwise = match &settings.otherwise {
                Some(queue) => format!("goes to {queue}"),
                None => settings.unroutable.as_str().to_owned(),
            };
            vec![
                (format!("{} ({made})", view.name), theme.style(Role::Title)),
                (
                    format!("match: {}; what none takes: {otherwise}", settings.matching.as_str()),
                    text,
                ),
                (
                    format!(
                        "published {}, taken by none {}, filters failed {}; since the broker started",
                        view.published, view.unmatched, view.filter_errors
                    ),
                    text,
                ),
            ]
        }
        TopicLine::Subscription(topic, of) => {
            let by = of.by.as_ref().map_or(String::new(), |by| {
                format!(" by {} ({})", clean(&by.name), clean(&by.via))
            });
            let at = of.at.map_or(String::new(), |at| format!(" at {at}"));
            let made =
                if of.configured { "configured".to_owned() } else { format!("made{by}{at}") };
            let filter = of.filter.as_deref().unwrap_or("none: it takes all");
            vec![
                (
                    format!("{} {} {}", topic.view.name, theme.glyph("→", ">"), of.queue),
                    theme.style(Role::Title),
                ),
                (format!("filter: {}", clean(filter)), text),
                (format!("{made}; if the filter fails: {}", of.on_error.as_str()), text),
                (format!("taken {}, filter failed {}", of.matched, of.filter_errors), text),
            ]
        }
    }
}

fn gather(theme: Theme, gather: &GatherView) -> Vec<Line> {
    let complete = match &gather.complete {
        serde_json::Value::String(text) => clean(text).into_owned(),
        other => other.to_string(),
    };
    let to = gather.reply_to.as_ref().map_or(String::new(), |queue| format!(", answer to {queue}"));
    let first =
        format!("{}: {} when {complete}{to}", clean(gather.id.as_str()), gather.state.as_str());
    let mut lines = vec![(first, theme.style(Role::Title))];
    if let Some(error) = &gather.condition_error {
        lines.push((format!("its condition fails: {}", clean(error)), theme.style(Role::Bad)));
    }
    lines.extend(gather.recipients.iter().map(|recipient| {
        let (glyph, role) = theme.recipient(recipient.state);
        let bytes = recipient.bytes.map_or(String::new(), |n| format!("  {}", words::size(n)));
        let error = recipient.error.as_ref().map_or(String::new(), |error| {
            format!("  {}: {}", clean(&error.code), clean(&error.message))
        });
        let (queue, seq) = (&recipient.queue, recipient.seq);
        let state = recipient.state.as_str();
        (format!("  {glyph} {state:<8} {queue} #{seq}{bytes}{error}"), theme.style(role))
    }));
    lines
}

/// The step that a saga is at: that which is stuck or goes on, else the last that was begun.
pub(super) fn step_at(saga: &SagaView) -> Option<&StepView> {
    let rank = |step: &StepView| match step.state {
        StepState::Stuck => Some(0),
        StepState::Running | StepState::Compensating => Some(1),
        StepState::Failed | StepState::Unknown => Some(2),
        StepState::Done | StepState::Compensated | StepState::Skipped => Some(3),
        StepState::Pending => None,
    };
    let begun = saga.steps.iter().rev().filter(|step| rank(step).is_some());
    begun.min_by_key(|step| rank(step))
}

/// What a parked saga needs; without keys for it, how a shell says it.
fn way_out(keys: Option<Keymap>, id: &str) -> String {
    let hint =
        |command, text| keys.map_or(String::new(), |keys| keys.hint(Mode::Patterns, command, text));
    let acts = [
        hint(Command::RetrySaga, "  {} tries again"),
        hint(Command::SkipSaga, "  {} skips it"),
        hint(Command::EndPattern, "  {} gives it up"),
    ];
    match acts.concat().as_str() {
        "" => format!("repair it, then: mubroker saga retry {id}   (or skip, abort)"),
        acts => format!("PARKED: repair what failed, then{acts}"),
    }
}

fn saga(theme: Theme, saga: &SagaView, now: Option<Timestamp>, keys: Option<Keymap>) -> Vec<Line> {
    let id = clean(saga.id.as_str());
    let mut lines = vec![(
        format!("{id}: {} version {}, {}", saga.saga, saga.version, saga.state.as_str()),
        theme.style(Role::Title),
    )];
    if saga.state == SagaState::Parked {
        lines.push((way_out(keys, &id), theme.style(Role::Bad)));
    }
    lines.extend(saga.steps.iter().map(|step| {
        let (glyph, role) = theme.step(step.state);
        let at = match step.seq {
            Some(seq) => format!("{} #{seq}", step.queue),
            None => step.queue.to_string(),
        };
        let tries =
            if step.attempts > 1 { format!("  try {}", step.attempts) } else { String::new() };
        let due = match (now, step.due) {
            (Some(now), Some(due)) if due >= now => {
                format!("  {} left", words::coarse_age(due.since_ms(now)))
            }
            (_, _) => String::new(),
        };
        let error = step.error.as_ref().map_or(String::new(), |error| {
            format!("  {}: {}", clean(&error.code), clean(&error.message))
        });
        let (name, state) = (clean(&step.name), step.state.as_str());
        (format!("  {glyph} {name:<12} {state:<12} {at}{tries}{due}{error}"), theme.style(role))
    }));
    lines
}
