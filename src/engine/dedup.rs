//! The de-duplication window: which ids a queue accepted last.

use std::hash::{DefaultHasher, Hasher};

use hashbrown::HashTable;

use crate::model::{MessageId, Seq};

/// Up to so many ids are looked through one by one: most queues of a large broker are short, and an index
/// of their own would cost them more than the ids.
const MAX_SCANNED: usize = 16;

/// An accepted id in 16 bytes, however long it is.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// 96 bits of the id's hash. Keyed by the engine's seed, so a producer can't look for two ids with the
    /// same ones; by chance one of a full window of 10,000 ids is taken for another with a probability
    /// below 10^-24.
    fingerprint: [u32; 3],
    /// The lower half of its place: the newest place says the rest.
    place: u32,
}

/// The last `last` accepted ids of one queue and their places, in some 23 bytes each. Places rise, and all of
/// a window are within 2^32 of each other: a window has fewer ids, and only restarts skip places, some
/// thousand each.
#[derive(Debug)]
pub(super) struct DedupWindow {
    last: usize,
    seed: u64,
    /// The oldest is at `oldest`, the next behind it, and so on, around the end.
    ring: Vec<Known>,
    oldest: usize,
    newest: Seq,
    /// Where in the ring an id is, the newest time that it came; none up to `MAX_SCANNED` ids. Boxed: of many
    /// queues most have none.
    index: Option<Box<HashTable<u32>>>,
}

impl DedupWindow {
    /// An empty window of `last` ids; 0: every message is new.
    pub(super) fn new(last: u32, seed: u64) -> Self {
        Self {
            last: usize::try_from(last).unwrap_or(usize::MAX),
            seed,
            ring: Vec::new(),
            oldest: 0,
            newest: Seq(0),
            index: None,
        }
    }

    /// The newest place of `id`, if it is in the window.
    pub(super) fn find(&self, id: &MessageId) -> Option<Seq> {
        if self.ring.is_empty() {
            return None;
        }
        let wanted = self.fingerprint(id);
        let known = match &self.index {
            None => self.in_order().rev().find(|known| known.fingerprint == wanted),
            Some(index) => {
                let at = index.find(hash(&wanted), |&at| self.has(at, &wanted));
                at.and_then(|&at| self.ring.get(position(at)))
            }
        };
        known.map(|known| self.place(known))
    }

    /// Remembers an accepted message; the oldest is forgotten beyond the window.
    pub(super) fn insert(&mut self, id: &MessageId, seq: Seq) {
        if self.last == 0 {
            return;
        }
        self.newest = seq;
        self.push(Known { fingerprint: self.fingerprint(id), place: low(seq.0) });
    }

    /// The window's settings changed.
    pub(super) fn resize(&mut self, last: u32) {
        let last = usize::try_from(last).unwrap_or(usize::MAX);
        let forgotten = self.ring.len().saturating_sub(last);
        let kept: Vec<Known> = self.in_order().skip(forgotten).copied().collect();
        self.last = last;
        self.oldest = 0;
        self.ring = Vec::new();
        self.index = None;
        kept.into_iter().for_each(|known| self.push(known));
    }

    fn push(&mut self, known: Known) {
        let at = if self.ring.len() < self.last {
            self.make_room();
            self.ring.push(known);
            self.ring.len().saturating_sub(1)
        } else {
            let at = self.oldest;
            self.forget_indexed(at);
            if let Some(oldest) = self.ring.get_mut(at) {
                *oldest = known;
            }
            self.oldest = at.saturating_add(1).checked_rem(self.ring.len()).unwrap_or(0);
            at
        };
        if self.ring.len() == MAX_SCANNED.saturating_add(1) && self.index.is_none() {
            (0..self.ring.len()).for_each(|at| self.put_indexed(at));
        } else if self.ring.len() > MAX_SCANNED {
            self.put_indexed(at);
        }
    }

    /// Doubles, but never beyond the window; one id has room for one.
    fn make_room(&mut self) {
        if self.ring.len() == self.ring.capacity() {
            let room = self.last.saturating_sub(self.ring.len());
            self.ring.reserve_exact(self.ring.len().clamp(1, room.max(1)));
        }
    }

    /// The index names this place of the ring for the id that is there now.
    fn put_indexed(&mut self, at: usize) {
        let Self { ring, index, .. } = self;
        let fingerprint_at = |at: u32| ring.get(position(at)).map(|known| known.fingerprint);
        let (Some(known), Ok(at)) = (ring.get(at), u32::try_from(at)) else { return };
        let wanted = Some(known.fingerprint);
        let hash_at = |&at: &u32| fingerprint_at(at).map_or(0, |of| hash(&of));
        let hash = hash(&known.fingerprint);
        let index = index.get_or_insert_default();
        index.entry(hash, |&other| fingerprint_at(other) == wanted, hash_at).insert(at);
    }

    /// The index forgets the id at this place of the ring, unless it came again later.
    fn forget_indexed(&mut self, at: usize) {
        let (Some(known), Ok(at)) = (self.ring.get(at), u32::try_from(at)) else { return };
        let Some(index) = &mut self.index else { return };
        if let Ok(entry) = index.find_entry(hash(&known.fingerprint), |&other| other == at) {
            entry.remove();
        }
    }

    fn has(&self, at: u32, fingerprint: &[u32; 3]) -> bool {
        self.ring.get(position(at)).is_some_and(|known| known.fingerprint == *fingerprint)
    }

    /// From the oldest to the newest.
    fn in_order(&self) -> impl DoubleEndedIterator<Item = &Known> {
        let (before, from) = self.ring.split_at_checked(self.oldest).unwrap_or((&[], &self.ring));
        from.iter().chain(before)
    }

    fn place(&self, known: &Known) -> Seq {
        let back = low(self.newest.0).wrapping_sub(known.place);
        Seq(self.newest.0.saturating_sub(u64::from(back)))
    }

    fn fingerprint(&self, id: &MessageId) -> [u32; 3] {
        let word = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.seed ^ salt);
            hasher.write(id.as_str().as_bytes());
            hasher.finish()
        };
        let (first, second) = (word(0), word(u64::MAX));
        [low(first), low(first >> 32), low(second)]
    }
}

/// A fingerprint is a hash already.
fn hash(&[first, second, _]: &[u32; 3]) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}

fn position(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// The lower half.
const fn low(n: u64) -> u32 {
    n as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> MessageId {
        MessageId::new(&format!("m{n}")).expect("a valid id")
    }

    #[test]
    fn only_the_last_ids_are_remembered() {
        let mut window = DedupWindow::new(2, 7);
        for n in 1..=3 {
            window.insert(&id(n), Seq(u64::from(n)));
        }
        assert_eq!([1, 2, 3].map(|n| window.find(&id(n))), [None, Some(Seq(2)), Some(Seq(3))]);
        window.resize(1);
        assert_eq!([2, 3].map(|n| window.find(&id(n))), [None, Some(Seq(3))]);
    }

    #[test]
    fn an_id_accepted_again_counts_from_its_newest_place() {
        let mut window = DedupWindow::new(2, 7);
        window.insert(&id(1), Seq(1));
        window.insert(&id(1), Seq(2));
        window.insert(&id(2), Seq(3));
        assert_eq!(window.find(&id(1)), Some(Seq(2)));
    }

    #[test]
    fn a_window_of_any_length_agrees_with_a_plain_list() {
        let mut random = fastrand::Rng::with_seed(11);
        for last in [1, 2, 15, 16, 17, 18, 40, 300] {
            let mut window = DedupWindow::new(last, 7);
            let mut list: Vec<(u32, Seq)> = Vec::new();
            // Across the edge of the lower half; some places are skipped, some ids come again.
            let mut seq = Seq(u64::from(u32::MAX) - 500);
            for round in 0..2_000_u32 {
                seq = Seq(seq.0 + random.u64(1..3));
                let n = random.u32(0..last * 3);
                window.insert(&id(n), seq);
                list.push((n, seq));
                let probe = random.u32(0..last * 3);
                let mut newest = list.iter().rev().take(last as usize);
                let known = newest.find(|(n, _)| *n == probe);
                assert_eq!(window.find(&id(probe)), known.map(|&(_, seq)| seq), "{last} {round}");
            }
            assert_eq!(window.ring.capacity(), last as usize, "no more than the window");
            window.resize(last / 2 + 1);
            for &(n, _) in &list {
                let mut kept = list.iter().rev().take(last as usize / 2 + 1);
                let newest = kept.find(|(known, _)| *known == n);
                assert_eq!(window.find(&id(n)), newest.map(|&(_, seq)| seq));
            }
        }
    }

    #[test]
    fn an_off_window_remembers_nothing() {
        let mut window = DedupWindow::new(0, 7);
        window.insert(&id(1), Seq(1));
        assert_eq!(window.find(&id(1)), None);
    }
}
