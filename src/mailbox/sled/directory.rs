//! What `state` holds of a segment: its directory, and the ids of its messages.

use super::codec::{Corrupt, Decoded, Reader, put_bytes, put_difference, put_number, seal, unseal};
use crate::model::{MessageId, QueueId, Seq, Timestamp};

/// Added to the parts of a directory whose runs say when their first messages were accepted (format 2).
const WITH_TIMES: u64 = 1 << 32;
/// Added instead where most of a run is told by how it differs from the run before.
const DIFFERENCES: u64 = 1 << 33;

/// Consecutive messages of one queue in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DirectoryRun {
    pub(super) queue: QueueId,
    pub(super) first: Seq,
    pub(super) count: u32,
    /// Header and payload bytes of all its messages; not stored in the segment itself.
    pub(super) bytes: u64,
    /// When the first was accepted; unknown of runs that format 1 wrote.
    pub(super) first_at: Option<Timestamp>,
}

impl DirectoryRun {
    /// The place after its last message.
    pub(super) fn end(&self) -> Seq {
        Seq(self.first.0 + u64::from(self.count))
    }
}

/// What opening needs to know of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Directory {
    pub(super) parts: u32,
    pub(super) runs: Vec<DirectoryRun>,
}

/// What is kept of a message after its segment has gone, while its id is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdEntry {
    pub(super) at: Timestamp,
    pub(super) bytes: u64,
    pub(super) id: MessageId,
}

pub(super) fn encode_ids(key: &[u8], ids: impl IntoIterator<Item = IdEntry>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before = 0;
    for IdEntry { at, bytes, id } in ids {
        put_difference(&mut out, &mut before, at.0);
        put_number(&mut out, bytes);
        put_bytes(&mut out, id.as_str().as_bytes());
    }
    seal(key, &mut out);
    out
}

pub(super) fn decode_ids(key: &[u8], value: &[u8]) -> Decoded<Vec<IdEntry>> {
    let mut reader = Reader::new(unseal(key, value)?);
    let mut ids = Vec::new();
    let mut before = 0;
    while !reader.is_empty() {
        let at = Timestamp(reader.difference(&mut before)?);
        let bytes = reader.number()?;
        let text = std::str::from_utf8(reader.bytes()?)
            .map_err(|_| Corrupt("a stored id is not UTF-8".to_owned()))?;
        let id = MessageId::new(text).map_err(|e| Corrupt(format!("a stored id: {e}")))?;
        ids.push(IdEntry { at, bytes, id });
    }
    Ok(ids)
}

/// Directories of all segments are copied into each new generation, so they are short.
pub(super) fn encode_directory(key: &[u8], directory: &Directory) -> Vec<u8> {
    let mut out = Vec::new();
    let has_times = directory.runs.iter().all(|run| run.first_at.is_some());
    let flag = if has_times { DIFFERENCES } else { 0 };
    put_number(&mut out, u64::from(directory.parts) + flag);
    let mut before = [0; 3];
    for run in &directory.runs {
        match run.first_at.filter(|_| has_times) {
            Some(at) => {
                let [queue, bytes, first_at] = &mut before;
                put_difference(&mut out, queue, u64::from(run.queue.0));
                put_number(&mut out, run.first.0);
                put_number(&mut out, u64::from(run.count));
                put_difference(&mut out, bytes, run.bytes);
                put_difference(&mut out, first_at, at.0);
            }
            None => {
                put_number(&mut out, u64::from(run.queue.0));
                put_number(&mut out, run.first.0);
                put_number(&mut out, u64::from(run.count));
                put_number(&mut out, run.bytes);
            }
        }
    }
    seal(key, &mut out);
    out
}

pub(super) fn decode_directory(key: &[u8], value: &[u8]) -> Decoded<Directory> {
    let mut reader = Reader::new(unseal(key, value)?);
    let first = reader.number()?;
    let (has_times, has_differences) = (first & WITH_TIMES != 0, first & DIFFERENCES != 0);
    let parts = u32::try_from(first & !(WITH_TIMES | DIFFERENCES))
        .map_err(|_| Corrupt("a directory has too many parts".to_owned()))?;
    let mut directory = Directory { parts, runs: Vec::new() };
    let mut before = [0; 3];
    while !reader.is_empty() {
        directory.runs.push(match has_differences {
            true => run_after(&mut reader, &mut before)?,
            false => DirectoryRun {
                queue: QueueId(reader.number32()?),
                first: Seq(reader.number()?),
                count: reader.number32()?,
                bytes: reader.number()?,
                first_at: has_times.then(|| reader.number().map(Timestamp)).transpose()?,
            },
        });
    }
    Ok(directory)
}

/// The next run; `before` is queue, bytes and time of the one before it.
fn run_after(reader: &mut Reader<'_>, before: &mut [u64; 3]) -> Decoded<DirectoryRun> {
    let [queue, bytes, first_at] = before;
    let queue = u32::try_from(reader.difference(queue)?)
        .map_err(|_| Corrupt("a queue's number has more than 32 bits".to_owned()))?;
    Ok(DirectoryRun {
        queue: QueueId(queue),
        first: Seq(reader.number()?),
        count: reader.number32()?,
        bytes: reader.difference(bytes)?,
        first_at: Some(Timestamp(reader.difference(first_at)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"s12345678";

    fn run(queue: u32, first: u64, bytes: u64, at: u64) -> DirectoryRun {
        let (queue, first) = (QueueId(queue), Seq(first));
        DirectoryRun { queue, first, count: 3, bytes, first_at: Some(Timestamp(at)) }
    }

    #[test]
    fn directories_read_back_whatever_their_numbers_are() {
        let runs = vec![
            run(7, 1, 90, 1_763_700_000_000),
            run(u32::MAX, u64::MAX / 2, u64::MAX, 0),
            run(0, 1, 0, u64::MAX),
        ];
        let directory = Directory { parts: u32::MAX, runs };
        let value = encode_directory(KEY, &directory);
        assert_eq!(decode_directory(KEY, &value), Ok(directory.clone()));
        let mut without_times = directory;
        without_times.runs.iter_mut().for_each(|run| run.first_at = None);
        let value = encode_directory(KEY, &without_times);
        assert_eq!(decode_directory(KEY, &value), Ok(without_times));
    }

    #[test]
    fn a_directory_without_differences_is_read() {
        let runs = vec![run(3, 1, 90, 1_000), run(4, 9, 80, 1_001)];
        let mut value = Vec::new();
        put_number(&mut value, 5 + WITH_TIMES);
        for DirectoryRun { queue, first, count, bytes, first_at } in &runs {
            let at = first_at.map_or(0, |at| at.0);
            let numbers = [u64::from(queue.0), first.0, u64::from(*count), *bytes, at];
            numbers.iter().for_each(|&n| put_number(&mut value, n));
        }
        seal(KEY, &mut value);
        assert_eq!(decode_directory(KEY, &value), Ok(Directory { parts: 5, runs }));
    }

    #[test]
    fn a_message_each_of_many_queues_takes_few_bytes_of_a_directory() {
        let runs = (1..=80).map(|queue| run(queue, 2_000, 1_060, 1_763_700_000_000)).collect();
        let value = encode_directory(KEY, &Directory { parts: 0, runs });
        assert!(value.len() <= 80 * 6 + 20, "{} bytes", value.len());
    }
}
