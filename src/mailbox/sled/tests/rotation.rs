//! Several generations: one written, the others only read, and none that is not needed.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::catalogue::Catalogue;
use super::super::codec::{CHECKSUM_BYTES, seal};
use super::super::layout::directory_key;
use super::super::manifest::GenerationEntry;
use super::super::segment::{Directory, MAGIC, PREFIX_BYTES, decode_directory, encode_directory};
use super::*;

/// A generation is left after so much: a few dozen commits.
const SMALL: u64 = 300_000;

pub(super) fn open_small(path: &Path) -> SledMailbox {
    let options = SledOptions { rotate_bytes: SMALL, max_open_sealed: 2, ..SledOptions::default() };
    SledMailbox::open(&path.join("store"), options).unwrap()
}

/// All upkeep there is, also what the store's thread has to do with it.
pub(super) fn upkeep(mailbox: &SledMailbox) {
    loop {
        while mailbox.maintain().unwrap() {}
        if !mailbox.waits_for_upkeep() {
            return;
        }
        mailbox.store.keeper.wait_for_next();
    }
}

pub(super) fn generations(mailbox: &SledMailbox) -> usize {
    mailbox.store.manifest().generations.len()
}

/// 20 messages of 2,000 bytes each in a commit, with upkeep after it.
pub(super) fn fill(mailbox: &SledMailbox, seqs: std::ops::Range<u64>) {
    for first in seqs.step_by(20) {
        let ops = (first..first + 20).map(|seq| append(Q, seq, vec![seq as u8; 2_000]));
        mailbox.append(&batch(ops)).unwrap();
        upkeep(mailbox);
    }
}

/// A store with 1,000 messages in many generations, opened anew.
fn reopened(path: &Path) -> SledMailbox {
    let mailbox = open_small(path);
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    fill(&mailbox, 1..1_001);
    mailbox.sync().unwrap();
    drop(mailbox);
    open_small(path)
}

#[test]
fn what_is_in_sealed_generations_is_read_found_and_recovered() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 500)])).unwrap();
    fill(&mailbox, 1..1_001);
    mailbox.append(&batch([finish(Q, 3), put_record(Q, 5, blocked(0))])).unwrap();
    assert!(generations(&mailbox) > 4, "{} generations", generations(&mailbox));
    let expected: Vec<u64> = (1..1_001).filter(|&seq| seq != 3).collect();
    let check = |mailbox: &SledMailbox| {
        assert_eq!(places(mailbox, Q), expected);
        for seq in [1, 5, 377, 1_000] {
            let message = &mailbox.read(Q, Seq(seq), 1, 1).unwrap()[0];
            assert_eq!(message.content.payload, vec![seq as u8; 2_000]);
            assert_eq!(message.record.as_deref(), (seq == 5).then(|| blocked(0)).as_ref());
            let found = mailbox.find(Some(Q), &id(&format!("q1-{seq}"))).unwrap();
            assert_eq!(found, Some((Q, Seq(seq))));
        }
        let queue = mailbox.recover().unwrap().queues.remove(0);
        assert_eq!((queue.floor, queue.next_seq), (Seq(1), Seq(1_001)));
        assert_eq!((queue.window.len(), queue.oldest_at), (500, Some(Timestamp(1_001))));
    };
    check(&mailbox);
    mailbox.sync().unwrap();
    drop(mailbox);
    check(&open_small(folder.path()));
    assert_eq!(blobs(folder.path()), 0);
}

#[test]
fn messages_are_read_without_opening_their_generations() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = reopened(folder.path());
    let sealed = || mailbox.store.sealed.sizes().into_iter().map(|size| size.first_id);
    assert!(sealed().count() > 4);
    for seq in (1..1_001).rev() {
        let message = &mailbox.read(Q, Seq(seq), 1, 1).unwrap()[0];
        assert_eq!(
            (message.seq, &message.content.payload[..]),
            (Seq(seq), &[seq as u8; 2_000][..])
        );
    }
    assert_eq!(mailbox.store.sealed.open_now(), 0);
    // The same of those that are open.
    let last = sealed().next_back().unwrap();
    mailbox.store.sealed.get(last).unwrap().unwrap();
    assert_eq!(places(&mailbox, Q), (1..1_001).collect::<Vec<_>>());
}

#[test]
fn a_sealed_generation_has_a_catalogue_and_a_wrong_one_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    fill(&mailbox, 1..1_001);
    mailbox.store.sealed.close_surplus();
    mailbox.sync().unwrap();
    let entries = mailbox.store.manifest().generations.clone();
    drop(mailbox);
    let store = folder.path().join("store");
    let file = |entry: &GenerationEntry| store.join(&entry.folder).join("catalogue");
    let (_, sealed) = entries.split_last().unwrap();
    assert!(sealed.iter().all(|entry| file(entry).exists()), "{sealed:?}");
    // One is gone, and two have changed places: they list nothing of what is there.
    std::fs::remove_file(file(&sealed[0])).unwrap();
    let other = std::fs::read(file(&sealed[1])).unwrap();
    std::fs::rename(file(&sealed[2]), file(&sealed[1])).unwrap();
    std::fs::write(file(&sealed[2]), other).unwrap();
    // All places in one are wrong.
    let right = std::fs::read(file(&sealed[3])).unwrap();
    Catalogue::misplace(&store.join(&sealed[3].folder));
    let mailbox = open_small(folder.path());
    for message in mailbox.read(Q, Seq(1), 1_000, usize::MAX).unwrap() {
        assert_eq!(message.content.payload, vec![message.seq.0 as u8; 2_000]);
    }
    assert_eq!(places(&mailbox, Q), (1..1_001).collect::<Vec<_>>());
    assert_eq!(std::fs::read(file(&sealed[3])).unwrap(), right, "it was made again");
}

#[test]
fn reading_ahead_looks_through_one_generation_and_goes_on_in_those_that_are_near() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = reopened(folder.path());
    let first_ids: Vec<u64> = mailbox.index().generations.keys().copied().collect();
    let second = {
        let index = mailbox.index();
        let mut runs = index.queues[&Q].runs.iter();
        runs.find(|run| run.segment >= first_ids[2]).unwrap().first
    };
    assert!(!mailbox.is_near(Q, Seq(second)));
    let page = mailbox.read_ahead(Q, Seq(second), 1_000, usize::MAX).unwrap();
    assert!(mailbox.is_near(Q, Seq(second)));
    let near = first_ids.iter().filter(|&&id| mailbox.store.is_near(id)).count();
    assert!(page.len() > 20 && page.len() < 500, "{} messages", page.len());
    assert!(near <= 3, "{near} of {} generations are near", first_ids.len());
    assert_eq!(places(&mailbox, Q).len(), 1_000);
}

#[test]
pub(super) fn generations_without_any_needed_message_are_deleted_with_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 10)])).unwrap();
    fill(&mailbox, 1..1_001);
    assert!(generations(&mailbox) > 4);
    // All but one in the middle, read from its generation until the end.
    let done = (1..1_001).filter(|&seq| seq != 500).map(|seq| finish(Q, seq));
    mailbox.append(&batch(done)).unwrap();
    upkeep(&mailbox);
    assert_eq!(places(&mailbox, Q), [500]);
    mailbox.append(&batch([finish(Q, 500)])).unwrap();
    upkeep(&mailbox);
    fill(&mailbox, 1_001..1_201);
    mailbox.append(&batch((1_001..1_200).map(|seq| finish(Q, seq)))).unwrap();
    upkeep(&mailbox);
    assert!(generations(&mailbox) <= 2);
    mailbox.sync().unwrap();
    drop(mailbox);
    let left = folder::folders(&folder.path().join("store")).unwrap();
    assert!(left.len() <= 3, "the last two, and perhaps the next: {left:?}");
    let mailbox = open_small(folder.path());
    assert_eq!(places(&mailbox, Q), [1_200]);
    assert_eq!(mailbox.recover().unwrap().queues[0].window.len(), 10);
    drop(mailbox);
    assert!(folder::folders(&folder.path().join("store")).unwrap().len() <= 2);
}

#[test]
fn on_a_low_disk_no_new_generation_is_begun_and_one_that_is_begun_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 500)])).unwrap();
    mailbox.set_spare(1 << 20);
    fill(&mailbox, 1..401);
    assert_eq!(generations(&mailbox), 1);
    let folders = || folder::folders(&folder.path().join("store")).unwrap().len();
    assert_eq!(folders(), 1);

    // One that is just being filled when the disk becomes low goes. Copying so many records takes several steps.
    mailbox.append(&batch((1..401).map(|seq| put_record(Q, seq, blocked(0))))).unwrap();
    mailbox.set_spare(u64::MAX);
    while mailbox.store.copy_of(b"a").is_none() {
        mailbox.maintain().unwrap();
        mailbox.store.keeper.wait_for_next();
    }
    mailbox.set_spare(0);
    upkeep(&mailbox);
    assert_eq!(generations(&mailbox), 1);
    assert!(mailbox.store.copy_of(b"a").is_none());

    mailbox.set_spare(u64::MAX);
    fill(&mailbox, 401..801);
    assert!(generations(&mailbox) > 2, "{} generations", generations(&mailbox));
    assert_eq!(places(&mailbox, Q), (1..801).collect::<Vec<_>>());
    mailbox.sync().unwrap();
    drop(mailbox);
    assert_eq!(places(&open_small(folder.path()), Q), (1..801).collect::<Vec<_>>());
}

#[test]
fn a_generation_of_which_much_was_read_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    fill(&mailbox, 1..401);
    let sealed = &mailbox.store.sealed;
    let segment = mailbox.index().queues[&Q].segment_of(1).unwrap();
    let bytes_read = || sealed.get(segment).unwrap().unwrap().bytes_read();
    while !sealed.has_surplus() {
        assert!(mailbox.store.ids_value(segment).unwrap().is_some());
    }
    sealed.close_surplus();
    assert_eq!(bytes_read(), 0);
    assert_eq!(mailbox.read(Q, Seq(1), 1, 1).unwrap()[0].content.payload, vec![1; 2_000]);
}

#[test]
fn the_store_is_read_while_it_rotates() {
    const LAST: u64 = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    let (floor, next) = (AtomicU64::new(1), AtomicU64::new(1));
    std::thread::scope(|threads| {
        for reader in 0..3 {
            let (mailbox, floor, next) = (&mailbox, &floor, &next);
            threads.spawn(move || {
                let mut random = fastrand::Rng::with_seed(reader);
                while next.load(Ordering::Acquire) < LAST {
                    let until = next.load(Ordering::Acquire);
                    let from = random.u64(floor.load(Ordering::Acquire)..=until);
                    let read = mailbox.read(Q, Seq(from), 30, usize::MAX).unwrap();
                    let seqs: Vec<u64> = read.iter().map(|message| message.seq.0).collect();
                    // Only what was finished meanwhile may be missing.
                    let kept = from.max(floor.load(Ordering::Acquire))..until.min(from + 30);
                    let missing = kept.into_iter().find(|seq| !seqs.contains(seq));
                    assert_eq!(missing, None, "from {from} below {until}: {seqs:?}");
                    for message in read {
                        assert_eq!(message.content.payload, vec![message.seq.0 as u8; 2_000]);
                    }
                }
            });
        }
        for first in (1..LAST).step_by(20) {
            let done = floor.load(Ordering::Relaxed)..first.saturating_sub(400);
            floor.fetch_max(done.end, Ordering::Release);
            let appended = (first..first + 20).map(|seq| append(Q, seq, vec![seq as u8; 2_000]));
            let finished = done.map(|seq| finish(Q, seq));
            mailbox.append(&batch(appended.chain(finished))).unwrap();
            next.store(first + 20, Ordering::Release);
            upkeep(&mailbox);
        }
    });
    assert!(mailbox.store.begin().number > 10);
    assert!(generations(&mailbox) < 7, "{} generations", generations(&mailbox));
}

/// Commit number `n` of a queue of which few messages wait: with messages and without, with records,
/// revisions and lines of the journal.
pub(super) fn small_commit(n: u64) -> Batch {
    match n {
        0 => batch([put_queue(Q, 5)]),
        n if n % 2 == 1 => batch([append(Q, n / 2 + 1, vec![n as u8; 700])]),
        n => {
            let seq = n / 2;
            let edited = [put_record(Q, seq, blocked(1)), revise(Q, seq, 1, "new")];
            let done = (seq > 4).then(|| finish(Q, seq - 4));
            // Few lines, as all of them are copied each time.
            let line = (n % 200 == 0).then(|| journal(n / 200, Q, Some(seq)));
            batch(edited.into_iter().chain(done).chain(line))
        }
    }
}

/// Rotates once, with a commit after every step; a commit that failed is returned, and whether anything
/// failed.
fn rotate(mailbox: &SledMailbox, model: &MemoryMailbox, n: &mut u64) -> (bool, Option<Batch>) {
    let before = mailbox.store.begin().number;
    loop {
        let more = mailbox.maintain();
        mailbox.store.keeper.wait_for_next();
        if more.is_err() {
            return (true, None);
        }
        let batch = small_commit(*n);
        *n += 1;
        if mailbox.append(&batch).is_err() {
            return (true, Some(batch));
        }
        model.append(&batch).unwrap();
        if mailbox.store.begin().number > before {
            return (false, None);
        }
    }
}

#[test]
fn a_crash_in_any_step_of_a_rotation_loses_and_invents_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut mailbox = open_small(folder.path());
    let model = MemoryMailbox::new();
    let (mut n, mut failures) = (0, 0);
    for writes in 0.. {
        for _ in 0..4 {
            let batch = small_commit(n);
            n += 1;
            mailbox.append(&batch).unwrap();
            model.append(&batch).unwrap();
        }
        // A store that was opened again counts its file as written: it rotates.
        mailbox.store.fail_after_writes(writes);
        let (failed, in_doubt) = rotate(&mailbox, &model, &mut n);
        failures += usize::from(failed);
        drop(mailbox);
        mailbox = open_small(folder.path());
        if let Some(batch) = in_doubt {
            let without = everything(&model);
            model.append(&batch).unwrap();
            let is_whole = everything(&mailbox) == everything(&model);
            if !is_whole {
                assert_eq!(everything(&mailbox), without, "write {writes}: all or nothing");
                mailbox.append(&batch).unwrap();
            }
        }
        assert_eq!(everything(&mailbox), everything(&model), "write {writes}");
        if writes > 0 && !failed {
            break;
        }
    }
    assert!(failures > 40, "{failures} failures before a rotation went through");
    assert_eq!(blobs(folder.path()), 0);
}

#[test]
fn a_backup_of_a_store_that_goes_on_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    fill(&mailbox, 1..601);
    assert!(generations(&mailbox) > 2);
    let appended = AtomicU64::new(601);
    let is_done = AtomicU64::new(0);
    let copies: Vec<_> = (0..3).map(|n| folder.path().join(format!("copy-{n}/store"))).collect();
    let said = std::thread::scope(|threads| {
        threads.spawn(|| {
            while is_done.load(Ordering::Acquire) == 0 {
                let next = appended.load(Ordering::Relaxed);
                fill(&mailbox, next..next + 20);
                appended.store(next + 20, Ordering::Release);
                // Whole generations go meanwhile.
                let done = batch((next - 600..next - 580).map(|seq| finish(Q, seq)));
                mailbox.append(&done).unwrap();
                upkeep(&mailbox);
            }
        });
        let said = copies.iter().map(|copy| {
            let before = appended.load(Ordering::Acquire);
            mailbox.backup(copy).unwrap();
            (before, appended.load(Ordering::Acquire))
        });
        let said: Vec<(u64, u64)> = said.collect();
        is_done.store(1, Ordering::Release);
        said
    });
    for (copy, (before, after)) in copies.iter().zip(said) {
        let copied = open_small(copy.parent().unwrap());
        let queue = copied.recover().unwrap().queues.remove(0);
        let next = queue.next_seq.0;
        assert!(before <= next && next <= after + 20, "{before} <= {next} <= {after}");
        assert_eq!(places(&copied, Q), (queue.floor.0..next).collect::<Vec<_>>());
        for message in copied.read(Q, Seq(0), usize::MAX, usize::MAX).unwrap() {
            assert_eq!(message.content.payload, vec![message.seq.0 as u8; 2_000]);
        }
    }
    let error = mailbox.backup(&copies[0]).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
}

/// Makes what format 1 would have written out of a store with one generation.
fn back_to_format_1(path: &Path) {
    let store = path.join("store");
    let generation =
        super::super::generation::Generation::open(store.join("gen-1"), 1, 1 << 20).unwrap();
    for item in generation.log.iter() {
        let (key, value) = item.unwrap();
        if value.starts_with(&MAGIC) {
            let mut old = value[PREFIX_BYTES..value.len() - CHECKSUM_BYTES].to_vec();
            seal(&key, &mut old);
            generation.log.insert(key, old).unwrap();
        }
    }
    for item in generation.state.scan_prefix(directory_key(0).get(..1).unwrap()) {
        let (key, value) = item.unwrap();
        let mut directory: Directory = decode_directory(&key, &value).unwrap();
        directory.runs.iter_mut().for_each(|run| run.first_at = None);
        let old = encode_directory(&key, &directory);
        generation.state.insert(key, old).unwrap();
    }
    generation.sync().unwrap();
    drop(generation);
    std::fs::remove_file(store.join("manifest")).unwrap();
    std::fs::rename(store.join("gen-1"), store.join("sled")).unwrap();
    std::fs::write(store.join("format"), "mubroker store format 1\n").unwrap();
}

#[test]
fn a_store_of_format_1_is_upgraded_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let model = MemoryMailbox::new();
    let mut driver = Driver::new(9, false);
    let mailbox = open(folder.path());
    let mut step = |mailbox: &SledMailbox| {
        let batch = driver.batch();
        mailbox.append(&batch).unwrap();
        model.append(&batch).unwrap();
    };
    (0..60).for_each(|_| step(&mailbox));
    mailbox.sync().unwrap();
    drop(mailbox);
    back_to_format_1(folder.path());
    for _ in 0..3 {
        let mailbox = open_small(folder.path());
        assert_eq!(everything(&mailbox), everything(&model));
        upkeep(&mailbox);
        (0..20).for_each(|_| step(&mailbox));
        upkeep(&mailbox);
        assert_eq!(everything(&mailbox), everything(&model));
        mailbox.sync().unwrap();
    }
    assert!(folder.path().join("store/manifest").exists());
}

#[test]
fn folders_that_a_crash_has_left_are_deleted_and_missing_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let store = folder.path().join("store");
    std::fs::create_dir_all(store.join("gen-7/blobs")).unwrap();
    std::fs::create_dir_all(store.join("quarantine")).unwrap();
    drop(open(folder.path()));
    assert_eq!(folder::folders(&store).unwrap(), ["gen-1"]);
    assert!(store.join("quarantine").exists(), "not ours to delete");
    std::fs::rename(store.join("gen-1"), store.join("away")).unwrap();
    let error = SledMailbox::open(&store, SledOptions::default()).unwrap_err();
    assert!(error.to_string().contains("gen-1"), "{error}");
    std::fs::rename(store.join("away"), store.join("gen-1")).unwrap();
    std::fs::remove_file(store.join("manifest")).unwrap();
    let error = SledMailbox::open(&store, SledOptions::default()).unwrap_err();
    assert!(error.to_string().contains("manifest"), "{error}");
}
