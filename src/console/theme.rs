//! Colours and glyphs. State is always a word and a glyph; colour only helps.

use ratatui::style::{Color, Modifier, Style};

use super::model::Weight;
use crate::admin::dto::{
    GatherState, MessageState, QueueState, RecipientState, SagaState, StepState, WorkerState,
};

/// How things look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    colours: Colours,
    ascii: bool,
}

/// The colours of a theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// 256 colours, calm, for a dark background.
    Default,
    /// 256 colours with much contrast, for a light background.
    Light,
    /// The terminal's own 16, so that its theme stays in charge.
    Sixteen,
    /// None: bold, dim, reversed and underlined only.
    Plain,
}

impl Colours {
    const ALL: [Self; 4] = [Self::Default, Self::Light, Self::Sixteen, Self::Plain];
    /// Their names in `--theme` and the configuration.
    pub const NAMES: [&str; 4] = ["default", "light", "sixteen", "plain"];

    /// By name.
    pub fn named(name: &str) -> Option<Self> {
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        Self::ALL.get(at).copied()
    }

    /// Those that a terminal can show: one that doesn't say that it has 256 gets the 16 that all have.
    pub fn on(self, term: &str, colorterm: &str) -> Self {
        let has_many =
            term.contains("256color") || term.contains("direct") || !colorterm.is_empty();
        match self {
            Self::Default | Self::Light if !has_many => Self::Sixteen,
            Self::Default | Self::Light | Self::Sixteen | Self::Plain => self,
        }
    }
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
    /// The terminal's own 16 colours or none; `ascii` keeps the console's own glyphs in ASCII.
    #[cfg(test)]
    pub(crate) const fn new(colour: bool, ascii: bool) -> Self {
        Self { colours: if colour { Colours::Sixteen } else { Colours::Plain }, ascii }
    }

    /// These colours.
    pub const fn of(colours: Colours, ascii: bool) -> Self {
        Self { colours, ascii }
    }

    /// The style of a role.
    pub fn style(self, role: Role) -> Style {
        let modifier = match role {
            Role::Title | Role::Bad | Role::Key => Modifier::BOLD,
            Role::Text | Role::Warn | Role::Good | Role::Busy | Role::Added | Role::Removed => {
                Modifier::empty()
            }
            Role::Dim => Modifier::DIM,
            Role::Selected => Modifier::REVERSED,
        };
        let plain = Style::new().add_modifier(modifier);
        match self.colours {
            Colours::Plain => plain,
            Colours::Sixteen => match sixteen(role) {
                Some(colour) => plain.fg(colour),
                None => plain,
            },
            Colours::Default => indexed(role, plain, [203, 221, 114, 80, 245, 153]),
            Colours::Light => indexed(role, plain, [124, 94, 22, 24, 240, 18]),
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

/// The terminal's own colour of a role, if it has one.
const fn sixteen(role: Role) -> Option<Color> {
    match role {
        Role::Bad | Role::Removed => Some(Color::Red),
        Role::Warn => Some(Color::Yellow),
        Role::Good | Role::Added => Some(Color::Green),
        Role::Busy => Some(Color::Cyan),
        Role::Text | Role::Dim | Role::Title | Role::Selected | Role::Key => None,
    }
}

/// Of 256: bad, warn, good, busy, dim, keys and titles. The terminal's own foreground and background stay.
fn indexed(role: Role, plain: Style, [bad, warn, good, busy, dim, key]: [u8; 6]) -> Style {
    let colour = match role {
        Role::Bad | Role::Removed => bad,
        Role::Warn => warn,
        Role::Good | Role::Added => good,
        Role::Busy => busy,
        // A colour of its own is better to read than what terminals make of dim.
        Role::Dim => return Style::new().fg(Color::Indexed(dim)),
        Role::Title | Role::Key => key,
        Role::Text | Role::Selected => return plain,
    };
    plain.fg(Color::Indexed(colour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_there_are_none_and_sixteen_are_the_terminals_own() {
        const ROLES: [Role; 11] = [
            Role::Text,
            Role::Dim,
            Role::Title,
            Role::Bad,
            Role::Warn,
            Role::Good,
            Role::Busy,
            Role::Selected,
            Role::Key,
            Role::Added,
            Role::Removed,
        ];
        for role in ROLES {
            let style = |colours| Theme::of(colours, false).style(role);
            let plain = style(Colours::Plain);
            assert_eq!((plain.fg, plain.bg), (None, None), "{role:?}");
            assert!(!matches!(
                style(Colours::Sixteen).fg,
                Some(Color::Indexed(_) | Color::Rgb(..))
            ));
            let other = |style: Style| !matches!(style.fg, Some(Color::Rgb(..)));
            assert!(other(style(Colours::Default)) && other(style(Colours::Light)));
        }
    }

    #[test]
    fn a_terminal_that_says_nothing_gets_sixteen() {
        assert_eq!(Colours::Default.on("linux", ""), Colours::Sixteen);
        assert_eq!(Colours::Light.on("xterm-256color", ""), Colours::Light);
        assert_eq!(Colours::Default.on("xterm", "truecolor"), Colours::Default);
        assert_eq!(Colours::Plain.on("xterm-256color", ""), Colours::Plain);
    }
}
