//! Against a real Redis: `cargo nextest run --run-ignored only with_redis` (`tests/run` does).

#![expect(clippy::disallowed_methods, reason = "bounds of waits")]

mod server;
mod with_redis;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::server::{LIMIT, Server};
use super::streams::Reach;
use super::{RedisMailbox, RedisNews, RedisOptions, RedisPoller, Streams};
use crate::mailbox::conformance::journal::KEPT;
use crate::mailbox::{
    JournalFilter, Mailbox, MailboxError, MemoryMailbox, RoutedMailbox, SledMailbox, SledOptions,
};
use crate::model::{
    Batch, Content, JournalEntry, MailboxKind, MessageId, Op, QueueId, QueueSettings, Recovered,
    Revision, RevisionRecord, Seq, Spill, StoredMessage,
};

/// The mailbox as the broker has it, with its poller at work. Every queue that is put keeps payloads in Redis,
/// whatever its settings say, so that the suite for all mailboxes runs on it.
pub(super) struct Rig {
    pub(super) mailbox: RoutedMailbox,
    kind: MailboxKind,
    pub(super) streams: Arc<Streams>,
    pub(super) news: Arc<Mutex<VecDeque<RedisNews>>>,
    /// Known from the beginning: the suite also reads without asking.
    recovered: Mutex<Option<Recovered>>,
    is_over: Arc<AtomicBool>,
    poller: Option<JoinHandle<()>>,
}

impl Rig {
    pub(super) fn open(folder: &Path, url: &str) -> Self {
        Self::of_kind(MailboxKind::Redis, folder, url, Arc::default())
    }

    /// `ram` is what the one before had in RAM.
    pub(super) fn of_kind(
        kind: MailboxKind,
        folder: &Path,
        url: &str,
        ram: Arc<MemoryMailbox>,
    ) -> Self {
        let rig = Self::open_unreached(kind, folder, url, ram);
        rig.until("Redis is reached", |rig| rig.streams.state().reach == Reach::Up);
        rig
    }

    fn open_unreached(
        kind: MailboxKind,
        folder: &Path,
        url: &str,
        ram: Arc<MemoryMailbox>,
    ) -> Self {
        let options = RedisOptions { url: url.to_owned(), ..RedisOptions::default() };
        let streams = Arc::new(Streams::new(options).unwrap());
        let local = SledMailbox::open(&folder.join("store"), SledOptions::default()).unwrap();
        let local = RedisMailbox::new(local, Arc::clone(&streams));
        let mailbox = RoutedMailbox::reopened(local, ram).keeping_journal(KEPT);
        let recovered = Mutex::new(Some(mailbox.recover().unwrap()));
        let (news, is_over): (Arc<Mutex<VecDeque<_>>>, Arc<AtomicBool>) = Default::default();
        let mut poller = RedisPoller::new(Arc::clone(&streams));
        let poller = std::thread::spawn({
            let (news, is_over) = (Arc::clone(&news), Arc::clone(&is_over));
            move || {
                while !is_over.load(Ordering::Acquire) {
                    news.lock().unwrap().extend(poller.turn());
                }
            }
        });
        Self { mailbox, kind, streams, news, recovered, is_over, poller: Some(poller) }
    }

    #[track_caller]
    pub(super) fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The next arrivals: queue, the entry before, and what came.
    pub(super) fn arrivals(&self) -> (QueueId, crate::model::StreamId, Vec<crate::model::Arrival>) {
        let mut found = None;
        self.until("arrivals", |rig| {
            let mut news = rig.news.lock().unwrap();
            while let (None, Some(next)) = (&found, news.pop_front()) {
                if let RedisNews::Arrived { queue, after, arrivals, .. } = next {
                    found = Some((queue, after, arrivals));
                }
            }
            found.is_some()
        });
        found.expect("just found")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.poller.take().map(JoinHandle::join);
    }
}

/// So few messages of a `mixed` queue wait in RAM that most go to Redis.
const IN_MEMORY: u64 = 2;

/// With its payloads in Redis: all, or those that don't wait in RAM.
fn with_redis(settings: &QueueSettings, kind: MailboxKind) -> QueueSettings {
    QueueSettings {
        mailbox: kind,
        spill: Spill::Redis,
        memory_messages: IN_MEMORY,
        ..settings.clone()
    }
}

impl Mailbox for Rig {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        let mut recovered = match self.recovered.lock().unwrap().take() {
            Some(recovered) => recovered,
            None => self.mailbox.recover()?,
        };
        for backlog in &mut recovered.queues {
            Arc::make_mut(&mut backlog.record.settings).mailbox = MailboxKind::File;
        }
        Ok(recovered)
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        let mut batch = batch.clone();
        for op in &mut batch.ops {
            if let Op::PutQueue(record) = op {
                record.settings = with_redis(&record.settings, self.kind).into();
            }
        }
        self.mailbox.append(&batch)
    }

    fn sync(&self) -> Result<(), MailboxError> {
        self.mailbox.sync()
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.mailbox.read(queue, from, max_messages, max_bytes)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        self.mailbox.content(queue, seq, revision)
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        self.mailbox.revisions(queue, seq)
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        self.mailbox.find(queue, id)
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        self.mailbox.journal(before, max, of)
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        self.mailbox.maintain()
    }
}
