//! What may go next in a queue (design.md rules 1 to 3).

use crate::model::Seq;

/// One line of messages that are delivered one after the other. `ordering = "queue"`: a queue is one
/// lane. `key` will have one for each order key and `none` one for each message; what a lane decides
/// stays the same: whether the message at its front may go now.
#[derive(Debug, Default)]
pub(super) struct Lane {
    in_flight: Option<InFlight>,
}

/// What a worker has of a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    /// The lease's number.
    pub(super) delivery: u64,
    /// The message's place.
    pub(super) seq: Seq,
}

/// What to do next in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Hand out this message.
    Deliver(Seq),
    /// Read the front from the store first.
    Load,
    /// Nothing, until something happens.
    Wait,
}

impl Lane {
    pub(super) fn in_flight(&self) -> Option<InFlight> {
        self.in_flight
    }

    pub(super) fn take(&mut self, in_flight: InFlight) {
        debug_assert!(self.in_flight.is_none(), "one in flight at a time");
        self.in_flight = Some(in_flight);
    }

    pub(super) fn free(&mut self) {
        self.in_flight = None;
    }
}
