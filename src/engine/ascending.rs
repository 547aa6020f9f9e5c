//! A small set in order.

use std::collections::VecDeque;

/// Values in ascending order: mostly added at the end and taken at the front, where either is a step. Elsewhere those on
/// the nearer side move up, so it is for thousands, not for millions.
#[derive(Debug)]
pub(super) struct Ascending<T>(VecDeque<T>);

impl<T> Default for Ascending<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Ord> Ascending<T> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.0.front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    pub(super) fn contains(&self, value: &T) -> bool {
        self.0.binary_search(value).is_ok()
    }

    /// Adds a value; whether it was missing.
    pub(super) fn insert(&mut self, value: T) -> bool {
        if self.0.back().is_none_or(|last| *last < value) {
            self.0.push_back(value);
            return true;
        }
        let place = self.0.binary_search(&value);
        if let Err(at) = place {
            self.0.insert(at, value);
        }
        place.is_err()
    }

    /// Takes a value out; whether it was there.
    pub(super) fn remove(&mut self, value: &T) -> bool {
        if self.0.front().is_some_and(|first| first == value) {
            self.0.pop_front();
            return true;
        }
        let place = self.0.binary_search(value);
        if let Ok(at) = place {
            self.0.remove(at);
        }
        place.is_ok()
    }
}

impl<T> IntoIterator for Ascending<T> {
    type Item = T;
    type IntoIter = std::collections::vec_deque::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_an_ordered_set_whatever_comes_and_goes() {
        let mut rng = fastrand::Rng::with_seed(7);
        let (mut set, mut model) = (Ascending::default(), BTreeSet::new());
        for step in 0..10_000_u32 {
            let value = rng.u32(0..64);
            match rng.u8(0..3) {
                0 => assert_eq!(set.insert(value), model.insert(value), "step {step}"),
                1 => assert_eq!(set.remove(&value), model.remove(&value), "step {step}"),
                _ => assert_eq!(set.contains(&value), model.contains(&value), "step {step}"),
            }
            assert_eq!(set.first(), model.first(), "step {step}");
            assert!(set.iter().eq(&model), "step {step}");
        }
        assert!(set.into_iter().eq(model));
    }
}
