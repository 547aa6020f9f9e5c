//! What a key can ask for, and in which mode of the screen.

/// The screens, by their digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Screen {
    /// All queues, blocked first.
    #[default]
    Queues,
    /// One queue's messages.
    Queue,
    /// One message.
    Message,
    /// All workers.
    Workers,
    /// Who did what.
    Journal,
    /// What happens, as it happens.
    Events,
    /// Topics, gathers and sagas.
    Patterns,
}

impl Screen {
    /// All of them, in the order of their digits.
    pub const ALL: [Self; 7] = [
        Self::Queues,
        Self::Queue,
        Self::Message,
        Self::Workers,
        Self::Journal,
        Self::Events,
        Self::Patterns,
    ];

    /// A look aside: `Esc` goes back to the screen before.
    pub const fn is_aside(self) -> bool {
        match self {
            Self::Workers | Self::Journal | Self::Events | Self::Patterns => true,
            Self::Queues | Self::Queue | Self::Message => false,
        }
    }

    /// Its name on screens and in the palette.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Queues => "Queues",
            Self::Queue => "Queue",
            Self::Message => "Message",
            Self::Workers => "Workers",
            Self::Journal => "Journal",
            Self::Events => "Events",
            Self::Patterns => "Patterns",
        }
    }

    /// The mode of its keys.
    pub const fn mode(self) -> Mode {
        match self {
            Self::Queues => Mode::Queues,
            Self::Queue => Mode::Queue,
            Self::Message => Mode::Message,
            Self::Workers => Mode::Workers,
            Self::Journal => Mode::Journal,
            Self::Events => Mode::Events,
            Self::Patterns => Mode::Patterns,
        }
    }
}

/// Which keys work: what lies on top of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Screen 1.
    Queues,
    /// Screen 2.
    Queue,
    /// Screen 3.
    Message,
    /// Screen 4.
    Workers,
    /// Screen 5.
    Journal,
    /// Screen 6.
    Events,
    /// Screen 7.
    Patterns,
    /// A payload is edited.
    Editor,
    /// A search inside the editor is typed.
    Find,
    /// What an edit changes, before it is sent.
    Review,
    /// What an edit changed.
    Difference,
    /// A filter is typed.
    Filter,
    /// The command palette.
    Palette,
    /// What is asked for before a message leaves its queue is typed.
    Leave,
    /// A change of several messages is asked for.
    Many,
    /// The number of messages is typed.
    Agree,
    /// A change of several messages runs, or has run.
    Bulk,
    /// A file's name is typed.
    File,
    /// Whether to quit is asked.
    Quit,
    /// The help.
    Help,
}

impl Mode {
    /// All of them, as the help lists them.
    pub const ALL: [Self; 20] = [
        Self::Queues,
        Self::Queue,
        Self::Message,
        Self::Workers,
        Self::Journal,
        Self::Events,
        Self::Patterns,
        Self::Editor,
        Self::Find,
        Self::Review,
        Self::Difference,
        Self::Filter,
        Self::Palette,
        Self::Leave,
        Self::Many,
        Self::Agree,
        Self::Bulk,
        Self::File,
        Self::Quit,
        Self::Help,
    ];

    /// Its name in the help.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Queues => "Queues",
            Self::Queue => "Queue",
            Self::Message => "Message",
            Self::Workers => "Workers",
            Self::Journal => "Journal",
            Self::Events => "Events",
            Self::Patterns => "Patterns",
            Self::Editor => "Editor",
            Self::Find => "Find",
            Self::Review => "Review",
            Self::Difference => "Difference",
            Self::Filter => "Filter",
            Self::Palette => "Palette",
            Self::Leave => "Take out",
            Self::Many => "Several",
            Self::Agree => "Several: agree",
            Self::Bulk => "Several: results",
            Self::File => "File name",
            Self::Quit => "Quit",
            Self::Help => "Help",
        }
    }

    /// Whether a key that is in no row is text that is typed.
    pub const fn takes_text(self) -> bool {
        match self {
            Self::Editor
            | Self::Find
            | Self::Filter
            | Self::Palette
            | Self::Leave
            | Self::Many
            | Self::Agree
            | Self::File => true,
            Self::Queues
            | Self::Queue
            | Self::Message
            | Self::Workers
            | Self::Journal
            | Self::Events
            | Self::Patterns
            | Self::Review
            | Self::Difference
            | Self::Bulk
            | Self::Quit
            | Self::Help => false,
        }
    }
}

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each has its help text in the key table")]
pub enum Command {
    Down,
    Up,
    HalfDown,
    HalfUp,
    PageDown,
    PageUp,
    Top,
    Bottom,
    Left,
    Right,
    Enter,
    Back,
    NextPane,
    Go(Screen),
    Filter,
    Sort,
    Keys,
    Edit,
    EditOutside,
    Difference,
    Retry,
    Cancel,
    DeadLetter,
    Move,
    Undo,
    Mark,
    MarkRange,
    Unmark,
    RetryMany,
    EditMany,
    LastMany,
    StopMany,
    FailedOnly,
    SaveFailed,
    GoOn,
    PauseResume,
    Subscribe,
    RetrySaga,
    SkipSaga,
    EndPattern,
    Workers,
    Journal,
    Copy,
    SavePayload,
    ReplacePayload,
    SaveDraft,
    ThrowDraftAway,
    Help,
    Palette,
    Redraw,
    Refresh,
    Suspend,
    Quit,
    Review,
    EditUndo,
    EditRedo,
    Format,
    Find,
    FindNext,
    FindBefore,
    BodyForm,
    Fold,
    FoldAll,
    NewerBefore,
    NewerAfter,
    ClearLine,
    GoToFault,
    Discard,
    Accept,
    Dismiss,
    NextField,
    /// Hidden: a panic on purpose, for the test of the terminal's restoration.
    Panic,
}

impl Command {
    /// It moves the cursor, and does nothing else.
    pub const fn is_motion(self) -> bool {
        matches!(
            self,
            Self::Down
                | Self::Up
                | Self::HalfDown
                | Self::HalfUp
                | Self::PageDown
                | Self::PageUp
                | Self::Top
                | Self::Bottom
        )
    }
}
