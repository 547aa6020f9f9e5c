//! A socket's peers, and what waits for each.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};

use super::prefixes::Prefixes;
use crate::net::PeerId;
use crate::net::guard::{Peers, Refusal};

/// Everybody who is connected to a socket.
#[derive(Debug)]
pub(in crate::net) struct Links {
    /// Counts what waits for each.
    peers: Arc<Peers>,
    /// Messages that may wait for one.
    max_waiting: usize,
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
    by_peer: BTreeMap<PeerId, Link>,
    /// Who got the last message that was for any.
    last: Option<PeerId>,
}

#[derive(Debug)]
struct Link {
    outbox: mpsc::Sender<Bytes>,
    wants: Prefixes,
}

impl Links {
    pub(super) fn new(peers: Arc<Peers>, max_waiting: usize) -> Self {
        Self {
            peers,
            max_waiting,
            linked: Mutex::default(),
            count: watch::Sender::new(0),
            room: Notify::new(),
            sent: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// A peer is there; what is for it comes out here.
    pub(super) fn join(&self, peer: PeerId) -> mpsc::Receiver<Bytes> {
        let (outbox, waiting) = mpsc::channel(self.max_waiting);
        let mut linked = self.lock();
        linked.by_peer.insert(peer, Link { outbox, wants: Prefixes::default() });
        self.count.send_replace(linked.by_peer.len());
        drop(linked);
        self.room.notify_waiters();
        waiting
    }

    /// A peer is gone, with what still waited for it.
    pub(super) fn leave(&self, peer: PeerId, waiting: &mut mpsc::Receiver<Bytes>) {
        let mut linked = self.lock();
        linked.by_peer.remove(&peer);
        self.count.send_replace(linked.by_peer.len());
        drop(linked);
        waiting.close();
        while waiting.try_recv().is_ok() {
            self.lost.fetch_add(1, Relaxed);
            self.sent.fetch_sub(1, Relaxed);
        }
    }

    pub(super) fn subscribe(&self, peer: PeerId, prefix: &[u8], on: bool) -> Result<(), Refusal> {
        let mut linked = self.lock();
        let Some(link) = linked.by_peer.get_mut(&peer) else { return Ok(()) };
        if on {
            link.wants.subscribe(prefix)?;
        } else {
            link.wants.cancel(prefix);
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
    pub(in crate::net) fn send_to(&self, peer: PeerId, wire: Bytes) {
        let linked = self.lock();
        let sent = linked.by_peer.get(&peer).is_some_and(|link| self.offer(peer, link, &wire));
        drop(linked);
        if !sent {
            self.lose();
        }
    }

    /// To each peer that wants what begins with `first`; who has no room loses it.
    pub(in crate::net) fn publish(&self, first: &[u8], wire: impl FnOnce() -> Bytes) {
        let linked = self.lock();
        let wanting = linked.by_peer.iter().filter(|(_, link)| link.wants.want(first));
        let mut wanting = wanting.peekable();
        if wanting.peek().is_none() {
            return;
        }
        let wire = wire();
        for (&peer, link) in wanting {
            if !self.offer(peer, link, &wire) {
                self.lose();
            }
        }
    }

    /// To one peer, each in turn; waits until one has room. Cancel safe: dropped, nobody got it.
    pub(in crate::net) async fn send_to_any(&self, wire: Bytes) {
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

    fn try_any(&self, wire: &Bytes) -> bool {
        let mut linked = self.lock();
        let Linked { by_peer, last } = &*linked;
        let after = last.map_or(Unbounded, Excluded);
        let turn = by_peer.range((after, Unbounded)).chain(by_peer);
        let taken = turn.into_iter().find(|&(&peer, link)| self.offer(peer, link, wire));
        let taken = taken.map(|(&peer, _)| peer);
        if taken.is_some() {
            linked.last = taken;
        }
        taken.is_some()
    }

    fn offer(&self, peer: PeerId, link: &Link, wire: &Bytes) -> bool {
        // Its capacity is above what may be counted: what is counted has room.
        let taken =
            self.peers.offer(peer, wire.len() as u64) && link.outbox.try_send(wire.clone()).is_ok();
        if taken {
            self.sent.fetch_add(1, Relaxed);
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Linked> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
