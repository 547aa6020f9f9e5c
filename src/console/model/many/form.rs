//! The form of a change of many messages: what, which, and what is typed.

use std::collections::BTreeMap;

use crate::admin::dto::{BulkVerb, MessageFilter, MessageState, QueueName};
use crate::console::many::{Change, Group, Row, Which};
use crate::console::model::{Marks, Motion};

/// What can be done to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManyAct {
    /// Retried as they are.
    Retry,
    /// Taken out.
    Cancel,
    /// To the dead-letter queue.
    DeadLetter,
    /// To another queue.
    Move,
    /// Changed by a jq expression and saved.
    Edit,
    /// And retried.
    EditAndRetry,
    /// Cancelled ones: back to their places.
    Restore,
    /// Saved ones: the revision before.
    TakeBack,
}

impl ManyAct {
    /// What the form offers; the others are undone from.
    pub const CHOICE: [Self; 6] =
        [Self::Retry, Self::Cancel, Self::DeadLetter, Self::Move, Self::EditAndRetry, Self::Edit];

    /// In words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::DeadLetter => "dead-letter",
            Self::Move => "move",
            Self::Edit => "jq, save",
            Self::EditAndRetry => "jq, save and retry",
            Self::Restore => "restore",
            Self::TakeBack => "take the edit back",
        }
    }

    /// What takes the act back, if anything does.
    pub const fn undone_by(self) -> Option<Self> {
        match self {
            Self::Cancel => Some(Self::Restore),
            Self::Edit | Self::EditAndRetry => Some(Self::TakeBack),
            Self::Retry | Self::DeadLetter | Self::Move | Self::Restore | Self::TakeBack => None,
        }
    }

    /// The lines that are typed.
    pub const fn fields(self) -> &'static [ManyField] {
        match self {
            Self::Retry | Self::Cancel | Self::DeadLetter | Self::Restore | Self::TakeBack => {
                &[ManyField::Reason, ManyField::Rate]
            }
            Self::Move => &[ManyField::To, ManyField::Reason, ManyField::Rate],
            Self::Edit | Self::EditAndRetry => &[ManyField::Jq, ManyField::Reason, ManyField::Rate],
        }
    }
}

/// A line of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ManyField {
    /// The queue that they go to.
    To,
    /// The jq expression.
    Jq,
    /// Why.
    Reason,
    /// How many a second.
    Rate,
}

/// Which messages are meant.
#[derive(Debug, Clone, PartialEq)]
pub enum Scope {
    /// The marked ones.
    Marked,
    /// All that are blocked.
    Blocked,
    /// All that wait for another attempt.
    Waiting,
    /// All that failed last with an error of this group.
    Group(Group),
    /// All.
    All,
    /// Those of an act that is taken back.
    Undone(Vec<Row>),
}

/// The form.
#[derive(Debug, Clone)]
pub struct ManyForm {
    /// What is to be done.
    pub act: ManyAct,
    /// Which messages there are to choose from, with their number as far as it is known.
    pub scopes: Vec<(Scope, Option<u64>)>,
    /// The chosen one.
    pub at: usize,
    /// What is typed.
    pub typed: BTreeMap<ManyField, String>,
    /// Which line is typed in.
    pub field: ManyField,
    /// What is missing.
    pub complaint: Option<String>,
    /// The groups of errors are still being read, or can't be.
    pub groups: Result<bool, String>,
    /// Nobody has typed a rate: it is what the form began with.
    has_preset: bool,
}

/// In which line something is missing, and what.
type Missing = (ManyField, String);

/// Messages a second if nothing else is typed: as on the command line.
const RATE: &str = "100";

impl ManyForm {
    /// Nothing typed yet.
    pub fn new(act: ManyAct, scopes: Vec<(Scope, Option<u64>)>) -> Self {
        let typed = BTreeMap::from([(ManyField::Rate, RATE.to_owned())]);
        let field = act.fields()[0];
        Self {
            act,
            scopes,
            at: 0,
            typed,
            field,
            complaint: None,
            groups: Ok(false),
            has_preset: true,
        }
    }

    /// A line's text.
    pub fn text(&self, field: ManyField) -> &str {
        self.typed.get(&field).map_or("", String::as_str)
    }

    /// The line that is typed in is emptied if it has what it had from the beginning.
    pub fn replace_preset(&mut self) {
        if self.field == ManyField::Rate && std::mem::take(&mut self.has_preset) {
            self.typed.remove(&ManyField::Rate);
        }
    }

    /// Something was typed into the line.
    pub fn was_typed(&mut self) {
        self.complaint = None;
        self.has_preset &= self.field != ManyField::Rate;
    }

    /// To the next line.
    pub fn next_field(&mut self) {
        let fields = self.act.fields();
        let at = fields.iter().position(|field| *field == self.field).unwrap_or(0);
        self.field = fields[(at + 1) % fields.len()];
    }

    /// Another act.
    pub fn step_act(&mut self, by: isize) {
        let all = ManyAct::CHOICE;
        let Some(at) = all.iter().position(|act| *act == self.act) else { return };
        let at = (at.cast_signed() + by).rem_euclid(all.len().cast_signed());
        self.act = all[at.cast_unsigned()];
        self.complaint = None;
        // What is new in this form is typed first.
        self.field = self.act.fields()[0];
    }

    /// Another choice of messages.
    pub fn step_scope(&mut self, motion: Motion) {
        let last = self.scopes.len().saturating_sub(1);
        self.at = motion.scrolled(self.at, 5).min(last);
        self.complaint = None;
    }

    /// The groups have come: behind all that are blocked.
    pub fn take_groups(&mut self, groups: Result<Vec<Group>, String>) {
        let groups = match groups {
            Ok(groups) => groups,
            Err(why) => return self.groups = Err(why),
        };
        self.groups = Ok(true);
        let chosen = self.scopes.get(self.at).map(|(scope, _)| scope.clone());
        self.scopes.retain(|(scope, _)| !matches!(scope, Scope::Group(_)));
        let behind = self.scopes.iter().rposition(|(scope, _)| *scope != Scope::All);
        let behind = behind.map_or(0, |at| at + 1);
        let rows = groups.into_iter().map(|group| {
            let count = group.count;
            (Scope::Group(group), Some(count))
        });
        self.scopes.splice(behind..behind, rows);
        let at = self.scopes.iter().position(|(scope, _)| Some(scope) == chosen.as_ref());
        self.at = at.unwrap_or(0);
    }

    /// What is asked for, or what is missing and in which line.
    pub fn check(&self, marks: Option<&Marks>) -> Result<(Change, Which), Missing> {
        self.rate()?;
        let change = self.change()?;
        let Some((scope, _)) = self.scopes.get(self.at) else {
            return Err((self.field, "there is no message to choose".to_owned()));
        };
        let which = match scope {
            Scope::Marked => Which::These(marks.map(Marks::rows).unwrap_or_default()),
            Scope::Undone(rows) => Which::These(rows.clone()),
            Scope::Blocked => Which::Those(MessageFilter::in_state(MessageState::Blocked)),
            Scope::Waiting => Which::Those(MessageFilter::in_state(MessageState::Waiting)),
            Scope::Group(group) => {
                Which::Those(MessageFilter { group: Some(group.id), ..MessageFilter::default() })
            }
            Scope::All => Which::Those(MessageFilter::default()),
        };
        Ok((change, which))
    }

    fn change(&self) -> Result<Change, Missing> {
        let verb = match self.act {
            ManyAct::Retry => BulkVerb::Retry,
            ManyAct::Cancel if self.text(ManyField::Reason).trim().is_empty() => {
                return Err((ManyField::Reason, "a reason is needed".to_owned()));
            }
            ManyAct::Cancel => BulkVerb::Cancel,
            ManyAct::DeadLetter => BulkVerb::DeadLetter,
            ManyAct::Restore => BulkVerb::Restore,
            ManyAct::TakeBack => BulkVerb::UndoSave,
            ManyAct::Move => {
                let to = match self.text(ManyField::To).trim() {
                    "" => None,
                    to => {
                        let name = QueueName::new(to);
                        Some(name.map_err(|error| (ManyField::To, error.to_string()))?)
                    }
                };
                return Ok(Change::Repair { verb: BulkVerb::Move, to });
            }
            ManyAct::Edit | ManyAct::EditAndRetry => {
                let jq = self.text(ManyField::Jq).trim().to_owned();
                if jq.is_empty() {
                    let text = "a jq expression is needed: .total |= tonumber";
                    return Err((ManyField::Jq, text.to_owned()));
                }
                return Ok(Change::Edit { jq, retry: self.act == ManyAct::EditAndRetry });
            }
        };
        Ok(Change::Repair { verb, to: None })
    }

    /// How many a second; none if nothing is typed.
    pub fn rate(&self) -> Result<Option<u32>, Missing> {
        match self.text(ManyField::Rate).trim() {
            "" => Ok(None),
            typed => match typed.parse() {
                Ok(rate) if rate > 0 => Ok(Some(rate)),
                Ok(_) | Err(_) => {
                    let text = "a number from 1 on; empty: as fast as the store takes them";
                    Err((ManyField::Rate, text.to_owned()))
                }
            },
        }
    }
}
