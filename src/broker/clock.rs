//! The only place that reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// How far the wall clock may run ahead before it is followed: less is drift, which the next steps of
/// the wall clock take back anyway; more is a suspended machine or a corrected clock.
const FOLLOW_AHEAD_MS: u64 = 500;

/// The broker's time: the wall clock as it was at the start, carried on by the monotonic clock.
///
/// It never goes backwards while the process runs, whatever happens to the wall clock, so that leases
/// and back-offs are not prolonged by a clock that is set back; [`Clock::follow`] lets it jump forwards
/// when the wall clock is ahead (the monotonic clock stands still while a machine is suspended). A wall
/// clock that is set back is followed at the next start; until then times in the journal are ahead of it.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Instant,
    base_ms: u64,
}

impl Clock {
    /// Reads both clocks.
    #[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
    pub fn start() -> Self {
        Self { base: Instant::now(), base_ms: wall_ms() }
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
    pub fn now(&self) -> Timestamp {
        let elapsed = Instant::now().saturating_duration_since(self.base);
        Timestamp(self.base_ms.saturating_add(millis(elapsed)))
    }

    /// The time now, in nanoseconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
    pub(super) fn unix_nanos(&self) -> u64 {
        let elapsed = Instant::now().saturating_duration_since(self.base).as_nanos();
        let base = self.base_ms.saturating_mul(1_000_000);
        base.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// Jumps forwards if the wall clock is ahead. Returns how far behind the wall clock is, in
    /// milliseconds: not 0 after it was set back.
    pub fn follow(&mut self) -> u64 {
        let now = self.now().0;
        let wall = wall_ms();
        let ahead = wall.saturating_sub(now);
        if ahead > FOLLOW_AHEAD_MS {
            self.base_ms = self.base_ms.saturating_add(ahead);
        }
        now.saturating_sub(wall)
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since.
    pub(super) fn nanos(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place where clocks are read")]
fn wall_ms() -> u64 {
    // Before 1970 only on a machine whose clock was never set: time starts at 0 there.
    SystemTime::now().duration_since(UNIX_EPOCH).map(millis).unwrap_or(0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_runs_ahead_is_followed_and_one_set_back_is_not() {
        let mut suspended = Clock::start();
        suspended.base_ms -= 3_600_000;
        let before = suspended.now();
        assert_eq!(suspended.follow(), 0);
        assert!(suspended.now().since_ms(before) >= 3_599_000);

        let mut set_back = Clock::start();
        set_back.base_ms += 3_600_000;
        let before = set_back.now();
        assert!(set_back.follow() >= 3_599_000);
        assert!(set_back.now() >= before);
    }
}
