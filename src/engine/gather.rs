//! Scatter-gather: one message to several queues, their replies as one answer (design.md rule 11).
//!
//! A gather is a process: its record and its messages are one commit, each reply is kept in the commit of its
//! message's end, and its own end is a commit too, with the answer if that goes into a queue (`reply_to`). Part 0 of its
//! records says how it goes, part *n* is what came of the *n*th recipient, counted from 1. Callers wait in RAM; who loses the
//! broker asks again with the same id, and waits on. At its end a gather is kept for a while, for such callers, and to
//! count what comes late.

mod answer;
mod begin;
mod record;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use crate::model::limits::{
    KEPT_REPLY_MS, MAX_GATHER_BYTES, MAX_KEPT_GATHERS, MAX_KEPT_GATHERS_BYTES,
};
use crate::model::{
    Aggregate, CallStatus, Completion, ConfiguredGather, Content, FilterBudget, FilterSubject,
    GatherName, GatherSettings, GatherStatus, Origin, QueueId, QueueName, Seq, Timestamp,
    WorkError, limits,
};

use super::process::ProcessNumber;
use super::request::{CallEnd, Place, draining};
use super::{Effect, Effects, Engine};

/// What came of a recipient.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Part(Bytes),
    Failed(WorkError),
}

#[derive(Debug)]
struct Recipient {
    queue: QueueId,
    name: QueueName,
    seq: Seq,
    outcome: Option<Outcome>,
    /// Set at the gather's end: its message stood, and might still have come.
    blocked: Option<WorkError>,
}

#[derive(Debug)]
struct Gather {
    /// As the configuration has it.
    name: Option<GatherName>,
    /// The request's header; no payload.
    request: Content,
    complete: Completion,
    aggregate: Aggregate,
    recipients: Vec<Recipient>,
    /// Not known of one that an earlier version began.
    began_at: Option<Timestamp>,
    ended: Option<GatherStatus>,
    condition_error: Option<String>,
    /// Who waits.
    origins: BTreeSet<Origin>,
}

impl Gather {
    fn parts(&self) -> impl Iterator<Item = (&Recipient, &Bytes)> + '_ {
        self.recipients.iter().filter_map(|recipient| match &recipient.outcome {
            Some(Outcome::Part(payload)) => Some((recipient, payload)),
            Some(Outcome::Failed(_)) | None => None,
        })
    }

    fn bytes(&self) -> usize {
        self.parts().map(|(_, payload)| payload.len()).fold(0, usize::saturating_add)
    }
}

/// All gathers that run or are kept.
#[derive(Debug, Default)]
pub(super) struct Gathers {
    configured: BTreeMap<GatherName, GatherSettings>,
    by_number: BTreeMap<ProcessNumber, Gather>,
    by_origin: HashMap<Origin, ProcessNumber>,
    /// At their end, the oldest first.
    kept: VecDeque<ProcessNumber>,
    kept_bytes: u64,
    /// Replies that came after the end.
    pub(super) late_parts: u64,
}

impl Gathers {
    pub(super) fn new(configured: Vec<ConfiguredGather>) -> Self {
        let named = configured.into_iter().map(|gather| (gather.name, gather.settings));
        Self { configured: named.collect(), ..Self::default() }
    }

    /// How many run.
    pub(super) fn running(&self) -> u64 {
        self.by_number.len().saturating_sub(self.kept.len()) as u64
    }
}

impl Engine {
    /// A recipient's message is at its end, or blocked.
    pub(super) fn gather_heard(
        &mut self,
        number: ProcessNumber,
        (at, seq): Place,
        end: CallEnd,
        out: &mut Effects,
    ) {
        let queue = self.queue(at).record.id;
        let has_room = self.has_process_room(end.reply.len().saturating_add(1));
        let Some(gather) = self.gathers.by_number.get_mut(&number) else { return };
        if gather.ended.is_some() {
            if end.status == CallStatus::Ok {
                self.gathers.late_parts = self.gathers.late_parts.saturating_add(1);
            }
            return;
        }
        let bytes = gather.bytes();
        let recipients = (1..).zip(&mut gather.recipients);
        let mut of_place = recipients.filter(|(_, one)| one.queue == queue && one.seq == seq);
        let Some((part, recipient)) = of_place.next() else { return };
        let outcome = match end.status {
            // It may be repaired in time; where it is not, that is looked at in the end.
            CallStatus::Blocked | CallStatus::Timeout => return,
            CallStatus::Failed => Outcome::Failed(end.error.unwrap_or_default()),
            CallStatus::Ok
                if !has_room || bytes.saturating_add(end.reply.len()) > MAX_GATHER_BYTES =>
            {
                Outcome::Failed(too_large(end.reply.len()))
            }
            CallStatus::Ok if !gather.aggregate.takes(&end.reply) => {
                Outcome::Failed(WorkError::new("not-an-object", "its reply is no JSON object"))
            }
            CallStatus::Ok => Outcome::Part(end.reply),
        };
        let record = outcome.record();
        recipient.outcome = Some(outcome);
        self.put_process(number, part, record, out);
        self.gather_checked(number, out);
    }

    /// Ends a gather if it is complete, or can't be any more.
    fn gather_checked(&mut self, number: ProcessNumber, out: &mut Effects) {
        let Some(gather) = self.gathers.by_number.get_mut(&number) else { return };
        let replied = gather.parts().count();
        let is_over = gather.recipients.iter().all(|recipient| recipient.outcome.is_some());
        let status = if replied == gather.recipients.len() {
            Some(GatherStatus::Complete)
        } else if gather.is_enough(replied) {
            Some(GatherStatus::Quorum)
        } else {
            is_over.then_some(GatherStatus::Partial)
        };
        if let Some(status) = status {
            self.gather_ends(number, status, out);
        }
    }

    /// A gather's time is over: that to wait, or that to be kept.
    pub(super) fn gather_is_due(&mut self, number: ProcessNumber, out: &mut Effects) {
        match self.gathers.by_number.get(&number) {
            Some(gather) if gather.ended.is_none() => {
                self.gather_ends(number, GatherStatus::Partial, out);
            }
            Some(_) | None => self.forget_gather(number, out),
        }
    }

    fn gather_ends(&mut self, number: ProcessNumber, status: GatherStatus, out: &mut Effects) {
        let until = self.now.plus_ms(KEPT_REPLY_MS);
        let Some(gather) = self.gathers.by_number.get(&number) else { return };
        let blocked: Vec<_> = gather.recipients.iter().map(|one| self.blocked_now(one)).collect();
        let Some(gather) = self.gathers.by_number.get_mut(&number) else { return };
        for (recipient, blocked) in gather.recipients.iter_mut().zip(blocked) {
            recipient.blocked = blocked;
        }
        gather.ended = Some(status);
        let origins = std::mem::take(&mut gather.origins);
        let (record, bytes) = (gather.record(until), gather.bytes() as u64);
        out.effects.push(Effect::Notice(Box::new(gather.ended_notice(status))));
        let has_reply_to = gather.request.header.has_reply_to();
        if has_reply_to {
            self.queue_gathered(number, out);
        } else if origins.is_empty() {
            self.late_replies = self.late_replies.saturating_add(1);
        }
        for origin in origins {
            self.gathers.by_origin.remove(&origin);
            self.tell_gathered(number, origin, out);
        }
        self.put_process(number, 0, record, out);
        self.process_due(number, Some(until));
        self.gathers.kept.push_back(number);
        self.gathers.kept_bytes = self.gathers.kept_bytes.saturating_add(bytes);
        while (self.gathers.kept.len() > MAX_KEPT_GATHERS
            || self.gathers.kept_bytes > MAX_KEPT_GATHERS_BYTES)
            && let Some(&oldest) = self.gathers.kept.front()
        {
            self.forget_gather(oldest, out);
        }
    }

    /// Why the message of a recipient that has not replied stands, if it does.
    fn blocked_now(&self, recipient: &Recipient) -> Option<WorkError> {
        if recipient.outcome.is_some() {
            return None;
        }
        let at = self.queues.by_id(recipient.queue)?;
        let end = self.end_so_far((at, recipient.seq))?;
        (end.status == CallStatus::Blocked).then(|| end.error.unwrap_or_default())
    }

    fn forget_gather(&mut self, number: ProcessNumber, out: &mut Effects) {
        self.end_process(number, out);
        let Some(gather) = self.gathers.by_number.remove(&number) else { return };
        self.gathers.kept.retain(|&kept| kept != number);
        let bytes = gather.bytes() as u64;
        self.gathers.kept_bytes = self.gathers.kept_bytes.saturating_sub(bytes);
    }

    /// A caller went away.
    pub(super) fn forget_gather_origin(&mut self, origin: Origin) {
        if let Some(number) = self.gathers.by_origin.remove(&origin)
            && let Some(gather) = self.gathers.by_number.get_mut(&number)
        {
            gather.origins.remove(&origin);
        }
    }

    /// The broker stops: nobody waits any longer.
    pub(super) fn reject_gatherers(&mut self, out: &mut Effects) {
        self.gathers.by_origin.clear();
        for gather in self.gathers.by_number.values_mut() {
            for origin in std::mem::take(&mut gather.origins) {
                let rejection = draining(
                    "the broker stops; the gather goes on after it starts again: ask again with the same id",
                );
                let rejection = rejection.of(gather.request.id().clone());
                out.effects.push(Effect::Rejected { origin, rejection });
            }
        }
    }
}

impl Gather {
    /// Whether what has come is enough, though not all.
    fn is_enough(&mut self, replied: usize) -> bool {
        match &self.complete {
            Completion::All => false,
            Completion::Count(count) => replied >= *count as usize,
            Completion::When(condition) => {
                let parts = self.as_json();
                let subject = FilterSubject::of_parts(&self.request, &parts);
                let mut budget = FilterBudget::new(limits::MAX_FILTER_COST);
                match condition.matches(&subject, &mut budget) {
                    Ok(holds) => holds,
                    Err(error) => {
                        self.condition_error = Some(error);
                        false
                    }
                }
            }
        }
    }
}

fn too_large(bytes: usize) -> WorkError {
    WorkError::new("too-large", format!("its reply of {bytes} bytes was more than may be kept"))
}
