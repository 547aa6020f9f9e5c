//! Screen 1: the queues, sorted and filtered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::lists::{Cursor, Motion};
use crate::admin::dto::{QueueName, QueueState, QueueView};
use crate::console::filter::Filter;

/// Samples of a rate: one a second, as many as the sparkline has columns.
const RATE_SAMPLES: usize = 12;
/// How many messages a queue finishes a second.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    last: Option<u64>,
    /// Newest last.
    pub samples: VecDeque<u64>,
}

impl Rate {
    /// Takes the counter as it is now, a second after the last time.
    pub fn sample(&mut self, done: u64) {
        // A smaller counter is another run of the broker.
        let step = self.last.map_or(0, |last| done.saturating_sub(last));
        self.last = Some(done);
        self.samples.push_back(step);
        if self.samples.len() > RATE_SAMPLES {
            self.samples.pop_front();
        }
    }

    /// The last second's.
    pub fn now(&self) -> u64 {
        self.samples.back().copied().unwrap_or(0)
    }
}

/// A queue as a row.
#[derive(Debug, Clone)]
pub struct QueueRow {
    /// As the broker last told.
    pub view: QueueView,
    /// Messages finished a second.
    pub rate: Rate,
}

/// How the queues are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// Those first that somebody is needed for: blocked, paused, draining; then by name.
    #[default]
    Trouble,
    /// By name.
    Name,
    /// The most messages first.
    Depth,
    /// The oldest message first.
    Age,
    /// The most finished a second first.
    Rate,
}

impl SortBy {
    /// What the title says.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Trouble => "blocked first",
            Self::Name => "by name",
            Self::Depth => "by depth",
            Self::Age => "by age",
            Self::Rate => "by rate",
        }
    }

    /// The one after it.
    pub const fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Name,
            Self::Name => Self::Depth,
            Self::Depth => Self::Age,
            Self::Age => Self::Rate,
            Self::Rate => Self::Trouble,
        }
    }

    /// What a row is sorted by, the lowest first; names decide between equals.
    fn rank(self, row: &QueueRow) -> u64 {
        let view = &row.view;
        match self {
            Self::Trouble => match view.state {
                _ if view.is_hurt() => 0,
                QueueState::Blocked => 0,
                QueueState::Paused => 1,
                QueueState::Draining => 2,
                QueueState::Running => 3,
            },
            Self::Name => 0,
            Self::Depth => u64::MAX - view.depth,
            Self::Age => view.oldest_at.map_or(u64::MAX, |at| at.0),
            Self::Rate => u64::MAX - row.rate.now(),
        }
    }
}

/// Screen 1.
#[derive(Debug, Default)]
pub struct QueueList {
    /// By name.
    pub rows: BTreeMap<QueueName, QueueRow>,
    /// The first whole list has come.
    pub loaded: bool,
    /// What the broker has named since the connection, until it has named all.
    pub named: Option<BTreeSet<QueueName>>,
    /// What is shown of them.
    pub filter: Filter,
    /// Where the cursor is.
    pub cursor: Cursor,
    /// The queue under the cursor: rows move, the cursor stays with its queue.
    pub at: Option<QueueName>,
    /// How they are sorted.
    pub sort: SortBy,
    /// The names of the rows that are shown, in their order: made anew when `changed` or what made it differs.
    order: Vec<QueueName>,
    made_by: (Filter, SortBy),
    changed: bool,
}

impl QueueList {
    /// The rows that the filter lets through, in their order as of the last [`QueueList::settle`].
    pub fn shown(&self) -> impl Iterator<Item = &QueueRow> {
        self.order.iter().filter_map(|name| self.rows.get(name))
    }

    /// How many there are of these.
    pub fn shown_len(&self) -> usize {
        self.order.len()
    }

    /// Something about the rows has changed by another way than these methods.
    pub fn outdate(&mut self) {
        self.changed = true;
    }

    fn make_order(&mut self) {
        let made_by = (self.filter.clone(), self.sort);
        if !std::mem::take(&mut self.changed) && self.made_by == made_by {
            return;
        }
        self.made_by = made_by;
        let passes = |row: &&QueueRow| {
            let error = row.view.head.as_ref().and_then(|head| head.error.as_ref());
            let error = error.map_or(["", ""], |e| [e.code.as_str(), e.message.as_str()]);
            self.filter.lets_through(
                [row.view.name.as_str(), row.view.state.as_str()].into_iter().chain(error),
            )
        };
        let shown = self.rows.values().filter(passes);
        let mut ranked: Vec<(u64, &QueueName)> =
            shown.map(|row| (self.sort.rank(row), &row.view.name)).collect();
        // Rows come by name, and this sort keeps the order of equals.
        ranked.sort_by_key(|(rank, _)| *rank);
        self.order = ranked.into_iter().map(|(_, name)| name.clone()).collect();
    }

    /// The row under the cursor.
    pub fn selected(&self) -> Option<&QueueRow> {
        self.rows.get(self.order.get(self.cursor.at)?)
    }

    /// Moves the cursor.
    pub fn go(&mut self, motion: Motion, height: usize) {
        self.make_order();
        self.cursor.go(motion, self.order.len(), height);
        self.at = self.selected().map(|row| row.view.name.clone());
    }

    /// Every queue has been named: the others are gone.
    pub fn listed(&mut self) {
        if let Some(named) = self.named.take() {
            self.changed = true;
            self.rows.retain(|name, _| named.contains(name));
        }
    }

    /// A queue is gone.
    pub fn forget(&mut self, name: &QueueName) {
        self.rows.remove(name);
        self.changed = true;
        if let Some(named) = &mut self.named {
            named.remove(name);
        }
    }

    /// Takes what the broker told.
    pub fn merge(&mut self, views: Vec<QueueView>) {
        self.loaded = true;
        self.changed = true;
        if let Some(named) = &mut self.named {
            named.extend(views.iter().map(|view| view.name.clone()));
        }
        for view in views {
            match self.rows.get_mut(&view.name) {
                Some(row) => row.view = view,
                None => {
                    let row = QueueRow { view, rate: Rate::default() };
                    self.rows.insert(row.view.name.clone(), row);
                }
            }
        }
    }

    /// Keeps the cursor with its queue.
    pub fn settle(&mut self, height: usize) {
        self.make_order();
        let still = self.at.is_some() && self.order.get(self.cursor.at) == self.at.as_ref();
        let at = match &self.at {
            Some(_) if still => Some(self.cursor.at),
            Some(name) => self.order.iter().position(|other| other == name),
            None => None,
        };
        self.cursor.keep(at, self.order.len(), height);
        // Until the cursor is moved it stays on the first row, whichever that is.
        if self.at.is_some() && at.is_none() {
            self.at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_step_of_a_counter_and_survives_its_restart() {
        let mut rate = Rate::default();
        for done in [10, 15, 3, 5] {
            rate.sample(done);
        }
        assert_eq!(rate.samples, [0, 5, 0, 2]);
    }
}
