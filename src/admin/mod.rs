//! The admin API: routes, DTOs, and the client that console and command line use.

pub mod client;
pub mod dto;
mod events;
mod failure;
mod gathers;
mod health;
mod listing;
pub mod metrics;
mod peer;
mod pools;
mod problems;
mod request;
mod routes;
mod sagas;
mod scrape;
mod server;
mod socket;
mod stream;
mod topics;

pub use scrape::ScrapeServer;
pub use server::{AdminServer, ServeError};
