//! One message's bytes are damaged: it is told so, and the others are read on.

use std::ops::Range;
use std::sync::Arc;

use super::SledMailbox;
use super::layout::{directory_key, ids_key};
use super::segment::{IdEntry, decode_directory, decode_ids};
use crate::mailbox::{Durable as _, MailboxError};
use crate::model::{Content, MessageId, QueueId, Seq, StoredMessage, Timestamp, WorkError};

/// The code of the error that a damaged message blocks with.
pub(super) const CODE: &str = "damaged";

impl SledMailbox {
    /// What stands for a message whose content or record is damaged as `error` says; any other error is
    /// passed on.
    pub(super) fn unreadable(
        &self,
        queue: QueueId,
        seq: Seq,
        segment: u64,
        error: MailboxError,
    ) -> Result<StoredMessage, MailboxError> {
        let error = self.of_one_message(error)?;
        let known = self.known_of(queue, seq, segment);
        tracing::error!(%queue, %seq, segment, what = error.message, "a message is damaged");
        let (accepted_at, id) = known
            .map_or_else(|| (Timestamp(0), stand_in_id(queue, seq)), |entry| (entry.at, entry.id));
        let content = Arc::new(Content::placeholder(&id));
        Ok(StoredMessage {
            seq,
            accepted_at,
            content,
            record: None,
            unreadable: Some(Box::new(error)),
        })
    }

    /// The error as it is shown at one message, if it is about stored bytes and the store is sound.
    pub(super) fn of_one_message(&self, error: MailboxError) -> Result<WorkError, MailboxError> {
        self.check_sound()?;
        match error {
            MailboxError::Damaged { path, what } => Ok(WorkError {
                code: CODE.to_owned(),
                message: format!("its stored bytes are damaged: {what}"),
                detail: format!("store {path}; `mubroker store check` reads all of it"),
            }),
            other => Err(other),
        }
    }

    /// Goes on without a thing that is damaged, and says so in the log.
    pub(super) fn leave_out<T>(
        &self,
        thing: &str,
        error: MailboxError,
    ) -> Result<Option<T>, MailboxError> {
        let error = self.of_one_message(error)?;
        tracing::error!(what = error.message, "{thing} is left out");
        Ok(None)
    }

    /// What is kept of the message beside its content.
    fn known_of(&self, queue: QueueId, seq: Seq, segment: u64) -> Option<IdEntry> {
        let key = directory_key(segment);
        let directory = self.store.get_state(&key).ok()??;
        let directory = decode_directory(&key, &directory).ok()?;
        let key = ids_key(segment);
        let ids = decode_ids(&key, &self.store.ids_value(segment).ok()??).ok()?;
        let mut before = 0;
        for run in &directory.runs {
            let end = run.first.0 + u64::from(run.count);
            if run.queue == queue && run.first <= seq && seq.0 < end {
                return ids.into_iter().nth(before + (seq.0 - run.first.0) as usize);
            }
            before += run.count as usize;
        }
        None
    }
}

/// What stands for the ids of messages of which nothing is known.
pub(super) fn stand_ins(queue: QueueId, places: Range<u64>) -> Vec<IdEntry> {
    let entry = |place| IdEntry { at: Timestamp(0), bytes: 0, id: stand_in_id(queue, Seq(place)) };
    places.map(entry).collect()
}

/// For a message of which not even the id can be read.
fn stand_in_id(queue: QueueId, seq: Seq) -> MessageId {
    MessageId::new(&format!("damaged-{queue}-{seq}")).expect("letters, digits and dashes")
}
