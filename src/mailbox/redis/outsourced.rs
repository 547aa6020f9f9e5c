//! The mailbox: a local store before which payloads of `redis` queues are put into their streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::keeper::Fetched;
use super::mark::Mark;
use super::plan::{Plan, touches};
use super::streams::Streams;
use super::stub::{Reference, Stub};
use crate::mailbox::{Durable, Elsewhere, JournalFilter, Mailbox, MailboxError};
use crate::model::{
    Batch, Content, JournalEntry, MessageId, QueueId, Recovered, Revision, RevisionRecord, Seq,
    StoredMessage, StreamId,
};

/// A local store whose `redis` queues have their payloads in Redis. All else passes through.
///
/// Reading what is in Redis while that can't be reached is [`MailboxError::Unreachable`]; the store is not
/// broken by it. An entry that Redis no longer has makes its message unreadable, with the code `lost`.
#[derive(Debug)]
pub struct RedisMailbox<L> {
    local: L,
    streams: Arc<Streams>,
    unsynced: Mutex<Unsynced>,
}

/// What may be removed from Redis once it is durable that nothing needs it.
#[derive(Debug, Default)]
struct Unsynced {
    /// Entries of finished messages.
    finished: Vec<(QueueId, StreamId)>,
    /// Queues that are gone.
    gone: Vec<QueueId>,
}

impl<L: Mailbox> RedisMailbox<L> {
    /// Before an open store.
    pub fn new(local: L, streams: Arc<Streams>) -> Self {
        Self { local, streams, unsynced: Mutex::default() }
    }

    /// Puts a batch into the local store by `append`, once its payloads are where they belong.
    fn commit(
        &self,
        batch: &Batch,
        append: impl FnOnce(&Batch) -> Result<(), MailboxError>,
    ) -> Result<(), MailboxError> {
        if !touches(batch, &self.streams) {
            return append(batch);
        }
        let plan = Plan::of(batch, &self.streams, &self.local)?;
        append(&plan.batch)?;
        let finished: Vec<_> = plan.removals().collect();
        let gone: Vec<_> = plan.gone().collect();
        plan.apply(&self.streams);
        // After it is known to the streams: the sync that covers this batch begins when this has returned.
        let mut unsynced = self.unsynced();
        unsynced.finished.extend(finished);
        unsynced.gone.extend(gone);
        Ok(())
    }

    fn unsynced(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts payloads into messages of one queue; cuts off where `max_bytes` is passed or Redis is needed and
    /// can't be asked, but gives at least one message or says why.
    fn fill(
        &self,
        queue: QueueId,
        mut messages: Vec<StoredMessage>,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        let stubs: Vec<Stub> =
            messages.iter().map(|message| Stub::from_bytes(&message.content.payload)).collect();
        let fit = fitting(&messages, &stubs, max_bytes);
        messages.truncate(fit);
        let references: Vec<Reference> = stubs.iter().take(fit).filter_map(reference).collect();
        let fetched = match self.streams.fetch(queue, &references) {
            Ok(fetched) => fetched,
            Err(error) => {
                let here = stubs.iter().take(fit).take_while(|stub| reference(stub).is_none());
                let here = here.count();
                if here == 0 {
                    return Err(error);
                }
                messages.truncate(here);
                Vec::new()
            }
        };
        let mut fetched = fetched.into_iter();
        for (message, stub) in messages.iter_mut().zip(stubs) {
            match stub {
                Stub::Here(payload) if payload.len() == message.content.payload.len() => {}
                Stub::Here(payload) => message.content = with_payload(&message.content, payload),
                Stub::There(_) => {
                    let Fetched { payload, trouble } =
                        fetched.next().expect("each reference was fetched");
                    message.content = with_payload(&message.content, payload);
                    message.unreadable =
                        message.unreadable.take().or_else(|| trouble.map(Box::new));
                }
            }
        }
        Ok(messages)
    }
}

fn reference(stub: &Stub) -> Option<Reference> {
    match stub {
        Stub::Here(_) => None,
        Stub::There(reference) => Some(*reference),
    }
}

/// How many messages are within `max_bytes` with their payloads; at least one.
fn fitting(messages: &[StoredMessage], stubs: &[Stub], max_bytes: usize) -> usize {
    let mut bytes = 0u64;
    let fits = messages.iter().zip(stubs).take_while(|(message, stub)| {
        let payload = match stub {
            Stub::Here(payload) => payload.len() as u64,
            Stub::There(reference) => reference.len,
        };
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(message.content.header.json().len() as u64 + payload);
        is_first || bytes <= max_bytes as u64
    });
    fits.count()
}

fn with_payload(content: &Content, payload: Bytes) -> Arc<Content> {
    Arc::new(Content { header: content.header.clone(), payload })
}

impl<L: Mailbox> Mailbox for RedisMailbox<L> {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        let mut recovered = self.local.recover()?;
        self.streams.begin(recovered.generation);
        for backlog in &mut recovered.queues {
            let note = std::mem::take(&mut backlog.note);
            let name = &backlog.record.name;
            let mark = match note.is_empty() {
                true => None,
                false => Some(Mark::from_bytes(&note).ok_or_else(|| MailboxError::Damaged {
                    path: name.to_string(),
                    what: "what is noted of its stream can't be read".to_owned(),
                })?),
            };
            if let Some(mark) = &mark {
                backlog.bytes = backlog.bytes.saturating_add_signed(mark.beyond);
                backlog.newest_entry = mark.seen;
            }
            let is_fed = backlog.record.settings.needs_redis();
            self.streams.put(backlog.record.id, name, mark, is_fed);
        }
        self.streams.begun();
        Ok(recovered)
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        self.commit(batch, |batch| self.local.append(batch))
    }

    fn sync(&self) -> Result<(), MailboxError> {
        let Unsynced { finished, gone } = std::mem::take(&mut *self.unsynced());
        self.local.sync()?;
        if !finished.is_empty() || !gone.is_empty() {
            self.streams.remove(finished, gone);
        }
        Ok(())
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        let messages = self.local.read(queue, from, max_messages, max_bytes)?;
        self.fill(queue, messages, max_bytes)
    }

    fn read_ahead(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        let messages = self.local.read_ahead(queue, from, max_messages, max_bytes)?;
        self.fill(queue, messages, max_bytes)
    }

    fn is_near(&self, queue: QueueId, from: Seq) -> bool {
        self.local.is_near(queue, from)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        let Some(content) = self.local.content(queue, seq, revision)? else { return Ok(None) };
        let payload = match Stub::from_bytes(&content.payload) {
            Stub::Here(payload) => payload,
            Stub::There(reference) => {
                let fetched = self.streams.fetch(queue, &[reference])?.pop();
                let Fetched { payload, trouble } = fetched.expect("one was asked for");
                if let Some(error) = trouble {
                    return Err(MailboxError::Unreadable { seq, error });
                }
                payload
            }
        };
        Ok(Some(Content { payload, ..content }))
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        self.local.revisions(queue, seq)
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        self.local.find(queue, id)
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        self.local.journal(before, max, of)
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        self.local.maintain()
    }

    fn set_spare(&self, bytes: u64) {
        self.local.set_spare(bytes);
    }

    fn backup(&self, to: &std::path::Path) -> Result<(), MailboxError> {
        self.local.backup(to)
    }

    fn waits_for_upkeep(&self) -> bool {
        self.local.waits_for_upkeep()
    }
}

impl<L: Durable> Durable for RedisMailbox<L> {
    fn append_with_gaps(
        &self,
        batch: &Batch,
        elsewhere: &BTreeMap<QueueId, Elsewhere>,
    ) -> Result<(), MailboxError> {
        self.commit(batch, |batch| self.local.append_with_gaps(batch, elsewhere))
    }

    fn first_unfinished(&self, queue: QueueId, from: Seq) -> Option<Seq> {
        self.local.first_unfinished(queue, from)
    }

    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool {
        self.local.is_unfinished(queue, seq)
    }

    fn waiting(&self, queue: QueueId) -> u64 {
        self.local.waiting(queue)
    }

    fn last_journal(&self) -> u64 {
        self.local.last_journal()
    }

    fn journal_from(&self, from: u64, max: usize) -> Result<Vec<JournalEntry>, MailboxError> {
        self.local.journal_from(from, max)
    }

    fn remove_journal(&self, numbers: &[u64]) -> Result<bool, MailboxError> {
        self.local.remove_journal(numbers)
    }

    fn check_sound(&self) -> Result<(), MailboxError> {
        self.local.check_sound()
    }
}
