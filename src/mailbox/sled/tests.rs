//! Crashes, damage, and what only this store promises. The behaviours that all stores share are in
//! `conformance`.

mod compaction;
mod ends;
mod journal;
mod removal;
mod rest;
mod rotation;
mod sharing;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::layout::{MAX_VALUE_BYTES, PART_BYTES, VALUE_SLOT, log_key, record_key};
use super::*;
use crate::mailbox::MemoryMailbox;
use crate::mailbox::conformance::sample::*;
use crate::model::{
    Generation, MailboxKind, Op, ProcessRecord, QueueRecord, RemovedQueues, Timestamp,
};

fn open(path: &Path) -> SledMailbox {
    SledMailbox::open(&path.join("store"), SledOptions::default()).unwrap()
}

fn blobs(path: &Path) -> usize {
    let folders = folder::folders(&path.join("store")).unwrap();
    assert!(!folders.is_empty());
    let blobs = folders.into_iter().map(|name| path.join("store").join(name).join("blobs"));
    // One that is just being deleted has none.
    blobs.filter_map(|blobs| std::fs::read_dir(blobs).ok()).map(Iterator::count).sum()
}

#[test]
fn a_second_open_says_which_process_has_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let held = open(folder.path());
    let again = SledMailbox::open(&folder.path().join("store"), SledOptions::default());
    match again {
        Err(MailboxError::Held { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
        other => panic!("{other:?}"),
    }
    drop(held);
    open(folder.path());
}

#[test]
fn a_newer_or_unreadable_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let store = folder.path().join("store");
    let refuse = |format: Option<&str>| {
        match format {
            Some(text) => std::fs::write(store.join("format"), text).unwrap(),
            None => std::fs::remove_file(store.join("format")).unwrap(),
        }
        SledMailbox::open(&store, SledOptions::default()).unwrap_err()
    };
    let newer = refuse(Some("mubroker store format 5\n"));
    assert!(matches!(newer, MailboxError::TooNew { found: 5, known: 4, .. }), "{newer}");
    for bad in [Some("mubroker store format x"), Some(""), None] {
        let error = refuse(bad);
        assert!(matches!(error, MailboxError::Damaged { .. }), "{error}");
    }
    std::fs::write(store.join("format"), "mubroker store format 3\n").unwrap();
    open(folder.path());
}

#[test]
fn damaged_bytes_are_found_and_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    mailbox.append(&batch([put_queue(Q, 5)])).unwrap();
    mailbox.append(&appends(Q, 1..=3)).unwrap();
    mailbox.append(&batch([put_record(Q, 2, blocked(0)), append(Q, 4, "sound")])).unwrap();
    let flip = |tree: &::sled::Tree, key: &[u8]| {
        let mut value = tree.get(key).unwrap().unwrap().to_vec();
        let at = value.len() / 2;
        value[at] ^= 1;
        tree.insert(key, value).unwrap();
    };
    let active = mailbox.store.active().unwrap().generation;
    flip(&active.log, &log_key(1, VALUE_SLOT));
    let record = [record_key(Q, Seq(2)), vec![0, 0]].concat();
    flip(&active.state, &record);
    let read = mailbox.read(Q, Seq(1), 9, 999).unwrap();
    for (message, seq) in read.iter().zip(1..=3) {
        let error = message.unreadable.as_ref().expect("damaged");
        assert!(error.message.contains("0000000000000001"), "says where: {error:?}");
        assert_eq!((message.seq, message.accepted_at), (Seq(seq), Timestamp(1_000 + seq)));
        assert_eq!(*message.content, Content::placeholder(&id(&format!("q1-{seq}"))));
    }
    assert_eq!((read[3].content.payload.as_ref(), &read[3].unreadable), (&b"sound"[..], &None));
    let error = mailbox.content(Q, Seq(2), Revision(0)).unwrap_err();
    assert!(matches!(error, MailboxError::Unreadable { seq: Seq(2), .. }), "{error}");
    assert!(mailbox.recover().is_err(), "the record is damaged");
}

#[test]
fn no_value_is_longer_than_what_keeps_pages_out_of_blobs() {
    // The largest of everything: sled would write a page of more than 2 MiB into a blob.
    const MAX_KEYS_ON_A_PAGE: usize = 20;
    const { assert!(MAX_KEYS_ON_A_PAGE * MAX_VALUE_BYTES < 2 * 1024 * 1024 - 64 * 1024) };
    const { assert!(PART_BYTES + 64 < MAX_VALUE_BYTES) };
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    mailbox.append(&batch([put_queue(Q, 100)])).unwrap();
    let mut seq = 0;
    for len in [87_900, 88_000, 90_112, 300_000, 3_000_000, 50_000, 87_000, 1_000] {
        for _ in 0..6 {
            seq += 1;
            let ops = [append(Q, seq, vec![seq as u8; len])];
            let mut large = blocked(1);
            large.last_error.as_mut().unwrap().detail = "\u{1}".repeat(len / 8);
            let more = [put_record(Q, seq, large), revise(Q, seq, 1, vec![1; len])];
            mailbox.append(&batch(ops.into_iter().chain(more))).unwrap();
            mailbox.sync().unwrap();
        }
    }
    mailbox.append(&batch((1..=seq).filter(|seq| seq % 3 > 0).map(|seq| finish(Q, seq)))).unwrap();
    while mailbox.maintain().unwrap() {}
    mailbox.sync().unwrap();
    let left: Vec<u64> = (1..=seq).filter(|seq| seq % 3 == 0).collect();
    drop(mailbox);
    let mailbox = open(folder.path());
    assert_eq!(places(&mailbox, Q), left);
    assert_eq!(blobs(folder.path()), 0);
}

#[test]
fn directories_of_finished_segments_are_removed_and_the_newest_commit_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    mailbox.append(&batch([put_queue(Q, 3)])).unwrap();
    for seq in 1..=200 {
        mailbox.append(&batch([append(Q, seq, vec![0; 2_000])])).unwrap();
        mailbox.append(&batch([finish(Q, seq)])).unwrap();
    }
    while mailbox.maintain().unwrap() {}
    let directories = |mailbox: &SledMailbox| {
        mailbox.store.active().unwrap().generation.state.scan_prefix(b"s").count()
    };
    assert_eq!(directories(&mailbox), 3, "as many as the window needs");
    assert_eq!(mailbox.index().segments.len(), 3);
    assert_eq!(mailbox.index().queues[&Q].runs.len(), 3);
    drop(mailbox);
    let mailbox = open(folder.path());
    while mailbox.maintain().unwrap() {}
    assert_eq!((directories(&mailbox), mailbox.index().segments.len()), (3, 3));
}

/// Random batches, consistent with what a model holds.
struct Driver {
    random: fastrand::Rng,
    next: BTreeMap<QueueId, u64>,
    /// Places that were skipped and may be filled in.
    skipped: BTreeSet<(QueueId, u64)>,
    has_gaps: bool,
    waiting: Vec<(QueueId, u64)>,
    journal: u64,
    repairs: usize,
    /// Numbers of the queues that there are now.
    queues: [u32; 4],
    removed: RemovedQueues,
}

impl Driver {
    fn new(seed: u64, has_gaps: bool) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            next: BTreeMap::new(),
            skipped: BTreeSet::new(),
            has_gaps,
            waiting: Vec::new(),
            journal: 0,
            repairs: 0,
            queues: [1, 2, 3, 4],
            removed: RemovedQueues::default(),
        }
    }

    fn batch(&mut self) -> Batch {
        let ops = (0..self.random.usize(1..12)).filter_map(|_| self.op());
        Batch { ops: ops.collect::<Vec<_>>() }
    }

    /// What goes with a batch that was just made.
    fn elsewhere(&mut self) -> BTreeMap<QueueId, Elsewhere> {
        let queues: Vec<(QueueId, u64)> = self.next.iter().map(|(&q, &next)| (q, next)).collect();
        let elsewhere = queues.into_iter().map(|(queue, next)| {
            let says_next = self.has_gaps && self.random.u32(0..4) == 0;
            let next = says_next.then(|| Seq(next + self.random.u64(0..30)));
            (queue, Elsewhere { first: self.first_skipped(queue), next })
        });
        elsewhere.collect()
    }

    fn first_skipped(&self, queue: QueueId) -> Option<Seq> {
        self.skipped.range((queue, 0)..(queue, u64::MAX)).next().map(|&(_, place)| Seq(place))
    }

    /// The place of a queue's next message: at its end, after a gap, or in a gap.
    fn place(&mut self, queue: QueueId, next: u64) -> u64 {
        let choice = if self.has_gaps { self.random.u32(0..8) } else { 8 };
        if choice == 0 {
            // These places are elsewhere; some of them are finished there now and then.
            let skipped = self.random.u64(1..20);
            self.skipped.extend((next..next + skipped).map(|place| (queue, place)));
            return next + skipped;
        }
        if choice == 1 {
            let first = self.first_skipped(queue).map_or(0, |first| first.0);
            let finished = first..first + self.random.u64(0..20);
            self.skipped.retain(|&(of, place)| of != queue || !finished.contains(&place));
        }
        let filled = self.first_skipped(queue).filter(|_| choice < 5);
        filled.map_or(next, |place| {
            self.skipped.remove(&(queue, place.0));
            place.0
        })
    }

    fn remove(&mut self, slot: usize, next: u64) -> Op {
        let queue = QueueId(self.queues[slot]);
        self.next.remove(&queue);
        self.waiting.retain(|&(of, _)| of != queue);
        self.skipped.retain(|&(of, _)| of != queue);
        // What was set aside for messages elsewhere is used too.
        let next = Seq(next + 40);
        self.removed.note(queue, next);
        self.queues[slot] = self.queues.iter().max().unwrap() + 1;
        Op::RemoveQueue { queue, next }
    }

    fn op(&mut self) -> Option<Op> {
        let slot = self.random.usize(0..self.queues.len());
        let queue = QueueId(self.queues[slot]);
        let Some(next) = self.next.get(&queue).copied() else {
            let first = self.removed.next;
            self.next.insert(queue, first.0);
            let record = queue_record(queue, MailboxKind::File, slot as u32 * 5);
            return Some(Op::PutQueue(Box::new(QueueRecord { first, ..record })));
        };
        if self.random.u32(0..40) == 0 {
            return Some(self.remove(slot, next));
        }
        let pick = |driver: &mut Self| {
            let count = driver.waiting.len();
            (count > 0).then(|| driver.random.usize(0..count))
        };
        let len = match self.random.u32(0..20) {
            0 => self.random.usize(80_000..250_000),
            1..4 => self.random.usize(5_000..80_000),
            _ => self.random.usize(0..500),
        };
        let payload = vec![self.random.u8(..); len];
        Some(match self.random.u32(0..20) {
            0..9 => {
                let place = self.place(queue, next);
                self.next.insert(queue, next.max(place + 1));
                self.waiting.push((queue, place));
                append(queue, place, payload)
            }
            9..14 => {
                let (queue, seq) = pick(self).map(|at| self.waiting.swap_remove(at))?;
                finish(queue, seq)
            }
            14..16 => {
                let (queue, seq) = pick(self).map(|at| self.waiting[at])?;
                put_record(queue, seq, blocked(0))
            }
            16..18 => {
                let (queue, seq) = pick(self).map(|at| self.waiting[at])?;
                revise(queue, seq, self.random.u32(1..3), payload)
            }
            18 => {
                self.journal += 1;
                journal(self.journal, queue, Some(self.journal))
            }
            _ => match self.random.u32(0..4) {
                0 => {
                    self.repairs += 1;
                    repair(self.repairs)
                }
                1 => Op::RemoveProcess(process(&format!("p{slot}"))),
                _ => put_process(&format!("p{slot}"), self.random.u16(0..3), payload),
            },
        })
    }
}

/// All that a store can be asked, but the generation.
fn everything(mailbox: &dyn Mailbox) -> String {
    let mut recovered = mailbox.recover().unwrap();
    recovered.generation = Generation(0);
    let journal = mailbox.journal(u64::MAX, usize::MAX, JournalFilter::default()).unwrap();
    let processes = std::mem::take(&mut recovered.processes);
    let mut text = format!("{recovered:?} {journal:?}");
    for ProcessRecord { key, part, body } in processes {
        text += &format!("\n{key:?} {part} {} {}", body.len(), crc32fast::hash(&body));
    }
    for queue in &recovered.queues {
        for message in mailbox.read(queue.record.id, Seq(0), usize::MAX, usize::MAX).unwrap() {
            let revisions = mailbox.revisions(queue.record.id, message.seq).unwrap();
            let payload = &message.content.payload;
            let sum = (payload.len(), crc32fast::hash(payload), &message.record);
            text += &format!("\n{} {sum:?} {revisions:?}", message.seq);
        }
    }
    text
}

#[test]
fn a_crash_between_any_two_writes_leaves_whole_commits() {
    crash_between_writes(0, false, |_| {});
    crash_between_writes(1, false, |_| {});
}

#[test]
fn a_crash_keeps_gaps_and_what_was_filled_in() {
    crash_between_writes(2, true, |_| {});
    crash_between_writes(3, true, |_| {});
}

#[test]
fn salvaging_what_a_crash_has_left_loses_nothing_either() {
    let salvage = |folder: &Path| {
        store::Store::salvage(&folder.join("store"), "a test says so").unwrap();
    };
    crash_between_writes(4, false, salvage);
    crash_between_writes(5, false, salvage);
}

/// `after_crash` is done to the folder before it is opened again.
fn crash_between_writes(seed: u64, has_gaps: bool, after_crash: fn(&Path)) {
    const ROUNDS: usize = 60;
    {
        let folder = tempfile::tempdir().unwrap();
        let mut mailbox = open(folder.path());
        let model = MemoryMailbox::new();
        let mut driver = Driver::new(seed, has_gaps);
        let mut cuts = [0; 2];
        for _ in 0..ROUNDS {
            for _ in 0..driver.random.usize(0..6) {
                let (batch, elsewhere) = (driver.batch(), driver.elsewhere());
                mailbox.append_with_gaps(&batch, &elsewhere).unwrap();
                model.append_with_gaps(&batch, &elsewhere).unwrap();
                mailbox.maintain().unwrap();
            }
            let before = everything(&model);
            let (batch, elsewhere) = (driver.batch(), driver.elsewhere());
            mailbox.store.fail_after_writes(driver.random.i64(0..12));
            let appended = mailbox.append_with_gaps(&batch, &elsewhere);
            let refused = appended.is_err() || mailbox.maintain().is_err();
            assert_eq!(mailbox.append(&Batch::default()).is_err(), refused, "broken stays broken");
            drop(mailbox);
            after_crash(folder.path());
            mailbox = open(folder.path());
            model.append_with_gaps(&batch, &elsewhere).unwrap();
            let is_whole = everything(&mailbox) == everything(&model);
            cuts[usize::from(is_whole)] += 1;
            if !is_whole {
                let (now, after) = (everything(&mailbox), everything(&model));
                assert_eq!(now, before, "all or nothing; all is {after}");
                mailbox.append_with_gaps(&batch, &elsewhere).unwrap();
            }
            assert_eq!(everything(&mailbox), everything(&model));
        }
        assert!(cuts.iter().all(|&count| count > 5), "both ends were seen: {cuts:?}");
        assert_eq!(blobs(folder.path()), 0);
    }
}

/// The child of [`kill_9_loses_nothing_that_was_synced`]: appends and says what is synced, for ever.
const CHILD_FOLDER: &str = "MUBROKER_TEST_CRASH_FOLDER";

#[test]
#[ignore = "the child process of another test"]
fn child_that_appends_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let mailbox = open(Path::new(&folder));
    let recovered = mailbox.recover().unwrap();
    let mut next = match recovered.queues.first() {
        Some(queue) => queue.next_seq.0,
        None => {
            mailbox.append(&batch([put_queue(Q, 5)])).unwrap();
            1
        }
    };
    let (mut floor, mut random) = (recovered.queues.first().map_or(1, |q| q.floor.0), next);
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let count = random >> 33 & 31;
        let done = (next - floor).saturating_sub(100);
        let appended = (next..=next + count).map(|seq| append(Q, seq, seq.to_string().repeat(60)));
        let finished = (floor..floor + done).map(|seq| finish(Q, seq));
        mailbox.append(&batch(appended.chain(finished))).unwrap();
        mailbox.sync().unwrap();
        mailbox.maintain().unwrap();
        next += count + 1;
        floor += done;
        writeln!(std::io::stdout(), "synced {floor} {next}").unwrap();
    }
}

#[test]
fn kill_9_loses_nothing_that_was_synced() {
    const ROUNDS: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("mailbox::sled::tests::child_that_appends_until_it_is_killed")
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = lines.map_while(Result::ok).filter_map(|line| {
            let mut words = line.strip_prefix("synced ")?.split(' ').map(str::parse);
            Some((words.next()?.unwrap(), words.next()?.unwrap()))
        });
        let before_kill = acknowledged.nth((round * 37 % 101) as usize);
        child.kill().unwrap();
        let last: Option<(u64, u64)> = acknowledged.last().or(before_kill);
        child.wait().unwrap();
        let (floor, next) = last.expect("the child acknowledged something");
        let mailbox = open(folder.path());
        let queue = mailbox.recover().unwrap().queues.remove(0);
        assert!(queue.next_seq.0 >= next && queue.floor.0 >= floor, "{queue:?} after {next}");
        let kept = mailbox.read(Q, Seq(0), usize::MAX, usize::MAX).unwrap();
        let expected: Vec<u64> = (queue.floor.0..queue.next_seq.0).collect();
        assert_eq!(kept.iter().map(|message| message.seq.0).collect::<Vec<_>>(), expected);
        for message in kept {
            assert_eq!(message.content.payload, message.seq.to_string().repeat(60));
        }
    }
    assert_eq!(blobs(folder.path()), 0);
}
