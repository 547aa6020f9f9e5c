//! A token's secret, and the hash that is kept of it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

use super::curve_key::CurvePublic;
use super::grants::Grants;

/// By which scanners of repositories and logs know one.
const PREFIX: &str = "mub_";
/// Random bytes of a secret: 256 bits, so that nobody guesses one and a plain hash is enough.
const RANDOM_BYTES: usize = 32;
/// What is read as a token at most, in bytes: one has 47.
pub const MAX_TOKEN_BYTES: usize = 128;
/// Before a hash in the configuration: how it was made.
const HASH_FORM: &str = "sha256:";
/// A name in bytes: a column of a table, and the journal's actor.
const MAX_NAME_BYTES: usize = 64;

/// What its holder shows. Never logged, and shown by nothing but [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one, of the system's randomness.
    pub fn new() -> Result<Self, NoToken> {
        let mut random = [0; RANDOM_BYTES];
        SystemRandom::new().fill(&mut random).map_err(|_| NoToken::NoRandomness)?;
        Ok(Self(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random))))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What may be kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl FromStr for Secret {
    type Err = NoToken;

    /// Its form only; white space around it is left out. The error doesn't repeat it.
    fn from_str(text: &str) -> Result<Self, NoToken> {
        let text = text.trim();
        let random = text.strip_prefix(PREFIX).filter(|_| text.len() <= MAX_TOKEN_BYTES);
        let random = random.and_then(|random| BASE64_URL_SAFE_NO_PAD.decode(random).ok());
        match random {
            Some(random) if random.len() == RANDOM_BYTES => Ok(Self(text.to_owned())),
            Some(_) | None => Err(NoToken::Form),
        }
    }
}

/// Without the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// The system gives none.
    #[error("the system gives no randomness")]
    NoRandomness,
    /// Not what `mubroker token new` printed.
    #[error("this is no token; one begins with {PREFIX} and is printed by `mubroker token new`")]
    Form,
}

/// SHA-256 of a secret: with 256 random bits in it nothing is gained by a slow hash.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub(super) fn of(secret: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
        Self(hash)
    }
}

/// In constant time: how long it takes says nothing of where two differ.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH_FORM)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Not the hash: it is of no use to who reads a log.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl FromStr for TokenHash {
    type Err = String;

    /// The error doesn't repeat the text: it may be the secret itself.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(PREFIX) {
            return Err(
                "this is the token itself, which must not be kept here: make a new one by \
                        `mubroker token new`, and write the hash that it prints"
                    .to_owned(),
            );
        }
        let digits = text.strip_prefix(HASH_FORM).filter(|digits| {
            digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        });
        let digits = digits.ok_or_else(|| {
            format!("this is no hash; give {HASH_FORM} and 64 digits, as `mubroker token new` does")
        })?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
            *byte = u8::from_str_radix(pair, 16).expect("hexadecimal digits");
        }
        Ok(Self(hash))
    }
}

/// A configured token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Who shows it: the journal's actor.
    pub name: String,
    /// What is kept of its secret.
    pub hash: TokenHash,
    /// The holder's key for CURVE, which proves as much.
    pub curve_key: Option<CurvePublic>,
    /// What it is for.
    pub grants: Grants,
}

/// The name, if it may be one. The error says why not.
pub fn token_name(text: &str) -> Result<String, String> {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(is_plain) {
        return Err(format!(
            "{text:?} is no name of a token; give 1 to {MAX_NAME_BYTES} letters, digits, '.', '_', '-', '@'"
        ));
    }
    match text {
        "broker" => {
            Err("a token can't be called broker: the journal calls the broker so".to_owned())
        }
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_256_bits_is_new_each_time_and_is_never_shown_by_debug() {
        let (one, other) = (Secret::new().expect("randomness"), Secret::new().expect("randomness"));
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 4 + 43);
        assert_eq!(one.reveal().parse(), Ok(one.clone()));
        assert!(!format!("{one:?} {:?}", one.hash()).contains(&one.reveal()[4..]));
        for bad in ["", "mub_", "mub_abc", &one.reveal()[1..], &format!("{}x", one.reveal())] {
            assert_eq!(bad.parse::<Secret>(), Err(NoToken::Form), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_reads_back_and_the_token_in_its_place_is_refused_without_repeating_it() {
        // printf abc | sha256sum
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(known.parse(), Ok(TokenHash::of("abc")));
        assert_eq!(TokenHash::of("abc").to_string(), known);
        let secret = Secret::new().expect("randomness");
        assert_eq!(secret.hash().to_string().parse(), Ok(secret.hash()));
        let error = secret.reveal().parse::<TokenHash>().expect_err("no hash");
        assert!(error.contains("token itself") && !error.contains(secret.reveal()), "{error}");
        assert!("sha256:+1".parse::<TokenHash>().is_err());
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(token_name("anna@night-shift.eu"), Ok("anna@night-shift.eu".to_owned()));
        for bad in ["", "a b", "broker", "\u{1b}[2J", &"x".repeat(65)] {
            assert!(token_name(bad).is_err(), "{bad:?}");
        }
    }
}
