//! Where is this message?

use crate::model::{
    MessageId, MessageState, Origin, QueueId, QueueName, RejectCode, Rejection, Seq, StatusReport,
};

use super::queues::QueueIndex;
use super::{Effect, Effects, Engine};

impl Engine {
    /// Answers from the de-duplication window where it can; else the store is asked.
    pub(super) fn handle_status(
        &mut self,
        origin: Origin,
        id: MessageId,
        queue: Option<QueueName>,
        out: &mut Effects,
    ) {
        let Some(name) = queue else {
            return out.effects.push(Effect::FindMessage { origin, id, queue: None });
        };
        let effect = match self.queues.by_name(&name).map(|at| (at, self.queue(at))) {
            None => {
                let reason = format!("there is no queue {name}");
                let rejection = Rejection::new(RejectCode::NoSuchQueue, reason).of(id);
                Effect::Rejected { origin, rejection }
            }
            Some((at, queue)) => match queue.dedup.find(&id) {
                Some(seq) => {
                    let (at, seq) = self.dead_letter_place(at, seq, &id).unwrap_or((at, seq));
                    self.status(origin, at, seq, id)
                }
                None => Effect::FindMessage { origin, id, queue: Some(queue.record.id) },
            },
        };
        out.effects.push(effect);
    }

    /// The store has looked. An id that nobody knows is `unroutable`: there is no place to tell of. It was
    /// never accepted, or its message is done and the id has left the de-duplication window.
    pub(super) fn handle_found(
        &mut self,
        origin: Origin,
        id: MessageId,
        place: Option<(QueueId, Seq)>,
        out: &mut Effects,
    ) {
        let known = place.and_then(|(queue, seq)| Some((self.queues.by_id(queue)?, seq)));
        out.effects.push(match known {
            Some((at, seq)) => self.status(origin, at, seq, id),
            None => {
                let reason = "no message with this id is kept: it was never accepted, or it is done \
                              and its id has left the de-duplication window";
                let rejection = Rejection::new(RejectCode::Unroutable, reason).of(id);
                Effect::Rejected { origin, rejection }
            }
        });
    }

    fn status(&self, origin: Origin, at: QueueIndex, seq: Seq, id: MessageId) -> Effect {
        let report = self.report(at, seq, id);
        let is_over = matches!(report.state, MessageState::Done | MessageState::Cancelled);
        let reply = self.kept_reply((at, seq)).filter(|_| is_over).cloned().map(Box::new);
        Effect::Status { origin, report: Box::new(report), reply }
    }

    /// A finished message counts as done unless it is remembered that it was cancelled.
    fn report(&self, at: QueueIndex, seq: Seq, id: MessageId) -> StatusReport {
        let queue = self.queue(at);
        let state = if queue.is_unfinished(seq) {
            queue.state_of(seq, self.now)
        } else if queue.was_cancelled(seq) {
            MessageState::Cancelled
        } else {
            MessageState::Done
        };
        let record = queue.records().get(&seq);
        StatusReport {
            id,
            state,
            queue: queue.record.name.clone(),
            seq,
            attempt: self.attempt_of(at, seq),
            error: record.and_then(|record| record.last_error.clone()),
        }
    }
}
