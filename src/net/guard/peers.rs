//! Who is connected, and what waits for each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

use super::counters::Refusal;
use crate::auth::network;
use crate::model::Numbered;
use crate::net::PeerId;
use crate::net::admission::Session;
use crate::net::frames::Wire;
use crate::net::options::{FAIR_UNSENT_BYTES, NetLimits, Together};
use crate::wire::majordomo::Version;

/// What RAM a message that waits takes beside its bytes: its place in the outbox, and its allocation.
const PLACE_BYTES: u64 = 64;

/// What waits for a peer, in order. It has no bound of its own: [`Peers`] counts what goes in.
pub(in crate::net) type Outbox = mpsc::UnboundedReceiver<Wire>;

/// A connection that completed its handshake.
#[derive(Debug)]
pub(in crate::net) struct Peer {
    pub(in crate::net) id: PeerId,
    /// Who it is, as far as it has shown.
    pub(in crate::net) session: Session,
    outbox: mpsc::UnboundedSender<Wire>,
    /// What was put into the outbox and its socket hasn't taken yet.
    unsent_bytes: AtomicU64,
    unsent_messages: AtomicU64,
    /// Whether its last message carried an empty delimiter. Only workers are answered by this.
    delimited: AtomicBool,
    /// The version of Majordomo that a worker speaks; 0: none.
    majordomo: AtomicU8,
    /// Whether a Majordomo worker has said READY.
    ready: AtomicBool,
    /// Told when it must be cut off.
    pub(super) cut: Notify,
}

impl Peer {
    /// Whether something waits for it.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent_messages.load(Relaxed) > 0
    }

    pub(in crate::net) fn set_delimited(&self, delimited: bool) {
        self.delimited.store(delimited, Relaxed);
    }

    pub(in crate::net) fn delimited(&self) -> bool {
        self.delimited.load(Relaxed)
    }

    pub(in crate::net) fn set_majordomo(&self, version: Version) {
        let number = match version {
            Version::V1 => 1,
            Version::V2 => 2,
        };
        self.majordomo.store(number, Relaxed);
    }

    pub(in crate::net) fn majordomo(&self) -> Option<Version> {
        match self.majordomo.load(Relaxed) {
            1 => Some(Version::V1),
            2 => Some(Version::V2),
            _ => None,
        }
    }

    /// Whether a Majordomo worker has said READY; what was so before.
    pub(in crate::net) fn set_ready(&self, ready: bool) -> bool {
        self.ready.swap(ready, Relaxed)
    }
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Sent {
    /// It waits for the peer to take it.
    Taken,
    /// There was none, or too much waits: then the peer is cut off.
    Not,
    /// Nobody is connected by this id.
    Unknown,
}

/// All connections of one door.
#[derive(Debug)]
pub(in crate::net) struct Peers {
    connected: Mutex<Numbered<PeerId, Arc<Peer>>>,
    max_unsent_bytes: u64,
    max_unsent_messages: u64,
    max_total_bytes: u64,
    total_unsent: AtomicU64,
    all_sent: Notify,
}

impl Peers {
    /// `max_unsent_bytes` is this door's bound for one peer.
    pub(in crate::net) fn new(limits: &NetLimits, max_unsent_bytes: u64) -> Self {
        Self {
            connected: Mutex::default(),
            max_unsent_bytes,
            max_unsent_messages: limits.unsent_messages,
            max_total_bytes: limits.total_unsent_bytes,
            total_unsent: AtomicU64::new(0),
            all_sent: Notify::new(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "what goes in is counted, and has its bound, in `put`"
    )]
    pub(super) fn add(&self, id: PeerId, session: Session) -> (Arc<Peer>, Outbox) {
        let (outbox, waiting) = mpsc::unbounded_channel();
        let peer = Arc::new(Peer {
            id,
            session,
            outbox,
            unsent_bytes: AtomicU64::new(0),
            unsent_messages: AtomicU64::new(0),
            delimited: AtomicBool::new(false),
            majordomo: AtomicU8::new(0),
            ready: AtomicBool::new(false),
            cut: Notify::new(),
        });
        self.lock().insert(id, peer.clone());
        (peer, waiting)
    }

    /// Forgets a peer with all that waits for it.
    pub(in crate::net) fn remove(&self, id: PeerId) {
        let mut connected = self.lock();
        if let Some(peer) = connected.remove(&id) {
            self.less_unsent(peer.unsent_bytes.load(Relaxed));
        }
    }

    /// Puts a message into a peer's outbox. `false`: the peer is gone, or has just been cut off because too much waits
    /// for it.
    pub(in crate::net) fn send(&self, id: PeerId, wire: Wire) -> bool {
        self.send_with(id, |_| Some(wire)) == Sent::Taken
    }

    /// The same with a message that depends on the peer; with none, nothing is sent.
    pub(in crate::net) fn send_with(
        &self,
        id: PeerId,
        wire: impl FnOnce(&Peer) -> Option<Wire>,
    ) -> Sent {
        // Under the lock, so that `remove` finds all that was counted.
        let connected = self.lock();
        let Some(peer) = connected.get(&id) else { return Sent::Unknown };
        let Some(wire) = wire(peer) else { return Sent::Not };
        if self.put(peer, wire) {
            return Sent::Taken;
        }
        peer.cut.notify_one();
        Sent::Not
    }

    /// As [`Peers::send`], but who has too much waiting is not cut off.
    pub(in crate::net) fn offer(&self, id: PeerId, wire: Wire) -> bool {
        let connected = self.lock();
        connected.get(&id).is_some_and(|peer| self.put(peer, wire))
    }

    /// Whether there was room for it. `connected` is locked.
    fn put(&self, peer: &Peer, wire: Wire) -> bool {
        let bytes = cost(&wire);
        let waiting = peer.unsent_bytes.load(Relaxed);
        let messages = peer.unsent_messages.load(Relaxed);
        let with_this = waiting.saturating_add(bytes);
        let total = self.total_unsent.load(Relaxed).saturating_add(bytes);
        // A peer that has taken all that it was given may always get one more, however large.
        let too_much = with_this > self.max_unsent_bytes
            || messages >= self.max_unsent_messages
            || (total > self.max_total_bytes && with_this > FAIR_UNSENT_BYTES);
        if waiting > 0 && too_much {
            return false;
        }
        peer.unsent_bytes.fetch_add(bytes, Relaxed);
        peer.unsent_messages.fetch_add(1, Relaxed);
        self.total_unsent.fetch_add(bytes, Relaxed);
        // Its connection holds the other end until it has removed it from here.
        peer.outbox.send(wire).is_ok()
    }

    /// The peer's socket has taken these.
    pub(super) fn discharge(&self, peer: &Peer, taken: &[Wire]) {
        let bytes = taken.iter().map(cost).sum();
        peer.unsent_bytes.fetch_sub(bytes, Relaxed);
        peer.unsent_messages.fetch_sub(taken.len() as u64, Relaxed);
        self.less_unsent(bytes);
    }

    /// Waits until nothing waits for anybody.
    pub(in crate::net) async fn all_sent(&self) {
        loop {
            let told = self.all_sent.notified();
            if self.total_unsent.load(Relaxed) == 0 {
                return;
            }
            told.await;
        }
    }

    fn less_unsent(&self, bytes: u64) {
        if bytes > 0 && self.total_unsent.fetch_sub(bytes, Relaxed) == bytes {
            self.all_sent.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Numbered<PeerId, Arc<Peer>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(wire: &Wire) -> u64 {
    wire.len() as u64 + PLACE_BYTES
}

/// Counts connections, in all and for each address.
#[derive(Debug)]
pub(super) struct Slots {
    max: usize,
    max_per_address: usize,
    together: Together,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    address: Option<IpAddr>,
    _together: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new(limits: &NetLimits) -> Arc<Self> {
        Arc::new(Self {
            max: limits.connections,
            max_per_address: limits.connections_per_address,
            together: limits.together.clone(),
            taken: Mutex::default(),
        })
    }

    pub(super) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, Refusal> {
        // As failures are counted.
        let address = address.map(network);
        let mut taken = self.lock();
        if taken.all >= self.max {
            return Err(Refusal::Connections);
        }
        let together = self.together.take().ok_or(Refusal::Descriptors)?;
        if let Some(address) = address {
            let of_address = taken.by_address.entry(address).or_default();
            if *of_address >= self.max_per_address {
                return Err(Refusal::AddressConnections);
            }
            *of_address += 1;
        }
        taken.all += 1;
        Ok(Slot { slots: self.clone(), address, _together: together })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.all -= 1;
        if let Some(address) = self.address
            && let Some(of_address) = taken.by_address.get_mut(&address)
        {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peers() -> Peers {
        let limits = NetLimits {
            unsent_messages: 3,
            total_unsent_bytes: 2 * FAIR_UNSENT_BYTES,
            ..NetLimits::default()
        };
        Peers::new(&limits, 10 * FAIR_UNSENT_BYTES)
    }

    fn wire(bytes: u64) -> Wire {
        Wire::of(&[vec![0; bytes as usize].into()])
    }

    #[tokio::test]
    async fn what_waits_is_bounded_for_each_peer_and_for_all() {
        let peers = peers();
        let add = |id| peers.add(PeerId(id), Session::default());
        let ((a, _a), (b, mut of_b)) = (add(1), add(2));
        assert!(peers.send(a.id, wire(100 * FAIR_UNSENT_BYTES)), "one large one, if nothing waits");
        assert!(!peers.send(a.id, wire(1)), "cut off");
        a.cut.notified().await;
        assert!(peers.send(b.id, wire(1)) && peers.send(b.id, wire(1)), "b has its fair part");
        assert!(peers.send(b.id, wire(1)));
        assert!(!peers.offer(b.id, wire(1)), "three messages wait");
        peers.discharge(&b, &[of_b.recv().await.unwrap()]);
        assert!(peers.send(b.id, wire(1)));
        peers.remove(a.id);
        peers.remove(b.id);
        peers.all_sent().await;
        assert!(!peers.send(b.id, wire(1)), "gone");
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let limits =
            NetLimits { connections: 3, connections_per_address: 2, ..NetLimits::default() };
        let slots = Slots::new(&limits);
        let address = |last| Some(IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
        let first = slots.take(address(1)).unwrap();
        let _second = slots.take(address(1)).unwrap();
        assert_eq!(slots.take(address(1)).unwrap_err(), Refusal::AddressConnections);
        let _third = slots.take(address(2)).unwrap();
        assert_eq!(slots.take(None).unwrap_err(), Refusal::Connections);
        drop(first);
        slots.take(address(1)).unwrap();
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_count_as_one() {
        let slots = Slots::new(&NetLimits { connections_per_address: 1, ..NetLimits::default() });
        let address = |text: &str| Some(text.parse().unwrap());
        let first = slots.take(address("2001:db8::1")).unwrap();
        let refused = slots.take(address("2001:db8::2")).unwrap_err();
        assert_eq!(refused, Refusal::AddressConnections);
        let _other = slots.take(address("2001:db8:0:1::1")).unwrap();
        drop(first);
        slots.take(address("2001:db8::2")).unwrap();
    }

    #[test]
    fn doors_share_what_there_are_descriptors_for() {
        let limits = NetLimits { together: Together::new(1), ..NetLimits::default() };
        let (clients, workers) = (Slots::new(&limits), Slots::new(&limits.clone()));
        let only = clients.take(None).unwrap();
        assert_eq!(workers.take(None).unwrap_err(), Refusal::Descriptors);
        drop(only);
        workers.take(None).unwrap();
    }
}
