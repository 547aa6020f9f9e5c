//! The terminal console: what is blocked, why, and the repair of it.
//!
//! `Event → keymap(mode) → Action → update(&mut Model, Action) -> Vec<Effect>` (no I/O, no clock)
//! `→ view(&Model, Frame)`. Effects run in tasks (`runner`) and come back as actions with their request's
//! id. The model is the only state; `run` owns it. Everything textual from a peer is cleaned where it is
//! drawn ([`text::clean`]).
//!
//! The console sees the broker only through the admin API's client, an embedded one as well.

pub mod action;
mod clipboard;
pub mod command;
pub mod effect;
mod filter;
#[cfg(test)]
mod fixtures;
mod frames;
pub mod help;
pub mod keymap;
mod layout;
mod link;
pub mod many;
pub mod model;
mod outside;
mod run;
mod runner;
pub mod sandbox;
mod terminal;
#[cfg(test)]
mod tests;
pub mod text;
mod theme;
pub mod update;
pub mod view;

pub use run::{ConsoleError, ConsoleOptions, Starting, run};
pub use theme::{Colours, Theme};
