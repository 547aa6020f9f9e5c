//! The engine's rules, one by one, and random runs against a model.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has found something"
)]

mod accepting;
mod arriving;
mod burying;
mod calls;
mod compare;
mod competing;
mod convoys;
mod dead_letters;
mod delivery;
mod draining;
mod exclusive;
mod gather_views;
mod gathers;
mod keyed;
mod loading;
mod model;
mod purging;
mod random;
mod relocating;
mod removal;
mod repairing;
mod resending;
pub(crate) mod rig;
mod sagas;
mod sagas_unknown;
mod scenarios;
mod settings;
mod silence;
mod simulator;
pub(crate) mod store;
mod streams;
mod timing;
mod timing_aside;
mod topics;
mod windows;
mod world;

use super::Engine;
use crate::model::{QueueId, Seq};

impl Engine {
    /// Messages whose contents are in RAM.
    fn contents_in_ram(&self) -> usize {
        self.queues.iter().map(|queue| queue.window.len()).sum()
    }

    /// Messages that are not due and whose times are in RAM.
    fn later_in_ram(&self) -> usize {
        self.queues.iter().map(|queue| queue.later_in_ram()).sum()
    }

    /// Whether a message's content is in RAM.
    fn has_content(&self, queue: QueueId, seq: Seq) -> bool {
        let at = self.queues.by_id(queue);
        at.is_some_and(|at| self.queue(at).window.get(seq).is_some())
    }
}
