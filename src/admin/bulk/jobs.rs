//! The bulk repairs that run, and the last ones that did.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use super::super::failure::Failure;
use super::job::Job;
use crate::model::IdempotencyKey;
use crate::model::limits::MAX_BULK_ITEMS;

/// At once: each has some repairs under way, for which other operators' reads wait.
const MAX_RUNNING: usize = 4;
/// In all: more than an operator looks back at.
const MAX_KEPT: usize = 32;
/// Their messages in all, each with what came of it in some hundred bytes.
const MAX_KEPT_ITEMS: usize = 8 * MAX_BULK_ITEMS;

/// By key, the oldest first.
#[derive(Default)]
pub(super) struct Jobs(Mutex<Vec<Arc<Job>>>);

/// What became of a new one.
pub(super) enum Put {
    /// It is to be run.
    New(Arc<Job>),
    /// The same request was sent before.
    Known(Arc<Job>),
}

impl Jobs {
    fn jobs(&self) -> MutexGuard<'_, Vec<Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refused if its key is another one's, or too many run.
    pub(super) fn put(&self, job: Job) -> Result<Put, Failure> {
        let mut jobs = self.jobs();
        if let Some(known) = jobs.iter().find(|known| known.request.key == job.request.key) {
            let is_same = known.queue == job.queue
                && known.actor.name == job.actor.name
                && known.request == job.request;
            return match is_same {
                true => Ok(Put::Known(Arc::clone(known))),
                false => {
                    let detail = "this key was used for another bulk repair; give each its own";
                    Err(Failure::new(StatusCode::CONFLICT, "key_reused", detail))
                }
            };
        }
        let running = jobs.iter().filter(|job| !job.is_over()).count();
        if running >= MAX_RUNNING {
            let detail = format!(
                "{running} bulk repairs run already; wait until one is over, or stop one (`GET /v1/bulk` has them)"
            );
            return Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail));
        }
        make_room(&mut jobs);
        let job = Arc::new(job);
        jobs.push(Arc::clone(&job));
        Ok(Put::New(job))
    }

    pub(super) fn find(&self, key: &IdempotencyKey) -> Option<Arc<Job>> {
        self.jobs().iter().find(|job| job.request.key == *key).cloned()
    }

    /// The newest first.
    pub(super) fn all(&self) -> Vec<Arc<Job>> {
        self.jobs().iter().rev().cloned().collect()
    }
}

/// Those that have been over for longest go, until there is room for one of any size.
fn make_room(jobs: &mut Vec<Arc<Job>>) {
    let mut items: usize = jobs.iter().map(|job| job.len()).sum();
    while jobs.len() >= MAX_KEPT || items + MAX_BULK_ITEMS > MAX_KEPT_ITEMS {
        let Some(oldest) = jobs.iter().position(|job| job.is_over()) else { return };
        items -= jobs.remove(oldest).len();
    }
}
