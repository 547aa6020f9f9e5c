//! Bits are flipped and files are cut, everywhere: the store opens or says why not, nothing wrong is served,
//! and what is lost is told.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::layout::SLED_SEGMENT_BYTES;
use super::*;
use crate::mailbox::conformance::sample::*;
use crate::model::Seq;

/// Flips and cuts in one run; more with this variable set. Each run has another seed, which is printed.
const ROUNDS: &str = "MUBROKER_DAMAGE_ROUNDS";
const SEED: &str = "MUBROKER_DAMAGE_SEED";

/// What may be read of a message: its payload as of each revision.
type Contents = BTreeMap<(QueueId, u64), Vec<Vec<u8>>>;

/// What a store was filled with.
#[derive(Debug, Default, Clone)]
struct Expected {
    /// All that was ever appended.
    contents: Contents,
    /// Places that are finished for certain, and those whose end may have got lost with the newest commits.
    finished: BTreeMap<(QueueId, u64), bool>,
    /// Places whose commits were synced before others came.
    synced: Vec<(QueueId, u64)>,
}

const QUEUES: [QueueId; 3] = [QueueId(1), QueueId(2), QueueId(3)];

/// Fills a store in two sittings: the first is covered by sled's snapshot.
fn fill(folder: &Path) -> Expected {
    let mut expected = Expected::default();
    let mut next = [1u64; 3];
    let mut rng = fastrand::Rng::with_seed(3);
    for sitting in 0..2 {
        let mailbox = open(folder);
        if sitting == 0 {
            mailbox.append(&batch(QUEUES.map(|queue| put_queue(queue, 3)))).unwrap();
        }
        let commits = 60;
        for commit in 0..commits {
            let mut ops = Vec::new();
            let is_newest = sitting == 1 && commit + 2 >= commits;
            for (at, queue) in QUEUES.into_iter().enumerate() {
                for _ in 0..rng.usize(0..12) {
                    let seq = next[at];
                    next[at] += 1;
                    let payload = match rng.u8(0..20) {
                        0 => vec![b'L'; 150_000],
                        1 => vec![b'M'; 40_000],
                        _ => format!("{queue} {seq} {}", "text ".repeat(rng.usize(0..600)))
                            .into_bytes(),
                    };
                    expected.contents.insert((queue, seq), vec![payload.clone()]);
                    if !is_newest {
                        expected.synced.push((queue, seq));
                    }
                    ops.push(append(queue, seq, payload));
                }
                let first =
                    (1..next[at]).find(|&seq| !expected.finished.contains_key(&(queue, seq)));
                if let Some(seq) = first.filter(|&seq| commit % 3 == 0 && seq + 4 < next[at]) {
                    for seq in seq..seq + 3 {
                        expected.finished.insert((queue, seq), !is_newest);
                        ops.push(finish(queue, seq));
                    }
                }
            }
            mailbox.append(&batch(ops)).unwrap();
            if commit % 10 == 5 {
                let seq = next[0] - 1;
                let edited = format!("edited {seq}").into_bytes();
                expected.contents.get_mut(&(Q, seq)).unwrap().push(edited.clone());
                let ops = [put_record(Q, seq, blocked(1)), revise(Q, seq, 1, edited)];
                mailbox.append(&batch(ops)).unwrap();
            }
            mailbox.sync().unwrap();
            mailbox.maintain().unwrap();
        }
    }
    expected
}

fn open(folder: &Path) -> SledMailbox {
    SledMailbox::open(&folder.join("store"), SledOptions::default()).unwrap()
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// What came of opening a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Whole,
    /// Some messages are told to be damaged.
    Damaged,
    /// Queues are paused, since something unknown was lost.
    Paused,
}

/// Opens the store and holds all that must be true of it.
fn hold(folder: &Path, expected: &Expected) -> Outcome {
    let mailbox = match SledMailbox::open(&folder.join("store"), SledOptions::default()) {
        Ok(mailbox) => mailbox,
        Err(error) => {
            assert!(
                matches!(error, MailboxError::Damaged { .. } | MailboxError::TooNew { .. }),
                "{error}"
            );
            return Outcome::Refused;
        }
    };
    let recovered = mailbox.recover().unwrap();
    let is_paused = recovered.queues.iter().any(|queue| queue.record.paused.is_some());
    let mut outcome = if is_paused { Outcome::Paused } else { Outcome::Whole };
    let mut found = std::collections::BTreeSet::new();
    for queue in &recovered.queues {
        let id = queue.record.id;
        let mut from = Seq(0);
        loop {
            let page = mailbox.read(id, from, 50, usize::MAX).unwrap();
            let Some(last) = page.last() else { break };
            from = last.seq.next();
            for message in page {
                let place = (id, message.seq.0);
                assert!(found.insert(place), "{place:?} comes twice");
                if message.unreadable.is_some() {
                    assert!(message.content.payload.is_empty());
                    outcome = outcome.max(Outcome::Damaged);
                    continue;
                }
                let contents = expected.contents.get(&place);
                let contents = contents.unwrap_or_else(|| panic!("{place:?} was never sent"));
                let payload = message.content.payload.to_vec();
                assert!(contents.contains(&payload), "{place:?} has other bytes");
                assert_eq!(message.content.id().as_str(), format!("q{id}-{}", message.seq));
                let is_newest = contents.last() == Some(&payload);
                let record = message.record.as_ref();
                let error = record.and_then(|record| record.last_error.as_ref());
                let is_told = error.is_some_and(|error| error.code == unreadable::CODE);
                assert!(is_newest || is_paused || is_told, "{place:?} is an old revision");
                let is_finished = expected.finished.get(&place) == Some(&true);
                assert!(!is_finished || is_paused, "{place:?} came back");
            }
        }
    }
    for place in &expected.synced {
        let is_there = found.contains(place) || expected.finished.contains_key(place);
        assert!(is_there || is_paused, "{place:?} is not told of");
    }
    // It can be written, and opened again.
    let next = recovered.queues.first().map(|queue| (queue.record.id, queue.next_seq.0));
    if let Some((queue, next)) = next {
        mailbox.append(&batch([append(queue, next, "after")])).unwrap();
        mailbox.sync().unwrap();
    }
    drop(mailbox);
    let again = open(folder).recover().unwrap();
    assert_eq!(again.queues.len(), recovered.queues.len());
    outcome
}

fn flip(path: &Path, bit: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << (bit % 8)], bit / 8).unwrap();
}

pub(super) fn zero(path: &Path, offset: u64, bytes: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; bytes as usize], offset).unwrap();
}

/// A segment of sled's file, its header, what was written at its beginning, or its end.
fn part_of_a_segment(rng: &mut fastrand::Rng, len: u64) -> (u64, u64) {
    const SEGMENT: u64 = SLED_SEGMENT_BYTES as u64;
    let start = rng.u64(..len.div_ceil(SEGMENT)) * SEGMENT;
    let end = len.min(start + SEGMENT);
    match rng.u8(0..4) {
        0 => (start, end),
        1 => (start, end.min(start + 20)),
        2 => (start, rng.u64(start..end) + 1),
        _ => (rng.u64(start..end), end),
    }
}

#[test]
fn whatever_bit_flips_nothing_wrong_is_served_and_what_is_lost_is_told() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number(ROUNDS).unwrap_or(60);
    let seed = number(SEED).unwrap_or_else(|| fastrand::u64(..));
    println!("{SEED}={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let original = tempfile::tempdir().unwrap();
    let expected = fill(original.path());
    let check = check_store(&original.path().join("store")).unwrap();
    assert!(check.sound, "{check:?}");
    let waiting: u64 = check.queues.iter().map(|queue| queue.waiting).sum();
    assert_eq!(waiting as usize, expected.contents.len() - expected.finished.len());
    let mut outcomes = BTreeMap::<Outcome, u32>::new();
    for round in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        copy(original.path(), folder.path());
        let database = folder.path().join("store/gen-1");
        let mut files: Vec<_> =
            fs::read_dir(&database).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|path| path.is_file());
        files.sort();
        let path = match rng.u8(0..10) {
            0 => files[rng.usize(..files.len())].clone(),
            _ => database.join("db"),
        };
        let len = fs::metadata(&path).unwrap().len();
        let what = match rng.u8(0..8) {
            0 => {
                let at = rng.u64(..len);
                fs::File::options().write(true).open(&path).unwrap().set_len(at).unwrap();
                format!("cut at {at}")
            }
            1 => {
                let (at, end) = part_of_a_segment(&mut rng, len);
                zero(&path, at, end - at);
                format!("zeroes from {at} to {end}")
            }
            _ => {
                let bits: Vec<u64> = (0..rng.usize(1..=3)).map(|_| rng.u64(..len * 8)).collect();
                bits.iter().for_each(|&bit| flip(&path, bit));
                format!("bits {bits:?}")
            }
        };
        println!("round {round}: {} {what}", path.display());
        let checked = check_store(&folder.path().join("store"));
        let outcome = hold(folder.path(), &expected);
        if checked.is_ok_and(|check| check.sound) {
            assert_eq!(outcome, Outcome::Whole, "a check said that it is sound");
        }
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}");
}

/// Where `wanted` stands in a file, last.
fn find(path: &Path, wanted: &[u8]) -> u64 {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(wanted.len()).rposition(|window| window == wanted);
    at.expect("it is in the file") as u64
}

#[test]
fn a_damaged_value_is_quarantined_and_its_messages_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    for seq in 1..=9 {
        mailbox.append(&batch([append(Q, seq, format!("the payload of {seq}"))])).unwrap();
        mailbox.sync().unwrap();
    }
    drop(mailbox);
    let store = folder.path().join("store");
    let log = store.join("gen-1/db");
    flip(&log, find(&log, b"the payload of 5") * 8);
    let check = check_store(&store).unwrap();
    assert!(!check.sound);
    assert_eq!((check.queues[0].waiting, check.queues[0].damaged.as_slice()), (9, &[5][..]));
    let mailbox = open(folder.path());
    let messages = mailbox.read(Q, Seq(1), 99, usize::MAX).unwrap();
    let damaged = |message: &&StoredMessage| message.unreadable.is_some();
    let lost: Vec<u64> = messages.iter().filter(damaged).map(|message| message.seq.0).collect();
    assert_eq!((messages.len(), lost), (9, vec![5]));
    assert_eq!(messages[4].content.id().as_str(), "q1-5");
    drop(mailbox);
    let mut texts = fs::read_dir(store.join("quarantine")).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|e| e == "txt").then(|| fs::read_to_string(path).unwrap())
    });
    let text = texts.next().expect("a report");
    assert!(text.contains("queue queue-1 (1): places 5 to 5") && text.contains("q1-5"), "{text}");
}

#[test]
fn a_store_cut_off_after_it_was_closed_is_told_and_paused() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    for seq in 1..=9 {
        mailbox.append(&batch([append(Q, seq, format!("the payload of {seq}"))])).unwrap();
    }
    drop(mailbox);
    let log = folder.path().join("store/gen-1/db");
    let at = find(&log, b"the payload of 9") - 200;
    fs::File::options().write(true).open(&log).unwrap().set_len(at).unwrap();
    let mailbox = open(folder.path());
    assert!(mailbox.recover().unwrap().queues[0].record.paused.is_some());
    assert_eq!(mailbox.read(Q, Seq(1), 1, 99).unwrap()[0].content.payload, "the payload of 1");
}

#[test]
fn a_damaged_manifest_or_format_is_refused_with_its_name() {
    let original = tempfile::tempdir().unwrap();
    drop(open(original.path()));
    for name in ["manifest", "format"] {
        let folder = tempfile::tempdir().unwrap();
        copy(original.path(), folder.path());
        flip(&folder.path().join("store").join(name), 4 * 8);
        let refused = SledMailbox::open(&folder.path().join("store"), SledOptions::default());
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn what_is_put_in_place_of_a_sound_store_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let state = |mailbox: &SledMailbox| {
        let queues = mailbox.recover().unwrap().queues;
        let ids = queues.iter().map(|queue| queue.record.id);
        let messages = ids.map(|id| mailbox.read(id, Seq(0), 9_999, usize::MAX).unwrap());
        let messages: Vec<_> = messages.collect();
        (queues, messages)
    };
    let mailbox = open(folder.path());
    let before = state(&mailbox);
    drop(mailbox);
    let store = folder.path().join("store");
    Store::salvage(&store, "a test says so").unwrap();
    assert!(store.join("quarantine").exists());
    let after = state(&open(folder.path()));
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
}

#[test]
fn a_file_of_which_little_is_left_pauses_the_queues_that_seem_empty() {
    let original = tempfile::tempdir().unwrap();
    let expected = fill(original.path());
    let mut outcomes = BTreeMap::<Outcome, u32>::new();
    for at in (2_000..100_000).step_by(7_000) {
        let folder = tempfile::tempdir().unwrap();
        copy(original.path(), folder.path());
        let log = folder.path().join("store/gen-1/db");
        fs::File::options().write(true).open(log).unwrap().set_len(at).unwrap();
        *outcomes.entry(hold(folder.path(), &expected)).or_default() += 1;
    }
    assert!(outcomes.contains_key(&Outcome::Paused), "{outcomes:?}");
}
