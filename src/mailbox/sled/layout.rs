//! The byte layout, format version 1.
//!
//! # Folder
//! ```text
//! LOCK      the pid of the process that has the store; locked while it has it
//! format    "mubroker store format 1\n"
//! sled/     sled 0.34's own folder; `blobs/` in it stays empty
//! ```
//!
//! # Two trees
//! `log` holds what is accepted and one commit's changes; `state` holds what is known of it. sled has one
//! log for both, and after a crash holds a prefix of the order in which keys were written. So a commit is
//! written in this order, each step one insert:
//!
//! 1. its *log values* under rising ids, the last of them marked as final. With the final one in the log,
//!    the commit is there; without it, opening drops the others;
//! 2. its *changes* to `state`. The final value (or, when a commit appends no messages, the value under
//!    `w`) holds all of them too, so opening does them again for the newest commit. Those of all earlier
//!    commits are complete, since they came before in the order.
//!
//! sled's own batches and transactions are not used: they exclude every other use of every tree of the
//! process, a running flush too.
//!
//! # `log`: key = id (8 bytes, big-endian) + slot (1 byte)
//! Slots 0 and 2 are fillers, slot 1 is the value; empty until used. Keys are put in ahead of their use, so
//! that a large value replaces an empty one and never makes sled split and rewrite a page of large values.
//! Every value ends with the CRC-32 of key and value (4 bytes, little-endian). Numbers are LEB128.
//! ```text
//! segment: 1, commit, first id of the commit, final (0|1), parts,
//!          runs, then for each: queue, first sequence, count
//!          then for each message of each run: accepted at (ms), header length, payload length, header, payload
//!          changes' length, changes          (final only)
//! part:    2, id of its segment, bytes
//! ```
//! A message larger than [`MAX_SEGMENT_BYTES`] has a segment of its own; its payload is in the `parts` ids
//! after it. Changes that don't fit are in the parts of a segment without runs.
//!
//! # `state`: key = one letter + what it is of; numbers in keys are big-endian
//! | key | value |
//! |---|---|
//! | `f` queue(4) | floor, next sequence: all places below are used or set aside |
//! | `e` queue(4) chunk(8) | bits of finished places from chunk x 4096 on, trailing zero bytes left out |
//! | `g` | generation |
//! | `i` id(8) | ids of a segment: for each message accepted at (difference), size in bytes, id |
//! | `j` number(8) | journal entry (JSON) |
//! | `n` queue(4) | what a layer above keeps of the queue |
//! | `p` number(8) | repair outcome (JSON) |
//! | `q` queue(4) | queue record (JSON) |
//! | `r` queue(4) seq(8) chunk(2) | message record (JSON), in chunks |
//! | `s` id(8) | directory of a segment: parts, then runs: queue, first sequence, count, bytes |
//! | `v` queue(4) seq(8) revision(4) chunk(2) | revision: record (JSON), header, payload, in chunks |
//! | `w` | commit, changes: the newest commit that appended no messages |
//! | `x` name's length(1) queue's name number(8) | empty: index of journal entries by queue |
//!
//! A queue's runs may have gaps: places that waited in RAM. A gap's places are not here; they may be filled in
//! later, at or after the floor. The next sequence is the highest of `f`'s and those after the runs.
//!
//! Every value but `x` ends with the same checksum. Opening reads `s`, never payloads.
//!
//! # Upgrading
//! A newer format is refused ([`super::super::MailboxError::TooNew`]). A later version that changes the layout
//! raises [`FORMAT`], opens format 1 by this description, writes what is new into a second folder beside it,
//! syncs, and swaps the folders; `format` is written last.

use crate::model::{QueueId, QueueName, Seq};

/// The newest format known.
pub(super) const FORMAT: u32 = 1;

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

pub(super) const GENERATION: &[u8] = b"g";
pub(super) const CHANGES: &[u8] = b"w";

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
