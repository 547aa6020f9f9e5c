//! What may be so and what may not: the guarantees of design.md 2 and the rules of design.md 4, said of every operation and
//! every delivery. It knows nothing of windows, lines, timers or reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::processes::Course;
use super::sim::is_dead;
use crate::model::{
    AckMode, Content, Finish, JournalKind, MessageId, MessageRecord, MessageState, OnFailure, Op,
    Ordering, Overflow, QueueId, QueueName, QueueSettings, Seq, Timestamp,
};

/// A message as it should be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    pub(super) content: Arc<Content>,
    pub(super) accepted_at: Timestamp,
    pub(super) state: MessageState,
    due: Option<Timestamp>,
    retried: bool,
    attempts: u32,
    pub(super) revision: u32,
    pub(super) ended: Option<Finish>,
}

/// A queue as it should be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) name: QueueName,
    pub(super) settings: Arc<QueueSettings>,
    pub(super) is_paused: bool,
    /// Every message ever, by place from 1.
    pub(super) messages: Vec<Known>,
    pub(super) open: BTreeSet<u64>,
}

/// All of them, as of some commit or ahead of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Oracle {
    pub(super) lines: BTreeMap<QueueId, Line>,
    /// By the saga's id.
    pub(super) sagas: BTreeMap<String, Course>,
    /// Whether the subscription is there that comes and goes at run time.
    pub(super) is_subscribed: bool,
}

/// Why the engine may do what it does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cause {
    /// A worker that has this message said that it is done.
    pub(super) acked: Option<(QueueId, Seq)>,
    /// An operator does something to this one.
    pub(super) repaired: Option<(QueueId, Seq)>,
}

impl Line {
    pub(super) fn message(&self, seq: u64) -> Option<&Known> {
        self.messages.get(usize::try_from(seq).ok()?.checked_sub(1)?)
    }

    /// Nothing expires there.
    fn is_for_the_dead(&self) -> bool {
        self.name.as_str().ends_with(".dead") || self.name.as_str() == "dead"
    }

    /// Messages that are neither at their end nor cancelled.
    pub(super) fn depth(&self) -> u64 {
        let is_cancelled =
            |seq: &&u64| self.messages[**seq as usize - 1].state == MessageState::Cancelled;
        (self.open.len() - self.open.iter().filter(is_cancelled).count()) as u64
    }

    /// The first message that others of the same order wait for.
    fn front(&self, of: &Known) -> Option<u64> {
        let key = of.content.header.key().filter(|_| self.settings.ordering == Ordering::Key);
        self.open.iter().copied().find(|&seq| {
            let message = &self.messages[seq as usize - 1];
            let is_level = match self.settings.ordering {
                Ordering::Queue => true,
                Ordering::Key => message.content.header.key() == key,
                Ordering::None => false,
            };
            is_level && message.state != MessageState::Cancelled
        })
    }

    fn expiry(&self, message: &Known) -> Option<Timestamp> {
        if self.is_for_the_dead() || message.retried {
            return None;
        }
        message.content.header.timing().expiry(message.accepted_at, self.settings.ttl_ms)
    }
}

impl Known {
    fn record(&mut self, record: &MessageRecord) {
        self.state = record.state;
        self.due = record.due;
        self.retried = record.retried;
        self.attempts = record.attempts;
        assert_eq!(record.revision.0, self.revision, "a record names the newest revision");
    }

    /// From when it may go.
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        if self.state == MessageState::Waiting {
            return self.due;
        }
        let is_fresh = self.attempts == 0 && !self.retried;
        self.content.header.timing().due(self.accepted_at).filter(|_| is_fresh)
    }
}

impl Oracle {
    pub(super) fn named(&self, name: &str) -> Option<(QueueId, &Line)> {
        self.lines.iter().find(|(_, line)| line.name.as_str() == name).map(|(&id, line)| (id, line))
    }

    /// Takes the operations of one event over; `accepted` looks at each message that is new, with its queue.
    pub(super) fn apply_all(&mut self, ops: &[Op], accepted: impl Fn(&Self, &Line, &str)) {
        let moved = self.moved(ops);
        for op in ops {
            self.apply(op);
            if let Op::Append { queue, seq, content, .. } = op
                && !moved.contains(content.id())
                && !is_dead(&self.lines[queue].name)
            {
                let id = content.id().as_str();
                self.note_step(*queue, *seq, id);
                accepted(self, &self.lines[queue], id);
            }
        }
    }

    /// The messages that an operator moves: they arrive elsewhere with these operations. What else arrives is new, as the
    /// compensation that begins because a step's message went.
    fn moved(&self, ops: &[Op]) -> Vec<MessageId> {
        let moved = ops.iter().filter_map(|op| match op {
            Op::Finish { queue, seq, how: Finish::Moved } => self.lines[queue].message(seq.0),
            _ => None,
        });
        moved.map(|message| message.content.id().clone()).collect()
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::PutQueue(record) => {
                let (name, settings) = (record.name.clone(), Arc::clone(&record.settings));
                let is_paused = record.paused.is_some();
                let line = self.lines.entry(record.id).or_insert_with(|| Line {
                    name,
                    settings: Arc::clone(&settings),
                    is_paused,
                    messages: Vec::new(),
                    open: BTreeSet::new(),
                });
                (line.settings, line.is_paused) = (settings, is_paused);
            }
            Op::Append { queue, seq, at, content, .. } => {
                let line = self.line(*queue);
                line.messages.push(Known {
                    content: Arc::clone(content),
                    accepted_at: *at,
                    state: MessageState::Ready,
                    due: None,
                    retried: false,
                    attempts: 0,
                    revision: 0,
                    ended: None,
                });
                assert_eq!(line.messages.len() as u64, seq.0, "places come without gaps");
                line.open.insert(seq.0);
            }
            Op::PutRecord { queue, seq, record } => self.known(*queue, *seq).record(record),
            Op::PutRevision { queue, seq, revision, content } => {
                let message = self.known(*queue, *seq);
                message.content = Arc::clone(content);
                message.revision = revision.revision.0;
            }
            Op::Finish { queue, seq, how } => {
                let line = self.line(*queue);
                assert!(line.open.remove(&seq.0), "{} {seq} ends once", line.name);
                line.messages[seq.0 as usize - 1].ended = Some(*how);
            }
            Op::PutSubscription(_) => self.is_subscribed = true,
            Op::RemoveSubscription { .. } => self.is_subscribed = false,
            // What these tell is checked by the store.
            _ => {}
        }
    }

    fn line(&mut self, queue: QueueId) -> &mut Line {
        self.lines.get_mut(&queue).expect("the queue was put before")
    }

    fn known(&mut self, queue: QueueId, seq: Seq) -> &mut Known {
        self.line(queue).messages.get_mut(seq.0 as usize - 1).expect("it was appended before")
    }

    /// Whether a message may end so, now, among these operations.
    pub(super) fn check_end(
        &self,
        (queue, seq, how): (QueueId, Seq, Finish),
        ops: &[Op],
        cause: Cause,
        is_done_on_delivery: bool,
        now: Timestamp,
    ) -> &'static str {
        let line = &self.lines[&queue];
        let message = line.message(seq.0).expect("it was there");
        let what = || format!("{} {seq} ended as {how:?} at {now}: {message:?}", line.name);
        match how {
            Finish::Done => {
                let once = is_done_on_delivery;
                assert!(once || cause.acked == Some((queue, seq)), "nobody did it: {}", what());
                "done"
            }
            Finish::Cancelled => {
                // A saga cancels what it has given up when it would be handed out again.
                let by_now = message.state == MessageState::Cancelled;
                let is_cancelled = by_now || is_told(ops, JournalKind::Cancelled, seq);
                assert!(is_cancelled, "nobody cancelled: {}", what());
                "cancelled"
            }
            Finish::Dropped => {
                assert_eq!(line.settings.on_failure, OnFailure::Drop, "{}", what());
                let is_told = is_told(ops, JournalKind::Dropped, seq);
                assert!(is_told, "not in the journal: {}", what());
                "dropped"
            }
            Finish::Moved => {
                assert_eq!(cause.repaired, Some((queue, seq)), "nobody moved it: {}", what());
                let arrived = self.arrivals(message, ops).any(|(to, _)| to.name != line.name);
                assert!(arrived, "lost: {}", what());
                "moved"
            }
            Finish::DeadLettered => {
                let from =
                    |about: &Value| about["queue"] == line.name.as_str() && about["seq"] == seq.0;
                let letters = self.arrivals(message, ops).filter(|(to, _)| is_dead(&to.name));
                let mut about =
                    letters.filter_map(|(_, letter)| letter.header.to_map().remove("dead_letter"));
                let about = about.find(from).unwrap_or_else(|| panic!("lost: {}", what()));
                match about["reason"].as_str().expect("a reason") {
                    "expired" => {
                        let is_over = line.expiry(message).is_some_and(|at| at <= now);
                        assert!(is_over, "it hasn't expired: {}", what());
                        "expired"
                    }
                    "max-length" => {
                        let makes_room = line.settings.overflow == Overflow::DeadLetterOldest;
                        assert!(makes_room, "{}", what());
                        "max-length"
                    }
                    "attempts" => {
                        assert_eq!(line.settings.on_failure, OnFailure::DeadLetter, "{}", what());
                        "attempts"
                    }
                    "rejected" => "rejected",
                    other => panic!("reason {other}: {}", what()),
                }
            }
        }
    }

    /// What arrives elsewhere in the same operations with a message's id and payload.
    fn arrivals<'a>(
        &'a self,
        message: &'a Known,
        ops: &'a [Op],
    ) -> impl Iterator<Item = (&'a Line, &'a Content)> {
        ops.iter().filter_map(|op| match op {
            Op::Append { queue, content, .. }
                if content.id() == message.content.id()
                    && content.payload == message.content.payload =>
            {
                Some((&self.lines[queue], &**content))
            }
            _ => None,
        })
    }

    /// Whether a message may be handed out now: it is there, nothing that others have to wait for is before it, it is
    /// neither too early nor too late, nobody stopped it, and it is what was accepted or saved.
    pub(super) fn check_delivery(
        &self,
        queue: &QueueName,
        seq: Seq,
        content: &Arc<Content>,
        (is_held, is_sink): (bool, bool),
        now: Timestamp,
    ) -> QueueId {
        let (id, line) = self.named(queue.as_str()).expect("a queue that was put");
        let message = line.message(seq.0).expect("a message that was accepted");
        let what = || format!("{queue} {seq} went out at {now}: {message:?}");
        let once = is_sink || line.settings.ack == AckMode::OnDelivery;
        let once = once && message.ended == Some(Finish::Done);
        assert!(once || message.ended.is_none(), "it is over: {}", what());
        let is_same = Arc::ptr_eq(content, &message.content) || *content == message.content;
        assert!(is_same, "not what it is: {}", what());
        match message.state {
            MessageState::Ready | MessageState::Waiting => {}
            other => panic!("it is {other}: {}", what()),
        }
        assert!(message.earliest().is_none_or(|at| at <= now), "too early: {}", what());
        assert!(line.expiry(message).is_none_or(|at| at > now), "too late: {}", what());
        assert!(!line.is_paused, "{queue} is paused: {}", what());
        assert!(!is_held, "somebody edits it: {}", what());
        if let Some(front) = line.front(message)
            && (line.settings.ordering == Ordering::Queue || message.content.header.key().is_some())
        {
            assert!(front == seq.0 || once && front > seq.0, "{front} is before it: {}", what());
        }
        id
    }

    /// Whether the same id was accepted lately, as the queue remembers: its place.
    pub(super) fn duplicate_of(line: &Line, id: &str, until: usize, now: Timestamp) -> Option<u64> {
        let (last, window_ms) = (line.settings.dedup.last(), line.settings.dedup.window_ms());
        let window = line.messages[..until].iter().enumerate().rev().take(last as usize);
        let is_recent = |it: &Known| window_ms.is_none_or(|ms| now.since_ms(it.accepted_at) < ms);
        window
            .filter(|(_, it)| it.content.id().as_str() == id && is_recent(it))
            .map(|(at, _)| at as u64 + 1)
            .next()
    }
}

/// Whether it stands in the journal.
fn is_told(ops: &[Op], kind: JournalKind, seq: Seq) -> bool {
    ops.iter().any(|op| match op {
        Op::Journal(entry) => entry.kind == kind && entry.seq == Some(seq),
        _ => false,
    })
}
