//! Connected workers.

use std::collections::BTreeSet;

use crate::model::{
    AttemptEnd, NackAction, Notice, QueueName, Timestamp, WorkError, WorkerId, WorkerInfo,
    WorkerState, limits,
};

use super::ascending::Ascending;
use super::lane::{Line, Ticket};
use super::progress::MAX_EXTENSION_MS;
use super::queues::QueueIndex;
use super::retry::Failure;
use super::timer::Timer;
use super::{Effect, Effects, Engine};

/// A text that a worker says of itself, in bytes: a host's name and a URL fit.
const MAX_INFO_BYTES: usize = 256;

/// A worker's connection.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) info: WorkerInfo,
    pub(super) queues: Vec<QueueIndex>,
    /// Served, but not made yet.
    pub(super) unmade: Vec<QueueName>,
    pub(super) credit: u32,
    /// Leases that it holds, by number.
    pub(super) leases: Ascending<u64>,
    /// Deliveries whose lease is over but which it hasn't answered. Each keeps its credit, so that a
    /// stuck worker isn't given more; `STALE` and a free slot come with the late answer.
    pub(super) overdue: BTreeSet<u64>,
    /// Queues that wait for it, the longest waiting first.
    pub(super) waiting: Line,
    /// Counts deliveries over all workers: the least recently used has the lowest.
    pub(super) last_used: u64,
    pub(super) since: Timestamp,
    pub(super) heard_at: Timestamp,
    pub(super) acked: u64,
    pub(super) nacked: u64,
    pub(super) note: Option<String>,
    /// Silent for too long to be given anything.
    pub(super) is_suspect: bool,
    /// It should have been heard by now: that is told in this event, and nothing is given to it meanwhile.
    pub(super) is_late: bool,
    /// It was told PAUSE, and not RESUME since.
    pub(super) is_paused: bool,
    /// It said BYE: it gets nothing new, and is gone once it has answered what it holds.
    pub(super) is_leaving: bool,
}

impl Worker {
    /// How many more messages it takes.
    pub(super) fn free_credit(&self) -> usize {
        if self.is_suspect || self.is_late {
            return 0;
        }
        let used = self.leases.len().saturating_add(self.overdue.len());
        usize::try_from(self.credit).unwrap_or(usize::MAX).saturating_sub(used)
    }

    /// Why it is given nothing, whatever comes; that it has enough to do is no reason.
    fn unavailable(&self, now: Timestamp) -> Option<String> {
        let overdue = self.overdue.len();
        if self.is_suspect {
            let silent_ms = now.since_ms(self.heard_at);
            return Some(format!("nothing was heard of it for {silent_ms} ms"));
        }
        let is_full = overdue >= usize::try_from(self.credit).unwrap_or(usize::MAX);
        is_full.then(|| format!("it has not answered {overdue} deliveries that are over"))
    }

    /// What it does.
    pub(super) fn state(&self) -> WorkerState {
        if self.is_leaving {
            WorkerState::Draining
        } else if self.is_suspect {
            WorkerState::Silent
        } else if !self.overdue.is_empty() {
            WorkerState::Stuck
        } else if !self.leases.is_empty() {
            WorkerState::Busy
        } else {
            WorkerState::Idle
        }
    }
}

impl Engine {
    pub(super) fn handle_ready(
        &mut self,
        id: WorkerId,
        queues: Vec<QueueName>,
        credit: u32,
        info: WorkerInfo,
        out: &mut Effects,
    ) {
        if self.stopping {
            out.effects.push(Effect::DropWorker { worker: id, reason: SHUTDOWN });
            return;
        }
        let info = bounded(info);
        let is_new = !self.workers.contains_key(&id);
        let active = self.active_in(id);
        if is_new {
            self.timers.set(self.now.plus_ms(self.suspect_ms), Timer::Silent(id));
            out.effects.push(Effect::Notice(Box::new(Notice::WorkerReady {
                name: info.name.clone(),
                queues: queues.clone(),
            })));
        } else {
            self.leave_queues(id);
        }
        let now = self.now;
        let worker = self.workers.entry(id).or_insert_with(|| Worker {
            info: WorkerInfo::default(),
            queues: Vec::new(),
            unmade: Vec::new(),
            credit: 1,
            leases: Ascending::default(),
            overdue: BTreeSet::new(),
            waiting: Line::default(),
            last_used: 0,
            since: now,
            heard_at: now,
            acked: 0,
            nacked: 0,
            note: None,
            is_suspect: false,
            is_late: false,
            is_paused: false,
            is_leaving: false,
        });
        worker.info = info;
        worker.credit = credit.clamp(1, limits::MAX_CREDIT);
        worker.heard_at = now;
        worker.is_suspect = false;
        worker.is_late = false;
        worker.is_leaving = false;
        self.join_queues(id, queues);
        self.keep_places(id, active, out);
        self.workers_changed = true;
        self.tell_whether_available(id, out);
        self.drain(id, out);
    }

    fn join_queues(&mut self, id: WorkerId, names: Vec<QueueName>) {
        let names: BTreeSet<QueueName> =
            names.into_iter().take(limits::MAX_WORKER_QUEUES).collect();
        for name in names {
            match self.queues.by_name(&name) {
                Some(queue) => self.join_queue(id, queue),
                None => {
                    self.unmade.entry(name.clone()).or_default().insert(id);
                    if let Some(worker) = self.workers.get_mut(&id) {
                        worker.unmade.push(name);
                    }
                }
            }
        }
    }

    /// Lets a worker serve a queue that is there.
    pub(super) fn join_queue(&mut self, id: WorkerId, at: QueueIndex) {
        let queue = self.queue_mut(at);
        queue.workers.push(id);
        let ticket = queue.ticket;
        let is_eligible = queue.eligible().contains(&id);
        self.touch(at);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.queues.push(at);
        if let Ticket::Waiting(ticket) = ticket
            && is_eligible
        {
            worker.waiting.put(at, ticket);
        }
    }

    /// Takes a worker out of all its queues; its leases stay.
    fn leave_queues(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.waiting = Line::default();
        let queues = std::mem::take(&mut worker.queues);
        for name in std::mem::take(&mut worker.unmade) {
            if let Some(waiting) = self.unmade.get_mut(&name) {
                waiting.remove(&id);
                if waiting.is_empty() {
                    self.unmade.remove(&name);
                }
            }
        }
        for at in queues {
            self.queue_mut(at).workers.retain(|&other| other != id);
            self.touch(at);
            self.cool(at);
        }
    }

    /// Whether what a worker is given counts as done with that, in whatever queue.
    pub(super) fn is_at_most_once(&self, id: WorkerId) -> bool {
        self.workers.get(&id).is_some_and(|worker| worker.info.at_most_once)
    }

    /// Something was heard from a worker. It is given messages again: whoever calls lets it have some.
    pub(super) fn heard(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.heard_at = self.now;
            worker.is_late = false;
            self.workers_changed |= std::mem::take(&mut worker.is_suspect);
        }
    }

    pub(super) fn handle_heard(&mut self, id: WorkerId, out: &mut Effects) {
        self.heard(id);
        self.tell_whether_available(id, out);
        self.drain(id, out);
    }

    /// Tells a worker that it has left the list of those that are given messages, or is back on it.
    pub(super) fn tell_whether_available(&mut self, id: WorkerId, out: &mut Effects) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let why_not = worker.unavailable(self.now);
        if worker.is_leaving || why_not.is_some() == worker.is_paused {
            return;
        }
        worker.is_paused = why_not.is_some();
        out.effects.push(match why_not {
            Some(reason) => Effect::Pause { worker: id, reason },
            None => Effect::Resume { worker: id, reason: "it was heard, and has answered" },
        });
    }

    pub(super) fn handle_alert(
        &mut self,
        id: WorkerId,
        mut alert: String,
        mut message: String,
        out: &mut Effects,
    ) {
        self.handle_heard(id, out);
        limits::clip(&mut alert, MAX_INFO_BYTES);
        limits::clip(&mut message, limits::MAX_REASON_BYTES);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.note = Some(format!("{alert}: {message}"));
        self.workers_changed = true;
        let name = worker.info.name.clone();
        out.effects.push(Effect::Notice(Box::new(Notice::WorkerAlert { name, alert, message })));
    }

    /// A worker takes nothing more. What it holds, or what is on its way to it, it may still answer: so a
    /// message that it never saw isn't counted against it. BYE is said back once it holds nothing.
    pub(super) fn handle_bye(&mut self, id: WorkerId, out: &mut Effects) {
        self.heard(id);
        let active = self.active_in(id);
        self.leave_queues(id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.is_leaving = true;
        self.workers_changed = true;
        for at in active {
            self.hand_over(at, out);
            self.offer(at, out);
        }
        self.let_go(id, out);
    }

    /// Says BYE to a worker that is leaving, if it holds nothing any more.
    pub(super) fn let_go(&mut self, id: WorkerId, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id) else { return };
        if worker.is_leaving && worker.leases.is_empty() {
            self.handle_gone(id, BYE, out);
            out.effects.push(Effect::DropWorker { worker: id, reason: BYE });
        }
    }

    /// A worker went away: what it had is delivered again.
    pub(super) fn handle_gone(&mut self, id: WorkerId, reason: &'static str, out: &mut Effects) {
        let active = self.active_in(id);
        self.leave_queues(id);
        let Some(worker) = self.workers.remove(&id) else { return };
        self.workers_changed = true;
        for &at in &active {
            self.hand_over(at, out);
        }
        let name = worker.info.name.as_str();
        self.lose(&worker.leases, name, &format!("was lost ({reason})"), out);
        for at in active {
            self.offer(at, out);
        }
        out.effects.push(Effect::Notice(Box::new(Notice::WorkerGone {
            name: worker.info.name,
            reason: reason.to_owned(),
            lost: worker.leases.len(),
        })));
    }

    /// What workers have said meanwhile is still to come.
    pub(super) fn handle_unheard(&mut self, ms: u64) {
        for worker in self.workers.values_mut() {
            worker.heard_at = worker.heard_at.plus_ms(ms).min(self.now);
        }
        for (&number, lease) in &mut self.leases {
            self.timers.cancel(lease.deadline, Timer::LeaseOver(number));
            lease.deadline = lease.deadline.plus_ms(ms);
            lease.latest = lease.latest.map(|at| at.plus_ms(ms));
            self.timers.set(lease.deadline, Timer::LeaseOver(number));
            if let Some(at) = &mut lease.resend_at {
                self.timers.cancel(*at, Timer::Resend(number));
                *at = at.plus_ms(ms);
                self.timers.set(*at, Timer::Resend(number));
            }
        }
        self.put_off_processes(ms);
        self.workers_changed = true;
    }

    /// The timer of a worker's silence fired: it is gone, or is given nothing more, or was heard and has more time.
    pub(super) fn check_silence(&mut self, id: WorkerId, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id) else { return };
        let suspect_at = worker.heard_at.plus_ms(self.suspect_ms);
        let gone_at = worker.heard_at.plus_ms(self.heartbeat_timeout_ms);
        if suspect_at > self.now {
            return self.timers.set(suspect_at, Timer::Silent(id));
        }
        self.mark_late();
        if gone_at > self.now {
            self.timers.set(gone_at, Timer::Silent(id));
            self.suspect(id, out);
        } else {
            self.handle_gone(id, "silent", out);
            out.effects.push(Effect::DropWorker { worker: id, reason: "silent" });
        }
    }

    /// What one silent worker held doesn't go to another one that is as silent, only to be lost again.
    fn mark_late(&mut self) {
        for worker in self.workers.values_mut() {
            worker.is_late |= worker.heard_at.plus_ms(self.suspect_ms) <= self.now;
        }
    }

    /// A worker has been silent for too long to wait for it: others get what it holds. Its late answers are stale.
    fn suspect(&mut self, id: WorkerId, out: &mut Effects) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if std::mem::replace(&mut worker.is_suspect, true) {
            return;
        }
        let name = worker.info.name.clone();
        let held = std::mem::take(&mut worker.leases);
        worker.overdue.extend(held.iter());
        let silent_ms = self.now.since_ms(worker.heard_at);
        self.workers_changed = true;
        let active = self.active_in(id);
        for &at in &active {
            self.pass_over(id, at, out);
        }
        self.lose(&held, &name, &format!("was silent for {silent_ms} ms"), out);
        for at in active {
            self.offer(at, out);
        }
        let lost = held.len();
        out.effects.push(Effect::Notice(Box::new(Notice::WorkerSilent { name, silent_ms, lost })));
        self.tell_whether_available(id, out);
        self.let_go(id, out);
    }

    /// A worker is not waited for any more: what it held is delivered again.
    fn lose(&mut self, held: &Ascending<u64>, name: &str, how: &str, out: &mut Effects) {
        for &number in held.iter() {
            let error = WorkError::new("worker-lost", format!("worker {name} {how}"));
            let failure =
                Failure { end: AttemptEnd::WorkerLost, action: NackAction::Retry, delay_ms: None };
            if let Some(lease) = self.end_lease(number) {
                self.fail(lease, name, failure, error, out);
            }
        }
    }

    /// The broker stops: leases are given back without counting as an attempt, everybody is told.
    pub(super) fn handle_shutdown(&mut self, out: &mut Effects) {
        self.stopping = true;
        for (&number, lease) in &self.leases {
            // What a worker has begun may be done, as when it is lost: a saga's step must know.
            self.processes.hear_lost((lease.queue, lease.seq));
            self.timers.cancel(lease.deadline, Timer::LeaseOver(number));
            if let Some(at) = lease.resend_at {
                self.timers.cancel(at, Timer::Resend(number));
            }
        }
        self.leases.clear();
        self.copies.clear();
        for at in self.queues.indexes() {
            self.queue_mut(at).in_flight.clear();
            self.unticket(at);
            self.touch(at);
        }
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            self.leave_queues(id);
            self.workers.remove(&id);
            out.effects.push(Effect::DropWorker { worker: id, reason: SHUTDOWN });
        }
        self.workers_changed = true;
        self.reject_calls(out);
        self.reject_gatherers(out);
    }
}

/// Why a worker that said BYE is gone.
const BYE: &str = "bye";

/// Why workers get BYE when the broker stops.
const SHUTDOWN: &str = "shutdown";

fn bounded(mut info: WorkerInfo) -> WorkerInfo {
    limits::clip(&mut info.name, MAX_INFO_BYTES);
    for text in [&mut info.host, &mut info.version, &mut info.health_url, &mut info.spawn_id]
        .into_iter()
        .flatten()
    {
        limits::clip(text, MAX_INFO_BYTES);
    }
    info.ending_ms = info.ending_ms.map(|ms| ms.min(MAX_EXTENSION_MS));
    info
}
