//! Log values: segments of messages, parts, and the changes of a commit.

use std::ops::Range;
use std::sync::Arc;

use ::sled::IVec;
use bytes::Bytes;

use super::codec::{CHECKSUM_BYTES, Corrupt, Decoded, Reader, put_bytes, put_number, seal, unseal};
pub(super) use super::directory::{
    Directory, DirectoryRun, IdEntry, decode_directory, decode_ids, encode_directory, encode_ids,
};
use super::layout::{VALUE_SLOT, log_key};
use crate::model::{Content, Header, QueueId, Seq, Timestamp};

const SEGMENT: u8 = 1;
const PART: u8 = 2;

/// Log values of format 2 begin so, that they can be found in the bytes of a damaged file. None of format 1
/// does: their first byte is 1 or 2.
pub(super) const MAGIC: [u8; 4] = [0xd5, b'm', b'u', b'B'];
/// [`MAGIC`], the length of what follows it (4), and the value's id (8).
pub(super) const PREFIX_BYTES: usize = 16;

/// Among a commit's changes, under no key: the newest commit that was synced when it was written.
const SYNCED: &[u8] = b"";

/// A message on its way into a segment.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) queue: QueueId,
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
    pub(super) content: Arc<Content>,
}

impl Entry {
    /// More than the bytes it needs in a segment, and than its id needs among the ids.
    pub(super) fn bytes(&self) -> usize {
        self.own_bytes() + self.content.payload.len()
    }

    /// The same without the payload: what it needs where that is in the segment's parts.
    pub(super) fn own_bytes(&self) -> usize {
        // Three numbers of a message, and a run of its own: at most 10 bytes each.
        self.content.header.json().len() + 64
    }
}

impl From<&Entry> for IdEntry {
    fn from(entry: &Entry) -> Self {
        let content = &entry.content;
        Self { at: entry.at, bytes: content.size_bytes(), id: content.id().clone() }
    }
}

/// Where a log value stands in its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) commit: u64,
    /// The first id of the commit.
    pub(super) first_id: u64,
    /// The commit is whole with this value.
    pub(super) is_final: bool,
    /// How many values after this id belong to it.
    pub(super) parts: u32,
}

/// One changed key of `state`: its new value, sealed, or `None` when it is removed.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Sorts messages by queue and place, and finds the runs.
pub(super) fn runs_of(entries: &mut [Entry]) -> Vec<DirectoryRun> {
    entries.sort_by_key(|entry| (entry.queue, entry.seq));
    let mut runs: Vec<DirectoryRun> = Vec::new();
    for Entry { queue, seq, at, content } in entries {
        let bytes = content.size_bytes();
        match runs.last_mut() {
            Some(run) if run.queue == *queue && run.end() == *seq => {
                run.count += 1;
                run.bytes += bytes;
            }
            Some(_) | None => {
                let (queue, first, first_at) = (*queue, *seq, Some(*at));
                runs.push(DirectoryRun { queue, first, count: 1, bytes, first_at });
            }
        }
    }
    runs
}

/// A segment's bytes. `entries` are in the order of `runs`. With parts, the payload is not among them: it is
/// the only message's, or one that all of them share. `changes` belong to a final value.
pub(super) fn encode_segment(
    id: u64,
    frame: Frame,
    runs: &[DirectoryRun],
    entries: &[Entry],
    changes: Option<&[u8]>,
) -> Vec<u8> {
    let size = if frame.parts == 0 { Entry::bytes } else { Entry::own_bytes };
    let mut out = begin_value(id, entries.iter().map(size).sum::<usize>() + 64);
    out.push(SEGMENT);
    put_number(&mut out, frame.commit);
    put_number(&mut out, frame.first_id);
    out.push(u8::from(frame.is_final));
    put_number(&mut out, u64::from(frame.parts));
    put_number(&mut out, runs.len() as u64);
    for run in runs {
        put_number(&mut out, u64::from(run.queue.0));
        put_number(&mut out, run.first.0);
        put_number(&mut out, u64::from(run.count));
    }
    for Entry { at, content, .. } in entries {
        put_number(&mut out, at.0);
        put_number(&mut out, content.header.json().len() as u64);
        put_number(&mut out, content.payload.len() as u64);
        out.extend_from_slice(content.header.json());
        if frame.parts == 0 {
            out.extend_from_slice(&content.payload);
        }
    }
    if frame.is_final {
        put_bytes(&mut out, changes.unwrap_or_default());
    }
    end_value(id, out)
}

fn begin_value(id: u64, capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX_BYTES + capacity + CHECKSUM_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&id.to_be_bytes());
    out
}

fn end_value(id: u64, mut out: Vec<u8>) -> Vec<u8> {
    let length = (out.len() - MAGIC.len() - 4 + CHECKSUM_BYTES) as u32;
    out[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&length.to_le_bytes());
    seal(&log_key(id, VALUE_SLOT), &mut out);
    out
}

/// What begins with the kind of a log value, and ends where its checksum begins. The checksum covers the id
/// and the length too, by the key and as bytes.
fn body(id: u64, value: &[u8]) -> Decoded<&[u8]> {
    let body = unseal(&log_key(id, VALUE_SLOT), value)?;
    Ok(if body.starts_with(&MAGIC) { body.get(PREFIX_BYTES..).unwrap_or_default() } else { body })
}

pub(super) fn encode_part(id: u64, segment: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = begin_value(id, bytes.len() + 16);
    out.push(PART);
    put_number(&mut out, segment);
    out.extend_from_slice(bytes);
    end_value(id, out)
}

/// A part's bytes, if it is one of `segment`.
pub(super) fn decode_part(id: u64, segment: u64, value: &[u8]) -> Decoded<&[u8]> {
    let mut reader = Reader::new(body(id, value)?);
    if reader.byte()? != PART || reader.number()? != segment {
        return Err(Corrupt(format!("log value {id} is not a part of segment {segment}")));
    }
    reader.take(reader.left())
}

/// Where a message's bytes are in its segment.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: Timestamp,
    header: u32,
    header_len: u32,
    payload_len: u32,
}

/// A segment as it was read and checked.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: u64,
    pub(super) frame: Frame,
    runs: Vec<DirectoryRun>,
    places: Vec<Place>,
    changes: Range<usize>,
    value: IVec,
}

impl Segment {
    pub(super) fn decode(id: u64, value: IVec) -> Decoded<Self> {
        let body = body(id, &value)?;
        let end = value.len() - CHECKSUM_BYTES;
        let mut reader = Reader::new(body);
        if reader.byte()? != SEGMENT {
            return Err(Corrupt(format!("log value {id} is not a segment")));
        }
        let frame = Frame {
            commit: reader.number()?,
            first_id: reader.number()?,
            is_final: reader.byte()? == 1,
            parts: reader.number32()?,
        };
        let mut runs = Vec::new();
        for _ in 0..reader.number()? {
            let queue = QueueId(reader.number32()?);
            let first = Seq(reader.number()?);
            let count = reader.number32()?;
            runs.push(DirectoryRun { queue, first, count, bytes: 0, first_at: None });
        }
        let mut places = Vec::new();
        for run in &mut runs {
            for _ in 0..run.count {
                let at = Timestamp(reader.number()?);
                run.first_at.get_or_insert(at);
                let header_len = reader.number32()?;
                let payload_len = reader.number32()?;
                let header = (end - reader.left()) as u32;
                reader.take(header_len as usize)?;
                if frame.parts == 0 {
                    reader.take(payload_len as usize)?;
                }
                run.bytes += u64::from(header_len) + u64::from(payload_len);
                places.push(Place { at, header, header_len, payload_len });
            }
        }
        let changes = if frame.is_final { reader.bytes()?.len() } else { 0 };
        let changes = end - changes..end;
        if !reader.is_empty() {
            return Err(Corrupt(format!("segment {id} has bytes after its end")));
        }
        Ok(Self { id, frame, runs, places, changes, value })
    }

    /// The id of a segment's value, found under `key`; `None` if it isn't one. A value of format 2 says it
    /// itself, in case a part of the key is not known.
    pub(super) fn id_of(key: &[u8], value: &[u8]) -> Option<u64> {
        if !Self::is_segment(value) {
            return None;
        }
        let in_value = value.starts_with(&MAGIC).then(|| value.get(PREFIX_BYTES - 8..PREFIX_BYTES));
        let (id, slot) = key.split_first_chunk::<8>().unzip();
        let in_key = id.filter(|_| slot == Some(&[VALUE_SLOT])).map(|id| id.as_slice());
        let id = in_value.flatten().or(in_key)?;
        id.try_into().ok().map(u64::from_be_bytes)
    }

    /// Is this log value a segment, not a part of one?
    pub(super) fn is_segment(value: &[u8]) -> bool {
        let kind = if value.starts_with(&MAGIC) { value.get(PREFIX_BYTES) } else { value.first() };
        kind == Some(&SEGMENT)
    }

    pub(super) fn directory(&self) -> Directory {
        Directory { parts: self.frame.parts, runs: self.runs.clone() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.value.len() + self.places.len() * size_of::<Place>()
    }

    /// Where in the value its changes are.
    pub(super) fn changes_range(&self) -> Range<usize> {
        self.changes.clone()
    }

    pub(super) fn inline_changes(&self) -> &[u8] {
        &self.value[self.changes.clone()]
    }

    fn place(&self, queue: QueueId, seq: Seq) -> Option<&Place> {
        let mut before = 0;
        for run in &self.runs {
            if run.queue == queue && run.first <= seq && seq.0 < run.first.0 + u64::from(run.count)
            {
                return self.places.get(before + (seq.0 - run.first.0) as usize);
            }
            before += run.count as usize;
        }
        None
    }

    /// The header of a message.
    pub(super) fn header(&self, queue: QueueId, seq: Seq) -> Option<Decoded<Header>> {
        let place = self.place(queue, seq)?;
        let end = (place.header + place.header_len) as usize;
        Some(read_header(&self.value[place.header as usize..end]))
    }

    /// Accepted when, and how large, header and payload.
    pub(super) fn info(&self, queue: QueueId, seq: Seq) -> Option<(Timestamp, u64)> {
        let place = self.place(queue, seq)?;
        Some((place.at, u64::from(place.header_len) + u64::from(place.payload_len)))
    }

    /// More than one message, all with the payload that is in its parts.
    pub(super) fn shares_payload(&self) -> bool {
        self.frame.parts > 0 && self.places.len() > 1
    }

    /// The message; `parts` gives the payload of a large or shared one.
    pub(super) fn content<E: From<Corrupt>>(
        &self,
        queue: QueueId,
        seq: Seq,
        parts: impl FnOnce(usize) -> Result<Bytes, E>,
    ) -> Result<Content, E> {
        let place = self.place(queue, seq).ok_or_else(|| {
            Corrupt(format!("segment {} doesn't hold message {seq} of queue {queue}", self.id))
        })?;
        let header_end = (place.header + place.header_len) as usize;
        let header = read_header(&self.value[place.header as usize..header_end])?;
        let len = place.payload_len as usize;
        // Copied: a slice would keep the whole segment in RAM for as long as the message waits there.
        let payload = match self.frame.parts {
            0 => Bytes::copy_from_slice(&self.value[header_end..header_end + len]),
            _ => parts(len)?,
        };
        Ok(Content { header, payload })
    }

    /// What the store keeps of the ids, as [`encode_ids`] writes it.
    pub(super) fn ids(&self) -> Decoded<Vec<IdEntry>> {
        self.places
            .iter()
            .map(|place| {
                let start = place.header as usize;
                let header = read_header(&self.value[start..start + place.header_len as usize])?;
                Ok(IdEntry {
                    at: place.at,
                    bytes: u64::from(place.header_len) + u64::from(place.payload_len),
                    id: header.id().clone(),
                })
            })
            .collect()
    }
}

pub(super) fn read_header(json: &[u8]) -> Decoded<Header> {
    Header::from_json(json).map_err(|e| Corrupt(format!("a stored header is not valid: {e}")))
}

pub(super) fn encode_changes(changes: &[Change], synced: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut number = Vec::new();
    put_number(&mut number, synced);
    put_bytes(&mut out, SYNCED);
    out.push(1);
    put_bytes(&mut out, &number);
    for (key, value) in changes {
        put_bytes(&mut out, key);
        match value {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                put_bytes(&mut out, value);
            }
        }
    }
    out
}

pub(super) fn decode_changes(bytes: &[u8]) -> Decoded<Vec<Change>> {
    let mut reader = Reader::new(bytes);
    let mut changes = Vec::new();
    while !reader.is_empty() {
        let (key, value) = change_at(&mut reader)?;
        if key != SYNCED {
            changes.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        }
    }
    Ok(changes)
}

/// Does a log value, which may be damaged, say that its id is this? In format 1 it doesn't say.
pub(super) fn is_value_of(id: u64, value: &[u8]) -> bool {
    let says = value.get(PREFIX_BYTES - 8..PREFIX_BYTES);
    value.starts_with(&MAGIC) && says == Some(&id.to_be_bytes()[..])
}

/// The newest commit that was synced when the one with these changes was written; 0 if it doesn't say.
pub(super) fn synced_before(changes: &[u8]) -> u64 {
    match change_at(&mut Reader::new(changes)) {
        Ok((SYNCED, Some(number))) => Reader::new(number).number().unwrap_or(0),
        Ok(_) | Err(_) => 0,
    }
}

/// The next of the changes that `reader` stands before.
pub(super) fn change_at<'a>(reader: &mut Reader<'a>) -> Decoded<(&'a [u8], Option<&'a [u8]>)> {
    let key = reader.bytes()?;
    let value = match reader.byte()? {
        0 => None,
        _ => Some(reader.bytes()?),
    };
    Ok((key, value))
}
