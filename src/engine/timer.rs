//! What waits for time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::model::{Seq, Timestamp, WorkerId};

use super::ascending::Ascending;
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
///
/// By time, and those of the same time by themselves: where thousands of leases run there are many to the millisecond, and
/// the map stays small.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeMap<Timestamp, Due>);

/// What is due at one time. Most queues have a timer of their own, which shall take no more room than it must.
#[derive(Debug)]
enum Due {
    One(Timer),
    /// Two at least.
    Many(Box<Ascending<Timer>>),
}

impl Timers {
    pub(super) fn set(&mut self, at: Timestamp, timer: Timer) {
        match self.0.entry(at) {
            Entry::Vacant(entry) => {
                entry.insert(Due::One(timer));
            }
            Entry::Occupied(mut entry) => entry.get_mut().insert(timer),
        }
    }

    pub(super) fn cancel(&mut self, at: Timestamp, timer: Timer) {
        if let Entry::Occupied(mut entry) = self.0.entry(at)
            && entry.get_mut().remove(timer)
        {
            entry.remove();
        }
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.first_key_value().map(|(&at, _)| at)
    }

    /// Takes the first timer that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let mut entry = self.0.first_entry().filter(|entry| *entry.key() <= now)?;
        let timer = entry.get().first();
        if entry.get_mut().remove(timer) {
            entry.remove();
        }
        Some(timer)
    }

    /// Moves all timers `ms` earlier: the clock stepped back by so much.
    pub(super) fn shift_back(&mut self, ms: u64) {
        for (at, due) in std::mem::take(&mut self.0) {
            let at = shifted_back(at, ms);
            match due {
                Due::One(timer) => self.set(at, timer),
                Due::Many(timers) => timers.into_iter().for_each(|timer| self.set(at, timer)),
            }
        }
    }
}

impl Due {
    fn first(&self) -> Timer {
        match self {
            Self::One(timer) => *timer,
            Self::Many(timers) => *timers.first().expect("there are two at least"),
        }
    }

    fn insert(&mut self, timer: Timer) {
        match self {
            Self::One(known) if *known == timer => {}
            Self::One(known) => {
                let mut timers = Box::<Ascending<Timer>>::default();
                timers.insert(*known);
                timers.insert(timer);
                *self = Self::Many(timers);
            }
            Self::Many(timers) => {
                timers.insert(timer);
            }
        }
    }

    /// Takes a timer out; whether nothing is left.
    fn remove(&mut self, timer: Timer) -> bool {
        match self {
            Self::One(known) => *known == timer,
            Self::Many(timers) => {
                timers.remove(&timer);
                if let (1, Some(&last)) = (timers.len(), timers.first()) {
                    *self = Self::One(last);
                }
                false
            }
        }
    }
}

/// `at`, `ms` milliseconds earlier.
pub(super) const fn shifted_back(at: Timestamp, ms: u64) -> Timestamp {
    Timestamp(at.0.saturating_sub(ms))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn timers_fire_by_time_and_those_of_one_time_in_their_own_order() {
        let mut rng = fastrand::Rng::with_seed(11);
        let (mut timers, mut model) = (Timers::default(), BTreeSet::new());
        for step in 0..20_000 {
            let at = Timestamp(rng.u64(100..108));
            let timer = if rng.bool() {
                Timer::LeaseOver(rng.u64(0..6))
            } else {
                Timer::Silent(WorkerId(rng.u64(0..3)))
            };
            match rng.u8(0..4) {
                0 | 1 => {
                    timers.set(at, timer);
                    model.insert((at, timer));
                }
                2 => {
                    timers.cancel(at, timer);
                    model.remove(&(at, timer));
                }
                _ => {
                    let due = model.first().copied().filter(|(due, _)| *due <= at);
                    due.map(|due| model.remove(&due));
                    assert_eq!(timers.pop_due(at), due.map(|(_, timer)| timer), "step {step}");
                }
            }
            assert_eq!(timers.next(), model.first().map(|&(at, _)| at), "step {step}");
        }
        timers.shift_back(50);
        let left = std::iter::from_fn(|| timers.pop_due(Timestamp(u64::MAX)));
        assert!(left.eq(model.into_iter().map(|(_, timer)| timer)));
    }
}
