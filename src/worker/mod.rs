//! The worker's side: connection, leases, handlers.

pub mod exec;
mod handler;

pub use handler::{Failure, Handler};
