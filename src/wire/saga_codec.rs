//! The verb of sagas: frames to a command and back.

use bytes::Bytes;
use serde_json::Value;

use super::client::ClientRequest;
use super::client_codec::content_of;
use super::frames::{bad_field, envelope_with, json};
use crate::model::{Content, MessageId, Rejection, SagaName};

/// START's frames.
pub(super) fn start(saga: &SagaName, input: &Content) -> Vec<Bytes> {
    let mut header = input.header.to_map();
    header.insert("saga".to_owned(), saga.as_str().into());
    envelope_with("START", json(&header), input.payload.clone())
}

pub(super) fn start_of(
    header: &Bytes,
    payload: Bytes,
    new_id: &mut impl FnMut() -> MessageId,
) -> Result<ClientRequest, Rejection> {
    let (input, [saga]) = content_of(header, payload, ["saga"], new_id)?;
    let of = |rejection: Rejection| rejection.of(input.id().clone());
    let saga = match saga {
        Some(Value::String(name)) => {
            SagaName::new(&name).map_err(|error| of(bad_field("saga", error)))?
        }
        Some(_) => return Err(of(bad_field("saga", "a string is needed"))),
        None => return Err(of(bad_field("saga", "is missing"))),
    };
    Ok(ClientRequest::Start { saga, input })
}
