//! Accepting messages: all of a request or none.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::model::{
    Accepted, Actor, Content, JournalKind, MailboxKind, MessageId, Op, Origin, PauseRecord,
    QueueName, QueueRecord, QueueSettings, RejectCode, Rejection, Seq, StreamEntry,
};

use super::dead_letter::Beyond;
use super::event::CallSpec;
use super::journal::Entry;
use super::queue::Queue;
use super::queues::QueueIndex;
use super::request::draining;
use super::tally::Counted;
use super::window;
use super::{Effect, Effects, Engine};

/// When a producer that met a full queue may try again, in milliseconds: about what an operator or a
/// worker needs to make room, and rare enough not to be a load.
pub(super) const FULL_RETRY_MS: u64 = 1_000;

impl Engine {
    pub(super) fn handle_send(
        &mut self,
        origin: Origin,
        messages: Vec<(QueueName, Content)>,
        call: Option<CallSpec>,
        out: &mut Effects,
    ) {
        if let Err(rejection) = self.admit(&messages, call.is_some()) {
            return out.effects.push(Effect::Rejected { origin, rejection });
        }
        let mut accepted = Vec::with_capacity(messages.len());
        for (name, content) in messages {
            let (at, one) = self.accept_into(name, content, out);
            match call {
                Some(spec) => {
                    self.attach_call(origin, at, one.seq, one.id.clone(), spec, out);
                }
                None => accepted.push(one),
            }
            self.shed(at, out);
            self.offer(at, out);
        }
        if call.is_none() {
            out.effects.push(Effect::Accepted { origin, accepted });
        }
    }

    /// Puts a message that was admitted at the end of its queue, which is made if it isn't there.
    pub(super) fn accept_into(
        &mut self,
        name: QueueName,
        content: Content,
        out: &mut Effects,
    ) -> (QueueIndex, Accepted) {
        let at = self.make_if_absent(&name, out);
        (at, self.accept(at, content, None, out))
    }

    /// The queue that something goes to; it is made if it isn't there, with the default settings if no template makes it.
    pub(super) fn make_if_absent(&mut self, name: &QueueName, out: &mut Effects) -> QueueIndex {
        self.queues.by_name(name).unwrap_or_else(|| {
            let settings = self.settings_of_new(name).cloned().unwrap_or_default();
            self.make_queue(name.clone(), settings, Actor::broker(), out)
        })
    }

    /// Puts a message at its queue's end, unless it is a duplicate. `entry` is set if it is in the queue's
    /// stream.
    pub(super) fn accept(
        &mut self,
        at: QueueIndex,
        content: Content,
        entry: Option<Box<StreamEntry>>,
        out: &mut Effects,
    ) -> Accepted {
        self.touch(at);
        let now = self.now;
        let queue = self.queue_mut(at);
        let id = content.id().clone();
        let name = queue.record.name.clone();
        if let Some(seq) = queue.duplicate_of(&id, now) {
            self.count(at, Counted::Duplicate);
            return Accepted { id, queue: name, seq, duplicate: true };
        }
        self.make_reply_queue(&content, out);
        let seq = self.append(at, content, entry, out);
        Accepted { id, queue: name, seq, duplicate: false }
    }

    /// Puts a message at its queue's end, whatever its id is, and returns its place.
    pub(super) fn append(
        &mut self,
        at: QueueIndex,
        content: Content,
        entry: Option<Box<StreamEntry>>,
        out: &mut Effects,
    ) -> Seq {
        let bounds = self.bounds;
        let now = self.now;
        self.touch(at);
        self.count(at, Counted::Accepted);
        let (queue, budget) = self.queue_and_budget(at);
        let id = content.id().clone();
        let seq = queue.append(now, content.size_bytes());
        queue.dedup.insert(&id, seq);
        if queue.mark_time(seq, now) {
            out.ops.push(Op::PutQueue(Box::new(queue.record.clone())));
        }
        let content = Arc::new(content);
        let timing = content.header.timing();
        if timing.has_ttl() && !queue.record.has_ttl {
            queue.record.has_ttl = true;
            out.ops.push(Op::PutQueue(Box::new(queue.record.clone())));
        }
        let may_expire = queue.record.has_ttl || queue.record.settings.ttl_ms > 0;
        if may_expire && queue.head() == Some(seq) {
            queue.peeked(seq, now, Some(timing));
        }
        // One that was refused goes through the store like others that can't be delivered.
        let deliverable = entry.as_ref().is_none_or(|entry| entry.refused.is_none());
        let taken = deliverable
            && queue.is_warm()
            && queue.window.takes(seq, &content, bounds, budget.room());
        let known = window::Entry {
            seq,
            accepted_at: now,
            content: Arc::clone(&content),
            unreadable: false,
        };
        out.ops.push(Op::Append { queue: queue.record.id, seq, at: now, content, entry });
        if taken {
            queue.take_in(known, now, bounds, budget);
        } else if deliverable && let Some(record) = queue.take_urgent(known, now, bounds, budget) {
            self.put_record(at, seq, record, out);
        }
        seq
    }

    /// Whether all messages can be accepted. Nothing is changed.
    pub(super) fn admit(
        &self,
        messages: &[(QueueName, Content)],
        is_call: bool,
    ) -> Result<(), Rejection> {
        self.admit_all(messages, is_call, |queue, id| queue.duplicate_of(id, self.now).is_some())
    }

    /// The same for messages that are put in though their queues may know their ids.
    pub(super) fn admit_moved(&self, messages: &[(QueueName, Content)]) -> Result<(), Rejection> {
        self.admit_all(messages, false, |_, _| false)
    }

    fn admit_all(
        &self,
        messages: &[(QueueName, Content)],
        is_call: bool,
        knows: impl Fn(&Queue, &MessageId) -> bool,
    ) -> Result<(), Rejection> {
        if self.stopping {
            return Err(draining("the broker stops; send again when it is back"));
        }
        if is_call && self.calls.is_full() {
            let reason = "too many callers wait for a reply; call again later";
            return Err(Rejection::new(RejectCode::Busy, reason).retry_after(FULL_RETRY_MS));
        }
        let mut added: BTreeMap<&QueueName, Added<'_>> = BTreeMap::new();
        let mut new: BTreeSet<QueueName> = BTreeSet::new();
        for (name, content) in messages {
            let existing = self.queue_named(name);
            // Looked up only where it counts: most queues have no bounds, and most messages want no reply.
            let known = || existing.is_some_and(|queue| knows(queue, content.id()));
            if content.header.has_reply_to() && !known() {
                new.extend(self.admit_reply_to(content)?);
            }
            let settings = match existing {
                Some(queue) => &queue.record.settings,
                None => self
                    .settings_of_new(name)
                    .ok_or_else(|| no_such_queue(name).of(content.id().clone()))?,
            };
            if content.header.priority() > 0 && !settings.priority {
                return Err(no_priority(name, content.id()));
            }
            self.refuse_unreachable(settings)
                .map_err(|refused| refused.of(content.id().clone()))?;
            if let Some(reason) = &self.store_full
                && needs_disk(existing, settings, known())
            {
                let full = Rejection::new(RejectCode::Full, reason.as_str());
                return Err(full.retry_after(FULL_RETRY_MS).of(content.id().clone()));
            }
            if let Some(queue) =
                existing.filter(|queue| queue.record.draining.is_some() && !known())
            {
                refuse_draining(queue).map_err(|refused| refused.of(content.id().clone()))?;
            }
            let unbounded = settings.message_bound().is_none() && settings.byte_bound().is_none();
            if existing.is_some() && unbounded {
                continue;
            }
            if existing.is_none() {
                new.insert(name.clone());
            }
            let added = added.entry(name).or_default();
            if !unbounded && let Some(beyond) = added.count(existing, settings, content, known())? {
                self.admit_beyond(name, settings, &beyond)
                    .map_err(|full| full.of(content.id().clone()))?;
            }
        }
        self.admit_new(&new)
    }

    /// Settings for a queue that isn't there yet: those of the longest matching template.
    pub(super) fn template(&self, name: &QueueName) -> Option<&Arc<QueueSettings>> {
        self.templates.settings(name)
    }

    /// Settings for a queue that isn't there yet and that a message goes to: a template's, and the default ones
    /// for a dead-letter queue.
    pub(super) fn settings_of_new(&self, name: &QueueName) -> Option<&Arc<QueueSettings>> {
        let is_needed = || self.dead_letter_queues.contains(name);
        self.template(name).or_else(|| is_needed().then_some(&self.default_settings))
    }

    /// Makes a queue. Workers that wait for it serve it from now on.
    pub(super) fn make_queue(
        &mut self,
        name: QueueName,
        settings: Arc<QueueSettings>,
        actor: Actor,
        out: &mut Effects,
    ) -> QueueIndex {
        let line = Entry::new(JournalKind::QueueCreated, actor);
        self.make_queue_with(name, settings, Vec::new(), line, out)
    }

    /// The same with the keys of which an operator says more than the configuration, and the journal's line.
    pub(super) fn make_queue_with(
        &mut self,
        name: QueueName,
        settings: Arc<QueueSettings>,
        overrides: Vec<String>,
        line: Entry,
        out: &mut Effects,
    ) -> QueueIndex {
        let (id, first) = self.queues.next_id();
        let record = QueueRecord {
            id,
            first,
            name: name.clone(),
            settings,
            paused: None,
            draining: None,
            created_at: self.now,
            overrides: overrides.into_boxed_slice(),
            has_ttl: false,
            dedup_marks: None,
        };
        out.ops.push(Op::PutQueue(Box::new(record.clone())));
        let at = self.add_queue(Queue::empty(record, self.seed, self.now));
        self.write_journal(at, line, out);
        self.tell_schema(at, self.schema_of_template(&name), out);
        for id in self.unmade.remove(&name).unwrap_or_default() {
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.unmade.retain(|unmade| *unmade != name);
            }
            self.join_queue(id, at);
        }
        self.touch(at);
        at
    }
}

/// What a request adds to one queue.
#[derive(Debug, Default)]
pub(super) struct Added<'a> {
    messages: u64,
    bytes: u64,
    ids: HashSet<&'a MessageId>,
}

impl<'a> Added<'a> {
    /// Counts a message in, unless it is a duplicate (`known` to the queue, or here): by how much the queue is beyond its bounds then. An
    /// error if the message alone is.
    pub(super) fn count(
        &mut self,
        queue: Option<&Queue>,
        settings: &QueueSettings,
        content: &'a Content,
        known: bool,
    ) -> Result<Option<Beyond>, Rejection> {
        let id = content.id();
        let deduplicates = settings.dedup.last() > 0;
        if deduplicates && (known || !self.ids.insert(id)) {
            return Ok(None);
        }
        let size = content.size_bytes();
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        let messages = queue.map_or(0, Queue::depth).saturating_add(self.messages);
        let bytes = queue.map_or(0, |queue| queue.bytes).saturating_add(self.bytes);
        let (max_messages, max_bytes) = (settings.message_bound(), settings.byte_bound());
        if let Some(max) = max_bytes.filter(|&max| size > max) {
            let reason = format!("{size} bytes; the whole queue takes at most {max}");
            return Err(Rejection::new(RejectCode::TooLarge, reason).of(id.clone()));
        }
        let reason = if let Some(max) = max_messages.filter(|&max| messages > max) {
            format!("the queue takes at most {max} messages")
        } else if let Some(max) = max_bytes.filter(|&max| bytes > max) {
            format!("the queue takes at most {max} bytes")
        } else {
            return Ok(None);
        };
        Ok(Some(Beyond {
            messages: max_messages.map_or(0, |max| messages.saturating_sub(max)),
            bytes: max_bytes.map_or(0, |max| bytes.saturating_sub(max)),
            depth: messages,
            reason,
        }))
    }
}

/// Whether accepting a message writes it to disk: not what a memory queue keeps, nor a duplicate.
fn needs_disk(queue: Option<&Queue>, settings: &QueueSettings, known: bool) -> bool {
    queue.is_none() || (settings.mailbox != MailboxKind::Memory && !known)
}

/// Refuses what is new to a queue that an operator drains.
pub(super) fn refuse_draining(queue: &Queue) -> Result<(), Rejection> {
    let QueueRecord { name, draining, .. } = &queue.record;
    let Some(record) = draining else { return Ok(()) };
    let PauseRecord { by, reason, .. } = &**record;
    let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    let text = format!("queue {name} accepts nothing new: {} drains it{why}", by.name);
    Err(Rejection::new(RejectCode::Draining, text).retry_after(FULL_RETRY_MS))
}

fn no_priority(name: &QueueName, id: &MessageId) -> Rejection {
    let reason = format!(
        "header field `priority`: queue {name} has no priorities; leave it out, or configure the queue with \
         ordering = \"none\" and priority = true"
    );
    Rejection::new(RejectCode::Unsupported, reason).of(id.clone())
}

pub(super) fn no_such_queue(name: &QueueName) -> Rejection {
    let reason = format!(
        "there is no queue {name}, and none is made on the fly by this name; configure \
         [queues.\"{name}\"], or a template like [queues.\"{}*\"]",
        name.as_str().split_inclusive('.').next().unwrap_or_default()
    );
    Rejection::new(RejectCode::NoSuchQueue, reason)
}
