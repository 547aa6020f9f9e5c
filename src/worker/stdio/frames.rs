//! The two framings: JSON lines, and JSON and payload each after its length.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use super::Broken;
use crate::model::limits::{MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES};
use crate::model::{DeliveryId, NackAction, WorkError};
use crate::wire::Delivery;
use crate::worker::Failure;

/// A payload whose every byte JSON escapes as two, and some room for the rest.
const MAX_LINE_BYTES: usize = 2 * MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES;

/// How requests and answers stand in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A JSON object on a line, the payload in it.
    Lines,
    /// A length of four bytes (most significant first) and a JSON object, then a length and the payload.
    Length,
}

/// What a child may say.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Ack(Bytes),
    Nack(Failure),
    Partial(Bytes),
    Progress(String),
}

#[derive(Serialize)]
struct Deliver<'a> {
    verb: &'static str,
    delivery: DeliveryId,
    queue: &'a str,
    seq: u64,
    attempt: u32,
    limit_ms: u64,
    header: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    verb: String,
    delivery: Option<DeliveryId>,
    payload: Option<String>,
    payload_base64: Option<String>,
    #[serde(default)]
    error: WorkError,
    #[serde(default)]
    action: NackAction,
    delay_ms: Option<u64>,
    #[serde(default)]
    note: String,
}

impl Framing {
    /// A message as a request.
    pub(super) fn encode(self, delivery: &Delivery, limit: Duration) -> Vec<u8> {
        let payload = &delivery.content.payload;
        let text = std::str::from_utf8(payload).ok();
        let is_inside = self == Self::Lines;
        let header = String::from_utf8(delivery.content.header.json().to_vec());
        let header = RawValue::from_string(header.expect("a header is UTF-8"));
        let deliver = Deliver {
            verb: "DELIVER",
            delivery: delivery.delivery,
            queue: delivery.queue.as_str(),
            seq: delivery.seq.0,
            attempt: delivery.attempt,
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            header: &header.expect("a header is JSON"),
            payload: text.filter(|_| is_inside),
            payload_base64: (is_inside && text.is_none()).then(|| BASE64.encode(payload)),
        };
        let json = serde_json::to_vec(&deliver).expect("plain data becomes JSON");
        match self {
            // A header that was written with line ends has them between its tokens only.
            Self::Lines => {
                let line = json.into_iter().filter(|byte| !matches!(byte, b'\n' | b'\r'));
                line.chain([b'\n']).collect()
            }
            Self::Length => {
                let mut frames = Vec::with_capacity(json.len() + payload.len() + 8);
                for frame in [&json[..], &payload[..]] {
                    let length =
                        u32::try_from(frame.len()).expect("a frame's bound is below 4 GiB");
                    frames.extend(length.to_be_bytes());
                    frames.extend(frame);
                }
                frames
            }
        }
    }

    /// The next thing that a child says, with the delivery that it names.
    pub(super) async fn read(
        self,
        from: &mut BufReader<impl AsyncRead + Unpin>,
    ) -> Result<(Option<DeliveryId>, Answer), Broken> {
        match self {
            Self::Lines => {
                let line = line(from).await?;
                let mut said = parse(&line)?;
                let payload = match (said.payload.take(), said.payload_base64.take()) {
                    (Some(text), None) => Bytes::from(text),
                    (None, Some(text)) => BASE64
                        .decode(text)
                        .map(Bytes::from)
                        .map_err(|error| Broken::Answer(format!("payload_base64: {error}")))?,
                    (None, None) => Bytes::new(),
                    (Some(_), Some(_)) => {
                        let both = "payload and payload_base64 exclude each other";
                        return Err(Broken::Answer(both.to_owned()));
                    }
                };
                answer(said, payload)
            }
            Self::Length => {
                let said = parse(&frame(from, MAX_HEADER_BYTES).await?)?;
                let payload = frame(from, MAX_PAYLOAD_BYTES).await?;
                answer(said, payload)
            }
        }
    }
}

fn parse(json: &[u8]) -> Result<Said, Broken> {
    serde_json::from_slice(json).map_err(|error| Broken::Answer(format!("not an answer: {error}")))
}

fn answer(said: Said, payload: Bytes) -> Result<(Option<DeliveryId>, Answer), Broken> {
    let Said { verb, delivery, error, action, delay_ms, note, .. } = said;
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(Broken::Answer(format!("a payload of more than {MAX_PAYLOAD_BYTES} bytes")));
    }
    let answer = match verb.as_str() {
        "ACK" => Answer::Ack(payload),
        "NACK" => Answer::Nack(Failure { error, action, delay_ms }),
        "PARTIAL" => Answer::Partial(payload),
        "PROGRESS" => Answer::Progress(note),
        other => {
            let why = format!("verb {other:?} is none of ACK, NACK, PARTIAL, PROGRESS");
            return Err(Broken::Answer(why));
        }
    };
    Ok((delivery, answer))
}

/// The next line that isn't empty.
async fn line(from: &mut BufReader<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Broken> {
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(MAX_LINE_BYTES).expect("a small number");
        let read = from.take(limit).read_until(b'\n', &mut line).await;
        match read {
            Ok(0) | Err(_) => return Err(Broken::Closed),
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(read) if read >= MAX_LINE_BYTES => {
                return Err(Broken::Answer(format!("a line of more than {MAX_LINE_BYTES} bytes")));
            }
            Ok(_) => return Err(Broken::Closed),
        }
        if !line.trim_ascii().is_empty() {
            return Ok(line);
        }
    }
}

/// The next length and what it counts.
async fn frame(from: &mut BufReader<impl AsyncRead + Unpin>, most: usize) -> Result<Bytes, Broken> {
    let length = from.read_u32().await.map_err(|_| Broken::Closed)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > most {
        return Err(Broken::Answer(format!("a frame of {length} bytes, and {most} may be")));
    }
    let mut frame = BytesMut::zeroed(length);
    from.read_exact(&mut frame).await.map_err(|_| Broken::Closed)?;
    Ok(frame.freeze())
}
