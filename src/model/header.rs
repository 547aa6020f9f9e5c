//! A message's header: a JSON object of which the broker reads what it acts upon and keeps the rest.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::header_fields::{Field, Fields, RawFields};
use super::ids::{IdError, MessageId, QueueName};
use super::limits::{MAX_HEADER_BYTES, MAX_VERB_FIELDS_BYTES};
use super::timing::Timing;

/// A checked message header (protocol.md, "Message header").
///
/// `json` is the whole object as compact JSON: the producer's fields in the producer's order, unknown ones
/// included, with `id` filled in. It is what the store keeps and the worker gets; the fields beside it
/// are what the broker itself acts upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    id: MessageId,
    key: Option<String>,
    priority: u8,
    max_attempts: Option<u32>,
    max_execution_ms: Option<u64>,
    /// Boxed: most headers say nothing of time.
    timing: Option<Box<Timing>>,
    has_reply_to: bool,
    keeps_reply: bool,
    json: Bytes,
}

/// Why a header is refused. The text names the field and, for bad JSON, line and column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not JSON.
    #[error("header is not JSON: {reason} at line {line} column {column}")]
    Json {
        /// What the parser says.
        reason: String,
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("header is {found}; a JSON object is needed")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// A field has the wrong type or value.
    #[error("header field `{field}`: {reason}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Too long.
    #[error("header is {len} bytes long; at most {MAX_HEADER_BYTES} are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

/// Fields that must be strings where present.
const TEXT_FIELDS: [&str; 8] = [
    "type",
    "source",
    "time",
    "content_type",
    "correlation_id",
    "causation_id",
    "reply_to",
    "traceparent",
];
/// The highest priority; 0 is the lowest, and that of a message that names none.
const MAX_PRIORITY: u8 = 9;

/// Fields that the verbs put beside a message's own (SEND, CALL and DELIVER): a message header that had
/// them too would say two things at once. Refused at the door, so that DELIVER can be made by joining
/// texts and a worker gets back exactly the header that was stored.
const RESERVED_FIELDS: [&str; 6] =
    ["queue", "timeout_ms", "delivery", "seq", "attempt", "deadline_ms"];

impl Header {
    /// Reads a header as a producer sent it; the caller has taken the verb's own fields (`queue`,
    /// `timeout_ms`) out. `new_id` makes the id if the producer gave none.
    pub fn from_map(
        mut map: Map<String, Value>,
        new_id: impl FnOnce() -> MessageId,
    ) -> Result<Self, HeaderError> {
        let id = match id_of(&map)? {
            Some(id) => id,
            None => {
                let id = new_id();
                map.insert("id".to_owned(), Value::String(id.to_string()));
                id
            }
        };
        Self::read(id, &map, to_compact(&map)?)
    }

    /// Reads a header back from the store, exactly as it was. Same checks as [`Header::from_map`], but an
    /// id must be there.
    pub fn from_json(json: &[u8]) -> Result<Self, HeaderError> {
        Self::from_wire(json, [], || None).map(|(header, [])| header)
    }

    /// Reads a header as it stands on the wire and takes the verb's own fields out of it: the values of
    /// `own` come back in its order. Same checks as [`Header::from_map`]. `new_id` makes a missing id;
    /// where it has none to give, the missing id is the error.
    pub fn from_wire<const N: usize>(
        json: &[u8],
        own: [&'static str; N],
        new_id: impl FnOnce() -> Option<MessageId>,
    ) -> Result<(Self, [Option<Value>; N]), HeaderError> {
        let max = MAX_HEADER_BYTES + MAX_VERB_FIELDS_BYTES;
        let Some(mut fields) = RawFields::scan(max, json) else {
            let mut map = parse_up_to(max, json)?;
            let own = own.map(|field| map.shift_remove(field));
            if !map.contains_key("id") {
                let id = new_id().ok_or_else(no_id)?;
                map.insert("id".to_owned(), Value::String(id.to_string()));
            }
            let id = id_of(&map)?.ok_or_else(no_id)?;
            return Ok((Self::read(id, &map, to_compact(&map)?)?, own));
        };
        let own = own.map(|field| fields.take(field));
        let (id, made) = match id_of(&fields)? {
            Some(id) => (id, false),
            None => (new_id().ok_or_else(no_id)?, true),
        };
        let text = fields.to_compact(json.len(), made.then_some(&id))?;
        Ok((Self::read(id, &fields, text)?, own))
    }

    fn read(id: MessageId, fields: &impl Fields, json: Vec<u8>) -> Result<Self, HeaderError> {
        if let Some(field) = RESERVED_FIELDS.into_iter().find(|name| fields.field(name).is_some()) {
            let reason = "is the protocol's own; give it another name, or put it into `headers`";
            return Err(HeaderError::Field { field, reason: reason.to_owned() });
        }
        for field in TEXT_FIELDS {
            text(fields, field)?;
        }
        match fields.field("headers") {
            None | Some(Field::Object) => {}
            Some(other) => return Err(wrong("headers", "an object", other)),
        }
        let max_attempts = number(fields, "max_attempts")?
            .map(|n| u32::try_from(n).ok().filter(|&n| n > 0))
            .map(|n| {
                n.ok_or_else(|| HeaderError::Field {
                    field: "max_attempts",
                    reason: format!("must be from 1 to {}", u32::MAX),
                })
            })
            .transpose()?;
        if json.len() > MAX_HEADER_BYTES {
            return Err(HeaderError::TooLong { len: json.len() });
        }
        let priority = number(fields, "priority")?.unwrap_or(0);
        let priority = u8::try_from(priority).ok().filter(|&priority| priority <= MAX_PRIORITY);
        Ok(Self {
            id,
            priority: priority.ok_or_else(|| HeaderError::Field {
                field: "priority",
                reason: format!("must be from 0 to {MAX_PRIORITY}, the most urgent"),
            })?,
            key: text(fields, "key")?.map(str::to_owned),
            max_attempts,
            max_execution_ms: number(fields, "max_execution_ms")?,
            timing: Timing::read(fields)?.map(Box::new),
            has_reply_to: fields.field("reply_to").is_some(),
            keeps_reply: flag(fields, "keep_reply")?,
            json: Bytes::from(json),
        })
    }

    /// The message's id.
    pub fn id(&self) -> &MessageId {
        &self.id
    }

    /// The order key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// From 0 to 9, the most urgent.
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// The producer's own bound on attempts, at least 1.
    pub fn max_attempts(&self) -> Option<u32> {
        self.max_attempts
    }

    /// The producer's own bound on one execution, in milliseconds.
    pub fn max_execution_ms(&self) -> Option<u64> {
        self.max_execution_ms
    }

    /// From when and until when it is of use.
    pub fn timing(&self) -> Timing {
        self.timing.as_deref().copied().unwrap_or_default()
    }

    /// Whether its reply is wanted in a queue (`reply_to`).
    pub fn has_reply_to(&self) -> bool {
        self.has_reply_to
    }

    /// Whether its reply is kept though nobody waits for it (`keep_reply`), for who asks STATUS.
    pub fn keeps_reply(&self) -> bool {
        self.keeps_reply
    }

    /// The whole header as a compact JSON object.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// What it says of how the message became a dead letter, also of one that was brought back since.
    pub fn dead_letter(&self) -> Option<Map<String, Value>> {
        match self.to_map().remove("dead_letter") {
            Some(Value::Object(fields)) => Some(fields),
            Some(_) | None => None,
        }
    }

    /// The queue that the message was dead-lettered from, by what its header says.
    pub fn dead_letter_queue(&self) -> Option<QueueName> {
        dead_letter_queue(&self.to_map())
    }

    /// The header as a JSON map.
    pub fn to_map(&self) -> Map<String, Value> {
        parse_object(&self.json).expect("a Header holds the JSON object that it was made from")
    }
}

/// The queue that a header's reply goes to; the error says what is wrong with its name, or that there is none.
pub fn reply_to(header: &Map<String, Value>) -> Result<QueueName, IdError> {
    QueueName::new(header.get("reply_to").and_then(Value::as_str).unwrap_or_default())
}

/// The queue that a message with this header was dead-lettered from.
pub fn dead_letter_queue(header: &Map<String, Value>) -> Option<QueueName> {
    QueueName::new(header.get("dead_letter")?.get("queue")?.as_str()?).ok()
}

/// Parses `json` as one object; an empty frame counts as `{}`.
pub(crate) fn parse_object(json: &[u8]) -> Result<Map<String, Value>, HeaderError> {
    parse_up_to(MAX_HEADER_BYTES, json)
}

fn parse_up_to(max: usize, json: &[u8]) -> Result<Map<String, Value>, HeaderError> {
    if json.len() > max {
        return Err(HeaderError::TooLong { len: json.len() });
    }
    if json.is_empty() {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_slice(json).map_err(|e| {
        let text = e.to_string();
        let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
        HeaderError::Json { reason, line: e.line(), column: e.column() }
    })?;
    match value {
        Value::Object(map) => Ok(map),
        other => Err(HeaderError::NotAnObject { found: Field::of(&other).kind() }),
    }
}

fn to_compact(map: &Map<String, Value>) -> Result<Vec<u8>, HeaderError> {
    serde_json::to_vec(map)
        .map_err(|e| HeaderError::Field { field: "headers", reason: e.to_string() })
}

fn id_of(fields: &impl Fields) -> Result<Option<MessageId>, HeaderError> {
    text(fields, "id")?.map(|id| MessageId::new(id).map_err(|e| bad_id(&e))).transpose()
}

pub(super) fn text<'a>(
    fields: &'a impl Fields,
    field: &'static str,
) -> Result<Option<&'a str>, HeaderError> {
    match fields.field(field) {
        None => Ok(None),
        Some(Field::Text(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(field, "a string", other)),
    }
}

pub(super) fn number(
    fields: &impl Fields,
    field: &'static str,
) -> Result<Option<u64>, HeaderError> {
    match fields.field(field) {
        None => Ok(None),
        Some(Field::Number(Some(number))) => Ok(Some(number)),
        Some(other) => Err(wrong(field, "a whole number of at least 0", other)),
    }
}

fn flag(fields: &impl Fields, field: &'static str) -> Result<bool, HeaderError> {
    match fields.field(field) {
        None => Ok(false),
        Some(Field::Bool(flag)) => Ok(flag),
        Some(other) => Err(wrong(field, "true or false", other)),
    }
}

fn no_id() -> HeaderError {
    HeaderError::Field { field: "id", reason: "is missing".to_owned() }
}

fn bad_id(error: &IdError) -> HeaderError {
    HeaderError::Field { field: "id", reason: error.to_string() }
}

fn wrong(field: &'static str, needed: &str, found: Field<'_>) -> HeaderError {
    HeaderError::Field { field, reason: format!("is {}; {needed} is needed", found.kind()) }
}

#[cfg(test)]
mod tests;
