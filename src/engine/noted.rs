//! Messages that the engine knows more of than their places: found without looking through the backlog.

use crate::model::{MessageState, QueueName, Revision, Seq, Timestamp, WorkError};

use super::Engine;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotedQuery {
    /// From this place on.
    pub from: Seq,
    /// How many messages are looked at.
    pub looks: usize,
    /// In this state; all if absent.
    pub state: Option<MessageState>,
    /// Only those that failed.
    pub failed: bool,
}

/// Such a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Noted {
    /// Its place.
    pub seq: Seq,
    /// Its state.
    pub state: MessageState,
    /// Its newest revision.
    pub revision: Revision,
    /// Why it failed last, without the details.
    pub error: Option<WorkError>,
    /// When that was, if it is kept.
    pub failed_at: Option<Timestamp>,
}

impl NotedQuery {
    /// Whether all messages in this state are noted: others may be plain places in the backlog.
    pub fn finds_all(state: MessageState) -> bool {
        match state {
            MessageState::Leased
            | MessageState::Waiting
            | MessageState::Blocked
            | MessageState::Cancelled => true,
            MessageState::Scheduled | MessageState::Ready | MessageState::Done => false,
        }
    }
}

impl Engine {
    /// Unfinished messages that have a record or are leased, ascending by place; and where to go on. `None` if there is no
    /// such queue.
    pub fn noted(&self, name: &QueueName, asked: &NotedQuery) -> Option<(Vec<Noted>, Option<Seq>)> {
        let queue = self.queue_named(name)?;
        let (mut found, mut looked) = (Vec::new(), 0usize);
        let mut look = |seq: Seq| {
            if looked == asked.looks {
                return false;
            }
            looked = looked.saturating_add(1);
            let record = queue.records().get(&seq);
            let state = queue.state_of(seq, self.now);
            let error = record.and_then(|record| record.last_error.as_ref());
            let is_wanted = asked.state.is_none_or(|wanted| wanted == state)
                && (!asked.failed || error.is_some())
                && queue.is_unfinished(seq);
            if is_wanted {
                let newest = record.and_then(|record| record.failures.back());
                found.push(Noted {
                    seq,
                    state,
                    revision: queue.revision_of(seq),
                    error: error
                        .map(|error| WorkError::new(error.code.clone(), error.message.clone())),
                    failed_at: newest.map(|attempt| attempt.ended_at),
                });
            }
            true
        };
        let next = if asked.state == Some(MessageState::Leased) {
            let mut places: Vec<Seq> =
                queue.in_flight.places().filter(|&seq| seq >= asked.from).collect();
            places.sort_unstable();
            places.into_iter().find(|&seq| !look(seq))
        } else {
            queue.records().range(asked.from..).map(|(&seq, _)| seq).find(|&seq| !look(seq))
        };
        Some((found, next))
    }
}
