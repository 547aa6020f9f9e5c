//! What was done: at most one repair in flight for a message, the outcome line, and what `u` undoes.

use std::collections::BTreeMap;

use super::{ManyAct, MessageRef, Millis};
use crate::admin::dto::{QueueName, RepairRequest, RepairVerb, Revision};
use crate::console::many::Row;

/// How the last act stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Sent, no answer yet.
    Sending,
    /// No answer came. It may have been done; asking for its outcome.
    Unknown {
        /// Why there is no answer.
        why: String,
    },
    /// The broker did it; the message waits for its worker.
    Accepted,
    /// A worker has the message.
    Running,
    /// The message is done and the queue goes on.
    Advanced,
    /// The message failed again.
    FailedAgain {
        /// The new error.
        error: String,
    },
    /// Done, and nothing more to wait for.
    Done {
        /// What to tell.
        text: String,
    },
    /// Not done; nothing has changed.
    Refused {
        /// Why.
        text: String,
    },
    /// Somebody else changed the message; nothing was done.
    Changed {
        /// Who, what, what to do.
        text: String,
    },
    /// Just a word to the operator.
    Note,
}

impl Stage {
    /// Nothing more will come of it.
    pub const fn is_over(&self) -> bool {
        match self {
            Self::Sending | Self::Unknown { .. } | Self::Accepted | Self::Running => false,
            Self::Advanced
            | Self::FailedAgain { .. }
            | Self::Done { .. }
            | Self::Refused { .. }
            | Self::Changed { .. }
            | Self::Note => true,
        }
    }
}

/// The last act, for row 23.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// What, on what.
    pub what: String,
    /// How it stands.
    pub stage: Stage,
    /// On which message, if on one.
    pub message: Option<MessageRef>,
}

/// What `u` can try to undo.
#[derive(Debug, Clone, PartialEq)]
pub enum Undoable {
    /// A pause (true) or a resume of a queue.
    Paused(QueueName, bool),
    /// The last change of several messages.
    Several {
        /// What takes it back.
        act: ManyAct,
        /// Those that were done, as they are now.
        rows: Vec<Row>,
        /// The last of them: while it can be undone, some can.
        last: MessageRef,
        /// As of a repair.
        offer: Option<String>,
    },
    /// A repair; the broker says whether it can still be undone, and how that is called.
    Repair {
        /// Of which message.
        message: MessageRef,
        /// What was done.
        verb: RepairVerb,
        /// The message's revision after it.
        revision: Revision,
        /// The journal's entry of it.
        journal: u64,
        /// As the broker puts it; absent while it isn't known, or when it can't be undone.
        offer: Option<String>,
    },
}

impl Undoable {
    /// By which message it is known whether it can be undone.
    pub const fn message(&self) -> Option<&MessageRef> {
        match self {
            Self::Paused(..) => None,
            Self::Several { last: message, .. } | Self::Repair { message, .. } => Some(message),
        }
    }

    /// What the broker says of that message.
    pub fn take_offer(&mut self, new: Option<String>) {
        match self {
            Self::Paused(..) => {}
            Self::Several { offer, .. } | Self::Repair { offer, .. } => *offer = new,
        }
    }

    /// It can be undone, as far as is known.
    pub const fn is_offered(&self) -> bool {
        match self {
            Self::Paused(..) => true,
            Self::Several { offer, .. } | Self::Repair { offer, .. } => offer.is_some(),
        }
    }
}

/// A repair that was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct InFlight {
    /// As it was sent; sent again only as it is, so that it acts once.
    pub request: RepairRequest,
    /// The bytes that the editor sent, to know whether a draft is done with.
    pub submitted: Option<Submitted>,
    /// When it was sent.
    pub sent_at: Millis,
    /// When it was last asked for.
    pub asked_at: Millis,
    /// It has no answer, and its outcome is asked for.
    pub unknown: bool,
    /// How many times in a row the broker said that it doesn't know its key.
    pub denials: u32,
    /// What the event stream told before the answer came, and the journal's entry of it.
    pub heard: Option<(Option<u64>, Stage)>,
}

/// What the editor sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The payload.
    pub bytes: bytes::Bytes,
    /// The draft's version.
    pub version: u64,
}

/// All acts.
#[derive(Debug, Default)]
pub struct Acts {
    /// Repairs without an outcome yet: one for a message at most.
    pub in_flight: BTreeMap<MessageRef, InFlight>,
    /// The last act.
    pub last: Option<Act>,
    /// What `u` would undo.
    pub undo: Option<Undoable>,
    /// How many words were said to the operator: whether one is new.
    pub notes: u64,
}

impl Acts {
    /// Tells the operator something.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes += 1;
        self.last = Some(Act { what: text.into(), stage: Stage::Note, message: None });
    }

    /// What a word was about is no longer shown, so it goes too; an act's outcome stays.
    pub fn forget_note(&mut self) {
        self.last.take_if(|act| act.stage == Stage::Note);
    }

    /// Tells the operator that something can't be done.
    pub fn refuse(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let stage = Stage::Refused { text: why.into() };
        self.last = Some(Act { what: what.into(), stage, message: None });
    }

    /// Begins an act.
    pub fn begin(&mut self, what: String, message: Option<MessageRef>) {
        self.last = Some(Act { what, stage: Stage::Sending, message });
    }

    /// Moves the last act on, if it is still the one of `message`.
    pub fn stage(&mut self, message: &MessageRef, stage: Stage) {
        if let Some(last) = &mut self.last
            && last.message.as_ref() == Some(message)
        {
            last.stage = stage;
        }
    }

    /// The message whose retry is being followed to its end.
    pub fn followed(&self) -> Option<&MessageRef> {
        let last = self.last.as_ref()?;
        match last.stage {
            Stage::Accepted | Stage::Running => last.message.as_ref(),
            Stage::Sending
            | Stage::Unknown { .. }
            | Stage::Advanced
            | Stage::FailedAgain { .. }
            | Stage::Done { .. }
            | Stage::Refused { .. }
            | Stage::Changed { .. }
            | Stage::Note => None,
        }
    }
}

/// What a repair is called.
pub const fn verb_text(verb: RepairVerb) -> &'static str {
    match verb {
        RepairVerb::Save => "save",
        RepairVerb::Retry => "retry",
        RepairVerb::SaveAndRetry => "retry with the edit",
        RepairVerb::Cancel => "cancel",
        RepairVerb::Restore => "restore",
        RepairVerb::UndoSave => "take the edit back",
        RepairVerb::DeadLetter => "dead-letter",
        RepairVerb::Move => "move",
    }
}
