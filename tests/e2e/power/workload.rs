//! What the store is given: batches from seeds, the same in the process that is recorded and in the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use mubroker::mailbox::{JournalFilter, Mailbox};
use mubroker::model::{
    Actor, Batch, Content, Dedup, Finish, Generation, Header, IdempotencyKey, JournalEntry,
    JournalKind, MessageId, MessageRecord, MessageState, Op, QueueId, QueueName, QueueRecord,
    QueueSettings, RepairOutcome, Revision, RevisionRecord, Seq, Timestamp, WorkError,
};

/// Queues at a time, some busier than others.
const QUEUES: u32 = 6;
/// More waiting messages than this, and most operations finish some.
const MANY: usize = 250;

/// Seeds, and how many batches were taken from each: all batches that a store was given and kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct History(pub(crate) Vec<(u64, usize)>);

impl History {
    /// How many batches.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The first `count` batches of this one.
    pub(crate) fn cut(&self, count: usize) -> Self {
        let mut left = count;
        let mut cut = Vec::new();
        for &(seed, count) in &self.0 {
            cut.push((seed, count.min(left)));
            left -= count.min(left);
        }
        Self(cut)
    }

    /// As text, for the recorded process.
    pub(crate) fn to_text(&self) -> String {
        self.0.iter().map(|(seed, count)| format!("{seed}:{count} ")).collect()
    }

    pub(crate) fn from_text(text: &str) -> Self {
        let pair = |word: &str| {
            let (seed, count) = word.split_once(':').expect("seed:count");
            (seed.parse().expect("a seed"), count.parse().expect("a count"))
        };
        Self(text.split_whitespace().map(pair).collect())
    }
}

/// Random batches, each consistent with all before.
#[derive(Debug)]
pub(crate) struct Workload {
    random: Rng,
    /// The queue in each slot; one that was deleted is followed by another, which begins at `first`.
    queues: Vec<QueueId>,
    first: u64,
    next: BTreeMap<QueueId, u64>,
    /// Where each begins.
    firsts: BTreeMap<QueueId, u64>,
    /// Waiting messages, and how many revisions each has.
    waiting: Vec<(QueueId, u64, u32)>,
    journal: u64,
    repairs: u64,
    load: Load,
}

/// What most batches do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Messages come and go.
    Messages,
    /// Large contents of few messages are written again and again: what sled overwrites.
    Edits,
}

impl Load {
    /// A seed of this load, from any.
    pub(crate) fn seed(self, seed: u64) -> u64 {
        match self {
            Self::Messages => seed & !1,
            Self::Edits => seed | 1,
        }
    }

    fn of_seed(seed: u64) -> Self {
        if seed.is_multiple_of(2) { Self::Messages } else { Self::Edits }
    }
}

impl Workload {
    /// After `history`; `each` is given its batches.
    pub(crate) fn after(history: &History, mut each: impl FnMut(Batch)) -> Self {
        let mut workload = Self {
            random: Rng::with_seed(0),
            queues: (1..=QUEUES).map(QueueId).collect(),
            first: 1,
            next: BTreeMap::new(),
            firsts: BTreeMap::new(),
            waiting: Vec::new(),
            journal: 0,
            repairs: 0,
            load: Load::Messages,
        };
        for &(seed, count) in &history.0 {
            workload.reseed(seed);
            (0..count).for_each(|_| each(workload.batch()));
        }
        workload
    }

    /// Batches from here on come from this seed.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.random = Rng::with_seed(seed);
        self.load = Load::of_seed(seed);
    }

    /// The next one.
    pub(crate) fn batch(&mut self) -> Batch {
        let mut ops = Vec::new();
        match self.random.u32(0..60) {
            // A publisher with a full window.
            0..8 => (0..self.random.usize(20..200)).for_each(|_| self.append(600, &mut ops)),
            // More than one of sled's segments at once.
            8 => (0..self.random.usize(3..9)).for_each(|_| self.append(2_000_000, &mut ops)),
            // An event for many queues, which share its payload.
            13..17 => self.publish(&mut ops),
            // A queue is worked off.
            9..13 => {
                let queue = self.queue();
                let all = self.waiting.iter().filter(|(id, ..)| *id == queue);
                let all: Vec<u64> = all.map(|&(_, seq, _)| seq).collect();
                all.into_iter().for_each(|seq| self.finish(queue, seq, &mut ops));
            }
            // One goes with all that is in it, and the next one in its place may come with it.
            57..60 => {
                self.delete(&mut ops);
                (0..self.random.usize(0..9)).for_each(|_| self.op(&mut ops));
            }
            // As many as the broker puts into one batch.
            17..44 if self.load == Load::Edits => {
                (0..self.random.usize(1..24)).for_each(|_| self.revise(500_000, &mut ops));
                (0..self.random.usize(0..8)).for_each(|_| self.finish_one(&mut ops));
            }
            _ => (0..self.random.usize(1..14)).for_each(|_| self.op(&mut ops)),
        }
        if ops.is_empty() {
            self.journal(&mut ops);
        }
        Batch { ops }
    }

    fn queue(&mut self) -> QueueId {
        let slot = self.slot();
        self.queues[slot]
    }

    fn slot(&mut self) -> usize {
        let busiest = self.random.usize(1..=self.queues.len());
        self.random.usize(0..busiest)
    }

    fn delete(&mut self, ops: &mut Vec<Op>) {
        let slot = self.slot();
        let queue = self.queues[slot];
        let Some(next) = self.next.remove(&queue) else { return };
        self.waiting.retain(|&(id, ..)| id != queue);
        self.first = self.first.max(next);
        let newest = self.queues.iter().max().expect("there are some");
        self.queues[slot] = QueueId(newest.0 + 1);
        ops.push(Op::RemoveQueue { queue, next: Seq(next) });
    }

    fn op(&mut self, ops: &mut Vec<Op>) {
        let is_full = self.waiting.len() > MANY;
        match self.random.u32(0..24) {
            0..8 if !is_full => {
                let bytes = match self.random.u32(0..40) {
                    0 => 400_000,
                    1..5 => 60_000,
                    _ => 1_500,
                };
                self.append(bytes, ops);
            }
            0..15 => self.finish_one(ops),
            15..18 => self.put_record(ops),
            18..21 => {
                let bytes = if self.random.u32(0..8) == 0 { 250_000 } else { 3_000 };
                self.revise(bytes, ops);
            }
            21 => self.put_queue(ops),
            22 => self.journal(ops),
            _ => self.repair(ops),
        }
    }

    fn put_queue(&mut self, ops: &mut Vec<Op>) {
        let queue = self.queue();
        let first = *self.firsts.entry(queue).or_insert(self.first);
        self.next.entry(queue).or_insert(first);
        let dedup = match queue.0 % QUEUES {
            1 => Dedup::Off,
            number => Dedup::Count { last: 7 * (number + 1) },
        };
        ops.push(Op::PutQueue(Box::new(QueueRecord {
            first: Seq(first),
            id: queue,
            name: name(queue),
            settings: Arc::new(QueueSettings {
                dedup,
                lease_ms: self.random.u64(1..99),
                ..Default::default()
            }),
            paused: None,
            draining: None,
            created_at: Timestamp(1),
            overrides: Box::default(),
            has_ttl: false,
            dedup_marks: None,
        })));
    }

    fn append(&mut self, max_bytes: usize, ops: &mut Vec<Op>) {
        let queue = self.queue();
        if !self.next.contains_key(&queue) {
            return self.put_queue(ops);
        }
        let next = self.next.get_mut(&queue).expect("it was just looked for");
        let (seq, at) = (Seq(*next), Timestamp(1_000 + *next));
        *next += 1;
        self.waiting.push((queue, seq.0, 0));
        let content = self.content(queue, seq.0, max_bytes);
        ops.push(Op::Append { queue, seq, at, content, entry: None });
    }

    fn publish(&mut self, ops: &mut Vec<Op>) {
        let first = ops.len();
        (0..self.random.usize(2..12)).for_each(|_| self.append(60_000, ops));
        let mut shared = None;
        for op in ops.iter_mut().skip(first) {
            let Op::Append { content, .. } = op else { continue };
            let Content { header, payload } = content.as_ref().clone();
            let payload = shared.get_or_insert(payload).clone();
            *content = Arc::new(Content { header, payload });
        }
    }

    /// Bytes of which every part says where it belongs.
    fn content(&mut self, queue: QueueId, seq: u64, max_bytes: usize) -> Arc<Content> {
        let header = format!(r#"{{"id":"q{queue}-{seq}","x-n":{}}}"#, self.random.u32(..));
        let header = Header::from_json(header.as_bytes()).expect("a header");
        let start = self.random.u64(..);
        let mut payload = vec![0; self.random.usize(0..=max_bytes)];
        for (word, bytes) in payload.chunks_exact_mut(8).enumerate() {
            bytes.copy_from_slice(&(start ^ word as u64).to_le_bytes());
        }
        Arc::new(Content { header, payload: Bytes::from(payload) })
    }

    fn pick(&mut self) -> Option<usize> {
        let count = self.waiting.len();
        // Mostly near the front, as workers take them.
        let near = if self.random.bool() { count.min(8) } else { count };
        (count > 0).then(|| self.random.usize(0..near))
    }

    fn finish_one(&mut self, ops: &mut Vec<Op>) {
        let Some(at) = self.pick() else { return };
        let (queue, seq, _) = self.waiting[at];
        self.finish(queue, seq, ops);
    }

    fn finish(&mut self, queue: QueueId, seq: u64, ops: &mut Vec<Op>) {
        self.waiting.retain(|&(id, place, _)| (id, place) != (queue, seq));
        ops.push(Op::Finish { queue, seq: Seq(seq), how: Finish::Done });
    }

    fn put_record(&mut self, ops: &mut Vec<Op>) {
        let Some(at) = self.pick() else { return };
        let (queue, seq, revisions) = self.waiting[at];
        let detail = "why ".repeat(self.random.usize(0..500));
        let record = MessageRecord {
            state: MessageState::Blocked,
            attempts: self.random.u32(..9),
            revision: Revision(revisions),
            last_error: Some(WorkError { detail, ..WorkError::default() }),
            ..MessageRecord::default()
        };
        ops.push(Op::PutRecord { queue, seq: Seq(seq), record: Box::new(record) });
    }

    fn revise(&mut self, max_bytes: usize, ops: &mut Vec<Op>) {
        let Some(at) = self.pick() else { return };
        let (queue, seq, revisions) = &mut self.waiting[at];
        *revisions += 1;
        let (queue, seq, number) = (*queue, *seq, *revisions);
        let content = self.content(queue, seq, max_bytes);
        let revision = RevisionRecord {
            revision: Revision(number),
            by: actor(),
            at: Timestamp(5_000),
            reason: "typo".to_owned(),
        };
        ops.push(Op::PutRevision { queue, seq: Seq(seq), revision: Box::new(revision), content });
        let record = MessageRecord { revision: Revision(number), ..MessageRecord::default() };
        ops.push(Op::PutRecord { queue, seq: Seq(seq), record: Box::new(record) });
        self.journal(ops);
    }

    fn journal(&mut self, ops: &mut Vec<Op>) {
        self.journal += 1;
        let queue = self.queue();
        ops.push(Op::Journal(Box::new(JournalEntry {
            number: self.journal,
            at: Timestamp(self.journal),
            actor: actor(),
            kind: JournalKind::Saved,
            queue: name(queue),
            seq: None,
            id: None,
            to: None,
            revision: None,
            reason: "why".to_owned(),
            key: None,
        })));
    }

    fn repair(&mut self, ops: &mut Vec<Op>) {
        self.repairs += 1;
        let key = format!("key-{}", self.repairs);
        ops.push(Op::PutRepair(Box::new(RepairOutcome {
            key: IdempotencyKey::new(&key).expect("a key"),
            queue: name(QueueId(1)),
            seq: Seq(1),
            id: MessageId::new("q1-1").expect("an id"),
            revision: Revision(1),
            state: MessageState::Ready,
            moved: None,
            journal: 1,
            repeated: false,
        })));
    }
}

fn actor() -> Actor {
    Actor { name: "ana".to_owned(), via: "cli".to_owned() }
}

fn name(queue: QueueId) -> QueueName {
    QueueName::new(&format!("queue-{queue}")).expect("a name")
}

/// All that a store can be asked, but the generation; a line a message.
pub(crate) fn everything(mailbox: &dyn Mailbox) -> Result<String, String> {
    let text = |e: mubroker::mailbox::MailboxError| e.to_string();
    let mut recovered = mailbox.recover().map_err(text)?;
    recovered.generation = Generation(0);
    let journal = mailbox.journal(u64::MAX, usize::MAX, JournalFilter::default()).map_err(text)?;
    let mut all = String::new();
    for queue in &recovered.queues {
        let id = queue.record.id;
        all += &format!("{queue:?}\n");
        for message in mailbox.read(id, Seq(0), usize::MAX, usize::MAX).map_err(text)? {
            let seq = message.seq;
            let sum = |content: &Content| {
                let payload = &content.payload;
                format!("{:?} {} {:08x}", content.header, payload.len(), crc32fast::hash(payload))
            };
            all += &format!("{id} {seq} {} {:?}", sum(&message.content), message.record);
            for (revision, bytes) in mailbox.revisions(id, seq).map_err(text)? {
                let content = mailbox.content(id, seq, revision.revision).map_err(text)?;
                let content = content.ok_or_else(|| format!("{id} {seq}: no {revision:?}"))?;
                all += &format!(" {revision:?} {bytes} {}", sum(&content));
            }
            all.push('\n');
        }
    }
    let (last, repairs) = (recovered.last_journal, &recovered.repairs);
    all += &format!("{:?} {last} {repairs:?} {journal:?}\n", recovered.removed);
    Ok(all)
}
