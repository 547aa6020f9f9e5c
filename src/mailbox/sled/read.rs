//! Reading messages, revisions and ids, while commits go on.

use std::sync::Arc;

use bytes::Bytes;

use super::SledMailbox;
use super::codec::{Corrupt, Reader, unseal};
use super::layout::{chunk_key, record_key, revision_key};
use super::load::from_json;
use super::replay::{read_parts, read_segment};
use super::segment::{Segment, read_header};
use crate::mailbox::{Durable as _, MailboxError};
use crate::model::{Content, MessageRecord, QueueId, Revision, RevisionRecord, Seq, StoredMessage};

/// Messages looked up in the index at a time.
const LOOKUP: usize = 256;

/// Log values that are worth fetching together.
const MANY: usize = 4;

/// Where an unfinished message is.
#[derive(Debug, Clone, Copy)]
struct Found {
    seq: Seq,
    segment: u64,
    /// The revision that is read.
    revision: u32,
    /// The revision that its record must name, if it has one.
    record: Option<u32>,
}

/// How far a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    All,
    /// Up to the next generation that isn't near. Many queues that were filled together have each some messages in
    /// each of many generations: to look through one after the other for each queue takes far longer than reading.
    Near,
}

impl SledMailbox {
    pub(super) fn read_messages(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
        reach: Reach,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        let mut messages: Vec<StoredMessage> = Vec::new();
        let mut bytes = 0;
        let mut from = from;
        while messages.len() < max_messages {
            let found = self.unfinished(queue, from, LOOKUP.min(max_messages - messages.len()));
            let Some(last) = found.last() else { break };
            from = last.seq.next();
            if reach == Reach::All {
                self.expect(&found);
            }
            for found in found {
                let is_far = reach == Reach::Near && !self.store.is_near(found.segment);
                if is_far && !messages.is_empty() {
                    return Ok(messages);
                }
                // Finished since it was looked up: it is not there any more.
                let Some(message) = self.message(queue, found)? else { continue };
                bytes += message.content.size_bytes();
                if bytes > max_bytes as u64 && !messages.is_empty() {
                    return Ok(messages);
                }
                messages.push(message);
            }
        }
        Ok(messages)
    }

    /// These messages are about to be read: a long backlog is mostly on the disk alone.
    fn expect(&self, found: &[Found]) {
        let mut segments: Vec<u64> = found.iter().map(|found| found.segment).collect();
        segments.sort_unstable();
        segments.dedup();
        if segments.len() >= MANY {
            self.store.expect(&segments);
        }
    }

    /// Is the first message from place `from` on in a generation that is near?
    pub(super) fn starts_near(&self, queue: QueueId, from: Seq) -> bool {
        let first = self.unfinished(queue, from, 1);
        first.first().is_none_or(|found| self.store.is_near(found.segment))
    }

    fn unfinished(&self, queue: QueueId, from: Seq, max: usize) -> Vec<Found> {
        let index = self.index();
        let Some(queue) = index.queues.get(&queue) else { return Vec::new() };
        let from = from.0.max(queue.progress.floor);
        let mut found = Vec::new();
        for run in queue.runs.range(queue.run_at(from)..) {
            for place in run.first.max(from)..run.end() {
                if found.len() == max {
                    return found;
                }
                if !queue.progress.is_finished(place) {
                    let extra = queue.extras.get(&place);
                    found.push(Found {
                        seq: Seq(place),
                        segment: run.segment,
                        revision: extra.map_or(0, |extra| extra.read_revision()),
                        record: extra.filter(|e| e.record_chunks > 0).map(|e| e.newest),
                    });
                }
            }
        }
        found
    }

    /// Reads a thing that takes more than one look. A commit that is under way, or the tidying after it,
    /// may have changed a part between two looks; what doesn't fit together then is read once more while
    /// there is none, and only then it is damage. `read` begins with a look at the index.
    fn as_of_one_commit<T>(
        &self,
        read: impl Fn() -> Result<T, MailboxError>,
    ) -> Result<T, MailboxError> {
        match read() {
            Err(MailboxError::Damaged { .. }) => {
                let _no_commit = self.log_end();
                read()
            }
            done => done,
        }
    }

    /// The message, or what stands for it if its bytes are damaged; `None` if it was finished meanwhile.
    fn message(&self, queue: QueueId, found: Found) -> Result<Option<StoredMessage>, MailboxError> {
        let first = self.message_as_found(queue, found);
        let Err(MailboxError::Damaged { .. }) = first else { return first };
        // As `as_of_one_commit` reads again, but a message may be damaged and the others sound.
        let _no_commit = self.log_end();
        let again = self.unfinished(queue, found.seq, 1);
        let Some(&again) = again.first().filter(|again| again.seq == found.seq) else {
            return Ok(None);
        };
        match self.message_as_found(queue, again) {
            Err(error) => self.unreadable(queue, again.seq, again.segment, error).map(Some),
            done => done,
        }
    }

    fn message_as_found(
        &self,
        queue: QueueId,
        found: Found,
    ) -> Result<Option<StoredMessage>, MailboxError> {
        let Found { seq, segment, revision, record } = found;
        let Some(segment) = self.segment(queue, seq, segment)? else { return Ok(None) };
        let content = match revision {
            0 => Some(self.base_content(&segment, queue, seq)?),
            later => self.revision(queue, seq, later)?.map(|(_, content)| content),
        };
        let Some(content) = content else { return Ok(None) };
        let (accepted_at, _) = segment.info(queue, seq).ok_or_else(|| {
            self.store.damaged(Corrupt(format!("segment {} misses {seq}", segment.id)))
        })?;
        let record = match record {
            None => None,
            Some(newest) => match self.record(queue, seq, newest)? {
                None => return Ok(None),
                record => record.map(Box::new),
            },
        };
        let content = Arc::new(content);
        Ok(Some(StoredMessage { seq, accepted_at, content, record, unreadable: None }))
    }

    /// A message's record, which names revision `newest`; `None` if the message is being finished.
    fn record(
        &self,
        queue: QueueId,
        seq: Seq,
        newest: u32,
    ) -> Result<Option<MessageRecord>, MailboxError> {
        let key = record_key(queue, seq);
        let bytes = self.chunks(&key)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let record: MessageRecord = from_json(&key, &bytes).map_err(|e| self.store.damaged(e))?;
        if record.revision.0 != newest {
            let what = format!(
                "the record of message {seq} of queue {queue} names revision {}, not {newest}",
                record.revision
            );
            return Err(self.store.damaged(Corrupt(what)));
        }
        Ok(Some(record))
    }

    /// The segment of an unfinished message; `None` if the message was finished meanwhile.
    fn segment(
        &self,
        queue: QueueId,
        seq: Seq,
        id: u64,
    ) -> Result<Option<Arc<Segment>>, MailboxError> {
        if let Some(segment) = self.cache.get(id) {
            return Ok(Some(segment));
        }
        match read_segment(&self.store, id)? {
            Some(segment) => {
                let segment = Arc::new(segment);
                self.cache.put(&segment);
                Ok(Some(segment))
            }
            None if self.is_unfinished(queue, seq) => {
                let what = format!("segment {id} with message {seq} of queue {queue} is not there");
                Err(self.store.damaged(Corrupt(what)))
            }
            None => Ok(None),
        }
    }

    pub(super) fn base_content(
        &self,
        segment: &Segment,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Content, MailboxError> {
        let mut payload = self.cache.shared_payload(segment.id);
        let content = self.content_sharing(segment, queue, seq, &mut payload)?;
        if segment.shares_payload() {
            self.cache.keep_shared_payload(segment.id, &content.payload);
        }
        Ok(content)
    }

    /// As accepted; `payload` is what the segment's parts hold, once one of its messages was read.
    pub(super) fn content_sharing(
        &self,
        segment: &Segment,
        queue: QueueId,
        seq: Seq,
        payload: &mut Option<Bytes>,
    ) -> Result<Content, MailboxError> {
        let parts = |len: usize| {
            let bytes = match payload.take() {
                Some(bytes) => bytes,
                None => read_parts(&self.store, segment.id, segment.frame.parts)
                    .map(Bytes::from)
                    .map_err(ReadError::Mailbox)?,
            };
            if bytes.len() != len {
                let what =
                    format!("message {seq} of queue {queue} has {} bytes of {len}", bytes.len());
                return Err(ReadError::Corrupt(Corrupt(what)));
            }
            Ok(payload.insert(bytes).clone())
        };
        segment.content(queue, seq, parts).map_err(|error| match error {
            ReadError::Mailbox(error) => error,
            ReadError::Corrupt(corrupt) => self.store.damaged(corrupt),
        })
    }

    /// All chunks under a prefix, put together; empty if there are none.
    fn chunks(&self, prefix: &[u8]) -> Result<Vec<u8>, MailboxError> {
        let mut bytes = Vec::new();
        for chunk in 0..=u16::MAX {
            let key = chunk_key(prefix, chunk);
            let Some(value) = self.store.get_state(&key)? else { break };
            bytes.extend_from_slice(unseal(&key, &value).map_err(|e| self.store.damaged(e))?);
        }
        Ok(bytes)
    }

    fn revision(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: u32,
    ) -> Result<Option<(RevisionRecord, Content)>, MailboxError> {
        let key = revision_key(queue, seq, revision);
        let bytes = self.chunks(&key)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let read = || {
            let mut reader = Reader::new(&bytes);
            let len = reader.size()?;
            let record = from_json(&key, reader.bytes()?)?;
            let header = read_header(reader.bytes()?)?;
            let payload = Bytes::copy_from_slice(reader.take(len)?);
            Ok((record, Content { header, payload }))
        };
        read().map(Some).map_err(|e| self.store.damaged(e))
    }

    pub(super) fn content_as_of(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        self.as_of_one_commit(|| self.content_now(queue, seq, revision)).or_else(|error| {
            let error = self.of_one_message(error)?;
            Err(MailboxError::Unreadable { seq, error })
        })
    }

    fn content_now(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        if revision.0 > 0 {
            let is_there = self.revision_numbers(queue, seq).contains(&revision.0);
            let found = is_there.then(|| self.revision(queue, seq, revision.0)).transpose()?;
            return Ok(found.flatten().map(|(_, content)| content));
        }
        let id = {
            let index = self.index();
            let queue = index.queues.get(&queue).filter(|queue| queue.is_unfinished(seq.0));
            queue.and_then(|queue| queue.segment_of(seq.0))
        };
        let Some(id) = id else { return Ok(None) };
        let Some(segment) = self.segment(queue, seq, id)? else { return Ok(None) };
        self.base_content(&segment, queue, seq).map(Some)
    }

    fn revision_numbers(&self, queue: QueueId, seq: Seq) -> Vec<u32> {
        let index = self.index();
        let extra = index.queues.get(&queue).and_then(|queue| queue.extras.get(&seq.0));
        extra.map(|extra| extra.revisions.keys().copied().collect()).unwrap_or_default()
    }

    /// Without those that are damaged: the message can still be shown, edited and cancelled.
    pub(super) fn revision_records(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        let mut records = Vec::new();
        for revision in self.revision_numbers(queue, seq) {
            let read = self.as_of_one_commit(|| self.revision(queue, seq, revision));
            let read = read.or_else(|error| self.leave_out("a revision", error))?;
            records.extend(read.map(|(record, content)| (record, content.payload.len() as u64)));
        }
        Ok(records)
    }
}

/// Both ways in which a message's bytes can be missed.
enum ReadError {
    Mailbox(MailboxError),
    Corrupt(Corrupt),
}

impl From<Corrupt> for ReadError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}
