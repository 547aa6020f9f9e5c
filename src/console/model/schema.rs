//! What is known of the schema that an edit must fit.

use super::Millis;
use crate::admin::dto::SchemaText;
use crate::console::effect::RequestId;
use crate::schema::Miss;

/// What the schema says of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The text is as it says.
    Fits,
    /// It is not.
    Misses(Miss),
    /// It couldn't be asked; the broker will.
    Unknown(String),
}

/// How an edit stands to its queue's schema now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing<'a> {
    /// There is none, as far as is known.
    NoSchema,
    /// It is being read, or asked about the text as it is now.
    Asking,
    /// What it says of that.
    Told(&'a Verdict),
}

/// The schema of an edit's queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaCheck {
    /// What stands for the schema in the queue's view, when that was looked at last; empty: there is none.
    pub shown: SchemaText,
    /// The text, and what stands for it.
    pub known: Option<(SchemaText, SchemaText)>,
    /// When its text was last asked for.
    pub read_at: Option<Millis>,
    /// What is being asked about, and since when.
    pub asked: Option<(RequestId, u64, Millis)>,
    /// What it said, of which version of the text.
    pub told: Option<(u64, Verdict)>,
}

impl SchemaCheck {
    /// The schema's text, if it is the one that the queue has now.
    pub fn text(&self) -> Option<&SchemaText> {
        let (text, of) = self.known.as_ref()?;
        (*of == self.shown && !text.is_empty()).then_some(text)
    }

    /// Nothing that was said is of the text as it is now.
    pub fn forget(&mut self) {
        (self.asked, self.told) = (None, None);
    }

    /// How a version of the text stands.
    pub fn standing(&self, version: u64) -> Standing<'_> {
        match &self.told {
            _ if self.shown.is_empty() => Standing::NoSchema,
            Some((of, verdict)) if *of == version => Standing::Told(verdict),
            Some(_) | None => Standing::Asking,
        }
    }
}
