//! Screen 7: topics with their subscriptions, gathers with progress, sagas with their steps.

mod act;
mod process;
mod topics;

pub use act::{PatternAct, PatternField, PatternForm};
pub use process::{Process, ProcessList, ReadFrom, Sought};
pub use topics::{TopicLine, TopicList, TopicRead, TopicRow};

use super::Millis;
use super::lists::{Cursor, Motion};
use crate::admin::dto::{
    GatherPage, GatherView, MessageId, Notice, QueueName, SagaPage, SagaState, SagaView,
    TopicDetail, TopicPage,
};
use crate::console::filter::Filter;

/// How often what is under way, or has moved, is read again while it is shown, in milliseconds: a gather's progress is told
/// by no event, and of sagas there may be a hundred events a second. Nothing is read while nothing goes on.
const PROGRESS_MS: u64 = 2_000;
/// How often a topic's counters are, while they are shown.
const COUNTERS_MS: u64 = 5_000;

/// What the screen shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PatternTab {
    /// Topics and subscriptions.
    #[default]
    Topics,
    /// Gathers.
    Gathers,
    /// Sagas.
    Sagas,
}

impl PatternTab {
    /// In their order.
    pub const ALL: [Self; 3] = [Self::Topics, Self::Gathers, Self::Sagas];

    /// Its name.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Topics => "Topics",
            Self::Gathers => "Gathers",
            Self::Sagas => "Sagas",
        }
    }

    /// The one `by` places further, around the end.
    pub fn step(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        let len = Self::ALL.len().cast_signed();
        Self::ALL[(at.cast_signed() + by).rem_euclid(len).cast_unsigned()]
    }
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternRead {
    /// A page of topics, or a topic's subscriptions.
    Topics(TopicRead),
    /// A page of gathers.
    Gathers(ReadFrom),
    /// A page of sagas.
    Sagas(ReadFrom),
}

/// What was read.
#[derive(Debug, Clone)]
pub enum PatternPage {
    /// Topics.
    Topics(TopicPage),
    /// A topic with its subscriptions.
    Topic(Box<TopicDetail>),
    /// Gathers.
    Gathers(GatherPage),
    /// Sagas.
    Sagas(SagaPage),
}

/// Screen 7.
#[derive(Debug, Default)]
pub struct Patterns {
    /// What is shown.
    pub tab: PatternTab,
    /// Topics.
    pub topics: TopicList,
    /// Gathers.
    pub gathers: ProcessList<GatherView>,
    /// Sagas.
    pub sagas: ProcessList<SagaView>,
    /// What is shown of them.
    pub filter: Filter,
    read_at: Millis,
}

impl Patterns {
    /// All of it is to be read again.
    pub fn outdate(&mut self) {
        self.topics.outdate();
        self.gathers.outdate();
        self.sagas.outdate();
    }

    /// A second has passed while it is shown: what moves without a word is read again.
    pub fn tick(&mut self, now: Millis) {
        let ago = now.since(self.read_at);
        let due = match self.tab {
            PatternTab::Topics => ago >= COUNTERS_MS && !self.topics.is_empty(),
            PatternTab::Gathers => ago >= PROGRESS_MS && self.gathers.moves(),
            PatternTab::Sagas => ago >= PROGRESS_MS && self.sagas.moves(),
        };
        if due {
            self.read_at = now;
            match self.tab {
                PatternTab::Topics => self.topics.recount(&self.filter),
                PatternTab::Gathers => self.gathers.outdate(),
                PatternTab::Sagas => self.sagas.outdate(),
            }
        }
    }

    /// Something happened: what it is about is read again.
    pub fn notice(&mut self, notice: &Notice) {
        match notice.kind() {
            "saga-started" | "saga-compensating" | "saga-parked" | "saga-ended"
            | "saga-retried" | "saga-skipped" | "saga-aborted" => self.sagas.note(),
            "gather-started" | "gather-ended" => self.gathers.note(),
            "subscribed" | "unsubscribed" => self.topics.outdate(),
            _ => {}
        }
    }

    /// Sagas that wait for an operator.
    pub fn parked(&self) -> usize {
        self.sagas.rows.iter().filter(|saga| saga.state == SagaState::Parked).count()
    }

    /// Shows a gather or a saga, once it is read.
    pub fn show(&mut self, tab: PatternTab, id: MessageId) {
        self.tab = tab;
        self.filter = Filter::default();
        match tab {
            PatternTab::Topics => {}
            PatternTab::Gathers => self.gathers.seek(id),
            PatternTab::Sagas => self.sagas.seek(id),
        }
    }

    /// The queue of the subscription under the cursor.
    pub fn selected_queue(&self) -> Option<QueueName> {
        match self.topics.selected(&self.filter)? {
            TopicLine::Subscription(_, of) if self.tab == PatternTab::Topics => {
                Some(of.queue.clone())
            }
            TopicLine::Subscription(..) | TopicLine::Topic(_) => None,
        }
    }

    /// What of the row under the cursor is copied: an id, or a name; and what it is.
    pub fn copied(&self) -> Option<(&'static str, String)> {
        match self.tab {
            PatternTab::Topics => Some(match self.topics.selected(&self.filter)? {
                TopicLine::Topic(topic) => ("the topic's name", topic.view.name.to_string()),
                TopicLine::Subscription(_, of) => ("the queue's name", of.queue.to_string()),
            }),
            PatternTab::Gathers => {
                Some(("the id", self.gathers.selected(&self.filter)?.id.to_string()))
            }
            PatternTab::Sagas => {
                Some(("the id", self.sagas.selected(&self.filter)?.id.to_string()))
            }
        }
    }

    /// Moves the cursor.
    pub fn go(&mut self, motion: Motion, height: usize) {
        match self.tab {
            PatternTab::Topics => self.topics.go(motion, &self.filter, height),
            PatternTab::Gathers => self.gathers.go(motion, &self.filter, height),
            PatternTab::Sagas => self.sagas.go(motion, &self.filter, height),
        }
    }

    /// Where the cursor is.
    pub const fn cursor(&self) -> Cursor {
        match self.tab {
            PatternTab::Topics => self.topics.cursor,
            PatternTab::Gathers => self.gathers.cursor,
            PatternTab::Sagas => self.sagas.cursor,
        }
    }

    /// Puts the cursors on rows that are there.
    pub fn settle(&mut self, height: usize) {
        match self.tab {
            PatternTab::Topics => self.topics.settle(&self.filter, height),
            PatternTab::Gathers => self.gathers.settle(&self.filter, height),
            PatternTab::Sagas => self.sagas.settle(&self.filter, height),
        }
    }
}
