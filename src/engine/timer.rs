//! What waits for time.

use std::collections::BTreeSet;

use crate::model::{Seq, Timestamp, WorkerId};

use super::process::ProcessNumber;
use super::queues::QueueIndex;

/// What is due. Fired in order of time, then in the order of these variants: a worker that is silent at
/// the moment when its lease is over is lost, not slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A worker may have been silent for too long. Armed once, checked and armed again when it fires.
    Silent(WorkerId),
    /// A lease is over.
    LeaseOver(u64),
    /// A worker has had a message for so long that another one gets it too.
    Resend(u64),
    /// A back-off may be over.
    Due(QueueIndex),
    /// Something of a queue may be due, or may have expired.
    Alarm(QueueIndex),
    /// A repair hold may be over.
    HoldOver(QueueIndex, Seq),
    /// A caller has waited long enough.
    CallOver(u64),
    /// A load that gave nothing is tried again.
    LoadAgain(QueueIndex),
    /// A queue may have been of no use for long enough to go.
    Idle(QueueIndex),
    /// Kept replies may be over.
    RepliesOver,
    /// A process' time has come.
    ProcessDue(ProcessNumber),
}

impl Timer {
    /// The queue that it is about.
    pub(super) const fn queue(&self) -> Option<QueueIndex> {
        match *self {
            Self::Due(at)
            | Self::Alarm(at)
            | Self::HoldOver(at, _)
            | Self::LoadAgain(at)
            | Self::Idle(at) => Some(at),
            Self::Silent(_)
            | Self::LeaseOver(_)
            | Self::Resend(_)
            | Self::CallOver(_)
            | Self::RepliesOver
            | Self::ProcessDue(_) => None,
        }
    }
}

/// All timers, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Timestamp, Timer)>);

impl Timers {
    pub(super) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(super) fn cancel(&mut self, at: Timestamp, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|&(at, _)| at)
    }

    /// Takes the first timer that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let &(at, timer) = self.0.first().filter(|&&(at, _)| at <= now)?;
        self.0.remove(&(at, timer));
        Some(timer)
    }

    /// Moves all timers `ms` earlier: the clock stepped back by so much.
    pub(super) fn shift_back(&mut self, ms: u64) {
        self.0 = self.0.iter().map(|&(at, timer)| (shifted_back(at, ms), timer)).collect();
    }
}

/// `at`, `ms` milliseconds earlier.
pub(super) const fn shifted_back(at: Timestamp, ms: u64) -> Timestamp {
    Timestamp(at.0.saturating_sub(ms))
}
