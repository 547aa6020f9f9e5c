//! `memory` and `file` queues in one broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::{Durable, Elsewhere, JournalFilter, Mailbox, MailboxError, MemoryMailbox, SledMailbox};
use crate::model::{
    Batch, Content, JournalEntry, MailboxKind, MessageId, Op, QueueBacklog, QueueId, QueueRecord,
    Recovered, Revision, RevisionRecord, Seq, StoredMessage,
};

/// Places of a memory queue that one durable write sets aside: after a restart it goes on behind them, so
/// that no place is used twice, though the messages are gone. One write for so many messages.
const PLACES_AHEAD: u64 = 10_000;

/// Each queue's messages in the mailbox that its settings name; queue records, the journal and repairs'
/// outcomes always in the durable one.
///
/// * A `memory` queue is known after a restart, paused if it was, but empty; its next place is one that was
///   never used, and its de-duplication window is empty.
/// * When the durable store is opened again within the process ([`RoutedMailbox::reopened`]), memory queues
///   keep what they have.
/// * A commit that only touches messages of memory queues waits for no disk.
/// * A queue whose `mailbox` setting changes moves when nothing waits in it: at its next `PutQueue` or at
///   the next start. Until then it stays where its messages are.
#[derive(Debug)]
pub struct RoutedMailbox {
    memory: Arc<MemoryMailbox>,
    durable: SledMailbox,
    homes: RwLock<BTreeMap<QueueId, Home>>,
    /// Something was appended to the durable one since the last sync began.
    is_unsynced: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    /// Places below `reserved` have been set aside durably.
    Memory {
        reserved: Seq,
    },
    File,
}

/// A batch, taken apart.
#[derive(Default)]
struct Parts {
    memory: Batch,
    durable: Batch,
    /// Next places of memory queues, for the durable store to know.
    places: BTreeMap<QueueId, Seq>,
    homes: BTreeMap<QueueId, Home>,
    /// From the durable store to RAM: the record, the next place.
    to_memory: Vec<(QueueRecord, Seq)>,
    to_durable: Vec<QueueId>,
}

impl RoutedMailbox {
    /// Over an open store.
    pub fn new(durable: SledMailbox) -> Self {
        Self::reopened(durable, Arc::default())
    }

    /// Over an open store, with the memory queues of the one before, which takes no more batches.
    pub fn reopened(durable: SledMailbox, memory: Arc<MemoryMailbox>) -> Self {
        Self { memory, durable, homes: RwLock::default(), is_unsynced: AtomicBool::new(false) }
    }

    fn homes(&self) -> RwLockReadGuard<'_, BTreeMap<QueueId, Home>> {
        self.homes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn mailbox_of(&self, queue: QueueId) -> &dyn Mailbox {
        match self.homes().get(&queue) {
            Some(Home::Memory { .. }) => &*self.memory,
            Some(Home::File) | None => &self.durable,
        }
    }

    fn take_apart(&self, batch: &Batch) -> Result<Parts, MailboxError> {
        let appended: BTreeSet<QueueId> = batch.ops.iter().filter_map(appended_queue).collect();
        let mut parts = Parts::default();
        for op in &batch.ops {
            match op {
                Op::PutQueue(record) => {
                    self.put_queue(record, appended.contains(&record.id), &mut parts);
                }
                Op::Append { queue, seq, .. } => match self.home(*queue, &parts)? {
                    Home::Memory { reserved } => {
                        parts.memory.ops.push(op.clone());
                        if *seq >= reserved {
                            let reserved = Seq(seq.0.saturating_add(PLACES_AHEAD));
                            parts.homes.insert(*queue, Home::Memory { reserved });
                            parts.places.insert(*queue, reserved);
                        }
                    }
                    Home::File => parts.durable.ops.push(op.clone()),
                },
                Op::PutRecord { queue, .. }
                | Op::PutRevision { queue, .. }
                | Op::PassEntry { queue, .. }
                | Op::PutNote { queue, .. }
                | Op::Finish { queue, .. } => match self.home(*queue, &parts)? {
                    Home::Memory { .. } => parts.memory.ops.push(op.clone()),
                    Home::File => parts.durable.ops.push(op.clone()),
                },
                Op::Journal(_) | Op::PutRepair(_) => parts.durable.ops.push(op.clone()),
            }
        }
        Ok(parts)
    }

    fn home(&self, queue: QueueId, parts: &Parts) -> Result<Home, MailboxError> {
        let known = parts.homes.get(&queue).copied().or_else(|| self.homes().get(&queue).copied());
        known.ok_or_else(|| MailboxError::Inconsistent {
            what: format!("there is no queue with id {queue}"),
        })
    }

    /// The record goes to the durable store, and beside the messages; the queue moves if it may.
    fn put_queue(&self, record: &QueueRecord, has_appends: bool, parts: &mut Parts) {
        let put = Op::PutQueue(record.clone());
        parts.durable.ops.push(put.clone());
        let id = record.id;
        let unused = Home::Memory { reserved: Seq(0) };
        match (self.home(id, parts).ok(), record.settings.mailbox) {
            (None, MailboxKind::Memory) => {
                parts.homes.insert(id, unused);
                parts.memory.ops.push(put);
            }
            (
                None | Some(Home::File),
                MailboxKind::File | MailboxKind::Mixed | MailboxKind::Redis,
            ) => {
                parts.homes.insert(id, Home::File);
            }
            (Some(Home::Memory { .. }), MailboxKind::Memory) => parts.memory.ops.push(put),
            (
                Some(Home::Memory { .. }),
                MailboxKind::File | MailboxKind::Mixed | MailboxKind::Redis,
            ) => {
                if has_appends || self.memory.has_unfinished(id) {
                    parts.memory.ops.push(put);
                } else {
                    parts.places.insert(id, self.memory.next_seq(id).unwrap_or(Seq(1)));
                    parts.homes.insert(id, Home::File);
                    parts.to_durable.push(id);
                }
            }
            (Some(Home::File), MailboxKind::Memory) => {
                if !has_appends && let Some(next) = self.durable.next_if_empty(id) {
                    parts.homes.insert(id, unused);
                    parts.to_memory.push((record.clone(), next));
                }
            }
        }
    }

    /// Finds a queue's home when the store is opened.
    fn adopt(&self, backlog: &mut QueueBacklog) -> Home {
        let id = backlog.record.id;
        let waits_here = self.memory.has_unfinished(id);
        let waits_there = backlog.floor < backlog.next_seq;
        let is_file = backlog.record.settings.mailbox != MailboxKind::Memory;
        if !waits_here && (is_file || waits_there) {
            return Home::File;
        }
        let reserved = backlog.next_seq;
        match self.memory.backlog(id) {
            // Its places are known exactly; those set aside beyond were never used.
            Some(kept) => {
                self.memory.adopt(backlog.record.clone(), kept.next_seq);
                *backlog = QueueBacklog { record: backlog.record.clone(), ..kept };
            }
            None => {
                backlog.window.clear();
                self.memory.adopt(backlog.record.clone(), reserved);
            }
        }
        Home::Memory { reserved }
    }
}

fn appended_queue(op: &Op) -> Option<QueueId> {
    match op {
        Op::Append { queue, .. } => Some(*queue),
        Op::PutQueue(_)
        | Op::PutRecord { .. }
        | Op::PutRevision { .. }
        | Op::PassEntry { .. }
        | Op::PutNote { .. }
        | Op::Finish { .. }
        | Op::Journal(_)
        | Op::PutRepair(_) => None,
    }
}

impl Mailbox for RoutedMailbox {
    fn recover(&self) -> Result<Recovered, MailboxError> {
        let mut recovered = self.durable.recover()?;
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        for backlog in &mut recovered.queues {
            let home = self.adopt(backlog);
            homes.insert(backlog.record.id, home);
        }
        // What the durable store doesn't know never became durable, and its number is given out again.
        self.memory.keep_only(|id| matches!(homes.get(&id), Some(Home::Memory { .. })));
        Ok(recovered)
    }

    fn append(&self, batch: &Batch) -> Result<(), MailboxError> {
        let parts = self.take_apart(batch)?;
        self.memory.check(&parts.memory)?;
        self.durable.check(&parts.durable)?;
        let places: BTreeMap<QueueId, Elsewhere> = parts
            .places
            .into_iter()
            .map(|(queue, next)| (queue, Elsewhere { first: None, next: Some(next) }))
            .collect();
        // Also with nothing to do there: a broken store takes no more batches of any kind.
        self.durable.append_with_gaps(&parts.durable, &places)?;
        if !parts.durable.ops.is_empty() || !places.is_empty() {
            self.is_unsynced.store(true, Ordering::Release);
        }
        for (record, next) in parts.to_memory {
            self.memory.adopt(record, next);
        }
        self.memory.append(&parts.memory)?;
        self.homes.write().unwrap_or_else(PoisonError::into_inner).extend(parts.homes);
        parts.to_durable.into_iter().for_each(|queue| self.memory.release(queue));
        Ok(())
    }

    fn sync(&self) -> Result<(), MailboxError> {
        if self.is_unsynced.swap(false, Ordering::AcqRel) {
            self.durable.sync()
        } else {
            self.durable.check_sound()
        }
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.mailbox_of(queue).read(queue, from, max_messages, max_bytes)
    }

    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError> {
        self.mailbox_of(queue).content(queue, seq, revision)
    }

    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError> {
        self.mailbox_of(queue).revisions(queue, seq)
    }

    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError> {
        match queue {
            Some(queue) => self.mailbox_of(queue).find(Some(queue), id),
            None => match self.memory.find(None, id)? {
                Some(found) => Ok(Some(found)),
                None => self.durable.find(None, id),
            },
        }
    }

    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError> {
        self.durable.journal(before, max, of)
    }

    fn maintain(&self) -> Result<bool, MailboxError> {
        self.durable.maintain()
    }

    fn waits_for_upkeep(&self) -> bool {
        self.durable.waits_for_upkeep()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::SledOptions;
    use super::super::conformance::sample::*;
    use super::*;

    const M: QueueId = QueueId(2);

    fn open(path: &Path) -> (RoutedMailbox, Recovered) {
        let mailbox = RoutedMailbox::new(
            SledMailbox::open(&path.join("store"), SledOptions::default()).unwrap(),
        );
        let recovered = mailbox.recover().unwrap();
        (mailbox, recovered)
    }

    fn put(queue: QueueId, kind: MailboxKind) -> Op {
        Op::PutQueue(queue_record(queue, kind, 10))
    }

    fn backlog(recovered: &Recovered, queue: QueueId) -> &QueueBacklog {
        recovered.queues.iter().find(|backlog| backlog.record.id == queue).unwrap()
    }

    #[test]
    fn a_memory_queue_is_known_but_empty_after_a_restart_and_reuses_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let (mailbox, _) = open(folder.path());
        let ops = [put(Q, MailboxKind::File), put(M, MailboxKind::Memory), append(Q, 1, "a")];
        mailbox.append(&batch(ops)).unwrap();
        mailbox.append(&batch([append(M, 1, "b"), append(Q, 2, "c"), append(M, 2, "d")])).unwrap();
        mailbox.append(&batch([finish(M, 1), journal(1, M, Some(1))])).unwrap();
        mailbox.sync().unwrap();
        assert_eq!((places(&mailbox, Q), places(&mailbox, M)), (vec![1, 2], vec![2]));
        assert_eq!(mailbox.find(None, &id("q2-2")).unwrap(), Some((M, Seq(2))));
        drop(mailbox);
        let (mailbox, recovered) = open(folder.path());
        let queue = backlog(&recovered, M);
        assert!(queue.next_seq > Seq(2) && queue.floor == queue.next_seq);
        assert_eq!((queue.bytes, queue.window.len()), (0, 0));
        assert_eq!((places(&mailbox, Q), places(&mailbox, M)), (vec![1, 2], vec![]));
        let next = queue.next_seq.0;
        mailbox.append(&batch([append(M, next, "e")])).unwrap();
        assert_eq!(places(&mailbox, M), [next]);
        assert_eq!(mailbox.journal(9, 9, JournalFilter::default()).unwrap().len(), 1);
    }

    #[test]
    fn memory_queues_outlive_a_store_that_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let open_with = |memory: &Arc<MemoryMailbox>| {
            let path = folder.path().join("store");
            let durable = SledMailbox::open(&path, SledOptions::default()).unwrap();
            let mailbox = RoutedMailbox::reopened(durable, Arc::clone(memory));
            let recovered = mailbox.recover().unwrap();
            (mailbox, recovered)
        };
        let memory = Arc::default();
        let (mailbox, _) = open_with(&memory);
        mailbox.append(&batch([put(Q, MailboxKind::File), put(M, MailboxKind::Memory)])).unwrap();
        mailbox.append(&batch([append(M, 1, "a"), append(M, 2, "b"), append(Q, 1, "c")])).unwrap();
        mailbox.append(&batch([finish(M, 1), put_record(M, 2, blocked(0))])).unwrap();
        mailbox.sync().unwrap();
        drop(mailbox);
        // As if a queue had been made in a commit that was lost.
        memory.append(&batch([put(QueueId(9), MailboxKind::Memory)])).unwrap();

        let (mailbox, recovered) = open_with(&memory);
        assert_eq!((places(&mailbox, Q), places(&mailbox, M)), (vec![1], vec![2]));
        let queue = backlog(&recovered, M);
        assert_eq!((queue.floor, queue.next_seq, queue.records.len()), (Seq(2), Seq(3), 1));
        assert_eq!(queue.window.len(), 2, "duplicates are known");
        assert!(memory.backlog(QueueId(9)).is_none());
        mailbox.append(&batch([append(M, 3, "d"), finish(M, 2)])).unwrap();
        assert_eq!(places(&mailbox, M), [3]);
    }

    #[test]
    fn an_empty_queue_moves_when_its_setting_changes_and_a_full_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (mailbox, _) = open(folder.path());
        mailbox.append(&batch([put(M, MailboxKind::Memory), append(M, 1, "a")])).unwrap();
        mailbox.append(&batch([put(M, MailboxKind::File), append(M, 2, "b")])).unwrap();
        assert_eq!(places(&mailbox, M), [1, 2]);
        assert!(mailbox.memory.has_unfinished(M), "messages wait: it stays");
        mailbox.append(&batch([finish(M, 1), finish(M, 2)])).unwrap();
        mailbox.append(&batch([put(M, MailboxKind::File)])).unwrap();
        mailbox.append(&batch([append(M, 3, "c")])).unwrap();
        assert!(!mailbox.memory.has_unfinished(M));
        mailbox.sync().unwrap();
        drop(mailbox);
        let (mailbox, _) = open(folder.path());
        assert_eq!(places(&mailbox, M), [3]);
        mailbox.append(&batch([finish(M, 3)])).unwrap();
        mailbox.append(&batch([put(M, MailboxKind::Memory)])).unwrap();
        mailbox.append(&batch([append(M, 4, "d")])).unwrap();
        assert!(mailbox.memory.has_unfinished(M));
        assert_eq!(places(&mailbox, M), [4]);
    }

    #[test]
    fn a_batch_that_one_side_refuses_changes_neither() {
        let folder = tempfile::tempdir().unwrap();
        let (mailbox, _) = open(folder.path());
        mailbox.append(&batch([put(Q, MailboxKind::File), put(M, MailboxKind::Memory)])).unwrap();
        for wrong in [append(Q, 7, "x"), append(M, 7, "x"), finish(QueueId(9), 1)] {
            let ops = [append(Q, 1, "a"), append(M, 1, "b"), wrong];
            let refused = mailbox.append(&batch(ops));
            assert!(matches!(refused, Err(MailboxError::Inconsistent { .. })), "{refused:?}");
            assert_eq!((places(&mailbox, Q), places(&mailbox, M)), (vec![], vec![]));
        }
    }
}
