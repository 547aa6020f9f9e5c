//! Numbers, strings and checksums as bytes.

pub(super) use crate::mailbox::leb128::put_number;
use crate::mailbox::leb128::{NoNumber, take_number};

/// Bytes that are not what was written; says where and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Corrupt(pub(super) String);

pub(super) type Decoded<T> = Result<T, Corrupt>;

/// Length of a checksum in bytes.
pub(super) const CHECKSUM_BYTES: usize = 4;

/// Appends how `now` differs from `before`, which becomes it. A small difference is a small number, whatever its
/// sign (ZigZag).
pub(super) fn put_difference(out: &mut Vec<u8>, before: &mut u64, now: u64) {
    let step = now.wrapping_sub(*before) as i64;
    put_number(out, ((step << 1) ^ (step >> 63)) as u64);
    *before = now;
}

/// Appends length and bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the CRC-32 of `key` and all that is in `out`. With the key in it, a value that ended up under
/// another key is found too.
pub(super) fn seal(key: &[u8], out: &mut Vec<u8>) {
    let sum = checksum(key, out);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// The bytes before the checksum, if it is right.
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Decoded<&'a [u8]> {
    let Some((body, sum)) = value.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(Corrupt(format!("value {} is cut off", hex(key))));
    };
    if checksum(key, body) != u32::from_le_bytes(*sum) {
        return Err(Corrupt(format!("value {} has a wrong checksum", hex(key))));
    }
    Ok(body)
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

/// A key as people can find it again.
pub(super) fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what the functions above wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn byte(&mut self) -> Decoded<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Decoded<u64> {
        take_number(&mut self.rest).map_err(|error| match error {
            NoNumber::CutOff => cut_off(),
            NoNumber::TooLong => Corrupt("a number has more than 64 bits".to_owned()),
        })
    }

    /// What [`put_difference`] wrote.
    pub(super) fn difference(&mut self, before: &mut u64) -> Decoded<u64> {
        let step = self.number()?;
        *before = before.wrapping_add(((step >> 1) as i64 ^ -((step & 1) as i64)) as u64);
        Ok(*before)
    }

    pub(super) fn size(&mut self) -> Decoded<usize> {
        usize::try_from(self.number()?).map_err(|_| Corrupt("a length is too large".to_owned()))
    }

    pub(super) fn number32(&mut self) -> Decoded<u32> {
        u32::try_from(self.number()?)
            .map_err(|_| Corrupt("a number has more than 32 bits".to_owned()))
    }

    pub(super) fn take(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let len = self.size()?;
        self.take(len)
    }
}

fn cut_off() -> Corrupt {
    Corrupt("a value is cut off".to_owned())
}

/// A big-endian number out of a key.
pub(super) fn be<const N: usize>(key: &[u8], at: usize) -> Decoded<[u8; N]> {
    key.get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Corrupt(format!("key {} is too short", hex(key))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_read_back() {
        let mut out = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        numbers.iter().for_each(|&n| put_number(&mut out, n));
        put_bytes(&mut out, b"abc");
        let mut reader = Reader::new(&out);
        for n in numbers {
            assert_eq!(reader.number(), Ok(n));
        }
        assert_eq!(reader.bytes(), Ok(&b"abc"[..]));
        assert!(reader.is_empty());
        assert!(reader.byte().is_err());
    }

    #[test]
    fn a_changed_bit_or_another_key_is_found() {
        let mut value = b"what was written".to_vec();
        seal(b"k", &mut value);
        assert_eq!(unseal(b"k", &value), Ok(&b"what was written"[..]));
        assert!(unseal(b"l", &value).is_err());
        for at in 0..value.len() {
            let mut bad = value.clone();
            bad[at] ^= 0x10;
            assert!(unseal(b"k", &bad).is_err(), "byte {at}");
        }
        assert!(unseal(b"k", &value[..3]).is_err());
    }
}
