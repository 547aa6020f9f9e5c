//! Sends, acks, edits, moves, deletions and crashes at random: what was confirmed is there as far as its mailbox says, in
//! order, with its bytes and its history, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use super::*;
use crate::mailbox::fault::Lossy;

const QUEUES: u32 = 3;
/// Fewer entries than that are in the journal beside those of messages that wait, and what upkeep leaves for later.
const KEPT: u64 = 5;
const SLACK: usize = 32;
const KINDS: [MailboxKind; 3] = [MailboxKind::Memory, MailboxKind::Mixed, MailboxKind::File];

/// What a message is expected to be.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    payload: String,
    revision: u32,
    /// Its queue was a `file` queue after a batch since it was accepted.
    durable: bool,
}

#[derive(Debug, Clone, Default)]
struct Model {
    kinds: BTreeMap<QueueId, MailboxKind>,
    /// The place of each queue's first message.
    first: BTreeMap<QueueId, u64>,
    /// The newest queue's number, and the place at which the next one begins.
    last_queue: u32,
    next_first: u64,
    deleted: BTreeSet<QueueId>,
    next: BTreeMap<QueueId, u64>,
    /// After the last place that a message had.
    used: BTreeMap<QueueId, u64>,
    waiting: BTreeMap<(QueueId, u64), Sent>,
    /// Finished by a batch that was synced.
    finished: BTreeSet<(QueueId, u64)>,
    /// Durable ones that went with their queue.
    purged: BTreeSet<(QueueId, u64)>,
    /// The journal: what each entry is of.
    journal: BTreeMap<u64, (QueueId, u64)>,
    last_journal: u64,
}

/// The store under the mailbox, which crashes.
trait Ground {
    type Store: Durable;

    /// Opens what is there.
    fn open(&mut self) -> Self::Store;

    /// The store, which is open, may fail from now on.
    fn begin_crash(&mut self, random: &mut fastrand::Rng);

    /// The store is not open any more: it loses what it may lose.
    fn crash(&mut self, random: &mut fastrand::Rng);
}

impl Ground for Lossy {
    type Store = Self;

    fn open(&mut self) -> Self {
        self.clone()
    }

    fn begin_crash(&mut self, _random: &mut fastrand::Rng) {}

    fn crash(&mut self, random: &mut fastrand::Rng) {
        let kept = random.usize(0..=self.unsynced());
        Self::crash(self, kept);
    }
}

/// The real one, which loses a part of the commit that it is in, with parts so small that it begins new ones.
struct Sled {
    folder: tempfile::TempDir,
    writes_left: Arc<AtomicI64>,
}

impl Sled {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), writes_left: Arc::default() }
    }
}

impl Ground for Sled {
    type Store = SledMailbox;

    fn open(&mut self) -> SledMailbox {
        let options = SledOptions { rotate_bytes: 100_000, ..SledOptions::default() };
        let store = SledMailbox::open(&self.folder.path().join("store"), options).unwrap();
        self.writes_left = store.writes_left();
        store
    }

    fn begin_crash(&mut self, random: &mut fastrand::Rng) {
        self.writes_left.store(random.i64(0..30), Ordering::Relaxed);
    }

    fn crash(&mut self, _random: &mut fastrand::Rng) {}
}

struct Run<G> {
    random: fastrand::Rng,
    ground: G,
    memory: Arc<MemoryMailbox>,
    /// Open, but for the moment of a crash.
    mailbox: Option<RoutedMailbox>,
    now: Model,
    /// As of the last sync.
    synced: Model,
    /// Every content that a place ever had.
    contents: BTreeSet<(QueueId, u64, String)>,
    moves: usize,
    removed: usize,
    deletions: usize,
}

impl<G: Ground> Run<G> {
    fn new(seed: u64, ground: G) -> Self {
        let mut run = Self {
            random: fastrand::Rng::with_seed(seed),
            ground,
            memory: Arc::default(),
            mailbox: None,
            now: Model::default(),
            synced: Model::default(),
            contents: BTreeSet::new(),
            moves: 0,
            removed: 0,
            deletions: 0,
        };
        run.open();
        run
    }

    fn open(&mut self) -> Recovered {
        let mailbox = RoutedMailbox::reopened(self.ground.open(), Arc::clone(&self.memory));
        let mailbox = self.mailbox.insert(mailbox.keeping_journal(KEPT));
        mailbox.recover().unwrap()
    }

    fn mailbox(&self) -> &RoutedMailbox {
        self.mailbox.as_ref().expect("it is open")
    }

    fn record(&self, queue: QueueId, kind: MailboxKind) -> Op {
        let mut record = queue_record(queue, kind, 5);
        record.first = Seq(self.now.first[&queue]);
        Arc::make_mut(&mut record.settings).memory_messages = 3;
        Op::PutQueue(Box::new(record))
    }

    fn batch(&mut self) -> Batch {
        let count = self.random.usize(1..10);
        let batch = batch((0..count).flat_map(|_| self.ops()).collect::<Vec<_>>());
        let Model { kinds, waiting, .. } = &mut self.now;
        for ((queue, _), sent) in waiting {
            sent.durable |= kinds[queue] == MailboxKind::File;
        }
        batch
    }

    fn ops(&mut self) -> Vec<Op> {
        let kind = KINDS[self.random.usize(0..KINDS.len())];
        let Some(queue) = self.queue() else { return self.make(kind) };
        match self.random.u32(0..24) {
            0 => {
                self.moves += usize::from(kind != self.now.kinds[&queue]);
                self.now.kinds.insert(queue, kind);
                vec![self.record(queue, kind)]
            }
            // Rarely, so that queues become long.
            14 if self.random.u32(0..8) == 0 => self.delete(queue),
            1..11 => self.append(queue),
            11..14 => self.edit(),
            _ => self.finish(),
        }
    }

    /// One of the queues, or none, to make one.
    fn queue(&mut self) -> Option<QueueId> {
        let at = self.random.usize(0..QUEUES as usize);
        self.now.kinds.keys().nth(at).copied()
    }

    fn make(&mut self, kind: MailboxKind) -> Vec<Op> {
        self.now.last_queue += 1;
        let queue = QueueId(self.now.last_queue);
        self.now.kinds.insert(queue, kind);
        self.now.first.insert(queue, self.now.next_first.max(1));
        vec![self.record(queue, kind)]
    }

    /// With all that waits in it.
    fn delete(&mut self, queue: QueueId) -> Vec<Op> {
        self.deletions += 1;
        let model = &mut self.now;
        model.kinds.remove(&queue);
        model.deleted.insert(queue);
        model.used.remove(&queue);
        let first = model.first.remove(&queue).expect("it was made");
        let next = model.next.remove(&queue).unwrap_or(first);
        model.next_first = model.next_first.max(next);
        let (gone, left) =
            std::mem::take(&mut model.waiting).into_iter().partition(|((of, _), _)| *of == queue);
        model.waiting = left;
        let gone: BTreeMap<_, Sent> = gone;
        model.purged.extend(gone.into_iter().filter(|(_, sent)| sent.durable).map(|(at, _)| at));
        vec![Op::RemoveQueue { queue, next: Seq(next) }]
    }

    fn append(&mut self, queue: QueueId) -> Vec<Op> {
        let next = self.now.next.entry(queue).or_insert(self.now.first[&queue]);
        let place = std::mem::replace(next, *next + 1);
        let payload = format!("{:x}", self.random.u64(..));
        self.now.used.insert(queue, place + 1);
        self.contents.insert((queue, place, payload.clone()));
        let sent = Sent { payload: payload.clone(), revision: 0, durable: false };
        self.now.waiting.insert((queue, place), sent);
        vec![append(queue, place, payload)]
    }

    fn pick(&mut self) -> Option<(QueueId, u64)> {
        let count = self.now.waiting.len();
        // The head mostly, as queues do; any message now and then.
        let at = if self.random.u32(0..4) > 0 { 0 } else { self.random.usize(0..count.max(1)) };
        self.now.waiting.keys().nth(at).copied()
    }

    fn edit(&mut self) -> Vec<Op> {
        let Some((queue, place)) = self.pick() else { return Vec::new() };
        let sent = self.now.waiting.get_mut(&(queue, place)).unwrap();
        sent.revision += 1;
        sent.payload = format!("edited {:x}", self.random.u64(..));
        self.contents.insert((queue, place, sent.payload.clone()));
        let (revision, payload) = (sent.revision, sent.payload.clone());
        self.now.last_journal += 1;
        let number = self.now.last_journal;
        self.now.journal.insert(number, (queue, place));
        vec![
            revise(queue, place, revision, payload),
            put_record(queue, place, blocked(revision)),
            journal(number, queue, Some(place)),
        ]
    }

    fn finish(&mut self) -> Vec<Op> {
        let Some((queue, place)) = self.pick() else { return Vec::new() };
        self.now.waiting.remove(&(queue, place));
        self.now.finished.insert((queue, place));
        vec![finish(queue, place)]
    }

    fn there(&self) -> BTreeMap<(QueueId, u64), Sent> {
        let queues = self.now.kinds.keys();
        let read = |queue: QueueId| {
            let messages = self.mailbox().read(queue, Seq(0), usize::MAX, usize::MAX).unwrap();
            assert!(messages.is_sorted_by_key(|message| message.seq), "in order");
            messages.into_iter().map(move |message| {
                let payload = String::from_utf8(message.content.payload.to_vec()).unwrap();
                let revision = message.record.map_or(0, |record| record.revision.0);
                ((queue, message.seq.0), Sent { payload, revision, durable: false })
            })
        };
        queues.copied().flat_map(read).collect()
    }

    /// What waits is what is expected, read from anywhere and by any page.
    fn check_reading(&mut self) {
        let there = self.there();
        let expected = self.now.waiting.iter().map(|(&at, sent)| (at, plain(sent))).collect();
        let differ: Vec<_> = BTreeMap::clone(&there)
            .into_iter()
            .filter(|(at, sent)| BTreeMap::get(&expected, at) != Some(sent))
            .collect();
        assert_eq!(there.len(), expected.len(), "there, beyond what is expected: {differ:?}");
        assert!(differ.is_empty(), "{differ:?}");
        if let Some(&deleted) = self.now.deleted.last() {
            let left = self.mailbox().read(deleted, Seq(0), 1, usize::MAX).unwrap();
            assert!(left.is_empty(), "{left:?} of a queue that was deleted");
        }
        let queue = self.queue().unwrap_or(QueueId(1));
        let from = self.random.u64(0..=self.now.next.get(&queue).copied().unwrap_or(1));
        let (max, bytes) = (self.random.usize(1..6), self.random.usize(0..200));
        let page = self.mailbox().read(queue, Seq(from), max, bytes).unwrap();
        let mut expected = Vec::new();
        let mut size = 0;
        for (&(_, place), _) in there.range((queue, from)..=(queue, u64::MAX)).take(max) {
            let all = self.mailbox().read(queue, Seq(place), 1, 1).unwrap();
            size += all[0].content.size_bytes() as usize;
            if size > bytes && !expected.is_empty() {
                break;
            }
            expected.push(Seq(place));
        }
        assert_eq!(page.iter().map(|message| message.seq).collect::<Vec<_>>(), expected);
    }

    /// What was written of messages that wait is in the journal, and no more than that and the newest entries.
    fn check_journal(&mut self) {
        while self.mailbox().maintain().unwrap() {}
        let entries = self.mailbox().journal(u64::MAX, usize::MAX, JournalFilter::default());
        let there: BTreeSet<u64> = entries.unwrap().iter().map(|entry| entry.number).collect();
        let mut needed = 0;
        for (&number, &(queue, place)) in &self.now.journal {
            if !self.now.waiting.contains_key(&(queue, place)) {
                continue;
            }
            needed += 1;
            assert!(there.contains(&number), "entry {number} of {queue}/{place} is lost");
            let of = JournalFilter { queue: Some(&name(queue)), seq: Some(Seq(place)) };
            let listed = self.mailbox().journal(number + 1, 1, of).unwrap();
            assert_eq!(listed.first().map(|entry| entry.number), Some(number));
        }
        let most = needed + KEPT as usize + SLACK;
        assert!(there.len() <= most, "{} entries, not more than {most}", there.len());
        self.removed = self.removed.max(self.now.last_journal as usize - there.len());
    }

    /// The store loses what was not synced, or a part of it; with the process, RAM is lost too.
    fn crash(&mut self, with_process: bool) {
        self.ground.begin_crash(&mut self.random);
        // In doubt, if it fails.
        let batch = self.batch();
        let _ = self.mailbox().append(&batch);
        self.mailbox = None;
        self.ground.crash(&mut self.random);
        if with_process {
            self.memory = Arc::default();
        }
        let recovered = self.open();
        self.now.last_journal = recovered.last_journal;
        self.now.journal.retain(|&number, _| number <= recovered.last_journal);
        assert!(recovered.last_journal >= self.synced.last_journal, "entries are lost");
        self.now.kinds =
            recovered.queues.iter().map(|q| (q.record.id, q.record.settings.mailbox)).collect();
        self.check_deleted(&recovered);
        let there = self.there();
        for ((queue, place), sent) in &self.synced.waiting {
            let is_finished = !self.now.waiting.contains_key(&(*queue, *place));
            let is_back =
                self.now.purged.contains(&(*queue, *place)) && self.now.kinds.contains_key(queue);
            let is_kept = !is_finished && (sent.durable || !with_process);
            if is_kept || (is_back && sent.durable) {
                assert!(there.contains_key(&(*queue, *place)), "{queue}/{place} {sent:?} is lost");
            }
        }
        for (&(queue, place), sent) in &there {
            assert!(!self.synced.finished.contains(&(queue, place)), "{queue}/{place} came back");
            assert!(self.contents.contains(&(queue, place, sent.payload.clone())), "{sent:?}");
        }
        for backlog in &recovered.queues {
            self.check_backlog(backlog, &there);
        }
        let durable = |at: &(QueueId, u64), now: &Model| {
            now.waiting.get(at).is_some_and(|sent| sent.durable)
                && now.kinds.get(&at.0) == Some(&MailboxKind::File)
        };
        let old = std::mem::take(&mut self.now.waiting);
        let before = Model { waiting: old, ..self.now.clone() };
        self.now.waiting = there
            .into_iter()
            .map(|(at, sent)| (at, Sent { durable: durable(&at, &before), ..sent }))
            .collect();
        self.now.finished = self.synced.finished.clone();
        self.now.purged.clear();
        self.now.next = recovered.queues.iter().map(|q| (q.record.id, q.next_seq.0)).collect();
        self.now.used = std::mem::take(&mut self.synced.used);
        for &(queue, place) in self.now.waiting.keys() {
            let used = self.now.used.entry(queue).or_default();
            *used = (*used).max(place + 1);
        }
        self.synced = self.now.clone();
    }

    /// What was deleted durably stays so, and what is made from now on comes after it.
    fn check_deleted(&mut self, recovered: &Recovered) {
        let ids: BTreeSet<QueueId> = self.now.kinds.keys().copied().collect();
        let back: Vec<_> = self.synced.deleted.intersection(&ids).collect();
        assert!(back.is_empty(), "{back:?} came back");
        let gone: Vec<_> = self.synced.kinds.keys().filter(|&id| !ids.contains(id)).collect();
        assert!(gone.iter().all(|&id| self.now.deleted.contains(id)), "{gone:?} are lost");
        let removed = recovered.removed;
        assert!(removed.next.0 >= self.synced.next_first, "places would be used again");
        let newest = ids.last().copied().unwrap_or_default().max(removed.last);
        assert!(self.synced.deleted.last().is_none_or(|&id| id <= newest), "numbers, too");
        self.now.last_queue = newest.0;
        self.now.next_first = removed.next.0;
        self.now.deleted = (1..=newest.0).map(QueueId).filter(|id| !ids.contains(id)).collect();
        let first = |backlog: &QueueBacklog| (backlog.record.id, backlog.record.first.0);
        self.now.first = recovered.queues.iter().map(first).collect();
    }

    fn check_backlog(&self, backlog: &QueueBacklog, there: &BTreeMap<(QueueId, u64), Sent>) {
        let id = backlog.record.id;
        let waiting: Vec<u64> =
            there.range((id, 0)..=(id, u64::MAX)).map(|(&(_, place), _)| place).collect();
        let finished: BTreeSet<Seq> = backlog.finished.iter().copied().collect();
        let counted: Vec<u64> = (backlog.floor.0..backlog.next_seq.0)
            .filter(|place| !finished.contains(&Seq(*place)))
            .collect();
        assert_eq!(counted, waiting, "places of queue {id}");
        assert!(!finished.contains(&backlog.floor));
        let messages = self.mailbox().read(id, Seq(0), usize::MAX, usize::MAX).unwrap();
        let bytes: u64 = messages.iter().map(|message| message.content.size_bytes()).sum();
        assert_eq!(backlog.bytes, bytes, "bytes of queue {id}");
        assert_eq!(backlog.oldest_at, messages.first().map(|message| message.accepted_at));
        let used = self.synced.used.get(&id).copied().unwrap_or(1);
        assert!(backlog.next_seq.0 >= used, "queue {id} would use a place twice");
        let records = messages.iter().filter(|message| message.record.is_some()).count();
        assert_eq!(backlog.records.len(), records);
    }

    fn round(&mut self) {
        let batch = self.batch();
        self.mailbox().append(&batch).unwrap();
        match self.random.u32(0..30) {
            0 => self.crash(true),
            1..3 => self.crash(false),
            3..15 => {
                self.mailbox().sync().unwrap();
                self.synced = self.now.clone();
            }
            _ => {}
        }
        self.check_reading();
        self.check_journal();
    }
}

fn plain(sent: &Sent) -> Sent {
    Sent { durable: false, ..sent.clone() }
}

fn run<G: Ground>(seeds: std::ops::Range<u64>, rounds: usize, ground: fn() -> G) {
    let (mut moves, mut removed, mut deletions) = (0, 0, 0);
    for seed in seeds.clone() {
        let mut run = Run::new(seed, ground());
        for _ in 0..rounds {
            run.round();
        }
        moves += run.moves;
        removed += run.removed;
        deletions += run.deletions;
    }
    let runs = seeds.count();
    assert!(moves > runs * rounds / 40, "moves were seen: {moves}");
    assert!(removed > runs * rounds / 4, "the journal lost entries: {removed}");
    assert!(deletions > runs * rounds / 60, "deletions were seen: {deletions}");
}

#[test]
fn whatever_happens_order_and_content_hold() {
    run(0..20, 400, Lossy::default);
}

#[test]
fn whatever_happens_they_hold_in_the_real_store_too() {
    run(0..3, 150, Sled::new);
}
