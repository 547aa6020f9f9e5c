//! What can be seen of the engine without changing it.

use crate::model::{
    HeadView, Header, HoldView, InFlightView, KeyPage, KeyView, MessageRecord, MessageState,
    QueueId, QueueName, QueueView, Seq, Timestamp, WorkerView,
};

use super::Engine;
use super::queue::Queue;
use super::queues::QueueIndex;
use super::worker::Worker;

/// How many there are of what, for the overview.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queues in all.
    pub queues: u64,
    /// Of these, with a message that failed for good.
    pub blocked: u64,
    /// Workers connected.
    pub workers: u64,
    /// Late answers to leases that were over, since the engine was made.
    pub stale: u64,
    /// Replies to calls and gathers whose caller no longer waited, since the engine was made.
    pub late_replies: u64,
    /// Gathers, sagas and kept replies in the store that this version can't read: they stay there.
    pub unreadable_processes: u64,
    /// Gathers that run.
    pub gathers: u64,
    /// Replies that came after their gather's end, since the engine was made.
    pub late_parts: u64,
}

/// What the engine knows of an unfinished message beyond its content.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageOverlay {
    /// Its state, as far as the engine knows without its content; see [`MessageOverlay::with_content`].
    pub state: MessageState,
    /// When it is tried again, or may be delivered.
    pub due: Option<Timestamp>,
    /// The time of the engine.
    pub now: Timestamp,
    /// Deliveries so far, the one under way included.
    pub attempt: u32,
    /// Its record; a message without one is ready, at attempt 0, revision 0.
    pub record: Option<MessageRecord>,
    /// Who has it now.
    pub lease: Option<InFlightView>,
    /// Who edits it now.
    pub hold: Option<HoldView>,
    /// How many unfinished messages stand behind it, whether they wait for it or not.
    pub behind: u64,
    /// What `undo` would do now; absent if nothing can be undone.
    pub undo: Option<String>,
}

impl MessageOverlay {
    /// The same with what the message itself says: that it is not due yet. It is the engine's to know only of what has
    /// come to its turn.
    pub fn with_content(mut self, accepted_at: Timestamp, header: &Header) -> Self {
        let record = self.record.as_ref();
        let is_fresh = record.is_none_or(|record| record.attempts == 0 && !record.retried);
        let due = header.timing().due(accepted_at).filter(|&due| due > self.now);
        if is_fresh && due.is_some() && self.state == MessageState::Ready {
            self.state = MessageState::Scheduled;
            self.due = due;
        }
        self
    }
}

impl Engine {
    /// Queues in the order in which they were made, from after the one with this number on, at most `max`; and the
    /// number of the last of them.
    pub fn queue_views(&self, after: QueueId, max: usize) -> (Vec<QueueView>, QueueId) {
        let page = self.queues.after(after).take(max);
        let mut last = after;
        let views = page.map(|queue| {
            last = queue.record.id;
            self.view(queue)
        });
        (views.collect(), last)
    }

    /// Of the next `looks` queues those whose names begin with `prefix`, at most `max`; and where to go on, if there are more
    /// queues to look at. A name that isn't wanted costs less than a view.
    pub fn queue_views_named(
        &self,
        prefix: &str,
        after: QueueId,
        (looks, max): (usize, usize),
    ) -> (Vec<QueueView>, Option<QueueId>) {
        let (mut views, mut last) = (Vec::new(), after);
        for (looked, queue) in self.queues.after(after).enumerate() {
            if looked == looks || views.len() == max {
                return (views, Some(last));
            }
            last = queue.record.id;
            if queue.record.name.as_str().starts_with(prefix) {
                views.push(self.view(queue));
            }
        }
        (views, None)
    }

    /// One queue.
    pub fn queue_view(&self, name: &QueueName) -> Option<QueueView> {
        self.queue_named(name).map(|queue| self.view(queue))
    }

    /// Whether a worker serves a queue, be it there already or not.
    pub fn is_served(&self, name: &QueueName) -> bool {
        match self.queues.by_name(name) {
            Some(at) => !self.queue(at).workers.is_empty(),
            None => self.unmade.contains_key(name),
        }
    }

    /// All workers, by connection.
    pub fn worker_views(&self) -> Vec<WorkerView> {
        self.workers.iter().map(|(id, worker)| self.worker_view(id.0, worker)).collect()
    }

    /// How many there are of what.
    pub fn counts(&self) -> Counts {
        let blocked = self.queues.iter().filter(|queue| queue.uncommon.blocked > 0).count();
        Counts {
            queues: self.queues.len() as u64,
            blocked: blocked as u64,
            workers: self.workers.len() as u64,
            stale: self.stale_answers,
            late_replies: self.late_replies,
            unreadable_processes: self.processes.unreadable(),
            gathers: self.gathers.running(),
            late_parts: self.gathers.late_parts,
        }
    }

    /// What the engine knows of an unfinished message; `None` if it is finished or never was.
    pub fn message_overlay(&self, name: &QueueName, seq: Seq) -> Option<MessageOverlay> {
        let at = self.queues.by_name(name)?;
        let queue = self.queue(at);
        if !queue.is_unfinished(seq) {
            return None;
        }
        let lease = queue.in_flight.lease_of(seq).and_then(|number| self.leases.get(&number));
        let state = queue.state_of(seq, self.now);
        let record = queue.records().get(&seq).cloned();
        Some(MessageOverlay {
            state,
            due: due(queue, seq, state),
            now: self.now,
            attempt: self.attempt_of(at, seq),
            undo: undo(state, record.as_ref()),
            record,
            lease: lease.map(|lease| self.lease_view(lease)),
            hold: queue.holds().get(&seq).cloned(),
            behind: queue.behind(seq),
        })
    }

    /// The place of a queue's newest message; 0 if none has ever come.
    pub fn newest_place(&self, name: &QueueName) -> Option<Seq> {
        self.queue_named(name).map(|queue| Seq(queue.next_seq.0.saturating_sub(1)))
    }

    /// Order keys of a queue that stand, by the places of the messages that hold them, from one place on; at most
    /// `max`. `None` if there is no such queue; nothing in one that isn't ordered by key.
    pub fn key_page(&self, name: &QueueName, from: Seq, max: usize) -> Option<KeyPage> {
        let queue = self.queue_named(name)?;
        let mut page = KeyPage { keys: Vec::new(), unseen: queue.unseen(), next: None };
        let Some(convoy) = queue.convoy.as_deref() else { return Some(page) };
        for (&seq, record) in queue.records().range(from..) {
            let state = queue.state_of(seq, self.now);
            let is_aside = match state {
                MessageState::Blocked | MessageState::Waiting | MessageState::Scheduled => true,
                MessageState::Ready
                | MessageState::Leased
                | MessageState::Cancelled
                | MessageState::Done => false,
            };
            let key = convoy.key_at(seq).or(record.key.as_deref());
            if !is_aside || !convoy.is_front(key, seq) {
                continue;
            }
            if page.keys.len() >= max {
                page.next = Some(seq);
                break;
            }
            page.keys.push(KeyView {
                key: key.map(str::to_owned),
                seq,
                state,
                due: due(queue, seq, state),
                error: record.last_error.clone(),
                behind: key.map_or(0, |key| convoy.behind(key)),
            });
        }
        Some(page)
    }

    /// How many messages wait for an unfinished one to be done, by its queue's ordering: all behind it, those of its key as far as
    /// they have been looked at, or none.
    pub fn waiting_behind(&self, name: &QueueName, seq: Seq, header: &Header) -> u64 {
        let Some(queue) = self.queue_named(name) else { return 0 };
        match queue.convoy.as_deref() {
            None => queue.behind(seq),
            Some(convoy) => convoy.key_of(header).map_or(0, |key| convoy.behind_place(key, seq)),
        }
    }

    /// A queue's id.
    pub fn queue_id(&self, name: &QueueName) -> Option<QueueId> {
        self.queue_named(name).map(|queue| queue.record.id)
    }

    /// A queue's name.
    pub fn queue_name(&self, id: QueueId) -> Option<&QueueName> {
        self.queues.by_id(id).map(|at| &self.queue(at).record.name)
    }

    /// Queues whose view changed since the last call, each once.
    pub fn take_changed_queues(&mut self) -> Vec<QueueName> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .filter_map(|at| {
                // One may have gone since.
                let queue = self.queues.find_mut(at)?;
                queue.changed = false;
                Some(queue.record.name.clone())
            })
            .collect()
    }

    /// Whether anything about a worker but when it was heard changed since the last call.
    pub fn take_workers_changed(&mut self) -> bool {
        std::mem::take(&mut self.workers_changed)
    }

    /// Deliveries of an unfinished message so far, the one under way included.
    pub(super) fn attempt_of(&self, at: QueueIndex, seq: Seq) -> u32 {
        let queue = self.queue(at);
        match queue.in_flight.lease_of(seq).and_then(|number| self.leases.get(&number)) {
            Some(lease) => lease.attempt,
            None => queue.records().get(&seq).map_or(0, |record| record.attempts),
        }
    }

    fn view(&self, queue: &Queue) -> QueueView {
        let has_state = |seq, state| queue.state_of(seq, self.now) == state;
        let waiting =
            queue.records().keys().filter(|&&seq| has_state(seq, MessageState::Waiting)).count();
        let uncommon = &queue.uncommon;
        QueueView {
            number: queue.record.id.0,
            name: queue.record.name.clone(),
            state: queue.state(self.stopping),
            depth: queue.depth(),
            leased: queue.leased(),
            waiting: waiting as u64,
            scheduled: queue.scheduled(self.now),
            blocked: uncommon.blocked,
            bytes: queue.bytes,
            oldest_at: queue.oldest_at(),
            head: queue.shown_head().map(|seq| self.head_view(queue, seq)),
            paused: queue.record.paused.as_deref().cloned(),
            draining: queue.record.draining.as_deref().cloned(),
            workers: queue.workers.len() as u64,
            active_worker: queue
                .active()
                .and_then(|id| Some(self.workers.get(&id)?.info.name.clone())),
            accepted: queue.accepted,
            done: queue.done,
            failed: uncommon.failed,
            duplicates: uncommon.duplicates,
            dead_lettered: uncommon.dead_lettered,
            dropped: uncommon.dropped,
            resent: uncommon.resent,
            settings: queue.record.settings.shown(),
            overrides: queue.record.overrides.to_vec(),
            unreachable: self.waits_for_redis(queue).map(str::to_owned),
        }
    }

    fn head_view(&self, queue: &Queue, seq: Seq) -> HeadView {
        let record = queue.records().get(&seq);
        let state = queue.state_of(seq, self.now);
        let attempts = record.map_or(0, |record| record.attempts);
        HeadView {
            seq,
            id: queue.window.get(seq).map(|entry| entry.content.id().clone()),
            state,
            attempt: attempts.saturating_add(u32::from(state == MessageState::Leased)),
            error: record.and_then(|record| record.last_error.clone()),
            due: due(queue, seq, state),
        }
    }

    fn worker_view(&self, id: u64, worker: &Worker) -> WorkerView {
        let mut queues: Vec<QueueName> = worker.unmade.clone();
        queues.extend(worker.queues.iter().map(|&at| self.queue(at).record.name.clone()));
        queues.sort_unstable();
        let stands_by =
            |at: &&QueueIndex| self.queue(**at).active().is_some_and(|active| active.0 != id);
        let standby = worker.queues.iter().filter(stands_by);
        let standby = standby.map(|&at| self.queue(at).record.name.clone()).collect();
        let leases = worker.leases.iter().filter_map(|number| self.leases.get(number));
        WorkerView {
            id,
            name: worker.info.name.clone(),
            pid: worker.info.pid,
            host: worker.info.host.clone(),
            version: worker.info.version.clone(),
            health_url: worker.info.health_url.clone(),
            spawn_id: worker.info.spawn_id.clone(),
            state: worker.state(),
            queues,
            standby,
            credit: worker.credit,
            in_flight: leases.map(|lease| self.lease_view(lease)).collect(),
            since: worker.since,
            heard_at: worker.heard_at,
            acked: worker.acked,
            nacked: worker.nacked,
            note: worker.note.clone(),
        }
    }
}

/// When a message is tried again or may be delivered, as far as it waits for that.
fn due(queue: &Queue, seq: Seq, state: MessageState) -> Option<Timestamp> {
    match state {
        MessageState::Waiting => queue.records().get(&seq)?.due,
        MessageState::Scheduled => queue.due_of(seq),
        MessageState::Ready
        | MessageState::Leased
        | MessageState::Blocked
        | MessageState::Done
        | MessageState::Cancelled => None,
    }
}

fn undo(state: MessageState, record: Option<&MessageRecord>) -> Option<String> {
    let record = record?;
    match state {
        MessageState::Cancelled => Some("restore the cancelled message to its place".to_owned()),
        MessageState::Scheduled
        | MessageState::Ready
        | MessageState::Waiting
        | MessageState::Blocked
            if record.revision.0 > 0 && !record.undone =>
        {
            let before = record.revision.0.saturating_sub(1);
            Some(format!("save the content of revision {before} again"))
        }
        MessageState::Ready
        | MessageState::Waiting
        | MessageState::Blocked
        | MessageState::Scheduled
        | MessageState::Leased
        | MessageState::Done => None,
    }
}
