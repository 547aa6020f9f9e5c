//! Behaviours of a mailbox that stays open.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use super::sample::*;
use crate::mailbox::{JournalFilter, Mailbox, MailboxError};
use crate::model::limits::{MAX_PAYLOAD_BYTES, MAX_REPAIR_KEYS};
use crate::model::{
    MailboxKind, Op, QueueId, QueueRecord, Revision, Seq, StoredMessage, Timestamp,
};

pub(crate) type Open<'a, M> = &'a dyn Fn() -> M;

/// A fresh mailbox with queue `Q`, whose window is 10.
fn fresh<M: Mailbox>(open: Open<'_, M>) -> M {
    let mailbox = open();
    mailbox.recover().unwrap();
    mailbox.append(&batch([put_queue(Q, 10)])).unwrap();
    mailbox
}

fn payloads(messages: &[StoredMessage]) -> Vec<Bytes> {
    messages.iter().map(|message| message.content.payload.clone()).collect()
}

pub(crate) fn messages_come_back_in_order_with_the_same_bytes<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    mailbox.append(&appends(Q, 1..=3)).unwrap();
    mailbox.append(&appends(Q, 4..=5)).unwrap();
    let read = mailbox.read(Q, Seq(0), 100, usize::MAX).unwrap();
    assert_eq!(payloads(&read), (1..=5).map(|n| format!("payload {n}")).collect::<Vec<_>>());
    assert_eq!(&read[1].content.header.json()[..], br#"{"id":"q1-2","x-n":1.10}"#);
    assert_eq!((read[1].seq, read[1].accepted_at), (Seq(2), Timestamp(1_002)));
    assert_eq!(read[1].record, None);
}

pub(crate) fn a_batch_may_hold_many_queues<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    let other = QueueId(2);
    let mixed = [put_queue(other, 10), append(Q, 1, "a"), append(other, 1, "b"), append(Q, 2, "c")];
    mailbox.append(&batch(mixed)).unwrap();
    assert_eq!(payloads(&mailbox.read(Q, Seq(1), 9, 99_999).unwrap()), ["a", "c"]);
    assert_eq!(payloads(&mailbox.read(other, Seq(1), 9, 99_999).unwrap()), ["b"]);
}

pub(crate) fn reading_starts_anywhere_in_a_long_queue<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    for start in (1..=2_000).step_by(100) {
        mailbox.append(&appends(Q, start..=start + 99)).unwrap();
    }
    for from in [1, 99, 100, 101, 1_500, 2_000] {
        let read = mailbox.read(Q, Seq(from), 3, usize::MAX).unwrap();
        let expected: Vec<u64> = (from..=2_000).take(3).collect();
        assert_eq!(read.iter().map(|message| message.seq.0).collect::<Vec<_>>(), expected);
    }
    assert!(mailbox.read(Q, Seq(2_001), 3, usize::MAX).unwrap().is_empty());
    assert!(mailbox.read(QueueId(77), Seq(1), 3, usize::MAX).unwrap().is_empty());
}

pub(crate) fn reading_stops_at_the_count_and_at_the_bytes<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    mailbox.append(&batch((1..=10).map(|seq| append(Q, seq, vec![b'x'; 1_000])))).unwrap();
    assert_eq!(mailbox.read(Q, Seq(1), 4, usize::MAX).unwrap().len(), 4);
    assert_eq!(mailbox.read(Q, Seq(1), 0, usize::MAX).unwrap().len(), 0);
    assert_eq!(mailbox.read(Q, Seq(1), 10, 2_500).unwrap().len(), 2);
    assert_eq!(mailbox.read(Q, Seq(1), 10, 1).unwrap().len(), 1, "one comes even if it is larger");
}

pub(crate) fn finishing_out_of_order_leaves_the_others<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    mailbox.append(&appends(Q, 1..=10)).unwrap();
    mailbox.append(&batch([finish(Q, 7), finish(Q, 3)])).unwrap();
    mailbox.append(&batch([finish(Q, 1)])).unwrap();
    assert_eq!(places(&mailbox, Q), [2, 4, 5, 6, 8, 9, 10]);
    assert_eq!(mailbox.content(Q, Seq(3), Revision(0)).unwrap(), None);
    mailbox.append(&batch([finish(Q, 2), append(Q, 11, ""), finish(Q, 11)])).unwrap();
    assert_eq!(places(&mailbox, Q), [4, 5, 6, 8, 9, 10]);
    let read = mailbox.read(Q, Seq(1), 1, usize::MAX).unwrap();
    assert_eq!(payloads(&read), ["payload 4"]);
}

pub(crate) fn a_record_comes_with_its_message_until_that_is_finished<M: Mailbox>(
    open: Open<'_, M>,
) {
    let mailbox = fresh(open);
    mailbox.append(&appends(Q, 1..=3)).unwrap();
    mailbox.append(&batch([put_record(Q, 2, blocked(0))])).unwrap();
    let mut long = blocked(0);
    long.last_error.as_mut().unwrap().detail = "\u{1}é".repeat(200_000);
    mailbox.append(&batch([put_record(Q, 3, long.clone())])).unwrap();
    let read = mailbox.read(Q, Seq(1), 10, usize::MAX).unwrap();
    assert_eq!(read[0].record, None);
    assert_eq!(read[1].record.as_deref(), Some(&blocked(0)));
    assert_eq!(read[2].record.as_deref(), Some(&long));
    mailbox.append(&batch([put_record(Q, 3, blocked(0))])).unwrap();
    mailbox.append(&batch([finish(Q, 2)])).unwrap();
    let read = mailbox.read(Q, Seq(2), 10, usize::MAX).unwrap();
    assert_eq!((read.len(), read[0].record.as_deref()), (1, Some(&blocked(0))));
}

pub(crate) fn the_newest_revision_is_read_and_earlier_ones_stay<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    mailbox.append(&appends(Q, 1..=2)).unwrap();
    mailbox.append(&batch([revise(Q, 1, 1, "one"), put_record(Q, 1, blocked(1))])).unwrap();
    let large = vec![0xfe; 700_000];
    let ops = [revise(Q, 1, 2, large.clone()), put_record(Q, 1, blocked(2))];
    mailbox.append(&batch(ops)).unwrap();
    let read = mailbox.read(Q, Seq(1), 10, usize::MAX).unwrap();
    assert_eq!(read[0].content.payload, large);
    assert_eq!(read[1].content.payload, "payload 2");
    let as_of = |revision| mailbox.content(Q, Seq(1), Revision(revision)).unwrap();
    assert_eq!(as_of(0).unwrap().payload, "payload 1");
    assert_eq!(as_of(1).unwrap().payload, "one");
    assert_eq!(as_of(2).unwrap().payload, large);
    assert_eq!(as_of(3), None);
    let revisions = mailbox.revisions(Q, Seq(1)).unwrap();
    assert_eq!(revisions, [(revision_record(1), 3), (revision_record(2), 700_000)]);
    mailbox.append(&batch([finish(Q, 1)])).unwrap();
    assert_eq!(mailbox.revisions(Q, Seq(1)).unwrap(), []);
    assert_eq!(as_of_none(&mailbox), None);
}

fn as_of_none<M: Mailbox>(mailbox: &M) -> Option<crate::model::Content> {
    mailbox.content(Q, Seq(1), Revision(1)).unwrap()
}

pub(crate) fn an_undone_revision_is_not_the_newest<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    mailbox.append(&appends(Q, 1..=1)).unwrap();
    mailbox.append(&batch([revise(Q, 1, 1, "one"), put_record(Q, 1, blocked(1))])).unwrap();
    mailbox.append(&batch([put_record(Q, 1, blocked(0))])).unwrap();
    assert_eq!(payloads(&mailbox.read(Q, Seq(1), 1, 999).unwrap()), ["payload 1"]);
    mailbox.append(&batch([revise(Q, 1, 1, "again"), put_record(Q, 1, blocked(1))])).unwrap();
    assert_eq!(payloads(&mailbox.read(Q, Seq(1), 1, 999).unwrap()), ["again"]);
}

pub(crate) fn journal_pages_go_back_and_filter<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    let other = QueueId(2);
    let entries = (1..=100).map(|n| journal(n, if n % 10 == 0 { other } else { Q }, Some(n % 7)));
    mailbox.append(&batch(entries)).unwrap();
    let page = |before, max, of: JournalFilter<'_>| -> Vec<u64> {
        let entries = mailbox.journal(before, max, of).unwrap();
        entries.iter().map(|entry| entry.number).collect()
    };
    assert_eq!(page(u64::MAX, 3, JournalFilter::default()), [100, 99, 98]);
    assert_eq!(page(98, 2, JournalFilter::default()), [97, 96]);
    assert_eq!(page(1, 2, JournalFilter::default()), [0; 0]);
    let queue = name(other);
    let of = JournalFilter { queue: Some(&queue), seq: None };
    assert_eq!(page(95, 3, of), [90, 80, 70]);
    let of = JournalFilter { queue: Some(&queue), seq: Some(Seq(3)) };
    assert_eq!(page(u64::MAX, 9, of), [80, 10]);
    let unknown = name(QueueId(9));
    assert_eq!(page(u64::MAX, 9, JournalFilter { queue: Some(&unknown), seq: None }), [0; 0]);
    let whole = mailbox.journal(2, 1, JournalFilter::default()).unwrap();
    assert_eq!(
        batch(whole.into_iter().map(|entry| crate::model::Op::Journal(Box::new(entry)))),
        batch([journal(1, Q, Some(1))])
    );
}

pub(crate) fn repairs_kept_are_bounded_oldest_out_first<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    mailbox.append(&batch((1..=MAX_REPAIR_KEYS + 5).map(repair))).unwrap();
    mailbox.append(&batch([repair(0)])).unwrap();
    mailbox.sync().unwrap();
    let kept = mailbox.recover().unwrap().repairs;
    assert_eq!(kept.len(), MAX_REPAIR_KEYS);
    assert_eq!(kept.front().unwrap().0.as_str(), "key-7");
    assert_eq!(kept.back().unwrap().1.key.as_str(), "key-0");
}

pub(crate) fn an_id_is_found_while_it_waits_or_is_remembered<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    mailbox.append(&appends(Q, 1..=30)).unwrap();
    mailbox.append(&batch((1..=25).filter(|&seq| seq != 4).map(|seq| finish(Q, seq)))).unwrap();
    let find = |text: &str| mailbox.find(Some(Q), &id(text)).unwrap();
    assert_eq!(find("q1-28"), Some((Q, Seq(28))), "waits");
    assert_eq!(find("q1-4"), Some((Q, Seq(4))), "waits, out of the window");
    assert_eq!(find("q1-21"), Some((Q, Seq(21))), "done, in the window of 10");
    assert_eq!(find("q1-20"), None, "done, out of the window");
    assert_eq!(find("q1-31"), None);
    assert_eq!(mailbox.find(None, &id("q1-28")).unwrap(), Some((Q, Seq(28))));
    assert_eq!(mailbox.find(Some(QueueId(5)), &id("q1-28")).unwrap(), None);
}

pub(crate) fn a_reused_id_is_found_at_its_newest_place<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    let same = |seq| crate::model::Op::Append {
        queue: Q,
        seq: Seq(seq),
        at: Timestamp(seq),
        content: content("same", "x"),
        entry: None,
    };
    mailbox.append(&batch([same(1), append(Q, 2, "y")])).unwrap();
    mailbox.append(&batch([same(3), same(4), append(Q, 5, "y")])).unwrap();
    assert_eq!(mailbox.find(Some(Q), &id("same")).unwrap(), Some((Q, Seq(4))));
}

pub(crate) fn reads_go_on_while_batches_come<M: Mailbox>(open: Open<'_, M>) {
    const BATCHES: u64 = 200;
    let mailbox = fresh(open);
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let mut last_end = 0;
                while !over.load(Ordering::Acquire) {
                    let seen = places(&mailbox, Q);
                    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
                    let end = seen.last().copied().unwrap_or(0);
                    assert!(end == 0 || end >= last_end, "{end} after {last_end}");
                    last_end = last_end.max(end);
                }
            });
        }
        for n in 0..BATCHES {
            let first = n * 4 + 1;
            mailbox.append(&appends(Q, first..=first + 3)).unwrap();
            mailbox.append(&batch([finish(Q, first), finish(Q, first + 2)])).unwrap();
            mailbox.sync().unwrap();
            mailbox.maintain().unwrap();
        }
        over.store(true, Ordering::Release);
    });
    let left: Vec<u64> = (1..=BATCHES * 4).filter(|seq| seq % 2 == 0).collect();
    assert_eq!(places(&mailbox, Q), left);
}

pub(crate) fn a_message_that_is_edited_is_read_as_of_one_commit<M: Mailbox>(open: Open<'_, M>) {
    const EDITS: u32 = 300;
    let mailbox = fresh(open);
    mailbox.append(&batch([append(Q, 1, "0")])).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let read = mailbox.read(Q, Seq(1), 1, 99).unwrap();
                let named = read[0].record.as_ref().map_or(0, |record| record.revision.0);
                assert_eq!(read[0].content.payload, named.to_string());
            }
        });
        for n in 1..=EDITS {
            let ops = [revise(Q, 1, n, n.to_string()), put_record(Q, 1, blocked(n))];
            mailbox.append(&batch(ops)).unwrap();
        }
        over.store(true, Ordering::Release);
    });
}

pub(crate) fn a_large_message_may_be_read_while_it_is_finished<M: Mailbox>(open: Open<'_, M>) {
    const MESSAGES: u64 = 60;
    let mailbox = fresh(open);
    let newest = AtomicU64::new(0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            loop {
                let seq = newest.load(Ordering::Acquire);
                if seq > MESSAGES {
                    return;
                }
                mailbox.read(Q, Seq(seq), 1, 99).unwrap();
                mailbox.revisions(Q, Seq(seq)).unwrap();
                for revision in [0, 1] {
                    mailbox.content(Q, Seq(seq), Revision(revision)).unwrap();
                }
            }
        });
        for seq in 1..=MESSAGES {
            let large = || vec![seq as u8; 400_000];
            let ops = [append(Q, seq, large()), revise(Q, seq, 1, large())];
            mailbox
                .append(&batch(ops.into_iter().chain([put_record(Q, seq, blocked(1))])))
                .unwrap();
            newest.store(seq, Ordering::Release);
            mailbox.append(&batch([finish(Q, seq)])).unwrap();
            while mailbox.maintain().unwrap() {}
        }
        newest.store(MESSAGES + 1, Ordering::Release);
    });
}

pub(crate) fn big_and_empty_payloads_are_kept<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    let pattern = |len: usize| Bytes::from_iter((0..len).map(|n| (n / 7 + n / 65_536) as u8));
    let lens = [0, 1, 90_000, 96 * 1024, 100_000, 480 * 1024, 1_000_001, MAX_PAYLOAD_BYTES];
    let ops = lens.iter().zip(1..).map(|(&len, seq)| append(Q, seq, pattern(len)));
    mailbox.append(&batch(ops)).unwrap();
    mailbox.append(&batch([append(Q, 9, "")])).unwrap();
    mailbox.sync().unwrap();
    for (&len, seq) in lens.iter().zip(1..) {
        let read = mailbox.read(Q, Seq(seq), 1, 1).unwrap();
        assert_eq!(read[0].seq, Seq(seq));
        assert!(read[0].content.payload == pattern(len), "payload of {len} bytes");
        assert_eq!(read[0].content.id().as_str(), format!("q1-{seq}"));
    }
    assert_eq!(mailbox.read(Q, Seq(1), 99, usize::MAX).unwrap().len(), 9);
    mailbox.append(&batch((1..=8).map(|seq| finish(Q, seq)))).unwrap();
    mailbox.append(&batch([append(Q, 10, "")])).unwrap();
    while mailbox.maintain().unwrap() {}
    assert_eq!(places(&mailbox, Q), [9, 10]);
}

pub(crate) fn bytes_that_are_not_text_are_kept<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    let bytes: Vec<u8> = (0..=255).chain([0, 0, 0xc3, 0x28]).collect();
    mailbox.append(&batch([append(Q, 1, bytes.clone())])).unwrap();
    assert_eq!(payloads(&mailbox.read(Q, Seq(1), 1, 1).unwrap()), [bytes]);
}

pub(crate) fn an_inconsistent_batch_changes_nothing<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    mailbox.append(&appends(Q, 1..=3)).unwrap();
    mailbox.append(&batch([finish(Q, 2), journal(1, Q, None)])).unwrap();
    for (wrong, what) in [
        (append(Q, 6, "x"), "a gap"),
        (append(Q, 3, "x"), "a place used before"),
        (append(QueueId(9), 1, "x"), "an unknown queue"),
        (finish(Q, 2), "finished already"),
        (finish(Q, 9), "not there yet"),
        (put_record(Q, 2, blocked(0)), "a record of a finished message"),
        (revise(Q, 0, 1, "x"), "place 0"),
        (journal(3, Q, None), "a gap in the journal"),
    ] {
        let refused = mailbox.append(&batch([append(Q, 4, "ok"), wrong]));
        assert!(matches!(refused, Err(MailboxError::Inconsistent { .. })), "{what}: {refused:?}");
        assert_eq!(places(&mailbox, Q), [1, 3], "{what}");
    }
    mailbox.append(&appends(Q, 4..=4)).unwrap();
    assert_eq!(places(&mailbox, Q), [1, 3, 4]);
}

pub(crate) fn many_queues_are_kept_apart<M: Mailbox>(open: Open<'_, M>) {
    const QUEUES: u32 = 500;
    let mailbox = fresh(open);
    mailbox.append(&batch((2..=QUEUES).map(|queue| put_queue(QueueId(queue), 2)))).unwrap();
    for seq in 1..=4 {
        let ops = (2..=QUEUES).map(|queue| append(QueueId(queue), seq, format!("{queue}/{seq}")));
        mailbox.append(&batch(ops)).unwrap();
    }
    mailbox.append(&batch((2..=QUEUES).map(|queue| finish(QueueId(queue), 1)))).unwrap();
    for queue in (2..=QUEUES).map(QueueId) {
        let read = mailbox.read(queue, Seq(1), 9, usize::MAX).unwrap();
        assert_eq!(payloads(&read), [2, 3, 4].map(|seq| format!("{queue}/{seq}")));
    }
}

pub(crate) fn a_removed_queue_is_gone_and_the_others_are_as_they_were<M: Mailbox>(
    open: Open<'_, M>,
) {
    let other = QueueId(2);
    let mailbox = fresh(open);
    mailbox.append(&batch([put_queue(other, 5)])).unwrap();
    for seq in 1..=9 {
        mailbox.append(&batch([append(Q, seq, "a"), append(other, seq, "b")])).unwrap();
    }
    let changes = [finish(Q, 1), finish(Q, 4), put_record(Q, 2, blocked(0)), finish(other, 1)];
    mailbox.append(&batch(changes)).unwrap();
    let remove = |queue, next| Op::RemoveQueue { queue, next: Seq(next) };
    for (wrong, what) in [
        (vec![remove(QueueId(7), 1)], "an unknown queue"),
        (vec![remove(Q, 9)], "a place that was used"),
        (vec![remove(Q, 10), append(Q, 10, "x")], "a message after it"),
        (vec![remove(Q, 10), finish(Q, 2)], "an end after it"),
        (vec![remove(Q, 10), put_queue(Q, 5)], "its number again"),
        (vec![remove(Q, 10), remove(Q, 10)], "twice"),
    ] {
        let refused = mailbox.append(&batch(wrong));
        assert!(matches!(refused, Err(MailboxError::Inconsistent { .. })), "{what}: {refused:?}");
        assert_eq!(places(&mailbox, Q), [2, 3, 5, 6, 7, 8, 9], "{what}");
    }
    mailbox.append(&batch([append(Q, 10, "c"), remove(Q, 11), append(other, 10, "d")])).unwrap();
    assert_eq!(places(&mailbox, Q), [0; 0]);
    assert_eq!(mailbox.content(Q, Seq(2), Revision(0)).unwrap(), None);
    assert_eq!(mailbox.find(Some(Q), &id("q1-9")).unwrap(), None);
    assert_eq!(mailbox.find(None, &id("q1-9")).unwrap(), None);
    assert_eq!(places(&mailbox, other), (2..=10).collect::<Vec<_>>());
    assert!(mailbox.append(&batch([append(Q, 11, "x")])).is_err());
    while mailbox.maintain().unwrap() {}

    let next = QueueId(3);
    let record = QueueRecord { first: Seq(11), ..queue_record(next, MailboxKind::File, 5) };
    mailbox.append(&batch([Op::PutQueue(Box::new(record))])).unwrap();
    assert!(mailbox.append(&batch([append(next, 1, "x")])).is_err(), "it begins behind");
    mailbox.append(&batch([append(next, 11, "e"), append(next, 12, "f")])).unwrap();
    mailbox.append(&batch([finish(next, 11)])).unwrap();
    assert_eq!(places(&mailbox, next), [12]);
    mailbox.append(&batch([remove(next, 13), remove(other, 11)])).unwrap();
    assert_eq!((places(&mailbox, next).len(), places(&mailbox, other).len()), (0, 0));
}

pub(crate) fn a_batch_of_everything_is_taken<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    let ops = [
        put_queue(QueueId(2), 0),
        append(QueueId(2), 1, "a"),
        put_record(QueueId(2), 1, blocked(1)),
        revise(QueueId(2), 1, 1, "b"),
        journal(1, QueueId(2), Some(1)),
        repair(1),
        append(Q, 1, "c"),
        revise(Q, 1, 1, "d"),
        finish(Q, 1),
    ];
    mailbox.append(&batch(ops)).unwrap();
    mailbox.sync().unwrap();
    let read = mailbox.read(QueueId(2), Seq(1), 1, 1).unwrap();
    assert_eq!(read[0].content.payload, "b");
    assert_eq!(read[0].record.as_deref(), Some(&blocked(1)));
    assert!(places(&mailbox, Q).is_empty());
    mailbox.append(&batch([])).unwrap();
    mailbox.sync().unwrap();
}

pub(crate) fn appending_while_another_thread_syncs_is_allowed<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Acquire) {
                mailbox.sync().unwrap();
            }
        });
        for n in 0..300 {
            mailbox.append(&appends(Q, n * 3 + 1..=n * 3 + 3)).unwrap();
        }
        over.store(true, Ordering::Release);
    });
    assert_eq!(places(&mailbox, Q), (1..=900).collect::<Vec<_>>());
}
