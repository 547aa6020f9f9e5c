//! Segment headers and message headers.

/// sled's `SEG_HEADER_LEN`.
pub(in crate::mailbox::sled) const SEGMENT_HEADER_BYTES: usize = 20;
/// sled's `MAX_MSG_HEADER_LEN`: with less left of a segment, no message begins.
pub(in crate::mailbox::sled) const MAX_HEADER_BYTES: usize = 32;

/// sled's `MessageKind`; those that are stored in blob files are not among what this store writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mailbox::sled) enum Kind {
    Canceled,
    Cap,
    BatchManifest,
    Free,
    Counter,
    Meta,
    Node,
    Link,
    Blob,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Canceled,
            2 => Self::Cap,
            3 => Self::BatchManifest,
            4 => Self::Free,
            5 => Self::Counter,
            6 => Self::Meta,
            8 => Self::Node,
            10 => Self::Link,
            7 | 9 | 11 => Self::Blob,
            _ => return None,
        })
    }

    /// It is a page of sled's, or a change of one; sled keeps it until the page is written anew.
    pub(in crate::mailbox::sled) fn is_of_page(self) -> bool {
        self.is_whole_page() || self == Self::Link
    }

    /// It is all of a page: what was written of it before is out of date.
    pub(in crate::mailbox::sled) fn is_whole_page(self) -> bool {
        matches!(self, Self::Free | Self::Counter | Self::Meta | Self::Node)
    }
}

/// A segment's header whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mailbox::sled) struct SegmentHeader {
    pub(in crate::mailbox::sled) lsn: u64,
    /// What sled held for written when the segment was begun.
    pub(in crate::mailbox::sled) stable_lsn: u64,
}

impl SegmentHeader {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEADER_BYTES] = bytes.first_chunk()?;
        let (sum, rest) = bytes.split_first_chunk::<4>()?;
        if !u32::from_le_bytes(*sum) != crc32fast::hash(rest) {
            return None;
        }
        let number = |at: usize| {
            let bytes: [u8; 8] = rest[at..at + 8].try_into().expect("eight bytes");
            i64::from_le_bytes(bytes) ^ i64::MAX
        };
        // Before anything is written sled holds -1 for stable.
        let lsn = u64::try_from(number(0)).ok()?;
        Some(Self { lsn, stable_lsn: u64::try_from(number(8)).unwrap_or(0) })
    }
}

/// A message as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mailbox::sled) struct RawMessage<'a> {
    pub(in crate::mailbox::sled) kind: Kind,
    /// Its lsn divided by the segments' size.
    pub(in crate::mailbox::sled) number: u64,
    pub(in crate::mailbox::sled) page: u64,
    pub(in crate::mailbox::sled) body: &'a [u8],
    /// Of header and body.
    pub(in crate::mailbox::sled) bytes: usize,
    /// The checksum is right.
    pub(in crate::mailbox::sled) is_sound: bool,
}

impl<'a> RawMessage<'a> {
    /// What stands at the start of `bytes`, which end with the segment; `None` if that can't be a message.
    /// The checksum is looked at only when `wanted` says yes to the header.
    pub(super) fn decode(bytes: &'a [u8], wanted: impl FnOnce(&Self) -> bool) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk::<4>()?;
        let mut header = rest;
        let kind = Kind::from_byte(take(&mut header, 1)?[0])?;
        let len = usize::try_from(varint(&mut header)?).ok()?;
        let number = varint(&mut header)?;
        let page = varint(&mut header)?;
        let body = header.get(..len)?;
        let header_bytes = bytes.len() - header.len();
        let bytes_in_all = header_bytes + len;
        let mut message = Self { kind, number, page, body, bytes: bytes_in_all, is_sound: false };
        if wanted(&message) {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(body);
            hasher.update(&bytes[4..header_bytes]);
            message.is_sound = !hasher.finalize() == u32::from_le_bytes(*sum);
        }
        Some(message)
    }
}

pub(super) fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// sled's varint: one byte up to 240, then two, three, and from 250 on as many as the first byte says.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let first = take(bytes, 1)?[0];
    Some(match first {
        0..=240 => u64::from(first),
        241..=248 => 240 + 256 * (u64::from(first) - 241) + u64::from(take(bytes, 1)?[0]),
        249 => {
            let rest = take(bytes, 2)?;
            2288 + 256 * u64::from(rest[0]) + u64::from(rest[1])
        }
        250..=255 => {
            let rest = take(bytes, usize::from(first) - 247)?;
            let mut number = [0; 8];
            number[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(number)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_sled_writes_them() {
        let cases: [(&[u8], u64); 9] = [
            (&[0], 0),
            (&[240], 240),
            (&[241, 1], 241),
            (&[248, 255], 2287),
            (&[249, 0, 0], 2288),
            (&[249, 255, 255], 67823),
            (&[250, 0xf0, 0x08, 0x01], 67824),
            (&[251, 0, 0, 0, 1], 1 << 24),
            (&[255, 1, 2, 3, 4, 5, 6, 7, 8], 0x0807_0605_0403_0201),
        ];
        for (bytes, number) in cases {
            assert_eq!(varint(&mut &*bytes), Some(number), "{bytes:?}");
            assert_eq!(varint(&mut &bytes[..bytes.len() - 1]), None, "cut off: {bytes:?}");
        }
    }
}
