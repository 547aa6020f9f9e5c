//! The admin API: routes, DTOs, and the client that console and command line use.

pub mod client;
pub mod dto;
mod events;
mod failure;
mod gathers;
mod listing;
mod peer;
mod pools;
mod request;
mod routes;
mod sagas;
mod server;
mod socket;
mod stream;
mod topics;

pub use server::{AdminServer, ServeError};
