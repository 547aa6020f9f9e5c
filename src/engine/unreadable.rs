//! Messages whose content the store can't give: they block where they stand, and are never delivered.
//!
//! A retry reads such a message again; if that doesn't help it blocks again. New content that an operator
//! saves makes it a message like others.

use super::queues::QueueIndex;
use super::{Effects, Engine};
use crate::model::{MessageState, Seq, WorkError};

impl Engine {
    /// A load found that the content of a message in the window can't be read.
    pub(super) fn block_unreadable(
        &mut self,
        at: QueueIndex,
        seq: Seq,
        error: WorkError,
        out: &mut Effects,
    ) {
        let queue = self.queue(at);
        let Some(entry) = queue.window.get(seq) else { return };
        let id = entry.content.id().clone();
        let mut record = queue.records().get(&seq).cloned().unwrap_or_default();
        match record.state {
            MessageState::Scheduled
            | MessageState::Ready
            | MessageState::Waiting
            | MessageState::Leased => {
                record.last_error = Some(error);
                self.block(at, (seq, id), record, None, out);
            }
            MessageState::Blocked | MessageState::Cancelled | MessageState::Done => {}
        }
    }

    /// An operator has made a message ready again: if it could not be read, it is read once more.
    pub(super) fn read_again(&mut self, at: QueueIndex, seq: Seq) {
        let (queue, budget) = self.queue_and_budget(at);
        queue.window.forget_unreadable(seq, budget);
    }
}
