//! New payloads held against their queue's schema before they are sent.

use bytes::Bytes;

use crate::admin::client::{AdminClient, AdminError};
use crate::admin::dto::{QueueName, RepairRefusal, SchemaText};
use crate::cli::failure::Failure;
use crate::schema::{Checks, Miss};

/// One queue's schema.
pub(super) struct Asked {
    queue: QueueName,
    checks: Checks,
}

impl Asked {
    /// The queue's schema as the broker has it.
    pub(super) async fn of(client: &AdminClient, queue: &QueueName) -> Result<Self, Failure> {
        let text = match client.schema(queue).await {
            Ok(view) => SchemaText::new(&view.text),
            // Who may edit but not read is told by the broker.
            Err(AdminError::Problem(problem)) if problem.code == "forbidden" => {
                SchemaText::default()
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { queue: queue.clone(), checks: Checks::of_one(queue, &text) })
    }

    /// How the payload misses it, if it does.
    pub(super) async fn miss(&self, payload: &[u8]) -> Result<Option<Miss>, Failure> {
        let missed = self.checks.miss(&self.queue, &Bytes::copy_from_slice(payload)).await;
        missed.map_err(|rejection| Failure::new(rejection.reason))
    }
}

/// As the broker refuses it.
pub(super) fn refusal(miss: Miss) -> RepairRefusal {
    let Miss { path, message } = miss;
    RepairRefusal::Schema { path, message }
}
