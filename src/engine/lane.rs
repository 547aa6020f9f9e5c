//! What workers have of a queue, and what may go next in it (design.md rules 1 to 3).

use std::collections::BTreeMap;

use super::queues::QueueIndex;
use crate::model::{Numbered, Seq};

/// The messages of one queue that are in workers' hands, with their leases' numbers: one at most in a queue
/// that is in order. One that was done on delivery is among them until its lease ends.
#[derive(Debug, Default)]
pub(super) enum InFlight {
    #[default]
    None,
    One(Seq, u64),
    /// Two at a time, and then fewer until there are none.
    Many(Box<Numbered<Seq, u64>>),
}

/// A queue's turn among those that wait for a free worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ticket {
    /// It doesn't wait.
    None,
    /// It waits, with this ticket.
    Waiting(u64),
    /// It had this ticket before it was loaded for a free worker, and gets it again.
    Kept(u64),
}

/// The queues that wait for a worker. A queue that is served gets a later ticket; each worker hears so when it comes to
/// it: else each message would cost a step for each worker.
#[derive(Debug, Default)]
pub(super) struct Line {
    by_ticket: BTreeMap<u64, QueueIndex>,
    tickets: BTreeMap<QueueIndex, u64>,
}

impl Line {
    /// The queue with the lowest ticket, and that ticket, which may be an earlier one of it.
    pub(super) fn first(&self) -> Option<(u64, QueueIndex)> {
        self.by_ticket.first_key_value().map(|(&ticket, &at)| (ticket, at))
    }

    /// Whether only one queue waits: it is next whatever its ticket.
    pub(super) fn is_alone(&self) -> bool {
        self.by_ticket.len() == 1
    }

    /// A queue waits with this ticket from now on.
    pub(super) fn put(&mut self, at: QueueIndex, ticket: u64) {
        if let Some(before) = self.tickets.insert(at, ticket) {
            self.by_ticket.remove(&before);
        }
        self.by_ticket.insert(ticket, at);
    }

    /// It waits no more.
    pub(super) fn remove(&mut self, at: QueueIndex) {
        if let Some(ticket) = self.tickets.remove(&at) {
            self.by_ticket.remove(&ticket);
        }
    }
}

/// What to do next in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Hand out this message.
    Deliver(Seq),
    /// Read what may go from the store first.
    Load,
    /// Nothing, until something happens.
    Wait,
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(..) => false,
            Self::Many(leases) => leases.is_empty(),
        }
    }

    /// The number of the lease on a message.
    pub(super) fn lease_of(&self, seq: Seq) -> Option<u64> {
        match self {
            Self::None => None,
            Self::One(place, lease) => (*place == seq).then_some(*lease),
            Self::Many(leases) => leases.get(&seq).copied(),
        }
    }

    pub(super) fn has(&self, seq: Seq) -> bool {
        self.lease_of(seq).is_some()
    }

    /// In no order.
    pub(super) fn places(&self) -> impl Iterator<Item = Seq> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(place, _) => (Some(*place), None),
            Self::Many(leases) => (None, Some(leases.keys().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn take(&mut self, seq: Seq, lease: u64) {
        debug_assert!(!self.has(seq), "a message has one lease at a time");
        match self {
            Self::None => *self = Self::One(seq, lease),
            Self::One(place, number) => {
                *self =
                    Self::Many(Box::new([(*place, *number), (seq, lease)].into_iter().collect()));
            }
            Self::Many(leases) => {
                leases.insert(seq, lease);
            }
        }
    }

    pub(super) fn free(&mut self, seq: Seq) {
        match self {
            Self::One(place, _) if *place == seq => *self = Self::None,
            Self::None | Self::One(..) => {}
            Self::Many(leases) => {
                leases.remove(&seq);
                // What hundreds of workers took is given back in the end.
                if leases.is_empty() {
                    *self = Self::None;
                }
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::None;
    }
}
