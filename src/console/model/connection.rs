//! The way to the broker: live, stale, reconnecting or refused.

use super::Millis;
use crate::admin::dto::{Overview, Timestamp};

/// The broker says something every second; after two and a half without a word what is shown is stale.
const STALE_AFTER_MS: u64 = 2_500;

/// What was heard of the broker.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The event stream.
    pub link: Link,
    /// The broker at a glance, as it last said.
    pub overview: Option<Overview>,
    /// When it last said anything.
    pub heard_at: Option<Millis>,
    /// When it last said what time it is.
    pub overview_at: Millis,
}

/// The event stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Link {
    /// The first attempt is under way.
    #[default]
    Connecting,
    /// It is there.
    Up,
    /// It is not.
    Down {
        /// Why.
        reason: String,
        /// Attempts that failed in a row.
        failures: u32,
        /// When the next one is.
        next_at: Millis,
        /// This user is refused.
        refused: bool,
    },
}

/// What row 1 says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Nothing was heard yet.
    Connecting,
    /// All is as shown.
    Live {
        /// Since the broker last said something.
        age_ms: u64,
    },
    /// Connected, but the broker is silent.
    Stale {
        /// Since the broker last said something.
        age_ms: u64,
    },
    /// Not connected.
    Reconnecting {
        /// Attempts that failed.
        failures: u32,
        /// Until the next one; 0 while it is under way.
        next_in_ms: u64,
        /// Since the broker last said something, if it ever did.
        age_ms: Option<u64>,
    },
    /// The broker or the system refuses this user.
    Refused {
        /// Why.
        reason: String,
    },
}

impl Connection {
    /// What it is at `now`.
    pub fn status(&self, now: Millis) -> Status {
        let age_ms = self.heard_at.map(|at| now.since(at));
        match (&self.link, age_ms) {
            (Link::Connecting, _) | (Link::Up, None) => Status::Connecting,
            (Link::Up, Some(age_ms)) if age_ms > STALE_AFTER_MS => Status::Stale { age_ms },
            (Link::Up, Some(age_ms)) => Status::Live { age_ms },
            (Link::Down { reason, refused: true, .. }, _) => {
                Status::Refused { reason: reason.clone() }
            }
            (Link::Down { failures, next_at, .. }, age_ms) => {
                Status::Reconnecting { failures: *failures, next_in_ms: next_at.since(now), age_ms }
            }
        }
    }

    /// What is shown may no longer be true.
    pub fn dimmed(&self, now: Millis) -> bool {
        match self.status(now) {
            Status::Live { .. } | Status::Connecting => false,
            Status::Stale { .. } | Status::Reconnecting { .. } | Status::Refused { .. } => true,
        }
    }

    /// The broker's time, reckoned on from what it last said.
    pub fn broker_now(&self, now: Millis) -> Option<Timestamp> {
        let overview = self.overview.as_ref()?;
        Some(overview.now.plus_ms(now.since(self.overview_at)))
    }
}
