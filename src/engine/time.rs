//! The clock's steps: what waits for time moves along when it is put back.

use crate::model::Timestamp;

use super::Engine;
use super::timer::shifted_back;

/// A clock that steps back by less is taken for standing still, in milliseconds: so much jitter does
/// nobody harm.
const SMALL_STEP_MS: u64 = 1_000;

impl Engine {
    /// Goes to `now`; what waits for time moves along if the clock stepped back.
    pub(super) fn set_time(&mut self, now: Timestamp) {
        let back_ms = self.now.since_ms(now);
        if back_ms == 0 {
            self.now = now;
        } else if back_ms > SMALL_STEP_MS {
            self.shift_back(back_ms);
            self.now = now;
        }
    }

    fn shift_back(&mut self, ms: u64) {
        self.timers.shift_back(ms);
        self.calls.shift_back(ms);
        self.processes.shift_back(ms);
        self.replies.shift_back(ms);
        self.made_at = shifted_back(self.made_at, ms);
        self.sagas.shift_back(ms);
        for lease in self.leases.values_mut() {
            lease.deadline = shifted_back(lease.deadline, ms);
            lease.latest = lease.latest.map(|at| shifted_back(at, ms));
            lease.resend_at = lease.resend_at.map(|at| shifted_back(at, ms));
        }
        for worker in self.workers.values_mut() {
            worker.heard_at = shifted_back(worker.heard_at, ms);
        }
        for queue in self.queues.iter_mut() {
            queue.shift_marks_back(ms);
            queue.used_at = shifted_back(queue.used_at, ms);
            if let Some(uncommon) = queue.uncommon.there() {
                uncommon.shift_back(|at| shifted_back(at, ms));
            }
            if let Some(convoy) = &mut queue.convoy {
                convoy.shift_back(|at| shifted_back(at, ms));
            }
        }
    }
}
