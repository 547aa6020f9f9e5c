//! Attempts of a message, and how long the pauses between them are.

use serde::{Deserialize, Serialize};

/// Attempts and the back-off between them.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Deliveries in all before `on_failure`; at least 1.
    pub attempts: u32,
    /// How the pause grows.
    pub backoff: Backoff,
    /// The first pause, in milliseconds.
    pub initial_ms: u64,
    /// The longest pause, in milliseconds.
    pub max_ms: u64,
    /// Each pause is changed by up to this share at random, 0 to 1.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff: Backoff::Exponential,
            initial_ms: 1_000,
            max_ms: 60_000,
            jitter: 0.1,
        }
    }
}

/// How the pause between attempts grows.
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backoff {
    /// Always `initial_ms`.
    Fixed,
    /// Doubles up to `max_ms`.
    #[default]
    Exponential,
}
