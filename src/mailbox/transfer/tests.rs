use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::mailbox::conformance::sample::*;
use crate::mailbox::{
    Durable, Elsewhere, Mailbox, RoutedMailbox, SledMailbox, SledOptions, check_store,
};
use crate::model::{Generation, MessageRecord, Op, QueueId, RemovedQueues, Revision, Seq};

const P: QueueId = QueueId(7);

fn open(path: &Path) -> SledMailbox {
    SledMailbox::open(path, SledOptions::default()).unwrap()
}

fn lines(mailbox: &SledMailbox) -> Vec<String> {
    let recovered = mailbox.recover().unwrap();
    let mut lines = Vec::new();
    let mut put = |line: Line| {
        lines.push(serde_json::to_string(&line).unwrap());
        Ok(())
    };
    export(mailbox, recovered, &mut put).unwrap();
    lines
}

fn import(mailbox: &SledMailbox, lines: &[String]) -> Result<Counts, TransferError> {
    let mut import = Import::new(mailbox);
    for line in lines {
        import.take(serde_json::from_str(line).unwrap())?;
    }
    import.finish()
}

/// Two queues with gaps, finished messages, edits, records, hostile bytes, a journal and repairs.
fn fill(mailbox: &SledMailbox) {
    mailbox.append(&batch([put_queue(Q, 5), put_queue(P, 10), put_queue(QueueId(9), 0)])).unwrap();
    let gone = QueueId(11);
    mailbox.append(&batch([put_queue(gone, 5), append(gone, 1, "gone")])).unwrap();
    mailbox.append(&batch([Op::RemoveQueue { queue: gone, next: Seq(2) }])).unwrap();
    let hostile = [
        Bytes::from_static(b"{\"a\": 1.10, \"a\":12345678901234567890123}\r\n"),
        Bytes::from_static(b"\0\xff\xfe not UTF-8 \x1b[2J"),
        Bytes::from_static("ż🐢\u{2028}".as_bytes()),
        Bytes::new(),
        Bytes::from(vec![b'x'; 300_000]),
        // What a reference to a stream begins with.
        Bytes::from_static(b"\xe9\x1fmub\x00ref\x9d\x02\xc4\x7b\xd8\x36\xa1\x00tail"),
    ];
    let appends = (1..).zip(hostile).map(|(seq, payload)| append(Q, seq, payload));
    mailbox.append(&batch(appends)).unwrap();
    let ops = [finish(Q, 1), finish(Q, 4), put_record(Q, 2, blocked(2))];
    mailbox.append(&batch(ops)).unwrap();
    let edits = [revise(Q, 2, 1, "{}"), revise(Q, 2, 2, &b"\xff"[..]), journal(1, Q, Some(2))];
    mailbox.append(&batch(edits)).unwrap();
    let elsewhere = BTreeMap::from([(P, Elsewhere { first: None, next: Some(Seq(900)) })]);
    let ops = [append(P, 40, "forty"), append(P, 41, "forty-one"), finish(P, 41)];
    mailbox.append_with_gaps(&batch(ops), &elsewhere).unwrap();
    let note = Op::PutNote { queue: P, note: Bytes::from_static(b"\xffnote") };
    let subscribed = Op::PutSubscription(Box::new(subscription(1, "t", P)));
    mailbox.append(&batch([note, repair(1), repair(2), subscribed])).unwrap();
    let parts = [put_process("g", 0, "body"), put_process("g", 1, vec![0xff; 200_000])];
    mailbox.append(&batch(parts)).unwrap();
    mailbox.append(&batch((2..=1_100).map(|number| journal(number, P, None)))).unwrap();
    mailbox.append(&batch([put_record(P, 40, MessageRecord::default())])).unwrap();
    mailbox.sync().unwrap();
}

#[test]
fn an_import_holds_what_was_exported_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder.path().join("first"));
    fill(&first);
    let exported = lines(&first);

    let second = open(&folder.path().join("second"));
    let counts = import(&second, &exported).unwrap();
    assert_eq!(serde_json::to_string(&Line::End(counts)).unwrap(), *exported.last().unwrap());
    assert_eq!((counts.queues, counts.messages, counts.unreadable), (3, 5, 0));
    assert_eq!((counts.subscriptions, counts.journal, counts.repairs), (1, 1_100, 2));
    assert_eq!(counts.processes, 2);
    assert!(counts.finished > 0);
    for (queue, seq, revision) in [(Q, 2, 0), (Q, 2, 1), (Q, 3, 0), (Q, 5, 0), (P, 40, 0)] {
        let content = |mailbox: &SledMailbox| {
            mailbox.content(queue, Seq(seq), Revision(revision)).unwrap().unwrap()
        };
        assert_eq!(content(&first), content(&second), "message {seq}, revision {revision}");
    }
    drop(second);

    let second = open(&folder.path().join("second"));
    assert_eq!(lines(&second)[1..], exported[1..]);
    let backlog = |mailbox: &SledMailbox, queue: QueueId| {
        let queues = mailbox.recover().unwrap().queues;
        let backlog = queues.into_iter().find(|backlog| backlog.record.id == queue).unwrap();
        (backlog.next_seq, backlog.window, backlog.oldest_at, backlog.records)
    };
    assert_eq!(backlog(&first, P), backlog(&second, P));
    assert_eq!(backlog(&first, Q), backlog(&second, Q));
    let removed = RemovedQueues { last: QueueId(11), next: Seq(2) };
    assert_eq!(second.recover().unwrap().removed, removed, "their numbers stay theirs");
    second.append(&batch([append(P, 900, "goes on")])).unwrap();
    drop((first, second));
    for store in ["first", "second"] {
        let check = check_store(&folder.path().join(store)).unwrap();
        assert!(check.sound, "{store}: {check:?}");
    }
}

#[test]
fn a_journal_that_has_lost_entries_is_exported_and_imported_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder.path().join("first"));
    fill(&first);
    // Whole pages of it, single ones, the oldest and nearly the newest.
    let removed = |number: &u64| *number < 3 || (10..=1_050).contains(number) || *number == 1_099;
    let numbers: Vec<u64> = (1..=1_100).filter(removed).collect();
    assert!(first.remove_journal(&numbers).unwrap());
    let exported = lines(&first);
    let second = open(&folder.path().join("second"));
    let counts = import(&second, &exported).unwrap();
    assert_eq!(counts.journal as usize, 1_100 - numbers.len());
    assert_eq!(lines(&second)[1..], exported[1..]);
    let mailbox = RoutedMailbox::new(second);
    assert_eq!(mailbox.recover().unwrap().last_journal, 1_100);
    mailbox.append(&batch([journal(1_101, Q, None)])).unwrap();
}

#[test]
fn a_store_that_is_imported_into_counts_its_runs_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = SledOptions { after_run: Generation(41), ..SledOptions::default() };
    let mailbox = SledMailbox::open(&folder.path().join("store"), options).unwrap();
    assert_eq!(mailbox.recover().unwrap().generation, Generation(42));
}

#[test]
fn an_export_that_was_cut_off_or_edited_is_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder.path().join("first"));
    fill(&first);
    let exported = lines(&first);
    let at = |start: &str| exported.iter().position(|line| line.starts_with(start)).unwrap();
    let message = at(r#"{"message""#);
    let without = |line: usize| {
        let mut lines = exported.clone();
        lines.remove(line);
        lines
    };
    let with = |line: usize, from: &str, to: &str| {
        let mut lines = exported.clone();
        assert!(lines[line].contains(from), "{}", lines[line]);
        lines[line] = lines[line].replace(from, to);
        lines
    };
    let twice = |line: usize| {
        let mut lines = exported.clone();
        lines.insert(line, exported[line].clone());
        lines
    };
    let end = exported.len() - 1;
    let cases = [
        (Vec::new(), "cut off"),
        (exported[..end].to_vec(), "cut off"),
        (exported[..message].to_vec(), "cut off"),
        (without(0), "begins with one line"),
        (twice(0), "begins with one line"),
        (twice(end), "after `end`"),
        (without(message), "counts"),
        (twice(message), "comes after"),
        (twice(1), "comes twice"),
        (without(1), "before its queue"),
        (with(0, r#""version":1"#, r#""version":2"#), "form 2"),
        (with(message, "queue-1", "queue-7"), "among those of"),
        (with(message, r#"\"id\""#, r#"\"x\""#), "the header is refused"),
        (with(message, r#""base64","data":""#, r#""base64","data":"!"#), "payload"),
    ];
    for (at, (lines, expected)) in cases.into_iter().enumerate() {
        let mailbox = open(&folder.path().join(at.to_string()));
        let error = import(&mailbox, &lines).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
