//! The mailbox alone: what a commit costs without sockets, codec, engine and loop.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::samples::Samples;
use super::{BenchError, Plan, Row};
use crate::mailbox::{Mailbox, SledMailbox, SledOptions};
use crate::model::{
    Batch, Content, Header, MessageId, Op, QueueId, QueueName, QueueRecord, QueueSettings, Seq,
    Timestamp, parse_object,
};

/// The row's name.
pub(super) const NAME: &str = "mailbox: append + sync";

/// Commits batches of `batch` messages, one flush each, for the plan's time; the samples are whole
/// commits.
pub(super) fn measure(folder: &Path, batch: usize, plan: &Plan) -> Result<Row, BenchError> {
    let path = folder.join(format!("mailbox-{batch}"));
    let store = SledMailbox::open(&path, SledOptions::default())?;
    store.recover()?;
    let queue = QueueId(1);
    store.append(&Batch { ops: vec![Op::PutQueue(record(queue))] })?;
    store.sync()?;
    let payload = Bytes::from(vec![b'x'; plan.payload_bytes]);
    let mut samples = Samples::default();
    let (began, mut next) = (Instant::now(), Seq(1));
    while began.elapsed() < plan.time && next.0 <= plan.messages {
        let from = Instant::now();
        let ops = (0..batch).map(|_| {
            let seq = next;
            next = next.next();
            Op::Append {
                queue,
                seq,
                at: Timestamp(0),
                content: content(seq, &payload),
                entry: None,
            }
        });
        store.append(&Batch { ops: ops.collect() })?;
        store.sync()?;
        samples.add(from.elapsed());
    }
    let elapsed = began.elapsed();
    drop(store);
    std::fs::remove_dir_all(&path)
        .map_err(|source| BenchError::io("removing the measured store", source))?;
    Ok(Row::new(NAME, batch, 1, next.0 - 1, elapsed, samples))
}

fn record(id: QueueId) -> QueueRecord {
    QueueRecord {
        id,
        name: QueueName::new("bench").expect("letters are a queue's name"),
        settings: QueueSettings::default(),
        paused: None,
        created_at: Timestamp(0),
    }
}

fn content(seq: Seq, payload: &Bytes) -> Arc<Content> {
    let id = || MessageId::new("-").expect("a dash is an id");
    let map = parse_object(format!("{{\"id\":\"b{seq}\"}}").as_bytes()).expect("it is JSON");
    let header = Header::from_map(map, id).expect("an id is a whole header");
    Arc::new(Content { header, payload: payload.clone() })
}
