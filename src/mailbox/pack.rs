//! Maps to which keys are added in order, one by one.

use std::collections::BTreeMap;

/// With fewer keys more than the last time it isn't worth it.
const LEAST_NEW: usize = 4 * 1024;

/// Fills the nodes of a map anew: they are half empty where keys came in order, one by one.
#[derive(Debug, Default)]
pub(super) struct Packing {
    /// Keys that were there when the nodes were full.
    packed: usize,
}

impl Packing {
    /// For a map of so many keys that was made at once.
    pub(super) fn of(keys: usize) -> Self {
        Self { packed: keys }
    }

    /// Does it if there are many more keys than the last time: over all, each is moved some nine times.
    pub(super) fn pack<K: Ord, V>(&mut self, map: &mut BTreeMap<K, V>) {
        self.packed = self.packed.min(map.len());
        if map.len() > self.packed + self.packed / 8 + LEAST_NEW {
            *map = std::mem::take(map).into_iter().collect();
            self.packed = map.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_packed_when_it_has_grown_and_keeps_what_it_has() {
        let mut map: BTreeMap<u32, u32> = BTreeMap::new();
        let mut packing = Packing::default();
        for key in 0..50_000 {
            map.insert(key, key + 1);
            packing.pack(&mut map);
            assert!(map.len() - packing.packed <= packing.packed / 8 + LEAST_NEW);
        }
        assert!(map.iter().map(|(key, value)| (*key, *value)).eq((0..50_000).map(|k| (k, k + 1))));
        map.retain(|key, _| *key < 10);
        packing.pack(&mut map);
        assert_eq!((packing.packed, map.len()), (10, 10));
    }
}
