//! The mailbox alone: what a commit costs without sockets, codec, engine and loop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::samples::Samples;
use super::{BenchError, Row};
use crate::mailbox::{Mailbox, SledMailbox, SledOptions};
use crate::model::{
    Batch, Content, Header, MessageId, Op, QueueId, QueueName, QueueRecord, QueueSettings, Seq,
    Timestamp, parse_object,
};

/// The row's name.
pub(super) const NAME: &str = "mailbox: append + sync";
/// The queue that all goes into.
pub(super) const QUEUE: QueueId = QueueId(1);

/// A mailbox that grows by one commit and flush after the other, in slices of time.
pub(super) struct Appender {
    store: SledMailbox,
    payload: Bytes,
    batch: usize,
    next: Seq,
    limit: u64,
    elapsed: Duration,
    samples: Samples,
}

impl Appender {
    /// For commits of `batch` messages, about `limit` in all.
    pub(super) fn open(
        folder: &Path,
        batch: usize,
        payload_bytes: usize,
        limit: u64,
    ) -> Result<Self, BenchError> {
        let store = open(&folder.join(format!("mailbox-{batch}")))?;
        let payload = Bytes::from(vec![b'x'; payload_bytes]);
        let (next, elapsed, samples) = (Seq(1), Duration::ZERO, Samples::default());
        Ok(Self { store, payload, batch, next, limit, elapsed, samples })
    }

    /// Commits for about `time`, at least once; messages a second. What makes the messages isn't measured.
    pub(super) fn slice(&mut self, time: Duration) -> Result<f64, BenchError> {
        let (mut spent, mut messages) = (Duration::ZERO, 0);
        while messages == 0 || (spent < time && !self.is_full()) {
            let ops = appends(&mut self.next, self.batch, &self.payload);
            let took = commit(&self.store, ops)?;
            self.samples.add(took);
            spent += took;
            messages += self.batch;
        }
        self.elapsed += spent;
        Ok(messages as f64 / spent.as_secs_f64())
    }

    pub(super) fn is_full(&self) -> bool {
        self.next.0 > self.limit
    }

    /// The samples are whole commits.
    pub(super) fn row(self) -> Row {
        Row::new(NAME, self.batch, 1, self.next.0 - 1, self.elapsed, self.samples)
    }
}

/// A new store with one queue.
pub(super) fn open(path: &Path) -> Result<SledMailbox, BenchError> {
    let store = SledMailbox::open(path, SledOptions::default())?;
    store.recover()?;
    let record = QueueRecord {
        id: QUEUE,
        name: QueueName::new("bench").expect("letters are a queue's name"),
        settings: Arc::new(QueueSettings::default()),
        paused: None,
        draining: None,
        first: Seq(1),
        created_at: Timestamp(0),
        overrides: Box::default(),
        has_ttl: false,
        dedup_marks: None,
    };
    commit(&store, vec![Op::PutQueue(Box::new(record))])?;
    Ok(store)
}

/// Appends of `count` messages from `next` on.
pub(super) fn appends(next: &mut Seq, count: usize, payload: &Bytes) -> Vec<Op> {
    let ops = (0..count).map(|_| {
        let seq = *next;
        *next = seq.next();
        Op::Append {
            queue: QUEUE,
            seq,
            at: Timestamp(0),
            content: content(seq, payload),
            entry: None,
        }
    });
    ops.collect()
}

/// One commit and its flush; how long they took.
pub(super) fn commit(store: &SledMailbox, ops: Vec<Op>) -> Result<Duration, BenchError> {
    let batch = Batch { ops };
    let from = Instant::now();
    store.append(&batch)?;
    store.sync()?;
    Ok(from.elapsed())
}

fn content(seq: Seq, payload: &Bytes) -> Arc<Content> {
    let id = || MessageId::new("-").expect("a dash is an id");
    let map = parse_object(format!("{{\"id\":\"b{seq}\"}}").as_bytes()).expect("it is JSON");
    let header = Header::from_map(map, id).expect("an id is a whole header");
    // Its own bytes: the store writes a payload that messages share once for all of them.
    Arc::new(Content { header, payload: Bytes::copy_from_slice(payload) })
}
