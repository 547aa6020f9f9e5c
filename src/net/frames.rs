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
        Self::encode(&[MORE, 0], frames)
    }

    fn encode(before: &[u8], frames: &[Bytes]) -> Self {
        let parted = frames.last().filter(|last| last.len() >= PARTED_BYTES);
        let bodies: usize = frames.iter().map(Bytes::len).sum();
        let bodies = bodies - parted.map_or(0, Bytes::len);
        let mut out =
            BytesMut::with_capacity(before.len() + frames.len() * MAX_HEADER_BYTES + bodies);
        out.extend_from_slice(before);
        for (at, frame) in frames.iter().enumerate() {
            let is_last = at + 1 == frames.len();
            let more = if is_last { 0 } else { MORE };
            put_header(&mut out, more, frame.len());
            if !is_last || parted.is_none() {
                out.extend_from_slice(frame);
            }
        }
        match parted {
            None => Self::Whole(out.freeze()),
            Some(body) => Self::Parted(Box::new([out.freeze(), body.clone()])),
        }
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

    proptest! {
        #[test]
        fn what_is_encoded_comes_back_however_bodies_are_cut(
            messages in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..4), 1..5),
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
