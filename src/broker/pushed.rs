//! What comes by doors that answer nobody: kept, or told where it went instead.
//!
//! What can't be kept now, because the store is down or its disk full, waits: the doors take nothing more meanwhile, so
//! what waits is bounded by what was on its way. What is refused for good at `push` goes to the dead-letter queue
//! [`PUSH_DEAD`], with why in its header; at `feed` it is lost, as ZeroMQ's PUB loses, and counted. Both are told.

use std::collections::VecDeque;

use super::event_loop::EventLoop;
use super::peers::Waiting;
use crate::engine::Event;
use crate::model::{Content, Notice, QueueName, RejectCode, Rejection, Timestamp};
use crate::net::{Door, Pushed};

/// Where what `push` refuses goes.
const PUSH_DEAD: &str = "push.dead";
/// Between two events about what `feed` refuses, in milliseconds: a broken publisher may send thousands in a second.
const REFUSED_MS: u64 = 1_000;

/// What waits for an answer that nobody gets.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// What came.
    Came { door: Door, pushed: Pushed },
    /// A message on its way to the dead-letter queue.
    Buried { content: Content, queue: Option<QueueName>, rejection: Rejection },
}

/// What came and waits to be kept.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    waiting: VecDeque<Unanswered>,
    /// Refused at `feed` and not told yet.
    untold: u64,
    told_at: Timestamp,
}

impl Drop for Pushes {
    fn drop(&mut self) {
        if !self.waiting.is_empty() {
            let lost = self.waiting.len();
            tracing::warn!(lost, "what doors without answers took could not be kept");
        }
    }
}

impl EventLoop {
    pub(super) fn on_pushed(&mut self, door: Door, pushed: Pushed) {
        self.pushed.waiting.push_back(Unanswered::Came { door, pushed });
        self.take_pushed();
    }

    /// Takes what waits, if it can be kept now.
    pub(super) fn take_pushed(&mut self) {
        while self.keeps()
            && let Some(next) = self.pushed.waiting.pop_front()
        {
            self.keep(next);
        }
        self.doors.take(self.pushed.waiting.is_empty() && self.keeps());
    }

    fn keeps(&self) -> bool {
        self.draining_since.is_none()
            && self.down_reason().is_none()
            && self.full_reason().is_none()
    }

    fn keep(&mut self, next: Unanswered) {
        let event = match &next {
            Unanswered::Came { door, pushed: Pushed::Refused { content, queue, rejection } } => {
                return self.refused(*door, content.clone(), queue.clone(), rejection.clone());
            }
            Unanswered::Came { pushed: Pushed::Send(sends), .. } => {
                let one =
                    |send: &crate::wire::SendRequest| (send.queue.clone(), send.content.clone());
                let messages = sends.iter().map(one).collect();
                Box::new(move |origin| Event::Send { origin, messages, call: None })
                    as Box<dyn FnOnce(_) -> Event>
            }
            Unanswered::Came { pushed: Pushed::Publish { topic, content, mandatory }, .. } => {
                let (topic, content, mandatory) = (topic.clone(), content.clone(), *mandatory);
                Box::new(move |origin| Event::Publish { origin, topic, content, mandatory })
            }
            Unanswered::Buried { content, queue, rejection } => {
                let to = push_dead();
                let (content, queue, rejection) =
                    (content.clone(), queue.clone(), rejection.clone());
                Box::new(move |origin| Event::Bury { origin, to, content, queue, rejection })
            }
        };
        match self.origins.add(Waiting::Nobody(Box::new(next))) {
            Ok(origin) => self.feed(event(origin)),
            Err(Waiting::Nobody(next)) => {
                let reason = "too many answers are outstanding";
                self.not_kept(*next, Rejection::new(RejectCode::Busy, reason));
            }
            Err(Waiting::Client { .. } | Waiting::Operator(_) | Waiting::Sender(_)) => {}
        }
    }

    /// It is durable.
    pub(super) fn kept(&mut self, one: Unanswered) {
        if let Unanswered::Buried { content, queue, rejection } = one {
            self.tell_refused(Door::Push, &content, queue, rejection, Some(push_dead()), 1);
        }
    }

    /// It was refused, for now or for good.
    pub(super) fn not_kept(&mut self, one: Unanswered, rejection: Rejection) {
        if !self.keeps() && self.draining_since.is_none() {
            self.pushed.waiting.push_back(one);
            return self.doors.take(false);
        }
        match one {
            Unanswered::Came { door, pushed: Pushed::Send(sends) } => {
                for send in sends {
                    self.refused(door, send.content, Some(send.queue), rejection.clone());
                }
            }
            Unanswered::Came {
                door,
                pushed: Pushed::Publish { content, .. } | Pushed::Refused { content, .. },
            } => self.refused(door, content, None, rejection),
            // Its dead-letter queue has a bound, and is full.
            Unanswered::Buried { content, queue, rejection: first } => {
                let reason = format!("{}; {PUSH_DEAD}: {}", first.reason, rejection.reason);
                let rejection = Rejection { reason, ..first };
                self.tell_refused(Door::Push, &content, queue, rejection, None, 1);
            }
        }
    }

    fn refused(
        &mut self,
        door: Door,
        content: Content,
        queue: Option<QueueName>,
        rejection: Rejection,
    ) {
        self.doors.refused(door);
        match door {
            Door::Push if self.draining_since.is_none() => {
                self.keep(Unanswered::Buried { content, queue, rejection });
            }
            Door::Push => self.tell_refused(door, &content, queue, rejection, None, 1),
            Door::Feed => {
                self.pushed.untold = self.pushed.untold.saturating_add(1);
                if self.now.since_ms(self.pushed.told_at) >= REFUSED_MS {
                    self.pushed.told_at = self.now;
                    let count = std::mem::take(&mut self.pushed.untold);
                    self.tell_refused(door, &content, queue, rejection, None, count);
                }
            }
        }
    }

    fn tell_refused(
        &mut self,
        door: Door,
        content: &Content,
        queue: Option<QueueName>,
        rejection: Rejection,
        to: Option<QueueName>,
        count: u64,
    ) {
        let Rejection { code, reason, .. } = rejection;
        let (door, id) = (door.as_str().to_owned(), content.id().clone());
        self.notice(Notice::Refused { door, queue, id, code, reason, to, count });
    }

    /// What the store may not have kept goes before what came later.
    pub(super) fn wait_again(&mut self, unanswered: Vec<Unanswered>) {
        for one in unanswered.into_iter().rev() {
            self.pushed.waiting.push_front(one);
        }
        self.doors.take(self.pushed.waiting.is_empty() && self.keeps());
    }
}

fn push_dead() -> QueueName {
    QueueName::new(PUSH_DEAD).expect("a short name of letters")
}
