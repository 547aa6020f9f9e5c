//! The admin API: routes, DTOs, and the client that console and command line use.

pub mod client;
pub mod dto;
