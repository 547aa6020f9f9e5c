//! Queues that were removed: what is left of them is no damage, and nothing of it comes back.

use super::rotation::{generations, open_small, upkeep};
use super::*;

const OTHER: QueueId = QueueId(2);

fn remove(queue: QueueId, next: u64) -> Op {
    Op::RemoveQueue { queue, next: Seq(next) }
}

fn state_keys(mailbox: &SledMailbox, letters: &[u8]) -> usize {
    let state = mailbox.store.active().unwrap().generation;
    letters.iter().map(|letter| state.state.scan_prefix([*letter]).count()).sum()
}

/// Two queues whose messages are in the same segments; one of them goes, with edits, records and finished places.
fn fill_and_remove(mailbox: &SledMailbox) {
    mailbox.append(&batch([put_queue(Q, 5), put_queue(OTHER, 5)])).unwrap();
    for seq in 1..=30 {
        mailbox.append(&batch([append(Q, seq, "a"), append(OTHER, seq, "b")])).unwrap();
        upkeep(mailbox);
    }
    let finished = (1..=9).chain([12, 14]).map(|seq| finish(Q, seq));
    mailbox.append(&batch(finished.chain([finish(OTHER, 1)]))).unwrap();
    let edits = [revise(Q, 10, 1, vec![7; 200_000]), put_record(Q, 10, blocked(1))];
    mailbox.append(&batch(edits)).unwrap();
    mailbox.append(&batch([Op::PutNote { queue: Q, note: "note".into() }])).unwrap();
    mailbox.sync().unwrap();
    mailbox.append(&batch([append(Q, 31, "c"), remove(Q, 32), append(OTHER, 31, "d")])).unwrap();
    mailbox.sync().unwrap();
}

fn check(mailbox: &SledMailbox) {
    let recovered = mailbox.recover().unwrap();
    let names: Vec<_> = recovered.queues.iter().map(|queue| queue.record.id).collect();
    assert_eq!(names, [OTHER]);
    assert_eq!(recovered.removed, RemovedQueues { last: Q, next: Seq(32) });
    assert!(recovered.queues[0].record.paused.is_none());
    assert_eq!(places(mailbox, OTHER), (2..=31).collect::<Vec<_>>());
    assert_eq!(places(mailbox, Q), [0; 0]);
    assert_eq!(mailbox.find(None, &id("q1-20")).unwrap(), None);
    assert_eq!(state_keys(mailbox, b"renv"), 0);
    assert_eq!(state_keys(mailbox, b"q"), 1);
}

#[test]
fn what_is_left_of_a_removed_queue_is_no_damage_and_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mailbox = open(folder.path());
    fill_and_remove(&mailbox);
    check(&mailbox);
    drop(mailbox);
    for round in 0..4 {
        let found = check_store(&store).unwrap();
        assert!(found.sound, "{found:?}");
        assert_eq!(found.queues.len(), 1, "{found:?}");
        if round % 2 == 1 {
            store::Store::salvage(&store, "a test says so").unwrap();
        }
        let mailbox = open(folder.path());
        check(&mailbox);
        upkeep(&mailbox);
        mailbox.sync().unwrap();
    }
    let reports = std::fs::read_dir(store.join("quarantine")).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|e| e == "txt").then(|| std::fs::read_to_string(path).unwrap())
    });
    for report in reports {
        assert!(
            report.contains("No messages are lost") && !report.contains("recovered-"),
            "{report}"
        );
    }
}

#[test]
fn the_same_over_many_generations() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mailbox = open_small(folder.path());
    fill_and_remove(&mailbox);
    mailbox
        .append(&batch([{
            let record = queue_record(QueueId(3), MailboxKind::File, 5);
            Op::PutQueue(Box::new(QueueRecord { first: Seq(32), ..record }))
        }]))
        .unwrap();
    for seq in 32..=300 {
        mailbox.append(&batch([append(QueueId(3), seq, vec![1; 5_000])])).unwrap();
        upkeep(&mailbox);
    }
    assert!(generations(&mailbox) > 2);
    drop(mailbox);
    for is_salvaged in [false, true] {
        if is_salvaged {
            store::Store::salvage(&store, "a test says so").unwrap();
        }
        assert!(check_store(&store).unwrap().sound);
        let mailbox = open_small(folder.path());
        let recovered = mailbox.recover().unwrap();
        let ids: Vec<_> = recovered.queues.iter().map(|queue| queue.record.id.0).collect();
        assert_eq!((ids, recovered.removed.last), (vec![2, 3], Q));
        assert_eq!(recovered.queues[1].floor, Seq(32));
        assert_eq!(places(&mailbox, QueueId(3)), (32..=300).collect::<Vec<_>>());
        assert_eq!(places(&mailbox, OTHER), (2..=31).collect::<Vec<_>>());
    }
}

#[test]
fn the_disk_of_a_removed_queue_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 500), put_queue(OTHER, 5)])).unwrap();
    for seq in 1..=400 {
        mailbox.append(&batch([append(Q, seq, vec![1; 5_000])])).unwrap();
        upkeep(&mailbox);
    }
    let before = generations(&mailbox);
    assert!(before > 4, "{before}");
    mailbox.append(&batch([remove(Q, 401), append(OTHER, 1, "b")])).unwrap();
    mailbox.append(&batch([append(OTHER, 2, "b")])).unwrap();
    upkeep(&mailbox);
    assert!(generations(&mailbox) <= 2, "{} of {before}", generations(&mailbox));
    let segments = mailbox.index().segments.len();
    assert!(segments <= 3, "{segments} segments");
    drop(mailbox);
    assert_eq!(places(&open_small(folder.path()), OTHER), [1, 2]);
}

#[test]
fn a_queue_whose_record_is_lost_is_still_told_from_one_that_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mailbox = open(folder.path());
    fill_and_remove(&mailbox);
    let key = super::super::layout::queue_key(OTHER);
    let generation = mailbox.store.active().unwrap().generation;
    generation.remove(&generation.state, &key).unwrap();
    mailbox.sync().unwrap();
    drop((mailbox, generation));
    let mailbox = open(folder.path());
    assert!(store.join("quarantine").exists());
    let queues = mailbox.recover().unwrap().queues;
    let names: Vec<_> = queues.iter().map(|queue| queue.record.name.as_str()).collect();
    assert_eq!(names, ["recovered-2"]);
    assert_eq!(places(&mailbox, OTHER), (2..=31).collect::<Vec<_>>());
}
