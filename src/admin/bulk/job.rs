//! One repair of many messages, and how far it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::super::dto::{
    BulkItem, BulkOutcome, BulkRequest, BulkResult, BulkResultPage, BulkState, BulkView,
};
use super::super::peer::Caller;
use crate::model::{Actor, QueueName, Seq, Timestamp};

/// Shared by its task and by who asks for it.
pub(super) struct Job {
    pub(super) queue: QueueName,
    pub(super) actor: Actor,
    pub(super) caller: Caller,
    pub(super) request: BulkRequest,
    started_at: Timestamp,
    progress: Mutex<Progress>,
    /// Wakes the task when it is to stop.
    pub(super) stop: Notify,
}

struct Progress {
    state: BulkState,
    items: Vec<BulkItem>,
    /// Of the first items.
    outcomes: Vec<BulkOutcome>,
    done: u64,
    more_from: Option<Seq>,
    ended_at: Option<Timestamp>,
    note: Option<String>,
    /// It is to stop, and why.
    stopped: Option<String>,
}

impl Job {
    pub(super) fn new(
        queue: QueueName,
        actor: Actor,
        caller: Caller,
        request: BulkRequest,
        started_at: Timestamp,
    ) -> Self {
        let state = if request.filter.is_some() { BulkState::Choosing } else { BulkState::Running };
        let progress = Progress {
            state,
            items: request.items.clone().unwrap_or_default(),
            outcomes: Vec::new(),
            done: 0,
            more_from: None,
            ended_at: None,
            note: None,
            stopped: None,
        };
        let (progress, stop) = (Mutex::new(progress), Notify::new());
        Self { queue, actor, caller, request, started_at, progress, stop }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.progress().state.is_over()
    }

    /// How many messages it keeps.
    pub(super) fn len(&self) -> usize {
        self.progress().items.len()
    }

    /// More messages are chosen.
    pub(super) fn choose(&self, items: impl IntoIterator<Item = BulkItem>) {
        self.progress().items.extend(items);
    }

    /// All are chosen; those from there on are not looked at.
    pub(super) fn chosen(&self, more_from: Option<Seq>) {
        let mut progress = self.progress();
        progress.more_from = more_from;
        progress.state = BulkState::Running;
    }

    /// The next of those that are left, at most `most`.
    pub(super) fn next(&self, most: usize) -> Vec<BulkItem> {
        let progress = self.progress();
        progress.items.iter().skip(progress.outcomes.len()).take(most).copied().collect()
    }

    /// What came of the next one.
    pub(super) fn note(&self, outcome: BulkOutcome) {
        let mut progress = self.progress();
        progress.done += u64::from(!matches!(outcome, BulkOutcome::Refused { .. }));
        progress.outcomes.push(outcome);
        progress.note = None;
    }

    /// How many have been tried.
    pub(super) fn tried(&self) -> usize {
        self.progress().outcomes.len()
    }

    /// What it waits for.
    pub(super) fn waits(&self, note: String) {
        self.progress().note = Some(note);
    }

    pub(super) fn end(&self, state: BulkState, note: Option<String>, at: Option<Timestamp>) {
        let mut progress = self.progress();
        (progress.state, progress.note, progress.ended_at) = (state, note, at);
    }

    /// Nothing once it is over.
    pub(super) fn ask_to_stop(&self, why: String) {
        self.progress().stopped.get_or_insert(why);
        self.stop.notify_one();
    }

    /// Why it is to stop, if it is.
    pub(super) fn to_stop(&self) -> Option<String> {
        self.progress().stopped.clone()
    }

    pub(super) fn view(&self) -> BulkView {
        let progress = self.progress();
        let request = &self.request;
        let tried = progress.outcomes.len() as u64;
        BulkView {
            key: request.key.clone(),
            queue: self.queue.clone(),
            action: request.action,
            to: request.to.clone(),
            dry_run: request.dry_run,
            rate: request.rate,
            reason: request.reason.clone(),
            by: self.actor.clone(),
            started_at: self.started_at,
            state: progress.state,
            ended_at: progress.ended_at,
            chosen: progress.items.len() as u64,
            done: progress.done,
            refused: tried - progress.done,
            more_from: progress.more_from,
            note: progress.note.clone(),
        }
    }

    /// From the item with this number on, those that were refused (`Some(true)`), those that were not, or all.
    pub(super) fn results(&self, from: u64, limit: usize, refused: Option<bool>) -> BulkResultPage {
        let progress = self.progress();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let all = progress.items.iter().zip(&progress.outcomes).enumerate().skip(from);
        let is_wanted = |outcome: &BulkOutcome| {
            refused.is_none_or(|wanted| wanted == matches!(outcome, BulkOutcome::Refused { .. }))
        };
        let mut wanted = all.filter(|(_, (_, outcome))| is_wanted(outcome));
        let result = |(_, (item, outcome)): (usize, (&BulkItem, &BulkOutcome))| BulkResult {
            seq: item.seq,
            revision: item.revision,
            outcome: outcome.clone(),
        };
        let results = wanted.by_ref().take(limit).map(result).collect();
        BulkResultPage { results, next: wanted.next().map(|(at, _)| at as u64) }
    }
}
