//! mubroker: a message broker that stops when something is wrong, and a console to put it right.

pub mod admin;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod console;
pub mod engine;
pub mod https;
pub mod mailbox;
pub mod model;
pub mod net;
pub mod telemetry;
pub mod wire;
pub mod worker;
