//! What callers are told: replies, their parts, and what was kept.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::client::ClientReply;
use super::frames::{envelope_with, exactly, json, typed};
use super::gather_codec;
use crate::model::{
    CallPart, CallReply, CallStatus, MessageId, MessageState, QueueName, Rejection, Seq,
    StatusReport, WorkError,
};

#[derive(Serialize, Deserialize)]
struct ReplyHeader {
    id: MessageId,
    status: CallStatus,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    error: Option<WorkError>,
}

/// The status of a part; no end has it.
const PART: &str = "part";

#[derive(Serialize, Deserialize)]
struct PartHeader {
    id: MessageId,
    status: String,
    attempt: u32,
    part: u32,
}

/// Tells a part from an end.
#[derive(Deserialize)]
struct StatusProbe {
    status: String,
}

/// [`StatusReport`] without the last failure, which the reply tells, and with the reply that is kept.
#[derive(Serialize, Deserialize)]
struct StatusReplyHeader {
    id: MessageId,
    state: MessageState,
    queue: QueueName,
    seq: Seq,
    attempt: u32,
    reply: KeptHeader,
}

#[derive(Serialize, Deserialize)]
struct KeptHeader {
    status: CallStatus,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    error: Option<WorkError>,
}

pub(super) fn reply_of(mut frames: Vec<Bytes>) -> Result<ClientReply, Rejection> {
    let header = frames.first().cloned().unwrap_or_default();
    let StatusProbe { status } = typed(&header)?;
    if gather_codec::is_gathers(&status) {
        frames.remove(0);
        return gather_codec::reply_of(&header, frames);
    }
    let [header, payload] = exactly("REPLY", "header, payload", frames)?;
    if status == PART {
        let PartHeader { id, attempt, part, .. } = typed(&header)?;
        return Ok(ClientReply::Part(CallPart { id, attempt, part, payload }));
    }
    let ReplyHeader { id, status, error } = typed(&header)?;
    Ok(ClientReply::Reply(CallReply { id, status, error, payload }))
}

pub(super) fn status_of(frames: Vec<Bytes>) -> Result<ClientReply, Rejection> {
    if frames.len() < 2 {
        let [header] = exactly("STATUS", "header", frames)?;
        return typed(&header).map(ClientReply::Status);
    }
    let [header, payload] = exactly("STATUS", "header, payload", frames)?;
    let StatusReplyHeader { id, state, queue, seq, attempt, reply } = typed(&header)?;
    let KeptHeader { status, error } = reply;
    let reply = CallReply { id: id.clone(), status, error, payload };
    let report = StatusReport { id, state, queue, seq, attempt, error: None };
    Ok(ClientReply::StatusReply { report, reply })
}

/// REPLY's frames.
pub(super) fn reply(reply: &CallReply) -> Vec<Bytes> {
    let CallReply { id, status, error, payload } = reply;
    let header = ReplyHeader { id: id.clone(), status: *status, error: error.clone() };
    envelope_with("REPLY", json(&header), payload.clone())
}

/// REPLY's frames before the end.
pub(super) fn part(part: &CallPart) -> Vec<Bytes> {
    let CallPart { id, attempt, part, payload } = part;
    let (id, status) = (id.clone(), PART.to_owned());
    let header = PartHeader { id, status, attempt: *attempt, part: *part };
    envelope_with("REPLY", json(&header), payload.clone())
}

/// STATUS' frames with what was kept.
pub(super) fn status_reply(report: &StatusReport, reply: &CallReply) -> Vec<Bytes> {
    let header = StatusReplyHeader {
        id: report.id.clone(),
        state: report.state,
        queue: report.queue.clone(),
        seq: report.seq,
        attempt: report.attempt,
        reply: KeptHeader { status: reply.status, error: reply.error.clone() },
    };
    envelope_with("STATUS", json(&header), reply.payload.clone())
}
