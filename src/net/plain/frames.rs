//! Frames out of bytes, and bytes out of frames.

use bytes::{Bytes, BytesMut};

use crate::net::guard::{LONG, MORE};

/// What is reserved for a frame before its bytes have come: the rest is taken as they come.
const MAX_RESERVED: usize = 64 * 1024;

/// Puts messages together from bytes that the guard's scanner has let through: it has checked every header, and passes
/// headers whole.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    message: Vec<Bytes>,
    /// The frame under way: its body so far, how much is still to come, whether others follow.
    frame: Option<(BytesMut, u64, bool)>,
}

impl Assembler {
    /// The next message that ends in `input`, which is taken up to there; `None` once all of it is taken.
    pub(super) fn next_message(&mut self, input: &mut &[u8]) -> Option<Vec<Bytes>> {
        loop {
            let (body, left, more) = match &mut self.frame {
                Some(frame) => frame,
                none => none.insert(begin(input)?),
            };
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
            let (now, later) = input.split_at(here);
            body.extend_from_slice(now);
            *input = later;
            *left -= here as u64;
            if *left > 0 {
                return None;
            }
            let more = *more;
            if let Some((body, ..)) = self.frame.take() {
                self.message.push(body.freeze());
            }
            if !more {
                return Some(std::mem::take(&mut self.message));
            }
        }
    }
}

fn begin(input: &mut &[u8]) -> Option<(BytesMut, u64, bool)> {
    let (&flags, rest) = input.split_first()?;
    let (len, rest) = if flags & LONG == 0 {
        let (&len, rest) = rest.split_first()?;
        (u64::from(len), rest)
    } else {
        let (len, rest) = rest.split_first_chunk()?;
        (u64::from_be_bytes(*len), rest)
    };
    *input = rest;
    let reserved = usize::try_from(len).unwrap_or(usize::MAX).min(MAX_RESERVED);
    Some((BytesMut::with_capacity(reserved), len, flags & MORE != 0))
}

/// A message as it goes over the wire; one that is for many is encoded once.
pub(in crate::net) fn encode(frames: &[Bytes]) -> Bytes {
    let len = frames.iter().map(|frame| frame.len() + 9).sum();
    let mut out = BytesMut::with_capacity(len);
    for (at, frame) in frames.iter().enumerate() {
        let more = if at + 1 < frames.len() { MORE } else { 0 };
        match u8::try_from(frame.len()) {
            Ok(len) => out.extend_from_slice(&[more, len]),
            Err(_) => {
                out.extend_from_slice(&[more | LONG]);
                out.extend_from_slice(&(frame.len() as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(frame);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_comes_back_however_bodies_are_cut(
            messages in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..4), 1..5),
            cut in 1..700_usize,
        ) {
            let messages: Vec<Vec<Bytes>> =
                messages.into_iter().map(|it| it.into_iter().map(Bytes::from).collect()).collect();
            let mut found = Vec::new();
            let mut assembler = Assembler::default();
            for message in &messages {
                let wire = encode(message);
                // The scanner passes headers whole: only cuts within a body are met.
                let mut rest = &wire[..];
                while !rest.is_empty() {
                    let header = if rest[0] & LONG == 0 { 2 } else { 9 };
                    let body = if header == 2 {
                        usize::from(rest[1])
                    } else {
                        u64::from_be_bytes(rest[1..9].try_into().unwrap()) as usize
                    };
                    let (frame, later) = rest.split_at(header + body);
                    rest = later;
                    let first = frame.len().min(header + cut);
                    for mut piece in [&frame[..first], &frame[first..]] {
                        while let Some(message) = assembler.next_message(&mut piece) {
                            found.push(message);
                        }
                        prop_assert!(piece.is_empty());
                    }
                }
            }
            prop_assert_eq!(found, messages);
        }
    }
}
