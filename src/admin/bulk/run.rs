//! The task of a bulk repair.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::super::dto::{BulkItem, BulkOutcome, BulkState};
use super::job::Job;
use super::{act, may};
use crate::auth::Access;
use crate::broker::{BULK_STEP, BrokerHandle, BulkOrder, BulkStep, OperatorError};
use crate::model::limits::{MAX_BULK_ITEMS, MAX_PAGE};
use crate::model::{MessageFilter, RepairRefusal, Seq, with_causes};

/// Before what failed for now is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How it ended.
struct End {
    state: BulkState,
    note: Option<String>,
}

impl End {
    fn stopped(why: String) -> Self {
        Self { state: BulkState::Stopped, note: Some(why) }
    }

    fn failed(why: String) -> Self {
        Self { state: BulkState::Failed, note: Some(why) }
    }
}

/// Until all are tried, or it is to stop.
pub(super) async fn run(job: Arc<Job>, broker: BrokerHandle, access: Arc<Access>) {
    let task = Task { job: &job, broker: &broker, access: &access };
    let End { state, note } = match task.choose().await {
        Ok(()) => match task.repair().await {
            Ok(()) => End { state: BulkState::Done, note: None },
            Err(end) => end,
        },
        Err(end) => end,
    };
    // A broker that has stopped has no time; nobody is told of it either.
    let now = broker.now().await.ok();
    let (queue, key) = (&job.queue, &job.request.key);
    tracing::info!(%queue, %key, state = ?state, tried = job.tried(), "a bulk repair is over");
    job.end(state, note, now);
}

struct Task<'a> {
    job: &'a Job,
    broker: &'a BrokerHandle,
    access: &'a Access,
}

impl Task<'_> {
    /// Looks up what the filter takes, if there is one, up to what is the newest now.
    async fn choose(&self) -> Result<(), End> {
        let (job, request) = (self.job, &self.job.request);
        let Some(filter) = &request.filter else { return Ok(()) };
        let more_from = self.look_up(filter).await?;
        job.chosen(more_from);
        match request.expect {
            Some(expect) if expect != job.len() as u64 || more_from.is_some() => {
                let more = if more_from.is_some() { " or more" } else { "" };
                let note = format!(
                    "the filter takes {}{more} messages, and {expect} were expected: nothing was done",
                    job.len()
                );
                Err(End::failed(note))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Where it would go on, if there is more than one bulk repair takes. What comes while it looks is not among them: who
    /// publishes faster than it looks would keep it for ever.
    async fn look_up(&self, filter: &MessageFilter) -> Result<Option<Seq>, End> {
        let queue = &self.job.queue;
        let newest = loop {
            self.may_go_on()?;
            match self.broker.newest_place(queue).await {
                Ok(newest) => break newest,
                Err(error) => self.wait_after(&error).await?,
            }
        };
        let mut next = Some(Seq(1));
        while let Some(from) = next.filter(|&from| from <= newest) {
            self.may_go_on()?;
            let room = MAX_BULK_ITEMS - self.job.len();
            if room == 0 {
                return Ok(next);
            }
            match self.broker.messages(queue, from, room.min(MAX_PAGE), filter).await {
                Ok(page) => {
                    next = page.next;
                    let rows = page.messages.iter().filter(|row| row.seq <= newest);
                    self.job
                        .choose(rows.map(|row| BulkItem { seq: row.seq, revision: row.revision }));
                }
                Err(error) => self.wait_after(&error).await?,
            }
        }
        Ok(None)
    }

    async fn repair(&self) -> Result<(), End> {
        let (job, request) = (self.job, &self.job.request);
        let order = BulkOrder {
            key: request.key.clone(),
            actor: job.actor.clone(),
            queue: job.queue.clone(),
            act: act(request.action, request.to.clone()),
            into: job.caller.grants.queues.clone(),
            dry_run: request.dry_run,
            reason: request.reason.clone(),
        };
        let begun = Instant::now();
        let most = request.rate.map_or(BULK_STEP, |rate| BULK_STEP.min(rate as usize));
        loop {
            self.may_go_on()?;
            let items: Vec<_> =
                job.next(most).iter().map(|item| (item.seq, item.revision)).collect();
            if items.is_empty() {
                return Ok(());
            }
            match self.broker.repair_step(&order, &items).await {
                Ok(steps) => self.take(steps).await?,
                Err(error) => self.wait_after(&error).await?,
            }
            if let Some(rate) = request.rate.filter(|_| !request.dry_run) {
                let due = Duration::from_secs_f64(job.tried() as f64 / f64::from(rate));
                self.pause(sleep_until(begun + due)).await;
            }
        }
    }

    /// Notes what came of each, up to the first of which nobody knows: from there on it is done again, under the same keys.
    async fn take(&self, steps: Vec<Result<BulkStep, OperatorError>>) -> Result<(), End> {
        for step in steps {
            match step {
                Ok(BulkStep::Done(outcome)) => self.job.note(outcome.into()),
                Ok(BulkStep::Possible) => self.job.note(BulkOutcome::Possible),
                Ok(BulkStep::Refused(refusal, now)) => {
                    self.job.note(BulkOutcome::Refused { refusal, now });
                }
                Err(error) => return self.wait_after(&error).await,
            }
        }
        Ok(())
    }

    /// Whether it is still wanted, and by somebody who still may.
    fn may_go_on(&self) -> Result<(), End> {
        let job = self.job;
        if let Some(why) = job.to_stop() {
            return Err(End::stopped(why));
        }
        let may = |caller: super::Caller| {
            may(&caller, &job.queue, job.request.action, job.request.to.as_ref()).is_ok()
                && caller.grants.queues == job.caller.grants.queues
        };
        if job.caller.now(self.access).is_some_and(may) {
            return Ok(());
        }
        Err(End::stopped(format!(
            "the token {:?} counts no more, or has other rights now",
            job.caller.name
        )))
    }

    /// Waits, if trying again may help.
    async fn wait_after(&self, error: &OperatorError) -> Result<(), End> {
        let why = with_causes(error);
        match error {
            OperatorError::Busy
            | OperatorError::StoreBroke
            | OperatorError::Store(_)
            | OperatorError::Refused(RepairRefusal::StoreUnavailable { .. }) => {
                self.job.waits(why);
                self.pause(sleep(PAUSE)).await;
                Ok(())
            }
            OperatorError::Refused(_)
            | OperatorError::Rejected(_)
            | OperatorError::NotFound { .. }
            | OperatorError::NoSuchTopic { .. }
            | OperatorError::NoSuchSaga { .. }
            | OperatorError::NoSuchGather { .. }
            | OperatorError::NoSuchWorker { .. }
            | OperatorError::Pool(_)
            | OperatorError::Stopped => Err(End::failed(why)),
        }
    }

    /// Until then, or until it is to stop.
    async fn pause(&self, until: impl Future<Output = ()>) {
        tokio::select! {
            () = until => {}
            () = self.job.stop.notified() => {}
        }
    }
}
