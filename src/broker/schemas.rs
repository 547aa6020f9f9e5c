//! Queues' schemas, as operators meet them: a new one is compiled before it counts, and a repair that misses one needs a reason.

use super::handle::BrokerHandle;
use super::messages::Act;
use super::operator_error::{OperatorError, no_such_queue};
use crate::model::limits::{MAX_REASON_BYTES, clip};
use crate::model::{IdempotencyKey, QueueName, RepairRefusal, SCHEMA, SchemaText, SettingChange};
use crate::schema::{Compiled, Miss, with_room};

impl BrokerHandle {
    /// A queue's schema; empty if it has none.
    pub async fn schema(&self, queue: &QueueName) -> Result<SchemaText, OperatorError> {
        let name = queue.clone();
        let schema = self.ask(move |view| view.engine.schema_of(&name).cloned()).await?;
        schema.ok_or_else(|| no_such_queue(queue))
    }

    /// The reason that the journal keeps. A new content that misses its queue's schema needs one, and is told with it; an edit
    /// that is taken back isn't looked at, since what it brings back was there.
    pub(super) async fn reason_for(
        &self,
        queue: &QueueName,
        key: &IdempotencyKey,
        act: &Act,
        reason: String,
    ) -> Result<String, OperatorError> {
        let (Act::Save(edit) | Act::SaveAndRetry(edit)) = act else { return Ok(reason) };
        let missed = self.checks.miss(queue, &edit.payload).await;
        let Some(miss) = missed.map_err(OperatorError::Rejected)? else { return Ok(reason) };
        // What was done before is answered by its key, whatever the schema says by now.
        if reason.trim().is_empty() && self.repair_outcome(key.clone()).await?.is_none() {
            let Miss { path, message } = miss;
            return Err(RepairRefusal::Schema { path, message }.into());
        }
        Ok(with_miss(reason, &miss))
    }
}

/// Schemas are compiled where nobody waits for it: the engine takes them as they are.
pub(super) async fn check_schemas(changes: &[SettingChange]) -> Result<(), OperatorError> {
    for text in changes.iter().filter_map(SettingChange::schema) {
        let checked = tokio::task::spawn_blocking(move || {
            text.check()?;
            let compiled = with_room(|| Compiled::new(&text)).and_then(|compiled| compiled);
            compiled.map(drop).map_err(|error| format!("the schema, {error}"))
        });
        let checked = checked.await.map_err(|_| OperatorError::Stopped)?;
        checked
            .map_err(|reason| RepairRefusal::Invalid { reason: format!("{SCHEMA}: {reason}") })?;
    }
    Ok(())
}

/// A reason, and what of the schema was missed all the same. One that is too long is refused by the engine.
fn with_miss(mut reason: String, miss: &Miss) -> String {
    let note = format!(" [misses the schema: {miss}]");
    if reason.len() <= MAX_REASON_BYTES {
        clip(&mut reason, MAX_REASON_BYTES.saturating_sub(note.len()));
    }
    reason.push_str(&note);
    reason
}
