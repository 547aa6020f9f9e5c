//! What [`super::RoutedMailbox`] needs of the store under it, and where a keeper of payloads is put in between.

use std::collections::BTreeMap;
use std::fmt;

use super::{Mailbox, MailboxError};
use crate::model::{Batch, JournalEntry, QueueId, Seq};

/// A durable store of which some queues have a part elsewhere, in RAM.
///
/// A queue's places here may have gaps: those that are in RAM, or were. A gap is filled in when what is in
/// RAM moves here. Places of [`Mailbox::recover`]'s backlogs that are gaps count as finished, and `next_seq`
/// is the last [`Elsewhere::next`] if that is higher than what came here.
///
/// To keep payloads outside, wrap one: append contents that refer to them, and put the payloads in when
/// they are read. Every `Op::PutQueue` passes by, so that it knows each queue's settings; so do the queues
/// of [`Mailbox::recover`].
pub trait Durable: Mailbox + fmt::Debug {
    /// As [`Mailbox::append`], of a batch that has been checked against the whole of its queues. Messages may
    /// come with gaps before them, or into gaps at or after `Elsewhere::first` of every commit before.
    fn append_with_gaps(
        &self,
        batch: &Batch,
        elsewhere: &BTreeMap<QueueId, Elsewhere>,
    ) -> Result<(), MailboxError>;

    /// The first place from `from` on that waits here.
    fn first_unfinished(&self, queue: QueueId, from: Seq) -> Option<Seq>;

    /// Does a message at this place wait here?
    fn is_unfinished(&self, queue: QueueId, seq: Seq) -> bool;

    /// How many messages of the queue wait here.
    fn waiting(&self, queue: QueueId) -> u64;

    /// The newest journal entry's number; 0: none.
    fn last_journal(&self) -> u64;

    /// Journal entries from number `from` on, oldest first: `max`, or all that are left if those are fewer.
    fn journal_from(&self, from: u64, max: usize) -> Result<Vec<JournalEntry>, MailboxError>;

    /// Removes these entries of the journal, as far as they are there; the newest of all is never among them. Called by
    /// the thread that calls [`Mailbox::maintain`], as a step of it. After a crash some may be there again. `false`:
    /// there is no room on the disk for it now, and nothing was removed.
    fn remove_journal(&self, numbers: &[u64]) -> Result<bool, MailboxError>;

    /// An error if an earlier one has broken the store.
    fn check_sound(&self) -> Result<(), MailboxError>;
}

/// What a commit says of a queue beyond its operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The first place that waits elsewhere once the commit is done.
    pub first: Option<Seq>,
    /// Where the queue goes on after a crash: all places below are used or set aside, none from there on is.
    pub next: Option<Seq>,
}
