//! Client frames to commands and back.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{ClientReply, ClientRequest, SendRequest};
use super::frames::{
    Fields, bad_field, bad_header, bare, check_payload, envelope, envelope_with, exactly, flag,
    header_or_none, join, json, magic, malformed, open, typed, unknown_verb,
};
use super::{gather_codec, reply_codec, saga_codec, topic_codec};
use crate::model::limits::{
    DEFAULT_CALL_TIMEOUT_MS, MAX_CALL_TIMEOUT_MS, MAX_SENDMANY_MESSAGES, MAX_WIRE_MESSAGE_BYTES,
};
use crate::model::{
    Accepted, Content, Header, Hidden, MessageId, QueueName, RejectCode, Rejection, TopicName,
    parse_object,
};

const KNOWN: &str =
    "HELLO, SEND, SENDMANY, CALL, PUBLISH, GATHER, SUBSCRIBE, UNSUBSCRIBE, START, STATUS, PING";
const KNOWN_REPLIES: &str =
    "WELCOME, ACCEPTED, SUBSCRIBED, UNSUBSCRIBED, REPLY, STATUS, PONG, REJECTED";

impl ClientRequest {
    /// The frames, magic first; no identity, no delimiter.
    pub fn encode(&self) -> Vec<Bytes> {
        match self {
            Self::Hello { token, client, version } => {
                envelope("HELLO", json(&HelloHeader { token: token.as_ref(), client, version }))
            }
            Self::Send(send) => {
                envelope_with("SEND", send_header(send, None), send.content.payload.clone())
            }
            Self::SendMany(sends) => {
                let mut frames = vec![magic(), Bytes::from_static(b"SENDMANY")];
                for send in sends {
                    frames.push(Bytes::from(send_header(send, None)));
                    frames.push(send.content.payload.clone());
                }
                frames
            }
            Self::Call { send, timeout_ms, parts } => envelope_with(
                "CALL",
                send_header(send, Some((*timeout_ms, *parts))),
                send.content.payload.clone(),
            ),
            Self::Publish { topic, content, mandatory } => {
                topic_codec::publish(topic, content, *mandatory)
            }
            Self::Start { saga, input } => saga_codec::start(saga, input),
            Self::Gather(request) => gather_codec::gather(request),
            Self::Subscribe { topic, subscription } => topic_codec::subscribe(topic, subscription),
            Self::Unsubscribe { topic, queue } => {
                envelope("UNSUBSCRIBE", json(&UnsubscribeHeader { topic, queue }))
            }
            Self::Status { id, queue, reply } => envelope(
                "STATUS",
                json(&StatusHeader { id: id.clone(), queue: queue.clone(), reply: *reply }),
            ),
            Self::Ping => bare("PING"),
        }
    }

    /// Reads frames, magic first. `new_id` makes the ids of messages that come without one. The
    /// rejection is what the peer is to be told; it carries the message's id where it could be read.
    pub fn decode(
        frames: Vec<Bytes>,
        mut new_id: impl FnMut() -> MessageId,
    ) -> Result<Self, Rejection> {
        let (verb, frames) = open(frames)?;
        match &verb[..] {
            b"SEND" => {
                let [header, payload] = exactly("SEND", "header, payload", frames)?;
                send_of(&header, payload, &mut new_id).map(Self::Send)
            }
            b"SENDMANY" => many_of(frames, &mut new_id),
            b"CALL" => {
                let [header, payload] = exactly("CALL", "header, payload", frames)?;
                call_of(&header, payload, &mut new_id)
            }
            b"STATUS" => {
                let [header] = exactly("STATUS", "header", frames)?;
                let mut fields = Fields::parse(&header)?;
                Ok(Self::Status {
                    id: fields.id("id")?,
                    queue: fields.optional_id("queue")?,
                    reply: fields.of("reply")?,
                })
            }
            b"HELLO" => {
                let (token, client, version) = hello_of(frames)?;
                Ok(Self::Hello { token, client, version })
            }
            b"PING" => {
                Fields::parse(&header_or_none("PING", frames)?)?;
                Ok(Self::Ping)
            }
            b"PUBLISH" => {
                let [header, payload] = exactly("PUBLISH", "header, payload", frames)?;
                topic_codec::publish_of(&header, payload, &mut new_id)
            }
            b"SUBSCRIBE" => {
                let [header] = exactly("SUBSCRIBE", "header", frames)?;
                topic_codec::subscribe_of(&header)
            }
            b"UNSUBSCRIBE" => {
                let [header] = exactly("UNSUBSCRIBE", "header", frames)?;
                topic_codec::unsubscribe_of(&header)
            }
            b"START" => {
                let [header, payload] = exactly("START", "header, payload", frames)?;
                saga_codec::start_of(&header, payload, &mut new_id)
            }
            b"GATHER" => {
                let [header, payload] = exactly("GATHER", "header, payload", frames)?;
                gather_codec::gather_of(&header, payload, &mut new_id)
            }
            b"READY" | b"ACK" | b"NACK" | b"PROGRESS" | b"HEARTBEAT" => {
                let reason = "this is a worker's verb; workers connect to the workers' address";
                Err(Rejection::new(RejectCode::Unsupported, reason))
            }
            other => Err(unknown_verb(other, KNOWN)),
        }
    }
}

impl ClientReply {
    /// The frames, magic first; no identity, no delimiter.
    pub fn encode(&self) -> Vec<Bytes> {
        match self {
            Self::Welcome(welcome) => envelope("WELCOME", json(welcome)),
            Self::Accepted(accepted) => envelope("ACCEPTED", json(accepted)),
            Self::AcceptedMany(accepted) => {
                envelope("ACCEPTED", json(&AcceptedManyHeader { accepted: accepted.clone() }))
            }
            Self::Published(published) => envelope("ACCEPTED", json(published)),
            Self::Started(started) => envelope("ACCEPTED", json(started)),
            Self::Subscribed(change) => envelope("SUBSCRIBED", json(change)),
            Self::Unsubscribed(change) => envelope("UNSUBSCRIBED", json(change)),
            Self::Reply(reply) => reply_codec::reply(reply),
            Self::Part(part) => reply_codec::part(part),
            Self::Gathered(reply) => gather_codec::reply(reply),
            Self::GatherAccepted(accepted) => envelope("ACCEPTED", json(accepted)),
            Self::Status(report) => envelope("STATUS", json(report)),
            Self::StatusReply { report, reply } => reply_codec::status_reply(report, reply),
            Self::Pong => bare("PONG"),
            Self::Rejected(rejection) => envelope("REJECTED", json(rejection)),
        }
    }

    /// Reads frames, magic first. The rejection says what is wrong with them.
    pub fn decode(frames: Vec<Bytes>) -> Result<Self, Rejection> {
        let (verb, frames) = open(frames)?;
        match &verb[..] {
            b"ACCEPTED" => {
                let [header] = exactly("ACCEPTED", "header", frames)?;
                // Not through `Fields`: a SENDMANY's list may be longer than a header may be.
                match typed(&header)? {
                    Probe { accepted: Some(_), .. } => typed(&header)
                        .map(|AcceptedManyHeader { accepted }| Self::AcceptedMany(accepted)),
                    Probe { topic: Some(_), .. } => typed(&header).map(Self::Published),
                    Probe { saga: Some(_), .. } => typed(&header).map(Self::Started),
                    Probe { recipients: Some(_), .. } => typed(&header).map(Self::GatherAccepted),
                    Probe { accepted: None, topic: None, saga: None, recipients: None } => {
                        typed(&header).map(Self::Accepted)
                    }
                }
            }
            b"SUBSCRIBED" => {
                let [header] = exactly("SUBSCRIBED", "header", frames)?;
                typed(&header).map(Self::Subscribed)
            }
            b"UNSUBSCRIBED" => {
                let [header] = exactly("UNSUBSCRIBED", "header", frames)?;
                typed(&header).map(Self::Unsubscribed)
            }
            b"REPLY" => reply_codec::reply_of(frames),
            b"REJECTED" => {
                let [header] = exactly("REJECTED", "header", frames)?;
                typed(&header).map(Self::Rejected)
            }
            b"STATUS" => reply_codec::status_of(frames),
            b"WELCOME" => {
                let [header] = exactly("WELCOME", "header", frames)?;
                typed(&header).map(Self::Welcome)
            }
            b"PONG" => header_or_none("PONG", frames).map(|_| Self::Pong),
            other => Err(unknown_verb(other, KNOWN_REPLIES)),
        }
    }
}

#[derive(Serialize)]
pub(super) struct HelloHeader<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<&'a Hidden>,
    pub(super) client: &'a str,
    pub(super) version: &'a str,
}

/// Token, name and version of who says HELLO.
pub(super) fn hello_of(frames: Vec<Bytes>) -> Result<(Option<Hidden>, String, String), Rejection> {
    let fields = Fields::parse(&header_or_none("HELLO", frames)?)?;
    let token = fields.text("token")?.map(|token| Hidden(token.to_owned()));
    Ok((token, fields.note("client")?, fields.note("version")?))
}

#[derive(Serialize)]
struct UnsubscribeHeader<'a> {
    topic: &'a TopicName,
    queue: &'a QueueName,
}

#[derive(Serialize)]
struct StatusHeader {
    id: MessageId,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueName>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reply: bool,
}

/// Tells answers to SENDMANY, PUBLISH, START and GATHER from one to SEND.
#[derive(Deserialize)]
struct Probe {
    accepted: Option<IgnoredAny>,
    topic: Option<IgnoredAny>,
    saga: Option<IgnoredAny>,
    recipients: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
struct AcceptedManyHeader {
    accepted: Vec<Accepted>,
}

fn send_header(send: &SendRequest, call: Option<(u64, bool)>) -> Vec<u8> {
    // A queue's name has no character that JSON escapes.
    let mut own = format!("\"queue\":\"{}\"", send.queue);
    if let Some((timeout_ms, parts)) = call {
        own += &format!(",\"timeout_ms\":{timeout_ms}");
        if parts {
            own += ",\"parts\":true";
        }
    }
    join(&own, send.content.header.json())
}

fn send_of(
    header: &Bytes,
    payload: Bytes,
    new_id: &mut impl FnMut() -> MessageId,
) -> Result<SendRequest, Rejection> {
    let (content, [queue]) = content_of(header, payload, ["queue"], new_id)?;
    let queue = queue_of(queue).map_err(|e| e.of(content.id().clone()))?;
    Ok(SendRequest { queue, content })
}

pub(super) fn timeout_of(timeout: &Value) -> Result<u64, Rejection> {
    let ms = timeout.as_u64().filter(|ms| (1..=MAX_CALL_TIMEOUT_MS).contains(ms));
    ms.ok_or_else(|| {
        let reason =
            format!("a whole number of milliseconds from 1 to {MAX_CALL_TIMEOUT_MS} is needed");
        bad_field("timeout_ms", reason)
    })
}

fn call_of(
    header: &Bytes,
    payload: Bytes,
    new_id: &mut impl FnMut() -> MessageId,
) -> Result<ClientRequest, Rejection> {
    let (content, [queue, timeout, parts]) =
        content_of(header, payload, ["queue", "timeout_ms", "parts"], new_id)?;
    let parts = flag("parts", parts).map_err(|e| e.of(content.id().clone()))?;
    let timeout_ms = timeout.map_or(Ok(DEFAULT_CALL_TIMEOUT_MS), |timeout| timeout_of(&timeout));
    let timeout_ms = timeout_ms.map_err(|e| e.of(content.id().clone()))?;
    let queue = queue_of(queue).map_err(|e| e.of(content.id().clone()))?;
    Ok(ClientRequest::Call { send: SendRequest { queue, content }, timeout_ms, parts })
}

fn many_of(
    frames: Vec<Bytes>,
    new_id: &mut impl FnMut() -> MessageId,
) -> Result<ClientRequest, Rejection> {
    let came = frames.len().saturating_add(2);
    if frames.is_empty() || !frames.len().is_multiple_of(2) {
        return Err(malformed(format!(
            "SENDMANY needs MUB1, SENDMANY and then header, payload for each message, at least one; \
             {came} frames came"
        )));
    }
    let messages = frames.len() / 2;
    if messages > MAX_SENDMANY_MESSAGES {
        let reason = format!(
            "SENDMANY has {messages} messages; at most {MAX_SENDMANY_MESSAGES} are allowed"
        );
        return Err(Rejection::new(RejectCode::TooLarge, reason));
    }
    let bytes = frames.iter().fold(0_usize, |sum, frame| sum.saturating_add(frame.len()));
    if bytes > MAX_WIRE_MESSAGE_BYTES {
        let reason =
            format!("SENDMANY has {bytes} bytes; at most {MAX_WIRE_MESSAGE_BYTES} are allowed");
        return Err(Rejection::new(RejectCode::TooLarge, reason));
    }
    let mut sends = Vec::with_capacity(messages);
    let mut frames = frames.into_iter();
    while let (Some(header), Some(payload)) = (frames.next(), frames.next()) {
        let nth = sends.len().saturating_add(1);
        let send = send_of(&header, payload, new_id).map_err(|error| Rejection {
            reason: format!("message {nth} of {messages}: {}", error.reason),
            ..error
        })?;
        sends.push(send);
    }
    Ok(ClientRequest::SendMany(sends))
}

pub(super) fn content_of<const N: usize>(
    header: &Bytes,
    payload: Bytes,
    own: [&'static str; N],
    new_id: &mut impl FnMut() -> MessageId,
) -> Result<(Content, [Option<Value>; N]), Rejection> {
    let (checked, own) = Header::from_wire(header, own, || Some(new_id())).map_err(|e| {
        let rejection = bad_header(&e);
        match readable_id(header) {
            Some(id) => rejection.of(id),
            None => rejection,
        }
    })?;
    check_payload(&payload).map_err(|e| e.of(checked.id().clone()))?;
    Ok((Content { header: checked, payload }, own))
}

/// The id in a header that is refused: a client with several requests under way learns which one.
fn readable_id(header: &[u8]) -> Option<MessageId> {
    match parse_object(header).ok()?.get("id") {
        Some(Value::String(id)) => MessageId::new(id).ok(),
        Some(_) | None => None,
    }
}

fn queue_of(value: Option<Value>) -> Result<QueueName, Rejection> {
    match value {
        Some(Value::String(name)) => QueueName::new(&name).map_err(|e| bad_field("queue", e)),
        Some(_) => Err(bad_field("queue", "a string is needed")),
        None => Err(bad_field("queue", "is missing")),
    }
}
