//! What the console asks to be done outside; carried out by `runner`, answered by `Action`s.

use std::path::PathBuf;

use bytes::Bytes;

use super::many::Job;
use super::model::{MessageRef, PatternAct, PatternRead};
use crate::admin::dto::{
    IdempotencyKey, MessageId, QueueName, RepairRequest, Revision, SchemaText, Seq,
};

/// Names a request, so that its answer finds its way whenever it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A draft as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedDraft {
    /// The text.
    pub bytes: Bytes,
    /// The revision that it began from.
    pub base: Revision,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the broker; answered by one `Action::Reply` with the same id.
    Ask(RequestId, Request),
    /// Try to connect now, without waiting for the back-off.
    Reconnect,
    /// Read a draft; answered by `Action::DraftLoaded`.
    LoadDraft(MessageRef),
    /// Write a draft; answered by `Action::DraftSaved`.
    SaveDraft {
        /// Of which message.
        message: MessageRef,
        /// Which version.
        version: u64,
        /// What to write.
        draft: SavedDraft,
    },
    /// Remove this console's drafts of a message: what they held is at the broker, or was undone. Answered by
    /// `Action::DraftRemoved`.
    DeleteDraft(MessageRef),
    /// Remove the draft that would be read next, of this console or of one that has ended: the operator wants that.
    /// Answered by `Action::DraftRemoved`.
    ThrowDraftAway(MessageRef),
    /// Write the draft that would be read next into a new file; answered by `Action::FileWritten`.
    CopyDraft(MessageRef, PathBuf),
    /// Compare two long texts; answered by `Action::Compared`.
    Compare {
        /// Names it.
        request: RequestId,
        /// From.
        old: Bytes,
        /// To.
        new: Bytes,
    },
    /// Ask a queue's schema about a payload; answered by `Action::SchemaChecked`.
    CheckSchema {
        /// Names it.
        request: RequestId,
        /// The queue.
        queue: QueueName,
        /// Its schema.
        schema: SchemaText,
        /// The payload.
        payload: Bytes,
    },
    /// Write bytes into a new file; answered by `Action::FileWritten`.
    WriteFile(PathBuf, Bytes),
    /// Read a file for the editor; answered by `Action::FileRead`.
    ReadFile(MessageRef, PathBuf),
    /// Change many messages; told by `Action::Many`.
    Many(Box<Job>),
    /// Give the terminal to the operator's own editor, with this text; answered by `Action::EditedOutside`.
    EditOutside(MessageRef, Bytes),
    /// Hand text to the terminal's clipboard.
    Copy(String),
    /// Draw everything again.
    Redraw,
    /// Give the terminal back and stop until continued.
    Suspend,
    /// Leave.
    Quit,
}

/// A request to the admin API.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A page of a queue's messages.
    Page {
        /// Which queue.
        queue: QueueName,
        /// From which place on.
        from: Option<Seq>,
    },
    /// A page of a queue's order keys that stand.
    Keys {
        /// Which queue.
        queue: QueueName,
        /// From which place on.
        from: Option<Seq>,
    },
    /// The supervised workers.
    Pools,
    /// Where a message is.
    Locate(MessageId),
    /// A message.
    Message(MessageRef),
    /// The bytes of a revision.
    Payload(MessageRef, Revision),
    /// The journal before a number.
    Journal {
        /// The newest if absent.
        before: Option<u64>,
    },
    /// Topics, gathers or sagas.
    Patterns(PatternRead),
    /// A queue's schema.
    Schema(QueueName),
    /// Take, renew or, with 0, give back a hold.
    Hold(MessageRef, u64),
    /// Repair a message.
    Repair(MessageRef, Box<RepairRequest>),
    /// What came of a repair.
    Outcome(IdempotencyKey),
    /// Stop or go on delivering.
    SetPaused {
        /// Which queue.
        queue: QueueName,
        /// Stop.
        paused: bool,
    },
    /// Do something to a saga or a subscription.
    PatternAct(PatternAct),
}

impl Request {
    /// It changes something at the broker.
    pub fn changes(&self) -> bool {
        match self {
            Self::Hold(..) | Self::Repair(..) | Self::SetPaused { .. } | Self::PatternAct(_) => {
                true
            }
            Self::Page { .. }
            | Self::Keys { .. }
            | Self::Pools
            | Self::Locate(_)
            | Self::Message(_)
            | Self::Payload(..)
            | Self::Journal { .. }
            | Self::Patterns(_)
            | Self::Schema(_)
            | Self::Outcome(_) => false,
        }
    }
}
