//! A payload that many messages of a commit share is on disk once, wherever they go.

use bytes::Bytes;

use super::rotation::{generations, upkeep};
use super::*;
use crate::mailbox::transfer::{Import, export};

/// Of the one payload that all queues get.
const BYTES: usize = 100_000;
const QUEUES: u32 = 1_000;

fn payload() -> Bytes {
    (0..BYTES).map(|at| (at % 251) as u8).collect()
}

fn fan_out(queues: impl Iterator<Item = u32>, seq: u64, payload: &Bytes) -> crate::model::Batch {
    batch(queues.map(|queue| append(QueueId(queue), seq, payload.clone())))
}

fn put_queues(mailbox: &SledMailbox, last: u32) {
    mailbox.append(&batch((1..=QUEUES).map(|queue| put_queue(QueueId(queue), last)))).unwrap();
}

/// Parts, each of which holds up to 96 KiB, of all segments with messages.
fn parts(mailbox: &SledMailbox) -> u32 {
    mailbox.index().segments.values().filter(|used| used.runs > 0).map(|used| used.parts).sum()
}

fn read(mailbox: &SledMailbox, queue: u32, seq: u64) -> Bytes {
    let messages = mailbox.read(QueueId(queue), Seq(seq), 1, usize::MAX).unwrap();
    let message = messages.first().expect("it waits");
    assert_eq!(message.content.id(), &id(&format!("q{queue}-{seq}")));
    assert_eq!((message.seq, message.accepted_at), (Seq(seq), Timestamp(1_000 + seq)));
    message.content.payload.clone()
}

#[test]
fn a_payload_for_a_thousand_queues_is_written_once_for_each_segment_of_headers() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    put_queues(&mailbox, 10);
    let payload = payload();
    mailbox.append(&fan_out(1..=QUEUES, 1, &payload)).unwrap();
    mailbox.sync().unwrap();
    // These 1,000 short headers fit one segment, the payload two parts.
    assert_eq!(parts(&mailbox), 2);
    let check = |mailbox: &SledMailbox| {
        for queue in [1, 2, 500, QUEUES] {
            assert_eq!(read(mailbox, queue, 1), payload);
        }
        let recovered = mailbox.recover().unwrap();
        assert!(recovered.queues.iter().all(|queue| queue.bytes > BYTES as u64));
        assert_eq!(mailbox.find(None, &id("q777-1")).unwrap(), Some((QueueId(777), Seq(1))));
    };
    check(&mailbox);
    drop(mailbox);
    let mailbox = open(folder.path());
    check(&mailbox);
    let (first, second) = (read(&mailbox, 5, 1), read(&mailbox, 6, 1));
    assert_eq!(first.as_ptr(), second.as_ptr(), "in RAM they share it too");
    drop(mailbox);
    let size = std::fs::metadata(folder.path().join("store/gen-1/db")).unwrap().len();
    assert!(size < 20_000_000, "{size} bytes on disk");
    assert_eq!(blobs(folder.path()), 0);
}

#[test]
fn what_saves_little_is_written_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    put_queues(&mailbox, 10);
    let small = Bytes::from(vec![7; 900]);
    mailbox.append(&fan_out(1..=QUEUES, 1, &small)).unwrap();
    let few = Bytes::from(vec![8; 30_000]);
    mailbox.append(&fan_out(1..=3, 2, &few)).unwrap();
    assert_eq!(parts(&mailbox), 0);
    let more = Bytes::from(vec![9; 30_000]);
    let mut ops = fan_out(11..=14, 2, &more).ops;
    ops.insert(2, append(QueueId(9), 2, "between"));
    ops.push(append(QueueId(5), 2, vec![6; 200_000]));
    mailbox.append(&batch(ops)).unwrap();
    assert_eq!(parts(&mailbox), 1 + 3);
    assert_eq!((read(&mailbox, 3, 2), read(&mailbox, 14, 2)), (few, more));
    assert_eq!(read(&mailbox, 9, 2), "between");
    assert_eq!(read(&mailbox, 5, 2), vec![6; 200_000]);
}

#[test]
fn what_is_left_of_it_is_compacted_without_becoming_more() {
    let folder = tempfile::tempdir().unwrap();
    let options = || SledOptions {
        rotate_bytes: 500_000,
        max_open_sealed: 2,
        compact_slack_bytes: 0,
        max_small_segments: 8,
        ..SledOptions::default()
    };
    let open = || SledMailbox::open(&folder.path().join("store"), options()).unwrap();
    let mailbox = open();
    put_queues(&mailbox, 2);
    let payload = payload();
    for seq in 1..=12 {
        mailbox.append(&fan_out(1..=300, seq, &payload)).unwrap();
        // Of every second event 20 copies wait, of the others none.
        let done = (1..=300).filter(|queue| seq % 2 == 0 || queue % 15 != 0);
        mailbox.append(&batch(done.map(|queue| finish(QueueId(queue), seq)))).unwrap();
        upkeep(&mailbox);
    }
    upkeep(&mailbox);
    // Each generation held something that waits: without compaction none could have gone.
    let (made, left) = (mailbox.store.begin().number, generations(&mailbox) as u64);
    assert!(made > left, "{made} generations were made, {left} are left");
    // Six events wait, each with two parts; some may have been parted by a step.
    assert!(parts(&mailbox) <= 24, "{} parts", parts(&mailbox));
    let check = |mailbox: &SledMailbox| {
        for queue in (15..=300).step_by(15) {
            assert_eq!(places(mailbox, QueueId(queue)), [1, 3, 5, 7, 9, 11]);
            assert_eq!(read(mailbox, queue, 7), payload);
        }
        assert_eq!(mailbox.find(None, &id("q1-12")).unwrap(), Some((QueueId(1), Seq(12))));
    };
    check(&mailbox);
    mailbox.sync().unwrap();
    drop(mailbox);
    let mailbox = open();
    check(&mailbox);
    let left = (15..=300).step_by(15);
    let done =
        left.flat_map(|queue| (1..=11).step_by(2).map(move |seq| finish(QueueId(queue), seq)));
    mailbox.append(&batch(done)).unwrap();
    // The ids of the newest two of each queue are remembered, and stand in their segments.
    for seq in 13..=14 {
        let small = |queue| append(QueueId(queue), seq, "small");
        mailbox.append(&batch((1..=300).map(small))).unwrap();
        mailbox.append(&batch((1..=300).map(|queue| finish(QueueId(queue), seq)))).unwrap();
    }
    upkeep(&mailbox);
    assert_eq!(parts(&mailbox), 0, "with the last copy it goes");
}

#[test]
fn an_import_shares_what_was_shared() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a"), folder.path().join("b"));
    let mailbox = open(&first);
    put_queues(&mailbox, 10);
    let payload = payload();
    for seq in 1..=3 {
        mailbox.append(&fan_out(1..=QUEUES, seq, &payload)).unwrap();
    }
    mailbox.sync().unwrap();
    let recovered = mailbox.recover().unwrap();
    let copy = open(&second);
    let mut import = Import::new(&copy);
    export(&mailbox, recovered, &mut |line| import.take(line)).unwrap();
    import.finish().unwrap();
    assert!(
        parts(&copy) <= 40,
        "{} parts, where each copy by itself would take 6,000",
        parts(&copy)
    );
    assert_eq!(read(&copy, 321, 2), payload);
}

#[test]
fn a_damaged_part_is_told_of_every_message_that_shares_it() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    put_queues(&mailbox, 10);
    mailbox.append(&fan_out(1..=50, 1, &payload())).unwrap();
    mailbox.append(&batch([append(Q, 2, "sound")])).unwrap();
    drop(mailbox);
    let log = folder.path().join("store/gen-1/db");
    let mut bytes = std::fs::read(&log).unwrap();
    let wanted = &payload()[90_000..90_100];
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).expect("it is there");
    bytes[at] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let mailbox = open(folder.path());
    for queue in 1..=50 {
        let message = &mailbox.read(QueueId(queue), Seq(1), 1, usize::MAX).unwrap()[0];
        assert!(message.unreadable.is_some(), "queue {queue}");
        assert_eq!(message.content.id(), &id(&format!("q{queue}-1")));
    }
    assert_eq!(read(&mailbox, 1, 2), "sound");
}
