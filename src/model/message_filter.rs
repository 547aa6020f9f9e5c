//! Which of a queue's messages are meant.

use serde::{Deserialize, Serialize};

use super::error_group::ErrorGroupId;
use super::filter::{Budget, Filter, HeaderTest, PathTest, Subject};
use super::message::{Content, WorkError};
use super::state::MessageState;
use super::time::Timestamp;

/// Some messages of a queue: those that pass everything that is said here. Nothing said: all.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MessageFilter {
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// With this header field, `FIELD=VALUE`; a producer's own by its name alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderTest>,
    /// With this place in its JSON body, `$.customer.name=Ann`; without a value it must only be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathTest>,
    /// For which this expression in CEL over header and body is true; one on which it fails doesn't pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub filter: Option<Filter>,
    /// That failed last with an error of this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<ErrorGroupId>,
    /// Accepted at least so many milliseconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_ms: Option<u64>,
    /// Accepted less than so many milliseconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_ms: Option<u64>,
}

impl MessageFilter {
    /// Those in one state.
    pub fn in_state(state: MessageState) -> Self {
        Self { state: Some(state), ..Self::default() }
    }

    /// Whether header or payload must be looked at for it.
    pub fn looks_inside(&self) -> bool {
        self.header.is_some() || self.path.is_some() || self.filter.is_some()
    }

    /// Whether a message accepted then is of the right age.
    pub fn has_age(&self, accepted_at: Timestamp, now: Timestamp) -> bool {
        let age = now.since_ms(accepted_at);
        self.older_ms.is_none_or(|ms| age >= ms) && self.newer_ms.is_none_or(|ms| age < ms)
    }

    /// Whether a message that failed last so, if it did, is of the right group.
    pub fn has_group(&self, error: Option<&WorkError>) -> bool {
        let Some(group) = self.group else { return true };
        error.is_some_and(|error| ErrorGroupId::of(error) == group)
    }

    /// Whether what is in it is as asked. Expressions take what they cost from `budget`.
    pub fn has_content(&self, queue: &str, content: &Content, budget: &mut Budget) -> bool {
        if !self.looks_inside() {
            return true;
        }
        let subject = Subject::new(queue, content);
        self.header.as_ref().is_none_or(|test| test.matches(&subject))
            && self.path.as_ref().is_none_or(|test| test.matches(&subject))
            && self.filter.as_ref().is_none_or(|it| it.matches(&subject, budget) == Ok(true))
    }
}
