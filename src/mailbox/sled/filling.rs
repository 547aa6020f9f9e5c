//! What is copied into a new generation, gathered before sled gets it.
//!
//! sled writes a page anew after ten changes, and when it splits it, with the page above it. Copied one after the other,
//! directories took four times their bytes, and ten times when they are short. So keys are gathered and put in in
//! another order: those of long values without them first, so that the pages that are split are short ones and each
//! value is then one change of its page; of the others some come later, and fill the pages that are there.

use std::collections::BTreeMap;

use ::sled::IVec;

/// Gathered until the values have so many bytes, or there are so many keys: about a millisecond's writing. The more, the
/// fewer pages at the end of what is put in are split once more.
const MAX_BYTES: usize = 128 * 1024;
const MAX_KEYS: usize = 512;

/// A value of so many bytes or more comes after its key: shorter ones take less in a page that is written anew than as
/// changes of their own.
const LONG_BYTES: usize = 128;

/// sled splits a page when it has 17 keys, and leaves 9 in the first half, of which no more come in order. So 9 of 16
/// come first, and 7 later.
const PAGE_KEYS: usize = 16;

fn comes_first(at: usize) -> bool {
    at.is_multiple_of(2) || at % PAGE_KEYS == PAGE_KEYS - 1
}

/// Keys of `state` on their way into a generation that nobody reads yet.
#[derive(Debug, Default)]
pub(super) struct Filling {
    /// `None`: it is to be removed.
    keys: BTreeMap<Vec<u8>, Option<IVec>>,
    bytes: usize,
}

impl Filling {
    /// Takes a key in, in place of what was gathered of it before.
    pub(super) fn add(&mut self, key: &[u8], value: Option<IVec>) {
        self.bytes += value.as_ref().map_or(0, |value| value.len());
        self.keys.insert(key.to_vec(), value);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.keys.len() >= MAX_KEYS
    }

    /// What is to be written, in this order; nothing is gathered after it.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Vec<u8>, Option<IVec>)> {
        let Self { keys, .. } = std::mem::take(self);
        let (mut first, mut later, mut long) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (key, value)) in keys.into_iter().enumerate() {
            if value.as_ref().is_some_and(|value| value.len() >= LONG_BYTES) {
                first.push((key.clone(), Some(IVec::default())));
                long.push((key, value));
            } else if comes_first(at) {
                first.push((key, value));
            } else {
                later.push((key, value));
            }
        }
        first.into_iter().chain(later).chain(long)
    }
}
