//! The console as a whole, without a terminal and without a broker.

mod drafts;
mod invariants;
mod repair;
mod screens;
