//! The admin API: routes, DTOs, and the client that console and command line use.

mod bulk;
pub mod client;
mod connection;
pub mod dto;
mod events;
mod failure;
mod gate;
mod gathers;
mod health;
mod listing;
mod messages;
pub mod metrics;
mod openapi;
mod peer;
mod pools;
mod problems;
mod queues;
mod repairs;
mod request;
mod routes;
mod rules;
mod sagas;
mod scrape;
mod server;
mod socket;
mod stream;
mod taken;
mod tls;
mod tokens;
mod topics;

pub use connection::AdminLimits;
pub use scrape::ScrapeServer;
pub use server::{AdminOptions, AdminServer, ServeError, TcpOptions};
pub use tls::TlsError;
