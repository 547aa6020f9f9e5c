//! The console as a whole, without a terminal and without a broker.

mod aside;
mod drafts;
mod invariants;
mod kept;
mod keys;
mod lists;
mod many;
mod message;
mod outside;
mod palette;
mod patterns;
mod repair;
mod schema;
mod screens;
mod sizes;
mod speed;
mod standing;
