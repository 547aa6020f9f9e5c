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
            WorkerMessage::Nack { delivery, error: error.clipped(), action, delay_ms }
        }
    }
}

/// The worker stops, and the work took longer than its grace.
pub(super) fn ended() -> Failure {
    Failure::of("stopped", "the worker stopped before it was done")
}

pub(super) fn over_credit() -> Failure {
    Failure::of("over-credit", "the worker was given more than its credit")
}

/// A handler's panic blocks at once: the same message would only panic again.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned());
    let error = WorkError::new("panic", format!("the handler panicked: {text}"));
    Failure { error, action: NackAction::Block, delay_ms: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Generation;

    #[test]
    fn an_error_is_cut_to_what_a_header_holds() {
        let text = "\u{1}".repeat(100_000);
        let error = WorkError { code: text.clone(), message: text.clone(), detail: text };
        let delivery = DeliveryId { generation: Generation(1), number: 1 };
        let frames = answer_to(delivery, Err(Failure::new(error))).encode();
        let header = frames.get(2).expect("a NACK has a header");
        assert!(header.len() < crate::model::limits::MAX_HEADER_BYTES);
        assert!(WorkerMessage::decode(frames).is_ok());
    }
}
