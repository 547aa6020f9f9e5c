//! The worker's side: connection, leases, handlers.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use mubroker::model::{QueueName, WorkerInfo};
//! # use mubroker::worker::{self, Pace, WorkerOptions, exec::Exec};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = WorkerOptions {
//!     endpoint: "tcp://127.0.0.1:5556".to_owned(),
//!     queues: vec![QueueName::new("invoices")?],
//!     credit: 1,
//!     info: WorkerInfo { name: "printer".to_owned(), ..WorkerInfo::default() },
//!     max_execution: Duration::from_secs(60),
//!     stop_grace: Duration::from_secs(10),
//!     pace: Pace::new(fastrand::u64(..)),
//! };
//! let print = Exec::new(["lp".into(), "-".into()])?;
//! worker::run(options, print, std::future::pending(), |event| eprintln!("{event:?}")).await?;
//! # Ok(())
//! # }
//! ```

mod connection;
pub mod exec;
mod handler;
mod leases;
mod options;
mod runtime;

pub use handler::{Failure, Handler};
pub use options::{Pace, WorkerEvent, WorkerOptions};
pub use runtime::{WorkerError, run};
