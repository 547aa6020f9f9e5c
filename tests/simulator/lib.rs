//! The engine's simulator by itself (`src/engine/tests/simulator/`): see this package's Cargo.toml.

#![cfg(test)]
#![expect(unused_imports, reason = "what only other layers take of the model")]

#[path = "../../src/engine/mod.rs"]
pub mod engine;
#[path = "../../src/model/mod.rs"]
pub mod model;
