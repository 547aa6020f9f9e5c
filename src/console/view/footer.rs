//! The last row: the keys that work here.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::status::pieces;
use crate::admin::dto::Ordering;
use crate::console::command::{Command, Mode, Screen};
use crate::console::keymap;
use crate::console::model::{Leads, Model, PatternTab, Standing, Verdict};
use crate::console::text::clean;
use crate::console::theme::Role;
use crate::console::update::{is_retriable, is_worth_several};

/// The keys that work here, as many as fit; those that are off say so.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, row: Rect) {
    let theme = model.setup.theme;
    let mode = model.mode();
    let mut x = row.x;
    for entry in model.setup.keys.footer(mode) {
        if !offered(model, mode, entry.command) {
            continue;
        }
        let Some(key) = entry.keys.first() else { continue };
        let off = model.why_off(entry.command).is_some();
        let label = label(model, entry);
        let text = if off { format!("{label}:off") } else { label.to_owned() };
        let name = key.name();
        let wide = clean::width(&name) + 1 + clean::width(&text) + 2;
        let Ok(wide) = u16::try_from(wide) else { break };
        if x + wide > row.right() + 2 {
            break;
        }
        let style = theme.style(if off { Role::Dim } else { Role::Text });
        let key_style = if off { style } else { theme.style(Role::Key) };
        let parts = [(name, key_style), (format!(" {text}"), style)];
        pieces(buffer, Rect { x, width: row.right().saturating_sub(x), ..row }, &parts);
        x += wide;
    }
}

/// What can't be undone isn't offered, nor what there is nothing to do to.
fn offered(model: &Model, mode: Mode, command: Command) -> bool {
    let view = model.message.as_ref().and_then(|screen| screen.view.as_ref());
    match command {
        Command::Undo => match &model.acts.undo {
            // What this console did last comes first, and is not undone in another's place.
            Some(undo) => undo.is_offered(),
            None => {
                mode == Mode::Message
                    && model.message.as_ref().is_some_and(|screen| screen.can_undo())
            }
        },
        Command::Edit | Command::Cancel | Command::DeadLetter | Command::Move => match mode {
            Mode::Message => model.message.as_ref().is_some_and(|screen| screen.is_open()),
            Mode::Queue if is_by_key(model) && command != Command::Edit => false,
            _ => model.selected_message().is_some(),
        },
        Command::RetryMany => is_worth_several(model),
        Command::Right if matches!(mode, Mode::Many | Mode::Agree) => model.many.offers(command),
        Command::StopMany | Command::GoOn | Command::FailedOnly | Command::SaveFailed => {
            model.many.offers(command)
        }
        Command::PauseResume => {
            model.selected_queue().is_some_and(|queue| model.queues.rows.contains_key(&queue))
        }
        Command::Enter => match model.screen {
            Screen::Queues => model.queues.selected().is_some(),
            Screen::Queue => model.selected_message().is_some(),
            Screen::Message => false,
            Screen::Workers => {
                model.workers.selected().is_some_and(|worker| !worker.in_flight.is_empty())
            }
            Screen::Journal => model.journal.selected().is_some(),
            Screen::Events => {
                model.events.selected().is_some_and(|row| row.leads != Leads::Nowhere)
            }
            Screen::Patterns => super::patterns::leads_somewhere(model),
        },
        Command::Retry => match model.screen {
            Screen::Queues => model.queues.selected().is_some_and(|row| {
                row.view.head.as_ref().is_some_and(|head| is_retriable(head.state))
            }),
            Screen::Queue if is_by_key(model) => model.selected_message().is_some(),
            Screen::Queue => {
                let row = model.queue.as_ref().and_then(|queue| queue.selected());
                row.is_some_and(|row| is_retriable(row.state))
            }
            Screen::Message => {
                model.message.as_ref().is_some_and(|screen| screen.is_open())
                    && view.is_some_and(|view| is_retriable(view.summary.state))
            }
            Screen::Workers | Screen::Journal | Screen::Events | Screen::Patterns => false,
        },
        Command::Copy if mode == Mode::Patterns => model.patterns.copied().is_some(),
        Command::RetrySaga | Command::SkipSaga | Command::EndPattern | Command::Subscribe => {
            super::patterns::offers(model, command)
        }
        Command::Keys => {
            let queue = model.queue.as_ref();
            let row = queue.and_then(|queue| model.queues.rows.get(&queue.name));
            is_by_key(model) || row.is_some_and(|row| row.view.settings.ordering == Ordering::Key)
        }
        Command::BodyForm => {
            view.is_some() && model.message.as_ref().is_some_and(|screen| screen.is_text())
        }
        Command::Format => model.edit.as_ref().is_some_and(|edit| edit.json),
        Command::FindNext | Command::FindBefore if mode == Mode::Message => {
            model.message.as_ref().is_some_and(|screen| !screen.query.is_empty())
        }
        Command::Difference => {
            model.message.as_ref().is_some_and(|screen| screen.gone.is_none())
                && view.is_some_and(|view| !view.revisions.is_empty())
        }
        Command::GoToFault => model.edit.as_ref().is_some_and(|edit| {
            let misses = matches!(
                edit.schema.standing(edit.draft.version),
                Standing::Told(Verdict::Misses(miss)) if !miss.path.is_empty()
            );
            (edit.json && edit.editor.fault().is_some()) || misses
        }),
        _ => true,
    }
}

fn is_by_key(model: &Model) -> bool {
    model.queue.as_ref().is_some_and(|queue| queue.by_key)
}

fn label(model: &Model, entry: &'static keymap::Row) -> &'static str {
    if entry.command == Command::Keys && is_by_key(model) {
        return "messages";
    }
    if entry.command == Command::EndPattern {
        return if model.patterns.tab == PatternTab::Topics { "unsubscribe" } else { "abort" };
    }
    if entry.command != Command::PauseResume {
        return entry.label;
    }
    let paused = model
        .selected_queue()
        .and_then(|queue| model.queues.rows.get(&queue))
        .is_some_and(|row| row.view.paused.is_some());
    if paused { "resume" } else { "pause" }
}
