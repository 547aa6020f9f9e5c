//! A set of places in RAM that grows with its gaps, not with its places.

use std::collections::BTreeMap;

use crate::model::Seq;

/// Places as ranges. A queue whose messages end out of order has one range more for each message that stays
/// behind, however many ended around it.
#[derive(Debug)]
pub(super) struct Places {
    /// First place → the place after the last one; ranges neither touch nor overlap.
    ranges: BTreeMap<Seq, Seq>,
    count: u64,
}

impl Places {
    pub(super) const EMPTY: Self = Self { ranges: BTreeMap::new(), count: 0 };

    /// How many places.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// How many ranges: what they cost.
    pub(super) fn ranges(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.range_with(seq).is_some()
    }

    /// The first place from `seq` on that is not in the set.
    pub(super) fn first_absent(&self, seq: Seq) -> Seq {
        self.range_with(seq).map_or(seq, |(_, end)| end)
    }

    /// How many places from `from` on.
    pub(super) fn count_from(&self, from: Seq) -> u64 {
        let within = self.range_with(from).map_or(0, |(_, end)| end.0.saturating_sub(from.0));
        let after =
            self.ranges.range(from.next()..).map(|(first, end)| end.0.saturating_sub(first.0));
        after.fold(within, u64::saturating_add)
    }

    /// Puts a place in that is not there.
    pub(super) fn insert(&mut self, seq: Seq) {
        if self.contains(seq) {
            return;
        }
        self.count = self.count.saturating_add(1);
        let end = self.ranges.remove(&seq.next()).unwrap_or(seq.next());
        match self.ranges.range_mut(..seq).next_back() {
            Some((_, before)) if *before == seq => *before = end,
            Some(_) | None => {
                self.ranges.insert(seq, end);
            }
        }
    }

    /// Takes the range that begins at `seq` out; the place after it, if there is one.
    pub(super) fn take_range(&mut self, seq: Seq) -> Option<Seq> {
        let end = self.ranges.remove(&seq)?;
        self.count = self.count.saturating_sub(end.0.saturating_sub(seq.0));
        Some(end)
    }

    fn range_with(&self, seq: Seq) -> Option<(Seq, Seq)> {
        let (&first, &end) = self.ranges.range(..=seq).next_back()?;
        (seq < end).then_some((first, end))
    }
}

impl FromIterator<Seq> for Places {
    fn from_iter<T: IntoIterator<Item = Seq>>(places: T) -> Self {
        let mut set = Self::EMPTY;
        places.into_iter().for_each(|seq| set.insert(seq));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ranges_agree_with_a_plain_set() {
        let mut random = fastrand::Rng::with_seed(5);
        let (mut places, mut plain) = (Places::EMPTY, BTreeSet::new());
        for _ in 0..2_000 {
            let seq = Seq(random.u64(1..300));
            places.insert(seq);
            plain.insert(seq);
            let probe = Seq(random.u64(1..300));
            assert_eq!(places.contains(probe), plain.contains(&probe));
            assert_eq!(places.count_from(probe), plain.range(probe..).count() as u64);
            let absent = (probe.0..).map(Seq).find(|seq| !plain.contains(seq));
            assert_eq!(Some(places.first_absent(probe)), absent);
            if random.u32(0..10) == 0
                && let Some(&first) = plain.first()
            {
                let end = places.take_range(first).expect("a range begins at the first place");
                plain = plain.split_off(&end);
            }
            assert_eq!(places.len(), plain.len() as u64);
        }
        assert!(places.ranges() < 150);
    }
}
