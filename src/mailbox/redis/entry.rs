//! Entries of a stream: what the broker writes, and what it reads of its own and of others.
//!
//! | field | the broker's own | of others |
//! |---|---|---|
//! | `payload` | the payload | the payload; without it, all fields but `header` as one JSON object |
//! | `header` | the whole header | a JSON object; if absent an empty one. Without an `id` it gets the entry's |
//! | `by` | key, generation and place | must not be there |
//! | any other | | with `payload`: a text in the header's `headers` |

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::model::limits::MAX_PAYLOAD_BYTES;
use crate::model::{
    Arrival, Content, Generation, Header, MessageId, Seq, StreamEntry, StreamId, WorkError,
};

pub(super) const PAYLOAD: &str = "payload";
pub(super) const HEADER: &str = "header";
pub(super) const BY: &str = "by";

/// A header that is refused is shown to the operator up to so many bytes.
const SHOWN_HEADER_BYTES: usize = 1024;

/// Who added an entry of the broker's own, for which place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct By {
    pub(super) key: u64,
    pub(super) generation: Generation,
    pub(super) seq: Seq,
}

impl By {
    pub(super) fn to_text(self) -> String {
        format!("{:016x}:{}:{}", self.key, self.generation.0, self.seq.0)
    }

    fn from_text(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split(':');
        let key = u64::from_str_radix(parts.next()?, 16).ok()?;
        let generation = Generation(parts.next()?.parse().ok()?);
        let seq = Seq(parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { key, generation, seq })
    }
}

/// An entry as Redis gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: StreamId,
    pub(super) fields: Vec<(Bytes, Bytes)>,
}

impl Entry {
    fn field(&self, name: &str) -> Option<&Bytes> {
        self.fields.iter().find(|(field, _)| field == name.as_bytes()).map(|(_, value)| value)
    }

    /// Who added it, if that was a broker.
    pub(super) fn by(&self) -> Option<By> {
        self.field(BY).and_then(|text| By::from_text(text))
    }

    /// Bytes of all fields.
    pub(super) fn bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The payload, or why it can't be one.
    pub(super) fn payload(&self) -> Result<Bytes, WorkError> {
        let payload = match self.field(PAYLOAD) {
            Some(payload) => payload.clone(),
            None => self.fields_as_json(),
        };
        if payload.len() <= MAX_PAYLOAD_BYTES {
            return Ok(payload);
        }
        let len = payload.len();
        let message = format!(
            "the payload has {len} bytes, at most {MAX_PAYLOAD_BYTES} are allowed; it is in the stream as \
             entry {} until this message is cancelled",
            self.id
        );
        Err(refusal("too-large", message))
    }

    /// The message that it is. The same each time, so that one that is told twice is known again.
    pub(super) fn to_arrival(&self) -> Arrival {
        let (header, wrong) = match self.header() {
            Ok(header) => (header, None),
            Err(why) => (self.header_of_refused(), Some(refusal("malformed", why))),
        };
        let (payload, too_large) = match self.payload() {
            Ok(payload) => (payload, None),
            Err(why) => (Bytes::new(), Some(why)),
        };
        let entry = StreamEntry { id: self.id, refused: too_large.or(wrong) };
        Arrival { entry, content: Content { header, payload } }
    }

    fn header(&self) -> Result<Header, String> {
        let json = self.field(HEADER).map_or(&b""[..], |json| json);
        let made = || Some(self.made_id());
        let header = Header::from_wire(json, [], made).map_err(|e| e.to_string())?.0;
        let is_other = |name: &[u8]| ![PAYLOAD, HEADER, BY].map(str::as_bytes).contains(&name);
        let others = self.fields.iter().filter(|(name, _)| is_other(name));
        let others: Map<String, Value> =
            others.map(|(name, value)| text_field(name, value)).collect();
        if self.field(PAYLOAD).is_none() || others.is_empty() {
            return Ok(header);
        }
        let mut map = header.to_map();
        let headers = map.entry("headers").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(headers) = headers {
            for (name, value) in others {
                headers.entry(name).or_insert(value);
            }
        }
        Header::from_map(map, || self.made_id()).map_err(|e| e.to_string())
    }

    /// For an entry whose own header is not one: what came is shown beside the id.
    fn header_of_refused(&self) -> Header {
        let shown = self.field(HEADER).map_or_else(String::new, |json| {
            let head = json.get(..json.len().min(SHOWN_HEADER_BYTES)).unwrap_or_default();
            String::from_utf8_lossy(head).into_owned()
        });
        let headers = Map::from_iter([("refused".to_owned(), Value::String(shown))]);
        let map = Map::from_iter([("headers".to_owned(), Value::Object(headers))]);
        Header::from_map(map, || self.made_id())
            .expect("an object with a text of a bounded length is a header")
    }

    fn made_id(&self) -> MessageId {
        MessageId::new(&self.id.to_string()).expect("two numbers are a short printable id")
    }

    fn fields_as_json(&self) -> Bytes {
        let fields = self
            .fields
            .iter()
            .filter(|(name, _)| ![HEADER, BY].map(str::as_bytes).contains(&&name[..]));
        let map: Map<String, Value> = fields.map(|(name, value)| text_field(name, value)).collect();
        serde_json::to_vec(&map).expect("a map of texts is JSON").into()
    }
}

fn text_field(name: &[u8], value: &[u8]) -> (String, Value) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(name), Value::String(text(value)))
}

fn refusal(code: &str, message: String) -> WorkError {
    WorkError::new(code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[(&str, &str)]) -> Entry {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        Entry { id: StreamId { ms: 17, number: 2 }, fields }
    }

    fn read(fields: &[(&str, &str)]) -> (String, String, Option<String>) {
        let Arrival { entry, content } = entry(fields).to_arrival();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let refused = entry.refused.map(|error| format!("{}: {}", error.code, error.message));
        (text(content.header.json()), text(&content.payload), refused)
    }

    #[test]
    fn the_brokers_own_entries_are_known_by_their_mark() {
        let by = By { key: 0xab, generation: Generation(3), seq: Seq(12) };
        let own = entry(&[(HEADER, "{}"), (PAYLOAD, "p"), (BY, &by.to_text())]);
        assert_eq!(own.by(), Some(by));
        for other in ["", "x", "1:2", "1:2:3:4", "zz:1:1", "1:-1:1"] {
            assert_eq!(entry(&[(BY, other)]).by(), None, "{other:?}");
        }
    }

    #[test]
    fn what_others_add_becomes_a_message() {
        let header = r#"{"id":"m1","type":"x"}"#;
        let told = read(&[("payload", r#"{"a":1}"#), ("header", header)]);
        assert_eq!(told, (header.to_owned(), r#"{"a":1}"#.to_owned(), None));
        let told = read(&[("payload", "bytes")]);
        assert_eq!(told, (r#"{"id":"17-2"}"#.to_owned(), "bytes".to_owned(), None));
        let told = read(&[("country", "FR"), ("total", "7")]);
        let json = r#"{"country":"FR","total":"7"}"#;
        assert_eq!(told, (r#"{"id":"17-2"}"#.to_owned(), json.to_owned(), None));
        let told = read(&[("payload", "p"), ("source", "shop")]);
        assert_eq!(told.0, r#"{"id":"17-2","headers":{"source":"shop"}}"#);
    }

    #[test]
    fn what_can_t_be_a_message_is_refused_with_what_it_has() {
        for header in ["{", "[]", r#"{"id":7}"#, r#"{"ttl_ms":0}"#] {
            let (shown, payload, refused) = read(&[("payload", "p"), ("header", header)]);
            assert!(shown.starts_with(r#"{"headers":{"refused":""#), "{shown}");
            assert!(shown.contains("17-2") && payload == "p");
            assert!(refused.unwrap().starts_with("malformed: header"));
        }
        let large = "x".repeat(MAX_PAYLOAD_BYTES + 1);
        let (_, payload, refused) = read(&[("payload", &large)]);
        assert!(payload.is_empty() && refused.unwrap().starts_with("too-large: "));
        let large = "x".repeat(200_000);
        let (shown, _, refused) = read(&[("payload", "p"), ("header", &large)]);
        assert!(shown.len() < 2_000 && refused.is_some());
        let (_, payload, refused) = read(&[("payload", "p"), ("other", &large)]);
        assert!(payload == "p" && refused.is_some());
    }
}
