//! Boxes of one connection: what is said after its handshake, each under a number of its own.

use crypto_box::aead::{AeadInPlace as _, Tag};
use crypto_box::{PublicKey, SalsaBox, SecretKey};

use crate::net::guard::Refusal;

/// A box is longer than what is in it by so many bytes.
pub(super) const TAG_BYTES: usize = 16;
/// A short number's.
pub(super) const NUMBER_BYTES: usize = 8;

/// A nonce of 16 known bytes and a number.
pub(super) fn numbered(prefix: &[u8; 16], number: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..16].copy_from_slice(prefix);
    nonce[16..].copy_from_slice(&number.to_be_bytes());
    nonce
}

/// A nonce of 8 known bytes and 16 random ones.
pub(super) fn random(prefix: &[u8; 8], random: &[u8; 16]) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(prefix);
    nonce[8..].copy_from_slice(random);
    nonce
}

/// A box between two keys.
pub(super) fn between(public: &PublicKey, secret: &SecretKey) -> SalsaBox {
    SalsaBox::new(public, secret)
}

/// Puts `plain` into a box: its tag, then as many bytes as before.
pub(super) fn seal(key: &SalsaBox, nonce: &[u8; 24], plain: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; TAG_BYTES];
    sealed.extend_from_slice(plain);
    let (tag, text) = sealed.split_at_mut(TAG_BYTES);
    let made = key.encrypt_in_place_detached(nonce.into(), &[], text);
    tag.copy_from_slice(&made.expect("a message is shorter than the cipher allows"));
    sealed
}

/// Opens a box in place: gives what was in it.
pub(super) fn open<'a>(
    key: &SalsaBox,
    nonce: &[u8; 24],
    sealed: &'a mut [u8],
) -> Result<&'a mut [u8], Refusal> {
    let (tag, text) = sealed.split_at_mut_checked(TAG_BYTES).ok_or(Refusal::Encryption)?;
    let tag = Tag::<SalsaBox>::clone_from_slice(tag);
    key.decrypt_in_place_detached(nonce.into(), &[], text, &tag)
        .map_err(|_| Refusal::Encryption)?;
    Ok(text)
}
