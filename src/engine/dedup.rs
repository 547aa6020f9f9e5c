//! The de-duplication window: which ids a queue accepted last.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use crate::model::{MessageId, Seq};

/// 128 bits of an id. Keyed by the engine's seed, so a producer can't look for two ids with the same
/// one; by chance two ids of a full window of 10,000 share one with a probability below 10^-30. Keeping
/// these instead of the ids makes the window cost about 60 bytes an id, however long the ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint([u64; 2]);

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, _] = self.0;
        state.write_u64(first);
    }
}

/// A fingerprint is a hash already.
#[derive(Debug, Default)]
struct FirstWord(u64);

impl Hasher for FirstWord {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The last `last` accepted ids of one queue and their places.
#[derive(Debug)]
pub(super) struct DedupWindow {
    last: usize,
    seed: u64,
    order: VecDeque<(Fingerprint, Seq)>,
    places: HashMap<Fingerprint, Seq, BuildHasherDefault<FirstWord>>,
}

impl DedupWindow {
    /// An empty window of `last` ids; 0: every message is new.
    pub(super) fn new(last: u32, seed: u64) -> Self {
        Self {
            last: usize::try_from(last).unwrap_or(usize::MAX),
            seed,
            order: VecDeque::new(),
            places: HashMap::default(),
        }
    }

    /// The newest place of `id`, if it is in the window.
    pub(super) fn find(&self, id: &MessageId) -> Option<Seq> {
        if self.places.is_empty() {
            return None;
        }
        self.places.get(&self.fingerprint(id)).copied()
    }

    /// Remembers an accepted message; the oldest is forgotten beyond the window.
    pub(super) fn insert(&mut self, id: &MessageId, seq: Seq) {
        if self.last == 0 {
            return;
        }
        let fingerprint = self.fingerprint(id);
        self.order.push_back((fingerprint, seq));
        self.places.insert(fingerprint, seq);
        self.forget_beyond();
    }

    /// The window's settings changed.
    pub(super) fn resize(&mut self, last: u32) {
        self.last = usize::try_from(last).unwrap_or(usize::MAX);
        self.forget_beyond();
        self.order.shrink_to_fit();
        self.places.shrink_to_fit();
    }

    fn forget_beyond(&mut self) {
        while self.order.len() > self.last {
            let Some((fingerprint, seq)) = self.order.pop_front() else { return };
            if self.places.get(&fingerprint) == Some(&seq) {
                self.places.remove(&fingerprint);
            }
        }
    }

    fn fingerprint(&self, id: &MessageId) -> Fingerprint {
        let word = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.seed ^ salt);
            hasher.write(id.as_str().as_bytes());
            hasher.finish()
        };
        Fingerprint([word(0), word(u64::MAX)])
    }
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
    fn an_off_window_remembers_nothing() {
        let mut window = DedupWindow::new(0, 7);
        window.insert(&id(1), Seq(1));
        assert_eq!(window.find(&id(1)), None);
    }
}
