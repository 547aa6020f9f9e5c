//! Operators hold messages and repair them: what comes of it is checked.

use super::super::model::ModelMessage;
use super::super::rig::{came_of, operator, queue};
use super::{Cause, QUEUES, REDIS, World, index};
use crate::engine::{Effect, Event};
use crate::model::{
    MessageState, Origin, Repair, RepairAction, RepairOutcome, RepairRefusal, Revision, Seq,
};

/// A repair without its content.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Verb {
    Save(u8),
    Retry,
    SaveAndRetry(u8),
    Cancel,
    Restore,
    Undo,
    DeadLetter,
    /// To the queue with this index.
    Move(usize),
}

impl Verb {
    fn of(self, message: Option<&ModelMessage>) -> RepairAction {
        let edit = |payload: String| crate::model::Edit { payload: payload.into(), header: None };
        match self {
            Self::Save(n) => RepairAction::Save(edit(format!("edited {n}"))),
            Self::SaveAndRetry(n) => RepairAction::SaveAndRetry(edit(format!("edited {n}"))),
            Self::Retry => RepairAction::Retry,
            Self::Cancel => RepairAction::Cancel,
            Self::Restore => RepairAction::Restore,
            Self::DeadLetter => RepairAction::DeadLetter,
            Self::Move(to) => RepairAction::Move(Some(queue(QUEUES[to]))),
            Self::Undo => {
                let before = message.and_then(|message| message.payloads.iter().rev().nth(1));
                RepairAction::UndoSave(edit(before.cloned().unwrap_or_default()))
            }
        }
    }
}

impl World {
    pub(in super::super) fn hold(&mut self, at: usize, pick: usize, who: &str, for_ms: u64) {
        let seq = self.place(at, pick);
        let now = self.model.now;
        let model = &mut self.model.queues[at];
        let there = model.messages.get(seq as usize - 1).is_some_and(|message| !message.over);
        let free = model.holds.get(&seq).is_none_or(|(by, until)| by == who || *until <= now);
        if there && free {
            if for_ms == 0 {
                model.holds.remove(&seq);
            } else {
                model.holds.insert(seq, (who.to_owned(), now.plus_ms(for_ms)));
            }
        }
        let (origin, actor, queue) = (Origin(0), operator(who), queue(QUEUES[at]));
        let hold = Event::Hold { origin, actor, queue, seq: Seq(seq), for_ms };
        let told = self.run(hold, Cause::default());
        let held = told.iter().any(|effect| matches!(effect, Effect::Held { .. }));
        assert_eq!(held, there && free);
    }

    pub(in super::super) fn repair(
        &mut self,
        at: usize,
        pick: usize,
        key: u8,
        stale: bool,
        verb: Verb,
    ) {
        let seq = self.place(at, pick);
        let key = format!("k{key}");
        let now = self.model.now;
        let model = &mut self.model.queues[at];
        let message = model.messages.get(seq as usize - 1).cloned();
        let current = message.as_ref().map_or(0, |message| message.payloads.len() as u32 - 1);
        let revision = Revision(if stale { current + 1 } else { current });
        let action = verb.of(message.as_ref());
        let reaches = match verb {
            Verb::Move(to) => to != at && !(self.redis_down && to == REDIS),
            _ => true,
        };
        let there = message.as_ref().is_some_and(|message| !message.over);
        let held = model.holds.get(&seq).is_some_and(|(by, _)| by != "ann");
        let known = self.model.repairs.get(&key).cloned();
        let done = known.is_none()
            && there
            && !held
            && !stale
            && reaches
            && self.is_readable(at, seq, revision)
            && self.model.queues[at].repair(seq, &action, now);
        if let (Verb::Move(to), Some(message)) = (verb, message.filter(|_| done)) {
            let moved = ModelMessage::new(&message.id, message.payload(), message.header_bytes);
            self.model.queues[to].messages.push(moved);
        }
        let id = self.engine.queue_id(&queue(QUEUES[at])).expect("there");
        let repair = Repair {
            key: key.parse().expect("valid"),
            actor: operator("ann"),
            queue: queue(QUEUES[at]),
            seq: Seq(seq),
            expect_revision: revision,
            seen: self.store.content(id, Seq(seq), revision),
            action,
            reason: "because".to_owned(),
        };
        let cause = Cause { repair: done.then_some((at, seq)), ..Cause::default() };
        let rehearsed = self.engine.rehearse(&repair);
        let told = self.run(Event::Repair { origin: Origin(0), repair }, cause);
        assert_eq!(came_of(&told), Some(rehearsed), "a rehearsal says what comes");
        self.check_repair(at, seq, &key, known, done, &told);
    }

    pub(super) fn check_repair(
        &mut self,
        at: usize,
        seq: u64,
        key: &str,
        known: Option<RepairOutcome>,
        done: bool,
        told: &[Effect],
    ) {
        let answer = told.iter().find_map(|effect| match effect {
            Effect::Repaired { outcome, .. } => Some(Ok(outcome.clone())),
            Effect::Refused { refusal, .. } => Some(Err(refusal.clone())),
            _ => None,
        });
        match (known, answer.expect("a repair is answered")) {
            (Some(known), Ok(outcome)) => {
                assert_eq!(outcome, Box::new(RepairOutcome { repeated: true, ..known }));
            }
            (Some(known), Err(refusal)) => {
                assert_eq!(refusal, RepairRefusal::KeyReused);
                assert_ne!((index(&known.queue), known.seq.0), (at, seq));
            }
            (None, Ok(outcome)) => {
                assert!(done, "{outcome:?}");
                self.model.repairs.insert(key.to_owned(), *outcome);
                // The snapshot of this step was taken before the outcome was known.
                let last = self.pending.back_mut().expect("this step's batch");
                last.1.repairs.clone_from(&self.model.repairs);
            }
            (None, Err(refusal)) => assert!(!done, "{refusal:?}"),
        }
    }

    pub(super) fn blocked_head(&self, at: usize) -> Option<u64> {
        let queue = &self.model.queues[at];
        queue.head().filter(|&head| queue.state(head, self.model.now) == MessageState::Blocked)
    }

    /// Whether the admin API could read this revision, or the engine has it: a message that isn't durable
    /// can't be seen by anybody, so no repair of it is tried.
    pub(super) fn is_readable(&self, at: usize, seq: u64, revision: Revision) -> bool {
        let id = self.engine.queue_id(&queue(QUEUES[at])).expect("there");
        self.store.content(id, Seq(seq), revision).is_some()
            || self.engine.has_content(id, Seq(seq))
    }

    pub(super) fn place(&self, at: usize, pick: usize) -> u64 {
        let messages = self.model.queues[at].messages.len();
        (pick % (messages + 1)) as u64 + 1
    }
}
