//! Journal entries that are not needed any more.

use super::rotation::open_small;
use super::*;

fn numbers(mailbox: &SledMailbox, queue: Option<QueueId>) -> Vec<u64> {
    let name = queue.map(name);
    let of = JournalFilter { queue: name.as_ref(), seq: None };
    let entries = mailbox.journal(u64::MAX, usize::MAX, of).unwrap();
    entries.iter().rev().map(|entry| entry.number).collect()
}

/// How many keys of `state` begin with this letter.
fn keys(mailbox: &SledMailbox, letter: u8) -> usize {
    mailbox.store.active().unwrap().generation.state.scan_prefix([letter]).count()
}

#[test]
fn a_crash_while_entries_are_removed_leaves_nothing_of_them_for_ever() {
    let removed: Vec<u64> = (1..=8).collect();
    let mut seen = BTreeSet::new();
    for writes in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = open(folder.path());
        mailbox.append(&batch([put_queue(Q, 5)])).unwrap();
        mailbox.append(&batch((1..=20).map(|number| journal(number, Q, None)))).unwrap();
        // Opening does the newest commit again, so that it must be another one.
        mailbox.append(&appends(Q, 1..=1)).unwrap();
        mailbox.store.fail_after_writes(writes);
        let is_done = mailbox.remove_journal(&removed).is_ok();
        drop(mailbox);

        let mailbox = open(folder.path());
        assert_eq!(mailbox.last_journal(), 20);
        let (all, listed) = (numbers(&mailbox, None), numbers(&mailbox, Some(Q)));
        assert!(listed.iter().all(|number| all.contains(number)), "{listed:?} of {all:?}");
        seen.insert((keys(&mailbox, b'j'), keys(&mailbox, b'x')));
        // Whoever removes goes by what is there.
        let left: Vec<u64> =
            mailbox.journal_from(1, 99).unwrap().iter().map(|entry| entry.number).collect();
        assert_eq!(left, all);
        let left: Vec<u64> = left.into_iter().filter(|number| removed.contains(number)).collect();
        assert!(mailbox.remove_journal(&left).unwrap());
        assert_eq!((keys(&mailbox, b'j'), keys(&mailbox, b'x')), (12, 12), "write {writes}");
        assert_eq!(numbers(&mailbox, Some(Q)), (9..=20).collect::<Vec<_>>());
        if is_done {
            break;
        }
    }
    assert!(seen.len() > 16 && seen.contains(&(13, 12)), "every cut was seen: {seen:?}");
}

#[test]
fn entries_that_opening_brings_back_are_removed_again() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    mailbox.append(&batch([put_queue(Q, 5)])).unwrap();
    mailbox.append(&batch((1..=20).map(|number| journal(number, Q, None)))).unwrap();
    assert!(mailbox.remove_journal(&(1..=19).collect::<Vec<_>>()).unwrap());
    drop(mailbox);
    let mailbox = open(folder.path());
    assert_eq!(numbers(&mailbox, None).len(), 20, "the newest commit was done again");
    assert!(mailbox.remove_journal(&(1..=19).collect::<Vec<_>>()).unwrap());
    assert_eq!((numbers(&mailbox, None), numbers(&mailbox, Some(Q))), (vec![20], vec![20]));
    mailbox.append(&batch([journal(21, Q, None)])).unwrap();
}

#[test]
fn entries_removed_while_a_generation_is_copied_are_not_in_the_next() {
    const ENTRIES: u64 = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open_small(folder.path());
    mailbox.append(&batch([put_queue(Q, 5)])).unwrap();
    mailbox.append(&batch((1..=ENTRIES).map(|number| journal(number, Q, None)))).unwrap();
    let before = mailbox.store.begin().number;
    let mut removed = Vec::new();
    let mut seq = 0;
    while mailbox.store.begin().number == before {
        seq += 1;
        mailbox.append(&batch([append(Q, seq, vec![7; 2_000]), finish(Q, seq)])).unwrap();
        mailbox.maintain().unwrap();
        mailbox.store.keeper.wait_for_next();
        // Of those that have been copied and of those that have not.
        let numbers = [3 * seq, ENTRIES - 3 * seq].map(|number| number.clamp(1, ENTRIES - 1));
        assert!(mailbox.remove_journal(&numbers).unwrap());
        removed.extend(numbers);
    }
    let left: Vec<u64> = (1..=ENTRIES).filter(|number| !removed.contains(number)).collect();
    assert!(left.len() < ENTRIES as usize - 20, "{} left", left.len());
    let check = |mailbox: SledMailbox| {
        assert_eq!(numbers(&mailbox, None), left);
        assert_eq!(numbers(&mailbox, Some(Q)), left);
        assert_eq!((keys(&mailbox, b'j'), keys(&mailbox, b'x')), (left.len(), left.len()));
    };
    check(mailbox);
    check(open_small(folder.path()));
}

#[test]
fn on_a_full_disk_entries_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = open(folder.path());
    mailbox.append(&batch([put_queue(Q, 5), journal(1, Q, None), journal(2, Q, None)])).unwrap();
    mailbox.set_spare(0);
    assert!(!mailbox.remove_journal(&[1]).unwrap());
    assert_eq!(numbers(&mailbox, None), [1, 2]);
    mailbox.set_spare(u64::MAX);
    assert!(mailbox.remove_journal(&[1]).unwrap());
    assert_eq!(numbers(&mailbox, None), [2]);
}
