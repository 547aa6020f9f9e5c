//! Filters in CEL, the Common Expression Language, over a message's header and JSON body.
//!
//! The grammar is the `cel` crate's; what it parses is checked and compiled once (`compile`) and evaluated here
//! (`eval`), so that each evaluation has a bound on its cost: the crate's own evaluator has none. A filter is a
//! pure function of topic, header and payload: no clock, no randomness, no I/O.
//!
//! What there is: `header`, `body`, `topic` (in a gather's condition `header` and `parts`); literals and lists; `.field`, `[index]`, `has(x.y)`; `&& || !`,
//! `? :`, comparisons, `in`, arithmetic; `size contains startsWith endsWith lowerAscii int double string`;
//! `all exists exists_one filter map`. What differs from the specification: whole and broken numbers mix in
//! arithmetic as they do in comparisons, since JSON has one kind of number. What isn't there (regular
//! expressions, times, maps, bytes, types) is refused when the filter is compiled.

mod compile;
mod eval;
mod plain;
mod subject;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use eval::Budget;
pub use plain::{HeaderTest, PathTest, PlainTestError};
pub use subject::Subject;

use compile::{Names, Node};
use value::Value;

use super::limits::{MAX_FILTER_BYTES, MAX_FILTER_COST};

/// A compiled filter. Two are equal if their texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    text: Arc<str>,
    node: Arc<Node>,
}

/// Why a text is not a filter: what, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Longer than [`MAX_FILTER_BYTES`].
    #[error("the filter has {len} bytes; at most {MAX_FILTER_BYTES} are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Nested or branched too deep.
    #[error("the filter is nested deeper than {max} levels; take it apart with && and ||")]
    TooDeep {
        /// Levels that are allowed.
        max: usize,
    },
    /// Not CEL.
    #[error("the filter is not CEL: {reason} at line {line} column {column}")]
    Syntax {
        /// What the parser says.
        reason: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// CEL, but not what a filter may use.
    #[error("the filter uses {found}; {instead}")]
    Unsupported {
        /// What.
        found: String,
        /// What there is.
        instead: &'static str,
    },
    /// Whatever the message, it gives neither true nor false.
    #[error(
        "the filter gives {found}, whatever the message is; compare it, so that it is true or false"
    )]
    NotBool {
        /// What.
        found: &'static str,
    },
}

impl Filter {
    /// Checks and compiles `text`.
    pub fn new(text: &str) -> Result<Self, FilterError> {
        Self::over(text, Names::Event)
    }

    /// The same, for a condition over the parts of a gather: a list of objects with `queue` and `body`.
    pub fn over_parts(text: &str) -> Result<Self, FilterError> {
        Self::over(text, Names::Parts)
    }

    fn over(text: &str, names: Names) -> Result<Self, FilterError> {
        let node = compile::compile(text, names)?;
        if let Some(found) = node.never_bool() {
            return Err(FilterError::NotBool { found });
        }
        Ok(Self { text: Arc::from(text), node: Arc::new(node) })
    }

    /// The text that it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the message passes. The error says, for people, why that can't be told. What it costs, at most
    /// [`MAX_FILTER_COST`], is taken from `budget`.
    pub fn matches(&self, subject: &Subject<'_>, budget: &mut Budget) -> Result<bool, String> {
        match eval::evaluate(&self.node, subject, budget, MAX_FILTER_COST)? {
            Value::Bool(passes) => Ok(passes),
            other => Err(format!("it gives {}; true or false is needed", other.kind())),
        }
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Filter {
    type Error = FilterError;
    fn try_from(text: String) -> Result<Self, FilterError> {
        Self::new(&text)
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.text.to_string()
    }
}
