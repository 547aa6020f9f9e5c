//! A delivery for tests of handlers.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::model::{Content, DeliveryId, Generation, Header, QueueName, Seq};
use crate::wire::Delivery;

/// Delivery `1.a` of `orders` 7, the second attempt.
pub(super) fn delivery(header: &Value, payload: impl Into<Bytes>) -> Delivery {
    Delivery {
        delivery: DeliveryId { generation: Generation(1), number: 10 },
        queue: QueueName::new("orders").expect("a valid name"),
        seq: Seq(7),
        attempt: 2,
        deadline_ms: 30_000,
        content: Arc::new(Content {
            header: Header::from_json(header.to_string().as_bytes()).expect("a valid header"),
            payload: payload.into(),
        }),
    }
}
