//! A message's header: a JSON object of which the broker reads what it acts upon and keeps the rest.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::ids::{IdError, MessageId};
use super::limits::MAX_HEADER_BYTES;

/// A checked message header (protocol.md, "Message header").
///
/// `json` is the whole object as compact JSON: the producer's fields in the producer's order, unknown ones
/// included, with `id` filled in. It is what the store keeps and the worker gets; the fields beside it
/// are what the broker itself acts upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    id: MessageId,
    key: Option<String>,
    max_attempts: Option<u32>,
    max_execution_ms: Option<u64>,
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
    /// A field that this version can't honour: better refused than ignored.
    #[error("header field `{field}` is not supported by this version")]
    Unsupported {
        /// Its name.
        field: &'static str,
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
/// Fields whose meaning comes in a later version.
const LATER_FIELDS: [&str; 4] = ["ttl_ms", "delay_ms", "deliver_at", "priority"];

impl Header {
    /// Reads a header as a producer sent it; the caller has taken the verb's own fields (`queue`,
    /// `timeout_ms`) out. `new_id` makes the id if the producer gave none.
    pub fn from_map(
        mut map: Map<String, Value>,
        new_id: impl FnOnce() -> MessageId,
    ) -> Result<Self, HeaderError> {
        if let Some(field) = LATER_FIELDS.into_iter().find(|&field| map.contains_key(field)) {
            return Err(HeaderError::Unsupported { field });
        }
        let id = match text(&map, "id")? {
            Some(id) => MessageId::new(id).map_err(|e| bad_id(&e))?,
            None => {
                let id = new_id();
                map.insert("id".to_owned(), Value::String(id.to_string()));
                id
            }
        };
        Self::read(id, &map)
    }

    /// Reads a header back from the store. Same checks as [`Header::from_map`], but an id must be there.
    pub fn from_json(json: &[u8]) -> Result<Self, HeaderError> {
        let map = parse_object(json)?;
        let id = text(&map, "id")?
            .ok_or_else(|| HeaderError::Field { field: "id", reason: "is missing".to_owned() })?;
        let id = MessageId::new(id).map_err(|e| bad_id(&e))?;
        Self::read(id, &map)
    }

    fn read(id: MessageId, map: &Map<String, Value>) -> Result<Self, HeaderError> {
        for field in TEXT_FIELDS {
            text(map, field)?;
        }
        if let Some(value) = map.get("headers")
            && !value.is_object()
        {
            return Err(wrong("headers", "an object", value));
        }
        let max_attempts = number(map, "max_attempts")?
            .map(|n| u32::try_from(n).ok().filter(|&n| n > 0))
            .map(|n| {
                n.ok_or_else(|| HeaderError::Field {
                    field: "max_attempts",
                    reason: format!("must be from 1 to {}", u32::MAX),
                })
            })
            .transpose()?;
        let json = serde_json::to_vec(map)
            .map_err(|e| HeaderError::Field { field: "headers", reason: e.to_string() })?;
        if json.len() > MAX_HEADER_BYTES {
            return Err(HeaderError::TooLong { len: json.len() });
        }
        Ok(Self {
            id,
            key: text(map, "key")?.map(str::to_owned),
            max_attempts,
            max_execution_ms: number(map, "max_execution_ms")?,
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

    /// The producer's own bound on attempts, at least 1.
    pub fn max_attempts(&self) -> Option<u32> {
        self.max_attempts
    }

    /// The producer's own bound on one execution, in milliseconds.
    pub fn max_execution_ms(&self) -> Option<u64> {
        self.max_execution_ms
    }

    /// The whole header as a compact JSON object.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The header as a JSON map.
    pub fn to_map(&self) -> Map<String, Value> {
        parse_object(&self.json).expect("a Header holds the JSON object that it was made from")
    }
}

/// Parses `json` as one object; an empty frame counts as `{}`.
pub(crate) fn parse_object(json: &[u8]) -> Result<Map<String, Value>, HeaderError> {
    if json.len() > MAX_HEADER_BYTES {
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
        other => Err(HeaderError::NotAnObject { found: kind(&other) }),
    }
}

fn text<'a>(
    map: &'a Map<String, Value>,
    field: &'static str,
) -> Result<Option<&'a str>, HeaderError> {
    match map.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(field, "a string", other)),
    }
}

fn number(map: &Map<String, Value>, field: &'static str) -> Result<Option<u64>, HeaderError> {
    match map.get(field) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| wrong(field, "a whole number of at least 0", value)),
    }
}

fn bad_id(error: &IdError) -> HeaderError {
    HeaderError::Field { field: "id", reason: error.to_string() }
}

fn wrong(field: &'static str, needed: &str, found: &Value) -> HeaderError {
    HeaderError::Field { field, reason: format!("is {}; {needed} is needed", kind(found)) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> Result<Header, HeaderError> {
        Header::from_map(parse_object(json.as_bytes())?, || {
            MessageId::new("made").expect("a valid id")
        })
    }

    #[test]
    fn unknown_fields_and_numbers_digits_are_kept_in_order() {
        let header =
            header(r#"{"x-b":1.10,"x-a":12345678901234567890123,"id":"m1"}"#).expect("valid");
        assert_eq!(&header.json()[..], br#"{"x-b":1.10,"x-a":12345678901234567890123,"id":"m1"}"#);
        assert_eq!(Header::from_json(header.json()).expect("reads back"), header);
    }

    #[test]
    fn a_missing_id_is_made() {
        assert_eq!(header("").expect("valid").id().as_str(), "made");
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, text) in [
            (r#"{"id":7}"#, "header field `id`: is a number; a string is needed"),
            ("[1]", "header is an array; a JSON object is needed"),
            (r#"{"ttl_ms":5}"#, "header field `ttl_ms` is not supported by this version"),
            (r#"{"max_attempts":0}"#, "header field `max_attempts`: must be from 1 to 4294967295"),
            ("{\n  oops}", "header is not JSON: key must be a string at line 2 column 3"),
        ] {
            assert_eq!(header(json).unwrap_err().to_string(), text);
        }
    }
}
