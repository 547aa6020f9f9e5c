//! The threads that hold payloads against schemas.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::compiled::{Miss, thread};
use super::known::{Schema, Schemas};
use crate::model::limits::MAX_CHECKED_BYTES;
use crate::model::{Content, QueueName, RejectCode, Rejection, SchemaText};

/// Threads at first: a payload of the longest kind takes 50 MB as a value, on each.
const THREADS: usize = 2;
/// Threads at most: one that a schema keeps is replaced, since nothing can stop it.
const MAX_THREADS: usize = 8;
/// How long a check may take, and how long it may wait for a thread: a thousand times what the longest payload needs with a
/// schema of the usual kind.
const LIMIT: Duration = Duration::from_secs(2);
/// Checks that wait. Who asks waits with them, so no connection has more than one here.
const MAX_WAITING: usize = 64;
/// When to try again if all threads are busy, in milliseconds.
const BUSY_RETRY_MS: u64 = 1_000;

/// Holds payloads against the schemas of their queues, beside the loop.
#[derive(Debug)]
pub struct Checks {
    schemas: Arc<Schemas>,
    jobs: mpsc::Sender<Job>,
    taken: Arc<Mutex<mpsc::Receiver<Job>>>,
    threads: AtomicUsize,
    limit: Duration,
}

#[derive(Debug)]
struct Job {
    schema: Arc<Schema>,
    payload: Bytes,
    begun: Arc<AtomicBool>,
    answer: oneshot::Sender<Result<(), Miss>>,
}

/// What came of a check.
enum Checked {
    Known(Result<(), Miss>),
    /// No thread had time for it.
    Busy,
}

impl Checks {
    /// No thread is started before there is something to do.
    pub fn new(schemas: Arc<Schemas>) -> Self {
        let (jobs, taken) = mpsc::channel(MAX_WAITING);
        let taken = Arc::new(Mutex::new(taken));
        Self { schemas, jobs, taken, threads: AtomicUsize::new(0), limit: LIMIT }
    }

    /// Of one schema: for who asks before it sends.
    pub fn of_one(queue: &QueueName, text: &SchemaText) -> Self {
        let schemas = Schemas::default();
        schemas.set(queue, text);
        Self::new(Arc::new(schemas))
    }

    #[cfg(test)]
    pub(super) fn with_limit(schemas: Arc<Schemas>, limit: Duration) -> Self {
        Self { limit, ..Self::new(schemas) }
    }

    /// Which queue has which.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// Refuses a message that its queue's schema refuses. Without a schema it is known at once that none does.
    pub async fn admit(&self, queue: &QueueName, content: &Content) -> Result<(), Rejection> {
        let Some(schema) = self.schemas.of(queue) else { return Ok(()) };
        let id = content.id();
        let bytes = content.payload.len();
        if bytes > MAX_CHECKED_BYTES {
            let reason = format!(
                "the payload has {bytes} bytes; queue {queue} has a schema, and takes at most {MAX_CHECKED_BYTES}"
            );
            return Err(Rejection::new(RejectCode::TooLarge, reason).of(id.clone()));
        }
        match self.check(schema, content.payload.clone()).await {
            Checked::Known(Ok(())) => Ok(()),
            Checked::Known(Err(miss)) => {
                let reason =
                    format!("the payload is not as the schema of queue {queue} says: {miss}");
                Err(Rejection::new(RejectCode::Schema, reason).of(id.clone()))
            }
            Checked::Busy => Err(busy().of(id.clone())),
        }
    }

    /// How a payload misses its queue's schema, if it does.
    pub async fn miss(
        &self,
        queue: &QueueName,
        payload: &Bytes,
    ) -> Result<Option<Miss>, Rejection> {
        let Some(schema) = self.schemas.of(queue) else { return Ok(None) };
        match self.check(schema, payload.clone()).await {
            Checked::Known(checked) => Ok(checked.err()),
            Checked::Busy => Err(busy()),
        }
    }

    async fn check(&self, schema: Arc<Schema>, payload: Bytes) -> Checked {
        if schema.is_avoided() {
            return Checked::Known(Err(too_long()));
        }
        self.start_threads(THREADS);
        let (answer, checked) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let job = Job { schema: Arc::clone(&schema), payload, begun: Arc::clone(&begun), answer };
        match timeout(self.limit, self.jobs.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Checked::Busy,
        }
        // Once for the wait, once for the check.
        let mut checked = checked;
        for _ in 0..2 {
            let was_begun = begun.load(Ordering::Acquire);
            match timeout(self.limit, &mut checked).await {
                Ok(Ok(checked)) => return Checked::Known(checked),
                Ok(Err(_)) => {
                    return Checked::Known(Err(Miss::of_all(
                        "the schema can't be asked: it broke down",
                    )));
                }
                Err(_) if was_begun => break,
                Err(_) => {}
            }
        }
        if !begun.load(Ordering::Acquire) {
            return Checked::Busy;
        }
        schema.avoid();
        let now = self.threads.load(Ordering::Acquire);
        self.start_threads(now.saturating_add(1).min(MAX_THREADS));
        Checked::Known(Err(too_long()))
    }

    /// Sees to it that there are so many.
    fn start_threads(&self, wanted: usize) {
        while self.threads.load(Ordering::Acquire) < wanted {
            let taken = Arc::clone(&self.taken);
            self.threads.fetch_add(1, Ordering::AcqRel);
            // They end with the last sender. One that is in a schema ends with the process.
            if let Err(error) = thread().spawn(move || run(&taken)) {
                self.threads.fetch_sub(1, Ordering::AcqRel);
                tracing::error!(%error, "there is no thread to hold payloads against schemas");
                return;
            }
        }
    }
}

fn run(jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // Who waits for the next job has the lock; the others wait for that.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Job { schema, payload, begun, answer }) = job else { return };
        if answer.is_closed() {
            continue;
        }
        begun.store(true, Ordering::Release);
        let checked = catch_unwind(AssertUnwindSafe(|| ask(&schema, &payload)));
        let Ok(checked) = checked else { continue };
        // Who asked may have gone away.
        let _gone = answer.send(checked);
    }
}

fn ask(schema: &Arc<Schema>, payload: &[u8]) -> Result<(), Miss> {
    if schema.is_avoided() {
        return Err(too_long());
    }
    let compiled = schema
        .compiled()
        .map_err(|error| Miss::of_all(format_args!("the queue's schema can't be used: {error}")))?;
    compiled.check(payload)
}

fn too_long() -> Miss {
    let limit = LIMIT.as_secs();
    Miss::of_all(format_args!(
        "the schema takes longer than {limit} s to tell; make it simpler (anyOf and oneOf over what refers to itself), or take it \
         away"
    ))
}

fn busy() -> Rejection {
    let reason = "too many payloads are just held against schemas; try again in a moment";
    Rejection::new(RejectCode::Busy, reason).retry_after(BUSY_RETRY_MS)
}
