//! What happens, to follow.

use super::{AdminClient, AdminError, EventStream, with_query};
use crate::admin::dto::{BrokerEvent, EventId, QueueName};

/// Which events are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// From after this one on; from now on if absent.
    pub after: Option<EventId>,
    /// Of these types only; of all if empty.
    pub types: Vec<String>,
    /// About this queue only.
    pub queue: Option<QueueName>,
}

impl AdminClient {
    /// `GET /v1/events`: what happens, as it happens. Returns once the broker has answered.
    pub async fn events(&self, query: &EventQuery) -> Result<EventStream<BrokerEvent>, AdminError> {
        let types = Some(query.types.join(",")).filter(|types| !types.is_empty());
        let path = with_query(
            "/v1/events".to_owned(),
            &[
                ("after", query.after.map(|id| id.to_string())),
                ("type", types),
                ("queue", query.queue.as_ref().map(QueueName::to_string)),
            ],
        );
        self.follow(&path).await
    }
}
