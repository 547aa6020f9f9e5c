//! The worker's side: connection, leases, handlers.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use mubroker::model::{QueueName, WorkerInfo};
//! # use mubroker::worker::{self, WorkerOptions, exec::Exec, process::Program};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = WorkerOptions {
//!     info: WorkerInfo { name: "printer".to_owned(), ..WorkerInfo::default() },
//!     max_execution: Duration::from_secs(300),
//!     ..WorkerOptions::new("tcp://127.0.0.1:5556", vec![QueueName::new("invoices")?])
//! };
//! let print = Exec::new(Program::new(["lp".into(), "-".into()])?);
//! worker::run(options, print, std::future::pending(), |event| eprintln!("{event:?}")).await?;
//! # Ok(())
//! # }
//! ```

mod carried;
mod connection;
pub mod exec;
mod handler;
pub mod health;
pub mod http;
mod leases;
mod options;
pub mod process;
mod runtime;
#[cfg(test)]
mod sample;
pub mod seen;
pub mod status;
pub mod stdio;
pub mod supervisor;

pub use handler::{Failure, Handler, Work};
pub use options::{Overrun, Pace, WorkerEvent, WorkerOptions};
pub use runtime::{WorkerError, run};
