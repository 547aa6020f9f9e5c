#![doc = include_str!("FORMAT.md")]

use super::codec::{Corrupt, Decoded, be};
use crate::model::{ProcessId, ProcessKey, ProcessKind, QueueId, QueueName, Seq, TopicName};

/// The newest format known.
pub(super) const FORMAT: u32 = 4;

/// The longest value of any key. sled stores a page that is larger than a quarter of its segments (8 MiB) in a
/// file of its own in `blobs/`, which a flush doesn't make durable (storage.md). A page has at most 17 keys
/// before it is split, and up to 20 just after two were merged: 20 x 98 KiB stays below 2 MiB, whatever keys
/// end up on one page.
pub(super) const MAX_VALUE_BYTES: usize = 98 * 1024;

/// Messages go into a segment until it is this large: what else is in the value (directory, changes) and a
/// header of the longest kind fit beside it.
pub(super) const MAX_SEGMENT_BYTES: usize = 88 * 1024;

/// Changes longer than this get values of their own.
pub(super) const MAX_INLINE_CHANGES_BYTES: usize = 6 * 1024;

/// Payload or changes in one part, or one chunk of a record or revision.
pub(super) const PART_BYTES: usize = 96 * 1024;

/// sled's segment size.
pub(super) const SLED_SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// A log value's slot.
pub(super) const VALUE_SLOT: u8 = 1;
/// The slots beside it.
pub(super) const FILLER_SLOTS: [u8; 2] = [0, 2];

/// Places in one chunk of finished bits: 512 bytes.
pub(super) const CHUNK_PLACES: u64 = 4096;

pub(super) const RUN: &[u8] = b"g";
pub(super) const CHANGES: &[u8] = b"w";
pub(super) const NEXT_PLACE: &[u8] = b"h";

pub(super) fn log_key(id: u64, slot: u8) -> [u8; 9] {
    let mut key = [slot; 9];
    key[..8].copy_from_slice(&id.to_be_bytes());
    key
}

fn key(letter: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![letter];
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

pub(super) fn floor_key(queue: QueueId) -> Vec<u8> {
    key(b'f', &[&queue.0.to_be_bytes()])
}

pub(super) fn finished_key(queue: QueueId, chunk: u64) -> Vec<u8> {
    key(b'e', &[&queue.0.to_be_bytes(), &chunk.to_be_bytes()])
}

pub(super) fn ids_key(segment: u64) -> Vec<u8> {
    key(b'i', &[&segment.to_be_bytes()])
}

pub(super) fn journal_key(number: u64) -> Vec<u8> {
    key(b'j', &[&number.to_be_bytes()])
}

pub(super) fn repair_key(number: u64) -> Vec<u8> {
    key(b'p', &[&number.to_be_bytes()])
}

pub(super) fn queue_key(queue: QueueId) -> Vec<u8> {
    key(b'q', &[&queue.0.to_be_bytes()])
}

pub(super) fn removed_key(chunk: u32) -> Vec<u8> {
    key(b'd', &[&chunk.to_be_bytes()])
}

pub(super) fn note_key(queue: QueueId) -> Vec<u8> {
    key(b'n', &[&queue.0.to_be_bytes()])
}

/// Without the chunk: the prefix of all of them.
pub(super) fn record_key(queue: QueueId, seq: Seq) -> Vec<u8> {
    key(b'r', &[&queue.0.to_be_bytes(), &seq.0.to_be_bytes()])
}

/// Without the chunk: the prefix of all of them.
pub(super) fn revision_key(queue: QueueId, seq: Seq, revision: u32) -> Vec<u8> {
    key(b'v', &[&queue.0.to_be_bytes(), &seq.0.to_be_bytes(), &revision.to_be_bytes()])
}

pub(super) fn chunk_key(prefix: &[u8], chunk: u16) -> Vec<u8> {
    [prefix, &chunk.to_be_bytes()].concat()
}

pub(super) fn directory_key(segment: u64) -> Vec<u8> {
    key(b's', &[&segment.to_be_bytes()])
}

/// The topic's length first: no topic's are among another's.
pub(super) fn subscription_key(topic: &TopicName, queue: &QueueName) -> Vec<u8> {
    let topic = topic.as_str().as_bytes();
    let len = u8::try_from(topic.len()).expect("a topic's name is at most 120 bytes long");
    key(b't', &[&[len], topic, queue.as_str().as_bytes()])
}

/// Without the chunk: the prefix of all of a part. The id's length first: no process' parts are among another's.
pub(super) fn process_key(process: &ProcessKey, part: u16) -> Vec<u8> {
    let kind = match process.kind {
        ProcessKind::Gather => b'g',
        ProcessKind::Reply => b'r',
        ProcessKind::Saga => b's',
    };
    let id = process.id.as_str().as_bytes();
    let len = u16::try_from(id.len()).expect("a process' id is at most 512 bytes long");
    key(b'o', &[&[kind], &len.to_be_bytes(), id, &part.to_be_bytes()])
}

/// The process, part and chunk of a key.
pub(super) fn process_of(key: &[u8]) -> Decoded<(ProcessKey, u16, u16)> {
    let read = || {
        let kind = match key.get(1)? {
            b'g' => ProcessKind::Gather,
            b'r' => ProcessKind::Reply,
            b's' => ProcessKind::Saga,
            _ => return None,
        };
        let len = u16::from_be_bytes(be(key, 2).ok()?);
        let (id, rest) = key.get(4..)?.split_at_checked(usize::from(len))?;
        let id = ProcessId::new(std::str::from_utf8(id).ok()?).ok()?;
        let [part @ .., c, d] = rest else { return None };
        let part = u16::from_be_bytes(part.try_into().ok()?);
        Some((ProcessKey { kind, id }, part, u16::from_be_bytes([*c, *d])))
    };
    read().ok_or_else(|| Corrupt(format!("key {} names no process", super::codec::hex(key))))
}

/// The name's length first: no name's entries are among another's.
pub(super) fn journal_index_key(queue: &QueueName, number: u64) -> Vec<u8> {
    let mut key = journal_index_prefix(queue);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn journal_index_prefix(queue: &QueueName) -> Vec<u8> {
    let name = queue.as_str().as_bytes();
    let len = u8::try_from(name.len()).expect("a queue's name is at most 128 bytes long");
    key(b'x', &[&[len], name])
}
