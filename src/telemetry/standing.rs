//! Alerts of what is so now: for those who missed the events that would have told it.

use super::alert::{Alert, Dedup};
use super::datadog::Level::{Error, Success, Warning};
use crate::model::{
    Notice, PoolState, PoolView, QueueView, SagaState, SagaView, StoreHealth, WorkerState,
    WorkerView,
};

/// Of a queue in which something is blocked, or, as far as it was told, is no more.
pub fn of_queue(queue: &QueueView, told: &Dedup) -> Option<Alert> {
    let name = &queue.name;
    if queue.blocked == 0 {
        let is_over = told.stands("blocked", name.as_str());
        let text = format!("{name}: nothing is blocked any more");
        return is_over.then(|| Alert::of_queue("unblocked", Success, name, text));
    }
    let head = queue.head.as_ref();
    let error = head.and_then(|head| Some((head.seq, head.error.as_ref()?)));
    let text = match error {
        Some((seq, error)) => format!("{name} {seq}: {}: {}", error.code, error.message),
        None => format!("{name}: {} messages are blocked", queue.blocked),
    };
    Some(Alert::of_queue("blocked", Error, name, text))
}

/// Of a worker that holds a message for too long, or isn't heard.
pub fn of_worker(worker: &WorkerView) -> Option<Alert> {
    let name = &worker.name;
    match worker.state {
        WorkerState::Stuck => {
            let text = format!("{name} held a message for too long, and has not answered yet");
            // As when it happens: it is about the queue.
            let queue = worker.queues.first()?;
            Some(Alert::of_queue("worker-stuck", Error, queue, text))
        }
        WorkerState::Silent => {
            let text = format!("nothing is heard of {name}");
            Some(Alert::of("worker-silent", Warning, name, text))
        }
        WorkerState::Idle | WorkerState::Busy | WorkerState::Draining => None,
    }
}

/// Of supervised workers that were given up.
pub fn of_pool(pool: &PoolView) -> Option<Alert> {
    match pool.state {
        PoolState::GivenUp => {
            let how = pool.last_exit.as_deref().unwrap_or("how is not known");
            let text = format!("{} ended too often: {how}", pool.name);
            Some(Alert::of("restart-limit", Error, &pool.name, text))
        }
        PoolState::Running | PoolState::Drained => None,
    }
}

/// Of a saga that needs an operator.
pub fn of_saga(saga: &SagaView) -> Option<Alert> {
    match saga.state {
        SagaState::Parked => {
            let why = saga.error.as_ref().map_or("", |error| error.message.as_str());
            let text = format!("saga {} {} is parked: {why}", saga.saga, saga.id);
            Some(Alert::of("saga-parked", Error, saga.id.as_str(), text))
        }
        SagaState::Running
        | SagaState::Compensating
        | SagaState::Completed
        | SagaState::Compensated
        | SagaState::Aborted => None,
    }
}

/// Of a store that takes nothing.
pub fn of_store(health: &StoreHealth) -> Option<Alert> {
    let what = match health {
        StoreHealth::Ok => return None,
        StoreHealth::Unavailable { reason } => Notice::StoreDown { reason: reason.clone() },
        StoreHealth::Full { reason } => Notice::StoreFull { reason: reason.clone() },
    };
    Alert::of_event(&what)
}

/// Of the alerts themselves.
pub fn of_missed(events: u64) -> Alert {
    let text = format!(
        "{events} events came faster than they could be looked at: what stands now is told, what was over before \
         it was seen is not; `mubroker journal` has what operators need"
    );
    Alert::of("missed", Warning, "", text)
}
