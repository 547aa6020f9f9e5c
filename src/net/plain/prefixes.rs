//! What one subscriber wants: ZeroMQ's prefixes, each as often as it was asked for.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::net::guard::Refusal;

/// Different prefixes of one subscriber: a few are usual, and each message is compared with each length of them.
const MAX_PREFIXES: usize = 1024;
/// A prefix in bytes: longer than any topic.
const MAX_PREFIX_BYTES: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Prefixes {
    wanted: HashMap<Bytes, u32>,
    /// How many of which length.
    lengths: BTreeMap<usize, usize>,
}

impl Prefixes {
    pub(super) fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Refusal> {
        if let Some(times) = self.wanted.get_mut(prefix) {
            *times = times.saturating_add(1);
            return Ok(());
        }
        if self.wanted.len() >= MAX_PREFIXES || prefix.len() > MAX_PREFIX_BYTES {
            return Err(Refusal::Subscriptions);
        }
        self.wanted.insert(Bytes::copy_from_slice(prefix), 1);
        *self.lengths.entry(prefix.len()).or_default() += 1;
        Ok(())
    }

    /// One that was never subscribed changes nothing.
    pub(super) fn cancel(&mut self, prefix: &[u8]) {
        let Some(times) = self.wanted.get_mut(prefix) else { return };
        *times -= 1;
        if *times > 0 {
            return;
        }
        self.wanted.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// Whether a message that begins so is wanted.
    pub(super) fn want(&self, first: &[u8]) -> bool {
        let lengths = self.lengths.range(..=first.len());
        lengths.into_iter().any(|(&len, _)| self.wanted.contains_key(&first[..len]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_wanted_by_any_prefix_until_the_last_of_it_is_cancelled() {
        let mut prefixes = Prefixes::default();
        assert!(!prefixes.want(b"order.created"));
        for prefix in [&b"order."[..], b"order.", b"bill"] {
            prefixes.subscribe(prefix).unwrap();
        }
        assert!(prefixes.want(b"order.created") && prefixes.want(b"order."));
        assert!(!prefixes.want(b"order") && !prefixes.want(b""));
        prefixes.cancel(b"order.");
        assert!(prefixes.want(b"order.x"), "it was asked for twice");
        prefixes.cancel(b"order.");
        prefixes.cancel(b"order.");
        assert!(!prefixes.want(b"order.x") && prefixes.want(b"billing"));
        prefixes.subscribe(b"").unwrap();
        assert!(prefixes.want(b""), "an empty prefix is everything");
    }

    #[test]
    fn subscriptions_are_bounded() {
        let mut prefixes = Prefixes::default();
        assert_eq!(prefixes.subscribe(&[0; MAX_PREFIX_BYTES + 1]), Err(Refusal::Subscriptions));
        for n in 0..MAX_PREFIXES as u32 {
            prefixes.subscribe(&n.to_be_bytes()).unwrap();
        }
        assert_eq!(prefixes.subscribe(b"one more"), Err(Refusal::Subscriptions));
        prefixes.cancel(&7u32.to_be_bytes());
        prefixes.subscribe(b"one more").unwrap();
    }
}
