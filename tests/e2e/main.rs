//! End-to-end tests: the real binary, real peers.

mod cli;
mod layers;
