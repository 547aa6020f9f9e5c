//! Replies: put into the queue that the request's `reply_to` names, and kept for callers that come back
//! (design.md rule 9).
//!
//! At its end a message's reply goes to the callers that wait. If none does and its header has a `reply_to`, the reply is
//! a message in that queue, in the commit of the end: the worker's payload, or a failure without one. The reply queue's
//! bounds are looked at when the request is accepted, not then: a reply is never lost for want of room.
//!
//! The reply to a message that was called is kept for a while, in the same commit too: who calls again with the same id,
//! or asks STATUS for it, gets it. Who called before a restart is not known; so of a message that was accepted before
//! this run what a worker replied is kept anyhow; and so is that to a message whose header says `keep_reply`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::limits::{
    KEPT_REPLY_MS, MAX_KEPT_REPLIES, MAX_KEPT_REPLIES_BYTES, MAX_KEPT_REPLY_BYTES,
};
use crate::model::{
    CallReply, CallStatus, Content, Header, MailboxKind, MessageId, Origin, ProcessId, ProcessKey,
    ProcessKind, ProcessParts, QueueId, QueueName, RejectCode, Rejection, Seq, Timestamp,
    WorkError, reply_to,
};

use super::lined;
use super::process::ProcessNumber;
use super::queue::Queue;
use super::queues::QueueIndex;
use super::request::{CallEnd, Called, Place};
use super::send::{FULL_RETRY_MS, no_such_queue, refuse_draining};
use super::timer::{Timer, shifted_back};
use super::{Effect, Effects, Engine};

/// A message that is at its end now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended<'a> {
    pub(super) at: QueueIndex,
    pub(super) seq: Seq,
    pub(super) accepted_at: Timestamp,
    pub(super) content: &'a Content,
    /// Of one that was cancelled, and may be put back and end again: the journal's entry about it.
    pub(super) cancelled: Option<u64>,
}

#[derive(Debug)]
struct KeptReply {
    reply: CallReply,
    until: Timestamp,
    /// Its record in the store; none of a message that waited in RAM only.
    number: Option<ProcessNumber>,
}

impl KeptReply {
    fn bytes(&self) -> u64 {
        self.reply.payload.len() as u64
    }
}

/// Replies that are kept, at most `limits::MAX_KEPT_REPLIES`.
#[derive(Debug, Default)]
pub(super) struct KeptReplies {
    by_place: BTreeMap<Place, KeptReply>,
    /// The oldest first.
    places: VecDeque<Place>,
    bytes: u64,
    /// Of messages that are not at their end: their replies will not be kept. In RAM only.
    unwanted: BTreeSet<Place>,
    /// The timer for the oldest is set.
    armed: bool,
}

impl KeptReplies {
    /// The clock stepped back.
    pub(super) fn shift_back(&mut self, ms: u64) {
        for kept in self.by_place.values_mut() {
            kept.until = shifted_back(kept.until, ms);
        }
    }

    fn of_queue(&self, at: QueueIndex) -> impl Iterator<Item = Place> {
        let places = (at, Seq(0))..=(at, Seq(u64::MAX));
        self.by_place.range(places).map(|(&place, _)| place)
    }

    fn is_over_bounds(&self) -> bool {
        self.places.len() > MAX_KEPT_REPLIES || self.bytes > MAX_KEPT_REPLIES_BYTES
    }
}

/// The first line of a kept reply's record; the payload follows it.
#[derive(Serialize, Deserialize)]
struct Line {
    version: u32,
    id: MessageId,
    queue: QueueId,
    seq: Seq,
    status: CallStatus,
    error: Option<WorkError>,
    until: Timestamp,
}

/// Queues for replies that are made again are let go beyond the number of all queues by that number divided by this: a
/// bound, since requests that wait may have any number of them.
const REPLY_QUEUES_BEYOND: usize = 4;
/// The version of a record's form.
const VERSION: u32 = 1;

impl Engine {
    /// A message is at its end: all who wait for it are told, and its reply is queued or kept.
    pub(super) fn end_message(&mut self, of: Ended<'_>, end: CallEnd, out: &mut Effects) {
        let Called { told, late } = self.end_calls(of.at, of.seq, end.clone(), out);
        let may_have_been_called = of.accepted_at < self.made_at && !end.reply.is_empty();
        let is_wanted = of.content.header.keeps_reply();
        let is_unwanted = self.replies.unwanted.remove(&(of.at, of.seq));
        if !is_unwanted && (told || late || may_have_been_called || is_wanted) {
            self.keep_reply(&of, &end, out);
        }
        if !told && of.content.header.has_reply_to() {
            self.queue_reply(&of, &end, out);
        }
    }

    /// What was kept of a message's end.
    pub(super) fn kept_reply(&self, place: Place) -> Option<&CallReply> {
        self.replies.by_place.get(&place).map(|kept| &kept.reply)
    }

    /// Nobody will ask for a reply any more.
    pub(super) fn handle_forget_reply(
        &mut self,
        origin: Origin,
        queue: &QueueName,
        seq: Seq,
        out: &mut Effects,
    ) {
        if let Some(at) = self.queues.by_name(queue) {
            let queue = self.queue(at);
            // Also what is done on delivery, while a worker has it.
            let is_to_come = queue.is_unfinished(seq) || queue.in_flight.has(seq);
            // Beyond the bound the reply is kept for its time, as if nobody had said so.
            if is_to_come && self.replies.unwanted.len() < MAX_KEPT_REPLIES {
                self.replies.unwanted.insert((at, seq));
            }
            self.drop_reply((at, seq), out);
        }
        out.effects.push(Effect::Done { origin });
    }

    /// A message that has no reply has left.
    pub(super) fn forget_unwanted(&mut self, at: QueueIndex, seq: Seq) {
        self.replies.unwanted.remove(&(at, seq));
    }

    /// Replies that are kept are over.
    pub(super) fn replies_over(&mut self, out: &mut Effects) {
        self.replies.armed = false;
        while let Some(&place) = self.replies.places.front() {
            let until = self.replies.by_place.get(&place).map_or(self.now, |kept| kept.until);
            if until > self.now {
                break;
            }
            self.drop_reply(place, out);
        }
        self.arm_replies();
    }

    /// Whether the queue that a request wants its reply in is there, or can be made, and takes it; its name if it is to be
    /// made.
    pub(super) fn admit_reply_to(&self, content: &Content) -> Result<Option<QueueName>, Rejection> {
        if !content.header.has_reply_to() {
            return Ok(None);
        }
        let refuse = |code, why: String| {
            let reason = format!("header field `reply_to`: {why}");
            Rejection::new(code, reason).of(content.id().clone())
        };
        let name = reply_to(&content.header.to_map())
            .map_err(|why| refuse(RejectCode::Malformed, why.to_string()))?;
        let queue = self.queue_named(&name);
        let settings = match queue {
            Some(queue) => &queue.record.settings,
            None => self.settings_of_new(&name).ok_or_else(|| {
                let refused = no_such_queue(&name);
                refuse(refused.code, refused.reason)
            })?,
        };
        self.refuse_unreachable(settings)
            .and_then(|()| queue.map_or(Ok(()), refuse_draining))
            .map_err(|refused| refuse(refused.code, refused.reason).retry_after(FULL_RETRY_MS))?;
        let depth = queue.map_or(0, Queue::depth);
        let bytes = queue.map_or(0, |queue| queue.bytes);
        if settings.message_bound().is_some_and(|max| depth >= max)
            || settings.byte_bound().is_some_and(|max| bytes >= max)
        {
            let full = refuse(RejectCode::Full, format!("queue {name} is full"));
            return Err(full.retry_after(FULL_RETRY_MS));
        }
        if queue.is_none() {
            let full = self.admit_new([&name]);
            full.map_err(|it| refuse(it.code, it.reason).retry_after(FULL_RETRY_MS))?;
        }
        Ok(queue.is_none().then_some(name))
    }

    /// Makes the queue that a request wants its reply in, with the request: so nobody makes more queues than there may be.
    pub(super) fn make_reply_queue(&mut self, content: &Content, out: &mut Effects) {
        if !content.header.has_reply_to() {
            return;
        }
        if let Ok(name) = reply_to(&content.header.to_map())
            && self.queues.by_name(&name).is_none()
            && self.admit_new([&name]).is_ok()
            && self.settings_of_new(&name).is_some()
        {
            self.make_if_absent(&name, out);
        }
    }

    /// Puts the reply into the queue that the request names. Who works on a dead letter doesn't reply: that it became one
    /// was the reply.
    fn queue_reply(&mut self, of: &Ended<'_>, end: &CallEnd, out: &mut Effects) {
        let queue = self.queue(of.at).record.name.clone();
        let request = of.content.header.to_map();
        let target = match reply_to(&request) {
            Ok(target) if !self.is_dead_letter_queue(&queue) => target,
            Ok(_) => return,
            // It came by another door, where nobody could be told.
            Err(_) => {
                self.late_replies = self.late_replies.saturating_add(1);
                return;
            }
        };
        // A message may be cancelled several times: each is told under an id of its own.
        let what = match (end.status, of.cancelled) {
            (CallStatus::Ok, _) => "reply".to_owned(),
            (_, Some(journal)) => format!("cancelled-{journal}"),
            (CallStatus::Failed | CallStatus::Blocked | CallStatus::Timeout, None) => {
                "failure".to_owned()
            }
        };
        let id = MessageId::new(&format!("{queue}-{}-{what}", of.seq)).expect("a name and numbers");
        let mut fields = Map::new();
        fields.insert("status".to_owned(), json!(end.status));
        if let Some(error) = &end.error {
            fields.insert("error".to_owned(), json!(error));
        }
        let header = answer_header(id, of.content.id(), &request, fields);
        self.append_reply(target, Content { header, payload: end.reply.clone() }, out);
    }

    /// Puts an answer at the end of a queue, whatever its bounds are.
    pub(super) fn append_reply(&mut self, target: QueueName, content: Content, out: &mut Effects) {
        // The request came by another door, or its queue has gone since: it is made again, though there may be no room
        // for others.
        let most = self.max_queues.saturating_add(self.max_queues / REPLY_QUEUES_BEYOND);
        if self.queues.by_name(&target).is_none() && self.queues.len() >= most {
            self.late_replies = self.late_replies.saturating_add(1);
            return;
        }
        let at = self.make_if_absent(&target, out);
        self.append(at, content, None, out);
        self.shed(at, out);
        self.offer(at, out);
    }

    fn keep_reply(&mut self, of: &Ended<'_>, end: &CallEnd, out: &mut Effects) {
        let place = (of.at, of.seq);
        let id = of.content.id().clone();
        let CallEnd { status, error, reply: payload } = end.clone();
        self.drop_reply(place, out);
        if payload.len() > MAX_KEPT_REPLY_BYTES || !self.has_process_room(payload.len()) {
            return;
        }
        let until = self.now.plus_ms(KEPT_REPLY_MS);
        let record = &self.queue(of.at).record;
        let (queue, is_durable) = (record.id, record.settings.mailbox != MailboxKind::Memory);
        let number = is_durable.then(|| {
            let error = error.clone();
            let line =
                Line { version: VERSION, id: id.clone(), queue, seq: of.seq, status, error, until };
            self.start_process(key_of(queue, of.seq), lined::write(&line, &payload), out)
        });
        let reply = CallReply { id, status, error, payload };
        self.add_reply(place, KeptReply { reply, until, number });
        while self.replies.is_over_bounds()
            && let Some(&oldest) = self.replies.places.front()
        {
            self.drop_reply(oldest, out);
        }
        self.arm_replies();
    }

    /// Whether any are kept of a queue's messages.
    pub(super) fn has_kept_replies(&self, at: QueueIndex) -> bool {
        self.replies.of_queue(at).next().is_some()
    }

    pub(super) fn drop_replies_of(&mut self, at: QueueIndex, out: &mut Effects) {
        self.replies.unwanted.retain(|place| place.0 != at);
        for place in self.replies.of_queue(at).collect::<Vec<_>>() {
            self.drop_reply(place, out);
        }
    }

    fn add_reply(&mut self, place: Place, kept: KeptReply) {
        self.replies.bytes = self.replies.bytes.saturating_add(kept.bytes());
        self.replies.places.push_back(place);
        self.replies.by_place.insert(place, kept);
    }

    fn drop_reply(&mut self, place: Place, out: &mut Effects) {
        let Some(kept) = self.replies.by_place.remove(&place) else { return };
        self.replies.bytes = self.replies.bytes.saturating_sub(kept.bytes());
        if self.replies.places.front() == Some(&place) {
            self.replies.places.pop_front();
        } else {
            self.replies.places.retain(|&other| other != place);
        }
        if let Some(number) = kept.number {
            self.end_process(number, out);
        }
    }

    /// The timer for the oldest.
    fn arm_replies(&mut self) {
        let oldest = self.replies.places.front().and_then(|place| self.replies.by_place.get(place));
        if let Some(kept) = oldest.filter(|_| !self.replies.armed) {
            self.timers.set(kept.until, Timer::RepliesOver);
            self.replies.armed = true;
        }
    }

    /// A kept reply out of its record; `false` if it can't be read.
    pub(super) fn recover_reply(&mut self, number: ProcessNumber, parts: &ProcessParts) -> bool {
        let Some((line, payload)) = parts.get(&0).and_then(Line::read) else { return false };
        let Some(at) = self.queues.by_id(line.queue) else { return false };
        let Line { id, seq, status, error, until, .. } = line;
        let reply = CallReply { id, status, error, payload };
        self.add_reply((at, seq), KeptReply { reply, until, number: Some(number) });
        true
    }

    /// All kept replies are recovered.
    pub(super) fn order_replies(&mut self) {
        let replies = &mut self.replies;
        let until = |place: &Place| replies.by_place.get(place).map(|kept| kept.until);
        replies.places.make_contiguous().sort_by_key(|place| (until(place), *place));
        self.arm_replies();
    }
}

impl Line {
    fn read(record: &Bytes) -> Option<(Self, Bytes)> {
        lined::read(record).filter(|(line, _): &(Self, Bytes)| line.version == VERSION)
    }
}

fn key_of(queue: QueueId, seq: Seq) -> ProcessKey {
    let id = ProcessId::new(&format!("{queue} {seq}")).expect("two numbers");
    ProcessKey { kind: ProcessKind::Reply, id }
}

/// An answer's own header: what it answers, and how that ended. `id` is made of the request's place, so that it is the
/// same however often the answer is made; a failure's is another one, since an operator may bring the message back.
pub(super) fn answer_header(
    id: MessageId,
    request_id: &MessageId,
    request: &Map<String, Value>,
    about: Map<String, Value>,
) -> Header {
    let mut fields = Map::new();
    fields.insert("id".to_owned(), id.as_str().into());
    let request_id = Value::from(request_id.as_str());
    let correlation = request.get("correlation_id").cloned().unwrap_or_else(|| request_id.clone());
    fields.insert("correlation_id".to_owned(), correlation);
    fields.insert("causation_id".to_owned(), request_id);
    fields.extend(about);
    for carried in ["key", "traceparent", "tracestate"] {
        if let Some(value) = request.get(carried) {
            fields.insert(carried.to_owned(), value.clone());
        }
    }
    // The request's own header may be nearly as long as a header may be.
    for dropped in
        ["error", "missing", "key", "tracestate", "traceparent", "causation_id", "correlation_id"]
    {
        if let Ok(header) = Header::from_map(fields.clone(), || id.clone()) {
            return header;
        }
        fields.remove(dropped);
    }
    Content::placeholder(&id).header
}
