//! Records and revisions of messages: whole, or stood in for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::super::codec::{Decoded, Reader, be, put_bytes, put_number, seal, unseal};
use super::super::gather::Place;
use super::super::layout::{chunk_key, record_key};
use super::super::load::from_json;
use super::super::unreadable::CODE;
use super::{Found, Mender, Value};
use crate::model::{MessageRecord, MessageState, QueueId, Seq, WorkError};

impl Mender<'_> {
    /// Records (`r`) or revisions (`v`) of messages that wait, each with all of its chunks.
    pub(super) fn take_messages(&mut self, letter: u8) -> io::Result<()> {
        let mut things: BTreeMap<&[u8], Vec<(&[u8], Place)>> = BTreeMap::new();
        for (key, place) in self.gathered.state_values(letter) {
            let Some((prefix, _)) = key.split_last_chunk::<2>() else { continue };
            things.entry(prefix).or_default().push((key, place));
        }
        let damaged: BTreeSet<Vec<u8>> = self
            .gathered
            .lost()
            .filter(|key| key.first() == Some(&letter))
            .filter_map(|key| Some(key.split_last_chunk::<2>()?.0.to_vec()))
            .collect();
        let prefixes: BTreeSet<&[u8]> =
            things.keys().copied().chain(damaged.iter().map(Vec::as_slice)).collect();
        for prefix in prefixes {
            let (Ok(queue), Ok(seq)) = (be(prefix, 1), be(prefix, 5)) else { continue };
            let (queue, seq) = (QueueId(u32::from_be_bytes(queue)), u64::from_be_bytes(seq));
            let record = record_key(queue, Seq(seq));
            // Out of damaged bytes a key may come that is none.
            let is_key = match letter {
                b'r' => prefix == record,
                _ => prefix.len() == record.len() + size_of::<u32>(),
            };
            if !is_key {
                continue;
            }
            let is_unfinished =
                |Found { queue, .. }: &Found| seq < queue.next && !queue.progress.is_finished(seq);
            if !self.queues.get(&queue).is_some_and(is_unfinished) {
                continue;
            }
            let chunks = things.get(prefix).map_or(&[][..], Vec::as_slice);
            let mut bytes = Vec::new();
            let mut is_whole = !damaged.contains(prefix) && !chunks.is_empty();
            for (number, (key, place)) in (0u16..).zip(chunks) {
                is_whole &= **key == chunk_key(prefix, number);
                bytes.extend_from_slice(unseal(key, &self.read(*place)?).unwrap_or_default());
            }
            is_whole &= match letter {
                b'r' => from_json::<MessageRecord>(prefix, &bytes).is_ok(),
                _ => is_revision(&bytes),
            };
            if is_whole {
                let kept = chunks.iter().map(|(key, place)| (key.to_vec(), Value::Kept(*place)));
                self.mended.state.extend(kept);
            } else {
                self.stand_in(letter, prefix, queue, seq);
            }
        }
        Ok(())
    }

    /// Something that blocks the message in the place of its record, or that can't be read in the place of
    /// its revision.
    fn stand_in(&mut self, letter: u8, prefix: &[u8], queue: QueueId, seq: u64) {
        let what = if letter == b'r' { "record" } else { "revision" };
        self.note(format!("a {what} of message {seq} of queue {queue} is lost"));
        let mut value = match letter {
            b'r' => {
                let error =
                    WorkError::new(CODE, "what was known of its state was damaged in the store");
                let state = MessageState::Blocked;
                let record =
                    MessageRecord { state, last_error: Some(error), ..MessageRecord::default() };
                serde_json::to_vec(&record).expect("a record has JSON")
            }
            _ => lost_revision(),
        };
        let key = chunk_key(prefix, 0);
        seal(&key, &mut value);
        self.mended.state.insert(key, Value::New(value));
    }
}

/// Opening can skip over it, and reading finds no record in it.
fn lost_revision() -> Vec<u8> {
    let mut value = Vec::new();
    put_number(&mut value, 0);
    put_bytes(&mut value, b"");
    put_bytes(&mut value, b"");
    value
}

fn is_revision(bytes: &[u8]) -> bool {
    let read = || -> Decoded<bool> {
        let mut reader = Reader::new(bytes);
        let payload = reader.size()?;
        let record = reader.bytes()?;
        reader.bytes()?;
        Ok(!record.is_empty() && reader.left() == payload)
    };
    read().unwrap_or(false)
}
