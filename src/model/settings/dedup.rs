//! Which messages a queue takes for repeated ones.

use serde::{Deserialize, Serialize};

use crate::model::timing::MAX_TIMING_MS;

/// The de-duplication window: `{ by = "count", last = 10000 }`, `{ by = "time", window_ms = 300000 }` or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "DedupForm", into = "DedupForm")]
pub enum Dedup {
    /// Every message is new.
    Off,
    /// The last so many accepted messages of the queue, at least 1.
    Count {
        /// How many ids are remembered.
        last: u32,
    },
    /// What was accepted in the last so many milliseconds, at least 1,000; of that the last so many messages.
    Time {
        /// How long an id is remembered: as long at least, and up to a sixteenth (or half a second) longer.
        window_ms: u64,
        /// How many ids are remembered.
        last: u32,
    },
}

impl Default for Dedup {
    fn default() -> Self {
        Self::Count { last: 10_000 }
    }
}

impl Dedup {
    /// How many ids are remembered; 0 when off.
    pub const fn last(self) -> u32 {
        match self {
            Self::Off => 0,
            Self::Count { last } | Self::Time { last, .. } => last,
        }
    }

    /// How long an id is remembered, in milliseconds, if that is bounded.
    pub const fn window_ms(self) -> Option<u64> {
        match self {
            Self::Off | Self::Count { .. } => None,
            Self::Time { window_ms, .. } => Some(window_ms),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum DedupForm {
    Word(String),
    Window {
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u32>,
    },
}

/// Ids that a window by time remembers, unless it says another number.
const TIME_LAST: u32 = 100_000;
/// The shortest window by time, in milliseconds.
const MIN_WINDOW_MS: u64 = 1_000;

impl TryFrom<DedupForm> for Dedup {
    type Error = String;
    fn try_from(form: DedupForm) -> Result<Self, String> {
        match form {
            DedupForm::Word(word) if word == "off" => Ok(Self::Off),
            DedupForm::Window { by, window_ms: None, last: Some(last) }
                if by == "count" && last > 0 =>
            {
                Ok(Self::Count { last })
            }
            DedupForm::Window { by, window_ms: Some(window_ms), last }
                if by == "time"
                    && last != Some(0)
                    && (MIN_WINDOW_MS..=MAX_TIMING_MS).contains(&window_ms) =>
            {
                Ok(Self::Time { window_ms, last: last.unwrap_or(TIME_LAST) })
            }
            DedupForm::Word(_) | DedupForm::Window { .. } => Err(format!(
                r#"give {{ by = "count", last = N }} with N of at least 1, {{ by = "time", window_ms = N }} with N of at least {MIN_WINDOW_MS}, or "off""#
            )),
        }
    }
}

impl From<Dedup> for DedupForm {
    fn from(dedup: Dedup) -> Self {
        match dedup {
            Dedup::Off => Self::Word("off".to_owned()),
            Dedup::Count { last } => {
                Self::Window { by: "count".to_owned(), window_ms: None, last: Some(last) }
            }
            Dedup::Time { window_ms, last } => {
                let (window_ms, last) = (Some(window_ms), Some(last));
                Self::Window { by: "time".to_owned(), window_ms, last }
            }
        }
    }
}
