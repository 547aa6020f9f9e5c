//! Records of processes that carry bytes: a line of JSON, then the bytes as they are.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The record. `line` must be plain data.
pub(super) fn write(line: &impl Serialize, bytes: &[u8]) -> Bytes {
    // Compact JSON has no line's end of its own.
    let line = serde_json::to_vec(line).expect("plain data has JSON");
    let mut record =
        BytesMut::with_capacity(line.len().saturating_add(bytes.len()).saturating_add(1));
    record.put_slice(&line);
    record.put_u8(b'\n');
    record.put_slice(bytes);
    record.freeze()
}

/// What [`write`] was given; `None` if it is something else.
pub(super) fn read<T: DeserializeOwned>(record: &Bytes) -> Option<(T, Bytes)> {
    let end = record.iter().position(|&byte| byte == b'\n')?;
    let line = serde_json::from_slice(record.get(..end)?).ok()?;
    Some((line, record.slice(end.saturating_add(1)..)))
}
