//! From lines to a store.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::TransferError;
use super::line::{
    Counts, FinishedLine, Line, MessageLine, ProcessLine, QueueLine, RemovedLine, VERSION,
};
use crate::mailbox::{Durable, Elsewhere};
use crate::model::{
    Batch, Content, Finish, Header, Op, Payload, ProcessRecord, QueueId, QueueName, Seq, Timestamp,
};

/// A commit is written when it has so many operations or bytes.
const BATCH_OPS: usize = 1024;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Payloads of at least so many bytes are looked for among those that came lately, of which so many are kept.
const MIN_SHARED_BYTES: usize = 1024;
const PAYLOADS_BYTES: usize = 32 * 1024 * 1024;

/// Fills an empty store. Lines come in the order of [`Line`]; each is checked before it is taken.
#[derive(Debug)]
pub struct Import<'a, S> {
    store: &'a S,
    started: bool,
    ended: bool,
    counts: Counts,
    queues: BTreeMap<QueueName, QueueId>,
    /// The queue whose messages come, its last place, the place after all.
    current: Option<(QueueName, Seq, Seq)>,
    batch: Batch,
    bytes: usize,
    elsewhere: BTreeMap<QueueId, Elsewhere>,
    payloads: Payloads,
}

/// Payloads that came lately. Of an event that went to many queues it comes with each of them; in RAM, and so
/// in the store that is written, they share it.
#[derive(Debug, Default)]
struct Payloads {
    known: HashSet<Bytes>,
    bytes: usize,
}

impl Payloads {
    /// The same bytes, and whether they were known.
    fn share(&mut self, payload: Bytes) -> (Bytes, bool) {
        if let Some(known) = self.known.get(&payload) {
            return (known.clone(), true);
        }
        if (MIN_SHARED_BYTES..=PAYLOADS_BYTES).contains(&payload.len()) {
            if self.bytes + payload.len() > PAYLOADS_BYTES {
                *self = Self::default();
            }
            self.bytes += payload.len();
            self.known.insert(payload.clone());
        }
        (payload, false)
    }
}

impl<'a, S: Durable> Import<'a, S> {
    /// Into an empty store.
    pub fn new(store: &'a S) -> Self {
        Self {
            store,
            started: false,
            ended: false,
            counts: Counts::default(),
            queues: BTreeMap::new(),
            current: None,
            batch: Batch::default(),
            bytes: 0,
            elsewhere: BTreeMap::new(),
            payloads: Payloads::default(),
        }
    }

    /// Takes one line. After an error the store is of no use.
    pub fn take(&mut self, line: Line) -> Result<(), TransferError> {
        if self.ended {
            return Err(TransferError::invalid("there is a line after `end`"));
        }
        if self.started == matches!(line, Line::Export(_)) {
            return Err(TransferError::invalid("an export begins with one line `export`"));
        }
        let counts = self.counts;
        self.counts.count(&line);
        match line {
            Line::Export(start) if start.version == VERSION => self.started = true,
            Line::Export(start) => return Err(TransferError::Version { found: start.version }),
            Line::Queue(queue) => self.take_queue(*queue)?,
            Line::Message(message) => self.take_message(*message)?,
            Line::Finished(finished) => self.take_finished(finished)?,
            Line::Unreadable(line) => drop(self.place(&line.queue, line.seq)?),
            Line::Removed(RemovedLine { last: queue, next }) => {
                self.put(Op::RemoveQueue { queue, next }, 16)?;
            }
            Line::Subscription(record) => self.put(Op::PutSubscription(Box::new(record)), 512)?,
            Line::Process(ProcessLine { process: key, part, body }) => {
                let body = bytes_of(body)?;
                let size = body.len();
                self.put(Op::PutProcess(Box::new(ProcessRecord { key, part, body })), size)?;
            }
            Line::Journal(entry) => self.put(Op::Journal(Box::new(entry)), 256)?,
            Line::Repair(outcome) => self.put(Op::PutRepair(Box::new(outcome)), 256)?,
            Line::End(expected) if expected == counts => {
                self.ended = true;
                self.write()?;
                self.store.sync()?;
            }
            Line::End(expected) => {
                let text = format!("`end` counts {expected:?}, but there were {counts:?}");
                return Err(TransferError::invalid(text));
            }
        }
        Ok(())
    }

    /// What came, once `end` has come: it is durable then.
    pub fn finish(self) -> Result<Counts, TransferError> {
        if self.ended { Ok(self.counts) } else { Err(TransferError::CutOff) }
    }

    fn take_queue(&mut self, line: QueueLine) -> Result<(), TransferError> {
        let QueueLine { record, next, note } = line;
        let (id, name) = (record.id, record.name.clone());
        if self.queues.values().any(|&known| known == id)
            || self.queues.insert(name.clone(), id).is_some()
        {
            return Err(TransferError::invalid(format!("queue {name} (id {id}) comes twice")));
        }
        self.current = Some((name, Seq(0), next));
        self.put(Op::PutQueue(Box::new(record)), 512)?;
        // A commit about the queue says where it goes on.
        self.elsewhere.insert(id, Elsewhere { first: None, next: Some(next) });
        if let Some(note) = note {
            let note = bytes_of(note)?;
            let size = note.len();
            self.put(Op::PutNote { queue: id, note }, size)?;
        }
        Ok(())
    }

    fn take_message(&mut self, line: MessageLine) -> Result<(), TransferError> {
        let MessageLine { queue, seq, at, header, payload, record, revisions } = line;
        let queue = self.place(&queue, seq)?;
        self.put_append(queue, seq, at, content(&header, payload)?)?;
        for line in revisions {
            let content = Arc::new(content(&line.header, line.payload)?);
            let bytes = size(&content);
            self.put(
                Op::PutRevision { queue, seq, revision: Box::new(line.record), content },
                bytes,
            )?;
        }
        match record {
            Some(record) => self.put(Op::PutRecord { queue, seq, record: Box::new(record) }, 256),
            None => Ok(()),
        }
    }

    fn take_finished(&mut self, line: FinishedLine) -> Result<(), TransferError> {
        let FinishedLine { queue, seq, id } = line;
        let queue = self.place(&queue, seq)?;
        self.put_append(queue, seq, Timestamp::default(), Content::placeholder(&id))?;
        self.put(Op::Finish { queue, seq, how: Finish::Done }, 16)
    }

    fn put_append(
        &mut self,
        queue: QueueId,
        seq: Seq,
        at: Timestamp,
        content: Content,
    ) -> Result<(), TransferError> {
        let Content { header, payload } = content;
        let (payload, is_known) = self.payloads.share(payload);
        let content = Arc::new(Content { header, payload });
        let bytes = if is_known { content.header.json().len() } else { size(&content) };
        self.put(Op::Append { queue, seq, at, content, entry: None }, bytes)
    }

    /// The queue of a message that comes next.
    fn place(&mut self, queue: &QueueName, seq: Seq) -> Result<QueueId, TransferError> {
        let Some((name, last, next)) = &mut self.current else {
            return Err(TransferError::invalid("a message comes before its queue"));
        };
        if name != queue {
            let text = format!("a message of {queue} comes among those of {name}");
            return Err(TransferError::invalid(text));
        }
        if seq <= *last || seq >= *next {
            let text = format!(
                "message {seq} of {queue} comes after {last}, and the next new one would be {next}"
            );
            return Err(TransferError::invalid(text));
        }
        *last = seq;
        Ok(self.queues[queue])
    }

    fn put(&mut self, op: Op, bytes: usize) -> Result<(), TransferError> {
        // What a message adds to its own append stays in that commit or comes in a later one: both are fine,
        // since nobody reads a store before all of it is there.
        self.batch.ops.push(op);
        self.bytes += bytes;
        if self.batch.ops.len() >= BATCH_OPS || self.bytes >= BATCH_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), TransferError> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        self.store.append_with_gaps(&batch, &std::mem::take(&mut self.elsewhere))?;
        self.store.sync()?;
        while self.store.maintain()? {}
        Ok(())
    }
}

fn content(header: &str, payload: Payload) -> Result<Content, TransferError> {
    let header = Header::from_json(header.as_bytes())
        .map_err(|error| TransferError::invalid(format!("the header is refused: {error}")))?;
    Ok(Content { header, payload: bytes_of(payload)? })
}

fn bytes_of(payload: Payload) -> Result<Bytes, TransferError> {
    payload.into_bytes().map_err(TransferError::invalid)
}

fn size(content: &Content) -> usize {
    content.header.json().len() + content.payload.len()
}
