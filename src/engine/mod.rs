//! The broker's meaning as a pure state machine: no clock, no I/O, no async, no randomness of its own.

mod effect;
mod event;

pub use effect::{Effect, Effects, HoldAnswer};
pub use event::{CallSpec, Event};
