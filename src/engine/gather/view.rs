//! What operators see of gathers, and what is told of them.

use bytes::Bytes;

use super::{Gather, Outcome, Recipient};
use crate::engine::Engine;
use crate::engine::process::{ProcessNumber, page};
use crate::model::{
    GatherName, GatherPage, GatherState, GatherStatus, GatherView, MessageId, Notice, QueueName,
    RecipientState, RecipientView, reply_to,
};

impl Gather {
    pub(super) fn started_notice(&self) -> Notice {
        let (id, gather) = (self.request.id().clone(), self.name.clone());
        Notice::GatherStarted { id, gather, recipients: self.recipients.len() as u64 }
    }

    pub(super) fn ended_notice(&self, status: GatherStatus) -> Notice {
        let (id, gather) = (self.request.id().clone(), self.name.clone());
        let replied = self.parts().count() as u64;
        let missing = (self.recipients.len() as u64).saturating_sub(replied);
        Notice::GatherEnded { id, gather, status, replied, missing }
    }
}

impl Engine {
    /// Gathers in the order in which they began in this run, those from before it first: those after `after`, at most
    /// `limit`, in one state or all.
    pub fn gather_page(&self, after: u64, limit: usize, state: Option<GatherState>) -> GatherPage {
        let wanted =
            |gather: &Gather| state.is_none_or(|state| state == GatherState::from(gather.ended));
        let view = |number, gather: &Gather| self.gather_view(number, gather);
        let (gathers, next) = page(&self.gathers.by_number, (after, limit), wanted, view);
        GatherPage { gathers, next }
    }

    /// One gather and the replies so far; of several with the same id the newest, or that of this name.
    pub fn gather_detail(
        &self,
        id: &MessageId,
        name: Option<&GatherName>,
    ) -> Option<(GatherView, Vec<(QueueName, Bytes)>)> {
        let is_it = |(_, gather): &(&ProcessNumber, &Gather)| {
            gather.request.id() == id && (name.is_none() || gather.name.as_ref() == name)
        };
        let (&number, gather) = self.gathers.by_number.iter().rev().find(is_it)?;
        let replies =
            gather.parts().map(|(recipient, part)| (recipient.name.clone(), part.clone()));
        Some((self.gather_view(number, gather), replies.collect()))
    }

    fn gather_view(&self, number: ProcessNumber, gather: &Gather) -> GatherView {
        let header = &gather.request.header;
        GatherView {
            id: gather.request.id().clone(),
            gather: gather.name.clone(),
            state: gather.ended.into(),
            complete: gather.complete.to_json(),
            aggregate: gather.aggregate,
            began_at: gather.began_at,
            until: self.process_due_at(number),
            callers: gather.origins.len() as u64,
            reply_to: if header.has_reply_to() { reply_to(&header.to_map()).ok() } else { None },
            condition_error: gather.condition_error.clone(),
            recipients: gather.recipients.iter().map(|one| self.recipient_view(one)).collect(),
        }
    }

    /// Who hasn't replied may be blocked: as its queue has it now, since what was blocked may have been repaired.
    fn recipient_view(&self, recipient: &Recipient) -> RecipientView {
        let (state, error, bytes) = match &recipient.outcome {
            Some(Outcome::Part(reply)) => (RecipientState::Replied, None, Some(reply.len() as u64)),
            Some(Outcome::Failed(error)) => (RecipientState::Failed, Some(error.clone()), None),
            None => match self.blocked_now(recipient) {
                Some(error) => (RecipientState::Blocked, Some(error), None),
                None => (RecipientState::NoReply, None, None),
            },
        };
        let (queue, seq) = (recipient.name.clone(), recipient.seq);
        RecipientView { queue, seq, state, error, bytes }
    }
}
