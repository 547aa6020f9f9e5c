//! What comes of a gather: for its callers, for a queue, and for its condition.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::engine::process::ProcessNumber;
use crate::engine::reply::answer_header;
use crate::engine::{Effect, Effects, Engine};
use crate::model::{
    Aggregate, Content, GatherReply, GatherStatus, MessageId, MissingPart, Origin, Payload,
    reply_to,
};

use super::{Gather, Outcome, Recipient};

/// A part in a list that is one payload: JSON as it is, or other bytes.
#[derive(Serialize)]
struct Item<'a> {
    queue: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
}

impl<'a> Item<'a> {
    fn of(queue: &'a str, payload: &'a [u8]) -> Self {
        match serde_json::from_slice(payload) {
            Ok(json) => Self { queue, json: Some(json), payload: None },
            Err(_) => Self { queue, json: None, payload: Some(Payload::from_bytes(payload)) },
        }
    }
}

/// A JSON object's fields.
fn fields_of(payload: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(payload).ok()
}

impl Aggregate {
    /// Whether a reply can be a part of the answer: what can't is missing from it.
    pub(super) fn takes(self, reply: &[u8]) -> bool {
        match self {
            Self::List => true,
            Self::Object => fields_of(reply).is_some(),
        }
    }
}

impl Gather {
    /// The parts so far, for the condition.
    pub(super) fn as_json(&self) -> Value {
        let part = |(recipient, payload): (&Recipient, &Bytes)| {
            let body = if payload.len() <= crate::model::limits::MAX_FILTER_BODY_BYTES {
                serde_json::from_slice(payload).unwrap_or(Value::Null)
            } else {
                Value::Null
            };
            json!({ "queue": recipient.name, "body": body })
        };
        Value::Array(self.parts().map(part).collect())
    }

    /// The answer, with the payloads that `as_one` makes one of.
    fn reply(&self, status: GatherStatus, as_one: bool) -> GatherReply {
        let mut parts = Vec::new();
        let mut missing: Vec<MissingPart> = Vec::new();
        let mut payloads: Vec<Bytes> = Vec::new();
        let mut merged = Map::new();
        for recipient in &self.recipients {
            let Some(Outcome::Part(payload)) = &recipient.outcome else {
                missing.push(recipient.missing());
                continue;
            };
            match self.aggregate {
                Aggregate::List => payloads.push(payload.clone()),
                // Another reply is none of the parts.
                Aggregate::Object => merged.extend(fields_of(payload).unwrap_or_default()),
            }
            parts.push(recipient.name.clone());
        }
        let payloads = match self.aggregate {
            Aggregate::Object => vec![Bytes::from(Value::Object(merged).to_string())],
            Aggregate::List if as_one => {
                let items = parts.iter().zip(&payloads);
                let items: Vec<_> =
                    items.map(|(queue, part)| Item::of(queue.as_str(), part)).collect();
                vec![serde_json::to_vec(&items).expect("texts have JSON").into()]
            }
            Aggregate::List => payloads,
        };
        let (id, condition_error) = (self.request.id().clone(), self.condition_error.clone());
        GatherReply { id, status, parts, missing, condition_error, payloads }
    }
}

impl Recipient {
    /// Why there is nothing of it.
    fn missing(&self) -> MissingPart {
        match (&self.outcome, &self.blocked) {
            (Some(Outcome::Failed(error)), _) => self.because(&error.code, &error.message),
            (_, Some(error)) => {
                self.because("blocked", &format!("{}: {}", error.code, error.message))
            }
            (_, None) => self.because("no-reply", "it had not replied"),
        }
    }

    fn because(&self, code: &str, message: &str) -> MissingPart {
        let (queue, seq) = (self.name.clone(), self.seq);
        MissingPart { queue, seq, code: code.to_owned(), message: message.to_owned() }
    }
}

impl Engine {
    /// Tells a caller of a gather's end.
    pub(super) fn tell_gathered(&self, number: ProcessNumber, origin: Origin, out: &mut Effects) {
        let Some(gather) = self.gathers.by_number.get(&number) else { return };
        let reply = gather.reply(gather.ended.unwrap_or(GatherStatus::Partial), false);
        out.effects.push(Effect::Gathered { origin, reply: Box::new(reply) });
    }

    /// Puts a gather's answer into the queue that its request names.
    pub(super) fn queue_gathered(&mut self, number: ProcessNumber, out: &mut Effects) {
        let Some(gather) = self.gathers.by_number.get(&number) else { return };
        let request = gather.request.header.to_map();
        let (Ok(target), Some(first)) = (reply_to(&request), gather.recipients.first()) else {
            return;
        };
        let reply = gather.reply(gather.ended.unwrap_or(GatherStatus::Partial), true);
        let id = MessageId::new(&format!("{}-{}-gather", first.name, first.seq));
        let id = id.expect("a name and a number");
        let mut fields = Map::new();
        fields.insert("status".to_owned(), json!(reply.status));
        fields.insert("parts".to_owned(), json!(reply.parts));
        fields.insert("missing".to_owned(), json!(reply.missing));
        let header = answer_header(id, gather.request.id(), &request, fields);
        let payload = reply.payloads.into_iter().next().unwrap_or_default();
        self.append_reply(target, Content { header, payload }, out);
    }
}
