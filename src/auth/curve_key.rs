//! Keys of CURVE: 32 bytes, written in Z85 (ZeroMQ RFC 32), as ZeroMQ's tools do.

use std::fmt;
use std::str::FromStr;

use crypto_box::{PublicKey, SecretKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::token::NoToken;

/// A key in Z85.
const Z85_BYTES: usize = 40;
const DIGITS: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// What others may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurvePublic(pub [u8; 32]);

/// What only its holder knows. Shown by nothing but [`CurveSecret::reveal`].
#[derive(Clone)]
pub struct CurveSecret(SecretKey);

/// Not what `mubroker curve keygen` printed. Says nothing of what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no key; give {Z85_BYTES} characters of Z85, as `mubroker curve keygen` does")]
pub struct NoKey;

impl CurveSecret {
    /// A new one, of the system's randomness.
    pub fn new() -> Result<Self, NoToken> {
        let mut random = [0; 32];
        SystemRandom::new().fill(&mut random).map_err(|_| NoToken::NoRandomness)?;
        Ok(Self(SecretKey::from(random)))
    }

    /// The half that others may know.
    pub fn public(&self) -> CurvePublic {
        CurvePublic(self.0.public_key().to_bytes())
    }

    /// For a cipher.
    pub fn key(&self) -> &SecretKey {
        &self.0
    }

    /// As text.
    pub fn reveal(&self) -> String {
        encode(&self.0.to_bytes())
    }
}

/// Without the key.
impl fmt::Debug for CurveSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurveSecret(…)")
    }
}

impl PartialEq for CurveSecret {
    fn eq(&self, other: &Self) -> bool {
        // In constant time.
        self.0 == other.0
    }
}

impl Eq for CurveSecret {}

impl FromStr for CurveSecret {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        decode(text.trim()).map(|bytes| Self(SecretKey::from(bytes)))
    }
}

impl CurvePublic {
    /// For a cipher.
    pub fn key(&self) -> PublicKey {
        PublicKey::from(self.0)
    }
}

impl fmt::Display for CurvePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl FromStr for CurvePublic {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        decode(text).map(Self)
    }
}

fn encode(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(Z85_BYTES);
    for part in bytes.as_chunks::<4>().0 {
        let number = u32::from_be_bytes(*part);
        for power in [52_200_625, 614_125, 7_225, 85, 1] {
            text.push(char::from(DIGITS[(number / power % 85) as usize]));
        }
    }
    text
}

fn decode(text: &str) -> Result<[u8; 32], NoKey> {
    if text.len() != Z85_BYTES {
        return Err(NoKey);
    }
    let mut bytes = [0; 32];
    for (digits, part) in text.as_bytes().chunks(5).zip(bytes.as_chunks_mut::<4>().0) {
        let mut number: u32 = 0;
        for digit in digits {
            let value = DIGITS.iter().position(|known| known == digit).ok_or(NoKey)?;
            let value = u32::try_from(value).expect("below 85");
            let more = number.checked_mul(85).and_then(|number| number.checked_add(value));
            number = more.ok_or(NoKey)?;
        }
        *part = number.to_be_bytes();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_rfc_32_and_26_do() {
        // The test vector of RFC 26, "Test vectors", is one of zmq_curve(7)'s examples.
        let public = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
        let secret = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";
        let read: CurveSecret = secret.parse().expect("a key");
        assert_eq!(read.public().to_string(), public);
        assert_eq!(read.reveal(), secret);
        assert_eq!(public.parse::<CurvePublic>().expect("a key"), read.public());
        assert!(!format!("{read:?}").contains(secret));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "0".repeat(41);
        for bad in ["", "0", &long, &"~".repeat(40), &"#".repeat(40)] {
            assert!(bad.parse::<CurveSecret>().is_err(), "{bad}");
        }
    }
}
