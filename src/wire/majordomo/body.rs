//! Bodies: the frames of a request or a reply as one payload, and back.
//!
//! One frame is the payload as it is. Others are [`SEVERAL`], then each frame's length (4 bytes, big-endian) and bytes.
//! A frame that happens to look like that is put so too, so that every body comes back as it was.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// How a payload of several frames begins.
const SEVERAL: &[u8] = b"\0MDP frames\0";
/// The length before each frame.
const LENGTH_BYTES: usize = 4;

/// Frames as one payload.
pub(super) fn join(mut frames: Vec<Bytes>) -> Bytes {
    if let [only] = frames.as_mut_slice()
        && !only.starts_with(SEVERAL)
    {
        return std::mem::take(only);
    }
    let bytes = frames.iter().map(|frame| frame.len().saturating_add(LENGTH_BYTES));
    let bytes = bytes.fold(SEVERAL.len(), usize::saturating_add);
    let mut payload = BytesMut::with_capacity(bytes);
    payload.put_slice(SEVERAL);
    for frame in frames {
        // A wire message is shorter than that.
        payload.put_u32(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        payload.put_slice(&frame);
    }
    payload.freeze()
}

/// A payload as frames.
pub(super) fn split(payload: &Bytes) -> Vec<Bytes> {
    several(payload).unwrap_or_else(|| vec![payload.clone()])
}

/// The frames of one that holds several, and nothing else.
fn several(payload: &Bytes) -> Option<Vec<Bytes>> {
    payload.strip_prefix(SEVERAL)?;
    let mut rest = payload.slice(SEVERAL.len()..);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let len = rest.try_get_u32().ok().and_then(|len| usize::try_from(len).ok())?;
        if len > rest.len() {
            return None;
        }
        frames.push(rest.split_to(len));
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(of: &[&[u8]]) -> Vec<Bytes> {
        of.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()
    }

    #[test]
    fn one_frame_is_the_payload_itself() {
        assert_eq!(join(frames(&[b"{\"n\": 1}"])), "{\"n\": 1}");
        assert_eq!(split(&Bytes::new()), frames(&[b""]));
    }

    #[test]
    fn what_only_begins_like_several_frames_is_one() {
        for payload in [&b"\0MDP frames\0abc"[..], b"\0MDP frames\0\xff\xff\xff\xff"] {
            assert_eq!(split(&Bytes::copy_from_slice(payload)), frames(&[payload]));
        }
    }

    proptest! {
        #[test]
        fn every_body_comes_back(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)) {
            let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
            let payload = join(frames.clone());
            prop_assert_eq!(split(&payload), frames);
            let nested = join(vec![payload.clone()]);
            prop_assert_eq!(split(&nested), vec![payload]);
        }
    }
}
