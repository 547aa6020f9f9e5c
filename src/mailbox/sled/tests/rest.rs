//! What is open for long is opened anew when there is nothing to do.

use super::*;

/// A mailbox in which 10 MB wait in one part.
fn resting(path: &Path) -> SledMailbox {
    let mailbox = open(path);
    mailbox.append(&batch([put_queue(Q, 0)])).unwrap();
    for seq in 1..=100 {
        mailbox.append(&batch([append(Q, seq, vec![seq as u8; 100_000])])).unwrap();
    }
    mailbox.sync().unwrap();
    while mailbox.maintain().unwrap() {}
    mailbox
}

#[test]
fn what_is_written_is_opened_anew_once_the_store_rests_and_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = resting(folder.path());
    let written = || mailbox.store.active().unwrap().generation.written();
    let before = written();
    let reader = mailbox.store.active().unwrap();
    let rest = || (0..50).for_each(|_| assert!(!mailbox.maintain().unwrap()));
    rest();
    assert_eq!(written(), before, "somebody reads");
    drop(reader);
    for seq in 1..=50 {
        assert_eq!(mailbox.read(Q, Seq(seq), 1, 1).unwrap().len(), 1);
        assert!(!mailbox.maintain().unwrap());
    }
    assert_eq!(written(), before, "somebody pages through it");
    rest();
    assert_eq!(written(), 0);
    assert_eq!(mailbox.read(Q, Seq(7), 1, 1).unwrap()[0].content.payload, vec![7; 100_000]);
    mailbox.append(&batch([append(Q, 101, vec![])])).unwrap();
    mailbox.sync().unwrap();
    let after = written();
    rest();
    assert_eq!(written(), after, "little was written since");
    drop(mailbox);
    assert_eq!(places(&open(folder.path()), Q), (1..=101).collect::<Vec<_>>());
}

#[test]
fn a_store_that_can_not_be_opened_anew_is_broken_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = resting(folder.path());
    mailbox.store.fail_after_writes(1);
    let failed = (0..50).find_map(|_| mailbox.maintain().err());
    assert!(failed.is_some_and(|error| error.to_string().contains("opening anew")));
    let error = mailbox.append(&batch([append(Q, 101, vec![])])).unwrap_err();
    assert!(error.to_string().contains("open it again"), "{error}");
    assert!(mailbox.read(Q, Seq(1), 1, 1).is_err());
    drop(mailbox);
    assert_eq!(places(&open(folder.path()), Q), (1..=100).collect::<Vec<_>>());
}
