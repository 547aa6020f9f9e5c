//! Numbers in LEB128: seven bits a byte, the lowest first.

/// Why bytes are no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoNumber {
    CutOff,
    TooLong,
}

/// Appends `n`.
pub(super) fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// The number at the beginning of `bytes`, which are those after it then.
pub(super) fn take_number(bytes: &mut &[u8]) -> Result<u64, NoNumber> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(NoNumber::CutOff)?;
        *bytes = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(NoNumber::TooLong)
}
