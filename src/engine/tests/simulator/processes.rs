//! What goes on over several messages as it should be: sagas by the ids of their steps' messages, answers by theirs.

use super::oracle::{Line, Oracle};
use super::setup::{REPLIES, STEPS};
use crate::model::{Finish, QueueId, Seq};

/// What a saga has sent, in its order: of each step, and of what takes it back.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Course {
    sent: Vec<Sent>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sent {
    step: usize,
    undoes: bool,
    queue: QueueId,
    seq: Seq,
}

/// A saga's id, a step and whether it is taken back, of `s7/a/undo~2`; the end's and others are none.
fn step_of(id: &str) -> Option<(&str, usize, bool)> {
    let (saga, rest) = id.split_once('/')?;
    let (rest, _) = rest.split_once('~').unwrap_or((rest, ""));
    let (name, undoes) = match rest.split_once('/') {
        Some((name, "undo")) => (name, true),
        Some(_) => return None,
        None => (rest, false),
    };
    let step = STEPS.iter().position(|(known, _)| *known == name)?;
    Some((saga, step, undoes))
}

impl Oracle {
    /// A message was accepted: perhaps a saga's.
    pub(super) fn note_step(&mut self, queue: QueueId, seq: Seq, id: &str) {
        if let Some((saga, step, undoes)) = step_of(id) {
            let course = self.sagas.entry(saga.to_owned()).or_default();
            course.sent.push(Sent { step, undoes, queue, seq });
        }
    }

    /// Whether a saga may send this now (design.md rule 10): forward when all before is done; back, the newest first,
    /// when all after it is taken back, as far as nobody interfered.
    pub(super) fn check_step(&self, id: &str, is_free: impl Fn(&str, QueueId, Seq) -> bool) {
        let Some((saga, step, undoes)) = step_of(id) else { return };
        let sent = &self.sagas[saga].sent;
        let is_done = |of: usize, back: bool| {
            let of_step = sent.iter().filter(|it| (it.step, it.undoes) == (of, back));
            of_step.clone().any(|it| self.is_done(it.queue, it.seq))
        };
        if !undoes {
            assert!((0..step).all(|before| is_done(before, false)), "{id} goes before its turn");
            assert!(sent.iter().all(|it| !it.undoes), "{id}: forward while it is taken back");
            return;
        }
        let after = sent.iter().filter(|it| {
            let can_be = STEPS[it.step].1 && it.step > step && !it.undoes;
            can_be && self.is_done(it.queue, it.seq) && !is_free(saga, it.queue, it.seq)
        });
        for later in after {
            assert!(is_done(later.step, true), "{id} is taken back before {}", STEPS[later.step].0);
        }
        let first = sent.iter().filter(|it| it.undoes).map(|it| it.step);
        assert!(first.is_sorted_by(|a, b| a >= b), "{saga} is taken back in its order: {sent:?}");
    }

    /// At its end, whether a saga is done, or all of it is taken back.
    pub(super) fn check_saga(&self, saga: &str, completed: bool, meddled: bool) {
        let sent = self.sagas.get(saga).map_or(&[][..], |course| &course.sent);
        let done = |step: usize, undoes: bool| {
            sent.iter()
                .any(|it| (it.step, it.undoes) == (step, undoes) && self.is_done(it.queue, it.seq))
        };
        for (step, (name, can_be)) in STEPS.iter().enumerate() {
            if completed {
                assert!(done(step, false), "{saga} is completed without {name}");
            } else if !meddled && *can_be && sent.iter().any(|it| it.step == step && it.undoes) {
                assert!(done(step, true), "{saga} is compensated, {name} is not");
            }
        }
    }

    fn is_done(&self, queue: QueueId, seq: Seq) -> bool {
        let message = self.lines[&queue].message(seq.0);
        message.is_some_and(|it| it.ended == Some(Finish::Done))
    }

    /// An answer comes once: its id is of the request's place.
    pub(super) fn check_answer(&self, line: &Line, id: &str) {
        let is_answer = line.name.as_str() == REPLIES
            && ["-reply", "-gather"].iter().any(|what| id.ends_with(what));
        if is_answer {
            let same = line.messages.iter().filter(|it| it.content.id().as_str() == id);
            assert_eq!(same.count(), 1, "{id} is answered once");
        }
    }
}
