//! Frames out of bytes, and bytes out of frames.

use bytes::{BufMut, Bytes, BytesMut};

use super::guard::{LONG, MORE};

/// A frame's header: its flags, its own length, and its body's. `None`: there is more to come.
#[inline]
pub(super) fn header(bytes: &[u8]) -> Option<(u8, usize, u64)> {
    let (&flags, rest) = bytes.split_first()?;
    if flags & LONG == 0 {
        return rest.first().map(|&body| (flags, 2, u64::from(body)));
    }
    rest.first_chunk().map(|body| (flags, MAX_HEADER_BYTES, u64::from_be_bytes(*body)))
}

/// Begins a frame with so many bytes.
#[inline]
pub(super) fn put_header(out: &mut impl BufMut, flags: u8, body: usize) {
    match u8::try_from(body) {
        Ok(body) => out.put_slice(&[flags, body]),
        Err(_) => {
            out.put_u8(flags | LONG);
            out.put_u64(body as u64);
        }
    }
}

/// How many bytes [`put_header`] puts.
const fn header_bytes(body: usize) -> usize {
    if body <= u8::MAX as usize { 2 } else { MAX_HEADER_BYTES }
}

/// An empty frame before others.
const DELIMITER: &[u8] = &[MORE, 0];

/// What is reserved for a frame before its bytes have come: the rest is taken as they come.
const MAX_RESERVED: usize = 64 * 1024;
/// A frame's header at most: flags and a length of eight bytes.
pub(super) const MAX_HEADER_BYTES: usize = 9;

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
            if self.frame.is_none()
                && let Some(word) = take_word(input)
            {
                self.message.push(word);
                continue;
            }
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

impl Assembler {
    /// Whether the message that is under way, or begins with `input`, has an empty first frame.
    pub(super) fn is_delimited(&self, input: &[u8]) -> bool {
        match (self.message.first(), &self.frame) {
            (Some(first), _) => first.is_empty(),
            (None, Some(_)) => false,
            (None, None) => input.starts_with(&[MORE, 0]),
        }
    }
}

/// Frames that nearly each message has, before others: they need no memory of their own.
const WORDS: [&[u8]; 6] = [b"MUB1", b"ACK", b"SEND", b"CALL", b"PUBLISH", b""];

/// Takes a whole frame out of `input` that is one of [`WORDS`] and not a message's last.
fn take_word(input: &mut &[u8]) -> Option<Bytes> {
    let (&[flags, len], rest) = input.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(usize::from(len)).filter(|_| flags == MORE)?;
    let word = WORDS.iter().find(|word| **word == body)?;
    *input = rest;
    Some(Bytes::from_static(word))
}

fn begin(input: &mut &[u8]) -> Option<(BytesMut, u64, bool)> {
    let (flags, head, len) = header(input)?;
    *input = &input[head..];
    let reserved = usize::try_from(len).unwrap_or(usize::MAX).min(MAX_RESERVED);
    Some((BytesMut::with_capacity(reserved), len, flags & MORE != 0))
}

/// A last frame of this many bytes and more is sent from where it is; copying less costs less than a write of its own.
const PARTED_BYTES: usize = 16 * 1024;

/// A message as it goes over the wire; one that is for many is encoded once.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    /// All of it.
    Whole(Bytes),
    /// What comes before a large last frame's body, and that body, which is shared with whoever else has it.
    Parted(Box<[Bytes; 2]>),
}

impl Wire {
    /// Of these frames.
    pub(super) fn of(frames: &[Bytes]) -> Self {
        Self::encode(&[], frames)
    }

    /// With an empty frame before them.
    pub(super) fn delimited(frames: &[Bytes]) -> Self {
        Self::encode(DELIMITER, frames)
    }

    fn encode(before: &[u8], frames: &[Bytes]) -> Self {
        let Some((last, others)) = frames.split_last() else {
            return Self::Whole(Bytes::copy_from_slice(before));
        };
        Self::gather(before, others.iter().map(|frame| [&frame[..], &[]]), last)
    }

    /// Of frames that come in two parts each, and a last one.
    pub(super) fn of_parts(delimited: bool, others: &[[&[u8]; 2]], last: &Bytes) -> Self {
        let before = if delimited { DELIMITER } else { &[] };
        Self::gather(before, others.iter().copied(), last)
    }

    fn gather<'a>(
        before: &[u8],
        others: impl Iterator<Item = [&'a [u8]; 2]> + Clone,
        last: &Bytes,
    ) -> Self {
        let is_parted = last.len() >= PARTED_BYTES;
        let len = |[first, second]: [&[u8]; 2]| first.len() + second.len();
        let whole = |body: usize| header_bytes(body) + body;
        let bytes = before.len()
            + others.clone().map(|frame| whole(len(frame))).sum::<usize>()
            + if is_parted { header_bytes(last.len()) } else { whole(last.len()) };
        // Exactly as long as it becomes: `freeze` takes the memory over as it is then.
        let mut out = Vec::with_capacity(bytes);
        out.extend_from_slice(before);
        for frame in others {
            put_header(&mut out, MORE, len(frame));
            frame.iter().for_each(|part| out.extend_from_slice(part));
        }
        put_header(&mut out, 0, last.len());
        if is_parted {
            return Self::Parted(Box::new([out.into(), last.clone()]));
        }
        out.extend_from_slice(last);
        Self::Whole(out.into())
    }

    /// Its bytes, in order.
    pub(super) fn parts(&self) -> &[Bytes] {
        match self {
            Self::Whole(bytes) => std::slice::from_ref(bytes),
            Self::Parted(parts) => &parts[..],
        }
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any bytes, and often one of the words, or its beginning.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let word = (prop::sample::select(&WORDS[..]), any::<bool>());
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..600),
            word.prop_map(|(word, is_whole)| match is_whole {
                true => word.to_vec(),
                false => word[..word.len() / 2].to_vec(),
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back_however_bodies_are_cut(
            messages in prop::collection::vec(prop::collection::vec(body(), 1..4), 1..5),
            large in prop::option::of(PARTED_BYTES..PARTED_BYTES + 600),
            cut in 1..700_usize,
        ) {
            let mut messages: Vec<Vec<Bytes>> =
                messages.into_iter().map(|it| it.into_iter().map(Bytes::from).collect()).collect();
            messages[0].extend(large.map(|len| Bytes::from(vec![7; len])));
            let mut found = Vec::new();
            let mut assembler = Assembler::default();
            for message in &messages {
                let wire = Wire::of(message);
                prop_assert_eq!(Wire::delimited(message).len(), 2 + wire.len());
                let wire = wire.parts().concat();
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
