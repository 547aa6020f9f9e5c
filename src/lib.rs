//! mubroker: a message broker that stops when something is wrong, and a console to put it right.
//!
//! For a program in Rust it is two things: the [client](client), and the [worker](worker). Both connect again by themselves.
//!
//! ```no_run
//! use bytes::Bytes;
//! use mubroker::client::{Client, NewMessage};
//! use mubroker::model::QueueName;
//! use mubroker::wire::Delivery;
//! use mubroker::worker::{self, Failure, Handler, Work, WorkerOptions};
//!
//! struct Print;
//!
//! impl Handler for Print {
//!     async fn handle(&self, delivery: Delivery, _: Work) -> Result<Bytes, Failure> {
//!         let text = std::str::from_utf8(&delivery.content.payload)
//!             .map_err(|error| Failure::of("not-text", error.to_string()))?;
//!         println!("{} {text}", delivery.content.id());
//!         Ok(Bytes::new())
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let orders = QueueName::new("orders")?;
//!     let client = Client::connect("tcp://127.0.0.1:5555").await?;
//!     let accepted = client.send(&orders, NewMessage::new(r#"{"total": 1.10}"#).build()?).await?;
//!     println!("durable at place {}", accepted.seq);
//!     let options = WorkerOptions::new("tcp://127.0.0.1:5556", vec![orders]);
//!     worker::run(options, Print, std::future::pending(), |_event| {}).await?;
//!     Ok(())
//! }
//! ```
//!
//! The rest is the broker. A message's way through it: [`net`] takes frames in, [`wire`] says what they mean, the loop in
//! [`broker`] gives the [`engine`] an event, a [`mailbox`] makes durable what the engine says, and then its effects go out again.
//! ARCHITECTURE.md tells more.

pub mod admin;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod console;
mod dealer;
pub mod engine;
pub mod https;
pub mod mailbox;
pub mod model;
pub mod net;
pub mod schema;
pub mod telemetry;
pub mod wire;
pub mod worker;
