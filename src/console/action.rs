//! Everything that can happen to the console, as one enum.

use bytes::Bytes;
use crossterm::event::KeyEvent;

use super::command::Command;
use super::effect::{RequestId, SavedDraft};
use super::many::Told;
use super::model::{MessageRef, PatternPage};
use super::text::diff::DiffLine;

use crate::admin::dto::{
    HoldView, JournalPage, KeyPage, Located, MessagePage, MessageView, PoolView, Problem,
    RepairOutcome, SagaView, StreamEvent, SubscriptionChange,
};
use crate::schema::Miss;

/// One input of the console. Time comes beside it, in [`super::update::update`].
#[derive(Debug, Clone)]
pub enum Action {
    /// A key that the table knows, or a palette entry.
    Do(Command),
    /// A key that is text in this mode.
    Input(KeyEvent),
    /// Text that the terminal says was pasted.
    Paste(String),
    /// The terminal's size now.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// The mouse, at a column and a row of the screen.
    Pointed {
        /// What it did.
        what: Pointed,
        /// Column.
        x: u16,
        /// Row.
        y: u16,
    },
    /// A second has passed.
    Tick,
    /// The event stream is there.
    Connected,
    /// Something came over the event stream.
    Stream(Box<StreamEvent>),
    /// There is no event stream.
    Lost {
        /// Why.
        reason: String,
        /// How many attempts to connect have failed in a row.
        failures: u32,
        /// Until the next attempt, in milliseconds.
        retry_in_ms: u64,
        /// The broker, or the system, refuses this user: trying again is of little use.
        refused: bool,
    },
    /// An answer to a request; may come late, twice or never.
    Reply {
        /// The request.
        request: RequestId,
        /// What came of it.
        reply: Result<Reply, Failure>,
    },
    /// What the disk has of a draft.
    DraftLoaded {
        /// Of which message.
        message: MessageRef,
        /// The draft, if there is one; or why it can't be read.
        draft: Result<Option<SavedDraft>, String>,
    },
    /// Another console of this user has a draft of the message that is about to be edited.
    DraftElsewhere {
        /// Of which message.
        message: MessageRef,
    },
    /// Drafts that earlier consoles left.
    DraftsFound {
        /// Of which messages.
        messages: Vec<MessageRef>,
    },
    /// A draft was written, or could not be.
    DraftSaved {
        /// Of which message.
        message: MessageRef,
        /// Which of its versions; counts up.
        version: u64,
        /// Why not.
        result: Result<(), String>,
    },
    /// A draft was removed, or could not be.
    DraftRemoved {
        /// Of which message.
        message: MessageRef,
        /// Whether the disk has another one that no other console has; or why it wasn't removed.
        left: Result<bool, String>,
        /// The operator threw it away.
        by_hand: bool,
    },
    /// Two texts were compared.
    Compared {
        /// Which.
        request: RequestId,
        /// The difference.
        lines: Result<Vec<DiffLine>, String>,
    },
    /// A schema was asked.
    SchemaChecked {
        /// Which time.
        request: RequestId,
        /// How the payload misses it, if it does; or why it couldn't be asked.
        result: Result<Option<Miss>, String>,
    },
    /// A payload was written to a file, or could not be.
    FileWritten {
        /// What to tell.
        result: Result<String, String>,
    },
    /// The operator's own editor has ended.
    EditedOutside {
        /// Of which message the text is.
        message: MessageRef,
        /// What it left, or why nothing is taken.
        result: Result<Bytes, String>,
    },
    /// A file was read for the editor.
    FileRead {
        /// For which message.
        message: MessageRef,
        /// Its bytes, or why not.
        result: Result<Bytes, String>,
    },
    /// Something was told of a change of many messages.
    Many {
        /// Which run.
        run: u64,
        /// What.
        told: Box<Told>,
    },
    /// Something went wrong in the console itself that isn't worth its life.
    Trouble(String),
}

/// What a mouse does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointed {
    /// The wheel goes down.
    Down,
    /// The wheel goes up.
    Up,
    /// The left button.
    Click,
}

/// An answer of the broker.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A page of a queue.
    Page(MessagePage),
    /// A page of a queue's order keys.
    Keys(KeyPage),
    /// The supervised workers.
    Pools(Vec<PoolView>),
    /// Where a message is.
    Located(Located),
    /// A message.
    Message(Box<MessageView>),
    /// The bytes of a revision.
    Payload(Bytes),
    /// A page of the journal.
    Journal(JournalPage),
    /// Topics, gathers or sagas.
    Patterns(PatternPage),
    /// A queue's schema.
    Schema(String),
    /// A hold as it is now.
    Held(Option<HoldView>),
    /// A repair was done.
    Repaired(RepairOutcome),
    /// What is known of a repair's key.
    Outcome(Option<RepairOutcome>),
    /// A pause or a resume was done.
    Done,
    /// A saga as it is after an act.
    Saga(Box<SagaView>),
    /// A subscription was made or taken back.
    Subscribed(SubscriptionChange),
}

/// Why there is no answer, or not the wanted one.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The broker said no; nothing has changed.
    Refused(Box<Problem>),
    /// Nothing was sent; nothing has changed.
    NotSent(String),
    /// It may or may not have been done.
    Unknown(String),
}

impl Failure {
    /// What to tell the operator; not cleaned.
    pub fn text(&self) -> String {
        match self {
            Self::Refused(problem) => problem.detail.clone(),
            Self::NotSent(reason) | Self::Unknown(reason) => reason.clone(),
        }
    }
}
