//! Callers that wait for a reply (design.md rule 9).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::model::{
    CallPart, CallReply, CallStatus, MessageId, MessageState, Numbered, Numbers, Origin,
    RejectCode, Rejection, Seq, Timestamp, WorkError, limits,
};

use super::event::CallSpec;
use super::queues::QueueIndex;
use super::timer::{Timer, shifted_back};
use super::{Effect, Effects, Engine};

/// A message, wherever it is.
pub(super) type Place = (QueueIndex, Seq);

#[derive(Debug)]
struct Call {
    origin: Origin,
    place: Place,
    id: MessageId,
    wants_parts: bool,
    deadline: Timestamp,
}

/// All calls under way, at most `limits::MAX_WAITING_CALLS`.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next_number: u64,
    calls: BTreeMap<u64, Call>,
    by_place: Numbered<Place, Vec<u64>>,
    by_origin: BTreeSet<(Origin, u64)>,
    /// Messages that were called for by somebody who no longer waits; bounded like the calls, beyond it
    /// a late reply isn't counted.
    abandoned: Numbers<Place>,
}

/// How a call ends.
#[derive(Debug, Clone)]
pub(super) struct CallEnd {
    pub(super) status: CallStatus,
    pub(super) error: Option<WorkError>,
    pub(super) reply: Bytes,
}

/// Who had called for a message that is at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called {
    /// Somebody waited, and is told.
    pub(super) told: bool,
    /// Somebody had waited before.
    pub(super) late: bool,
}

impl From<&CallReply> for CallEnd {
    fn from(reply: &CallReply) -> Self {
        let CallReply { status, error, payload, .. } = reply;
        Self { status: *status, error: error.clone(), reply: payload.clone() }
    }
}

impl CallEnd {
    pub(super) fn without_reply(status: CallStatus, error: WorkError) -> Self {
        Self { status, error: Some(error), reply: Bytes::new() }
    }
}

impl Calls {
    /// A message of a queue that somebody waits for.
    pub(super) fn first_of(&self, queue: QueueIndex) -> Option<Seq> {
        self.by_place.keys().filter(|(at, _)| *at == queue).map(|&(_, seq)| seq).min()
    }

    /// A queue is gone; nobody waits for a message of it.
    pub(super) fn forget_queue(&mut self, queue: QueueIndex) {
        self.abandoned.retain(|(at, _)| *at != queue);
    }

    pub(super) fn is_full(&self) -> bool {
        self.calls.len() >= limits::MAX_WAITING_CALLS
    }

    /// The clock stepped back.
    pub(super) fn shift_back(&mut self, ms: u64) {
        for call in self.calls.values_mut() {
            call.deadline = shifted_back(call.deadline, ms);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Call> {
        let call = self.calls.remove(&number)?;
        self.by_origin.remove(&(call.origin, number));
        if let Some(numbers) = self.by_place.get_mut(&call.place) {
            numbers.retain(|&other| other != number);
            if numbers.is_empty() {
                self.by_place.remove(&call.place);
            }
        }
        Some(call)
    }

    fn abandon(&mut self, place: Place) {
        if self.abandoned.len() < limits::MAX_WAITING_CALLS {
            self.abandoned.insert(place);
        }
    }
}

impl Engine {
    /// Lets a caller wait for the end of a message that was accepted now, or earlier if it is a duplicate.
    /// A duplicate of a message that is at its end can't be answered with its reply, which is gone: the
    /// call fails with `already-done`.
    pub(super) fn attach_call(
        &mut self,
        origin: Origin,
        at: QueueIndex,
        seq: Seq,
        id: MessageId,
        spec: CallSpec,
        out: &mut Effects,
    ) {
        if let Some(end) = self.end_so_far((at, seq)) {
            return out.effects.push(ended(origin, id, end));
        }
        let deadline = self.now.plus_ms(spec.timeout_ms.min(limits::MAX_CALL_TIMEOUT_MS));
        let calls = &mut self.calls;
        calls.next_number = calls.next_number.saturating_add(1);
        let number = calls.next_number;
        calls.calls.insert(
            number,
            Call { origin, place: (at, seq), id, wants_parts: spec.parts, deadline },
        );
        calls.by_place.entry((at, seq)).or_default().push(number);
        calls.by_origin.insert((origin, number));
        self.timers.set(deadline, Timer::CallOver(number));
    }

    /// How a message that is at its end, or blocked, is told to who begins to wait for it.
    pub(super) fn end_so_far(&self, (at, seq): Place) -> Option<CallEnd> {
        let queue = self.queue(at);
        // Done on delivery, and its worker may reply yet.
        if queue.in_flight.has(seq) {
            return None;
        }
        if !queue.is_unfinished(seq) {
            let was_cancelled = queue.was_cancelled(seq);
            let end = || if was_cancelled { cancelled("earlier") } else { already_done() };
            return Some(self.kept_reply((at, seq)).map_or_else(end, CallEnd::from));
        }
        match queue.state_of(seq, self.now) {
            MessageState::Scheduled
            | MessageState::Ready
            | MessageState::Leased
            | MessageState::Waiting => None,
            MessageState::Blocked => Some(CallEnd {
                status: CallStatus::Blocked,
                error: queue.records().get(&seq).and_then(|record| record.last_error.clone()),
                reply: Bytes::new(),
            }),
            MessageState::Done | MessageState::Cancelled => Some(cancelled("earlier")),
        }
    }

    /// Ends all calls for a message that is at its end ([`Engine::end_message`] tells that) or blocked, and tells
    /// processes that wait for it; a reply that nobody waits for any more is counted.
    pub(super) fn end_calls(
        &mut self,
        at: QueueIndex,
        seq: Seq,
        end: CallEnd,
        out: &mut Effects,
    ) -> Called {
        let place = (at, seq);
        self.processes.hear(place, &end);
        let numbers = self.calls.by_place.remove(&place).unwrap_or_default();
        let told = !numbers.is_empty();
        for number in numbers {
            let Some(call) = self.calls.remove(number) else { continue };
            self.timers.cancel(call.deadline, Timer::CallOver(number));
            out.effects.push(ended(call.origin, call.id, end.clone()));
        }
        let late = match end.status {
            CallStatus::Ok | CallStatus::Failed => self.calls.abandoned.remove(&place),
            CallStatus::Blocked | CallStatus::Timeout => {
                if told {
                    self.calls.abandon(place);
                }
                false
            }
        };
        if late && end.status == CallStatus::Ok {
            self.late_replies = self.late_replies.saturating_add(1);
        }
        Called { told, late }
    }

    /// Callers that want parts get one.
    pub(super) fn tell_part(&self, place: Place, part: &CallPart, out: &mut Effects) {
        let numbers = self.calls.by_place.get(&place).into_iter().flatten();
        for call in numbers.filter_map(|number| self.calls.calls.get(number)) {
            if call.wants_parts {
                let (origin, part) = (call.origin, part.clone());
                out.effects.push(Effect::CallPart { origin, part });
            }
        }
    }

    /// A caller has waited long enough; the message stays.
    pub(super) fn call_over(&mut self, number: u64, out: &mut Effects) {
        let Some(call) = self.calls.remove(number) else { return };
        self.calls.abandon(call.place);
        let error = WorkError::new("timeout", "no reply in time; the message stays in its queue");
        let end = CallEnd::without_reply(CallStatus::Timeout, error);
        out.effects.push(ended(call.origin, call.id, end));
    }

    /// A caller went away.
    pub(super) fn handle_origin_gone(&mut self, origin: Origin) {
        self.forget_gather_origin(origin);
        let of_origin = (origin, 0)..=(origin, u64::MAX);
        let numbers: Vec<u64> =
            self.calls.by_origin.range(of_origin).map(|&(_, number)| number).collect();
        for number in numbers {
            let Some(call) = self.calls.remove(number) else { continue };
            self.timers.cancel(call.deadline, Timer::CallOver(number));
            self.calls.abandon(call.place);
        }
    }

    /// The broker stops: nobody waits any longer.
    pub(super) fn reject_calls(&mut self, out: &mut Effects) {
        let calls = std::mem::take(&mut self.calls);
        for (number, call) in calls.calls {
            self.timers.cancel(call.deadline, Timer::CallOver(number));
            let rejection = draining(
                "the broker stops; the message is kept and will be done after it starts again",
            );
            out.effects
                .push(Effect::Rejected { origin: call.origin, rejection: rejection.of(call.id) });
        }
    }
}

/// A refusal because the broker stops.
pub(super) fn draining(reason: &str) -> Rejection {
    Rejection::new(RejectCode::Draining, reason)
}

/// How a call for a cancelled message ends.
pub(super) fn cancelled(by: &str) -> CallEnd {
    let error = WorkError::new("cancelled", format!("the message was cancelled ({by})"));
    CallEnd::without_reply(CallStatus::Failed, error)
}

fn already_done() -> CallEnd {
    let error = WorkError::new(
        "already-done",
        "a message with this id was accepted before and is done; its reply is gone".to_owned(),
    );
    CallEnd::without_reply(CallStatus::Failed, error)
}

fn ended(origin: Origin, id: MessageId, end: CallEnd) -> Effect {
    let CallEnd { status, error, reply: payload } = end;
    Effect::CallEnded { origin, reply: Box::new(CallReply { id, status, error, payload }) }
}
