//! A mailbox whose queues are all of one kind.

use std::sync::Arc;

use crate::mailbox::{JournalFilter, Mailbox, MailboxError};
use crate::model::{
    Batch, Content, JournalEntry, MailboxKind, MessageId, Op, QueueId, Recovered, Revision,
    RevisionRecord, Seq, StoredMessage,
};

/// So few messages of a `mixed` queue in RAM that most tests see it spill, and come back.
const IN_MEMORY: u64 = 4;

/// Gives each queue that is put the kind, whatever its record says.
#[derive(Debug)]
pub(super) struct OfKind<M> {
    inner: M,
    kind: MailboxKind,
}

impl<M> OfKind<M> {
    pub(super) fn new(inner: M, kind: MailboxKind) -> Self {
        Self { inner, kind }
    }
}

impl<M: Mailbox> Mailbox for OfKind<M> {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        self.inner.recover()
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        let mut batch = batch.clone();
        for op in &mut batch.ops {
            if let Op::PutQueue(record) = op {
                Arc::make_mut(&mut record.settings).mailbox = self.kind;
                Arc::make_mut(&mut record.settings).memory_messages = IN_MEMORY;
            }
        }
        self.inner.append(&batch)
    }

    fn sync(&self) -> Result<(), MailboxError> {
        self.inner.sync()
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.inner.read(queue, from, max_messages, max_bytes)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        self.inner.content(queue, seq, revision)
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        self.inner.revisions(queue, seq)
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        self.inner.find(queue, id)
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        self.inner.journal(before, max, of)
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        self.inner.maintain()
    }
}
