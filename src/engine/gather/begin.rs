//! How a gather begins: who is asked, and by whom it was asked before.

use crate::engine::process::ProcessNumber;
use crate::engine::send::FULL_RETRY_MS;
use crate::engine::{Effect, Effects, Engine};
use crate::model::limits::{
    MAX_CALL_TIMEOUT_MS, MAX_GATHER_CALLERS, MAX_GATHER_RECIPIENTS, MAX_PUBLISH_COST,
};
use crate::model::{
    Completion, Content, FilterBudget, FilterSubject, GatherAccepted, GatherName, GatherRequest,
    GatherSettings, Header, OnError, Origin, ProcessId, ProcessKey, ProcessKind, QueueName,
    Recipients, RejectCode, Rejection, Subscription,
};

use super::{Gather, Recipient};

impl Engine {
    /// GATHER: asks, or waits on if the same was asked before.
    pub(in crate::engine) fn handle_gather(
        &mut self,
        origin: Origin,
        request: GatherRequest,
        out: &mut Effects,
    ) {
        let id = request.content.id().clone();
        let key = key_of(&request);
        let begun = match self.processes.find(&key) {
            Some(number) => self.join(origin, number, out),
            None => self.begin(origin, key, request, out),
        };
        if let Err(rejection) = begun {
            let rejection = if rejection.id.is_some() { rejection } else { rejection.of(id) };
            out.effects.push(Effect::Rejected { origin, rejection });
        }
    }

    /// Whether the same was asked before.
    pub fn knows_gather(&self, request: &GatherRequest) -> bool {
        self.processes.find(&key_of(request)).is_some()
    }

    /// Somebody asks for a gather that runs, or is kept.
    fn join(
        &mut self,
        origin: Origin,
        number: ProcessNumber,
        out: &mut Effects,
    ) -> Result<(), Rejection> {
        let Some(gather) = self.gathers.by_number.get_mut(&number) else {
            let reason = "a gather with this id is kept in a form of a later version";
            return Err(Rejection::new(RejectCode::Unsupported, reason));
        };
        if gather.request.header.has_reply_to() {
            let recipients = gather.recipients.len() as u64;
            let id = gather.request.id().clone();
            let accepted = GatherAccepted { id, recipients, duplicate: true };
            out.effects.push(Effect::GatherAccepted { origin, accepted });
        } else if gather.ended.is_some() {
            self.tell_gathered(number, origin, out);
        } else if gather.origins.len() >= MAX_GATHER_CALLERS {
            let reason = format!("{MAX_GATHER_CALLERS} callers wait for this gather already");
            return Err(Rejection::new(RejectCode::Busy, reason).retry_after(FULL_RETRY_MS));
        } else {
            gather.origins.insert(origin);
            self.gathers.by_origin.insert(origin, number);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        origin: Origin,
        key: ProcessKey,
        request: GatherRequest,
        out: &mut Effects,
    ) -> Result<(), Rejection> {
        let settings = self.settings_of(&request)?;
        let queues = self.recipients(&settings.recipients, &request.content, out)?;
        refuse_number(&settings.complete, queues.len())?;
        self.admit_reply_to(&request.content)?;
        let asked = without_reply_to(&request.content);
        let messages: Vec<_> = queues.into_iter().map(|queue| (queue, asked.clone())).collect();
        self.admit(&messages, false)?;
        let Content { header, payload: _ } = request.content;
        let mut gather = Gather {
            name: request.gather,
            request: Content { header, payload: Default::default() },
            complete: settings.complete,
            aggregate: settings.aggregate,
            recipients: Vec::with_capacity(messages.len()),
            began_at: Some(self.now),
            ended: None,
            condition_error: None,
            origins: Default::default(),
        };
        let deadline = self.now.plus_ms(settings.timeout_ms.clamp(1, MAX_CALL_TIMEOUT_MS));
        // Its recipients' names and places come in addition.
        let about = messages.len().saturating_mul(crate::model::limits::MAX_QUEUE_NAME_BYTES);
        self.admit_process(gather.record(deadline).len().saturating_add(about))?;
        let mut places = Vec::with_capacity(messages.len());
        for (name, content) in messages {
            let (at, accepted) = self.accept_into(name, content, out);
            let queue = self.queue(at).record.id;
            places.push((at, accepted.seq));
            let (name, seq) = (accepted.queue, accepted.seq);
            gather.recipients.push(Recipient { queue, name, seq, outcome: None, blocked: None });
        }
        self.make_reply_queue(&gather.request, out);
        let record = gather.record(deadline);
        let number = self.start_process(key, record, out);
        out.effects.push(Effect::Notice(Box::new(gather.started_notice())));
        if gather.request.header.has_reply_to() {
            let (id, recipients) = (gather.request.id().clone(), places.len() as u64);
            let accepted = GatherAccepted { id, recipients, duplicate: false };
            out.effects.push(Effect::GatherAccepted { origin, accepted });
        } else {
            gather.origins.insert(origin);
            self.gathers.by_origin.insert(origin, number);
        }
        self.gathers.by_number.insert(number, gather);
        self.process_due(number, Some(deadline));
        for place in places {
            self.process_waits(number, place);
            self.shed(place.0, out);
            self.offer(place.0, out);
        }
        Ok(())
    }

    fn settings_of(&self, request: &GatherRequest) -> Result<GatherSettings, Rejection> {
        let configured = match &request.gather {
            None => None,
            Some(name) => Some(self.gathers.configured.get(name).ok_or_else(|| {
                let reason = format!(
                    "header field `gather`: there is no gather {name}; write [gathers.\"{name}\"], or name \
                     `recipients`"
                );
                Rejection::new(RejectCode::Unroutable, reason)
            })?),
        };
        request.settings(configured).ok_or_else(|| {
            let reason = "header fields `gather` and `recipients`: one of them is needed";
            Rejection::new(RejectCode::Malformed, reason)
        })
    }

    /// The queues that are asked, each once.
    fn recipients(
        &mut self,
        recipients: &Recipients,
        content: &Content,
        out: &mut Effects,
    ) -> Result<Vec<QueueName>, Rejection> {
        let queues = match recipients {
            Recipients::Fixed(fixed) => passing(fixed, content)?,
            Recipients::Topic(topic) => self.subscribers(topic, content, out)?,
        };
        if queues.is_empty() {
            let reason = "nobody takes it: no recipient's filter lets it pass";
            return Err(Rejection::new(RejectCode::Unroutable, reason));
        }
        if queues.len() > MAX_GATHER_RECIPIENTS {
            let reason =
                format!("{} recipients; at most {MAX_GATHER_RECIPIENTS} are allowed", queues.len());
            return Err(Rejection::new(RejectCode::TooLarge, reason));
        }
        Ok(queues)
    }
}

/// The queues whose filters let the message pass, in their order.
fn passing(recipients: &[Subscription], content: &Content) -> Result<Vec<QueueName>, Rejection> {
    let subject = FilterSubject::new("", content);
    let mut budget = FilterBudget::new(MAX_PUBLISH_COST);
    let mut queues = Vec::with_capacity(recipients.len());
    for Subscription { queue, filter, on_error } in recipients {
        let passes = match filter.as_ref().map(|filter| filter.matches(&subject, &mut budget)) {
            None => true,
            Some(Ok(passes)) => passes,
            Some(Err(error)) => match on_error {
                OnError::Deliver => true,
                OnError::Skip => false,
                OnError::Reject | OnError::DeadLetter => {
                    let reason = format!("the filter of recipient {queue} can't be told: {error}");
                    return Err(Rejection::new(RejectCode::Unroutable, reason));
                }
            },
        };
        if passes {
            queues.push(queue.clone());
        }
    }
    Ok(queues)
}

/// A number of replies that can't come is a mistake, not something to wait for.
fn refuse_number(complete: &Completion, recipients: usize) -> Result<(), Rejection> {
    match complete {
        Completion::Count(count) if *count as usize > recipients => {
            let reason = format!(
                "`complete` asks for {count} replies, and {recipients} recipients take the message"
            );
            Err(Rejection::new(RejectCode::Unroutable, reason))
        }
        Completion::Count(_) | Completion::All | Completion::When(_) => Ok(()),
    }
}

/// What the recipients get: their replies are for the gather.
fn without_reply_to(content: &Content) -> Content {
    let mut fields = content.header.to_map();
    if fields.shift_remove("reply_to").is_none() {
        return content.clone();
    }
    let header = Header::from_map(fields, || content.id().clone());
    let header = header.unwrap_or_else(|_| content.header.clone());
    Content { header, payload: content.payload.clone() }
}

/// By its name and id: the same id may be asked of two gathers.
fn key_of(request: &GatherRequest) -> ProcessKey {
    let name = request.gather.as_ref().map_or("", |name| name.as_str());
    let id = ProcessId::new(&format!("{name} {}", request.content.id()));
    ProcessKey {
        kind: ProcessKind::Gather,
        id: id.expect("a name and an id fit, and have no control characters"),
    }
}

/// The name in such a key.
pub(super) fn name_of(key: &ProcessKey) -> Option<GatherName> {
    GatherName::new(key.id.as_str().split_once(' ')?.0).ok()
}
