//! Screen 4: all workers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::table::{Cell, Column, fixed, growing, heads, instead, number, put, row, width_of};
use super::{nth_row, under, words};
use crate::admin::dto::{PoolState, PoolView, ProcessState, QueueName, Timestamp, WorkerView};
use crate::console::command::{Command, Mode, Screen};
use crate::console::model::{Model, WorkerList};
use crate::console::text::clean::{self, clean};
use crate::console::theme::{Role, Theme};

/// What it is, does and serves comes before its counts: workers of one name are told apart by their queues.
const COLUMNS: [Column; 12] = [
    fixed("STATE", 10, 0),
    growing("WORKER", 13, 2, 0),
    growing("MESSAGE", 12, 2, 0),
    fixed("LEASE", 8, 8),
    number("LEFT", 6, 1),
    number("TRY", 3, 5),
    number("HEARD", 6, 4),
    number("ACKED", 6, 7),
    number("FAILED", 6, 6),
    number("RESTARTS", 8, 3),
    growing("SERVES", 12, 3, 2),
    number("PID", 7, 9),
];
/// Which of the columns has the restarts, and which the queues.
const RESTARTS: usize = 9;
const SERVES: usize = 10;

/// Columns of the bar of a lease's time that is left.
const LEASE_COLUMNS: u16 = 8;

/// Draws the screen.
pub(super) fn draw(model: &Model, buffer: &mut Buffer, area: Rect) {
    let theme = model.setup.theme;
    let mut area = area;
    if let (Some(pool), Some(first)) = (model.workers.hurt_pool(), nth_row(area, 0)) {
        let (text, role) = pool_line(theme, pool);
        put(buffer, first, &text, theme.style(role), false);
        area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    let Some(head) = nth_row(area, 0) else { return };
    let columns = columns(&model.workers);
    heads(buffer, head, &columns, theme.style(Role::Title));
    let shown = model.workers.shown();
    if shown.is_empty() {
        let text = if model.workers.filter.is_empty() {
            "no worker is connected: mubroker worker --queue orders --exec cat".to_owned()
        } else {
            let clears = model.setup.keys.hint(Mode::Workers, Command::Back, "; {} clears it");
            format!("no worker passes the filter{clears}")
        };
        return instead(buffer, area, &[&text], theme.style(Role::Text));
    }
    let now = model.broker_now();
    for (n, worker) in shown.iter().enumerate().skip(model.workers.cursor.top) {
        let Some(place) = nth_row(area, n + 1 - model.workers.cursor.top) else { break };
        let under = under(model, Screen::Workers, n == model.workers.cursor.at);
        let restarts = model.workers.pool_of(worker).map(|pool| pool.restarts);
        let cells = cells(theme, worker, restarts, now, width_of(&columns, SERVES, area.width));
        row(buffer, place, &columns, &cells, under);
    }
}

/// The restarts' column is the first to go where nothing was started again.
fn columns(workers: &WorkerList) -> [Column; 12] {
    let mut columns = COLUMNS;
    if workers.pools.iter().all(|pool| pool.restarts == 0) {
        columns[RESTARTS] = number("RESTARTS", 8, u8::MAX);
    }
    columns
}

/// As many names as there is room for, and how many more: `orders +2`.
fn queues(names: &[QueueName], room: usize) -> String {
    let with = |shown: usize| {
        let names: Vec<&str> = names[..shown].iter().map(|name| name.as_str()).collect();
        names.join(",")
    };
    let whole = with(names.len());
    if clean::width(&whole) <= room || names.len() < 2 {
        return whole;
    }
    let cut = |shown: usize| format!("{} +{}", with(shown), names.len() - shown);
    let fits = (1..names.len()).rev().map(cut).find(|text| clean::width(text) <= room);
    fits.unwrap_or_else(|| {
        let more = format!(" +{}", names.len() - 1);
        let first =
            clean::truncate(names[0].as_str(), room.saturating_sub(more.len())).into_owned();
        first + &more
    })
}

/// A pool that doesn't do what it should.
fn pool_line(theme: Theme, pool: &PoolView) -> (String, Role) {
    let how = pool.last_exit.as_deref().map_or(String::new(), |how| format!(" ({})", clean(how)));
    let (name, restarts) = (clean(&pool.name), pool.restarts);
    match pool.state {
        PoolState::GivenUp => {
            let glyph = theme.glyph("■", "!");
            let text =
                format!("{glyph} {name} ended too often: mubroker worker restart {name}{how}");
            (text, Role::Bad)
        }
        PoolState::Drained => {
            (format!("{name} is drained: mubroker worker restart {name}"), Role::Warn)
        }
        PoolState::Running => {
            let waits = pool.processes.iter().filter(|p| p.state == ProcessState::Waiting);
            let text = format!(
                "{} {name}: {} of {} wait to be started again, {restarts} restarts{how}",
                theme.glyph("▲", "^"),
                waits.count(),
                pool.count
            );
            (text, Role::Warn)
        }
    }
}

/// What a worker said last, and how its pool does.
pub(super) fn trouble(model: &Model, worker: &WorkerView) -> Option<String> {
    let note = worker.note.as_deref().map(|note| clean(note).into_owned());
    let pool = model.workers.pool_of(worker).filter(|pool| pool.restarts > 0);
    let pool = pool.map(|pool| {
        let how = pool.last_exit.as_deref().map_or(String::new(), |how| format!(", last {how}"));
        clean(&format!("pool {}: {} restarts{how}", pool.name, pool.restarts)).into_owned()
    });
    let said: Vec<String> = note.into_iter().chain(pool).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn cells(
    theme: Theme,
    worker: &WorkerView,
    restarts: Option<u64>,
    now: Option<Timestamp>,
    serves: usize,
) -> Vec<Cell> {
    let (glyph, role) = theme.worker(worker.state);
    let text = theme.style(Role::Text);
    let lease = worker.in_flight.first();
    let message = lease.map_or(String::new(), |lease| {
        let more = match worker.in_flight.len() {
            0 | 1 => String::new(),
            n => format!(" +{}", n - 1),
        };
        format!("{} #{}{more}", lease.queue, lease.seq)
    });
    let (left, left_role) = match (now, lease) {
        (Some(now), Some(lease)) if lease.deadline >= now => {
            (words::coarse_age(lease.deadline.since_ms(now)), Role::Text)
        }
        (Some(now), Some(lease)) => {
            (format!("-{}", words::coarse_age(now.since_ms(lease.deadline))), Role::Bad)
        }
        (_, _) => (String::new(), Role::Text),
    };
    let bar = match (now, lease) {
        (Some(now), Some(lease)) => {
            let whole = lease.deadline.since_ms(lease.since);
            theme.bar(lease.deadline.since_ms(now), whole, LEASE_COLUMNS)
        }
        (_, _) => String::new(),
    };
    // Heartbeats come every 2.5 s: only a silence is worth a number that moves.
    let heard = match now.map(|now| now.since_ms(worker.heard_at)) {
        Some(ms) if ms < 5_000 => "now".to_owned(),
        Some(ms) => words::coarse_age(ms),
        None => String::new(),
    };
    vec![
        Cell::new(format!("{glyph} {}", worker.state), theme.style(role)),
        Cell::new(clean(&worker.name).into_owned(), text),
        Cell::new(message, text),
        Cell::new(bar, theme.style(if left_role == Role::Bad { Role::Bad } else { Role::Busy })),
        Cell::new(left, theme.style(left_role)),
        Cell::new(lease.map_or(String::new(), |lease| lease.attempt.to_string()), text),
        Cell::new(heard, text),
        Cell::new(words::count(worker.acked), text),
        Cell::new(words::count(worker.nacked), text),
        Cell::new(restarts.map_or(String::new(), words::count), text),
        Cell::new(queues(&worker.queues, serves), text),
        Cell::new(worker.pid.map_or(String::new(), |pid| pid.to_string()), text),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_queues_are_named_and_the_others_counted() {
        let names = ["orders", "invoices", "email"].map(|name| QueueName::new(name).unwrap());
        let said = |room| queues(&names, room);
        assert_eq!(said(21), "orders,invoices,email");
        assert_eq!(said(20), "orders,invoices +1");
        assert_eq!(said(12), "orders +2");
        assert_eq!(said(7), "ord… +2");
        assert_eq!(queues(&names[..1], 3), "orders");
    }
}
