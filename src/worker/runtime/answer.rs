//! What a worker answers, by what came of the work.

use std::any::Any;

use bytes::Bytes;

use crate::model::{DeliveryId, NackAction, WorkError};
use crate::wire::WorkerMessage;
use crate::worker::Failure;

/// What of an error is sent, in bytes. As much as the broker keeps; and if JSON makes six bytes of each, it still fits
/// a header: a NACK that is refused would leave the lease to run out, and its reason unknown.
const MAX_CODE: usize = 64;
const MAX_MESSAGE: usize = 1_024;
const MAX_DETAIL: usize = 8 * 1_024;

pub(super) fn answer_to(delivery: DeliveryId, result: Result<Bytes, Failure>) -> WorkerMessage {
    match result {
        Ok(reply) => WorkerMessage::Ack { delivery, reply },
        Err(Failure { mut error, action, delay_ms }) => {
            let WorkError { code, message, detail } = &mut error;
            for (text, max) in [(code, MAX_CODE), (message, MAX_MESSAGE), (detail, MAX_DETAIL)] {
                text.truncate(text.floor_char_boundary(max));
            }
            WorkerMessage::Nack { delivery, error, action, delay_ms }
        }
    }
}

/// The worker stops, and the work took longer than its grace.
pub(super) fn ended() -> Failure {
    Failure::new(WorkError {
        code: "stopped".to_owned(),
        message: "the worker stopped before it was done".to_owned(),
        detail: String::new(),
    })
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
