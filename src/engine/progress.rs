//! What a worker says of a message that it goes on with: PROGRESS and PARTIAL.

use bytes::Bytes;

use crate::model::{CallPart, DeliveryId, RejectCode, Rejection, WorkerId, limits};

use super::lease::Lease;
use super::timer::Timer;
use super::{Effect, Effects, Engine};

/// The longest extension that a PROGRESS may ask for, in milliseconds: one day.
pub(super) const MAX_EXTENSION_MS: u64 = 86_400_000;

impl Engine {
    pub(super) fn handle_progress(
        &mut self,
        id: WorkerId,
        delivery: DeliveryId,
        extend_ms: Option<u64>,
        mut note: String,
        out: &mut Effects,
    ) {
        let (number, now) = (delivery.number, self.now);
        let Some(at) = self.lease_of(id, delivery, out).map(|lease| lease.queue) else { return };
        let lease_ms = self.queue(at).record.settings.lease_ms;
        let Some(lease) = self.leases.get_mut(&number) else { return };
        let extend_ms = extend_ms.map_or(lease_ms, |ms| ms.min(MAX_EXTENSION_MS));
        let deadline = now.plus_ms(extend_ms.max(1));
        let deadline = lease.latest.map_or(deadline, |latest| deadline.min(latest));
        self.timers.cancel(lease.deadline, Timer::LeaseOver(number));
        self.timers.set(deadline, Timer::LeaseOver(number));
        lease.deadline = deadline;
        self.put_off_resend(number);
        limits::clip(&mut note, limits::MAX_REASON_BYTES);
        if let Some(worker) = self.workers.get_mut(&id)
            && !note.is_empty()
        {
            worker.note = Some(note);
        }
        self.workers_changed = true;
    }

    /// The lease of an answer that doesn't end it; a late one is told.
    fn lease_of(
        &mut self,
        id: WorkerId,
        delivery: DeliveryId,
        out: &mut Effects,
    ) -> Option<&mut Lease> {
        self.handle_heard(id, out);
        let ours = delivery.generation == self.generation
            && self.leases.get(&delivery.number).is_some_and(|lease| lease.worker == id);
        if !ours {
            self.stale(id, delivery, out);
        }
        self.leases.get_mut(&delivery.number).filter(|_| ours)
    }

    pub(super) fn handle_partial(
        &mut self,
        id: WorkerId,
        delivery: DeliveryId,
        payload: Bytes,
        out: &mut Effects,
    ) {
        let Some(lease) = self.lease_of(id, delivery, out) else { return };
        if lease.parts >= limits::MAX_REPLY_PARTS {
            let max = limits::MAX_REPLY_PARTS;
            let reason = format!("delivery {delivery} has {max} parts; no more are allowed");
            let rejection = Rejection::new(RejectCode::TooLarge, reason);
            return out.effects.push(Effect::WorkerRejected { worker: id, rejection });
        }
        lease.parts = lease.parts.saturating_add(1);
        let number = lease.number;
        let (place, attempt, part) = ((lease.queue, lease.seq), lease.attempt, lease.parts);
        let id = lease.content.id().clone();
        self.put_off_resend(number);
        self.tell_part(place, &CallPart { id, attempt, part, payload }, out);
    }
}
