//! All queues, by index, name and number.
//!
//! An index is a place in a list and how often that place was used before. So what was kept under the index of a queue
//! that has been removed (a timer, a list of what changed) finds nothing, though another queue may be in its place.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use crate::model::{QueueId, QueueName, RemovedQueues, Seq};

use super::queue::Queue;

/// A queue's index in the engine; never that of another queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct QueueIndex {
    slot: u32,
    /// Queues that were in the slot before.
    used: u32,
}

/// The invariant behind every look-up by an index that isn't kept beyond a removal.
const KNOWN_QUEUE: &str = "what is kept of a queue goes with it";

#[derive(Debug, Default)]
struct Slot {
    used: u32,
    /// Boxed: a list of the queues themselves would be half a kilobyte for each, twice while it grows.
    queue: Option<Box<Queue>>,
}

/// All queues.
#[derive(Debug)]
pub(super) struct Queues {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Of names, by their hashes: the names themselves are the queues'.
    by_name: HashTable<QueueIndex>,
    hasher: RandomState,
    /// In the order in which they were made.
    by_id: BTreeMap<QueueId, QueueIndex>,
    last_id: QueueId,
    /// Where the next ones begin.
    first: Seq,
}

impl Queues {
    pub(super) fn new(capacity: usize, removed: RemovedQueues) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            free: Vec::new(),
            by_name: HashTable::with_capacity(capacity),
            hasher: RandomState::new(),
            by_id: BTreeMap::new(),
            last_id: removed.last,
            first: removed.next,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The number of a queue that is made now, which no queue has had, and the place of its first message, behind
    /// all that removed queues have used.
    pub(super) fn next_id(&self) -> (QueueId, Seq) {
        (QueueId(self.last_id.0.saturating_add(1)), self.first)
    }

    pub(super) fn add(&mut self, queue: Queue) -> QueueIndex {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len().saturating_sub(1)).expect("queues are bounded")
        });
        let id = queue.record.id;
        let hash = self.hasher.hash_one(&queue.record.name);
        let kept = self.slots.get_mut(slot as usize).expect("it is free, or was just made");
        kept.queue = Some(Box::new(queue));
        let at = QueueIndex { slot, used: kept.used };
        self.last_id = self.last_id.max(id);
        let Self { slots, by_name, hasher, .. } = self;
        by_name.insert_unique(hash, at, |at| {
            let slot = slots.get(at.slot as usize).and_then(|slot| slot.queue.as_deref());
            slot.map_or(0, |queue| hasher.hash_one(&queue.record.name))
        });
        self.by_id.insert(id, at);
        at
    }

    pub(super) fn remove(&mut self, at: QueueIndex) -> Option<Box<Queue>> {
        let slot = self.slots.get_mut(at.slot as usize).filter(|slot| slot.used == at.used)?;
        let queue = slot.queue.take()?;
        // One that has been used so often is left alone.
        if let Some(used) = slot.used.checked_add(1) {
            slot.used = used;
            self.free.push(at.slot);
        }
        let hash = self.hasher.hash_one(&queue.record.name);
        if let Ok(entry) = self.by_name.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        self.by_id.remove(&queue.record.id);
        self.first = self.first.max(queue.next_seq);
        Some(queue)
    }

    /// By an index that may be a removed queue's.
    pub(super) fn find(&self, at: QueueIndex) -> Option<&Queue> {
        let slot = self.slots.get(at.slot as usize).filter(|slot| slot.used == at.used)?;
        slot.queue.as_deref()
    }

    pub(super) fn find_mut(&mut self, at: QueueIndex) -> Option<&mut Queue> {
        let slot = self.slots.get_mut(at.slot as usize).filter(|slot| slot.used == at.used)?;
        slot.queue.as_deref_mut()
    }

    pub(super) fn at(&self, at: QueueIndex) -> &Queue {
        self.find(at).expect(KNOWN_QUEUE)
    }

    pub(super) fn at_mut(&mut self, at: QueueIndex) -> &mut Queue {
        self.find_mut(at).expect(KNOWN_QUEUE)
    }

    pub(super) fn by_name(&self, name: &QueueName) -> Option<QueueIndex> {
        let is_it = |&at: &QueueIndex| self.find(at).is_some_and(|q| q.record.name == *name);
        self.by_name.find(self.hasher.hash_one(name), is_it).copied()
    }

    pub(super) fn by_id(&self, id: QueueId) -> Option<QueueIndex> {
        self.by_id.get(&id).copied()
    }

    /// All indexes, in the order in which the queues were made.
    pub(super) fn indexes(&self) -> Vec<QueueIndex> {
        self.by_id.values().copied().collect()
    }

    /// In the order in which they were made, those after `after`.
    pub(super) fn after(&self, after: QueueId) -> impl Iterator<Item = &Queue> {
        let next = QueueId(after.0.saturating_add(1));
        self.by_id.range(next..).map(|(_, &at)| self.at(at))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.slots.iter().filter_map(|slot| slot.queue.as_deref())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.slots.iter_mut().filter_map(|slot| slot.queue.as_deref_mut())
    }
}
