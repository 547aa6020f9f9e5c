//! What a worker answers, by what came of the work.

use std::any::Any;

use bytes::Bytes;

use crate::model::{DeliveryId, NackAction, WorkError};
use crate::wire::WorkerMessage;
use crate::worker::Failure;

pub(super) fn answer_to(delivery: DeliveryId, result: Result<Bytes, Failure>) -> WorkerMessage {
    match result {
        Ok(reply) => WorkerMessage::Ack { delivery, reply },
        Err(Failure { error, action, delay_ms }) => {
            WorkerMessage::Nack { delivery, error, action, delay_ms }
        }
    }
}

pub(super) fn over_credit() -> Failure {
    Failure::new(WorkError {
        code: "over-credit".to_owned(),
        message: "the worker was given more than its credit".to_owned(),
        detail: String::new(),
    })
}

/// A handler's panic blocks at once: the same message would only panic again.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned());
    let error = WorkError {
        code: "panic".to_owned(),
        message: format!("the handler panicked: {text}"),
        detail: String::new(),
    };
    Failure { error, action: NackAction::Block, delay_ms: None }
}
