//! Behaviours of a mailbox that is closed and opened again.

use super::live::Open;
use super::sample::*;
use crate::mailbox::{JournalFilter, Mailbox};
use crate::model::{
    Batch, MailboxKind, Op, QueueBacklog, QueueId, QueueRecord, Recovered, RemovedQueues, Revision,
    Seq, SubscriptionRecord, Timestamp,
};

/// Opens, recovers, does the batches in one commit each, syncs, and closes.
fn session<M: Mailbox>(open: Open<'_, M>, batches: &[Batch]) -> Recovered {
    let mailbox = open();
    let recovered = mailbox.recover().unwrap();
    for batch in batches {
        mailbox.append(batch).unwrap();
    }
    mailbox.sync().unwrap();
    recovered
}

fn backlog(recovered: &Recovered, queue: QueueId) -> &QueueBacklog {
    recovered.queues.iter().find(|backlog| backlog.record.id == queue).unwrap()
}

pub(crate) fn a_restart_keeps_messages_records_and_the_generation_rises<M: Mailbox>(
    open: Open<'_, M>,
) {
    let first = session(
        open,
        &[
            batch([put_queue(Q, 3)]),
            appends(Q, 1..=6),
            batch([finish(Q, 1), finish(Q, 4), put_record(Q, 2, blocked(0))]),
        ],
    );
    assert!(first.queues.is_empty());
    let mailbox = open();
    let second = mailbox.recover().unwrap();
    assert!(second.generation > first.generation);
    let queue = backlog(&second, Q);
    assert_eq!((queue.floor, queue.next_seq), (Seq(2), Seq(7)));
    assert_eq!(queue.finished, [Seq(4)]);
    assert_eq!(queue.records, [(Seq(2), blocked(0))]);
    assert_eq!(queue.record.name, name(Q));
    assert_eq!(places(&mailbox, Q), [2, 3, 5, 6]);
    assert_eq!(mailbox.read(Q, Seq(1), 1, 1).unwrap()[0].record.as_deref(), Some(&blocked(0)));
    drop(mailbox);
    assert!(session(open, &[]).generation > second.generation);
}

pub(crate) fn a_restart_keeps_floors_and_places_of_empty_queues<M: Mailbox>(open: Open<'_, M>) {
    let finish_all = batch((1..=5).map(|seq| finish(Q, seq)));
    session(open, &[batch([put_queue(Q, 0)]), appends(Q, 1..=5), finish_all]);
    for _ in 0..2 {
        let mailbox = open();
        let recovered = mailbox.recover().unwrap();
        let queue = backlog(&recovered, Q);
        assert_eq!((queue.floor, queue.next_seq, queue.bytes), (Seq(6), Seq(6), 0));
        assert_eq!((queue.oldest_at, queue.window.len(), queue.finished.len()), (None, 0, 0));
        while mailbox.maintain().unwrap() {}
        mailbox.sync().unwrap();
    }
    session(open, &[appends(Q, 6..=6)]);
    assert_eq!(places(&open(), Q), [6]);
}

pub(crate) fn a_restart_keeps_the_window_of_finished_messages<M: Mailbox>(open: Open<'_, M>) {
    let mut batches = vec![batch([put_queue(Q, 5), put_queue(QueueId(2), 0)])];
    for seq in 1..=20 {
        batches.push(batch([append(Q, seq, ""), append(QueueId(2), seq, "")]));
        batches.push(batch([finish(Q, seq), finish(QueueId(2), seq)]));
    }
    session(open, &batches);
    for _ in 0..2 {
        let mailbox = open();
        let recovered = mailbox.recover().unwrap();
        let window: Vec<_> = (16..=20).map(|seq| (id(&format!("q1-{seq}")), Seq(seq))).collect();
        assert_eq!(backlog(&recovered, Q).window, window);
        assert_eq!(backlog(&recovered, QueueId(2)).window, []);
        assert_eq!(mailbox.find(None, &id("q1-17")).unwrap(), Some((Q, Seq(17))));
        assert_eq!(mailbox.find(None, &id("q1-15")).unwrap(), None);
        while mailbox.maintain().unwrap() {}
        mailbox.sync().unwrap();
    }
}

pub(crate) fn a_restart_keeps_the_last_note_of_each_queue<M: Mailbox>(open: Open<'_, M>) {
    let note = |queue, text: &'static str| Op::PutNote { queue, note: text.into() };
    let put = [put_queue(Q, 0), put_queue(QueueId(2), 0), note(Q, "first"), note(Q, "last")];
    session(open, &[batch(put), appends(Q, 1..=1), batch([finish(Q, 1)])]);
    let recovered = session(open, &[]);
    assert_eq!(backlog(&recovered, Q).note, "last");
    assert_eq!(backlog(&recovered, QueueId(2)).note, "");
}

pub(crate) fn a_restart_keeps_removed_queues_away<M: Mailbox>(open: Open<'_, M>) {
    let (second, third) = (QueueId(2), QueueId(3));
    let remove = |queue, next| Op::RemoveQueue { queue, next: Seq(next) };
    let later = QueueRecord { first: Seq(8), ..queue_record(third, MailboxKind::File, 5) };
    let none = session(
        open,
        &[
            batch([put_queue(Q, 5), put_queue(second, 5), append(Q, 1, "a")]),
            batch((2..=7).map(|seq| append(Q, seq, "a")).chain([append(second, 1, "b")])),
            batch([finish(Q, 1), finish(Q, 3), put_record(Q, 2, blocked(0))]),
            batch([remove(Q, 8), Op::PutQueue(Box::new(later)), append(third, 8, "c")]),
        ],
    );
    assert_eq!(none.removed, RemovedQueues::default());
    for _ in 0..2 {
        let mailbox = open();
        let recovered = mailbox.recover().unwrap();
        assert_eq!(recovered.removed, RemovedQueues { last: Q, next: Seq(8) });
        let ids: Vec<_> = recovered.queues.iter().map(|queue| queue.record.id).collect();
        assert_eq!(ids, [second, third]);
        assert_eq!(backlog(&recovered, third).floor, Seq(8));
        assert_eq!((places(&mailbox, second), places(&mailbox, third)), (vec![1], vec![8]));
        while mailbox.maintain().unwrap() {}
        mailbox.sync().unwrap();
    }
    session(open, &[batch([append(third, 9, "d"), finish(third, 8), remove(second, 2)])]);
    let recovered = session(open, &[]);
    assert_eq!(recovered.removed, RemovedQueues { last: second, next: Seq(8) });
    let queue = backlog(&recovered, third);
    assert_eq!((recovered.queues.len(), queue.floor, queue.next_seq), (1, Seq(9), Seq(10)));
}

pub(crate) fn a_restart_keeps_subscriptions<M: Mailbox>(open: Open<'_, M>) {
    let put =
        |number, topic, queue| Op::PutSubscription(Box::new(subscription(number, topic, queue)));
    let second = QueueId(2);
    let remove = |topic: &str, queue| {
        let SubscriptionRecord { topic, queue, .. } = subscription(0, topic, queue);
        Op::RemoveSubscription { topic, queue }
    };
    session(
        open,
        &[
            batch([put_queue(Q, 0), put_queue(second, 0), put(1, "a", Q), put(2, "a", second)]),
            batch([put(3, "ab", Q), put(4, "b", Q), remove("a", second), put(5, "a", Q)]),
            batch([remove("b", Q), remove("b", second)]),
        ],
    );
    for _ in 0..2 {
        let mailbox = open();
        let mut subscriptions = mailbox.recover().unwrap().subscriptions;
        subscriptions.sort_by_key(|record| record.number);
        assert_eq!(subscriptions, [subscription(3, "ab", Q), subscription(5, "a", Q)]);
        while mailbox.maintain().unwrap() {}
        mailbox.sync().unwrap();
    }
}

pub(crate) fn a_restart_keeps_processes_with_all_of_their_parts<M: Mailbox>(open: Open<'_, M>) {
    let large = vec![7; 300_000];
    let remove = |id| Op::RemoveProcess(process(id));
    session(
        open,
        &[
            batch([
                put_queue(Q, 0),
                put_process("a", 0, "first"),
                put_process("b", 0, "body of b"),
            ]),
            batch([put_process("a", 1, large.clone()), put_process("ab", 0, large.clone())]),
            batch([put_process("a", 0, ""), put_process("ab", 0, "short now"), remove("b")]),
            batch([put_process("c", 0, "c"), put_process("c", 1, "c"), remove("c"), remove("d")]),
            batch([remove("ab"), put_process("ab", 0, "again"), put_process("ab", 300, "part")]),
        ],
    );
    for _ in 0..2 {
        let mailbox = open();
        let processes = mailbox.recover().unwrap().processes;
        let parts = processes.into_iter().map(|part| Op::PutProcess(Box::new(part)));
        let expected = [
            put_process("a", 0, ""),
            put_process("a", 1, large.clone()),
            put_process("ab", 0, "again"),
            put_process("ab", 300, "part"),
        ];
        assert_eq!(parts.collect::<Vec<_>>(), expected);
        while mailbox.maintain().unwrap() {}
        mailbox.sync().unwrap();
    }
    session(open, &[batch([remove("a"), remove("ab")])]);
    assert_eq!(session(open, &[]).processes, []);
}

pub(crate) fn a_restart_keeps_revisions_journal_and_repairs<M: Mailbox>(open: Open<'_, M>) {
    session(
        open,
        &[
            batch([put_queue(Q, 3)]),
            appends(Q, 1..=2),
            batch([revise(Q, 2, 1, vec![7; 300_000]), put_record(Q, 2, blocked(1))]),
            batch([journal(1, Q, Some(2)), journal(2, Q, None), repair(1), repair(2)]),
        ],
    );
    let mailbox = open();
    let recovered = mailbox.recover().unwrap();
    assert_eq!(recovered.last_journal, 2);
    let keys: Vec<_> = recovered.repairs.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["key-1", "key-2"]);
    assert_eq!(mailbox.read(Q, Seq(2), 1, 1).unwrap()[0].content.payload, vec![7; 300_000]);
    assert_eq!(mailbox.content(Q, Seq(2), Revision(0)).unwrap().unwrap().payload, "payload 2");
    assert_eq!(mailbox.revisions(Q, Seq(2)).unwrap(), [(revision_record(1), 300_000)]);
    assert_eq!(mailbox.journal(9, 9, JournalFilter::default()).unwrap().len(), 2);
    mailbox.append(&batch([journal(3, Q, None), finish(Q, 2), repair(3)])).unwrap();
    mailbox.sync().unwrap();
    drop(mailbox);
    let recovered = session(open, &[]);
    assert_eq!((recovered.last_journal, recovered.repairs.len()), (3, 3));
    assert_eq!(backlog(&recovered, Q).records, []);
}

pub(crate) fn a_restart_counts_bytes_and_the_oldest<M: Mailbox>(open: Open<'_, M>) {
    let size = |payload: usize| (r#"{"id":"q1-1","x-n":1.10}"#.len() + payload) as u64;
    session(
        open,
        &[
            batch([put_queue(Q, 0)]),
            batch((1..=4).map(|seq| append(Q, seq, vec![0; seq as usize * 100]))),
            batch([append(Q, 5, vec![0; 1_000_000]), append(Q, 6, "")]),
            batch([finish(Q, 1), finish(Q, 3)]),
        ],
    );
    let recovered = session(open, &[batch([revise(Q, 2, 1, ""), put_record(Q, 2, blocked(1))])]);
    let queue = backlog(&recovered, Q);
    assert_eq!(queue.bytes, size(200) + size(400) + size(1_000_000) + size(0));
    assert_eq!(queue.oldest_at, Some(Timestamp(1_002)));
    let recovered = session(open, &[batch([2, 4, 5, 6].map(|seq| finish(Q, seq)))]);
    let queue = backlog(&recovered, Q);
    assert_eq!(queue.bytes, size(0) + size(400) + size(1_000_000) + size(0));
    let queue = backlog(&session(open, &[]), Q).clone();
    assert_eq!((queue.bytes, queue.oldest_at), (0, None));
}

pub(crate) fn many_restarts_with_work_between_lose_nothing<M: Mailbox>(open: Open<'_, M>) {
    session(open, &[batch([put_queue(Q, 4)])]);
    for round in 0..12 {
        let first = round * 10 + 1;
        let mailbox = open();
        let recovered = mailbox.recover().unwrap();
        assert_eq!(backlog(&recovered, Q).next_seq, Seq(first));
        mailbox.append(&appends(Q, first..=first + 4)).unwrap();
        mailbox.append(&batch([finish(Q, first + 1), append(Q, first + 5, "x")])).unwrap();
        mailbox.append(&appends(Q, first + 6..=first + 9)).unwrap();
        mailbox.append(&batch([finish(Q, first), finish(Q, first + 7)])).unwrap();
        mailbox.maintain().unwrap();
        mailbox.sync().unwrap();
    }
    let left: Vec<u64> = (1..=120).filter(|seq| ![1, 2, 8].contains(&(seq % 10))).collect();
    assert_eq!(places(&open(), Q), left);
}

pub(crate) fn finished_messages_stay_finished_after_maintenance_and_restart<M: Mailbox>(
    open: Open<'_, M>,
) {
    let mailbox = open();
    mailbox.recover().unwrap();
    mailbox.append(&batch([put_queue(Q, 2)])).unwrap();
    for n in 0..100 {
        mailbox.append(&appends(Q, n * 20 + 1..=n * 20 + 20)).unwrap();
    }
    // All but every 150th: most segments are wholly done, behind a head that isn't.
    let done = (1..=2_000).filter(|seq| seq % 150 != 1).map(|seq| finish(Q, seq));
    mailbox.append(&batch(done)).unwrap();
    while mailbox.maintain().unwrap() {}
    mailbox.sync().unwrap();
    let left: Vec<u64> = (1..=2_000).filter(|seq| seq % 150 == 1).collect();
    assert_eq!(places(&mailbox, Q), left);
    drop(mailbox);
    let mailbox = open();
    let recovered = mailbox.recover().unwrap();
    assert_eq!(backlog(&recovered, Q).finished.len(), 2_000 - left.len());
    while mailbox.maintain().unwrap() {}
    assert_eq!(places(&mailbox, Q), left);
    let payload = &mailbox.read(Q, Seq(900), 1, 1).unwrap()[0].content.payload;
    assert_eq!(payload, "payload 901");
}
