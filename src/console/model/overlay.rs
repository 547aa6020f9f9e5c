//! What lies on top of a screen.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{DiffPane, MessageRef, Palette, PatternForm};
use crate::admin::dto::{MessageId, QueueName, RepairVerb, Revision};
use crate::schema::Miss;

/// What lies on top.
#[derive(Debug, Default)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// All keys.
    Help {
        /// The first line shown.
        scroll: usize,
    },
    /// Commands and queues by name.
    Palette(Palette),
    /// A filter that is typed.
    Filter {
        /// So far.
        typed: String,
        /// The one before, for `Esc`.
        before: String,
    },
    /// A search in the editor.
    Find {
        /// So far.
        typed: String,
    },
    /// A message is to leave its queue: what is asked for is typed.
    Leave(LeaveForm),
    /// Something is to be done on screen 7: what is asked for is typed.
    Pattern(PatternForm),
    /// An edit misses its queue's schema: why it is saved all the same is typed.
    Reason(ReasonForm),
    /// A draft is to be thrown away: its place is typed.
    Throw(ThrowForm),
    /// A file's name that is typed.
    File(FilePrompt),
    /// A change of several messages: [`super::Many`] has it.
    Many,
    /// What an edit changes.
    Review(Review),
    /// What edits changed.
    Difference(Difference),
    /// Quit although an edit is open? Below is what was there when it was asked.
    Quit(Box<Overlay>),
}

impl Overlay {
    /// What lies below the question whether to quit, which may be answered by no; else itself.
    pub fn below(&mut self) -> &mut Self {
        match self {
            Self::Quit(below) => below,
            other => other,
        }
    }
}

/// The buttons of the review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Button {
    /// Back to the editor. The focus is here first.
    #[default]
    Back,
    /// Save and retry.
    Retry,
    /// Save.
    Save,
}

impl Button {
    /// As they stand, from the left.
    pub const ALL: [Self; 3] = [Self::Retry, Self::Save, Self::Back];

    /// What it says.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Retry => "Retry with this",
            Self::Save => "Save only",
            Self::Back => "Back",
        }
    }

    /// The one `by` places further.
    pub fn step(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|button| *button == self).unwrap_or(0);
        let len = Self::ALL.len().cast_signed();
        Self::ALL[(at.cast_signed() + by).rem_euclid(len).cast_unsigned()]
    }
}

/// The review of an edit.
#[derive(Debug)]
pub struct Review {
    /// The difference to what the broker has.
    pub pane: DiffPane,
    /// There is none.
    pub unchanged: bool,
    /// The revision that the difference is to: what the operator sees, and what the repair names.
    pub against: Revision,
    /// The chosen button.
    pub button: Button,
}

/// The difference screen.
#[derive(Debug)]
pub struct Difference {
    /// Which message.
    pub message: MessageRef,
    /// From this revision.
    pub old: Revision,
    /// To this one.
    pub new: Revision,
    /// The newest there is.
    pub newest: Revision,
    /// Their texts, as far as they have come.
    pub texts: BTreeMap<Revision, Bytes>,
    /// The lines, once both texts have come; or why they haven't.
    pub pane: DiffPane,
}

/// What a file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileUse {
    /// The message's payload is written to it.
    Save(MessageRef),
    /// The message's payload is replaced from it.
    Replace(MessageRef),
    /// What was typed for the message is written to it.
    Draft(MessageRef),
    /// What failed of several messages is written to it.
    Failed,
}

/// A file's name.
#[derive(Debug, Clone)]
pub struct FilePrompt {
    /// What for.
    pub what: FileUse,
    /// So far.
    pub typed: String,
}

/// How a message leaves its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It is cancelled.
    Cancel,
    /// It goes to the dead-letter queue.
    DeadLetter,
    /// It goes to a queue that is typed.
    Move,
}

/// A line of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveField {
    /// The short id.
    Id,
    /// The queue that it goes to.
    To,
    /// Why.
    Reason,
}

impl Leaving {
    /// The lines that are typed.
    pub const fn fields(self) -> &'static [LeaveField] {
        match self {
            Self::Cancel | Self::DeadLetter => &[LeaveField::Id, LeaveField::Reason],
            Self::Move => &[LeaveField::Id, LeaveField::To, LeaveField::Reason],
        }
    }

    /// What is done to the message.
    pub const fn verb(self) -> RepairVerb {
        match self {
            Self::Cancel => RepairVerb::Cancel,
            Self::DeadLetter => RepairVerb::DeadLetter,
            Self::Move => RepairVerb::Move,
        }
    }
}

/// A message is to leave its queue: the short id is typed, never just Enter.
#[derive(Debug, Clone)]
pub struct LeaveForm {
    /// Which message.
    pub message: MessageRef,
    /// Its id.
    pub id: MessageId,
    /// The revision that is seen.
    pub revision: Revision,
    /// How.
    pub leaving: Leaving,
    /// What must be typed.
    pub short_id: String,
    /// What is typed of it.
    pub typed_id: String,
    /// The queue that it goes to; empty: a dead letter goes back to its own.
    pub to: String,
    /// Why.
    pub reason: String,
    /// Which line is being typed.
    pub field: LeaveField,
    /// What is missing.
    pub complaint: Option<String>,
}

/// What misses the queue's schema is saved with a reason only.
#[derive(Debug, Clone)]
pub struct ReasonForm {
    /// Save, or save and retry.
    pub verb: RepairVerb,
    /// The revision that the review showed.
    pub against: Revision,
    /// What is missed.
    pub miss: Miss,
    /// So far.
    pub typed: String,
    /// It was sent without one.
    pub complains: bool,
}

/// What was typed for a message is to be removed: its place is typed, as its id may not be known any more.
#[derive(Debug, Clone)]
pub struct ThrowForm {
    /// Which message.
    pub message: MessageRef,
    /// So far.
    pub typed: String,
    /// Something else was typed.
    pub complains: bool,
}

impl ThrowForm {
    /// Was the right place typed?
    pub fn is_right(&self) -> bool {
        self.typed.trim() == self.message.seq.to_string()
    }
}

/// How many characters of an id are typed.
const SHORT_ID_CHARS: usize = 6;

/// What an operator types to name a message: the end of its id (UUIDv7 begins with the time, which
/// neighbours share), or its place if the id can't be typed.
pub fn short_id(message: &MessageRef, id: &MessageId) -> String {
    let text = id.as_str();
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return message.seq.to_string();
    }
    let end = &text[text.len().saturating_sub(SHORT_ID_CHARS)..];
    match end.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()) {
        "" => message.seq.to_string(),
        end => end.to_owned(),
    }
}

impl LeaveForm {
    /// Nothing typed yet.
    pub fn new(message: MessageRef, id: MessageId, revision: Revision, leaving: Leaving) -> Self {
        let short_id = short_id(&message, &id);
        Self {
            message,
            id,
            revision,
            leaving,
            short_id,
            typed_id: String::new(),
            to: String::new(),
            reason: String::new(),
            field: LeaveField::Id,
            complaint: None,
        }
    }

    /// The line that is typed.
    pub const fn typed(&mut self) -> &mut String {
        match self.field {
            LeaveField::Id => &mut self.typed_id,
            LeaveField::To => &mut self.to,
            LeaveField::Reason => &mut self.reason,
        }
    }

    /// To the next line. From the id that is right there are only the others to go to.
    pub fn next_field(&mut self) {
        let fields = self.leaving.fields();
        let at = fields.iter().position(|&field| field == self.field).unwrap_or_default();
        let first = usize::from(self.typed_id == self.short_id);
        let next = if at + 1 < fields.len() { at + 1 } else { first };
        self.field = fields.get(next).copied().unwrap_or(LeaveField::Reason);
    }

    /// Where the message goes, or what is missing, and in which line.
    pub fn check(&self) -> Result<Option<QueueName>, (LeaveField, String)> {
        if self.typed_id != self.short_id {
            return Err((LeaveField::Id, "the id is not the one that is asked for".to_owned()));
        }
        if self.leaving == Leaving::Cancel && self.reason.trim().is_empty() {
            return Err((LeaveField::Reason, "a reason is needed".to_owned()));
        }
        match self.to.trim() {
            "" => Ok(None),
            to => QueueName::new(to).map(Some).map_err(|error| (LeaveField::To, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_cannot_be_typed_is_named_by_its_place() {
        let message =
            MessageRef { queue: QueueName::new("q").unwrap(), seq: crate::admin::dto::Seq(7) };
        let id = |text| MessageId::new(text).unwrap();
        assert_eq!(short_id(&message, &id("0192aa-beef42")), "beef42");
        assert_eq!(short_id(&message, &id("m1")), "m1");
        assert_eq!(short_id(&message, &id("invoice-41004")), "41004");
        assert_eq!(short_id(&message, &id("------")), "7");
        assert_eq!(short_id(&message, &id("żółw")), "7");
    }
}
