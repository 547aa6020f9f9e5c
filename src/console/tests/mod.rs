//! The console as a whole, without a terminal and without a broker.

mod invariants;
mod repair;
mod screens;
