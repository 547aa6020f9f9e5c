//! A header's fields, looked at without building a JSON tree: the way of every message that comes in.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::header::HeaderError;
use super::ids::MessageId;

/// Above so many fields the tree is quicker than looking through a list for each name.
const MAX_FIELDS: usize = 32;
/// Nesting that is left to the parser proper, whose own bound (128) then gives the error.
const MAX_DEPTH: u32 = 64;

/// A field's value, as far as the checks need it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    /// A string.
    Text(&'a str),
    /// A number; its value if it is a whole one of 64 bits without sign.
    Number(Option<u64>),
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

impl<'a> Field<'a> {
    /// What a JSON value is.
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(number.as_u64()),
            Value::String(text) => Self::Text(text),
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    fn of_raw(raw: &'a str) -> Self {
        match raw.as_bytes().first() {
            Some(b'"') => Self::Text(raw.trim_matches('"')),
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            _ => Self::Number(raw.parse().ok()),
        }
    }

    /// Its kind in words.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Field::Null => "null",
            Field::Bool(_) => "a boolean",
            Field::Number(_) => "a number",
            Field::Text(_) => "a string",
            Field::Array => "an array",
            Field::Object => "an object",
        }
    }
}

/// Where fields are looked up by name.
pub(super) trait Fields {
    /// The value of the field `name`.
    fn field(&self, name: &str) -> Option<Field<'_>>;
}

impl Fields for Map<String, Value> {
    fn field(&self, name: &str) -> Option<Field<'_>> {
        self.get(name).map(Field::of)
    }
}

/// A header's top-level fields as texts cut from it. Holds only headers for which these texts mean what
/// they say: no escapes, no name twice, no deep nesting, few fields. All others, and all that are wrong,
/// go the way through the tree.
#[derive(Debug)]
pub(super) struct RawFields<'a>(Vec<(&'a str, &'a RawValue)>);

impl<'a> RawFields<'a> {
    /// Cuts `json` of at most `max` bytes up; `None` where the tree is needed.
    pub(super) fn scan(max: usize, json: &'a [u8]) -> Option<Self> {
        if json.len() > max || json.contains(&b'\\') {
            return None;
        }
        let fields: Self = serde_json::from_slice(json).ok()?;
        let deep = fields.0.iter().any(|(_, raw)| depth(raw.get()) > MAX_DEPTH);
        let twice = fields
            .0
            .iter()
            .enumerate()
            .any(|(i, (a, _))| fields.0.iter().skip(i + 1).any(|(b, _)| a == b));
        (!deep && !twice).then_some(fields)
    }

    /// Takes the field `name` out.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|&(field, _)| field == name)?;
        let (_, raw) = self.0.remove(at);
        // A scanned value is JSON without escapes and within the parser's depth.
        serde_json::from_str(raw.get()).ok()
    }

    /// The fields as one compact JSON object, with `id` at the end if it was made. `len_hint` in bytes.
    pub(super) fn to_compact(
        &self,
        len_hint: usize,
        id: Option<&MessageId>,
    ) -> Result<Vec<u8>, HeaderError> {
        let mut out = Vec::with_capacity(len_hint + id.map_or(0, |id| id.as_str().len() + 16));
        out.push(b'{');
        for (name, raw) in &self.0 {
            separate(&mut out);
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            push_compact(&mut out, raw.get());
        }
        if let Some(id) = id {
            separate(&mut out);
            out.extend_from_slice(b"\"id\":");
            serde_json::to_writer(&mut out, id.as_str())
                .map_err(|e| HeaderError::Field { field: "id", reason: e.to_string() })?;
        }
        out.push(b'}');
        Ok(out)
    }
}

impl Fields for RawFields<'_> {
    fn field(&self, name: &str) -> Option<Field<'_>> {
        self.0.iter().find(|&&(field, _)| field == name).map(|(_, raw)| Field::of_raw(raw.get()))
    }
}

impl<'de> Deserialize<'de> for RawFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cut;
        impl<'de> Visitor<'de> for Cut {
            type Value = RawFields<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some(name) = map.next_key::<&'de str>()? {
                    if fields.len() == MAX_FIELDS {
                        return Err(A::Error::custom("too many fields for a list"));
                    }
                    fields.push((name, map.next_value::<&'de RawValue>()?));
                }
                Ok(RawFields(fields))
            }
        }
        deserializer.deserialize_map(Cut)
    }
}

fn separate(out: &mut Vec<u8>) {
    if out.len() > 1 {
        out.push(b',');
    }
}

/// Copies JSON without escapes, leaving out white space between tokens.
fn push_compact(out: &mut Vec<u8>, raw: &str) {
    if !raw.starts_with(['{', '[']) {
        return out.extend_from_slice(raw.as_bytes());
    }
    let mut in_text = false;
    for &byte in raw.as_bytes() {
        in_text ^= byte == b'"';
        if in_text || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push(byte);
        }
    }
}

/// How deep JSON without escapes nests.
fn depth(raw: &str) -> u32 {
    if !raw.starts_with(['{', '[']) {
        return 0;
    }
    let (mut depth, mut deepest, mut in_text) = (0_u32, 0, false);
    for &byte in raw.as_bytes() {
        in_text ^= byte == b'"';
        if !in_text {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
    }
    deepest
}
