//! What stands in the local store for a payload: the payload itself, or where it is in its stream.
//!
//! ```text
//! a payload         as it is
//! one that begins   MAGIC 0 payload
//! with MAGIC
//! in the stream     MAGIC 1 entry's id (ms, number: 8 + 8 bytes) length (8 bytes), little-endian
//! ```
//! So what other mailboxes store is read as it is, whatever queue it is of and whenever it was written.

use bytes::Bytes;

use crate::model::StreamId;

/// Sixteen bytes that no payload begins with by chance.
const MAGIC: [u8; 16] = *b"\xe9\x1fmub\x00ref\x9d\x02\xc4\x7b\xd8\x36\xa1";
const ESCAPED: u8 = 0;
const REFERENCE: u8 = 1;

/// Length of a reference in bytes.
pub(super) const REFERENCE_BYTES: usize = MAGIC.len() + 1 + 3 * 8;

/// A payload as it is stored locally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stub {
    /// Here.
    Here(Bytes),
    /// In the queue's stream.
    There(Reference),
}

/// Where a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) id: StreamId,
    /// The payload's length in bytes.
    pub(super) len: u64,
}

impl Reference {
    /// How much larger the payload is than what stands for it, in bytes.
    pub(super) fn beyond(self) -> i64 {
        let len = i64::try_from(self.len).unwrap_or(i64::MAX);
        len.saturating_sub(REFERENCE_BYTES as i64)
    }
}

/// Must a payload be changed to be stored here?
pub(super) fn needs_escape(payload: &[u8]) -> bool {
    payload.starts_with(&MAGIC)
}

impl Stub {
    /// What is stored.
    pub(super) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Here(payload) if needs_escape(payload) => {
                [&MAGIC[..], &[ESCAPED], payload].concat().into()
            }
            Self::Here(payload) => payload.clone(),
            Self::There(Reference { id, len }) => {
                let mut bytes = Vec::with_capacity(REFERENCE_BYTES);
                bytes.extend_from_slice(&MAGIC);
                bytes.push(REFERENCE);
                for number in [id.ms, id.number, *len] {
                    bytes.extend_from_slice(&number.to_le_bytes());
                }
                bytes.into()
            }
        }
    }

    /// What was stored. Bytes that nobody has written so are taken for a payload.
    pub(super) fn from_bytes(stored: &Bytes) -> Self {
        let here = || Self::Here(stored.clone());
        let Some((&tag, rest)) = stored.strip_prefix(&MAGIC).and_then(<[u8]>::split_first) else {
            return here();
        };
        match tag {
            ESCAPED => Self::Here(stored.slice_ref(rest)),
            REFERENCE => {
                let (numbers, []) = rest.as_chunks::<8>() else { return here() };
                let &[ms, number, len] = numbers else { return here() };
                let [ms, number, len] = [ms, number, len].map(u64::from_le_bytes);
                Self::There(Reference { id: StreamId { ms, number }, len })
            }
            _ => here(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_and_references_read_back() {
        let id = StreamId { ms: u64::MAX, number: 3 };
        let reference = Stub::There(Reference { id, len: 12 });
        assert_eq!(reference.to_bytes().len(), REFERENCE_BYTES);
        let hostile = Stub::Here(reference.to_bytes());
        let twice = Stub::Here(hostile.to_bytes());
        let prefix = Stub::Here(Bytes::from_static(&MAGIC));
        let plain = Stub::Here(Bytes::from_static(b"{}"));
        for stub in [reference, hostile, twice, prefix, plain.clone()] {
            assert_eq!(Stub::from_bytes(&stub.to_bytes()), stub);
        }
        assert_eq!(plain.to_bytes(), "{}");
    }

    #[test]
    fn what_nobody_has_written_is_a_payload() {
        for tail in [&[][..], &[1], &[1, 2, 3], &[7; 25]] {
            let bytes = Bytes::from([&MAGIC, tail].concat());
            assert_eq!(Stub::from_bytes(&bytes), Stub::Here(bytes));
        }
    }
}
