//! What waits in old generations is written again, and small segments are merged.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::layout::SLED_SEGMENT_BYTES;
use super::super::rotate::Step;
use super::rotation::{generations, small_commit, upkeep};
use super::*;

/// Everything that can be compacted is: what waits must be less than the size at which it rotates, or it would
/// be written again for ever.
fn open_eager(path: &Path, rotate_bytes: u64) -> SledMailbox {
    let options = SledOptions {
        rotate_bytes,
        max_open_sealed: 2,
        compact_slack_bytes: 0,
        max_small_segments: 8,
        ..SledOptions::default()
    };
    SledMailbox::open(&path.join("store"), options).unwrap()
}

/// A few dozen commits.
const SMALL: u64 = 300_000;

/// Merges only.
fn open_merging(path: &Path) -> SledMailbox {
    let options = SledOptions { max_small_segments: 8, ..SledOptions::default() };
    SledMailbox::open(&path.join("store"), options).unwrap()
}

#[test]
fn what_waits_in_old_generations_is_written_again_and_they_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_eager(folder.path(), SMALL);
    mailbox.append(&batch([put_queue(Q, 30)])).unwrap();
    let waits = |seq: &u64| seq % 97 == 1;
    for first in (1..2_001).step_by(20) {
        let appended = (first..first + 20).map(|seq| append(Q, seq, vec![seq as u8; 2_000]));
        mailbox.append(&batch(appended)).unwrap();
        let done = (first..first + 20).filter(|seq| !waits(seq)).map(|seq| finish(Q, seq));
        mailbox.append(&batch(done)).unwrap();
        upkeep(&mailbox);
    }
    mailbox.append(&batch([append(Q, 2_001, vec![7; 200_000])])).unwrap();
    upkeep(&mailbox);
    assert!(mailbox.store.begin().number > 10);
    assert!(generations(&mailbox) <= 2, "{} generations", generations(&mailbox));
    let left: Vec<u64> = (1..2_001).filter(waits).chain([2_001]).collect();
    let check = |mailbox: &SledMailbox| {
        assert_eq!(places(mailbox, Q), left);
        for message in mailbox.read(Q, Seq(0), 99, usize::MAX).unwrap() {
            let seq = message.seq.0;
            let len = if seq == 2_001 { 200_000 } else { 2_000 };
            let byte = if seq == 2_001 { 7 } else { seq as u8 };
            assert_eq!(message.content.payload, vec![byte; len]);
            assert_eq!(message.accepted_at, Timestamp(1_000 + seq));
            let found = mailbox.find(None, &id(&format!("q1-{seq}"))).unwrap();
            assert_eq!(found, Some((Q, message.seq)));
        }
        assert_eq!(mailbox.find(None, &id("q1-1990")).unwrap(), Some((Q, Seq(1_990))));
        assert_eq!(mailbox.find(None, &id("q1-1900")).unwrap(), None);
        let queue = mailbox.recover().unwrap().queues.remove(0);
        assert_eq!((queue.floor, queue.oldest_at), (Seq(1), Some(Timestamp(1_001))));
        assert_eq!(queue.window.len(), 30);
        assert_eq!(queue.finished.len(), 2_001 - left.len());
        queue.bytes
    };
    let bytes = check(&mailbox);
    mailbox.sync().unwrap();
    drop(mailbox);
    let mailbox = open_eager(folder.path(), SMALL);
    assert_eq!(check(&mailbox), bytes);
    upkeep(&mailbox);
    assert_eq!(check(&mailbox), bytes);
    assert_eq!(blobs(folder.path()), 0);
}

/// Commits of which each leaves a message in its generation; says how many generations there are.
fn with_little_in_each_generation(mailbox: &SledMailbox) -> usize {
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    for first in (1..1_001).step_by(20) {
        let appended = (first..first + 20).map(|seq| append(Q, seq, vec![seq as u8; 2_000]));
        mailbox.append(&batch(appended)).unwrap();
        let done = (first..first + 19).map(|seq| finish(Q, seq));
        mailbox.append(&batch(done)).unwrap();
        // No compaction while it rotates.
        loop {
            let step = mailbox.store.rotate_step(&mut mailbox.log_end()).unwrap();
            match step {
                Step::Idle => break,
                Step::Rotated(first_id) => {
                    mailbox.index_mut().generations.insert(first_id, Default::default());
                }
                Step::More | Step::Waiting => mailbox.store.keeper.wait_for_next(),
            }
        }
    }
    generations(mailbox)
}

#[test]
fn on_a_low_disk_nothing_is_written_again_until_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_eager(folder.path(), SMALL);
    let before = with_little_in_each_generation(&mailbox);
    assert!(before > 4, "{before} generations");
    mailbox.set_spare(SLED_SEGMENT_BYTES as u64);
    upkeep(&mailbox);
    assert_eq!(generations(&mailbox), before, "not one could be spared");
    let waiting: Vec<u64> = (1..1_001).filter(|seq| seq % 20 == 0).collect();
    assert_eq!(places(&mailbox, Q), waiting);

    mailbox.set_spare(u64::MAX);
    upkeep(&mailbox);
    assert!(generations(&mailbox) <= 2, "{} of {before} generations", generations(&mailbox));
    assert_eq!(places(&mailbox, Q), waiting);
}

#[test]
fn a_compaction_that_meets_a_low_disk_waits_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_eager(folder.path(), SMALL);
    with_little_in_each_generation(&mailbox);
    while mailbox.compactor().pass.is_none() {
        mailbox.maintain().unwrap();
        mailbox.store.keeper.wait_for_next();
    }
    let (before, written) = (generations(&mailbox), mailbox.log_end().next_id);
    mailbox.set_spare(0);
    upkeep(&mailbox);
    assert!(mailbox.compactor().pass.is_some());
    assert_eq!((generations(&mailbox), mailbox.log_end().next_id), (before, written));
    mailbox.set_spare(u64::MAX);
    upkeep(&mailbox);
    assert!(generations(&mailbox) <= 2, "{} of {before} generations", generations(&mailbox));
}

#[test]
fn many_small_segments_become_few_with_long_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_merging(folder.path());
    let queues: Vec<QueueId> = (1..=3).map(QueueId).collect();
    mailbox.append(&batch(queues.iter().map(|&queue| put_queue(queue, 5)))).unwrap();
    for seq in 1..=300 {
        for &queue in &queues {
            mailbox.append(&batch([append(queue, seq, format!("payload {seq}"))])).unwrap();
        }
        mailbox.maintain().unwrap();
    }
    upkeep(&mailbox);
    let check = |mailbox: &SledMailbox| {
        let index = mailbox.index();
        assert!(index.segments.len() < 20, "{} segments", index.segments.len());
        for &queue in &queues {
            assert!(index.queues[&queue].runs.len() < 20);
        }
        drop(index);
        for &queue in &queues {
            assert_eq!(places(mailbox, queue), (1..=300).collect::<Vec<_>>());
            assert_eq!(
                mailbox.read(queue, Seq(177), 1, 1).unwrap()[0].content.payload,
                "payload 177"
            );
        }
    };
    check(&mailbox);
    mailbox.sync().unwrap();
    drop(mailbox);
    check(&open_merging(folder.path()));
}

#[test]
fn what_is_finished_behind_a_head_that_waits_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_merging(folder.path());
    mailbox.append(&batch([put_queue(Q, 5), append(Q, 1, "stuck")])).unwrap();
    for seq in 2..=400 {
        mailbox.append(&batch([append(Q, seq, "done")])).unwrap();
        mailbox.append(&batch([finish(Q, seq)])).unwrap();
        upkeep(&mailbox);
    }
    assert!(mailbox.index().segments.len() < 20);
    assert!(mailbox.index().queues[&Q].runs.len() < 20);
    assert_eq!(places(&mailbox, Q), [1]);
    assert_eq!(mailbox.recover().unwrap().queues[0].window.len(), 5);
}

#[test]
fn a_crash_in_any_step_of_a_compaction_loses_and_invents_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut mailbox = open_eager(folder.path(), SMALL);
    let model = MemoryMailbox::new();
    let (mut n, mut failures) = (0, 0);
    for writes in 0.. {
        for _ in 0..9 {
            let batch = small_commit(n);
            n += 1;
            mailbox.append(&batch).unwrap();
            model.append(&batch).unwrap();
        }
        // Opened again, it rotates; then the one before is written again and deleted.
        mailbox.store.fail_after_writes(writes);
        let failed = loop {
            match mailbox.maintain() {
                Err(_) => break true,
                Ok(false) if !mailbox.waits_for_upkeep() => break false,
                Ok(_) => mailbox.store.keeper.wait_for_next(),
            }
        };
        failures += usize::from(failed);
        drop(mailbox);
        mailbox = open_eager(folder.path(), SMALL);
        assert_eq!(everything(&mailbox), everything(&model), "write {writes}");
        if writes > 0 && !failed {
            break;
        }
    }
    assert!(failures > 40, "{failures} failures before a compaction went through");
    assert_eq!(blobs(folder.path()), 0);
}

#[test]
fn random_work_is_kept_over_compaction_and_restarts() {
    for seed in 20..23 {
        let folder = tempfile::tempdir().unwrap();
        let mut mailbox = open_eager(folder.path(), 8_000_000);
        let model = MemoryMailbox::new();
        let mut driver = Driver::new(seed, seed % 2 == 0);
        for _ in 0..8 {
            for _ in 0..20 {
                let (batch, elsewhere) = (driver.batch(), driver.elsewhere());
                mailbox.append_with_gaps(&batch, &elsewhere).unwrap();
                model.append_with_gaps(&batch, &elsewhere).unwrap();
                mailbox.maintain().unwrap();
            }
            upkeep(&mailbox);
            assert_eq!(everything(&mailbox), everything(&model));
            mailbox.sync().unwrap();
            drop(mailbox);
            mailbox = open_eager(folder.path(), 8_000_000);
            assert_eq!(everything(&mailbox), everything(&model));
        }
        assert_eq!(blobs(folder.path()), 0);
    }
}

#[test]
fn messages_are_read_while_they_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_eager(folder.path(), SMALL);
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    // A few wait for ever, in generations that come and go.
    let waiting: Vec<u64> = (1..=50).collect();
    let first = waiting.iter().map(|&seq| append(Q, seq, vec![seq as u8; 900]));
    mailbox.append(&batch(first)).unwrap();
    let rounds = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while rounds.load(Ordering::Acquire) < 150 {
                    let read = mailbox.read(Q, Seq(0), 50, usize::MAX).unwrap();
                    assert_eq!(read.len(), 50);
                    for message in read {
                        assert_eq!(message.unreadable, None);
                        assert_eq!(message.content.payload, vec![message.seq.0 as u8; 900]);
                    }
                }
            });
        }
        for round in 0..150 {
            let seqs = 51 + round * 20..71 + round * 20;
            let appended = seqs.clone().map(|seq| append(Q, seq, vec![0; 2_000]));
            mailbox.append(&batch(appended)).unwrap();
            mailbox.append(&batch(seqs.map(|seq| finish(Q, seq)))).unwrap();
            upkeep(&mailbox);
            rounds.fetch_add(1, Ordering::Release);
        }
    });
    assert!(mailbox.store.begin().number > 10);
    assert_eq!(places(&mailbox, Q), waiting);
}
