//! Where messages wait. One trait; `memory` and `sled` behind it; one conformance suite over both.

mod check;
#[cfg(test)]
#[macro_use]
mod conformance;
mod durable;
#[cfg(test)]
pub(crate) mod fault;
mod leb128;
mod memory;
mod pack;
mod redis;
mod reserve;
mod routed;
mod sled;
mod transfer;

pub use durable::{Durable, Elsewhere};
pub use memory::MemoryMailbox;
pub use redis::{RedisConfigError, RedisMailbox, RedisNews, RedisOptions, RedisPoller, Streams};
pub use reserve::{Disk, DiskReserve, Room, part_bytes};
pub use routed::RoutedMailbox;
pub use sled::{
    BadBytes, PartCheck, QueueCheck, SledMailbox, SledOptions, StoreCheck, check_store,
    store_format,
};
pub use transfer::{Counts, Import, Line, Start, TransferError, export};

use crate::model::{
    Batch, Content, JournalEntry, MessageId, QueueId, Recovered, Revision, RevisionRecord, Seq,
    StoredMessage,
};

/// A store of messages, records, revisions and the journal.
///
/// **Contract.** `append` and `maintain` are called by one thread, `sync` by the same or by one other: batch
/// *k+1* may be appended while batch *k* is being synced. The reads are called by any number of threads, at
/// any time, also while a commit is under way. A read sees every batch whose `append` has returned,
/// whether or not it is synced yet. Batches count from 1 in the order of `append`.
///
/// * `append` puts a batch in, atomically: after a crash it is there whole or not at all, and if it is
///   there, so are all before it.
/// * `sync` returns once every batch whose `append` had returned before the call is durable: it survives
///   `kill -9` and, for stores that say so, power loss. It may make later ones durable too.
/// * An inconsistent batch is refused before anything of it is written; the store is not broken by it.
/// * After an error of either, the store is broken: nothing more is appended; it is dropped, and a new one
///   is opened, whose `recover` tells what is there. A failed sync is never retried.
pub trait Mailbox: Send + Sync + 'static {
    /// What is there. Called once, after opening, before the first `append`.
    fn recover(&self) -> Result<Recovered, MailboxError>;

    /// Puts a batch in. Not durable yet.
    fn append(&self, batch: &Batch) -> Result<(), MailboxError>;

    /// Makes all that was appended durable.
    fn sync(&self) -> Result<(), MailboxError>;

    /// Unfinished messages of `queue` from place `from` on, ascending, with their newest content: at most
    /// `max_messages`, and at most `max_bytes` of header and payload, but at least one if there is one.
    /// Cancelled messages whose `Finish` has not come are among them. One whose content is damaged or lost
    /// comes as such ([`StoredMessage::unreadable`]); it is no reason to fail.
    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError>;

    /// As [`Mailbox::read`], for what is delivered next: it may also end, but with one message at least if there is
    /// one, where going on would take far longer now than a read from there on does later.
    fn read_ahead(
        &self,
        queue: QueueId,
        from: Seq,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredMessage>, MailboxError> {
        self.read(queue, from, max_messages, max_bytes)
    }

    /// Whether a read from there on can begin at once. Where something must be opened first it is better to read
    /// elsewhere before.
    fn is_near(&self, _queue: QueueId, _from: Seq) -> bool {
        true
    }

    /// The content of one unfinished message as of `revision`; `None` if it is not there. Fails as
    /// [`MailboxError::Unreadable`] if it is there but damaged or lost.
    fn content(
        &self,
        queue: QueueId,
        seq: Seq,
        revision: Revision,
    ) -> Result<Option<Content>, MailboxError>;

    /// The edits of one unfinished message, oldest first, with their payloads' lengths in bytes.
    fn revisions(
        &self,
        queue: QueueId,
        seq: Seq,
    ) -> Result<Vec<(RevisionRecord, u64)>, MailboxError>;

    /// The newest place of an id that is unfinished or in a de-duplication window. May have to look
    /// through the ids of the whole backlog; never through payloads.
    fn find(
        &self,
        queue: Option<QueueId>,
        id: &MessageId,
    ) -> Result<Option<(QueueId, Seq)>, MailboxError>;

    /// Journal entries with numbers below `before`, newest first, at most `max`, for one queue or all,
    /// one message or all.
    fn journal(
        &self,
        before: u64,
        max: usize,
        of: JournalFilter<'_>,
    ) -> Result<Vec<JournalEntry>, MailboxError>;

    /// Background work in small steps (giving disk back, bounding the journal): called by the store's thread between
    /// commits, at most some milliseconds at a time. `true` if there is more to do.
    fn maintain(&self) -> Result<bool, MailboxError>;

    /// How many bytes of the disk `maintain` may take before it gives any back; as many as it likes until this is
    /// said for the first time. Called by the thread that calls `maintain`.
    fn set_spare(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Writes a copy of the store into the folder `to`, which is made or is empty: whole commits, and all whose
    /// `append` had returned. May be called by any thread while the store goes on; appends wait for a part of
    /// it. Only what is durable is in it: nothing that waits in RAM, and of what waits in Redis the references.
    fn backup(&self, to: &std::path::Path) -> Result<(), MailboxError> {
        let source = std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            "this mailbox keeps nothing that could be copied",
        );
        let path = to.display().to_string();
        Err(MailboxError::Io { action: "making a backup", path, source })
    }

    /// After `maintain` said that there is nothing to do: will there be, without any further commit, once a
    /// thread of the store's own has done its part? Then `maintain` is called again some milliseconds later.
    fn waits_for_upkeep(&self) -> bool {
        false
    }
}

/// Which journal entries are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct JournalFilter<'a> {
    /// Of this queue only.
    pub queue: Option<&'a crate::model::QueueName>,
    /// Of this place only (needs `queue`).
    pub seq: Option<Seq>,
}

impl JournalFilter<'_> {
    /// Is this entry asked for?
    pub fn matches(&self, entry: &JournalEntry) -> bool {
        self.queue.is_none_or(|queue| *queue == entry.queue)
            && self.seq.is_none_or(|seq| entry.seq == Some(seq))
    }
}

/// Why a store can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// Another process has it.
    #[error("the store in {path} is held by process {pid}")]
    Held {
        /// The folder.
        path: String,
        /// Who has it, as far as its lock file says.
        pid: String,
    },
    /// No space is left.
    #[error("the disk is full ({action}, {path})")]
    Full {
        /// What was being done.
        action: &'static str,
        /// Where.
        path: String,
    },
    /// The operating system failed.
    #[error("{action} failed ({path}): {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Where.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// sled failed.
    #[error("{action} failed in sled ({path}): {source}")]
    Sled {
        /// What was being done.
        action: &'static str,
        /// Where.
        path: String,
        /// The cause.
        source: ::sled::Error,
    },
    /// What is stored is not what was written.
    #[error("the store in {path} is damaged: {what}")]
    Damaged {
        /// The folder.
        path: String,
        /// Where exactly and how.
        what: String,
    },
    /// One message can't be read; nothing is wrong with the others.
    #[error("message {seq} can't be read: {}", error.message)]
    Unreadable {
        /// Its place.
        seq: Seq,
        /// How and where.
        error: crate::model::WorkError,
    },
    /// The store was made by a later version.
    #[error("the store in {path} has format {found}; this version reads up to {known}")]
    TooNew {
        /// The folder.
        path: String,
        /// Its format.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// Redis can't be asked now; the store is not broken by it.
    #[error("Redis can't be reached: {reason}")]
    Unreachable {
        /// Why, for people.
        reason: String,
    },
    /// A batch breaks the contract: a bug in the caller.
    #[error("the batch is inconsistent: {what}")]
    Inconsistent {
        /// How.
        what: String,
    },
}
