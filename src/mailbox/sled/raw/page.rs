//! What messages say of a page: leaves with keys and values, and single changes of them.

use super::message::{Kind, RawMessage, take, varint};

/// What a message does to its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mailbox::sled) enum Update<'a> {
    /// All of it, anew.
    Page(Page<'a>),
    /// A key, without the page's prefix, gets a value.
    Set(&'a [u8], &'a [u8]),
    /// A key, without the page's prefix, is removed.
    Del(&'a [u8]),
    /// The page is given up.
    Free,
    /// Nothing that has keys or values of ours.
    Other,
}

/// A page of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mailbox::sled) struct Page<'a> {
    /// What each key of it begins with.
    pub(in crate::mailbox::sled) prefix: &'a [u8],
    /// Its keys are from here on.
    pub(in crate::mailbox::sled) low: &'a [u8],
    /// They are before this; empty: there is no page after it.
    pub(in crate::mailbox::sled) high: &'a [u8],
    /// Its keys are those of the tree, not of further pages.
    pub(in crate::mailbox::sled) is_leaf: bool,
    /// A leaf's keys, without the prefix, and values; empty for an inner page.
    pub(in crate::mailbox::sled) entries: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Update<'a> {
    /// Reads a body; `None` if it isn't one, which a right checksum rules out.
    pub(in crate::mailbox::sled) fn decode(message: &RawMessage<'a>) -> Option<Self> {
        match message.kind {
            Kind::Node => Page::decode(message.body).map(Self::Page),
            Kind::Link => link(message.body),
            Kind::Free => Some(Self::Free),
            Kind::Canceled
            | Kind::Cap
            | Kind::BatchManifest
            | Kind::Counter
            | Kind::Meta
            | Kind::Blob => Some(Self::Other),
        }
    }
}

fn link(mut body: &[u8]) -> Option<Update<'_>> {
    let rest = &mut body;
    let update = match take(rest, 1)?[0] {
        0 => Update::Set(string(rest)?, string(rest)?),
        1 => Update::Del(string(rest)?),
        2..=4 => return Some(Update::Other),
        _ => return None,
    };
    rest.is_empty().then_some(update)
}

impl<'a> Page<'a> {
    fn decode(mut body: &'a [u8]) -> Option<Self> {
        let rest = &mut body;
        let _next = varint(rest)?;
        let _merging_child = varint(rest)?;
        let _merging = take(rest, 1)?;
        let prefix_len = usize::from(take(rest, 1)?[0]);
        let low = string(rest)?;
        let high = string(rest)?;
        let prefix = low.get(..prefix_len)?;
        let is_leaf = match take(rest, 1)?[0] {
            0 => true,
            1 => false,
            _ => return None,
        };
        if !is_leaf {
            return Some(Self { prefix, low, high, is_leaf, entries: Vec::new() });
        }
        let count = usize::try_from(varint(rest)?).ok()?;
        // Each key has a length of at least one byte.
        if count > rest.len() {
            return None;
        }
        let keys = (0..count).map(|_| string(rest)).collect::<Option<Vec<_>>>()?;
        let entries = keys.into_iter().map(|key| Some((key, string(rest)?)));
        let entries = entries.collect::<Option<Vec<_>>>()?;
        rest.is_empty().then_some(Self { prefix, low, high, is_leaf, entries })
    }
}

fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(varint(bytes)?).ok()?;
    take(bytes, len)
}
