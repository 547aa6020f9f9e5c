//! Worker frames to commands and back.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::MAGIC;
use super::client_codec::{HelloHeader, hello_of};
use super::frames::{
    Fields, bad_field, bad_header, bare, check_payload, envelope, envelope_with, exactly,
    header_or_none, json, malformed, open, typed, unknown_verb,
};
use super::worker::{BrokerMessage, Delivery, WorkerMessage};
use crate::model::limits::{MAX_CREDIT, MAX_WORKER_QUEUES};
use crate::model::{
    Content, DeliveryId, Header, NackAction, QueueName, RejectCode, Rejection, Seq, WorkError,
    WorkerInfo,
};

const KNOWN: &str = "HELLO, READY, ACK, NACK, PROGRESS, PARTIAL, ALERT, HEARTBEAT, BYE";
const KNOWN_TO_WORKERS: &str = "WELCOME, DELIVER, STALE, HEARTBEAT, BYE, DRAIN, RESTART, REJECTED";
/// DELIVER's own fields, before the message's.
const DELIVER_FIELDS: [&str; 5] = ["delivery", "queue", "seq", "attempt", "deadline_ms"];

impl WorkerMessage {
    /// The frames, magic first; no identity, no delimiter.
    pub fn encode(&self) -> Vec<Bytes> {
        match self {
            Self::Hello { token, client, version } => {
                envelope("HELLO", json(&HelloHeader { token: token.as_ref(), client, version }))
            }
            Self::Ready { queues, credit, info } => {
                envelope("READY", json(&ReadyHeader { queues, credit: *credit, worker: info }))
            }
            Self::Ack { delivery, reply } if reply.is_empty() => {
                envelope("ACK", json(&DeliveryHeader { delivery: *delivery }))
            }
            Self::Ack { delivery, reply } => {
                envelope_with("ACK", json(&DeliveryHeader { delivery: *delivery }), reply.clone())
            }
            Self::Nack { delivery, error, action, delay_ms } => envelope(
                "NACK",
                json(&NackHeader {
                    delivery: *delivery,
                    error,
                    action: *action,
                    delay_ms: *delay_ms,
                }),
            ),
            Self::Partial { delivery, payload } => envelope_with(
                "PARTIAL",
                json(&DeliveryHeader { delivery: *delivery }),
                payload.clone(),
            ),
            Self::Progress { delivery, extend_ms, note } => envelope(
                "PROGRESS",
                json(&ProgressHeader { delivery: *delivery, extend_ms: *extend_ms, note }),
            ),
            Self::Alert { kind, message, delivery } => {
                envelope("ALERT", json(&AlertHeader { kind, message, delivery: *delivery }))
            }
            Self::Heartbeat => bare("HEARTBEAT"),
            Self::Bye => bare("BYE"),
        }
    }

    /// Reads frames, magic first. The rejection is what the peer is to be told.
    pub fn decode(frames: Vec<Bytes>) -> Result<Self, Rejection> {
        let (verb, mut frames) = open(frames)?;
        match &verb[..] {
            b"ACK" => {
                if frames.len() == 1 {
                    frames.push(Bytes::new());
                }
                let [header, reply] = exactly("ACK", "header, payload (may be left out)", frames)?;
                let delivery = match only_delivery(&header) {
                    Some(delivery) => delivery,
                    None => Fields::parse(&header)?.id("delivery")?,
                };
                check_payload(&reply)?;
                Ok(Self::Ack { delivery, reply })
            }
            b"HEARTBEAT" => header_or_none("HEARTBEAT", frames).map(|_| Self::Heartbeat),
            b"NACK" => {
                let [header] = exactly("NACK", "header", frames)?;
                let mut fields = Fields::parse(&header)?;
                Ok(Self::Nack {
                    delivery: fields.id("delivery")?,
                    error: fields.of("error")?,
                    action: fields.of("action")?,
                    delay_ms: fields.number("delay_ms")?,
                })
            }
            b"PROGRESS" => {
                let [header] = exactly("PROGRESS", "header", frames)?;
                let fields = Fields::parse(&header)?;
                Ok(Self::Progress {
                    delivery: fields.id("delivery")?,
                    extend_ms: fields.number("extend_ms")?,
                    note: fields.note("note")?,
                })
            }
            b"PARTIAL" => {
                let [header, payload] = exactly("PARTIAL", "header, payload", frames)?;
                let fields = Fields::parse(&header)?;
                check_payload(&payload)?;
                Ok(Self::Partial { delivery: fields.id("delivery")?, payload })
            }
            b"ALERT" => {
                let [header] = exactly("ALERT", "header", frames)?;
                let fields = Fields::parse(&header)?;
                Ok(Self::Alert {
                    kind: fields.note("kind")?,
                    message: fields.note("message")?,
                    delivery: fields.optional_id("delivery")?,
                })
            }
            b"READY" => {
                let [header] = exactly("READY", "header", frames)?;
                ready_of(&header)
            }
            b"BYE" => header_or_none("BYE", frames).map(|_| Self::Bye),
            b"HELLO" => {
                let (token, client, version) = hello_of(frames)?;
                Ok(Self::Hello { token, client, version })
            }
            b"SEND" | b"SENDMANY" | b"CALL" | b"STATUS" | b"PING" => {
                let reason = "this is a client's verb; clients connect to the clients' address";
                Err(Rejection::new(RejectCode::Unsupported, reason))
            }
            other => Err(unknown_verb(other, KNOWN)),
        }
    }
}

impl BrokerMessage {
    /// The frames, magic first; no identity, no delimiter.
    pub fn encode(&self) -> Vec<Bytes> {
        match self {
            Self::Welcome(welcome) => envelope("WELCOME", json(welcome)),
            Self::Deliver(delivery) => {
                let own = delivery.own_fields();
                let [.., header] = delivery.parts(&own);
                envelope_with("DELIVER", header.concat(), delivery.content.payload.clone())
            }
            Self::Stale { delivery } => {
                envelope("STALE", json(&DeliveryHeader { delivery: *delivery }))
            }
            Self::Heartbeat => bare("HEARTBEAT"),
            Self::Bye { reason } => envelope("BYE", json(&ByeHeader { reason })),
            Self::Pause { reason } => envelope("PAUSE", json(&ByeHeader { reason })),
            Self::Resume { reason } => envelope("RESUME", json(&ByeHeader { reason })),
            Self::Drain { reason } => envelope("DRAIN", json(&ByeHeader { reason })),
            Self::Restart { reason } => envelope("RESTART", json(&ByeHeader { reason })),
            Self::Rejected(rejection) => envelope("REJECTED", json(rejection)),
        }
    }

    /// Reads frames, magic first. The rejection says what is wrong with them.
    pub fn decode(frames: Vec<Bytes>) -> Result<Self, Rejection> {
        let (verb, frames) = open(frames)?;
        match &verb[..] {
            b"DELIVER" => {
                let [header, payload] = exactly("DELIVER", "header, payload", frames)?;
                deliver_of(&header, payload).map(Self::Deliver)
            }
            b"WELCOME" => {
                let [header] = exactly("WELCOME", "header", frames)?;
                typed(&header).map(Self::Welcome)
            }
            b"STALE" => {
                let [header] = exactly("STALE", "header", frames)?;
                Ok(Self::Stale { delivery: Fields::parse(&header)?.id("delivery")? })
            }
            b"HEARTBEAT" => header_or_none("HEARTBEAT", frames).map(|_| Self::Heartbeat),
            b"BYE" => Ok(Self::Bye { reason: reason_of("BYE", frames)? }),
            b"REJECTED" => {
                let [header] = exactly("REJECTED", "header", frames)?;
                typed(&header).map(Self::Rejected)
            }
            b"PAUSE" => Ok(Self::Pause { reason: reason_of("PAUSE", frames)? }),
            b"RESUME" => Ok(Self::Resume { reason: reason_of("RESUME", frames)? }),
            b"DRAIN" => Ok(Self::Drain { reason: reason_of("DRAIN", frames)? }),
            b"RESTART" => Ok(Self::Restart { reason: reason_of("RESTART", frames)? }),
            other => Err(unknown_verb(other, KNOWN_TO_WORKERS)),
        }
    }
}

#[derive(Serialize)]
struct ReadyHeader<'a> {
    queues: &'a [QueueName],
    credit: u32,
    worker: &'a WorkerInfo,
}

#[derive(Serialize)]
struct DeliveryHeader {
    delivery: DeliveryId,
}

#[derive(Serialize)]
struct NackHeader<'a> {
    delivery: DeliveryId,
    error: &'a WorkError,
    action: NackAction,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
}

#[derive(Serialize)]
struct ProgressHeader<'a> {
    delivery: DeliveryId,
    #[serde(skip_serializing_if = "Option::is_none")]
    extend_ms: Option<u64>,
    #[serde(serialize_with = "bounded")]
    note: &'a str,
}

#[derive(Serialize)]
struct AlertHeader<'a> {
    #[serde(serialize_with = "bounded")]
    kind: &'a str,
    #[serde(serialize_with = "bounded")]
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<DeliveryId>,
}

#[derive(Serialize)]
struct ByeHeader<'a> {
    #[serde(serialize_with = "bounded")]
    reason: &'a str,
}

/// The delivery of a header that says nothing else and is written as most write it: each message has one of these.
fn only_delivery(header: &[u8]) -> Option<DeliveryId> {
    let text = header.strip_prefix(b"{\"delivery\":")?.strip_suffix(b"\"}")?;
    let text = text.strip_prefix(b" ").unwrap_or(text).strip_prefix(b"\"")?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn reason_of(verb: &str, frames: Vec<Bytes>) -> Result<String, Rejection> {
    Fields::parse(&header_or_none(verb, frames)?)?.note("reason")
}

/// Cuts a text for people at the bound that the reader holds: a note must not cost an answer.
fn bounded<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let end = text.floor_char_boundary(crate::model::limits::MAX_REASON_BYTES);
    serializer.serialize_str(text.get(..end).unwrap_or_default())
}

fn ready_of(header: &[u8]) -> Result<WorkerMessage, Rejection> {
    let mut fields = Fields::parse(header)?;
    let queues: Vec<QueueName> = fields.of("queues")?;
    if queues.is_empty() || queues.len() > MAX_WORKER_QUEUES {
        let reason = format!("from 1 to {MAX_WORKER_QUEUES} names are needed");
        return Err(bad_field("queues", reason));
    }
    let credit = fields
        .number("credit")?
        .map_or(Some(1), |credit| u32::try_from(credit).ok())
        .filter(|credit| (1..=MAX_CREDIT).contains(credit))
        .ok_or_else(|| bad_field("credit", format!("must be from 1 to {MAX_CREDIT}")))?;
    Ok(WorkerMessage::Ready { queues, credit, info: fields.of("worker")? })
}

/// What DELIVER's own fields take beside the queue's name, at most.
const DELIVER_BYTES: usize = 192;

impl Delivery {
    /// The frames of DELIVER before its payload, the header in two parts that stand one behind the other: what is DELIVER's
    /// own, and what the message has. They are put together once, on their way out.
    pub fn parts<'a>(&'a self, own: &'a [u8]) -> [[&'a [u8]; 2]; 3] {
        let fields = self.content.header.json();
        [[MAGIC, b""], [b"DELIVER", b""], [own, fields.strip_prefix(b"{").unwrap_or(b"}")]]
    }

    /// The first part of the header. By hand: it is written for each delivery, and `write!` costs more than the rest of
    /// the message.
    pub fn own_fields(&self) -> Vec<u8> {
        let Self { delivery, queue, seq, attempt, deadline_ms, content } = self;
        let mut own = Vec::with_capacity(queue.as_str().len().saturating_add(DELIVER_BYTES));
        // A queue's name and a delivery have no character that JSON escapes.
        own.extend_from_slice(b"{\"delivery\":\"");
        put_hex(&mut own, delivery.generation.0);
        own.push(b'.');
        put_hex(&mut own, delivery.number);
        own.extend_from_slice(b"\",\"queue\":\"");
        own.extend_from_slice(queue.as_str().as_bytes());
        let numbers: [(&[u8], u64); 3] = [
            (b"\",\"seq\":", seq.0),
            (b",\"attempt\":", u64::from(*attempt)),
            (b",\"deadline_ms\":", *deadline_ms),
        ];
        for (name, number) in numbers {
            own.extend_from_slice(name);
            own.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
        if content.header.json()[..] != *b"{}" {
            own.push(b',');
        }
        own
    }
}

/// As [`DeliveryId`] writes its numbers.
fn put_hex(out: &mut Vec<u8>, number: u64) {
    let (mut digits, mut left) = ([b'0'; 16], number);
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef".get((left & 15) as usize).copied().unwrap_or(b'0');
        left >>= 4;
    }
    let zeros = (number.leading_zeros() / 4).min(15) as usize;
    out.extend_from_slice(digits.get(zeros..).unwrap_or(&digits));
}

fn deliver_of(header: &[u8], payload: Bytes) -> Result<Delivery, Rejection> {
    let (header, [delivery, queue, seq, attempt, deadline_ms]) =
        Header::from_wire(header, DELIVER_FIELDS, || None).map_err(|e| bad_header(&e))?;
    let attempt = whole("attempt", attempt)?;
    Ok(Delivery {
        delivery: parsed("delivery", delivery)?,
        queue: parsed("queue", queue)?,
        seq: Seq(whole("seq", seq)?),
        attempt: u32::try_from(attempt).map_err(|e| bad_field("attempt", e))?,
        deadline_ms: whole("deadline_ms", deadline_ms)?,
        content: Arc::new(Content { header, payload }),
    })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    value: Option<Value>,
) -> Result<T, Rejection> {
    match value {
        Some(Value::String(text)) => text.parse().map_err(|e| bad_field(field, e)),
        Some(_) => Err(bad_field(field, "a string is needed")),
        None => Err(bad_field(field, "is missing")),
    }
}

fn whole(field: &str, value: Option<Value>) -> Result<u64, Rejection> {
    match value {
        Some(value) => {
            value.as_u64().ok_or_else(|| bad_field(field, "a whole number of at least 0 is needed"))
        }
        None => Err(malformed(format!("header field `{field}`: is missing"))),
    }
}
