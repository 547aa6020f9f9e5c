//! Repair holds: while somebody edits a message, nothing happens to it by itself. In RAM only.

use crate::model::{Actor, HoldView, Origin, QueueName, RepairRefusal, Seq, limits};

use super::control::refused;
use super::queues::QueueIndex;
use super::timer::Timer;
use super::{Effect, Effects, Engine, HoldAnswer};

/// Holds in one queue: one for each operator who edits there, with room to spare.
const MAX_HOLDS: usize = 64;

impl Engine {
    pub(super) fn handle_hold(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        seq: Seq,
        for_ms: u64,
        out: &mut Effects,
    ) {
        match self.hold(actor, name, seq, for_ms, out) {
            Ok(answer) => out.effects.push(Effect::Held { origin, answer }),
            Err(refusal) => out.effects.push(refused(origin, refusal)),
        }
    }

    fn hold(
        &mut self,
        actor: Actor,
        name: QueueName,
        seq: Seq,
        for_ms: u64,
        out: &mut Effects,
    ) -> Result<HoldAnswer, RepairRefusal> {
        let Some(at) = self.queues.by_name(&name) else {
            return Err(RepairRefusal::NoSuchQueue { queue: name });
        };
        if !self.queue(at).is_unfinished(seq) {
            return Err(RepairRefusal::NoSuchMessage { queue: name, seq });
        }
        self.check_hold(at, seq, &actor)?;
        if for_ms == 0 {
            self.release_hold(at, seq, out);
            return Ok(HoldAnswer::Released);
        }
        let until = self.now.plus_ms(for_ms.min(limits::MAX_HOLD_MS));
        let now = self.now;
        let queue = self.queue_mut(at);
        if queue.holds().len() >= MAX_HOLDS && !queue.holds().contains_key(&seq) {
            let reason = format!("{MAX_HOLDS} messages of {name} are being edited already");
            return Err(RepairRefusal::Invalid { reason });
        }
        let hold = HoldView { by: actor, until };
        queue.uncommon.change().holds.insert(seq, hold.clone());
        queue.review(seq, now);
        self.timers.set(until, Timer::HoldOver(at, seq));
        self.touch(at);
        self.offer(at, out);
        Ok(HoldAnswer::Held(hold))
    }

    /// Refuses what `actor` wants to do to a message that another one holds.
    pub(super) fn check_hold(
        &self,
        at: QueueIndex,
        seq: Seq,
        actor: &Actor,
    ) -> Result<(), RepairRefusal> {
        match self.queue(at).holds().get(&seq) {
            Some(hold) if hold.by.name != actor.name && hold.until > self.now => {
                Err(RepairRefusal::Held { by: hold.by.clone(), until: hold.until })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Nobody edits a message any more: what was due meanwhile happens now.
    pub(super) fn release_hold(&mut self, at: QueueIndex, seq: Seq, out: &mut Effects) {
        let now = self.now;
        let queue = self.queue_mut(at);
        if queue.uncommon.end_hold(seq) {
            queue.note_expiring(seq);
            queue.review(seq, now);
            self.touch(at);
            self.offer(at, out);
        }
    }

    /// The timer of a hold fired; it may have been renewed meanwhile.
    pub(super) fn hold_over(&mut self, at: QueueIndex, seq: Seq, out: &mut Effects) {
        let over = self.queue(at).holds().get(&seq).is_some_and(|hold| hold.until <= self.now);
        if over {
            self.release_hold(at, seq, out);
        }
    }
}
