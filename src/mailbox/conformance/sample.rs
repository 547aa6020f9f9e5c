//! Messages, records and batches to test stores with.

use std::sync::Arc;

use bytes::Bytes;

use crate::mailbox::Mailbox;
use crate::model::{
    Actor, Batch, Content, Dedup, Finish, Header, IdempotencyKey, JournalEntry, JournalKind,
    MailboxKind, MessageId, MessageRecord, MessageState, OnError, Op, ProcessId, ProcessKey,
    ProcessKind, ProcessRecord, QueueId, QueueName, QueueRecord, QueueSettings, RepairOutcome,
    Revision, RevisionRecord, Seq, SubscriptionRecord, Timestamp, TopicName, WorkError,
};

pub(crate) const Q: QueueId = QueueId(1);

pub(crate) fn batch(ops: impl IntoIterator<Item = Op>) -> Batch {
    Batch { ops: ops.into_iter().collect() }
}

pub(crate) fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

pub(crate) fn name(queue: QueueId) -> QueueName {
    QueueName::new(&format!("queue-{queue}")).unwrap()
}

pub(crate) fn queue_record(queue: QueueId, kind: MailboxKind, last: u32) -> QueueRecord {
    QueueRecord {
        id: queue,
        name: name(queue),
        settings: Arc::new(QueueSettings {
            mailbox: kind,
            dedup: if last == 0 { Dedup::Off } else { Dedup::Count { last } },
            ..QueueSettings::default()
        }),
        paused: None,
        draining: None,
        created_at: Timestamp(1),
        first: Seq(1),
        overrides: Box::default(),
        has_ttl: false,
        dedup_marks: None,
    }
}

pub(crate) fn put_queue(queue: QueueId, last: u32) -> Op {
    Op::PutQueue(Box::new(queue_record(queue, MailboxKind::File, last)))
}

pub(crate) fn content(id: &str, payload: impl Into<Bytes>) -> Arc<Content> {
    let header = Header::from_json(format!(r#"{{"id":"{id}","x-n":1.10}}"#).as_bytes()).unwrap();
    Arc::new(Content { header, payload: payload.into() })
}

/// Message `seq` of `queue`: id `q<queue>-<seq>`, payload `payload`.
pub(crate) fn append(queue: QueueId, seq: u64, payload: impl Into<Bytes>) -> Op {
    let content = content(&format!("q{queue}-{seq}"), payload);
    Op::Append { queue, seq: Seq(seq), at: Timestamp(1_000 + seq), content, entry: None }
}

/// As many small messages as there are places in `seqs`.
pub(crate) fn appends(queue: QueueId, seqs: std::ops::RangeInclusive<u64>) -> Batch {
    batch(seqs.map(|seq| append(queue, seq, format!("payload {seq}"))))
}

pub(crate) fn finish(queue: QueueId, seq: u64) -> Op {
    Op::Finish { queue, seq: Seq(seq), how: Finish::Done }
}

pub(crate) fn actor() -> Actor {
    Actor { name: "ana".to_owned(), via: "cli".to_owned() }
}

pub(crate) fn blocked(revision: u32) -> MessageRecord {
    MessageRecord {
        state: MessageState::Blocked,
        attempts: 3,
        round: 1,
        revision: Revision(revision),
        revised_by: Some(actor()),
        last_error: Some(WorkError { code: "exit-1".to_owned(), ..WorkError::default() }),
        ..MessageRecord::default()
    }
}

pub(crate) fn put_record(queue: QueueId, seq: u64, record: MessageRecord) -> Op {
    Op::PutRecord { queue, seq: Seq(seq), record: Box::new(record) }
}

pub(crate) fn revision_record(revision: u32) -> RevisionRecord {
    RevisionRecord {
        revision: Revision(revision),
        by: actor(),
        at: Timestamp(5_000),
        reason: "typo".to_owned(),
    }
}

/// Revision `revision` of message `seq`.
pub(crate) fn revise(queue: QueueId, seq: u64, revision: u32, payload: impl Into<Bytes>) -> Op {
    let content = content(&format!("q{queue}-{seq}"), payload);
    Op::PutRevision { queue, seq: Seq(seq), revision: Box::new(revision_record(revision)), content }
}

pub(crate) fn journal(number: u64, queue: QueueId, seq: Option<u64>) -> Op {
    Op::Journal(Box::new(JournalEntry {
        number,
        at: Timestamp(number),
        actor: actor(),
        kind: JournalKind::Saved,
        queue: name(queue),
        seq: seq.map(Seq),
        id: None,
        to: None,
        revision: None,
        reason: "why".to_owned(),
        key: None,
    }))
}

pub(crate) fn repair(number: usize) -> Op {
    Op::PutRepair(Box::new(RepairOutcome {
        key: IdempotencyKey::new(&format!("key-{number}")).unwrap(),
        queue: name(Q),
        seq: Seq(1),
        id: id("q1-1"),
        revision: Revision(1),
        state: MessageState::Ready,
        moved: None,
        journal: 1,
        repeated: false,
    }))
}

pub(crate) fn subscription(number: u64, topic: &str, queue: QueueId) -> SubscriptionRecord {
    SubscriptionRecord {
        number,
        topic: TopicName::new(topic).unwrap(),
        queue: name(queue),
        filter: Some("body.total > 1".to_owned()),
        on_error: OnError::Skip,
        by: actor(),
        at: Timestamp(7),
    }
}

pub(crate) fn process(id: &str) -> ProcessKey {
    ProcessKey { kind: ProcessKind::Gather, id: ProcessId::new(id).unwrap() }
}

pub(crate) fn put_process(id: &str, part: u16, body: impl Into<Bytes>) -> Op {
    Op::PutProcess(Box::new(ProcessRecord { key: process(id), part, body: body.into() }))
}

/// Reads a whole queue in pages and returns the places.
pub(crate) fn places(mailbox: &dyn Mailbox, queue: QueueId) -> Vec<u64> {
    let mut all: Vec<u64> = Vec::new();
    loop {
        let from = Seq(all.last().map_or(0, |last| last + 1));
        let page = mailbox.read(queue, from, 97, usize::MAX).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(|message| message.seq.0));
    }
}
