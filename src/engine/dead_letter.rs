//! Dead letters: messages that leave their queue for another, with a reason (design.md rules 4 and 5).
//!
//! A message whose worker rejects it (`rejected`), or whose attempts are used up in a queue with `on_failure =
//! "dead-letter"` (`attempts`), goes in the commit of its failure. If its dead-letter queue can't take it, it blocks. A
//! queue with `overflow = "dead-letter-oldest"` takes a message that goes
//! beyond its bounds, and its oldest go to its dead-letter queue, each in one commit with its arrival there.
//! Oldest is what it says, a blocked head too; only what a worker has or an operator edits stays. A
//! dead-letter queue never does this itself: when it is full, the queues before it refuse as others do.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::{
    Content, Finish, Header, MessageId, MessageRecord, MessageState, MovedTo, Notice, Overflow,
    QueueName, QueueSettings, RejectCode, Rejection, Seq, StoredMessage, WorkError, limits,
};

use super::queue::Queue;
use super::queues::QueueIndex;
use super::reply::Ended;
use super::request::CallEnd;
use super::window::Entry;
use super::{Effect, Effects, Engine};

/// Why a message is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its queue was full.
    MaxLength,
    /// Its worker asked for it.
    Rejected,
    /// Its attempts are used up.
    Attempts,
    /// An operator asked for it.
    Operator,
    /// Its time is over.
    Expired,
}

impl Reason {
    /// As it stands in the header's `dead_letter.reason`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::MaxLength => "max-length",
            Self::Rejected | Self::Operator => "rejected",
            Self::Attempts => "attempts",
            Self::Expired => "expired",
        }
    }

    /// For callers that wait.
    const fn told(self) -> &'static str {
        match self {
            Self::MaxLength => "its queue was full",
            Self::Rejected => "its worker rejected it",
            Self::Attempts => "its attempts are used up",
            Self::Operator => "an operator dead-lettered it",
            Self::Expired => "it expired before it was done",
        }
    }
}

/// What `dead_letter` is in the settings unless it is set: such queues' dead-letter queues are known by their names.
const BY_NAME: &str = "{queue}.dead";
/// Messages, and their bytes, that a queue may hold beyond its bounds while its oldest are read from the store
/// to be moved: a few reads' worth. Beyond, producers are refused.
const MAX_UNSHED: u64 = 1_024;
const MAX_UNSHED_BYTES: u64 = 32 * 1024 * 1024;
/// When a producer may try again then, in milliseconds: after a read or two.
const UNSHED_RETRY_MS: u64 = 100;
/// Places finished behind one that stays (leased, or edited): each is kept in RAM and in the store until that
/// one is at its end.
const MAX_FINISHED_AHEAD: usize = 1_024;
/// What is read at once to be moved.
const SHED_MESSAGES: usize = 64;
const SHED_BYTES: usize = 1024 * 1024;
/// How much of the last error goes into the header, in bytes: a header has a bound.
pub(super) const ERROR_BYTES: usize = 256;

/// By how much a request would go beyond a queue's bounds.
#[derive(Debug)]
pub(super) struct Beyond {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Messages in the queue then.
    pub(super) depth: u64,
    /// For people: which bound.
    pub(super) reason: String,
}

impl Engine {
    /// A queue makes its target a dead-letter queue, whether that is there yet or not: a worker may always reject.
    pub(super) fn note_dead_letters(&mut self, at: QueueIndex) {
        let record = &self.queue(at).record;
        if record.settings.dead_letter != BY_NAME
            && let Ok(target) = record.settings.dead_letter_of(&record.name)
        {
            self.dead_letter_queues.insert(target);
        }
    }

    /// Whether dead letters of another queue go there.
    pub(super) fn is_dead_letter_queue(&self, name: &QueueName) -> bool {
        let before = name.as_str().strip_suffix(BY_NAME.trim_start_matches("{queue}"));
        let before = before.and_then(|before| self.queue_named(&QueueName::new(before).ok()?));
        let by_name = |queue: &Queue| queue.record.settings.dead_letter == BY_NAME;
        self.dead_letter_queues.contains(name) || before.is_some_and(by_name)
    }

    /// Whether a queue may go beyond its bounds because its oldest make room.
    pub(super) fn admit_beyond(
        &self,
        name: &QueueName,
        settings: &QueueSettings,
        beyond: &Beyond,
    ) -> Result<(), Rejection> {
        let full = |reason: String, retry_ms| {
            Err(Rejection::new(RejectCode::Full, reason).retry_after(retry_ms))
        };
        let reason = &beyond.reason;
        let queue = self.queue_named(name);
        match settings.overflow {
            Overflow::Reject => return full(reason.clone(), super::send::FULL_RETRY_MS),
            Overflow::DeadLetterOldest => {}
        }
        if let Err(why) = self.has_dead_letter_room(name, settings) {
            return full(format!("{reason}, and {why}"), super::send::FULL_RETRY_MS);
        }
        let stays = queue.map_or(0, Queue::staying);
        if beyond.messages >= beyond.depth.saturating_sub(stays)
            || queue.is_some_and(|queue| queue.finished_ahead() >= MAX_FINISHED_AHEAD)
        {
            let reason = format!("{reason}, and its oldest are being worked on or edited");
            return full(reason, super::send::FULL_RETRY_MS);
        }
        if beyond.messages > MAX_UNSHED || beyond.bytes > MAX_UNSHED_BYTES {
            return full(format!("{reason}, and its oldest are just being moved"), UNSHED_RETRY_MS);
        }
        Ok(())
    }

    /// Where a finished message is, if it was dead-lettered lately.
    pub(super) fn dead_letter_place(
        &self,
        at: QueueIndex,
        seq: Seq,
        id: &MessageId,
    ) -> Option<(QueueIndex, Seq)> {
        let queue = self.queue(at);
        if queue.is_unfinished(seq) {
            return None;
        }
        let target = queue.record.settings.dead_letter_of(&queue.record.name).ok()?;
        let at = self.queues.by_name(&target)?;
        Some((at, self.queue(at).dedup.find(id)?))
    }

    /// Why nothing can be dead-lettered from a queue now.
    pub(super) fn has_dead_letter_room(
        &self,
        name: &QueueName,
        settings: &QueueSettings,
    ) -> Result<(), String> {
        if self.is_dead_letter_queue(name) {
            return Err("it is a dead-letter queue itself".to_owned());
        }
        let target = settings.dead_letter_of(name)?;
        let queue = self.queue_named(&target);
        if queue.is_none() && self.queues.len() >= self.max_queues {
            return Err(format!("its dead-letter queue {target} can't be made: too many queues"));
        }
        let bounds = queue.map_or_else(
            || self.template(&target).cloned().unwrap_or_default(),
            |queue| Arc::clone(&queue.record.settings),
        );
        self.refuse_unreachable(&bounds).map_err(|refused| refused.reason)?;
        if queue.is_some_and(|queue| queue.record.draining.is_some()) {
            return Err(format!("its dead-letter queue {target} is drained"));
        }
        let (depth, bytes) = queue.map_or((0, 0), |queue| (queue.depth(), queue.bytes));
        let is_full = bounds.message_bound().is_some_and(|max| depth >= max)
            || bounds.byte_bound().is_some_and(|max| bytes >= max);
        if is_full {
            return Err(format!("its dead-letter queue {target} is full"));
        }
        Ok(())
    }

    /// Moves the oldest of a queue that is beyond its bounds to its dead-letter queue; what is not in RAM is
    /// read first.
    pub(super) fn shed(&mut self, at: QueueIndex, out: &mut Effects) {
        while let Some(seq) = self.next_to_shed(at) {
            let Some(entry) = self.queue(at).window.get(seq) else {
                return self.load_to_shed(at, seq, out);
            };
            if entry.unreadable {
                return;
            }
            let entry = Entry { content: Arc::clone(&entry.content), ..*entry };
            if self.dead_letter(at, entry, None, Reason::MaxLength, out).is_err() {
                return;
            }
        }
    }

    /// The oldest message that may go, if the queue is beyond its bounds.
    fn next_to_shed(&self, at: QueueIndex) -> Option<Seq> {
        let queue = self.queue(at);
        let settings = &queue.record.settings;
        match settings.overflow {
            Overflow::Reject => return None,
            Overflow::DeadLetterOldest if self.stopping => return None,
            Overflow::DeadLetterOldest => {}
        }
        let is_beyond = settings.message_bound().is_some_and(|max| queue.depth() > max)
            || settings.byte_bound().is_some_and(|max| queue.bytes > max);
        if !is_beyond || queue.finished_ahead() >= MAX_FINISHED_AHEAD {
            return None;
        }
        let mut seq = queue.head()?;
        while seq < queue.next_seq {
            let stays = !queue.is_unfinished(seq)
                || queue.holds().contains_key(&seq)
                || match queue.state_of(seq, self.now) {
                    MessageState::Leased | MessageState::Cancelled | MessageState::Done => true,
                    MessageState::Scheduled
                    | MessageState::Ready
                    | MessageState::Waiting
                    | MessageState::Blocked => false,
                };
            if !stays {
                return Some(seq);
            }
            seq = queue.first_unfinished(seq.next());
        }
        None
    }

    fn load_to_shed(&mut self, at: QueueIndex, from: Seq, out: &mut Effects) {
        let queue = self.queue_mut(at);
        if queue.uncommon.shedding.is_none() {
            queue.uncommon.change().shedding = Some(from);
            out.effects.push(Effect::Load {
                queue: queue.record.id,
                from,
                max_messages: SHED_MESSAGES,
                max_bytes: SHED_BYTES,
            });
        }
    }

    /// The store's answer to a read of what is to be moved. What was saved or taken meanwhile is read again; what
    /// can't be read, or not be moved now, is tried again when the next message comes.
    pub(super) fn shed_loaded(
        &mut self,
        at: QueueIndex,
        from: Seq,
        messages: &[StoredMessage],
        out: &mut Effects,
    ) {
        if self.queue(at).uncommon.shedding != Some(from) {
            return;
        }
        self.queue_mut(at).uncommon.change().shedding = None;
        let mut goes_on = !messages.is_empty();
        for message in messages {
            // One that stayed when the read began may be the oldest now: it is read first.
            let Some(seq) = self.next_to_shed(at).filter(|&seq| seq >= from) else { break };
            if message.seq < seq {
                continue;
            }
            let revision = message.record.as_ref().map(|record| record.revision);
            if message.seq == seq && revision.unwrap_or_default() != self.queue(at).revision_of(seq)
            {
                break;
            }
            let content = Arc::clone(&message.content);
            let accepted_at = message.accepted_at;
            let entry = Entry { seq, accepted_at, content, unreadable: false };
            goes_on = message.seq == seq
                && message.unreadable.is_none()
                && self.dead_letter(at, entry, None, Reason::MaxLength, out).is_ok();
            if !goes_on {
                break;
            }
        }
        if goes_on {
            self.shed(at, out);
        }
        self.offer(at, out);
    }

    /// Moves one message, whose newest record may not be kept yet; or says why its dead-letter queue can't take it
    /// now.
    pub(super) fn dead_letter(
        &mut self,
        at: QueueIndex,
        entry: Entry,
        newest: Option<&MessageRecord>,
        reason: Reason,
        out: &mut Effects,
    ) -> Result<MovedTo, String> {
        let record = self.queue(at).record.clone();
        self.has_dead_letter_room(&record.name, &record.settings)?;
        let target = record.settings.dead_letter_of(&record.name)?;
        let target_at = self.make_if_absent(&target, out);
        let (seq, accepted_at) = (entry.seq, entry.accepted_at);
        let request = Arc::clone(&entry.content);
        let newest = newest.or_else(|| self.queue(at).records().get(&seq));
        // What its worker said of it, for who waits.
        let last = newest.and_then(|record| record.last_error.as_ref());
        let detail = last.map(|error| format!("{}: {}", error.code, error.message));
        let content = self.dead(at, &entry, newest, reason.as_str());
        let id = entry.content.id().clone();
        let to_seq = self.append(target_at, content, None, out);
        self.retire_entry(at, entry, Finish::DeadLettered, out);
        out.effects.push(Effect::Notice(Box::new(Notice::DeadLettered {
            queue: record.name,
            seq: Some(seq),
            topic: None,
            id,
            reason: reason.as_str().to_owned(),
            to: target.clone(),
            to_seq,
        })));
        let error = WorkError {
            code: reason.as_str().to_owned(),
            message: format!("{}; it is in {target}", reason.told()),
            detail: detail.unwrap_or_default(),
        };
        let end = CallEnd::without_reply(crate::model::CallStatus::Failed, error);
        let ended = Ended { at, seq, accepted_at, content: &request, cancelled: None };
        self.end_message(ended, end, out);
        self.touch(at);
        self.offer(target_at, out);
        Ok(MovedTo { queue: target, seq: to_seq })
    }

    /// The message with where it comes from and why in its header.
    fn dead(
        &self,
        at: QueueIndex,
        entry: &Entry,
        record: Option<&MessageRecord>,
        reason: &str,
    ) -> Content {
        let before = entry.content.header.dead_letter().unwrap_or_default();
        let times = before.get("count").and_then(Value::as_u64).unwrap_or(0);
        let mut now = Map::from_iter([
            ("queue".to_owned(), json!(self.queue(at).record.name.as_str())),
            ("seq".to_owned(), json!(entry.seq.0)),
            ("reason".to_owned(), json!(reason)),
            ("at".to_owned(), json!(self.now.to_string())),
            ("attempts".to_owned(), json!(record.map_or(0, |record| record.attempts))),
            ("count".to_owned(), json!(times.saturating_add(1))),
        ]);
        let failures = record.map(|record| &record.failures);
        let first = failures.and_then(|failures| failures.front()).map(|first| text(&first.error));
        let last = record.and_then(|record| record.last_error.as_ref()).map(text);
        let earlier = before.get("first_error").or_else(|| before.get("error")).cloned();
        let first = earlier.or_else(|| first.or_else(|| last.clone()).map(Value::String));
        now.extend(first.map(|first| ("first_error".to_owned(), first)));
        now.extend(last.map(|last| ("error".to_owned(), Value::String(last))));
        marked(&entry.content, Value::Object(now))
    }
}

/// An error as it stands in a header.
fn text(error: &WorkError) -> String {
    let mut text = format!("{}: {}", error.code, error.message);
    limits::clip(&mut text, ERROR_BYTES);
    text
}

/// The message with why it is a dead letter in its header. A header that has no room for that stays as it is.
pub(super) fn marked(content: &Content, came_from: Value) -> Content {
    let header = &content.header;
    let mut fields = header.to_map();
    fields.insert("dead_letter".to_owned(), came_from);
    let header =
        Header::from_map(fields, || header.id().clone()).unwrap_or_else(|_| header.clone());
    Content { header, payload: content.payload.clone() }
}
