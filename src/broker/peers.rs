//! Who waits for an answer, and which workers are known.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::pushed::Unanswered;
use super::sending::Sent;
use crate::engine::HoldAnswer;
use crate::model::limits::{HEARTBEAT_MS, MAX_WAITING_CALLS};
use crate::model::{
    MessageId, Numbered, Numbers, Origin, Purged, RepairOutcome, RepairRefusal, SubscriptionChange,
    Timestamp, WorkerId,
};
use crate::net::{PeerId, ReplyForm};

/// Answers that may be outstanding in all: every call that may wait, and as many publishes again as
/// the batches in flight and the one that gathers can hold.
const MAX_ORIGINS: usize = MAX_WAITING_CALLS + 32_768;
/// Answers that may be outstanding for one connection: more than any window that still speeds up, and
/// one connection can't use up everybody's.
const MAX_ORIGINS_OF_ONE: usize = 16_384;

/// Who waits, and how the answer must look.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A ZeroMQ client.
    Client {
        /// Who.
        peer: PeerId,
        /// As the request came.
        form: ReplyForm,
        /// What was asked.
        verb: Verb,
        /// Of which message, if of one (of a SENDMANY the first): a refusal names it.
        id: Option<MessageId>,
    },
    /// An operator's request through the handle.
    Operator(oneshot::Sender<OperatorAnswer>),
    /// A message through the handle.
    Sender(oneshot::Sender<Sent>),
    /// Nobody: it came by a door that answers nobody, and is kept until it is known to be.
    Nobody(Box<Unanswered>),
}

/// What workers are told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainOrder {
    /// Whether they are to begin anew then.
    pub anew: bool,
    /// Why, for them.
    pub reason: String,
}

/// What a client asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Send,
    SendMany,
    Call,
    Publish,
    Start,
    Gather,
    Subscribe,
    Unsubscribe,
    Status,
    /// STATUS that asks for the reply too.
    StatusReply,
}

/// What an operator's request brought.
#[derive(Debug)]
pub(super) enum OperatorAnswer {
    Done,
    Repaired(RepairOutcome),
    Held(HoldAnswer),
    Purged(Purged),
    Subscribed(SubscriptionChange),
    Refused(RepairRefusal),
}

/// Mints origins and remembers who stands behind each until it is answered.
#[derive(Debug, Default)]
pub(super) struct Origins {
    last: u64,
    waiting: Numbered<Origin, Waiting>,
    of_peer: Numbered<PeerId, Numbers<Origin>>,
}

impl Origins {
    /// A new origin; `Err` gives `waiting` back when a bound is hit.
    pub(super) fn add(&mut self, waiting: Waiting) -> Result<Origin, Waiting> {
        if self.waiting.len() >= MAX_ORIGINS {
            return Err(waiting);
        }
        let origin = Origin(self.last.saturating_add(1));
        if let Waiting::Client { peer, .. } = &waiting {
            let mine = self.of_peer.entry(*peer).or_default();
            if mine.len() >= MAX_ORIGINS_OF_ONE {
                return Err(waiting);
            }
            mine.insert(origin);
        }
        self.last = origin.0;
        self.waiting.insert(origin, waiting);
        Ok(origin)
    }

    /// The one to answer; `None` if it went away or was answered.
    pub(super) fn take(&mut self, origin: Origin) -> Option<Waiting> {
        let waiting = self.waiting.remove(&origin)?;
        if let Waiting::Client { peer, .. } = &waiting
            && let Some(mine) = self.of_peer.get_mut(peer)
        {
            mine.remove(&origin);
        }
        Some(waiting)
    }

    /// The client that waits; it waits on.
    pub(super) fn client(&self, origin: Origin) -> Option<(PeerId, ReplyForm)> {
        match self.waiting.get(&origin)? {
            Waiting::Client { peer, form, .. } => Some((*peer, form.clone())),
            Waiting::Operator(_) | Waiting::Sender(_) | Waiting::Nobody(_) => None,
        }
    }

    /// Forgets a connection; the origins that nobody waits for any more.
    pub(super) fn forget_peer(&mut self, peer: PeerId) -> Vec<Origin> {
        let mine = self.of_peer.remove(&peer).unwrap_or_default();
        let mut gone: Vec<Origin> = mine.into_iter().collect();
        gone.sort_unstable();
        for origin in &gone {
            self.waiting.remove(origin);
        }
        gone
    }

    /// Everybody who waits, in the order in which they asked.
    pub(super) fn take_all(&mut self) -> Vec<Waiting> {
        self.of_peer.clear();
        let mut all: Vec<(Origin, Waiting)> = self.waiting.drain().collect();
        all.sort_unstable_by_key(|(origin, _)| *origin);
        all.into_iter().map(|(_, waiting)| waiting).collect()
    }
}

/// Worker connections that said READY, and those that were told BYE lately.
///
/// A worker's id is its connection's number: the guard never gives one twice.
#[derive(Debug, Default)]
pub(super) struct Workers {
    known: Numbers<PeerId>,
    /// When a connection that isn't known was told BYE: what it had already sent must not bring it
    /// another one for each frame. Kept for a heartbeat: the connection may have ended before it was told.
    told: HashMap<PeerId, Timestamp>,
}

impl Workers {
    pub(super) fn id(peer: PeerId) -> WorkerId {
        WorkerId(peer.0)
    }

    pub(super) fn peer(worker: WorkerId) -> PeerId {
        PeerId(worker.0)
    }

    /// The connection said READY.
    pub(super) fn ready(&mut self, peer: PeerId) {
        self.told.remove(&peer);
        self.known.insert(peer);
    }

    pub(super) fn is_known(&self, peer: PeerId) -> bool {
        self.known.contains(&peer)
    }

    /// The connection was told BYE: it must say READY again.
    pub(super) fn dropped(&mut self, peer: PeerId, now: Timestamp) {
        self.known.remove(&peer);
        self.told.insert(peer, now);
    }

    /// The connection ended. Whether it was known.
    pub(super) fn gone(&mut self, peer: PeerId) -> bool {
        self.told.remove(&peer);
        self.known.remove(&peer)
    }

    /// Whether a connection that isn't known should be told BYE now: once a heartbeat.
    pub(super) fn must_tell(&self, peer: PeerId, now: Timestamp) -> bool {
        self.told.get(&peer).is_none_or(|told| now.since_ms(*told) >= HEARTBEAT_MS)
    }

    /// Forgets who may be told again.
    pub(super) fn forget_told(&mut self, now: Timestamp) {
        self.told.retain(|_, told| now.since_ms(*told) < HEARTBEAT_MS);
    }

    /// Every known connection, ascending.
    pub(super) fn all(&self) -> Vec<PeerId> {
        let mut all: Vec<PeerId> = self.known.iter().copied().collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: u64) -> Waiting {
        let (peer, form) = (PeerId(peer), ReplyForm::Plain);
        Waiting::Client { peer, form, verb: Verb::Send, id: None }
    }

    #[test]
    fn an_answer_is_given_once_and_only_to_who_still_waits() {
        let mut origins = Origins::default();
        let first = origins.add(client(1)).expect("room");
        let second = origins.add(client(1)).expect("room");
        let other = origins.add(client(2)).expect("room");
        assert!(origins.take(first).is_some());
        assert!(origins.take(first).is_none());
        assert_eq!(origins.forget_peer(PeerId(1)), [second]);
        assert!(origins.take(second).is_none());
        assert!(origins.take(other).is_some());
    }

    #[test]
    fn one_connection_cannot_use_up_everybodys_room() {
        let mut origins = Origins::default();
        for _ in 0..MAX_ORIGINS_OF_ONE {
            origins.add(client(1)).expect("room");
        }
        assert!(origins.add(client(1)).is_err());
        assert!(origins.add(client(2)).is_ok());
    }

    #[test]
    fn an_unknown_worker_is_told_once_a_heartbeat() {
        let mut workers = Workers::default();
        let (peer, now) = (PeerId(1), Timestamp(10_000));
        assert!(workers.must_tell(peer, now));
        workers.dropped(peer, now);
        assert!(!workers.must_tell(peer, now.plus_ms(HEARTBEAT_MS - 1)));
        assert!(workers.must_tell(peer, now.plus_ms(HEARTBEAT_MS)));
    }

    #[test]
    fn a_connection_that_ended_before_it_was_told_is_forgotten() {
        let mut workers = Workers::default();
        let (peer, now) = (PeerId(1), Timestamp(10_000));
        workers.gone(peer);
        workers.dropped(peer, now);
        workers.forget_told(now.plus_ms(HEARTBEAT_MS));
        assert!(workers.told.is_empty());
    }
}
