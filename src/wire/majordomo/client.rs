//! A client's side: requests to services, MMI and Titanic.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Version, body, missing, service};
use crate::model::limits::MAX_CALL_TIMEOUT_MS;
use crate::model::{
    CallReply, CallStatus, Content, Header, MessageId, MessageState, QueueName, RejectCode,
    Rejection,
};
use crate::wire::frames::{bad_header, check_payload, malformed};
use crate::wire::{ClientReply, ClientRequest, SendRequest};

const TAG_1: &[u8] = b"MDPC01";
const TAG_2: &[u8] = b"MDPC02";
/// Commands of version 0.2; 0.1 has none.
const REQUEST: &[u8] = b"\x01";
const PARTIAL: &[u8] = b"\x02";
const FINAL: &[u8] = b"\x03";

/// What was asked, as far as its answer depends on that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    version: Version,
    service: Bytes,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Call,
    /// A code is the answer.
    Code,
    TitanicRequest,
    TitanicReply,
}

/// What is to be done for the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Asks {
    /// What a client of MUB1 asks too.
    Request(ClientRequest),
    /// `mmi.service`: whether a worker serves this queue.
    Served(QueueName),
    /// `titanic.close`: the request with this id and its reply are no more wanted.
    Close(MessageId),
    /// Nothing: it is answered with this code.
    Code(&'static str),
}

/// RFC 8 and 9.
const OK: &str = "200";
const PENDING: &str = "300";
const UNKNOWN: &str = "400";
const NOT_FOUND: &str = "404";
const FAILED: &str = "500";
const NOT_THERE: &str = "501";

impl Asked {
    /// Reads a client's frames, the tag first. `new_id` makes the message's id. What can't be read is dropped, as the
    /// protocol says: the rejection is for the log.
    pub fn decode(
        frames: Vec<Bytes>,
        new_id: impl FnOnce() -> MessageId,
    ) -> Result<(Self, Asks), Rejection> {
        let mut frames = frames.into_iter();
        let version = match frames.next().as_deref() {
            Some(TAG_1) => Version::V1,
            Some(TAG_2) => match frames.next().as_deref() {
                Some(REQUEST) => Version::V2,
                _ => return Err(malformed("a client's only command is 01, a request")),
            },
            _ => return Err(malformed("the tag is neither MDPC01 nor MDPC02")),
        };
        let name = frames.next().ok_or_else(missing("service"))?;
        let frames: Vec<Bytes> = frames.collect();
        let (what, asks) = match &name[..] {
            b"mmi.service" => (What::Code, served(&frames)),
            b"titanic.request" => (What::TitanicRequest, titanic_request(frames, new_id)),
            b"titanic.reply" => (What::TitanicReply, titanic_reply(&frames)),
            b"titanic.close" => (What::Code, titanic_close(&frames)),
            other if other.starts_with(b"mmi.") => (What::Code, Asks::Code(NOT_THERE)),
            other => (What::Call, call(other, frames, version, new_id)?),
        };
        Ok((Self { version, service: name, what }, asks))
    }

    /// The frames of an answer, the tag first; none where the protocol has no word for it.
    pub fn encode(&self, reply: &ClientReply) -> Option<Vec<Bytes>> {
        match self.what {
            What::Call => self.replied(reply),
            What::Code => None,
            What::TitanicRequest => Some(self.titanic_accepted(reply)),
            What::TitanicReply => Some(self.titanic_replied(reply)),
        }
    }

    /// The frames of an answer that is a code.
    pub fn code(&self, of: &'static str) -> Vec<Bytes> {
        self.envelope(FINAL, vec![code(of)])
    }

    /// The frames of the answer to [`Asks::Served`].
    pub fn served(&self, is_served: bool) -> Vec<Bytes> {
        self.code(if is_served { OK } else { NOT_FOUND })
    }

    /// The frames of the answer to [`Asks::Close`].
    pub fn closed(&self, is_done: bool) -> Vec<Bytes> {
        self.code(if is_done { OK } else { FAILED })
    }

    fn replied(&self, reply: &ClientReply) -> Option<Vec<Bytes>> {
        if let ClientReply::Part(part) = reply {
            return Some(self.envelope(PARTIAL, body::split(&part.payload)));
        }
        if let ClientReply::Reply(CallReply { status: CallStatus::Ok, payload, .. }) = reply {
            return Some(self.envelope(FINAL, body::split(payload)));
        }
        None
    }

    fn titanic_accepted(&self, reply: &ClientReply) -> Vec<Bytes> {
        let ClientReply::Accepted(accepted) = reply else { return self.code(FAILED) };
        let id = Bytes::copy_from_slice(accepted.id.as_str().as_bytes());
        self.envelope(FINAL, vec![code(OK), id])
    }

    fn titanic_replied(&self, reply: &ClientReply) -> Vec<Bytes> {
        if let ClientReply::StatusReply { reply, .. } = reply
            && reply.status == CallStatus::Ok
        {
            let mut frames = vec![code(OK)];
            frames.extend(body::split(&reply.payload));
            return self.envelope(FINAL, frames);
        }
        if let ClientReply::Status(report) = reply {
            return self.code(match report.state {
                MessageState::Scheduled
                | MessageState::Ready
                | MessageState::Leased
                | MessageState::Waiting
                | MessageState::Blocked => PENDING,
                // Its reply was kept for a while, and has gone.
                MessageState::Done | MessageState::Cancelled => UNKNOWN,
            });
        }
        if let ClientReply::Rejected(rejection) = reply
            && rejection.code == RejectCode::Unroutable
        {
            return self.code(UNKNOWN);
        }
        self.code(FAILED)
    }

    fn envelope(&self, command: &'static [u8], body: Vec<Bytes>) -> Vec<Bytes> {
        let mut frames = match self.version {
            Version::V1 => vec![Bytes::from_static(TAG_1)],
            Version::V2 => vec![Bytes::from_static(TAG_2), Bytes::from_static(command)],
        };
        frames.push(self.service.clone());
        frames.extend(body);
        frames
    }
}

fn code(of: &'static str) -> Bytes {
    Bytes::from_static(of.as_bytes())
}

fn call(
    name: &[u8],
    frames: Vec<Bytes>,
    version: Version,
    new_id: impl FnOnce() -> MessageId,
) -> Result<Asks, Rejection> {
    let send = request(name, frames, Map::new(), new_id)?;
    // How long a client waits it doesn't say; it goes away, or asks again.
    let (timeout_ms, parts) = (MAX_CALL_TIMEOUT_MS, version == Version::V2);
    Ok(Asks::Request(ClientRequest::Call { send, timeout_ms, parts }))
}

/// The message that a request is.
fn request(
    name: &[u8],
    frames: Vec<Bytes>,
    mut fields: Map<String, Value>,
    new_id: impl FnOnce() -> MessageId,
) -> Result<SendRequest, Rejection> {
    let queue = service(name)?;
    if frames.is_empty() {
        return Err(missing("body")());
    }
    fields.insert("content_type".to_owned(), json!("application/octet-stream"));
    let header = Header::from_map(fields, new_id).map_err(|e| bad_header(&e))?;
    let payload = body::join(frames);
    check_payload(&payload)?;
    Ok(SendRequest { queue, content: Content { header, payload } })
}

fn served(frames: &[Bytes]) -> Asks {
    let queue = frames.first().and_then(|name| service(name).ok());
    queue.map_or(Asks::Code(NOT_FOUND), Asks::Served)
}

/// A message that waits for nobody, and whose reply is kept. Its id is the UUID that is answered: 32 hexadecimal digits
/// (RFC 9, "The titanic.request Service").
fn titanic_request(mut frames: Vec<Bytes>, new_id: impl FnOnce() -> MessageId) -> Asks {
    if frames.is_empty() {
        return Asks::Code(UNKNOWN);
    }
    let name = frames.remove(0);
    let fields = Map::from_iter([("keep_reply".to_owned(), json!(true))]);
    let new_id = || {
        let id = new_id().as_str().replace('-', "");
        MessageId::new(&id).expect("an id without its dashes is one")
    };
    let send = request(&name, frames, fields, new_id);
    send.map_or(Asks::Code(UNKNOWN), |send| Asks::Request(ClientRequest::Send(send)))
}

fn titanic_reply(frames: &[Bytes]) -> Asks {
    match uuid(frames) {
        Some(id) => Asks::Request(ClientRequest::Status { id, queue: None, reply: true }),
        None => Asks::Code(UNKNOWN),
    }
}

/// What isn't known is closed (RFC 9, "The titanic.close Service"): so is what can't have been answered to a request, and
/// other messages are out of reach.
fn titanic_close(frames: &[Bytes]) -> Asks {
    match uuid(frames) {
        Some(id) if is_ticket(&id) => Asks::Close(id),
        Some(_) => Asks::Code(OK),
        None => Asks::Code(UNKNOWN),
    }
}

fn is_ticket(id: &MessageId) -> bool {
    id.as_str().len() == 32 && id.as_str().bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn uuid(frames: &[Bytes]) -> Option<MessageId> {
    let text = std::str::from_utf8(frames.first()?).ok()?;
    MessageId::new(text).ok()
}
