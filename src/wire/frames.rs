//! What both sides' codecs share: opening an envelope, reading header fields, saying what is wrong.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::MAGIC;
use crate::model::limits::{MAX_PAYLOAD_BYTES, MAX_REASON_BYTES};
use crate::model::{HeaderError, RejectCode, Rejection, in_plain_words, parse_object};

/// The header of a verb that has nothing to say. Written always, so that a peer can take three frames
/// apart without looking; read leniently, as an empty or a missing frame too.
const NO_FIELDS: &[u8] = b"{}";
/// How much of a wrong verb or magic an answer quotes, in characters.
const QUOTE_CHARS: usize = 20;

/// Takes magic and verb off; what is left are the verb's own frames.
pub(super) fn open(mut frames: Vec<Bytes>) -> Result<(Bytes, Vec<Bytes>), Rejection> {
    match frames.first() {
        Some(magic) if magic == MAGIC => {}
        Some(magic) if magic.starts_with(b"MDPC") || magic.starts_with(b"MDPW") => {
            return Err(Rejection::new(
                RejectCode::Unsupported,
                "this is Majordomo at the other door: its workers connect to the workers' address, its clients to the clients'",
            ));
        }
        Some(other) => {
            let reason =
                format!("the first frame is {}; MUB1 is needed, then a verb", quote(other));
            return Err(malformed(reason));
        }
        None => return Err(malformed("the message has no frames; MUB1 and a verb are needed")),
    }
    if frames.len() < 2 {
        return Err(malformed("there is no frame after MUB1; a verb is needed"));
    }
    let rest = frames.split_off(2);
    let verb = frames.pop().unwrap_or_default();
    Ok((verb, rest))
}

/// The verb's frames, if there are exactly `N`; `parts` names them for the error.
pub(super) fn exactly<const N: usize>(
    verb: &str,
    parts: &str,
    frames: Vec<Bytes>,
) -> Result<[Bytes; N], Rejection> {
    <[Bytes; N]>::try_from(frames).map_err(|frames| {
        let (needed, came) = (N.saturating_add(2), frames.len().saturating_add(2));
        malformed(format!("{verb} needs {needed} frames: MUB1, {verb}, {parts}; {came} came"))
    })
}

/// The header frame of a verb that has no payload and whose header may be left out.
pub(super) fn header_or_none(verb: &str, mut frames: Vec<Bytes>) -> Result<Bytes, Rejection> {
    if frames.is_empty() {
        frames.push(Bytes::new());
    }
    exactly::<1>(verb, "header", frames).map(|[header]| header)
}

/// Refuses a payload that is too long.
pub(super) fn check_payload(payload: &Bytes) -> Result<(), Rejection> {
    let len = payload.len();
    if len <= MAX_PAYLOAD_BYTES {
        return Ok(());
    }
    let reason = format!("payload is {len} bytes long; at most {MAX_PAYLOAD_BYTES} are allowed");
    Err(Rejection::new(RejectCode::TooLarge, reason))
}

/// A header of which nothing but these fields is wanted.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses a header frame; an empty one has no fields.
    pub(super) fn parse(header: &[u8]) -> Result<Self, Rejection> {
        parse_object(header).map(Self).map_err(|e| bad_header(&e))
    }

    /// A field that must be there, of any form that `T` reads from a string.
    pub(super) fn id<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        field: &str,
    ) -> Result<T, Rejection> {
        self.optional_id(field)?.ok_or_else(|| bad_field(field, "is missing"))
    }

    /// The same, for a field that may be left out.
    pub(super) fn optional_id<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        field: &str,
    ) -> Result<Option<T>, Rejection> {
        match self.text(field)? {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|e| bad_field(field, e)),
        }
    }

    /// A string field.
    pub(super) fn text(&self, field: &str) -> Result<Option<&str>, Rejection> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(bad_field(field, "a string is needed")),
        }
    }

    /// A text for people, bounded; empty if left out.
    pub(super) fn note(&self, field: &str) -> Result<String, Rejection> {
        let text = self.text(field)?.unwrap_or_default();
        if text.len() > MAX_REASON_BYTES {
            let len = text.len();
            let reason = format!("is {len} bytes long; at most {MAX_REASON_BYTES} are allowed");
            return Err(bad_field(field, reason));
        }
        Ok(text.to_owned())
    }

    /// A whole number.
    pub(super) fn number(&self, field: &str) -> Result<Option<u64>, Rejection> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(bad_field(field, "a whole number of at least 0 is needed")),
            },
        }
    }

    /// A field with a form of its own; its default if left out.
    pub(super) fn of<T: DeserializeOwned + Default>(
        &mut self,
        field: &str,
    ) -> Result<T, Rejection> {
        match self.0.get_mut(field).map(Value::take) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(value) => value_of(field, value),
        }
    }
}

/// A field's value in a form of its own.
pub(super) fn value_of<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, Rejection> {
    serde_json::from_value(value).map_err(|e| bad_field(field, in_plain_words(&e, "an object")))
}

/// A verb's own field that is true or false; false if left out.
pub(super) fn flag(field: &str, value: Option<Value>) -> Result<bool, Rejection> {
    match value {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(bad_field(field, "true or false is needed")),
    }
}

/// Reads a whole header into a type of its own.
pub(super) fn typed<T: DeserializeOwned>(header: &[u8]) -> Result<T, Rejection> {
    serde_json::from_slice(header)
        .map_err(|e| malformed(format!("header: {}", in_plain_words(&e, "an object"))))
}

/// What is wrong with a header, as an answer.
pub(super) fn bad_header(error: &HeaderError) -> Rejection {
    let code = match error {
        HeaderError::Json { .. } | HeaderError::NotAnObject { .. } | HeaderError::Field { .. } => {
            RejectCode::Malformed
        }
        HeaderError::TooLong { .. } => RejectCode::TooLarge,
    };
    Rejection::new(code, error.to_string())
}

/// What is wrong with a field, as an answer.
pub(super) fn bad_field(field: &str, reason: impl std::fmt::Display) -> Rejection {
    malformed(format!("header field `{field}`: {reason}"))
}

/// The frames or their content are not what protocol.md says.
pub(super) fn malformed(reason: impl Into<String>) -> Rejection {
    Rejection::new(RejectCode::Malformed, reason)
}

/// The verb is in no version; `known` lists those that are.
pub(super) fn unknown_verb(verb: &[u8], known: &str) -> Rejection {
    Rejection::new(
        RejectCode::Unsupported,
        format!("the verb {} is not known here; known: {known}", quote(verb)),
    )
}

/// Bytes of a peer, shortened and made harmless for a text.
fn quote(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let short: String = text.chars().take(QUOTE_CHARS).collect();
    let more = if text.chars().nth(QUOTE_CHARS).is_some() { "…" } else { "" };
    format!("\"{}{more}\"", short.escape_debug())
}

/// An envelope without a payload.
pub(super) fn envelope(verb: &'static str, header: Vec<u8>) -> Vec<Bytes> {
    vec![magic(), Bytes::from_static(verb.as_bytes()), Bytes::from(header)]
}

/// An envelope with a payload.
pub(super) fn envelope_with(verb: &'static str, header: Vec<u8>, payload: Bytes) -> Vec<Bytes> {
    vec![magic(), Bytes::from_static(verb.as_bytes()), Bytes::from(header), payload]
}

/// An envelope of a verb that has nothing to say.
pub(super) fn bare(verb: &'static str) -> Vec<Bytes> {
    let header = Bytes::from_static(NO_FIELDS);
    vec![magic(), Bytes::from_static(verb.as_bytes()), header]
}

/// The first frame.
pub(super) fn magic() -> Bytes {
    Bytes::from_static(MAGIC)
}

/// A header by serde.
pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("wire types have string keys and no failing serializers")
}

/// `{` + `own` + the fields of `header` + `}`, joined as text: a message's header isn't parsed again to
/// be sent. `own` is one or more JSON members; no message header has a field of theirs (`Header` sees to
/// it).
pub(super) fn join(own: &str, header: &[u8]) -> Vec<u8> {
    let fields = header.strip_prefix(b"{").unwrap_or(b"}");
    let mut out = Vec::with_capacity(own.len().saturating_add(header.len()).saturating_add(1));
    out.push(b'{');
    out.extend_from_slice(own.as_bytes());
    if fields != b"}" {
        out.push(b',');
    }
    out.extend_from_slice(fields);
    out
}
