//! End-to-end tests: the real binary, real peers.

mod admin;
mod cli;
mod daemon;
mod layers;
mod serve;
