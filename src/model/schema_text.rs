//! The JSON Schema of a queue, as text.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::limits::MAX_SCHEMA_BYTES;

/// A JSON Schema's text; empty: there is none. Shared: queues of one template have one text.
#[derive(Clone, Default)]
pub struct SchemaText(Option<Arc<Shared>>);

struct Shared {
    text: Box<str>,
    /// Made once: it is asked for with each view of a queue.
    summary: OnceLock<SchemaText>,
}

impl SchemaText {
    /// `text` as it stands in its file; blank: none. It is not looked at here.
    pub fn new(text: &str) -> Self {
        let shared = || Arc::new(Shared { text: text.into(), summary: OnceLock::new() });
        Self((!text.trim().is_empty()).then(shared))
    }

    /// The text; empty if there is none.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", |shared| &shared.text)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What stands for it where settings are shown: its length and a hash, which another text hardly has; empty if there is
    /// none. The text itself would be in each of 100,000 lines of a list.
    pub fn summary(&self) -> Self {
        let Some(Shared { text, summary }) = self.0.as_deref() else { return Self::default() };
        let made = || {
            // FNV-1a: the same in all versions.
            let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
            Self::new(&format!("{} bytes, {hash:016x}", text.len()))
        };
        summary.get_or_init(made).clone()
    }

    /// An error, for people, if it is too long.
    pub fn check(&self) -> Result<(), String> {
        let bytes = self.as_str().len();
        if bytes > MAX_SCHEMA_BYTES {
            return Err(format!(
                "the schema has {bytes} bytes; at most {MAX_SCHEMA_BYTES} are allowed"
            ));
        }
        Ok(())
    }
}

impl Serialize for SchemaText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SchemaText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

impl PartialEq for SchemaText {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(mine), Some(theirs)) if Arc::ptr_eq(mine, theirs) => true,
            _ => self.as_str() == other.as_str(),
        }
    }
}

impl Eq for SchemaText {}

impl std::hash::Hash for SchemaText {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// Short: settings are printed in logs of tests.
impl fmt::Debug for SchemaText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SchemaText({:?})", self.summary().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_short_and_tells_texts_apart() {
        let (one, other) = (SchemaText::new(r#"{"a":1}"#), SchemaText::new(r#"{"a":2}"#));
        assert!(one.summary().as_str().starts_with("7 bytes, "), "{one:?}");
        assert_ne!(one.summary(), other.summary());
        assert_eq!(SchemaText::new(" \n").summary(), SchemaText::default());
        assert!(SchemaText::new(&"x".repeat(MAX_SCHEMA_BYTES + 1)).check().is_err());
    }
}
