//! A message to be sent.

use bytes::Bytes;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::model::{Content, Header, HeaderError, MessageId};

/// Payload and header of a message that is being made.
#[derive(Debug, Clone, Default)]
pub struct NewMessage {
    header: Map<String, Value>,
    headers: Map<String, Value>,
    payload: Bytes,
}

impl NewMessage {
    /// A message with this payload.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// Sets the id, unique inside the queue's de-duplication window. A UUIDv7 if not set.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.field("id", id)
    }

    /// Sets the type.
    #[must_use]
    pub fn kind(self, kind: &str) -> Self {
        self.field("type", kind)
    }

    /// Sets the order key.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.field("key", key)
    }

    /// Sets any field of the message header (protocol.md).
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Sets one of the user's own headers.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.headers.insert(name.to_owned(), value.into());
        self
    }

    /// Checks the header; the error names the field.
    pub fn build(mut self) -> Result<Content, HeaderError> {
        if !self.headers.is_empty() {
            self.header.insert("headers".to_owned(), Value::Object(self.headers));
        }
        let header = Header::from_map(self.header, || {
            MessageId::new(&Uuid::now_v7().to_string()).expect("a UUID is a valid id")
        })?;
        Ok(Content { header, payload: self.payload })
    }
}
