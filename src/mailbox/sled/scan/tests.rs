//! What is taken for a torn end, for bytes that nobody needs any more, and for damage.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;

use super::*;
use crate::mailbox::conformance::sample::*;
use crate::mailbox::sled::generation::Generation;
use crate::mailbox::sled::layout::{SLED_SEGMENT_BYTES, queue_key};
use crate::mailbox::{Mailbox as _, SledMailbox, SledOptions};
use crate::model::Seq;

pub(in crate::mailbox::sled) fn database(folder: &Path) -> PathBuf {
    folder.join("store/gen-1")
}

fn scan(folder: &Path) -> Scan {
    Scan::of(&database(folder), SLED_SEGMENT_BYTES, Confirmed::Closed(0)).unwrap()
}

/// A store of several of sled's segments, with commits of all kinds. sled's snapshot covers nothing.
pub(in crate::mailbox::sled) fn store(folder: &Path) {
    let mailbox = SledMailbox::open(&folder.join("store"), SledOptions::default()).unwrap();
    mailbox.append(&batch([put_queue(Q, 5)])).unwrap();
    let mut next = 1;
    for n in 1..=400u64 {
        mailbox.append(&appends(Q, next..=next + 49)).unwrap();
        next += 50;
        match n % 4 {
            0 => mailbox.append(&batch([append(Q, next, vec![b'x'; 120_000])])).unwrap(),
            1 => mailbox.append(&batch([append(Q, next, vec![b'y'; 60_000])])).unwrap(),
            2 => {
                mailbox.append(&batch([append(Q, next, "z"), journal(n / 4 + 1, Q, None)])).unwrap()
            }
            _ => mailbox.append(&batch([append(Q, next, "")])).unwrap(),
        }
        next += 1;
        if n > 200 {
            mailbox.append(&batch((1..=30).map(|k| finish(Q, (n - 201) * 30 + k)))).unwrap();
            mailbox
                .append(&batch([
                    put_record(Q, next - 2, blocked(1)),
                    revise(Q, next - 2, 1, "edited"),
                ]))
                .unwrap();
            mailbox.maintain().unwrap();
        }
        mailbox.sync().unwrap();
    }
}

fn bytes(folder: &Path) -> u64 {
    fs::metadata(database(folder).join("db")).unwrap().len()
}

#[test]
fn a_store_that_was_closed_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    assert!(bytes(folder.path()) > 2 * SLED_SEGMENT_BYTES as u64);
    let found = scan(folder.path());
    assert_eq!((found.verdict, found.bad), (Verdict::Sound, Vec::new()));
    let log = LogFile::open(&database(folder.path()), SLED_SEGMENT_BYTES).unwrap();
    let order = Order::of(log.segments().unwrap(), 0, log.segment_bytes());
    let (last, _) = order.segments.last_key_value().unwrap();
    assert!((*last..=last + log.segment_bytes()).contains(&found.end));
}

/// Garbage in every other sector of a third of a segment.
fn tear(log: &Path, offset: u64) {
    const SECTOR: usize = 512;
    let file = fs::File::options().write(true).open(log).unwrap();
    let sectors = SLED_SEGMENT_BYTES / SECTOR;
    for sector in (sectors / 3..sectors * 2 / 3).step_by(2) {
        file.write_all_at(&[0xa5; SECTOR], offset + (sector * SECTOR) as u64).unwrap();
    }
}

/// A few keys that are written all the time, and some that are left alone: of sled's segments some are needed,
/// and some are not and wait to be used again.
#[derive(Default)]
struct Rewriting {
    there: BTreeMap<Vec<u8>, Vec<u8>>,
    written: u32,
}

impl Rewriting {
    fn go_on(&mut self, generation: &Generation, count: u32) {
        let mut random = fastrand::Rng::with_seed(u64::from(self.written));
        for n in self.written..self.written + count {
            let key = random.u32(..if n < 100 { 100 } else { 20 }).to_be_bytes();
            let value = [&n.to_be_bytes()[..], &[7; 60_000]].concat();
            generation.insert(&generation.state, &key, value.as_slice()).unwrap();
            self.there.insert(key.to_vec(), value);
        }
        self.written += count;
        generation.sync().unwrap();
    }

    /// Spoils each segment in the middle of the log of `original`: how many are needed by nobody, and how many are.
    fn spoil_each(&self, original: &Path, folder: &Path, spoil: Spoil) -> (usize, usize) {
        let log = LogFile::open(original, SLED_SEGMENT_BYTES).unwrap();
        let order = Order::of(log.segments().unwrap(), 0, log.segment_bytes());
        let (mut unneeded, mut damaged) = (0, 0);
        for (lsn, start) in order.segments.range(..order.tail) {
            let torn = folder.join(format!("{}-{lsn}", self.written));
            fs::create_dir(&torn).unwrap();
            for name in ["db", "conf"] {
                fs::copy(original.join(name), torn.join(name)).unwrap();
            }
            spoil(&torn.join("db"), start.offset);
            match Scan::of(&torn, SLED_SEGMENT_BYTES, Confirmed::Closed(0)).unwrap().verdict {
                Verdict::Sound | Verdict::TornTail => {
                    let generation = Generation::open(torn, 1, 1 << 20).unwrap();
                    let there = generation.state.iter().map(Result::unwrap);
                    let there = there.map(|(key, value)| (key.to_vec(), value.to_vec()));
                    assert!(there.eq(self.there.clone()), "without segment {lsn}");
                    unneeded += 1;
                }
                Verdict::Damaged(_) => damaged += 1,
                verdict @ Verdict::DamagedSnapshot(_) => panic!("{verdict:?}"),
            }
            fs::remove_dir_all(folder.join(format!("{}-{lsn}", self.written))).unwrap();
        }
        (unneeded, damaged)
    }
}

/// Does something to the segment at this offset of a log.
type Spoil = fn(&Path, u64);

/// Segments that are spoilt so are damage if they are needed, and else sled does as well without them.
fn spoilt_segments_are_told_from_unneeded_ones(spoil: Spoil) {
    const ROUNDS: u32 = 12;
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("original");
    let generation = Generation::open(original.clone(), 1, 1 << 20).unwrap();
    let mut rewriting = Rewriting::default();
    rewriting.go_on(&generation, 300);
    let mut seen = [false; 2];
    for _ in 0..ROUNDS {
        // When sled finds out that it doesn't need a segment, and uses it again, is up to its threads.
        rewriting.go_on(&generation, 100);
        let (unneeded, damaged) = rewriting.spoil_each(&original, folder.path(), spoil);
        seen = [seen[0] || unneeded > 0, seen[1] || damaged > 0];
        if seen == [true; 2] {
            return;
        }
    }
    panic!("not both were seen: {seen:?}");
}

#[test]
fn a_segment_that_is_being_overwritten_is_no_damage_if_nothing_in_it_is_needed() {
    spoilt_segments_are_told_from_unneeded_ones(tear);
}

/// Turns over the bits of a byte in the first of those places in the file where these bytes are.
fn spoil(log: &Path, wanted: &[u8]) {
    let mut bytes = fs::read(log).unwrap();
    let at = bytes.windows(wanted.len()).position(|window| window == wanted);
    bytes[at.expect("it is in the file")] ^= 0xff;
    fs::write(log, bytes).unwrap();
}

#[test]
fn the_torn_first_commit_of_a_generation_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let options = SledOptions { rotate_bytes: 200_000, ..SledOptions::default() };
    let mailbox = SledMailbox::open(&folder.path().join("store"), options).unwrap();
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    let next = folder.path().join("store/gen-2");
    let is_written = || {
        let manifest = fs::read_to_string(folder.path().join("store/manifest")).unwrap();
        manifest.contains("gen-2")
    };
    let mut last = 0;
    while !is_written() {
        last += 1;
        mailbox.append(&batch([append(Q, last, vec![b'x'; 10_000])])).unwrap();
        mailbox.sync().unwrap();
        mailbox.maintain().unwrap();
    }
    // The second says how far the store had been synced before the first.
    for payload in ["the first commit", "the second commit"] {
        last += 1;
        mailbox.append(&batch([append(Q, last, payload)])).unwrap();
    }
    mailbox.sync().unwrap();
    let torn = folder.path().join("torn");
    fs::create_dir(&torn).unwrap();
    for name in ["db", "conf"] {
        fs::copy(next.join(name), torn.join(name)).unwrap();
    }
    spoil(&torn.join("db"), b"the first commit");
    let found = Scan::of(&torn, SLED_SEGMENT_BYTES, Confirmed::Closed(0)).unwrap();
    assert_eq!((found.verdict, found.bad.len()), (Verdict::TornTail, 1));
    spoil(&torn.join("db"), &queue_key(Q));
    let found = Scan::of(&torn, SLED_SEGMENT_BYTES, Confirmed::Closed(0)).unwrap();
    assert!(matches!(found.verdict, Verdict::Damaged(_)), "{found:?}");
}

#[test]
fn a_snapshot_that_a_crash_cut_short_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    let unfinished = database(folder.path()).join("snap.FFFFFFFFFFFFFFFF.generating");
    fs::write(&unfinished, b"the beginning of a snapshot").unwrap();
    assert_eq!(scan(folder.path()).verdict, Verdict::Sound);
    let check = crate::mailbox::check_store(&folder.path().join("store")).unwrap();
    assert!(check.sound, "{:?}", check.problems);
}

#[test]
fn a_file_may_end_before_where_its_snapshot_places_pages_that_were_written_anew() {
    let mut replay = Replay::new(&Order::of(Vec::new(), 100, 1000), 100, Confirmed::Closed(0));
    let snapshot = Snapshot { stable_lsn: 100, pages: vec![vec![(50, 4000), (70, 200)], vec![]] };
    let lsns = [None, None, None, None, Some(0)];
    assert_eq!(replay.contradiction(&snapshot, &lsns, 4001), None);
    let short = replay.contradiction(&snapshot, &lsns, 4000).unwrap();
    assert!(short.contains("ends at 4000"), "{short}");
    let other = replay.contradiction(&snapshot, &[Some(1000)], 4001).unwrap();
    assert!(other.contains("offset 0 is another"), "{other}");
    replay.anew.insert(0, 150);
    assert_eq!(replay.contradiction(&snapshot, &[Some(1000)], 4000), None);
}

mod lost;

/// A store with three messages, closed after each: sled's snapshot has what came before.
fn closed_after_each(folder: &Path) {
    opened(folder).append(&batch([put_queue(Q, 5)])).unwrap();
    for (seq, letter) in (1..).zip(*b"abc") {
        append_one(&opened(folder), seq, letter);
    }
    drop(opened(folder));
}

fn opened(folder: &Path) -> SledMailbox {
    SledMailbox::open(&folder.join("store"), SledOptions::default()).unwrap()
}

fn append_one(mailbox: &SledMailbox, seq: u64, letter: u8) {
    mailbox.append(&batch([append(Q, seq, vec![letter; 3_000])])).unwrap();
    mailbox.sync().unwrap();
}

/// Of the messages that are there: whether each can be read.
fn readable(folder: &Path) -> Vec<(u64, bool)> {
    let mailbox = opened(folder);
    mailbox.recover().unwrap();
    let read = mailbox.read(Q, Seq(1), 9, usize::MAX).unwrap();
    read.iter().map(|message| (message.seq.0, message.unreadable.is_none())).collect()
}

#[test]
fn a_bad_place_that_the_snapshot_covers_is_damage_and_what_follows_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    closed_after_each(folder.path());
    spoil(&database(folder.path()).join("db"), &[b'b'; 3_000]);
    let found = scan(folder.path());
    assert!(matches!(found.verdict, Verdict::Damaged(_)), "{:?}", found.verdict);
    assert_eq!(readable(folder.path()), [(1, true), (2, false), (3, true)]);
}

#[test]
fn a_commit_behind_the_snapshot_is_kept_whatever_is_damaged_before_it() {
    let folder = tempfile::tempdir().unwrap();
    closed_after_each(folder.path());
    let running = opened(folder.path());
    append_one(&running, 4, b'd');
    let killed = tempfile::tempdir().unwrap();
    copy_all(folder.path(), killed.path());
    drop(running);
    spoil(&database(killed.path()).join("db"), &[b'b'; 3_000]);
    assert_eq!(readable(killed.path()), [(1, true), (2, false), (3, true), (4, true)]);
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &copy);
        } else {
            fs::copy(&path, &copy).unwrap();
        }
    }
}
