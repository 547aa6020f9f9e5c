//! The engine's rules, one by one, and random runs against a model.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has found something"
)]

mod accepting;
mod calls;
mod delivery;
mod loading;
mod repairing;
pub(crate) mod rig;
pub(crate) mod store;

use super::Engine;

impl Engine {
    /// Messages whose contents are in RAM.
    fn contents_in_ram(&self) -> usize {
        self.queues.iter().map(|queue| queue.window.len()).sum()
    }
}
