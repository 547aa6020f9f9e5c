//! GATHER and its answers: frames to commands and back.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{ClientReply, ClientRequest};
use super::client_codec::{content_of, timeout_of};
use super::frames::{bad_field, envelope_with, json, magic, typed, value_of};
use crate::model::{
    Completion, Content, GatherName, GatherReply, GatherRequest, GatherStatus, MessageId,
    MissingPart, QueueName, Rejection,
};

/// GATHER's own fields, taken out of the message's header. `gather` stays in it, so that a worker knows.
const OWN: [&str; 4] = ["recipients", "complete", "timeout_ms", "aggregate"];

/// GATHER's frames.
pub(super) fn gather(request: &GatherRequest) -> Vec<Bytes> {
    let GatherRequest { gather, content, recipients, complete, timeout_ms, aggregate } = request;
    let mut header = content.header.to_map();
    let mut put = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            header.insert(field.to_owned(), value);
        }
    };
    put("gather", gather.as_ref().map(|name| name.as_str().into()));
    put("recipients", recipients.as_ref().map(|queues| serde_json::json!(queues)));
    put("complete", complete.as_ref().map(Completion::to_json));
    put("timeout_ms", timeout_ms.map(Value::from));
    put("aggregate", aggregate.map(|aggregate| serde_json::json!(aggregate)));
    envelope_with("GATHER", json(&header), content.payload.clone())
}

pub(super) fn gather_of(
    header: &Bytes,
    payload: Bytes,
    new_id: &mut impl FnMut() -> MessageId,
) -> Result<ClientRequest, Rejection> {
    let (content, own) = content_of(header, payload, OWN, new_id)?;
    let id = content.id().clone();
    request_of(content, own).map_err(|rejection| rejection.of(id))
}

fn request_of(content: Content, own: [Option<Value>; 4]) -> Result<ClientRequest, Rejection> {
    let [recipients, complete, timeout, aggregate] = own;
    let gather = match content.header.to_map().get("gather") {
        None => None,
        Some(Value::String(name)) => {
            Some(GatherName::new(name).map_err(|error| bad_field("gather", error))?)
        }
        Some(_) => return Err(bad_field("gather", "a string is needed")),
    };
    let recipients = recipients.map(queues_of).transpose()?;
    let complete = complete.as_ref().map(Completion::of_json).transpose();
    let complete = complete.map_err(|error| bad_field("complete", error))?;
    let timeout_ms = timeout.map(|timeout| timeout_of(&timeout)).transpose()?;
    let aggregate = aggregate.map(|value| value_of("aggregate", value)).transpose()?;
    let request = GatherRequest { gather, content, recipients, complete, timeout_ms, aggregate };
    Ok(ClientRequest::Gather(Box::new(request)))
}

fn queues_of(value: Value) -> Result<Vec<QueueName>, Rejection> {
    let queues: Vec<QueueName> = value_of("recipients", value)?;
    let mut known = std::collections::BTreeSet::new();
    match queues.iter().find(|queue| !known.insert(*queue)) {
        Some(twice) => Err(bad_field("recipients", format!("{twice} is asked twice"))),
        None if queues.is_empty() => Err(bad_field("recipients", "at least one is needed")),
        None => Ok(queues),
    }
}

#[derive(Serialize, Deserialize)]
struct GatherHeader {
    id: MessageId,
    status: GatherStatus,
    parts: Vec<QueueName>,
    missing: Vec<MissingPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition_error: Option<String>,
}

/// REPLY's frames: the header, then the parts.
pub(super) fn reply(reply: &GatherReply) -> Vec<Bytes> {
    let GatherReply { id, status, parts, missing, condition_error, payloads } = reply;
    let header = GatherHeader {
        id: id.clone(),
        status: *status,
        parts: parts.clone(),
        missing: missing.clone(),
        condition_error: condition_error.clone(),
    };
    let mut frames = vec![magic(), Bytes::from_static(b"REPLY"), Bytes::from(json(&header))];
    frames.extend(payloads.iter().cloned());
    frames
}

/// Whether the status of a REPLY is a gather's.
pub(super) fn is_gathers(status: &str) -> bool {
    let all = [GatherStatus::Complete, GatherStatus::Quorum, GatherStatus::Partial];
    all.iter().any(|known| known.as_str() == status)
}

pub(super) fn reply_of(header: &[u8], payloads: Vec<Bytes>) -> Result<ClientReply, Rejection> {
    let GatherHeader { id, status, parts, missing, condition_error } = typed(header)?;
    let reply = GatherReply { id, status, parts, missing, condition_error, payloads };
    Ok(ClientReply::Gathered(Box::new(reply)))
}
