//! Payloads held against the schemas of their queues, and what is said of those that don't fit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::compiled::Miss;
use super::known::Schemas;
use super::pool::{Checked, Pool};
use crate::model::limits::MAX_CHECKED_BYTES;
use crate::model::{Content, QueueName, RejectCode, Rejection, SchemaText};

/// How long a check may take, and how long it may wait for a thread: a thousand times what the longest payload needs with a
/// schema of the usual kind.
const LIMIT: Duration = Duration::from_secs(2);
/// When to try again if all threads are busy, in milliseconds.
const BUSY_RETRY_MS: u64 = 1_000;

/// Holds payloads against the schemas of their queues, beside the loop.
#[derive(Debug)]
pub struct Checks {
    schemas: Arc<Schemas>,
    pool: Arc<Pool>,
}

impl Checks {
    /// No thread is started before there is something to do.
    pub fn new(schemas: Arc<Schemas>) -> Self {
        Self { schemas, pool: Arc::new(Pool::new(LIMIT)) }
    }

    /// Of one schema: for who asks before it sends.
    pub fn of_one(queue: &QueueName, text: &SchemaText) -> Self {
        let schemas = Schemas::default();
        schemas.set(queue, text);
        Self::new(Arc::new(schemas))
    }

    #[cfg(test)]
    pub(super) fn with_limit(schemas: Arc<Schemas>, limit: Duration) -> Self {
        Self { schemas, pool: Arc::new(Pool::new(limit)) }
    }

    #[cfg(test)]
    pub(super) fn threads(&self) -> (usize, usize) {
        self.pool.threads()
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
        let refused = match self.pool.check(schema, content.payload.clone()).await {
            Checked::Known(Ok(())) => return Ok(()),
            Checked::Known(Err(miss)) => unfit(queue, &miss),
            Checked::Overran => unfit(queue, &self.too_long()),
            Checked::Avoided(pause) => {
                let reason = format!(
                    "the schema of queue {queue} took longer than {} s to tell of another payload, and isn't asked for a while; \
                     make it simpler, or take it away",
                    self.pool.limit().as_secs_f64()
                );
                let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                Rejection::new(RejectCode::Busy, reason).retry_after(pause_ms.max(BUSY_RETRY_MS))
            }
            Checked::Busy => busy(),
        };
        Err(refused.of(id.clone()))
    }

    /// How a payload misses its queue's schema, if it does. What can't be told in time misses it: a repair is possible then.
    pub async fn miss(
        &self,
        queue: &QueueName,
        payload: &Bytes,
    ) -> Result<Option<Miss>, Rejection> {
        let Some(schema) = self.schemas.of(queue) else { return Ok(None) };
        match self.pool.check(schema, payload.clone()).await {
            Checked::Known(checked) => Ok(checked.err()),
            Checked::Overran | Checked::Avoided(_) => Ok(Some(self.too_long())),
            Checked::Busy => Err(busy()),
        }
    }

    fn too_long(&self) -> Miss {
        let limit = self.pool.limit().as_secs_f64();
        Miss::of_all(format_args!(
            "the schema takes longer than {limit} s to tell; make it simpler (anyOf and oneOf over what refers to itself), or \
             take it away"
        ))
    }
}

fn unfit(queue: &QueueName, miss: &Miss) -> Rejection {
    let reason = format!("the payload is not as the schema of queue {queue} says: {miss}");
    Rejection::new(RejectCode::Schema, reason)
}

fn busy() -> Rejection {
    let reason = "too many payloads are just held against schemas; try again in a moment";
    Rejection::new(RejectCode::Busy, reason).retry_after(BUSY_RETRY_MS)
}
