//! The console's whole state, in one place. Only `update` changes it; `view` reads it.

mod act;
mod connection;
mod edit;
mod events;
mod keys;
mod lesson;
mod lists;
mod many;
mod marks;
mod message;
mod overlay;
mod palette;
mod pane;
mod patterns;
mod queue_list;
mod queues;
mod requests;
mod schema;
mod wrap;

use std::collections::{BTreeMap, BTreeSet};

pub use act::{Act, Acts, InFlight, Stage, Submitted, Undoable, verb_text};
pub use connection::{Connection, Link, Status};
pub use edit::{DraftState, EditSession, HoldState, Outside, Parked};
pub(super) use events::weight_of;
pub use events::{EventList, EventRow, Leads, Weight};
pub use keys::KeyList;
pub use lists::{Cursor, JournalList, Motion, WorkerList};
pub use many::{
    Campaign, Many, ManyAct, ManyField, ManyForm, ManyStage, OVER_ROWS, Over, Ready, Scope,
};
pub use marks::Marks;
pub use message::{BodyForm, EditIn, MessageScreen, Tab, places};
pub use overlay::{
    Button, Difference, FilePrompt, FileUse, LeaveField, LeaveForm, Leaving, Overlay, ReasonForm,
    Review, ThrowForm, short_id,
};
pub use palette::{Palette, PaletteEntry};
pub use pane::{BETWEEN_COLUMNS, DiffPane, DiffRow};
pub use patterns::{
    PatternAct, PatternField, PatternForm, PatternPage, PatternRead, PatternTab, Patterns, Process,
    ProcessList, ReadFrom, Sought, TopicLine, TopicList, TopicRead, TopicRow,
};
pub use queue_list::{QueueList, QueueRow, Rate, SortBy};
pub use queues::{PAGE, QueueScreen};
pub use requests::Purpose;
pub use schema::{SchemaCheck, Standing, Verdict};
pub use wrap::{wrap, wrap_words};

use super::command::{Command, Mode, Screen};
use super::effect::RequestId;
use super::filter::Filter;
use super::keymap::Keymap;
use super::layout;
use super::text::clean::clean;
use super::theme::Theme;
use crate::admin::dto::{QueueName, Seq, Timestamp};

/// Milliseconds on the console's own clock, since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds from `earlier` to this time.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time plus `ms`.
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// Which message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageRef {
    /// Its queue.
    pub queue: QueueName,
    /// Its place.
    pub seq: Seq,
}

impl std::fmt::Display for MessageRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} #{}", self.queue, self.seq)
    }
}

/// Rows of the line above the queues: they must not be pushed out.
const MAX_BANNER_ROWS: usize = 3;

/// What does not change while the console runs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How things look.
    pub theme: Theme,
    /// What each key does.
    pub keys: Keymap,
    /// Nothing may be changed.
    pub read_only: bool,
    /// A line above the queues while one is blocked: what to press.
    pub banner: Option<String>,
    /// Where the broker is, for what is told when it can't be reached.
    pub endpoint: String,
    /// The operator's own editor, as a shell reads it.
    pub editor: Option<String>,
    /// Unique to this run: the beginning of its idempotency keys.
    pub session: String,
    /// The hidden command that panics is there.
    pub debug_panic: bool,
}

/// The state.
#[derive(Debug)]
pub struct Model {
    /// What does not change.
    pub setup: Setup,
    /// The terminal's columns and rows.
    pub size: (u16, u16),
    /// The time of the last action.
    pub now: Millis,
    /// The way to the broker.
    pub connection: Connection,
    /// What is shown.
    pub screen: Screen,
    /// Where `Esc` goes to from a look aside.
    pub before: Screen,
    /// Screen 1.
    pub queues: QueueList,
    /// Screen 2, once a queue was chosen.
    pub queue: Option<QueueScreen>,
    /// Screen 3, once a message was chosen.
    pub message: Option<MessageScreen>,
    /// Screen 4.
    pub workers: WorkerList,
    /// Screen 5.
    pub journal: JournalList,
    /// Screen 6.
    pub events: EventList,
    /// Screen 7.
    pub patterns: Patterns,
    /// The payload that is being edited.
    pub edit: Option<EditSession>,
    /// Edits that were left: their drafts, in memory as well as on disk.
    pub parked: BTreeMap<MessageRef, Parked>,
    /// Messages of which the disk has a draft of this console's, or of one that has ended.
    pub kept: BTreeSet<MessageRef>,
    /// What lies on top.
    pub overlay: Overlay,
    /// What was done.
    pub acts: Acts,
    /// Marks, and the change of several messages.
    pub many: Many,
    /// Something visible has changed since it was last drawn.
    pub redraw: bool,
    waiting: BTreeMap<RequestId, Purpose>,
    last_request: u64,
    last_key: u64,
    last_version: u64,
}

impl Model {
    /// The state before anything was heard.
    pub fn new(setup: Setup, size: (u16, u16)) -> Self {
        Self {
            setup,
            size,
            now: Millis(0),
            connection: Connection::default(),
            screen: Screen::Queues,
            before: Screen::Queues,
            queues: QueueList::default(),
            queue: None,
            message: None,
            workers: WorkerList::default(),
            journal: JournalList::default(),
            events: EventList::default(),
            patterns: Patterns::default(),
            edit: None,
            parked: BTreeMap::new(),
            kept: BTreeSet::new(),
            overlay: Overlay::None,
            acts: Acts::default(),
            many: Many::default(),
            redraw: true,
            waiting: BTreeMap::new(),
            last_request: 0,
            last_key: 0,
            last_version: 0,
        }
    }

    /// Which keys work now.
    pub fn mode(&self) -> Mode {
        match &self.overlay {
            Overlay::None if self.edit.is_some() => Mode::Editor,
            Overlay::None => self.screen.mode(),
            Overlay::Help { .. } => Mode::Help,
            Overlay::Palette(_) => Mode::Palette,
            Overlay::Filter { .. } => Mode::Filter,
            Overlay::Find { .. } => Mode::Find,
            Overlay::Leave(_) | Overlay::Reason(_) | Overlay::Pattern(_) | Overlay::Throw(_) => {
                Mode::Leave
            }
            Overlay::File(_) => Mode::File,
            Overlay::Many => self.many.mode(),
            Overlay::Review(_) => Mode::Review,
            Overlay::Difference(_) => Mode::Difference,
            Overlay::Quit(_) => Mode::Quit,
        }
    }

    /// The broker's time now, as far as it is known.
    pub fn broker_now(&self) -> Option<Timestamp> {
        self.connection.broker_now(self.now)
    }

    /// The message under the cursor, on the screens that have one.
    pub fn selected_message(&self) -> Option<MessageRef> {
        match self.screen {
            Screen::Queue => {
                let queue = self.queue.as_ref()?;
                let seq = match queue.by_key {
                    true => queue.keys.selected(&queue.filter)?.seq,
                    false => queue.selected()?.seq,
                };
                Some(MessageRef { queue: queue.name.clone(), seq })
            }
            Screen::Message => Some(self.message.as_ref()?.message.clone()),
            Screen::Queues
            | Screen::Workers
            | Screen::Journal
            | Screen::Events
            | Screen::Patterns => None,
        }
    }

    /// The queue under the cursor, or of what is shown.
    pub fn selected_queue(&self) -> Option<QueueName> {
        match self.screen {
            Screen::Queues => self.queues.selected().map(|row| row.view.name.clone()),
            Screen::Queue => self.queue.as_ref().map(|queue| queue.name.clone()),
            Screen::Message => self.message.as_ref().map(|screen| screen.message.queue.clone()),
            Screen::Patterns => self.patterns.selected_queue(),
            Screen::Workers | Screen::Journal | Screen::Events => None,
        }
    }

    /// Why a command that changes something can't be done now; `None` if it can.
    pub fn why_off(&self, command: Command) -> Option<String> {
        if !super::keymap::changes(self.mode(), command) {
            return None;
        }
        if self.setup.read_only {
            return Some("read-only (--read-only): nothing was changed".to_owned());
        }
        // The editor works without the broker; what it has is sent later. Drafts are here.
        let is_here = matches!(
            command,
            Command::Edit
                | Command::EditOutside
                | Command::ReplacePayload
                | Command::ThrowDraftAway
        );
        if is_here || matches!(self.overlay, Overlay::Throw(_)) {
            return None;
        }
        self.why_unsendable()
    }

    /// Why nothing can be sent now.
    pub fn why_unsendable(&self) -> Option<String> {
        match self.connection.status(self.now) {
            Status::Live { .. } | Status::Stale { .. } => None,
            Status::Connecting => Some("not connected yet: nothing was changed".to_owned()),
            Status::Reconnecting { .. } => {
                Some("no connection to the broker: nothing was changed".to_owned())
            }
            Status::Refused { .. } => Some("the broker refuses us: nothing was changed".to_owned()),
        }
    }

    /// The text of the open edit was changed.
    pub(super) fn touched(&mut self) {
        self.last_version += 1;
        if let Some(edit) = &mut self.edit {
            edit.draft.version = self.last_version;
        }
    }

    /// The line above the queues: it tells what to do with a blocked queue, while there is one.
    pub fn banner(&self) -> Option<&str> {
        let blocked = |row: &QueueRow| row.view.is_hurt();
        self.setup.banner.as_deref().filter(|_| self.queues.rows.values().any(blocked))
    }

    /// That line, cleaned, in as many rows as it takes where the queues are drawn: it says what to press.
    pub fn banner_lines(&self) -> Vec<String> {
        let Some(banner) = self.banner() else { return Vec::new() };
        let banner = clean(banner);
        let area = layout::pane(self.size, Screen::Queues, self.screen);
        let area = area.unwrap_or_else(|| layout::main_area(self.size));
        let rows = wrap_words(&banner, usize::from(area.width.max(1)));
        rows.into_iter().take(MAX_BANNER_ROWS).map(|range| banner[range].to_owned()).collect()
    }

    /// The filter of the list that is shown; none on a screen without a list.
    pub fn filter(&self) -> Option<&Filter> {
        match self.screen {
            Screen::Queues => Some(&self.queues.filter),
            Screen::Queue => self.queue.as_ref().map(|queue| &queue.filter),
            Screen::Message => None,
            Screen::Workers => Some(&self.workers.filter),
            Screen::Journal => Some(&self.journal.filter),
            Screen::Events => Some(&self.events.filter),
            Screen::Patterns => Some(&self.patterns.filter),
        }
    }

    /// Rows above the heads of the list that `screen` shows: a banner, the events' state, tabs, the sum of the order
    /// keys, a pool's trouble.
    pub fn rows_above(&self, screen: Screen) -> usize {
        let by_key = self.queue.as_ref().is_some_and(|queue| queue.by_key);
        match screen {
            Screen::Queues => self.banner_lines().len(),
            Screen::Queue => usize::from(by_key),
            Screen::Workers => usize::from(self.workers.hurt_pool().is_some()),
            Screen::Events | Screen::Patterns => 1,
            Screen::Message | Screen::Journal => 0,
        }
    }

    /// Rows of the list that `screen` shows, by the terminal's size.
    pub fn list_height(&self, screen: Screen) -> usize {
        let last_line = usize::from(screen == Screen::Journal && self.journal.ends_early());
        let rows = layout::list_height(self.size, screen, self.screen);
        rows.saturating_sub(self.rows_above(screen) + last_line)
    }

    /// Puts cursors back where they can be after rows or the size have changed.
    pub(super) fn settle(&mut self) {
        let height = self.list_height(Screen::Queues);
        self.queues.settle(height);
        let height = self.list_height(Screen::Queue);
        if let Some(queue) = &mut self.queue {
            queue.settle(height);
        }
        let height = self.list_height(Screen::Workers);
        self.workers.settle(height);
        let height = self.list_height(Screen::Journal);
        self.journal.settle(height);
        let height = self.list_height(Screen::Events);
        self.events.settle(height);
        // Its lists are filtered and searched for that: not with each key on other screens.
        if self.screen == Screen::Patterns {
            let height = self.list_height(Screen::Patterns);
            self.patterns.settle(height);
        }
        let area = layout::main_area(self.size);
        if let Some(message) = &mut self.message {
            message.settle(area.width as usize, area.height as usize);
        }
        // The title stands above a difference; the review has its buttons and a word on its end below.
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        let warnings = match &self.overlay {
            Overlay::Review(review) => self.review_warnings(review).len(),
            _ => 0,
        };
        match self.overlay.below() {
            Overlay::Review(review) => {
                review.pane.settle(width, height.saturating_sub(4 + warnings))
            }
            Overlay::Difference(shown) => shown.pane.settle(width, height.saturating_sub(1)),
            Overlay::None
            | Overlay::Help { .. }
            | Overlay::Palette(_)
            | Overlay::Filter { .. }
            | Overlay::Find { .. }
            | Overlay::Leave(_)
            | Overlay::Pattern(_)
            | Overlay::Reason(_)
            | Overlay::Throw(_)
            | Overlay::File(_)
            | Overlay::Many
            | Overlay::Quit(_) => {}
        }
        self.many.settle(width, height);
    }
}
