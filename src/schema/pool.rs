//! The threads that ask schemas, and what becomes of a check that takes too long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::compiled::{Miss, thread};
use super::known::{Schema, lock};

/// Threads at first: a payload of the longest kind takes 50 MB as a value, on each.
const THREADS: usize = 2;
/// Threads at most: one that a schema keeps is replaced, since nothing can stop it.
const MAX_THREADS: usize = 8;
/// Checks that wait. Who asks waits with them, so no connection has more than one here.
const MAX_WAITING: usize = 64;

/// Threads that ask schemas. They end with the pool; one that is in a schema ends with the process.
#[derive(Debug)]
pub(super) struct Pool {
    jobs: mpsc::Sender<Job>,
    taken: Arc<Mutex<mpsc::Receiver<Job>>>,
    threads: Arc<Mutex<Threads>>,
    limit: Duration,
}

/// How many there are.
#[derive(Debug, Default)]
struct Threads {
    all: usize,
    /// Of those: in a schema that was given up.
    kept: usize,
}

#[derive(Debug)]
struct Job {
    schema: Arc<Schema>,
    payload: Bytes,
    stage: Arc<Mutex<Stage>>,
    answer: oneshot::Sender<Checked>,
}

/// What came of a check.
#[derive(Debug)]
pub(super) enum Checked {
    Known(Result<(), Miss>),
    /// It ran until its time was over.
    Overran,
    /// It wasn't begun: the schema takes too long, and isn't asked for this while.
    Avoided(Duration),
    /// It wasn't begun: no thread had time for it.
    Busy,
}

/// How far a check is. Who asks and the thread agree on it here, so that no thread is in a schema unwatched.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Waiting,
    Running(Instant),
    /// Nobody wants it any more: it isn't begun.
    Dropped,
    /// It runs on, and was given up.
    Overran,
    Ended,
}

/// Who asks: a check that waits when he goes away isn't begun.
struct Asker(Arc<Mutex<Stage>>);

impl Drop for Asker {
    fn drop(&mut self) {
        let mut stage = lock(&self.0);
        if let Stage::Waiting = *stage {
            *stage = Stage::Dropped;
        }
    }
}

impl Pool {
    /// No thread is started before there is something to do. `limit`: how long a check may wait, and how long it may run.
    pub(super) fn new(limit: Duration) -> Self {
        let (jobs, taken) = mpsc::channel(MAX_WAITING);
        Self { jobs, taken: Arc::new(Mutex::new(taken)), threads: Arc::default(), limit }
    }

    /// All threads, and those that are in a schema that was given up.
    #[cfg(test)]
    pub(super) fn threads(&self) -> (usize, usize) {
        let threads = lock(&self.threads);
        (threads.all, threads.kept)
    }

    /// How long a check may run.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Holds a payload against a schema. If this is dropped, what it has begun is watched all the same.
    pub(super) async fn check(self: &Arc<Self>, schema: Arc<Schema>, payload: Bytes) -> Checked {
        if let Some(pause) = schema.avoided() {
            return Checked::Avoided(pause);
        }
        self.start_threads();
        let (answer, checked) = oneshot::channel();
        let stage = Arc::new(Mutex::new(Stage::Waiting));
        let asker = Asker(Arc::clone(&stage));
        let job = Job { schema: Arc::clone(&schema), payload, stage: Arc::clone(&stage), answer };
        match timeout(self.limit, self.jobs.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Checked::Busy,
        }
        // A task of its own: it replaces the thread whoever still waits for the answer.
        let watched = tokio::spawn(Arc::clone(self).watch(schema, stage, checked)).await;
        drop(asker);
        watched.unwrap_or(Checked::Busy)
    }

    /// What came of a check that a thread may have taken by now.
    async fn watch(
        self: Arc<Self>,
        schema: Arc<Schema>,
        stage: Arc<Mutex<Stage>>,
        mut checked: oneshot::Receiver<Checked>,
    ) -> Checked {
        let mut until = Instant::now() + self.limit;
        loop {
            match timeout_at(until, &mut checked).await {
                Ok(Ok(checked)) => return checked,
                // It was dropped before it was begun.
                Ok(Err(_)) => return Checked::Busy,
                Err(_) => {}
            }
            let mut stage = lock(&stage);
            let now = Instant::now();
            match *stage {
                Stage::Waiting => {
                    *stage = Stage::Dropped;
                    return Checked::Busy;
                }
                Stage::Running(since) if now < since + self.limit => until = since + self.limit,
                Stage::Running(_) => {
                    *stage = Stage::Overran;
                    schema.overran();
                    lock(&self.threads).kept += 1;
                    drop(stage);
                    self.start_threads();
                    return Checked::Overran;
                }
                // Its answer is under way.
                Stage::Ended => until = now + self.limit,
                Stage::Dropped | Stage::Overran => return Checked::Busy,
            }
        }
    }

    /// Sees to it that there are enough.
    fn start_threads(&self) {
        let mut threads = lock(&self.threads);
        while threads.all < threads.wanted() {
            let (taken, all) = (Arc::clone(&self.taken), Arc::clone(&self.threads));
            if let Err(error) = thread().spawn(move || run(&taken, &all)) {
                tracing::error!(%error, "there is no thread to hold payloads against schemas");
                return;
            }
            threads.all += 1;
        }
    }
}

impl Threads {
    fn wanted(&self) -> usize {
        THREADS.saturating_add(self.kept).min(MAX_THREADS)
    }
}

fn run(jobs: &Mutex<mpsc::Receiver<Job>>, threads: &Mutex<Threads>) {
    loop {
        // Who waits for the next job has the lock; the others wait for that.
        let job = lock(jobs).blocking_recv();
        let Some(Job { schema, payload, stage, answer }) = job else { return };
        {
            let mut stage = lock(&stage);
            let Stage::Waiting = *stage else { continue };
            *stage = Stage::Running(Instant::now());
        }
        let checked = catch_unwind(AssertUnwindSafe(|| ask(&schema, &payload)))
            .unwrap_or_else(|_| Checked::Known(Err(broken())));
        // It may be large.
        drop(payload);
        let stage = std::mem::replace(&mut *lock(&stage), Stage::Ended);
        // Who asked may have gone away.
        let _gone = answer.send(checked);
        if let Stage::Overran = stage {
            schema.came_back();
            let mut threads = lock(threads);
            threads.kept = threads.kept.saturating_sub(1);
            // Another has taken its place.
            if threads.all > threads.wanted() {
                threads.all = threads.all.saturating_sub(1);
                return;
            }
        }
    }
}

fn ask(schema: &Arc<Schema>, payload: &[u8]) -> Checked {
    // It may have taken too long since this was asked.
    if let Some(pause) = schema.avoided() {
        return Checked::Avoided(pause);
    }
    let asked = match schema.compiled() {
        Ok(compiled) => compiled.check(payload),
        Err(error) => Err(Miss::of_all(format_args!("the queue's schema can't be used: {error}"))),
    };
    Checked::Known(asked)
}

fn broken() -> Miss {
    Miss::of_all("the schema can't be asked: it broke down")
}
