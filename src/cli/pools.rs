//! The supervisor beside an embedded broker: a thread of its own, so that what it starts ends with it.

use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::broker::{BrokerHandle, OperatorError, PoolRequest};
use crate::model::{Actor, Hidden, Notice, QueueName, RepairRefusal, WorkerPool, WorkerState};
use crate::worker::supervisor::{SupervisorEvent, SupervisorOptions, SupervisorRequest, supervise};

/// Requests and events that may wait; each is small, and taken at once.
const MAX_WAITING: usize = 256;
/// Between two looks at workers that are stuck or silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long workers may go on with what they hold when the broker stops; it has five seconds in all.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// After this they are ended. In between the broker gives back what they still hold, so that nothing is lost with them.
const STOP_LIMIT: Duration = Duration::from_millis(3_500);
/// How long all of it may take, after which the kernel and the keeper end them.
const STOPPED_LIMIT: Duration = Duration::from_millis(4_500);

/// The supervisor's thread. Dropped, it ends its processes and isn't waited for.
#[derive(Debug)]
pub(super) struct Pools {
    requests: mpsc::Sender<SupervisorRequest>,
}

impl Pools {
    /// Starts the pools' processes. What operators ask comes by `asked`.
    pub(super) fn start(
        pools: Vec<WorkerPool>,
        endpoint: String,
        token: Option<Hidden>,
        datadog: String,
        broker: BrokerHandle,
        asked: mpsc::Receiver<PoolRequest>,
    ) -> std::io::Result<Self> {
        let options = SupervisorOptions {
            program: std::env::current_exe()?,
            launcher: super::processes::own_program()?,
            endpoint,
            token,
            datadog,
            stop_limit: STOP_LIMIT,
            seed: fastrand::u64(..),
        };
        let (requests, requested) = mpsc::channel(MAX_WAITING);
        let to_supervisor = requests.downgrade();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("workers".to_owned()).spawn(move || {
            let (observed, events) = mpsc::channel(MAX_WAITING);
            runtime.block_on(async {
                tokio::spawn(tell(events, broker.clone()));
                tokio::spawn(pass_on(asked, to_supervisor.clone()));
                tokio::spawn(look(broker, to_supervisor));
                if let Err(error) = supervise(options, pools, requested, passes_on(observed)).await
                {
                    tracing::error!(%error, "supervised workers can't be started");
                }
            });
        })?;
        Ok(Self { requests })
    }

    /// Tells all processes to end.
    pub(super) async fn stop(self) -> Stopping {
        let began = Instant::now();
        let (done, ended) = oneshot::channel();
        // Where it went away, so have the processes: nobody tells the end, which is as good.
        let _ended = self.requests.send(SupervisorRequest::Stop { done }).await;
        Stopping { began, ended }
    }
}

/// Processes that were told to end.
#[derive(Debug)]
pub(super) struct Stopping {
    began: Instant,
    ended: oneshot::Receiver<()>,
}

impl Stopping {
    /// Waits until they have done what they held, or may not go on with it.
    pub(super) async fn drained(&mut self) {
        let _elapsed = timeout_at(self.began + DRAIN_LIMIT, &mut self.ended).await;
    }

    /// Waits until none runs any more.
    pub(super) async fn ended(self) {
        if !self.ended.is_terminated() {
            let _elapsed = timeout_at(self.began + STOPPED_LIMIT, self.ended).await;
        }
    }
}

/// Nobody waits for an event that is only told, but one that has queues paused waits for room.
fn passes_on(observed: mpsc::Sender<SupervisorEvent>) -> impl FnMut(SupervisorEvent) {
    move |event| match observed.try_send(event) {
        Err(TrySendError::Full(event @ SupervisorEvent::GivenUp { .. })) => {
            let observed = observed.clone();
            // The broker has stopped: nothing is delivered any more.
            tokio::spawn(async move { drop(observed.send(event).await) });
        }
        Err(TrySendError::Full(event)) => tracing::warn!(?event, "it isn't told: too many wait"),
        Ok(()) | Err(TrySendError::Closed(_)) => {}
    }
}

async fn pass_on(
    mut asked: mpsc::Receiver<PoolRequest>,
    supervisor: mpsc::WeakSender<SupervisorRequest>,
) {
    while let Some(PoolRequest { name, act, answer }) = asked.recv().await {
        let Some(supervisor) = supervisor.upgrade() else { return };
        // Whoever asked hears that nobody answers.
        let _stopped = supervisor.send(SupervisorRequest::Pools { name, act, answer }).await;
    }
}

/// Tells of what happens to processes; a pool that is given up pauses its queues.
async fn tell(mut events: mpsc::Receiver<SupervisorEvent>, broker: BrokerHandle) {
    while let Some(event) = events.recv().await {
        let told = match event {
            SupervisorEvent::Started { worker, pid } => {
                tracing::info!(worker, pid, "a supervised worker was started");
                Ok(())
            }
            SupervisorEvent::Exited { worker, how, again_in_ms } => {
                broker.tell(Notice::WorkerExited { name: worker, how, again_in_ms }).await
            }
            SupervisorEvent::GivenUp { pool, queues, restarts, within_ms, how } => {
                let reason = format!(
                    "supervised worker {pool} ended {restarts} times within {within_ms} ms: {how}"
                );
                for queue in queues {
                    if let Err(error) = pause(&broker, &queue, &reason).await {
                        tracing::error!(%queue, %error, "it can't be paused");
                    }
                }
                let restarts = u64::try_from(restarts).unwrap_or(u64::MAX);
                broker.tell(Notice::RestartLimit { name: pool, restarts, within_ms, how }).await
            }
        };
        if told.is_err() {
            return;
        }
    }
}

/// Pauses a queue, which is made if it has never had a message: its first one must wait, too.
async fn pause(
    broker: &BrokerHandle,
    queue: &QueueName,
    reason: &str,
) -> Result<(), OperatorError> {
    let pause = || broker.set_paused(Actor::broker(), queue.clone(), true, reason.to_owned());
    match pause().await {
        Err(OperatorError::Refused(RepairRefusal::NoSuchQueue { .. })) => {
            let made = broker
                .create_queue(Actor::broker(), queue.clone(), Vec::new(), reason.to_owned())
                .await;
            // Refused: a message came meanwhile and made it.
            if let Err(error @ (OperatorError::Stopped | OperatorError::StoreBroke)) = made {
                return Err(error);
            }
            pause().await
        }
        done => done,
    }
}

/// Ends processes of whose worker the broker hears nothing, or which let a lease run out.
async fn look(broker: BrokerHandle, supervisor: mpsc::WeakSender<SupervisorRequest>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok(workers) = broker.workers().await else { return };
        for worker in workers {
            let Some(spawn_id) = worker.spawn_id else { continue };
            let why = match worker.state {
                WorkerState::Stuck => "it held a message for too long",
                WorkerState::Silent => "it isn't heard",
                WorkerState::Idle | WorkerState::Busy | WorkerState::Draining => continue,
            };
            let Some(supervisor) = supervisor.upgrade() else { return };
            let end = SupervisorRequest::End { spawn_id, why: why.to_owned() };
            if supervisor.send(end).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pool_that_is_given_up_is_told_however_many_events_wait() {
        let (observed, mut events) = mpsc::channel(1);
        let mut observe = passes_on(observed);
        let started = |pid| SupervisorEvent::Started { worker: "w".to_owned(), pid };
        let given_up = SupervisorEvent::GivenUp {
            pool: "w".to_owned(),
            queues: Vec::new(),
            restarts: 6,
            within_ms: 1,
            how: "exit status 1".to_owned(),
        };
        for event in [started(1), started(2), given_up.clone()] {
            observe(event);
        }
        drop(observe);
        assert_eq!(events.recv().await, Some(started(1)));
        assert_eq!(events.recv().await, Some(given_up));
        assert_eq!(events.recv().await, None);
    }
}
