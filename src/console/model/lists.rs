//! Cursors over lists, and the two plain lists: workers and journal.

use std::collections::BTreeSet;

use crate::admin::dto::{
    JournalEntry, Notice, PoolProcess, PoolState, PoolView, ProcessState, WorkerView,
};
use crate::console::filter::Filter;

/// A movement of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// By rows; negative is up.
    Rows(isize),
    /// By half pages.
    Halves(isize),
    /// By pages.
    Pages(isize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
}

impl Motion {
    /// Where a text of which `height` rows are shown is scrolled to; the caller knows its end.
    pub fn scrolled(self, scroll: usize, height: usize) -> usize {
        let page = height.max(1).cast_signed();
        match self {
            Self::Rows(n) => scroll.saturating_add_signed(n),
            Self::Halves(n) => scroll.saturating_add_signed(n * (page / 2).max(1)),
            Self::Pages(n) => scroll.saturating_add_signed(n * page),
            Self::First => 0,
            Self::Last => usize::MAX,
        }
    }
}

/// A cursor over rows, and the first row that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The row under it.
    pub at: usize,
    /// The first row shown.
    pub top: usize,
}

impl Cursor {
    /// Moves over `len` rows of which `height` are shown.
    pub fn go(&mut self, motion: Motion, len: usize, height: usize) {
        let by = |rows: isize| self.at.saturating_add_signed(rows);
        let page = isize::try_from(height.max(1)).unwrap_or(isize::MAX);
        self.at = match motion {
            Motion::Rows(n) => by(n),
            Motion::Halves(n) => by(n.saturating_mul((page / 2).max(1))),
            Motion::Pages(n) => by(n.saturating_mul(page)),
            Motion::First => 0,
            Motion::Last => usize::MAX,
        };
        self.settle(len, height);
    }

    /// Puts it on the row `at`, if what it was on is there still, and settles it.
    pub(super) fn keep(&mut self, at: Option<usize>, len: usize, height: usize) {
        self.at = at.unwrap_or(self.at);
        self.settle(len, height);
    }

    /// Puts it on a row that is there, and the window around it.
    pub fn settle(&mut self, len: usize, height: usize) {
        self.at = self.at.min(len.saturating_sub(1));
        let height = height.max(1);
        self.top = self.top.min(len.saturating_sub(height)).min(self.at);
        if self.at >= self.top + height {
            self.top = self.at + 1 - height;
        }
    }
}

/// What was read anew takes the place of `rows` once it is as long, or whole: so nothing is missing meanwhile. Whether it
/// has.
pub(super) fn take_over<T>(rows: &mut Vec<T>, fresh: &mut Option<Vec<T>>, is_whole: bool) -> bool {
    let is_ready = |fresh: &Vec<T>| is_whole || fresh.len() >= rows.len().max(1);
    let Some(fresh) = fresh.take_if(|fresh| is_ready(fresh)) else { return false };
    *rows = fresh;
    true
}

/// Screen 4.
#[derive(Debug, Default)]
pub struct WorkerList {
    /// Those that the broker keeps running.
    pub pools: Vec<PoolView>,
    /// The pools are to be read again.
    pub pools_outdated: bool,
    /// All of them, as last told.
    pub all: Vec<WorkerView>,
    /// Where the cursor is.
    pub cursor: Cursor,
    /// What is shown of them.
    pub filter: Filter,
}

impl WorkerList {
    /// The pool that a worker's process is of.
    pub fn pool_of(&self, worker: &WorkerView) -> Option<&PoolView> {
        let is_its = |pool: &&PoolView| pool.processes.iter().any(|p| p.worker == worker.name);
        self.pools.iter().find(is_its)
    }

    /// A pool that doesn't do what it should: those first that were given up.
    pub fn hurt_pool(&self) -> Option<&PoolView> {
        let rank = |pool: &PoolView| match pool.state {
            PoolState::GivenUp => Some(0),
            PoolState::Drained => Some(2),
            PoolState::Running => {
                let waits = |process: &PoolProcess| process.state == ProcessState::Waiting;
                pool.processes.iter().any(waits).then_some(1)
            }
        };
        let hurt = self.pools.iter().filter(|pool| rank(pool).is_some());
        hurt.min_by_key(|pool| rank(pool))
    }

    /// A process came or went: its pool is read again.
    pub fn notice(&mut self, notice: &Notice) {
        self.pools_outdated |= matches!(
            notice.kind(),
            "worker-ready" | "worker-gone" | "worker-exited" | "restart-limit"
        );
    }

    /// The rows that the filter lets through.
    pub fn shown(&self) -> Vec<&WorkerView> {
        self.all
            .iter()
            .filter(|worker| {
                let queues = worker.queues.iter().map(|name| name.as_str());
                let note = worker.note.as_deref().unwrap_or("");
                self.filter.lets_through(
                    [worker.name.as_str(), worker.state.as_str(), note].into_iter().chain(queues),
                )
            })
            .collect()
    }

    /// Puts the cursor on a worker; `false`, and all stays as it is, if it isn't there.
    pub fn select(&mut self, name: &str) -> bool {
        let before = std::mem::take(&mut self.filter);
        let at = self.shown().iter().position(|worker| worker.name == name);
        match at {
            Some(at) => self.cursor.at = at,
            None => self.filter = before,
        }
        at.is_some()
    }

    /// The row under the cursor.
    pub fn selected(&self) -> Option<&WorkerView> {
        self.shown().get(self.cursor.at).copied()
    }

    /// Moves the cursor.
    pub fn go(&mut self, motion: Motion, height: usize) {
        let len = self.shown().len();
        self.cursor.go(motion, len, height);
    }

    /// See [`Cursor::settle`].
    pub fn settle(&mut self, height: usize) {
        let len = self.shown().len();
        self.cursor.settle(len, height);
    }
}

/// Entries of the journal kept in memory: a few pages back are enough for a night.
const MAX_ENTRIES: usize = 2_000;

/// Screen 5, newest first.
#[derive(Debug, Default)]
pub struct JournalList {
    /// What was read and heard.
    pub entries: Vec<JournalEntry>,
    /// Where the next older page begins.
    pub next_before: Option<u64>,
    /// Without such a page: there were older entries, which are gone.
    pub older_removed: bool,
    /// A first page was read.
    pub loaded: bool,
    /// Why it can't be read.
    pub trouble: Option<String>,
    /// Where the cursor is.
    pub cursor: Cursor,
    /// What is shown of them.
    pub filter: Filter,
}

impl JournalList {
    /// The rows that the filter lets through.
    pub fn shown(&self) -> Vec<&JournalEntry> {
        self.entries
            .iter()
            .filter(|entry| {
                let id = entry.id.as_ref().map_or("", |id| id.as_str());
                self.filter.lets_through([
                    entry.queue.as_str(),
                    entry.kind.as_str(),
                    entry.actor.name.as_str(),
                    entry.reason.as_str(),
                    id,
                ])
            })
            .collect()
    }

    /// The row under the cursor.
    pub fn selected(&self) -> Option<&JournalEntry> {
        self.shown().get(self.cursor.at).copied()
    }

    /// A line below the last entry says that there were older ones.
    pub fn ends_early(&self) -> bool {
        self.next_before.is_none() && self.older_removed
    }

    /// No more entries are kept.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= MAX_ENTRIES
    }

    /// Puts entries in their place, whatever the order in which they come.
    pub fn merge(&mut self, entries: Vec<JournalEntry>) {
        let kept = self.shown().get(self.cursor.at).map(|entry| entry.number);
        let known: BTreeSet<u64> = self.entries.iter().map(|entry| entry.number).collect();
        self.entries.extend(entries.into_iter().filter(|entry| !known.contains(&entry.number)));
        self.entries.sort_by_key(|entry| std::cmp::Reverse(entry.number));
        self.entries.dedup_by_key(|entry| entry.number);
        if self.entries.len() > MAX_ENTRIES {
            self.entries.truncate(MAX_ENTRIES);
            self.next_before = self.entries.last().map(|entry| entry.number);
        }
        // On the first row the cursor stays with what is newest, elsewhere with its entry.
        if self.cursor.at > 0
            && let Some(at) =
                kept.and_then(|number| self.shown().iter().position(|e| e.number == number))
        {
            self.cursor.at = at;
        }
    }

    /// Moves the cursor.
    pub fn go(&mut self, motion: Motion, height: usize) {
        let len = self.shown().len();
        self.cursor.go(motion, len, height);
    }

    /// See [`Cursor::settle`].
    pub fn settle(&mut self, height: usize) {
        let len = self.shown().len();
        self.cursor.settle(len, height);
    }
}
