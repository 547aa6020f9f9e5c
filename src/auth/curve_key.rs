//! Keys of CURVE: 32 bytes, written in Z85 (ZeroMQ RFC 32), as ZeroMQ's tools do.

use std::fmt;
use std::str::FromStr;

use crypto_box::{PublicKey, SecretKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
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
pub enum NoKey {
    /// It is no text of a key.
    #[error("this is no key; give {Z85_BYTES} characters of Z85, as `mubroker curve keygen` does")]
    Form,
    /// What is agreed with it is the same for every secret, so that anybody could say that it is his.
    #[error(
        "this is no public key but a point of low order, which proves nothing of who shows it; make a pair by `mubroker \
         curve keygen`"
    )]
    LowOrder,
}

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
    /// Whether every secret agrees with it on the same.
    fn is_of_low_order(&self) -> bool {
        let Ok(secret) = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()) else {
            return false;
        };
        // ring refuses what comes to zeroes (RFC 7748, 6.1); the length is right.
        agree_ephemeral(secret, &UnparsedPublicKey::new(&X25519, self.0), |_| ()).is_err()
    }

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
        let key = Self(decode(text)?);
        if key.is_of_low_order() { Err(NoKey::LowOrder) } else { Ok(key) }
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
        return Err(NoKey::Form);
    }
    let mut bytes = [0; 32];
    for (digits, part) in text.as_bytes().chunks(5).zip(bytes.as_chunks_mut::<4>().0) {
        let mut number: u32 = 0;
        for digit in digits {
            let value = DIGITS.iter().position(|known| known == digit).ok_or(NoKey::Form)?;
            let value = u32::try_from(value).expect("below 85");
            let more = number.checked_mul(85).and_then(|number| number.checked_add(value));
            number = more.ok_or(NoKey::Form)?;
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

    #[test]
    fn points_of_low_order_are_no_public_keys() {
        let bytes = |hex: &str| -> [u8; 32] {
            std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
        };
        // Those that there are below 2^255 (https://cr.yp.to/ecdh.html, "How do I validate Curve25519 public keys?").
        for hex in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            let text = CurvePublic(bytes(hex)).to_string();
            assert_eq!(text.parse::<CurvePublic>(), Err(NoKey::LowOrder), "{hex}");
        }
    }
}
