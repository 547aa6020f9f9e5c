//! Colours and glyphs. State is always a word and a glyph; colour only helps. Only the terminal's own 16
//! colours are used, so that its theme stays in charge.

use ratatui::style::{Color, Modifier, Style};

use super::model::Weight;
use crate::admin::dto::{
    GatherState, MessageState, QueueState, RecipientState, SagaState, StepState, WorkerState,
};

/// How things look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    colour: bool,
    ascii: bool,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Plain.
    Text,
    /// Less important.
    Dim,
    /// A title or column head.
    Title,
    /// Something is wrong.
    Bad,
    /// Something may be wrong, or waits.
    Warn,
    /// All is well.
    Good,
    /// Something moves.
    Busy,
    /// The row under the cursor.
    Selected,
    /// A key's name.
    Key,
    /// Text that was added.
    Added,
    /// Text that was removed.
    Removed,
}

impl Role {
    /// An event's.
    pub const fn of(weight: Weight) -> Self {
        match weight {
            Weight::Bad => Self::Bad,
            Weight::Warn => Self::Warn,
            Weight::Good => Self::Good,
            Weight::Plain => Self::Text,
        }
    }
}

impl Theme {
    /// `colour` off is NO_COLOR; `ascii` keeps the console's own glyphs in ASCII.
    pub const fn new(colour: bool, ascii: bool) -> Self {
        Self { colour, ascii }
    }

    /// The style of a role.
    pub fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let (colour, modifier) = match role {
            Role::Text => (None, Modifier::empty()),
            Role::Dim => (None, Modifier::DIM),
            Role::Title => (None, Modifier::BOLD),
            Role::Bad => (Some(Color::Red), Modifier::BOLD),
            Role::Warn => (Some(Color::Yellow), Modifier::empty()),
            Role::Good => (Some(Color::Green), Modifier::empty()),
            Role::Busy => (Some(Color::Cyan), Modifier::empty()),
            Role::Selected => (None, Modifier::REVERSED),
            Role::Key => (None, Modifier::BOLD),
            Role::Added => (Some(Color::Green), Modifier::empty()),
            Role::Removed => (Some(Color::Red), Modifier::empty()),
        };
        let style = plain.add_modifier(modifier);
        match colour {
            Some(colour) if self.colour => style.fg(colour),
            Some(_) | None => style,
        }
    }

    /// The console's own glyphs are ASCII.
    pub const fn is_ascii(self) -> bool {
        self.ascii
    }

    /// One of two glyphs.
    pub const fn glyph(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { unicode }
    }

    /// A queue's glyph and role.
    pub const fn queue(self, state: QueueState) -> (&'static str, Role) {
        match state {
            QueueState::Running => (self.glyph("▶", ">"), Role::Good),
            QueueState::Paused => (self.glyph("‖", "="), Role::Warn),
            QueueState::Blocked => (self.glyph("■", "!"), Role::Bad),
            QueueState::Draining => (self.glyph("▽", "v"), Role::Warn),
        }
    }

    /// A message's glyph and role.
    pub const fn message(self, state: MessageState) -> (&'static str, Role) {
        match state {
            MessageState::Scheduled => (self.glyph("◷", "@"), Role::Dim),
            MessageState::Ready => (self.glyph("·", "."), Role::Text),
            MessageState::Leased => (self.glyph("▶", ">"), Role::Busy),
            MessageState::Waiting => (self.glyph("…", "~"), Role::Warn),
            MessageState::Blocked => (self.glyph("■", "!"), Role::Bad),
            MessageState::Done => (self.glyph("✓", "+"), Role::Good),
            MessageState::Cancelled => (self.glyph("×", "x"), Role::Dim),
        }
    }

    /// A worker's glyph and role.
    pub const fn worker(self, state: WorkerState) -> (&'static str, Role) {
        match state {
            WorkerState::Idle => (self.glyph("·", "."), Role::Text),
            WorkerState::Busy => (self.glyph("▶", ">"), Role::Busy),
            WorkerState::Stuck | WorkerState::Silent => (self.glyph("■", "!"), Role::Bad),
            WorkerState::Draining => (self.glyph("▽", "v"), Role::Warn),
        }
    }

    /// An event's glyph.
    pub const fn event(self, weight: Weight) -> &'static str {
        match weight {
            Weight::Bad => self.glyph("■", "!"),
            Weight::Warn => self.glyph("▲", "^"),
            Weight::Good => self.glyph("✓", "+"),
            Weight::Plain => self.glyph("·", "."),
        }
    }

    /// A saga's glyph and role.
    pub const fn saga(self, state: SagaState) -> (&'static str, Role) {
        match state {
            SagaState::Running => (self.glyph("▶", ">"), Role::Busy),
            SagaState::Compensating => (self.glyph("◀", "<"), Role::Warn),
            SagaState::Parked => (self.glyph("■", "!"), Role::Bad),
            SagaState::Completed => (self.glyph("✓", "+"), Role::Good),
            SagaState::Compensated => (self.glyph("↺", "u"), Role::Warn),
            SagaState::Aborted => (self.glyph("×", "x"), Role::Dim),
        }
    }

    /// A step's glyph and role.
    pub const fn step(self, state: StepState) -> (&'static str, Role) {
        match state {
            StepState::Pending => (self.glyph("·", "."), Role::Dim),
            StepState::Running => (self.glyph("▶", ">"), Role::Busy),
            StepState::Done => (self.glyph("✓", "+"), Role::Good),
            StepState::Failed => (self.glyph("×", "x"), Role::Bad),
            StepState::Unknown => (self.glyph("?", "?"), Role::Warn),
            StepState::Compensating => (self.glyph("◀", "<"), Role::Warn),
            StepState::Compensated => (self.glyph("↺", "u"), Role::Warn),
            StepState::Stuck => (self.glyph("■", "!"), Role::Bad),
            StepState::Skipped => (self.glyph("»", "/"), Role::Dim),
        }
    }

    /// A gather's glyph and role.
    pub const fn gather(self, state: GatherState) -> (&'static str, Role) {
        match state {
            GatherState::Running => (self.glyph("▶", ">"), Role::Busy),
            GatherState::Complete | GatherState::Quorum => (self.glyph("✓", "+"), Role::Good),
            GatherState::Partial => (self.glyph("▲", "^"), Role::Warn),
        }
    }

    /// A recipient's glyph and role.
    pub const fn recipient(self, state: RecipientState) -> (&'static str, Role) {
        match state {
            RecipientState::NoReply => (self.glyph("·", "."), Role::Dim),
            RecipientState::Blocked => (self.glyph("■", "!"), Role::Bad),
            RecipientState::Replied => (self.glyph("✓", "+"), Role::Good),
            RecipientState::Failed => (self.glyph("×", "x"), Role::Bad),
        }
    }

    /// A bar of `width` columns that is full to `part` of `whole`.
    pub fn bar(self, part: u64, whole: u64, width: u16) -> String {
        let width = u64::from(width);
        let full = (part.min(whole) * width).checked_div(whole).unwrap_or(0);
        let (on, off) = (self.glyph("█", "#"), self.glyph("░", "-"));
        (0..width).map(|n| if n < full { on } else { off }).collect()
    }

    /// The steps of a sparkline, from nothing to most.
    pub const fn spark(self) -> [&'static str; 8] {
        if self.ascii {
            [".", ":", "-", "=", "+", "*", "%", "#"]
        } else {
            ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
        }
    }
}
