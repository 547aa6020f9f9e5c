//! What only this store promises. The behaviours that all stores share are in `conformance`.

mod random;

use std::path::Path;

use super::*;
use crate::mailbox::conformance::sample::*;
use crate::mailbox::fault::{FaultMailbox, Lossy};
use crate::mailbox::{SledMailbox, SledOptions, check_store};
use crate::model::{MailboxKind, Op};

const M: QueueId = QueueId(2);

fn open(path: &Path) -> (RoutedMailbox, Recovered) {
    let mailbox =
        RoutedMailbox::new(SledMailbox::open(&path.join("store"), SledOptions::default()).unwrap());
    let recovered = mailbox.recover().unwrap();
    (mailbox, recovered)
}

fn in_ram(mailbox: &RoutedMailbox, queue: QueueId) -> u64 {
    mailbox.memory.load(queue).messages
}

fn put(queue: QueueId, kind: MailboxKind) -> Op {
    Op::PutQueue(Box::new(queue_record(queue, kind, 10)))
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
    assert!(memory.part(QueueId(9)).is_none());
    mailbox.append(&batch([append(M, 3, "d"), finish(M, 2)])).unwrap();
    assert_eq!(places(&mailbox, M), [3]);
}

#[test]
fn a_queue_moves_with_what_waits_in_it_when_its_setting_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (mailbox, _) = open(folder.path());
    mailbox.append(&batch([put(M, MailboxKind::Memory), append(M, 1, "a")])).unwrap();
    let edited = [append(M, 2, "b"), revise(M, 2, 1, "edited"), put_record(M, 2, blocked(1))];
    mailbox.append(&batch(edited)).unwrap();
    mailbox.append(&batch([put(M, MailboxKind::File), append(M, 3, "c"), finish(M, 1)])).unwrap();
    assert_eq!(places(&mailbox, M), [2, 3]);
    assert_eq!(in_ram(&mailbox, M), 0);
    mailbox.sync().unwrap();
    drop(mailbox);
    let (mailbox, recovered) = open(folder.path());
    let queue = backlog(&recovered, M);
    assert_eq!((queue.floor, queue.next_seq, queue.records.len()), (Seq(2), Seq(4), 1));
    assert_eq!(mailbox.read(M, Seq(1), 1, 99).unwrap()[0].content.payload, "edited");
    assert_eq!(mailbox.content(M, Seq(2), Revision(0)).unwrap().unwrap().payload, "b");
    assert_eq!(mailbox.revisions(M, Seq(2)).unwrap().len(), 1);
    // And back: what waits durably stays so, what comes is in RAM.
    mailbox.append(&batch([put(M, MailboxKind::Memory), append(M, 4, "d")])).unwrap();
    assert_eq!((places(&mailbox, M), in_ram(&mailbox, M)), (vec![2, 3, 4], 1));
    mailbox.append(&batch([finish(M, 2), finish(M, 4), append(M, 5, "e")])).unwrap();
    assert_eq!((places(&mailbox, M), in_ram(&mailbox, M)), (vec![3, 5], 1));
    mailbox.sync().unwrap();
    drop(mailbox);
    let (mailbox, recovered) = open(folder.path());
    assert_eq!(places(&mailbox, M), [3]);
    assert!(backlog(&recovered, M).next_seq > Seq(5));
}

#[test]
fn a_mixed_queue_spills_in_order_and_comes_back_to_ram_when_that_is_drained() {
    let folder = tempfile::tempdir().unwrap();
    let (mailbox, _) = open(folder.path());
    let mut record = queue_record(M, MailboxKind::Mixed, 10);
    Arc::make_mut(&mut record.settings).memory_messages = 3;
    mailbox.append(&batch([Op::PutQueue(Box::new(record))])).unwrap();
    mailbox.append(&appends(M, 1..=5)).unwrap();
    assert_eq!((places(&mailbox, M), in_ram(&mailbox, M)), (vec![1, 2, 3, 4, 5], 3));
    mailbox.append(&batch([finish(M, 1), append(M, 6, "spilled too")])).unwrap();
    assert_eq!((places(&mailbox, M), in_ram(&mailbox, M)), (vec![2, 3, 4, 5, 6], 2));
    mailbox.append(&batch([2, 3, 4, 5].map(|seq| finish(M, seq)))).unwrap();
    mailbox.append(&batch([finish(M, 6), append(M, 7, "")])).unwrap();
    assert_eq!((places(&mailbox, M), in_ram(&mailbox, M)), (vec![7], 1));
    mailbox.append(&appends(M, 8..=12)).unwrap();
    mailbox.sync().unwrap();
    drop(mailbox);
    let (mailbox, recovered) = open(folder.path());
    assert_eq!(places(&mailbox, M), [10, 11, 12], "the head in RAM is gone, the overflow is not");
    let queue = backlog(&recovered, M);
    assert_eq!((queue.floor, queue.next_seq, queue.finished.len()), (Seq(10), Seq(13), 0));
}

#[test]
fn places_that_were_lost_in_ram_are_not_taken_for_lost_in_the_store_after_a_move() {
    let folder = tempfile::tempdir().unwrap();
    let (mailbox, _) = open(folder.path());
    let mut record = queue_record(M, MailboxKind::Mixed, 10);
    Arc::make_mut(&mut record.settings).memory_messages = 2;
    mailbox.append(&batch([Op::PutQueue(Box::new(record))])).unwrap();
    for seq in 1..=4 {
        mailbox.append(&appends(M, seq..=seq)).unwrap();
    }
    mailbox.append(&batch([3, 4].map(|seq| finish(M, seq)))).unwrap();
    // Into RAM, so places are set aside again.
    mailbox.append(&batch([finish(M, 1), append(M, 5, "")])).unwrap();
    mailbox.append(&appends(M, 6..=7)).unwrap();
    let look = |mailbox: RoutedMailbox, waiting: u64| {
        mailbox.sync().unwrap();
        drop(mailbox);
        let check = check_store(&folder.path().join("store")).unwrap();
        assert!(check.sound, "{check:?}");
        assert_eq!(check.queues[0].waiting, waiting);
        open(folder.path())
    };
    let (mailbox, _) = look(mailbox, 2);
    mailbox.append(&batch([put(M, MailboxKind::File)])).unwrap();
    let (mailbox, recovered) = look(mailbox, 2);
    assert_eq!(places(&mailbox, M), [6, 7]);
    let next = backlog(&recovered, M).next_seq.0;
    mailbox.append(&batch([append(M, next, ""), append(M, next + 1, "")])).unwrap();
    mailbox.append(&batch([append(M, next + 2, ""), finish(M, next)])).unwrap();
    let (mailbox, _) = look(mailbox, 4);
    assert_eq!(places(&mailbox, M), [6, 7, next + 1, next + 2]);
}

#[test]
fn a_move_that_the_store_loses_leaves_what_was_in_ram() {
    let memory = Arc::default();
    let lossy = Lossy::default();
    let mailbox = RoutedMailbox::reopened(lossy.clone(), Arc::clone(&memory));
    mailbox.recover().unwrap();
    mailbox.append(&batch([put(M, MailboxKind::Memory), append(M, 1, "a")])).unwrap();
    mailbox.sync().unwrap();
    mailbox.append(&batch([put(M, MailboxKind::File), append(M, 2, "b")])).unwrap();
    assert_eq!(places(&mailbox, M), [1, 2]);
    lossy.crash(0);
    let mailbox = RoutedMailbox::reopened(lossy.clone(), Arc::clone(&memory));
    mailbox.recover().unwrap();
    assert_eq!(places(&mailbox, M), [1], "the second was never confirmed");
    mailbox.append(&batch([put(M, MailboxKind::File)])).unwrap();
    mailbox.sync().unwrap();
    assert_eq!(memory.leaving(), 0, "nothing is held longer than needed");
    lossy.crash(0);
    let mailbox = RoutedMailbox::reopened(lossy, memory);
    mailbox.recover().unwrap();
    assert_eq!(places(&mailbox, M), [1]);
}

#[test]
fn a_batch_that_the_store_fails_on_leaves_ram_as_it_was() {
    let fault = FaultMailbox::new(MemoryMailbox::new());
    fault.fail_append(2);
    let mailbox = RoutedMailbox::new(fault);
    mailbox.recover().unwrap();
    mailbox.append(&batch([put(Q, MailboxKind::File), put(M, MailboxKind::Memory)])).unwrap();
    mailbox.append(&appends(M, 1..=2)).unwrap();
    mailbox.append(&batch([append(M, 3, "c"), finish(M, 1), append(Q, 1, "a")])).unwrap_err();
    assert_eq!((places(&mailbox, M), places(&mailbox, Q)), (vec![1, 2], vec![]));
    mailbox.append(&appends(M, 3..=3)).unwrap_err();
    mailbox.sync().unwrap_err();
    assert_eq!(places(&mailbox, M), [1, 2], "broken stays broken, for what is in RAM too");
}

#[test]
fn places_of_a_batch_that_failed_and_is_there_all_the_same_are_not_given_out_again() {
    let mut was_in_doubt = false;
    for writes in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let sled =
            || SledMailbox::open(&folder.path().join("store"), SledOptions::default()).unwrap();
        let (store, memory) = (sled(), Arc::default());
        let writes_left = store.writes_left();
        let mailbox = RoutedMailbox::reopened(store, Arc::clone(&memory));
        mailbox.recover().unwrap();
        let mut record = queue_record(M, MailboxKind::Mixed, 10);
        Arc::make_mut(&mut record.settings).memory_messages = 2;
        mailbox.append(&batch([Op::PutQueue(Box::new(record)), append(M, 1, "a")])).unwrap();
        mailbox.sync().unwrap();
        writes_left.store(writes, Ordering::Relaxed);
        // The first to RAM, the other one to disk.
        let done = mailbox.append(&batch([append(M, 2, "b"), append(M, 3, "c")]));
        drop(mailbox);

        let mailbox = RoutedMailbox::reopened(sled(), memory);
        let recovered = mailbox.recover().unwrap();
        let there = places(&mailbox, M);
        let next = backlog(&recovered, M).next_seq;
        assert!(there.iter().all(|&place| place < next.0), "{there:?}, next is {next}");
        was_in_doubt |= done.is_err() && there == [1, 3];
        mailbox.append(&batch([append(M, next.0, "new")])).unwrap();
        let with_new: Vec<u64> = there.iter().copied().chain([next.0]).collect();
        assert_eq!(places(&mailbox, M), with_new);
        if done.is_ok() {
            break;
        }
    }
    assert!(was_in_doubt);
}

#[test]
fn a_commit_of_what_is_in_ram_waits_for_no_disk() {
    let fault = FaultMailbox::new(MemoryMailbox::new());
    // The first sync is for the queue and the places set aside; another would be one too many.
    fault.fail_sync(1);
    let mailbox = RoutedMailbox::new(fault);
    mailbox.recover().unwrap();
    mailbox.append(&batch([put(M, MailboxKind::Memory), append(M, 1, "a")])).unwrap();
    mailbox.sync().unwrap();
    for seq in 2..=1_000 {
        mailbox.append(&batch([append(M, seq, "b"), finish(M, seq - 1)])).unwrap();
        mailbox.sync().unwrap();
    }
    mailbox.append(&batch([journal(1, M, None)])).unwrap();
    mailbox.sync().unwrap_err();
}

#[test]
fn queues_are_read_whole_while_they_move_and_others_are_written() {
    const MOVING: u32 = 60;
    const WAITING: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let (mailbox, _) = open(folder.path());
    let moving: Vec<QueueId> = (100..100 + MOVING).map(QueueId).collect();
    for &queue in &moving {
        mailbox.append(&batch([put(queue, MailboxKind::Memory)])).unwrap();
        mailbox.append(&appends(queue, 1..=WAITING)).unwrap();
    }
    mailbox.append(&batch([put(M, MailboxKind::Mixed)])).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for page in [1, 7, 1_000] {
            let (mailbox, over, moving) = (&mailbox, &over, &moving);
            threads.spawn(move || {
                while !over.load(Ordering::Acquire) {
                    // Each page is checked against the places that it must have.
                    let queue = moving[fastrand::usize(0..moving.len())];
                    for from in (1..=WAITING).step_by(page) {
                        let read = mailbox.read(queue, Seq(from), page, usize::MAX).unwrap();
                        let read: Vec<u64> = read.iter().map(|message| message.seq.0).collect();
                        let expected: Vec<u64> = (from..=WAITING).take(page).collect();
                        assert_eq!(read, expected, "queue {queue}");
                    }
                    let written = mailbox.read(M, Seq(0), 100, usize::MAX).unwrap();
                    assert!(written.is_sorted_by_key(|message| message.seq));
                }
            });
        }
        for (&queue, seq) in moving.iter().zip(1..) {
            mailbox.append(&batch([append(M, seq, "x"), put(queue, MailboxKind::File)])).unwrap();
            mailbox.sync().unwrap();
        }
        over.store(true, Ordering::Release);
    });
    assert_eq!(places(&mailbox, M), (1..=u64::from(MOVING)).collect::<Vec<_>>());
    assert!(moving.iter().all(|&queue| in_ram(&mailbox, queue) == 0));
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
