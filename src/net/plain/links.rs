//! A socket's peers, and what waits for each.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::prefixes::Prefixes;
use crate::net::PeerId;
use crate::net::frames::Wire;
use crate::net::guard::{Outbox, Peers, Refusal};

/// Everybody who is connected to a socket.
#[derive(Debug)]
pub(in crate::net) struct Links {
    /// Hold what waits for each.
    peers: Arc<Peers>,
    linked: Mutex<Linked>,
    /// How many there are.
    count: watch::Sender<usize>,
    /// Told when somebody may have room again.
    room: Notify,
    sent: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Linked {
    /// With what each wants.
    by_peer: BTreeMap<PeerId, Prefixes>,
    /// Who got the last message that was for any.
    last: Option<PeerId>,
}

impl Links {
    pub(super) fn new(peers: Arc<Peers>) -> Self {
        Self {
            peers,
            linked: Mutex::default(),
            count: watch::Sender::new(0),
            room: Notify::new(),
            sent: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// A peer is there.
    pub(super) fn join(&self, peer: PeerId) {
        let mut linked = self.lock();
        linked.by_peer.insert(peer, Prefixes::default());
        self.count.send_replace(linked.by_peer.len());
        drop(linked);
        self.room.notify_waiters();
    }

    /// A peer is gone, with the messages that still waited for it.
    pub(super) fn leave(&self, peer: PeerId, unsent: Option<Outbox>) {
        let mut linked = self.lock();
        linked.by_peer.remove(&peer);
        self.count.send_replace(linked.by_peer.len());
        drop(linked);
        let Some(mut unsent) = unsent else { return };
        while unsent.try_recv().is_ok() {
            self.lost.fetch_add(1, Relaxed);
            self.sent.fetch_sub(1, Relaxed);
        }
    }

    pub(super) fn subscribe(&self, peer: PeerId, prefix: &[u8], on: bool) -> Result<(), Refusal> {
        let mut linked = self.lock();
        let Some(wants) = linked.by_peer.get_mut(&peer) else { return Ok(()) };
        if on {
            wants.subscribe(prefix)?;
        } else {
            wants.cancel(prefix);
        }
        Ok(())
    }

    /// A peer has taken something.
    pub(super) fn has_room(&self) {
        self.room.notify_waiters();
    }

    /// How many are connected, and each change of it.
    pub(in crate::net) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Messages that went to a peer.
    pub(in crate::net) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Messages that a peer should have had, and has not.
    pub(in crate::net) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Counts a message that got lost before this.
    pub(in crate::net) fn lose(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    /// To one peer; a message for one that is gone, or for which too much waits, is lost.
    pub(in crate::net) fn send_to(&self, peer: PeerId, wire: Wire) {
        if !self.offer(peer, &wire) {
            self.lose();
        }
    }

    /// To each peer that wants what begins with `first`; who has no room loses it.
    pub(in crate::net) fn publish(&self, first: &[u8], wire: impl FnOnce() -> Wire) {
        let linked = self.lock();
        let wanting = linked.by_peer.iter().filter(|(_, wants)| wants.want(first));
        let mut wanting = wanting.peekable();
        if wanting.peek().is_none() {
            return;
        }
        let wire = wire();
        for (&peer, _) in wanting {
            if !self.offer(peer, &wire) {
                self.lose();
            }
        }
    }

    /// To one peer, each in turn; waits until one has room. Cancel safe: dropped, nobody got it.
    pub(in crate::net) async fn send_to_any(&self, wire: Wire) {
        let told = self.room.notified();
        tokio::pin!(told);
        loop {
            told.as_mut().enable();
            if self.try_any(&wire) {
                return;
            }
            told.as_mut().await;
            told.set(self.room.notified());
        }
    }

    fn try_any(&self, wire: &Wire) -> bool {
        let mut linked = self.lock();
        let Linked { by_peer, last } = &*linked;
        let after = last.map_or(Unbounded, Excluded);
        let turn = by_peer.range((after, Unbounded)).chain(by_peer);
        let taken = turn.into_iter().map(|(&peer, _)| peer).find(|&peer| self.offer(peer, wire));
        if taken.is_some() {
            linked.last = taken;
        }
        taken.is_some()
    }

    fn offer(&self, peer: PeerId, wire: &Wire) -> bool {
        let taken = self.peers.offer(peer, wire.clone());
        if taken {
            self.sent.fetch_add(1, Relaxed);
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Linked> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
