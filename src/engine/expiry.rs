//! Messages whose time is over go to the dead-letter queue, and their queue goes on (design.md rule 5).
//!
//! Looked at are the head of each queue, what has failed and is set aside where messages may overtake, and what is about
//! to be handed out; what waits behind these has no turn yet. A head needs no worker for that: if its content is not in
//! RAM, it is read once to know its time, and once more when that is over. An operator's hand comes first: nothing expires
//! while it is edited, nor in a paused queue, nor after somebody said that it is to be tried again.

use std::sync::Arc;

use crate::model::{Header, MessageRecord, MessageState, Seq, StoredMessage, Timestamp, WorkError};

use super::dead_letter::Reason;
use super::queue::Queue;
use super::queues::QueueIndex;
use super::timer::Timer;
use super::uncommon::Peeked;
use super::window::Entry;
use super::{Effect, Effects, Engine};

/// Read at once from a head on: where one has expired, those behind it mostly have too.
const PEEK_MESSAGES: usize = 64;
const PEEK_BYTES: usize = 1024 * 1024;
/// The error of a message that has expired and can't be dead-lettered.
const EXPIRED: &str = "expired";

/// When a message's time is over.
enum Expiry {
    Never,
    At(Timestamp),
    /// It must be read, not before then.
    Unknown(Timestamp),
}

impl Engine {
    /// Until when a message of a queue is of use. In a dead-letter queue that is for ever.
    pub(super) fn expiry_of(
        &self,
        at: QueueIndex,
        accepted_at: Timestamp,
        header: &Header,
    ) -> Option<Timestamp> {
        let record = &self.queue(at).record;
        let expiry = header.timing().expiry(accepted_at, record.settings.ttl_ms)?;
        (!self.is_dead_letter_queue(&record.name)).then_some(expiry)
    }

    /// Sets the queue's alarm to the time when something of it is due or has expired.
    pub(super) fn watch(&mut self, at: QueueIndex) {
        let next = if self.stopping { None } else { self.next_alarm(at) };
        let before = self.queue(at).uncommon.alarm;
        if next == before {
            return;
        }
        if let Some(before) = before {
            self.timers.cancel(before, Timer::Alarm(at));
        }
        if let Some(next) = next {
            self.timers.set(next, Timer::Alarm(at));
        }
        self.queue_mut(at).uncommon.change().alarm = next;
    }

    /// The timer has fired.
    pub(super) fn alarm_over(&mut self, at: QueueIndex) {
        let now = self.now;
        let queue = self.queue_mut(at);
        if let Some(uncommon) = queue.uncommon.there() {
            uncommon.alarm = None;
        }
        queue.wake(now);
    }

    fn next_alarm(&self, at: QueueIndex) -> Option<Timestamp> {
        let queue = self.queue(at);
        let due = queue.next_due(self.now);
        let can_expire = queue.record.paused.is_none() && queue.uncommon.peeking.is_none();
        let expiry = can_expire.then(|| self.next_expiry(at)).flatten();
        due.into_iter().chain(expiry).min()
    }

    fn next_expiry(&self, at: QueueIndex) -> Option<Timestamp> {
        let head = match self.head_expiry(at) {
            Some((_, Expiry::At(time) | Expiry::Unknown(time))) => Some(time),
            Some((_, Expiry::Never)) | None => None,
        };
        let aside = self.queue(at).uncommon.expiring.first().map(|&(time, _)| time);
        head.into_iter().chain(aside).min()
    }

    /// The head, unless a worker has it or somebody edits it, and when its time is over.
    fn head_expiry(&self, at: QueueIndex) -> Option<(Seq, Expiry)> {
        let queue = self.queue(at);
        let seq = queue.head()?;
        let record = queue.records().get(&seq);
        if queue.in_flight.has(seq) || record.is_some_and(stays) || queue.holds().contains_key(&seq)
        {
            return None;
        }
        let ttl_ms = queue.record.settings.ttl_ms;
        if ttl_ms == 0 && !queue.record.has_ttl && record.is_none_or(|it| it.expires.is_none()) {
            return Some((seq, Expiry::Never));
        }
        if self.is_dead_letter_queue(&queue.record.name) {
            return None;
        }
        let in_ram = queue.window.get(seq).filter(|entry| !entry.unreadable).map(|entry| {
            let timing = Some(entry.content.header.timing());
            Peeked { seq, accepted_at: entry.accepted_at, timing }
        });
        let expiry = match in_ram.or_else(|| queue.uncommon.peeked.filter(|it| it.seq == seq)) {
            Some(Peeked { timing: None, .. }) => Expiry::Never,
            Some(Peeked { accepted_at, timing: Some(timing), .. }) => {
                timing.expiry(accepted_at, ttl_ms).map_or(Expiry::Never, Expiry::At)
            }
            None if queue.record.has_ttl => Expiry::Unknown(self.now),
            None => {
                let accepted_at = queue.oldest_at().unwrap_or(self.now);
                Expiry::Unknown(accepted_at.plus_ms(ttl_ms).max(self.now))
            }
        };
        Some((seq, expiry))
    }

    /// Sends what has expired away, as far as it is in RAM; the rest is read first.
    pub(super) fn expire(&mut self, at: QueueIndex, out: &mut Effects) {
        while let Some(seq) = self.first_expired(at) {
            let queue = self.queue(at);
            if queue.uncommon.peeking.is_some() {
                return;
            }
            let Some(entry) = queue.window.get(seq).filter(|entry| !entry.unreadable) else {
                return self.peek(at, seq, out);
            };
            let entry = Entry { content: Arc::clone(&entry.content), ..*entry };
            if !self.expire_entry(at, entry, out) {
                return;
            }
        }
    }

    /// The first message that has expired, or must be read to know.
    fn first_expired(&mut self, at: QueueIndex) -> Option<Seq> {
        let now = self.now;
        if self.queue(at).record.paused.is_some() {
            return None;
        }
        if let Some((seq, Expiry::At(time) | Expiry::Unknown(time))) = self.head_expiry(at)
            && time <= now
        {
            return Some(seq);
        }
        let queue = self.queue_mut(at);
        while let Some(&(time, seq)) = queue.uncommon.expiring.first().filter(|it| it.0 <= now) {
            if queue.may_expire_aside(seq) {
                return Some(seq);
            }
            queue.uncommon.change().expiring.remove(&(time, seq));
        }
        None
    }

    fn peek(&mut self, at: QueueIndex, from: Seq, out: &mut Effects) {
        let queue = self.queue_mut(at);
        queue.uncommon.change().peeking = Some(from);
        out.effects.push(Effect::Load {
            queue: queue.record.id,
            from,
            max_messages: PEEK_MESSAGES,
            max_bytes: PEEK_BYTES,
        });
    }

    /// The store's answer to such a read. What was saved meanwhile is read again.
    pub(super) fn peek_loaded(
        &mut self,
        at: QueueIndex,
        from: Seq,
        messages: &[StoredMessage],
        out: &mut Effects,
    ) {
        if self.queue(at).uncommon.peeking != Some(from) {
            return;
        }
        let queue = self.queue_mut(at);
        let parts = queue.uncommon.change();
        parts.peeking = None;
        parts.expiring.retain(|&(_, seq)| seq != from);
        if messages.first().is_none_or(|message| message.seq != from) && queue.is_unfinished(from) {
            // The store and the engine disagree: the queue stands, as with other loads.
            queue.peeked(from, Timestamp(0), None);
        }
        for message in messages {
            let queue = self.queue_mut(at);
            let seq = message.seq;
            if !queue.is_unfinished(seq) {
                continue;
            }
            let is_old = message.record.as_ref().map(|record| record.revision).unwrap_or_default()
                != queue.revision_of(seq);
            if seq != from && queue.head() != Some(seq) || is_old && message.unreadable.is_none() {
                break;
            }
            let timing = message.content.header.timing();
            let timing = message.unreadable.is_none().then_some(timing);
            queue.peeked(seq, message.accepted_at, timing);
            let (accepted_at, content) = (message.accepted_at, Arc::clone(&message.content));
            let entry = Entry { seq, accepted_at, content, unreadable: timing.is_none() };
            if !self.expire_entry(at, entry, out) {
                break;
            }
        }
        self.offer(at, out);
    }

    /// A message is about to be handed out: whether it went to the dead-letter queue instead, or blocked.
    pub(super) fn expire_head_in_ram(
        &mut self,
        at: QueueIndex,
        seq: Seq,
        out: &mut Effects,
    ) -> bool {
        let queue = self.queue(at);
        let Some(entry) = queue.window.get(seq) else { return false };
        let entry = Entry { content: Arc::clone(&entry.content), ..*entry };
        self.expire_entry(at, entry, out)
    }

    /// Sends a message away if its time is over and nobody else has it; whether it went, or blocked since it can't go.
    fn expire_entry(&mut self, at: QueueIndex, entry: Entry, out: &mut Effects) -> bool {
        let seq = entry.seq;
        let queue = self.queue(at);
        let record = queue.records().get(&seq);
        let stays = entry.unreadable
            || queue.in_flight.has(seq)
            || queue.holds().contains_key(&seq)
            || record.is_some_and(stays);
        if stays {
            return false;
        }
        let Some(expiry) = self.expiry_of(at, entry.accepted_at, &entry.content.header) else {
            return false;
        };
        if expiry > self.now {
            let queue = self.queue_mut(at);
            if queue.may_expire_aside(seq) {
                queue.uncommon.change().expiring.insert((expiry, seq));
            }
            return false;
        }
        let mut record = record.cloned();
        let id = entry.content.id().clone();
        if let Some(record) = &mut record {
            queue.note_order(record, &entry.content.header);
        }
        let header = Arc::clone(&entry.content);
        let Err(why) = self.dead_letter(at, entry, record.as_ref(), Reason::Expired, out) else {
            return true;
        };
        let mut record = record.unwrap_or_default();
        self.queue(at).note_order(&mut record, &header.header);
        record.last_error = Some(WorkError::new(
            EXPIRED,
            format!("it expired at {expiry}, and can't be dead-lettered: {why}"),
        ));
        self.block(at, (seq, id), record, None, out);
        true
    }
}

/// Whether a message doesn't expire, whatever the time: an operator decides, or has decided.
fn stays(record: &MessageRecord) -> bool {
    let has_expired = record.last_error.as_ref().is_some_and(|error| error.code == EXPIRED);
    record.retried
        || record.state == MessageState::Cancelled
        || record.state == MessageState::Blocked && has_expired
}

impl Queue {
    /// What is known of the time of the queue's head.
    pub(super) fn peeked(
        &mut self,
        seq: Seq,
        accepted_at: Timestamp,
        timing: Option<crate::model::Timing>,
    ) {
        self.uncommon.change().peeked = Some(Peeked { seq, accepted_at, timing });
    }

    /// Notes when a message that is set aside expires; in order that is the head, which is looked at anyway.
    pub(super) fn note_expiring(&mut self, seq: Seq) {
        if !self.may_expire_aside(seq) {
            return;
        }
        if let Some(expires) = self.records().get(&seq).and_then(|record| record.expires) {
            self.uncommon.change().expiring.insert((expires, seq));
        }
    }

    /// The same for all: the queue is new in RAM, or has another order.
    pub(super) fn note_all_expiring(&mut self) {
        let aside = self.records().iter().filter(|(_, record)| record.expires.is_some());
        for seq in aside.map(|(&seq, _)| seq).collect::<Vec<_>>() {
            self.note_expiring(seq);
        }
    }

    fn may_expire_aside(&self, seq: Seq) -> bool {
        let is_aside = |record: &MessageRecord| match record.state {
            MessageState::Waiting | MessageState::Blocked => !stays(record),
            MessageState::Scheduled
            | MessageState::Ready
            | MessageState::Leased
            | MessageState::Done
            | MessageState::Cancelled => false,
        };
        self.convoy.is_some()
            && self.records().get(&seq).is_some_and(is_aside)
            && !self.holds().contains_key(&seq)
            && !self.in_flight.has(seq)
    }
}
