//! Behaviours of a mailbox whose journal keeps its [`KEPT`] newest entries.

use super::live::Open;
use super::sample::*;
use crate::mailbox::{JournalFilter, Mailbox};
use crate::model::limits::{MAX_HISTORY, MAX_PAGE};
use crate::model::{QueueId, QueueName, Seq};

/// What the mailboxes of this suite are opened with.
pub(crate) const KEPT: u64 = 100;
/// Upkeep may leave a few more, so that it has some to do at a time.
const SLACK: u64 = 32;
const OTHER: QueueId = QueueId(2);

fn fresh<M: Mailbox>(open: Open<'_, M>) -> M {
    let mailbox = open();
    mailbox.recover().unwrap();
    mailbox.append(&batch([put_queue(Q, 10), put_queue(OTHER, 10)])).unwrap();
    mailbox
}

/// Entries about queue `OTHER` and no message.
fn write<M: Mailbox>(mailbox: &M, numbers: std::ops::RangeInclusive<u64>) {
    mailbox.append(&batch(numbers.map(|number| journal(number, OTHER, None)))).unwrap();
}

fn tidy_up<M: Mailbox>(mailbox: &M) {
    while mailbox.maintain().unwrap() {}
    mailbox.sync().unwrap();
}

/// The numbers of all entries asked for, oldest first, read page by page.
fn numbers<M: Mailbox>(mailbox: &M, queue: Option<&QueueName>, seq: Option<u64>) -> Vec<u64> {
    let of = JournalFilter { queue, seq: seq.map(Seq) };
    let mut numbers: Vec<u64> = Vec::new();
    loop {
        let before = numbers.last().copied().unwrap_or(u64::MAX);
        let page = mailbox.journal(before, 7, of).unwrap();
        if page.is_empty() {
            numbers.reverse();
            return numbers;
        }
        numbers.extend(page.iter().map(|entry| entry.number));
    }
}

fn of_message<M: Mailbox>(mailbox: &M, seq: u64) -> Vec<u64> {
    numbers(mailbox, Some(&name(Q)), Some(seq))
}

pub(crate) fn the_oldest_entries_go_and_the_newest_stay<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    write(&mailbox, 1..=KEPT);
    tidy_up(&mailbox);
    assert_eq!(numbers(&mailbox, None, None), (1..=KEPT).collect::<Vec<_>>(), "none too many");
    for first in (KEPT + 1..=1_000).step_by(100) {
        write(&mailbox, first..=first + 99);
        tidy_up(&mailbox);
        let left = numbers(&mailbox, None, None);
        let last = first + 99;
        assert_eq!(left, (last + 1 - left.len() as u64..=last).collect::<Vec<_>>());
        assert!((KEPT..=KEPT + SLACK).contains(&(left.len() as u64)), "{}", left.len());
        assert_eq!(numbers(&mailbox, Some(&name(OTHER)), None), left);
        assert_eq!(numbers(&mailbox, Some(&name(Q)), None), [0; 0]);
    }
    let before = |before| mailbox.journal(before, 9, JournalFilter::default()).unwrap();
    assert!(before(500).is_empty(), "a page that begins where nothing is left");
    assert_eq!(before(996).first().map(|entry| entry.number), Some(995));
    assert!(mailbox.append(&batch([journal(5, Q, None)])).is_err(), "numbers are not used again");
    write(&mailbox, 1_001..=1_001);
}

pub(crate) fn the_history_of_a_message_stays_until_it_is_finished<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    // With a place that the other queue has too, so that the two are told apart.
    mailbox.append(&batch((1..=6).map(|seq| append(Q, seq, "x")))).unwrap();
    mailbox.append(&batch([append(OTHER, 1, "y"), finish(OTHER, 1)])).unwrap();
    let entries = (1..=6).map(|seq| journal(seq, Q, Some(seq)));
    mailbox.append(&batch(entries.chain([journal(7, OTHER, Some(1))]))).unwrap();
    mailbox.append(&batch([finish(Q, 2), put_record(Q, 3, blocked(0))])).unwrap();
    write(&mailbox, 8..=600);
    mailbox.append(&batch([journal(601, Q, Some(3))])).unwrap();
    write(&mailbox, 602..=1_000);
    tidy_up(&mailbox);
    let all = numbers(&mailbox, None, None);
    assert_eq!(all[..6], [1, 3, 4, 5, 6, 601]);
    assert!(all[6] >= 1_000 - KEPT - SLACK, "{}", all[6]);
    assert_eq!(of_message(&mailbox, 3), [3, 601]);
    assert_eq!(of_message(&mailbox, 2), [0; 0]);
    assert_eq!(numbers(&mailbox, Some(&name(Q)), None), [1, 3, 4, 5, 6, 601]);
    mailbox.append(&batch([finish(Q, 3), finish(Q, 5)])).unwrap();
    tidy_up(&mailbox);
    assert_eq!(numbers(&mailbox, Some(&name(Q)), None), [1, 4, 6]);
    mailbox.append(&batch([1, 4, 6].map(|seq| finish(Q, seq)))).unwrap();
    tidy_up(&mailbox);
    assert_eq!(numbers(&mailbox, Some(&name(Q)), None), [0; 0]);
    assert!(numbers(&mailbox, None, None).len() as u64 <= KEPT + SLACK);
}

pub(crate) fn a_message_that_is_repaired_for_ever_does_not_fill_the_journal<M: Mailbox>(
    open: Open<'_, M>,
) {
    let mailbox = fresh(open);
    mailbox.append(&batch([append(Q, 1, "x"), append(Q, 2, "x")])).unwrap();
    mailbox.append(&batch([journal(1, Q, Some(2))])).unwrap();
    const LAST: u64 = 2 * MAX_HISTORY as u64;
    for first in (2..=LAST).step_by(100) {
        let numbers = first..(first + 100).min(LAST + 1);
        mailbox.append(&batch(numbers.map(|number| journal(number, Q, Some(1))))).unwrap();
        mailbox.maintain().unwrap();
    }
    tidy_up(&mailbox);
    let left = of_message(&mailbox, 1);
    assert!(left.len() > MAX_PAGE, "a page of it shows that there is more: {}", left.len());
    assert!(left.len() as u64 <= MAX_HISTORY as u64 + KEPT + SLACK, "{}", left.len());
    assert_eq!(left, (LAST + 1 - left.len() as u64..=LAST).collect::<Vec<_>>(), "the newest");
    assert_eq!(of_message(&mailbox, 2), [1], "another's are not counted");
}

pub(crate) fn a_restart_goes_on_from_what_the_journal_has_kept<M: Mailbox>(open: Open<'_, M>) {
    let mailbox = fresh(open);
    mailbox.append(&batch([append(Q, 1, "x"), append(Q, 2, "x")])).unwrap();
    mailbox.append(&batch([journal(1, Q, Some(1)), journal(2, Q, Some(2))])).unwrap();
    write(&mailbox, 3..=500);
    // Opening may do the newest commit again.
    mailbox.append(&batch([put_queue(OTHER, 10)])).unwrap();
    tidy_up(&mailbox);
    let before = numbers(&mailbox, None, None);
    assert_eq!(before[..2], [1, 2]);
    drop(mailbox);

    let mailbox = open();
    assert_eq!(mailbox.recover().unwrap().last_journal, 500);
    assert_eq!(numbers(&mailbox, None, None), before);
    tidy_up(&mailbox);
    let after = numbers(&mailbox, None, None);
    assert_eq!((&after[..2], after.last()), (&[1, 2][..], Some(&500)), "what was kept is kept");
    assert!(after.len() as u64 >= KEPT + 2);
    mailbox.append(&batch([finish(Q, 1), journal(501, Q, None)])).unwrap();
    tidy_up(&mailbox);
    assert_eq!(of_message(&mailbox, 1), [0; 0], "and goes with its message");
    assert_eq!(of_message(&mailbox, 2), [2]);
    // Finished while nobody tidied up.
    mailbox.append(&batch([finish(Q, 2)])).unwrap();
    mailbox.sync().unwrap();
    drop(mailbox);

    let mailbox = open();
    assert_eq!(mailbox.recover().unwrap().last_journal, 501);
    write(&mailbox, 502..=600);
    tidy_up(&mailbox);
    assert_eq!(of_message(&mailbox, 2), [0; 0]);
}
