//! The supervisor beside an embedded broker: a thread of its own, so that what it starts ends with it.

use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::broker::{BrokerHandle, OperatorError, PoolRequest};
use crate::model::{Actor, Notice, WorkerPool, WorkerState};
use crate::worker::supervisor::{SupervisorEvent, SupervisorOptions, SupervisorRequest, supervise};

/// Requests and events that may wait; each is small, and taken at once.
const MAX_WAITING: usize = 256;
/// Between two looks at workers that are stuck or silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long processes may take to end by themselves when the broker stops; it has five seconds in all.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long all of them may take, after which the kernel and the keeper end them.
const STOPPED_LIMIT: Duration = Duration::from_secs(4);

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
        datadog: String,
        broker: BrokerHandle,
        asked: mpsc::Receiver<PoolRequest>,
    ) -> std::io::Result<Self> {
        let options = SupervisorOptions {
            program: std::env::current_exe()?,
            launcher: super::processes::own_program()?,
            endpoint,
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
                // Nobody waits for an event; one that finds no room is in the log all the same.
                let observe = move |event| drop(observed.try_send(event));
                if let Err(error) = supervise(options, pools, requested, observe).await {
                    tracing::error!(%error, "supervised workers can't be started");
                }
            });
        })?;
        Ok(Self { requests })
    }

    /// Ends all processes, and waits for that.
    pub(super) async fn stop(self) {
        let (done, ended) = oneshot::channel();
        if self.requests.send(SupervisorRequest::Stop { done }).await.is_ok() {
            // It went away: so have the processes.
            let _ended = tokio::time::timeout(STOPPED_LIMIT, ended).await;
        }
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
                    let actor = Actor::broker();
                    match broker.set_paused(actor, queue.clone(), true, reason.clone()).await {
                        Ok(()) => {}
                        // It has never had a message.
                        Err(OperatorError::Refused(_)) => {}
                        Err(error) => tracing::error!(%queue, %error, "it can't be paused"),
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
