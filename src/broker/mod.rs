//! The broker: one loop that owns the engine, the commit pipeline, the store's threads, and the handle
//! that operators' interfaces hold.
//!
//! A message's way: sockets → [`crate::net::Inbound`] → the loop → engine → batch → the store's thread
//! → durable → effects → [`crate::net::Outbound`] → sockets. Nothing is told before the commit that it
//! rests upon.

mod bulk;
mod clock;
mod closing;
mod commands;
mod committer;
mod event_loop;
mod events;
mod failure;
mod figures;
mod gathers;
mod handle;
mod inbound;
mod loads;
mod messages;
mod meter;
mod operator_error;
mod outbound;
mod outside;
mod peers;
mod pipeline;
mod pools;
mod purge;
mod pushed;
mod redrive;
mod sagas;
mod schemas;
mod sending;
mod start;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod topics;
mod traces;
mod view;
mod watch;

pub use bulk::{BULK_STEP, BulkOrder, BulkStep};
pub use clock::Clock;
pub use event_loop::Ended;
pub use events::Events;
pub use handle::{BrokerHandle, QUEUES_PAGE};
pub use messages::{Act, JournalQuery, RepairOrder};
pub use operator_error::OperatorError;
pub use peers::DrainOrder;
pub use pools::PoolRequest;
pub use purge::PurgeOrder;
pub use redrive::RedriveOrder;
pub use start::{BrokerOptions, Running, StartError, start};
pub use store::OpenStore;
pub use traces::SpanSink;
pub use watch::{Shared, Sight, Watch};
