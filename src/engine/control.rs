//! Queues by an operator's or the configuration's wish: put, paused, resumed.

use std::sync::Arc;

use crate::model::{
    Actor, JournalKind, Op, Origin, PauseRecord, QueueName, QueueSettings, RepairRefusal, limits,
};

use super::journal::Entry;
use super::retry::clip;
use super::{Effect, Effects, Engine};

impl Engine {
    pub(super) fn handle_put_queue(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        settings: QueueSettings,
        out: &mut Effects,
    ) {
        match self.by_name.get(&name).copied() {
            Some(at) => {
                let queue = self.queue_mut(at);
                if *queue.record.settings != settings {
                    queue.dedup.resize(settings.dedup.last());
                    queue.record.settings = Arc::new(settings);
                    out.ops.push(Op::PutQueue(queue.record.clone()));
                    self.touch(at);
                }
            }
            None if self.queues.len() >= self.max_queues => {
                let reason = format!("there are {} queues, no more are allowed", self.queues.len());
                return out.effects.push(refused(origin, RepairRefusal::Invalid { reason }));
            }
            None => {
                self.make_queue(name, Arc::new(settings), actor, out);
            }
        }
        out.effects.push(Effect::Done { origin });
    }

    /// Stops or lets go on. What a queue does already isn't done again: the first pause is the one shown.
    pub(super) fn handle_set_paused(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        paused: bool,
        mut reason: String,
        out: &mut Effects,
    ) {
        let Some(&at) = self.by_name.get(&name) else {
            return out.effects.push(refused(origin, RepairRefusal::NoSuchQueue { queue: name }));
        };
        clip(&mut reason, limits::MAX_REASON_BYTES);
        let now = self.now;
        let queue = self.queue_mut(at);
        if queue.record.paused.is_some() != paused {
            queue.record.paused = paused.then(|| {
                Box::new(PauseRecord { by: actor.clone(), at: now, reason: reason.clone() })
            });
            out.ops.push(Op::PutQueue(queue.record.clone()));
            let kind = if paused { JournalKind::Paused } else { JournalKind::Resumed };
            self.write_journal(at, Entry { reason, ..Entry::new(kind, actor) }, out);
            self.cool(at);
            self.touch(at);
            self.offer(at, out);
        }
        out.effects.push(Effect::Done { origin });
    }
}

/// An operator's request is refused.
pub(super) fn refused(origin: Origin, refusal: RepairRefusal) -> Effect {
    Effect::Refused { origin, refusal }
}
